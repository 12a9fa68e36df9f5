//! What a request asks for, whichever of the four ways it says so.

use std::fmt;

use serde::{
    Deserialize, Deserializer,
    de::{self, IgnoredAny},
};
use serde_json::Value;

/// A way to ask for tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    /// OpenAI's completions.
    Completions,
    /// OpenAI's chat.
    Chat,
    /// Ollama's generate.
    Generate,
    /// Ollama's chat.
    OllamaChat,
}

/// All of them, with their paths.
pub const DIALECTS: [(Dialect, &str); 4] = [
    (Dialect::Completions, "/v1/completions"),
    (Dialect::Chat, "/v1/chat/completions"),
    (Dialect::Generate, "/api/generate"),
    (Dialect::OllamaChat, "/api/chat"),
];

impl Dialect {
    /// Whether it is one of Ollama's.
    pub fn is_ollama(self) -> bool {
        matches!(self, Self::Generate | Self::OllamaChat)
    }
}

/// What is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ask {
    /// The way it is asked.
    pub dialect: Dialect,
    /// The model's name.
    pub model: String,
    /// How many prompts, and their tokens in all.
    pub prompts: Prompts,
    /// The most tokens of one answer, where the request says it.
    pub most_tokens: Option<u32>,
    /// Whether the model must not stop by itself.
    pub ignores_end: bool,
    /// Whether the answer is streamed.
    pub is_streamed: bool,
    /// Whether the stream tells the token counts.
    pub wants_usage: bool,
    /// Ollama: nothing to answer, the model is only to be loaded.
    pub only_loads: bool,
}

/// Prompts and their tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Prompts {
    /// How many.
    pub count: u32,
    /// Their tokens: one a word, or one an id.
    pub tokens: u32,
}

#[derive(Deserialize)]
struct OpenaiBody {
    #[serde(default)]
    model: Option<String>,
    #[serde(default)]
    prompt: Option<Prompts>,
    #[serde(default)]
    messages: Option<Vec<Message>>,
    #[serde(default)]
    max_tokens: Option<u32>,
    #[serde(default)]
    max_completion_tokens: Option<u32>,
    #[serde(default)]
    ignore_eos: Option<bool>,
    #[serde(default)]
    stream: Option<bool>,
    #[serde(default)]
    stream_options: Option<StreamOptions>,
}

#[derive(Deserialize)]
struct StreamOptions {
    #[serde(default)]
    include_usage: Option<bool>,
}

#[derive(Deserialize)]
struct OllamaBody {
    #[serde(default)]
    model: Option<String>,
    #[serde(default)]
    prompt: Option<String>,
    #[serde(default)]
    messages: Option<Vec<Message>>,
    #[serde(default)]
    stream: Option<bool>,
    #[serde(default)]
    options: Option<Options>,
}

#[derive(Deserialize)]
struct Options {
    /// Ollama's own: below zero means until the model stops.
    #[serde(default)]
    num_predict: Option<i64>,
}

#[derive(Deserialize)]
struct Message {
    #[serde(default)]
    content: Value,
}

impl Message {
    fn words(&self) -> u32 {
        match &self.content {
            Value::String(text) => words(text),
            Value::Array(parts) => parts.iter().filter_map(|part| part["text"].as_str()).map(words).sum(),
            _ => 0,
        }
    }
}

/// A word counts as a token.
pub fn words(text: &str) -> u32 {
    u32::try_from(text.split_ascii_whitespace().count()).unwrap_or(u32::MAX)
}

/// Reads a body.
///
/// # Errors
/// The sentence for the 400.
pub fn read(dialect: Dialect, body: &[u8]) -> Result<Ask, String> {
    if dialect.is_ollama() { read_ollama(dialect, body) } else { read_openai(dialect, body) }
}

fn read_openai(dialect: Dialect, body: &[u8]) -> Result<Ask, String> {
    let body: OpenaiBody = serde_json::from_slice(body).map_err(|error| error.to_string())?;
    let (is_streamed, options) = (body.stream.unwrap_or(false), body.stream_options);
    if options.is_some() && !is_streamed {
        return Err("Stream options can only be defined when `stream=True`.".into());
    }
    let prompts = match dialect {
        Dialect::Chat => body.messages.map(|messages| conversation(&messages)).ok_or("field `messages` is required")?,
        _ => body.prompt.ok_or("field `prompt` is required")?,
    };
    if prompts.count == 0 || prompts.tokens == 0 {
        return Err("the prompt is empty".into());
    }
    let most_tokens = body.max_completion_tokens.or(body.max_tokens);
    if most_tokens == Some(0) {
        return Err("max_tokens must be at least 1, got 0.".into());
    }
    Ok(Ask {
        dialect,
        model: body.model.unwrap_or_default(),
        prompts,
        most_tokens,
        ignores_end: body.ignore_eos.unwrap_or(false),
        is_streamed,
        wants_usage: options.and_then(|options| options.include_usage).unwrap_or(false),
        only_loads: false,
    })
}

fn read_ollama(dialect: Dialect, body: &[u8]) -> Result<Ask, String> {
    if body.is_empty() {
        return Err("missing request body".into());
    }
    let body: OllamaBody = serde_json::from_slice(body).map_err(|error| error.to_string())?;
    let prompts = match dialect {
        Dialect::OllamaChat => conversation(&body.messages.unwrap_or_default()),
        _ => Prompts { count: 1, tokens: words(&body.prompt.unwrap_or_default()) },
    };
    let most_tokens = body.options.and_then(|options| options.num_predict);
    Ok(Ask {
        dialect,
        model: body.model.unwrap_or_default(),
        prompts,
        most_tokens: most_tokens.and_then(|most| u32::try_from(most).ok()),
        ignores_end: false,
        is_streamed: body.stream.unwrap_or(true),
        wants_usage: true,
        only_loads: prompts.tokens == 0,
    })
}

fn conversation(messages: &[Message]) -> Prompts {
    Prompts { count: 1, tokens: messages.iter().map(Message::words).sum() }
}

/// Reads OpenAI's `prompt`, a text, a list of ids, or a list of either, and keeps only the counts.
impl<'de> Deserialize<'de> for Prompts {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl<'de> de::Visitor<'de> for Visitor {
            type Value = Prompts;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a text, a list of token ids, or a list of either")
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<Prompts, E> {
                Ok(Prompts { count: 1, tokens: words(text) })
            }
            fn visit_seq<A: de::SeqAccess<'de>>(self, mut list: A) -> Result<Prompts, A::Error> {
                let (mut ids, mut prompts) = (0, Prompts::default());
                while let Some(element) = list.next_element()? {
                    match element {
                        Element::Id => ids += 1,
                        Element::Prompt(tokens) => {
                            prompts.count += 1;
                            prompts.tokens += tokens;
                        }
                    }
                }
                match (ids, prompts.count) {
                    (ids, 0) => Ok(Prompts { count: u32::from(ids > 0), tokens: ids }),
                    (0, _) => Ok(prompts),
                    _ => Err(de::Error::custom("a list has token ids or prompts, not both")),
                }
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}

/// What stands in the list of a `prompt`.
enum Element {
    Id,
    Prompt(u32),
}

impl<'de> Deserialize<'de> for Element {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl<'de> de::Visitor<'de> for Visitor {
            type Value = Element;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a token id, a text, or a list of token ids")
            }
            fn visit_u64<E: de::Error>(self, _: u64) -> Result<Element, E> {
                Ok(Element::Id)
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<Element, E> {
                Ok(Element::Prompt(words(text)))
            }
            fn visit_seq<A: de::SeqAccess<'de>>(self, mut list: A) -> Result<Element, A::Error> {
                let mut tokens = 0;
                while list.next_element::<IgnoredAny>()?.is_some() {
                    tokens += 1;
                }
                Ok(Element::Prompt(tokens))
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(prompt: &str, expected: Option<(u32, u32)>) {
        let body = format!(r#"{{"model": "m", "prompt": {prompt}, "max_tokens": 4}}"#);
        let read = read(Dialect::Completions, body.as_bytes()).ok().map(|ask| (ask.prompts.count, ask.prompts.tokens));
        assert_eq!(read, expected, "{prompt}");
    }

    #[test]
    fn prompts_are_counted_by_words_or_ids_alone_or_in_batches() {
        check(r#""one two  three""#, Some((1, 3)));
        check("[5, 6, 7, 8]", Some((1, 4)));
        check(r#"["one two", "three"]"#, Some((2, 3)));
        check("[[1, 2], [3, 4, 5]]", Some((2, 5)));
        check(r#"[1, "two"]"#, None);
        check("[]", None);
        check(r#""""#, None);
        check("7", None);
    }

    #[test]
    fn a_chat_counts_its_messages_words_however_they_are_written() {
        let body = br#"{"messages": [{"role": "system", "content": "a b"}, {"role": "user", "content": [{"type": "text", "text": "c"}]}]}"#;
        assert_eq!(read(Dialect::Chat, body).unwrap().prompts, Prompts { count: 1, tokens: 3 });
        assert_eq!(read(Dialect::OllamaChat, body).unwrap().prompts, Prompts { count: 1, tokens: 3 });
    }

    #[test]
    fn ollama_streams_unless_told_otherwise_and_openai_only_when_told() {
        assert!(read(Dialect::Generate, br#"{"prompt": "a"}"#).unwrap().is_streamed);
        assert!(!read(Dialect::Generate, br#"{"prompt": "a", "stream": false}"#).unwrap().is_streamed);
        assert!(!read(Dialect::Completions, br#"{"prompt": "a"}"#).unwrap().is_streamed);
    }

    #[test]
    fn an_endless_num_predict_is_no_limit() {
        let most = |n: &str| {
            let body = format!(r#"{{"prompt": "a", "options": {{"num_predict": {n}}}}}"#);
            read(Dialect::Generate, body.as_bytes()).unwrap().most_tokens
        };
        assert_eq!((most("7"), most("-1"), most("0")), (Some(7), None, Some(0)));
    }
}
