//! What one entry of each format says. The shapes are those that the files in use have; keys beyond them are ignored.

use hb_core::units::Nanos;
use serde_json::{Map, Value};

use super::{Content, Entry, Question, record, stamps};

/// Tokens of one block of a Mooncake trace.
const MOONCAKE_BLOCK: u32 = 512;
/// Blocks of traces made by vLLM's tools.
const VLLM_BLOCK: u32 = 16;
/// ShareGPT tells no numbers of tokens: an answer is taken to have one for so many characters.
const CHARACTERS_PER_TOKEN: usize = 4;

/// A format, with the columns where it has columns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Shape {
    /// A prompt a line.
    Text,
    /// `prompt`, `text` or `messages`, with or without `output_tokens`.
    Jsonl,
    /// `conversations` of turns.
    ShareGpt,
    /// `custom_id` and `body`, or the body alone.
    OpenaiBatch,
    /// A column of prompts, and one of answer tokens where there is one.
    Csv { prompt: usize, output: Option<usize> },
    /// `timestamp` in milliseconds, `input_length`, `output_length`, `hash_ids`.
    Mooncake,
    /// Seconds and tokens.
    BurstGpt { stamp: usize, input: usize, output: usize },
    /// Dates and tokens.
    Azure { stamp: usize, input: usize, output: usize },
}

/// What an entry came to.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Read {
    /// A request, and when it was made where the format tells.
    Entry(Box<Entry>, Option<Nanos>),
    /// Well-formed and no request: a blank line, a conversation without an answer.
    Nothing,
    /// A call of a trace that failed: it has no tokens to ask for.
    FailedCall,
}

impl Shape {
    pub fn has_stamps(&self) -> bool {
        matches!(self, Self::Mooncake | Self::BurstGpt { .. } | Self::Azure { .. })
    }

    /// Reads one entry.
    ///
    /// # Errors
    /// Why these bytes are no entry of this format.
    pub fn read(&self, bytes: &[u8]) -> Result<Read, String> {
        let text = utf8(bytes)?;
        if text.trim().is_empty() {
            return Ok(Read::Nothing);
        }
        match self {
            Self::Text => Ok(entry(Content::Text(text.strip_suffix('\r').unwrap_or(text).to_owned()), None)),
            Self::Jsonl => jsonl(&object(text)?),
            Self::ShareGpt => sharegpt(&object(text)?),
            Self::OpenaiBatch => openai_batch(object(text)?),
            Self::Mooncake => mooncake(&object(text)?),
            Self::Csv { prompt, output } => {
                let fields = record::fields(text)?;
                let prompt = field(&fields, *prompt)?;
                if prompt.is_empty() {
                    return Err("the prompt is empty".into());
                }
                let output = output.and_then(|output| fields.get(output)).filter(|text| !text.trim().is_empty());
                let output = output.map(|text| tokens(text)).transpose()?.filter(|tokens| *tokens > 0);
                Ok(entry(Content::Text(prompt.to_owned()), output))
            }
            Self::BurstGpt { stamp, input, output } => {
                let fields = record::fields(text)?;
                let stamp = stamps::number(field(&fields, *stamp)?, 1e9)?;
                sized(stamp, tokens(field(&fields, *input)?)?, tokens(field(&fields, *output)?)?)
            }
            Self::Azure { stamp, input, output } => {
                let fields = record::fields(text)?;
                let stamp = stamps::date(field(&fields, *stamp)?)?;
                sized(stamp, tokens(field(&fields, *input)?)?, tokens(field(&fields, *output)?)?)
            }
        }
    }
}

/// An entry's text. NUL is valid UTF-8, and in a text of no use: what holds it is UTF-16, or no text at all.
///
/// # Errors
/// The first byte that cannot be read, from 1.
pub(super) fn utf8(bytes: &[u8]) -> Result<&str, String> {
    let text = std::str::from_utf8(bytes).map_err(|error| format!("byte {} is not UTF-8", error.valid_up_to() + 1))?;
    match memchr::memchr(0, bytes) {
        Some(at) => Err(format!("byte {} is NUL, which no text has", at + 1)),
        None => Ok(text),
    }
}

fn entry(content: Content, gen_tokens: Option<u32>) -> Read {
    Read::Entry(Box::new(Entry { content, gen_tokens, fields: Map::new(), more: Vec::new() }), None)
}

/// A request of which a trace knows the lengths alone. An answer of no tokens was a call that failed.
fn sized(stamp: Nanos, input: u32, output: u32) -> Result<Read, String> {
    if input == 0 || output == 0 {
        return Ok(Read::FailedCall);
    }
    let content = Content::Sized { tokens: input, blocks: Vec::new(), block_tokens: 0 };
    Ok(Read::Entry(Box::new(Entry { content, gen_tokens: Some(output), fields: Map::new(), more: Vec::new() }), Some(stamp)))
}

fn field(fields: &[String], place: usize) -> Result<&str, String> {
    let field = fields.get(place).map(String::as_str);
    field.ok_or_else(|| format!("it has {} fields, where the header's column {} is needed", fields.len(), place + 1))
}

fn tokens(text: &str) -> Result<u32, String> {
    text.trim().parse().map_err(|_| format!("`{text}` is no number of tokens"))
}

fn object(text: &str) -> Result<Map<String, Value>, String> {
    serde_json::from_str(text).map_err(|error| format!("it is no JSON object: {error}"))
}

/// A number of tokens under this key; `null` is as good as absent.
fn count(object: &Map<String, Value>, key: &str) -> Result<Option<u32>, String> {
    match object.get(key) {
        None | Some(Value::Null) => Ok(None),
        Some(value) => {
            let count = value.as_u64().and_then(|count| u32::try_from(count).ok());
            count.map(Some).ok_or_else(|| format!("`{key}` is `{value}`, which is no number of tokens"))
        }
    }
}

/// The first of these keys that has a text with something in it.
fn text_of(object: &Map<String, Value>, keys: &[&str]) -> Option<Content> {
    let text = keys.iter().find_map(|key| object.get(*key)?.as_str())?;
    (!text.is_empty()).then(|| Content::Text(text.to_owned()))
}

fn messages_of(object: &Map<String, Value>) -> Result<Option<Content>, String> {
    let Some(messages) = object.get("messages").filter(|messages| !messages.is_null()) else { return Ok(None) };
    let list = messages.as_array().filter(|list| !list.is_empty() && list.iter().all(is_message));
    let list = list.ok_or("`messages` is no list of messages with `role` and `content`")?;
    Ok(Some(Content::Messages(list.clone())))
}

fn is_message(message: &Value) -> bool {
    message.get("role").is_some_and(Value::is_string) && message.get("content").is_some()
}

fn jsonl(object: &Map<String, Value>) -> Result<Read, String> {
    let content = messages_of(object)?.or_else(|| text_of(object, &["prompt", "text"]));
    let content = content.ok_or("it has neither `prompt` nor `text` nor `messages`, or an empty one")?;
    Ok(entry(content, count(object, "output_tokens")?.filter(|tokens| *tokens > 0)))
}

fn sharegpt(object: &Map<String, Value>) -> Result<Read, String> {
    let turns = object.get("conversations").or_else(|| object.get("conversation"));
    let turns = turns.and_then(Value::as_array).ok_or("it has no list `conversations`")?;
    let turn = |turn: &Value| {
        let role = turn.get("from").or_else(|| turn.get("role"))?.as_str()?.to_lowercase();
        let text = turn.get("value").or_else(|| turn.get("content"))?.as_str()?.to_owned();
        Some((matches!(role.as_str(), "human" | "user"), role == "system", text))
    };
    let turns: Option<Vec<_>> = turns.iter().map(turn).collect();
    let turns = turns.ok_or("a turn has not both of `from` and `value` (or `role` and `content`)")?;
    // Some files begin with an answer.
    let mut pairs = turns.windows(2).filter(|pair| pair[0].0 && !pair[1].0 && !pair[1].1).map(|pair| (&pair[0].2, &pair[1].2));
    let is_said = |(prompt, answer): &(&String, &String)| !prompt.trim().is_empty() && !answer.trim().is_empty();
    let Some((prompt, answer)) = pairs.next().filter(is_said) else { return Ok(Read::Nothing) };
    // What was asked after an empty turn was asked of something else.
    let more = pairs.take_while(is_said);
    let more = more.map(|(prompt, answer)| Question { text: prompt.clone(), gen_tokens: tokens_about(answer) }).collect();
    let of_turn = turns.iter().find(|(_, is_system, _)| *is_system).map(|(.., text)| text.as_str());
    let system = object.get("system").and_then(Value::as_str).or(of_turn).filter(|text| !text.is_empty());
    let content = match system {
        Some(system) => Content::Messages(vec![
            serde_json::json!({"role": "system", "content": system}),
            serde_json::json!({"role": "user", "content": prompt}),
        ]),
        None => Content::Text(prompt.clone()),
    };
    let gen_tokens = Some(tokens_about(answer));
    Ok(Read::Entry(Box::new(Entry { content, gen_tokens, fields: Map::new(), more }), None))
}

/// The tokens that a text has, about.
fn tokens_about(text: &str) -> u32 {
    u32::try_from(text.chars().count().div_ceil(CHARACTERS_PER_TOKEN).max(1)).unwrap_or(u32::MAX)
}

/// Fields of a body that the trial decides, or that say how the answer is read.
const OURS: [&str; 8] = ["model", "messages", "prompt", "max_tokens", "max_completion_tokens", "stream", "stream_options", "n"];

fn openai_batch(mut line: Map<String, Value>) -> Result<Read, String> {
    if let Some(url) = line.get("url").and_then(Value::as_str)
        && !url.ends_with("/completions")
    {
        return Err(format!("its url is `{url}`; only /v1/chat/completions and /v1/completions are replayed"));
    }
    let mut body = match line.remove("body") {
        Some(Value::Object(body)) => body,
        Some(_) => return Err("its `body` is no JSON object".into()),
        None => line,
    };
    let content = messages_of(&body)?.or_else(|| text_of(&body, &["prompt"]));
    let content = content.ok_or("its body has neither `messages` nor a text as `prompt`")?;
    let asked = count(&body, "max_tokens")?.or(count(&body, "max_completion_tokens")?);
    OURS.iter().for_each(|key| drop(body.shift_remove(*key)));
    Ok(Read::Entry(
        Box::new(Entry { content, gen_tokens: asked.filter(|tokens| *tokens > 0), fields: body, more: Vec::new() }),
        None,
    ))
}

fn mooncake(object: &Map<String, Value>) -> Result<Read, String> {
    let stamp = object.get("timestamp").and_then(Value::as_f64).ok_or("it has no number `timestamp`")?;
    let stamp = stamps::scaled(stamp, 1e6)?;
    let output = count(object, "output_length")?.ok_or("it has no `output_length`")?;
    let content = match count(object, "input_length")? {
        Some(0) => return Ok(Read::FailedCall),
        Some(input) => sized_in_blocks(object, input)?,
        None => messages_of(object)?
            .or_else(|| text_of(object, &["text_input"]))
            .ok_or("it has neither `input_length` nor `text_input` nor `messages`")?,
    };
    if output == 0 {
        return Ok(Read::FailedCall);
    }
    Ok(Read::Entry(Box::new(Entry { content, gen_tokens: Some(output), fields: Map::new(), more: Vec::new() }), Some(stamp)))
}

fn sized_in_blocks(object: &Map<String, Value>, tokens: u32) -> Result<Content, String> {
    let blocks = match object.get("hash_ids") {
        None | Some(Value::Null) => Vec::new(),
        Some(ids) => {
            let list = ids.as_array().map(|list| list.iter().map(Value::as_u64).collect::<Option<Vec<u64>>>());
            list.flatten().ok_or("`hash_ids` is no list of numbers")?
        }
    };
    let fits = |block: u32| tokens.div_ceil(block) as usize == blocks.len();
    let block_tokens = match [MOONCAKE_BLOCK, VLLM_BLOCK].into_iter().find(|block| fits(*block)) {
        Some(block) => block,
        None if blocks.is_empty() => 0,
        None => {
            let needed = tokens.div_ceil(MOONCAKE_BLOCK);
            let found = blocks.len();
            return Err(format!("it has {found} `hash_ids`; {tokens} tokens in blocks of {MOONCAKE_BLOCK} have {needed}"));
        }
    };
    Ok(Content::Sized { tokens, blocks, block_tokens })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(shape: &Shape, text: &str) -> (Entry, Option<Nanos>) {
        match shape.read(text.as_bytes()) {
            Ok(Read::Entry(entry, stamp)) => (*entry, stamp),
            other => panic!("{text}: {other:?}"),
        }
    }

    fn text(entry: &Entry) -> &str {
        let Content::Text(text) = &entry.content else { panic!("{entry:?} has no text") };
        text
    }

    fn why(shape: &Shape, text: &str) -> String {
        shape.read(text.as_bytes()).unwrap_err()
    }

    #[test]
    fn a_line_is_a_prompt() {
        assert_eq!(text(&read(&Shape::Text, "Why?  \r").0), "Why?  ");
        assert_eq!(Shape::Text.read(b"  \r"), Ok(Read::Nothing));
        assert_eq!(Shape::Text.read(b"ab\xff").unwrap_err(), "byte 3 is not UTF-8");
    }

    #[test]
    fn jsonl_has_a_prompt_a_text_or_messages() {
        let (entry, _) = read(&Shape::Jsonl, r#"{"prompt": "Why?", "output_tokens": 10}"#);
        assert_eq!((text(&entry), entry.gen_tokens), ("Why?", Some(10)));
        let (entry, _) = read(&Shape::Jsonl, r#"{"text": "Why?", "id": 7}"#);
        assert_eq!((text(&entry), entry.gen_tokens), ("Why?", None));
        let (entry, _) = read(&Shape::Jsonl, r#"{"messages": [{"role": "user", "content": "Why?"}]}"#);
        assert_eq!(entry.content, Content::Messages(vec![json!({"role": "user", "content": "Why?"})]));
        assert!(why(&Shape::Jsonl, r#"{"question": "Why?"}"#).contains("neither `prompt` nor `text`"));
        assert!(why(&Shape::Jsonl, r#"{"prompt": "Why?", "output_tokens": "ten"}"#).contains("no number of tokens"));
        assert!(why(&Shape::Jsonl, r#"{"prompt": "#).contains("no JSON object"));
    }

    #[test]
    fn sharegpt_is_the_first_question_with_an_answer() {
        let plain = r#"{"id": "QWJhYvA_0", "conversations": [{"from": "human", "value": "Why?"}, {"from": "gpt", "value": "Because so."}]}"#;
        let (entry, _) = read(&Shape::ShareGpt, plain);
        assert_eq!((text(&entry), entry.gen_tokens), ("Why?", Some(3)));
        let begun = r#"{"conversation": [{"role": "assistant", "content": "Hi"}, {"role": "user", "content": "Why?"}, {"role": "assistant", "content": "So."}]}"#;
        assert_eq!(text(&read(&Shape::ShareGpt, begun).0), "Why?");
        let system =
            r#"{"system": "Be brief.", "conversations": [{"from": "human", "value": "Why?"}, {"from": "gpt", "value": "So."}]}"#;
        assert!(matches!(&read(&Shape::ShareGpt, system).0.content, Content::Messages(list) if list.len() == 2));
        let alone = r#"{"conversations": [{"from": "human", "value": "Why?"}]}"#;
        assert_eq!(Shape::ShareGpt.read(alone.as_bytes()), Ok(Read::Nothing));
        assert!(why(&Shape::ShareGpt, r#"{"conversations": [{"from": "human"}, {"from": "gpt"}]}"#).contains("a turn"));
    }

    #[test]
    fn the_questions_of_a_conversation_follow_one_another_with_the_lengths_of_its_answers() {
        let turns = r#"{"conversations": [{"from": "gpt", "value": "Hi"}, {"from": "human", "value": "Why?"}, {"from": "gpt", "value": "So."},
            {"from": "human", "value": "And then?"}, {"from": "gpt", "value": "Because so."}, {"from": "human", "value": ""}, {"from": "gpt", "value": "x"},
            {"from": "human", "value": "What?"}, {"from": "gpt", "value": "y"}]}"#;
        let (entry, _) = read(&Shape::ShareGpt, turns);
        assert_eq!((text(&entry), entry.gen_tokens), ("Why?", Some(1)));
        assert_eq!(entry.more, [Question { text: "And then?".into(), gen_tokens: 3 }], "an empty turn ends it");
    }

    #[test]
    fn a_batch_line_keeps_its_own_fields() {
        let line = r#"{"custom_id": "request-1", "method": "POST", "url": "/v1/chat/completions", "body": {"model": "m", "messages": [{"role": "user", "content": "Why?"}], "max_tokens": 200, "temperature": 0.5, "n": 3}}"#;
        let (entry, _) = read(&Shape::OpenaiBatch, line);
        assert_eq!(entry.gen_tokens, Some(200));
        assert_eq!(Value::Object(entry.fields), json!({"temperature": 0.5}));
        let bare = r#"{"messages": [{"role": "user", "content": "Why?"}], "max_completion_tokens": 7, "top_p": 0.9}"#;
        let (entry, _) = read(&Shape::OpenaiBatch, bare);
        assert_eq!((entry.gen_tokens, Value::Object(entry.fields)), (Some(7), json!({"top_p": 0.9})));
        let embeddings = r#"{"custom_id": "1", "url": "/v1/embeddings", "body": {"input": "Why?"}}"#;
        assert!(why(&Shape::OpenaiBatch, embeddings).contains("/v1/embeddings"));
    }

    #[test]
    fn traces_have_lengths_and_an_instant() {
        let (entry, stamp) =
            read(&Shape::Mooncake, r#"{"timestamp": 3000, "input_length": 915, "output_length": 355, "hash_ids": [0, 462]}"#);
        assert_eq!(entry.content, Content::Sized { tokens: 915, blocks: vec![0, 462], block_tokens: 512 });
        assert_eq!((entry.gen_tokens, stamp), (Some(355), Some(Nanos(3_000_000_000))));
        let short = r#"{"timestamp": 0, "input_length": 6758, "output_length": 500, "hash_ids": [0, 1]}"#;
        assert!(why(&Shape::Mooncake, short).contains("have 14"));

        let burst = Shape::BurstGpt { stamp: 0, input: 2, output: 3 };
        let (entry, stamp) = read(&burst, "5,ChatGPT,472,18,490,Conversation log");
        assert_eq!((entry.gen_tokens, stamp), (Some(18), Some(Nanos(5_000_000_000))));
        assert_eq!(burst.read(b"5,ChatGPT,472,0,472,Conversation log"), Ok(Read::FailedCall), "a failed call");
        assert!(why(&burst, "5,ChatGPT").contains("2 fields"));
        assert!(why(&burst, "5,ChatGPT,many,1,2,x").contains("`many`"));

        let azure = Shape::Azure { stamp: 0, input: 1, output: 2 };
        let (entry, stamp) = read(&azure, "2023-11-16 18:15:46.6805900,374,44");
        assert_eq!(entry.content, Content::Sized { tokens: 374, blocks: vec![], block_tokens: 0 });
        assert_eq!((entry.gen_tokens, stamp), (Some(44), Some(Nanos(1_700_158_546_680_590_000))));
    }

    #[test]
    fn a_csv_column_is_the_prompt() {
        let shape = Shape::Csv { prompt: 1, output: Some(2) };
        let (entry, _) = read(&shape, "7,\"Why, then?\",12");
        assert_eq!((text(&entry), entry.gen_tokens), ("Why, then?", Some(12)));
        for unsaid in ["7,Why?,", "7,Why?,0"] {
            assert_eq!(read(&shape, unsaid).0.gen_tokens, None, "{unsaid}");
        }
        assert!(why(&shape, "7,,12").contains("empty"));
    }
}
