//! Server-sent events, scanned lazily.
//!
//! ```text
//!            ┌──────────── a token's usual event: text found by a scan, nothing parsed
//! bytes ─► lines ─► event
//!            └──────────── anything else (first, last, usage, error, unknown): parsed
//! ```

use std::sync::{Arc, LazyLock};

use hb_core::record::{Kind, TokensSource};
use memchr::memmem::Finder;

use super::events::{Choice, Chunk, Endings, Usage};
use crate::{
    fingerprint::{Fingerprint, text_of},
    kept::{Kept, text_in},
    lines::{Lines, MAX_LINE_BYTES},
    protocol::{Answer, Progress, Reader},
    refusal::error_text,
    whole::{could_go_on, message},
};

/// The mark that some programs put before UTF-8.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";
/// The bytes that are shown of an answer that is no event stream.
const SHOWN_BYTES: usize = 60;

/// Reads one streamed answer.
pub struct EventStream {
    lines: Lines,
    event: Event,
    /// What the head of the answer calls its body.
    content_type: String,
}

/// What is known of the answer so far.
#[derive(Default)]
struct Event {
    /// How many choices must end.
    choices: u32,
    /// The data lines of the event that has not ended.
    data: Vec<u8>,
    /// Whether the event that has not ended is named `error`.
    is_error: bool,
    /// Whether a data line came.
    has_data: bool,
    /// The lines before the first data line that no event stream has: an answer of another form.
    strange: Vec<u8>,
    usual: Usual,
    progress: Progress,
    events: u32,
    /// Events with reasoning and no output.
    reasoned: u32,
    /// Whether any event had reasoning.
    has_reasoned: bool,
    first_tokens: Option<u32>,
    /// The sum of what events told, `None` once one with content told nothing.
    tokens_told: Option<u32>,
    /// The running total of `usage` at the last event with content.
    counted: u32,
    endings: Endings,
    usage: Option<Usage>,
    error: Option<String>,
    /// The model of the last event that was parsed.
    model: Option<Arc<str>>,
    print: Fingerprint,
    text: Kept,
    is_done: bool,
    failed: Option<Kind>,
}

impl EventStream {
    /// A reader for an answer with so many choices.
    pub fn new(choices: u32) -> Self {
        Self { lines: Lines::default(), event: Event::of(choices), content_type: String::new() }
    }

    /// The same, which keeps the answer's text, if it is wanted.
    pub fn keeping_text(mut self, is_wanted: bool) -> Self {
        self.event.text = Kept::wanted(is_wanted);
        self
    }
}

impl EventStream {
    /// Takes whole usual tokens as they lie in the bytes, and all else line by line.
    fn fed(&mut self, mut bytes: &[u8]) -> Result<(), Kind> {
        loop {
            if self.lines.is_empty() && self.event.data.is_empty() && !self.event.is_done && !self.event.is_error {
                while let Some((text, rest)) = self.event.usual.strip(bytes) {
                    self.event.print.add(text);
                    self.event.text.add(|| std::str::from_utf8(text).ok().map(Into::into))?;
                    self.event.output();
                    bytes = rest;
                }
            }
            let Some(end) = memchr::memchr(b'\n', bytes) else { break };
            let (line, rest) = bytes.split_at(end + 1);
            self.lines.feed(line, |line| self.event.line(line))?;
            bytes = rest;
        }
        self.lines.feed(bytes, |line| self.event.line(line))
    }
}

impl Reader for EventStream {
    fn begin(&mut self, content_type: &str) {
        self.content_type.clear();
        self.content_type.push_str(content_type);
    }

    fn feed(&mut self, bytes: &[u8]) -> Result<Progress, Kind> {
        if let Some(kind) = self.event.failed {
            return Err(kind);
        }
        if self.event.is_done {
            return Ok(Progress { is_over: true, ..Progress::default() });
        }
        self.event.progress = Progress::default();
        let fed = self.fed(bytes);
        // What follows the end mark changes nothing, be it an endless line.
        if let Err(kind) = fed
            && !self.event.is_done
        {
            self.event.failed = Some(kind);
            return Err(kind);
        }
        self.event.progress.is_over = self.event.is_done;
        Ok(self.event.progress)
    }

    fn finish(&mut self) -> Answer {
        // A last event without its blank line is still an event: servers do close so.
        if self.event.failed.is_some() || self.event.is_done {
            self.lines.clear();
        } else {
            let ended = self.lines.finish(|line| self.event.line(line)).and_then(|()| self.event.dispatch_last());
            self.event.failed = ended.err();
        }
        // The next answer is most likely of the same model, and its events look alike.
        let (usual, model) = (std::mem::take(&mut self.event.usual), self.event.model.clone());
        let text = self.event.text.take();
        let next = Event { usual, model, text: Kept::wanted(text.is_some()), ..Event::of(self.event.choices) };
        Answer { text, ..std::mem::replace(&mut self.event, next).answer(&self.content_type) }
    }
}

impl Event {
    fn of(choices: u32) -> Self {
        Self { choices, ..Self::default() }
    }

    fn line(&mut self, line: &[u8]) -> Result<(), Kind> {
        if line.is_empty() {
            return self.dispatch();
        }
        let Some(data) = line.strip_prefix(b"data:") else {
            return match line.strip_prefix(BYTE_ORDER_MARK) {
                Some(line) if !self.has_data && self.strange.is_empty() => self.line(line),
                _ => {
                    self.other(line);
                    Ok(())
                }
            };
        };
        self.has_data = true;
        let data = data.strip_prefix(b" ").unwrap_or(data);
        if !self.data.is_empty() {
            self.data.push(b'\n');
        }
        if self.data.len() + data.len() > MAX_LINE_BYTES {
            return Err(Kind::Oversize);
        }
        self.data.extend_from_slice(data);
        Ok(())
    }

    /// A line without data. Comments and the fields `id` and `retry` say nothing that is measured.
    fn other(&mut self, line: &[u8]) {
        let (name, value) = line.split_at(memchr::memchr(b':', line).unwrap_or(line.len()));
        match name {
            b"event" => self.is_error = value.trim_ascii_start().strip_prefix(b":").map(<[u8]>::trim_ascii) == Some(b"error"),
            b"" | b"id" | b"retry" => {}
            _ if !self.has_data && self.events == 0 && self.strange.len() + line.len() < MAX_LINE_BYTES => {
                self.strange.extend_from_slice(line);
                self.strange.push(b'\n');
            }
            _ => {}
        }
    }

    /// The event has ended: what did it say?
    fn dispatch(&mut self) -> Result<(), Kind> {
        if self.data.is_empty() {
            self.is_error = false;
            return Ok(());
        }
        let data = std::mem::take(&mut self.data);
        let said = self.said(&data);
        self.is_error = false;
        self.data = data;
        self.data.clear();
        self.data.shrink_to(64 * 1024);
        said
    }

    /// The body has ended: an event that was cut is no event, and the missing end mark says the rest.
    fn dispatch_last(&mut self) -> Result<(), Kind> {
        let is_cut = b"[DONE]".starts_with(&self.data) && self.data.len() < 6 || could_go_on(&self.data);
        if is_cut { Ok(()) } else { self.dispatch() }
    }

    fn said(&mut self, data: &[u8]) -> Result<(), Kind> {
        if self.is_done {
            return Ok(());
        }
        if data.trim_ascii() == b"[DONE]" {
            self.is_done = true;
            return Ok(());
        }
        if self.is_error {
            self.error = self.error.take().or_else(|| error_text(data));
            return Ok(());
        }
        let text = std::str::from_utf8(data).map_err(|_| Kind::Malformed)?;
        if is_usual_token(data) {
            self.usual.learn(data);
            self.text.add(|| text_in(data))?;
            self.print.add(text_of(data, &*TEXTS).unwrap_or_default());
            self.output();
            return Ok(());
        }
        let chunk: Chunk = serde_json::from_str(text).map_err(|_| Kind::Malformed)?;
        if let Some(error) = chunk.error_in(data) {
            self.error.get_or_insert(error);
            return Ok(());
        }
        if chunk.model.is_some() && chunk.model.as_deref() != self.model.as_deref() {
            self.model = chunk.model.as_deref().map(Into::into);
        }
        if chunk.choices.iter().any(Choice::has_content) {
            self.print.add(text_of(data, &*TEXTS).unwrap_or_default());
            self.text.add(|| text_in(data))?;
            self.content(self.told(&chunk));
            let has_reasoning = chunk.choices.iter().any(Choice::has_reasoning);
            let has_output = chunk.choices.iter().any(Choice::has_output);
            self.progress.had(has_reasoning, has_output);
            self.has_reasoned |= has_reasoning;
            self.reasoned += u32::from(has_reasoning && !has_output);
            self.counted = chunk.usage.map_or(self.counted, |usage| usage.completion_tokens);
        }
        chunk.finish_reasons().for_each(|reason| self.endings.add(reason));
        self.usage = chunk.usage.or(self.usage);
        Ok(())
    }

    /// How many tokens an event with content says it has: its token ids, or what it adds to a running total in
    /// `usage`. A total that comes for the first time late in the answer is the whole answer's, and no event's.
    fn told(&self, chunk: &Chunk) -> Option<u32> {
        let ids = chunk.choices.iter().map(|choice| choice.token_ids.0).sum::<Option<u32>>();
        let is_running = self.choices == 1 && (self.events == 0 || self.counted > 0);
        let added = chunk.usage.filter(|_| is_running).and_then(|usage| usage.completion_tokens.checked_sub(self.counted));
        ids.or(added.filter(|tokens| *tokens > 0))
    }

    /// A usual token: text, of which no count is told.
    fn output(&mut self) {
        self.content(None);
        self.progress.has_output = true;
    }

    fn content(&mut self, tokens: Option<u32>) {
        if self.events == 0 {
            self.first_tokens = tokens;
        }
        self.tokens_told = if self.events == 0 { tokens } else { add(self.tokens_told, tokens) };
        self.events += 1;
        self.progress.tokens = if self.progress.events == 0 { tokens } else { add(self.progress.tokens, tokens) };
        self.progress.events += 1;
    }

    /// The kind and the message of an answer that is no event stream at all.
    fn other_form(&self, content_type: &str) -> Option<(Kind, String)> {
        let body = self.strange.trim_ascii();
        // The beginning of a line that was cut could have been data.
        if self.has_data || self.events > 0 || body.is_empty() || b"data:".starts_with(body) || could_go_on(body) {
            return None;
        }
        let chunk = serde_json::from_slice::<Chunk>(body).ok();
        if let Some(error) = chunk.as_ref().and_then(|chunk| chunk.error_in(body)) {
            return Some((Kind::ErrorEvent, error));
        }
        let told = if chunk.is_some_and(|chunk| !chunk.choices.is_empty()) {
            "the server answered in one piece though a stream was asked for; write `workload.stream: false`".into()
        } else {
            let named = if content_type.is_empty() { "a body of no content type" } else { content_type };
            format!("not an event stream, but {named}: {}", String::from_utf8_lossy(&body[..body.len().min(SHOWN_BYTES)]))
        };
        Some((Kind::Malformed, told))
    }

    /// What an answer lacks that is not whole.
    fn lacking(&self) -> String {
        let (finished, choices) = (self.endings.finished, self.choices);
        match self.is_done {
            _ if !self.has_data && self.events == 0 => "no event came".into(),
            false if finished < choices => "neither a `finish_reason` nor `[DONE]` came".into(),
            false => "`finish_reason` came, but no `[DONE]`".into(),
            true if finished > 0 => format!("`[DONE]` came, but only {finished} of {choices} choices have a `finish_reason`"),
            true => "`[DONE]` came, but no `finish_reason`".into(),
        }
    }

    fn answer(self, content_type: &str) -> Answer {
        // A count of zero beside content is a server that does not count; token ids in every event are as exact.
        let usage = self.usage.filter(|usage| usage.completion_tokens > 0 || self.events == 0);
        let exact = usage.map(|usage| usage.completion_tokens).or(self.tokens_told);
        let generated = exact.unwrap_or(self.events);
        let mut told = self.error.clone();
        let kind = if let Some(kind) = self.failed {
            Some(kind)
        } else if told.is_some() {
            Some(Kind::ErrorEvent)
        } else if let Some((kind, form)) = self.other_form(content_type) {
            told = Some(form);
            Some(kind)
        } else if self.endings.aborted > 0 {
            Some(Kind::Aborted)
        } else if !self.is_done || self.endings.finished < self.choices {
            told = Some(self.lacking());
            Some(Kind::Truncated)
        } else if generated == 0 {
            Some(Kind::NoToken)
        } else {
            None
        };
        Answer {
            kind,
            message: told.as_deref().and_then(message),
            input_tokens: usage.map(|usage| usage.prompt_tokens),
            output_tokens: Some(generated),
            cached_tokens: usage.and_then(|usage| usage.prompt_tokens_details).and_then(|details| details.cached_tokens),
            first_chunk_tokens: self.first_tokens,
            source: Some(if exact.is_some() { TokensSource::Usage } else { TokensSource::Events }),
            events: self.events,
            stopped_early: self.endings.stopped > 0,
            is_reasoning_alone: self.events > 0 && self.events == self.reasoned,
            hidden_reasoning_tokens: usage.and_then(|usage| usage.reasoning_tokens).filter(|_| !self.has_reasoned),
            // Of the answer before, where this one ended before it said anything.
            model: self.model.filter(|_| self.endings.finished > 0 || usage.is_some()),
            fingerprint: self.print.number(),
            text: None,
        }
    }
}

fn add(sum: Option<u32>, more: Option<u32>) -> Option<u32> {
    Some(sum?.saturating_add(more?))
}

/// The bytes around the text of the last usual token. The tokens of an answer differ in nothing else, so the next one is
/// known by two comparisons; looking for each key cost 500 ns, which at a hundred tokens a request was most of it.
#[derive(Default)]
struct Usual {
    /// The event without its text; empty where none was learned.
    around: Vec<u8>,
    /// Where the text belongs.
    text_at: usize,
}

impl Usual {
    /// The text and what follows, if `bytes` begin with the learned event and another text. A text without quote and escape ends
    /// nowhere else, so the event is the same JSON but for that string.
    fn strip<'a>(&self, bytes: &'a [u8]) -> Option<(&'a [u8], &'a [u8])> {
        let (head, tail) = self.around.split_at(self.text_at);
        let rest = bytes.strip_prefix(b"data: ").filter(|_| !head.is_empty())?.strip_prefix(head)?;
        let (text, rest) = rest.split_at_checked(memchr::memchr2(b'"', b'\\', rest)?)?;
        // The end of a line within would be another event's.
        let is_text = !text.is_empty() && std::str::from_utf8(text).is_ok() && !text.contains(&b'\n');
        let rest = rest.strip_prefix(tail)?.strip_prefix(b"\n\n").filter(|_| is_text)?;
        Some((text, rest))
    }

    /// Takes a usual token as the example of those to come, unless its text has an escape.
    fn learn(&mut self, data: &[u8]) {
        let Some(start) = text_start(data) else { return };
        let Some(end) = memchr::memchr(b'"', &data[start..]).map(|length| start + length) else { return };
        if is_plain(&data[start..end]) {
            self.around.clear();
            self.around.extend_from_slice(&data[..start]);
            self.around.extend_from_slice(&data[end..]);
            self.text_at = start;
        }
    }
}

fn is_plain(text: &[u8]) -> bool {
    memchr::memchr2(b'"', b'\\', text).is_none() && std::str::from_utf8(text).is_ok()
}

/// The searches are made once: making one takes longer than an event's search.
static TEXT_KEYS: LazyLock<[Finder<'static>; 2]> = LazyLock::new(|| [&br#""content":""#[..], br#""text":""#].map(Finder::new));
/// The same keys with their quotes alone, wherever blanks stand.
pub(super) static TEXTS: LazyLock<[Finder<'static>; 2]> = LazyLock::new(|| [&br#""content""#[..], br#""text""#].map(Finder::new));
static END_KEYS: LazyLock<[Finder<'static>; 4]> =
    LazyLock::new(|| [&br#""finish_reason""#[..], br#""usage""#, br#""error""#, br#""token_ids""#].map(Finder::new));

/// Where the text begins, its quote passed.
fn text_start(data: &[u8]) -> Option<usize> {
    TEXT_KEYS.iter().find_map(|key| Some(key.find(data)? + key.needle().len()).filter(|start| *start < data.len()))
}

/// Whether an event is the usual one of a token and nothing else: text that is not empty, and no finish reason, usage,
/// error or token ids but `null`. Quotes inside JSON strings are escaped, so a key's words with both their quotes
/// cannot come from within the text. Where this says no, the event is parsed, so it need not know every shape; where it
/// says yes, parsing would have found the same.
fn is_usual_token(data: &[u8]) -> bool {
    text_start(data).is_some_and(|start| data[start] != b'"')
        && data.first() == Some(&b'{')
        && data.last() == Some(&b'}')
        && END_KEYS.iter().all(|key| key.find_iter(data).all(|at| data[at + key.needle().len()..].starts_with(b":null")))
}

#[cfg(test)]
mod tests {
    use std::{fs, path::Path};

    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    /// What an event came to, by the fast path where it is one, and by parsing.
    fn check(data: &str) -> bool {
        let is_usual = is_usual_token(data.as_bytes());
        if is_usual {
            let chunk: Chunk = serde_json::from_str(data).unwrap_or_else(|error| panic!("{data}: {error}"));
            let fresh = Event::of(1);
            assert!(chunk.choices.iter().any(Choice::has_content), "no content in {data}");
            assert_eq!(fresh.told(&chunk), None, "tokens told in {data}");
            assert_eq!(chunk.finish_reasons().count(), 0, "an end in {data}");
            assert!(chunk.usage.is_none() && chunk.error_text().is_none(), "more than a token in {data}");
        }
        is_usual
    }

    /// Whether `next` is taken for `usual` with another text.
    fn is_like(usual: &str, next: &str) -> bool {
        let mut learned = Usual::default();
        learned.learn(usual.as_bytes());
        learned.strip(format!("data: {next}\n\ndata: x").as_bytes()).is_some_and(|(_, rest)| rest == b"data: x")
    }

    #[test]
    fn only_another_plain_text_makes_an_event_like_the_last() {
        let usual = r#"{"id":"1","choices":[{"text":" a","finish_reason":null}]}"#;
        assert!(is_usual_token(usual.as_bytes()));
        for like in [" b", "ü", "longer than before", "}]}"] {
            assert!(is_like(usual, &usual.replace(" a", like)), "{like}");
        }
        for other in ["", "\\n", "\\\"", r#"a","finish_reason":"stop","x":"b"#] {
            assert!(!is_like(usual, &usual.replace(" a", other)), "{other}");
        }
        assert!(!is_like(usual, &usual.replace("null", r#""length""#)));
        assert!(!is_like(usual, &usual.replace(r#""1""#, r#""2""#)));
        assert!(!is_like(&usual.replace(" a", "\\n"), &usual.replace(" a", "\\n")), "an escape is no example");
        let mut learned = Usual::default();
        learned.learn(usual.as_bytes());
        let (head, tail) = learned.around.split_at(learned.text_at);
        let broken = [b"data: ", head, &[0xff], tail, b"\n\n"].concat();
        assert_eq!(learned.strip(&broken), None, "broken UTF-8 is left to the parser");
        assert_eq!(learned.strip(format!("data: {usual}\n").as_bytes()), None, "an event without its end is none yet");
    }

    #[test]
    fn the_fast_path_agrees_with_parsing_for_every_recorded_event() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
        let (mut usual, mut all) = (0, 0);
        for server in ["llamacpp", "ollama", "vllm"] {
            for file in fs::read_dir(folder.join(server)).unwrap() {
                let bytes = fs::read(file.unwrap().path()).unwrap();
                for line in String::from_utf8_lossy(&bytes).lines().filter_map(|line| line.strip_prefix("data: {")) {
                    all += 1;
                    usual += u32::from(check(&format!("{{{line}")));
                }
            }
        }
        // A fast path that takes nothing would agree as well.
        assert!(usual > 50, "{usual} of {all} events take the fast path");
    }

    fn value() -> impl Strategy<Value = Value> {
        let text = prop_oneof![
            Just(String::new()),
            Just(r#"","finish_reason":"stop"#.to_owned()),
            Just(r#""content":"x"#.to_owned()),
            ".{0,6}"
        ];
        prop_oneof![Just(Value::Null), text.prop_map(Value::from), Just(json!([401])), Just(json!({"completion_tokens": 3}))]
    }

    proptest! {
        #[test]
        fn the_fast_path_agrees_with_parsing_for_any_mixture(
            text in value(), content in value(), reason in value(), usage in value(), error in value(), ids in value(), second in value(),
        ) {
            let choice = |text: &Value, reason: &Value| {
                json!({"index": 0, "delta": {"role": "assistant", "content": content}, "text": text, "finish_reason": reason,
                       "token_ids": ids, "logprobs": {"content": [{"token": "a", "bytes": [97]}]}})
            };
            let event = json!({"choices": [choice(&text, &Value::Null), choice(&second, &reason)], "usage": usage, "error": error});
            // Where even serde refuses a field's type, only the slow path may take the event.
            if serde_json::from_str::<Chunk>(&event.to_string()).is_ok() {
                check(&event.to_string());
                check(&serde_json::to_string_pretty(&event).unwrap());
            } else {
                prop_assert!(!is_usual_token(event.to_string().as_bytes()), "{}", event);
            }
        }
    }
}
