//! Server-sent events, scanned lazily.
//!
//! ```text
//!            ┌──────────── a token's usual event: text found by a scan, nothing parsed
//! bytes ─► lines ─► event
//!            └──────────── anything else (first, last, usage, error, unknown): parsed
//! ```

use hb_core::record::{Kind, TokensSource};
use memchr::memmem;

use super::events::{Choice, Chunk, Endings, Usage};
use crate::{
    lines::{Lines, MAX_LINE_BYTES},
    protocol::{Answer, Progress, Reader},
    whole::{could_go_on, message},
};

/// Reads one streamed answer.
pub struct EventStream {
    lines: Lines,
    event: Event,
}

/// What is known of the answer so far.
#[derive(Default)]
struct Event {
    /// How many choices must end.
    choices: u32,
    /// The data lines of the event that has not ended.
    data: Vec<u8>,
    progress: Progress,
    events: u32,
    first_tokens: Option<u32>,
    /// The sum of what events told, `None` once one with content told nothing.
    tokens_told: Option<u32>,
    /// The running total of `usage` at the last event with content.
    counted: u32,
    endings: Endings,
    usage: Option<Usage>,
    error: Option<String>,
    is_done: bool,
    failed: Option<Kind>,
}

impl EventStream {
    /// A reader for an answer with so many choices.
    pub fn new(choices: u32) -> Self {
        Self { lines: Lines::default(), event: Event::of(choices) }
    }
}

impl Reader for EventStream {
    fn feed(&mut self, bytes: &[u8]) -> Result<Progress, Kind> {
        if let Some(kind) = self.event.failed {
            return Err(kind);
        }
        if self.event.is_done {
            return Ok(Progress { is_over: true, ..Progress::default() });
        }
        self.event.progress = Progress::default();
        let fed = self.lines.feed(bytes, |line| self.event.line(line));
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
        let next = Event::of(self.event.choices);
        std::mem::replace(&mut self.event, next).answer()
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
        let text = std::str::from_utf8(data).map_err(|_| Kind::Malformed)?;
        if is_usual_token(data) {
            self.content(None);
            return Ok(());
        }
        let chunk: Chunk = serde_json::from_str(text).map_err(|_| Kind::Malformed)?;
        if let Some(error) = chunk.error_text() {
            self.error.get_or_insert(error);
            return Ok(());
        }
        if chunk.choices.iter().any(Choice::has_content) {
            self.content(self.told(&chunk));
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

    fn content(&mut self, tokens: Option<u32>) {
        if self.events == 0 {
            self.first_tokens = tokens;
        }
        self.tokens_told = if self.events == 0 { tokens } else { add(self.tokens_told, tokens) };
        self.events += 1;
        self.progress.tokens = if self.progress.events == 0 { tokens } else { add(self.progress.tokens, tokens) };
        self.progress.events += 1;
    }

    fn answer(self) -> Answer {
        // A count of zero beside content is a server that does not count; token ids in every event are as exact.
        let usage = self.usage.filter(|usage| usage.completion_tokens > 0 || self.events == 0);
        let exact = usage.map(|usage| usage.completion_tokens).or(self.tokens_told);
        let generated = exact.unwrap_or(self.events);
        let kind = if let Some(kind) = self.failed {
            Some(kind)
        } else if self.error.is_some() {
            Some(Kind::ErrorEvent)
        } else if self.endings.aborted > 0 {
            Some(Kind::Aborted)
        } else if !self.is_done || self.endings.finished < self.choices {
            Some(Kind::Truncated)
        } else if generated == 0 {
            Some(Kind::NoToken)
        } else {
            None
        };
        Answer {
            kind,
            message: self.error.as_deref().and_then(message),
            input_tokens: usage.map(|usage| usage.prompt_tokens),
            output_tokens: Some(generated),
            cached_tokens: usage.and_then(|usage| usage.prompt_tokens_details).and_then(|details| details.cached_tokens),
            first_chunk_tokens: self.first_tokens,
            source: Some(if exact.is_some() { TokensSource::Usage } else { TokensSource::Events }),
            events: self.events,
            stopped_early: self.endings.stopped > 0,
        }
    }
}

fn add(sum: Option<u32>, more: Option<u32>) -> Option<u32> {
    Some(sum?.saturating_add(more?))
}

/// Whether an event is the usual one of a token and nothing else: text that is not empty, and no finish reason, usage,
/// error or token ids but `null`. Quotes inside JSON strings are escaped, so a key's words with both their quotes
/// cannot come from within the text. Where this says no, the event is parsed, so it need not know every shape; where it
/// says yes, parsing would have found the same.
fn is_usual_token(data: &[u8]) -> bool {
    let text = [&br#""content":""#[..], br#""text":""#]
        .into_iter()
        .find_map(|key| memmem::find(data, key).and_then(|at| data.get(at + key.len())));
    text.is_some_and(|byte| *byte != b'"')
        && data.first() == Some(&b'{')
        && data.last() == Some(&b'}')
        && [&br#""finish_reason""#[..], br#""usage""#, br#""error""#, br#""token_ids""#]
            .into_iter()
            .all(|key| memmem::find_iter(data, key).all(|at| data[at + key.len()..].starts_with(b":null")))
}
