//! Server-sent events, scanned lazily.
//!
//! ```text
//!            ┌──────────── a token's usual event: text found by a scan, nothing parsed
//! bytes ─► lines ─► event
//!            └──────────── anything else (first, last, usage, error, unknown): parsed
//! ```

use hb_core::record::{Kind, TokensSource};
use memchr::memmem;

use super::{
    error_text,
    events::{Chunk, Endings, Usage},
};
use crate::{
    lines::{Lines, MAX_LINE_BYTES},
    protocol::{Answer, Progress, Reader},
    whole::message,
};

/// Reads one streamed answer.
pub struct EventStream {
    lines: Lines,
    event: Event,
    /// How many choices must end: the prompts in the request.
    choices: u32,
}

/// What is known of the answer so far.
#[derive(Default)]
struct Event {
    /// The data lines of the event that has not ended.
    data: Vec<u8>,
    progress: Progress,
    events: u32,
    first_tokens: Option<u32>,
    tokens_told: u32,
    endings: Endings,
    usage: Option<Usage>,
    error: Option<String>,
    is_done: bool,
    failed: Option<Kind>,
}

impl EventStream {
    /// A reader for a request with so many prompts.
    pub fn new(choices: u32) -> Self {
        Self { lines: Lines::default(), event: Event::default(), choices }
    }
}

impl Reader for EventStream {
    fn feed(&mut self, bytes: &[u8]) -> Result<Progress, Kind> {
        if let Some(kind) = self.event.failed {
            return Err(kind);
        }
        self.event.progress = Progress::default();
        let fed = self.lines.feed(bytes, |line| self.event.line(line));
        if let Err(kind) = fed {
            self.event.failed = Some(kind);
            return Err(kind);
        }
        self.event.progress.is_over = self.event.is_done;
        Ok(self.event.progress)
    }

    fn finish(&mut self) -> Answer {
        // A last event without its blank line is still an event: servers do close so.
        let ended = self.lines.finish(|line| self.event.line(line)).and_then(|()| self.event.dispatch());
        let mut event = std::mem::take(&mut self.event);
        event.failed = event.failed.or(ended.err());
        event.answer(self.choices)
    }
}

impl Event {
    fn line(&mut self, line: &[u8]) -> Result<(), Kind> {
        if line.is_empty() {
            return self.dispatch();
        }
        // Comments and the fields `event`, `id` and `retry` say nothing that is measured.
        let Some(data) = line.strip_prefix(b"data:") else { return Ok(()) };
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

    /// The event has ended: what did it say?
    fn dispatch(&mut self) -> Result<(), Kind> {
        if self.data.is_empty() {
            return Ok(());
        }
        let data = std::mem::take(&mut self.data);
        let said = self.said(&data);
        self.data = data;
        self.data.clear();
        self.data.shrink_to(64 * 1024);
        said
    }

    fn said(&mut self, data: &[u8]) -> Result<(), Kind> {
        if self.is_done {
            return Ok(());
        }
        if data.trim_ascii() == b"[DONE]" {
            self.is_done = true;
            return Ok(());
        }
        let text = std::str::from_utf8(data).map_err(|_| Kind::Malformed)?;
        if is_usual_token(data) {
            self.content(None);
            return Ok(());
        }
        let chunk: Chunk = serde_json::from_str(text).map_err(|_| Kind::Malformed)?;
        if let Some(error) = chunk.error.filter(|error| error.get() != "null") {
            self.error = Some(error_text(error.get().as_bytes()).unwrap_or_else(|| error.get().to_owned()));
            return Ok(());
        }
        let told_before = self.usage.map(|usage| usage.completion_tokens);
        let has_content = chunk.choices.iter().any(super::events::Choice::has_content);
        if has_content {
            let ids =
                chunk.choices.iter().map(|choice| choice.token_ids.as_ref().map(|ids| ids.len() as u32)).sum::<Option<u32>>();
            // `usage` in an event with content is a running total, unless it is the last event or a server that
            // sends zeros until then.
            let counted = chunk.usage.and_then(|usage| usage.completion_tokens.checked_sub(told_before.unwrap_or(0)));
            let is_last = chunk.choices.iter().any(|choice| choice.finish_reason.is_some());
            self.content(ids.or(counted.filter(|tokens| *tokens > 0 && !is_last)));
        }
        for reason in chunk.choices.iter().filter_map(|choice| choice.finish_reason.as_deref()) {
            self.endings.add(reason);
        }
        self.usage = chunk.usage.or(self.usage);
        Ok(())
    }

    fn content(&mut self, tokens: Option<u32>) {
        if self.events == 0 {
            self.first_tokens = tokens;
        }
        self.events += 1;
        self.tokens_told += tokens.unwrap_or(0);
        self.progress.tokens = if self.progress.events == 0 { tokens } else { add(self.progress.tokens, tokens) };
        self.progress.events += 1;
    }

    fn answer(self, choices: u32) -> Answer {
        let usage = self.usage.filter(|usage| usage.completion_tokens > 0 || self.events == 0);
        let generated = usage.map_or(self.events, |usage| usage.completion_tokens);
        let kind = if let Some(kind) = self.failed {
            Some(kind)
        } else if self.error.is_some() {
            Some(Kind::ErrorEvent)
        } else if self.endings.aborted > 0 {
            Some(Kind::Aborted)
        } else if !self.is_done || self.endings.finished < choices {
            Some(Kind::Truncated)
        } else if generated == 0 {
            Some(Kind::NoToken)
        } else {
            None
        };
        let counted = if usage.is_some() { TokensSource::Usage } else { TokensSource::Events };
        Answer {
            kind,
            message: self.error.as_deref().and_then(message),
            input_tokens: usage.map(|usage| usage.prompt_tokens),
            // Token ids, where they were told for every event, are as exact as `usage`.
            output_tokens: Some(if usage.is_none() && self.tokens_told > 0 { self.tokens_told } else { generated }),
            cached_tokens: usage.and_then(|usage| usage.prompt_tokens_details).and_then(|details| details.cached_tokens),
            first_chunk_tokens: self.first_tokens,
            source: Some(counted),
            events: self.events,
            stopped_early: self.endings.stopped > 0,
        }
    }
}

fn add(sum: Option<u32>, more: Option<u32>) -> Option<u32> {
    Some(sum? + more?)
}

/// Whether an event is the usual one of a token and nothing else: one choice, text that is not empty, no finish
/// reason, no usage, no error, no token ids. Quotes inside JSON strings are escaped, so the looked-for words
/// cannot come from the text itself.
fn is_usual_token(data: &[u8]) -> bool {
    let has = |words: &[u8]| memmem::find(data, words);
    let text = has(br#""content":""#).map(|at| at + 11).or_else(|| has(br#""text":""#).map(|at| at + 8));
    let Some(text) = text else { return false };
    data.first() == Some(&b'{')
        && data.trim_ascii_end().last() == Some(&b'}')
        && data.get(text).is_some_and(|byte| *byte != b'"')
        && has(br#""finish_reason":null"#).is_some()
        && has(br#""role":"#).is_none()
        && is_absent_or_null(data, br#""usage":"#)
        && is_absent_or_null(data, br#""error":"#)
        && is_absent_or_null(data, br#""token_ids":"#)
}

fn is_absent_or_null(data: &[u8], key: &[u8]) -> bool {
    memmem::find_iter(data, key).all(|at| data[at + key.len()..].starts_with(b"null"))
}
