//! One JSON object a line, the last of them with `done` and the server's counts.

use std::{
    borrow::Cow,
    sync::{Arc, LazyLock},
};

use hb_core::record::{Kind, TokensSource};
use memchr::memmem::Finder;
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::{
    fields::Filled,
    fingerprint::{Fingerprint, text_of},
    kept::{Kept, text_in},
    lines::Lines,
    protocol::{Answer, Progress, Reader},
    refusal::error_text,
    whole::{could_go_on, message},
};

/// One line's JSON, or a whole answer's, as far as it matters. Reading it keeps nothing and allocates nothing.
#[derive(Debug, Deserialize)]
pub struct Object<'a> {
    #[serde(default, borrow)]
    model: Option<Cow<'a, str>>,
    /// Generate: the piece of text.
    #[serde(default)]
    response: Filled,
    /// Generate: the piece of reasoning.
    #[serde(default)]
    thinking: Filled,
    /// Chat: what this line adds.
    #[serde(default)]
    message: Option<Piece>,
    #[serde(default)]
    done: bool,
    #[serde(default, borrow)]
    done_reason: Option<Cow<'a, str>>,
    /// Older servers leave it out where the prompt was cached.
    #[serde(default)]
    prompt_eval_count: Option<u32>,
    /// Left out where it is zero.
    #[serde(default)]
    eval_count: Option<u32>,
    /// An error inside an answer that began with status 200.
    #[serde(default, borrow)]
    error: Option<&'a RawValue>,
}

/// A piece of a chat message.
#[derive(Debug, Deserialize)]
struct Piece {
    #[serde(default)]
    content: Filled,
    #[serde(default)]
    thinking: Filled,
    #[serde(default)]
    tool_calls: Filled,
}

/// What an object with content had.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Content {
    /// Reasoning.
    pub reasoning: bool,
    /// Text or tool calls.
    pub output: bool,
}

/// What the objects of an answer came to.
#[derive(Debug, Default)]
pub struct Sum {
    events: u32,
    /// Of those, the ones with reasoning and no output.
    reasoned: u32,
    input_tokens: Option<u32>,
    output_tokens: Option<u32>,
    stopped_early: bool,
    is_done: bool,
    error: Option<String>,
    model: Option<Arc<str>>,
    print: Fingerprint,
}

/// Where an answer's text stands.
static TEXTS: LazyLock<[Finder<'static>; 2]> = LazyLock::new(|| [&br#""response""#[..], br#""content""#].map(Finder::new));

impl Sum {
    /// Takes the next object, whose JSON is this; says what content it had, if any: text, reasoning or tool calls.
    pub fn add(&mut self, object: &Object, json: &[u8]) -> Option<Content> {
        if let Some(error) = object.error.map(RawValue::get).filter(|text| *text != "null") {
            self.error = self.error.take().or_else(|| error_text(error.as_bytes()));
            return None;
        }
        let message = object.message.as_ref();
        let content = Content {
            reasoning: object.thinking.0 || message.is_some_and(|piece| piece.thinking.0),
            output: object.response.0 || message.is_some_and(|piece| piece.content.0 || piece.tool_calls.0),
        };
        let content = Some(content).filter(|content| content.reasoning || content.output);
        self.events += u32::from(content.is_some());
        self.reasoned += u32::from(content.is_some_and(|content| !content.output));
        if content.is_some() {
            self.print.add(text_of(json, &*TEXTS).unwrap_or_default());
        }
        if object.done {
            self.is_done = true;
            self.model = object.model.as_deref().map(Into::into);
            self.stopped_early = object.done_reason.as_deref() == Some("stop");
            self.input_tokens = object.prompt_eval_count;
            self.output_tokens = object.eval_count.filter(|count| *count > 0);
        }
        content
    }

    /// What they came to, the body having ended or failed.
    pub fn answer(self, failed: Option<Kind>) -> Answer {
        let generated = self.output_tokens.unwrap_or(self.events);
        let kind = if failed.is_some() {
            failed
        } else if self.error.is_some() {
            Some(Kind::ErrorEvent)
        } else if !self.is_done {
            // Ollama ends a model that repeats itself so: cleanly, with neither an error nor a last object.
            Some(Kind::Truncated)
        } else if generated == 0 {
            Some(Kind::NoToken)
        } else {
            None
        };
        Answer {
            kind,
            message: self.error.as_deref().and_then(message),
            input_tokens: self.input_tokens,
            output_tokens: Some(generated),
            cached_tokens: None,
            first_chunk_tokens: None,
            source: Some(if self.output_tokens.is_some() { TokensSource::Usage } else { TokensSource::Events }),
            events: self.events,
            stopped_early: self.stopped_early,
            is_reasoning_alone: self.events > 0 && self.events == self.reasoned,
            hidden_reasoning_tokens: None,
            model: self.model,
            fingerprint: self.print.number(),
            text: None,
        }
    }
}

/// Reads one streamed answer.
#[derive(Default)]
pub struct ObjectStream {
    lines: Lines,
    sum: Sum,
    text: Kept,
    failed: Option<Kind>,
}

impl ObjectStream {
    /// A reader that keeps the answer's text, if it is wanted.
    pub fn keeping_text(is_wanted: bool) -> Self {
        Self { text: Kept::wanted(is_wanted), ..Self::default() }
    }
}

impl Reader for ObjectStream {
    fn feed(&mut self, bytes: &[u8]) -> Result<Progress, Kind> {
        if let Some(kind) = self.failed {
            return Err(kind);
        }
        let mut progress = Progress::default();
        if !self.sum.is_done {
            let fed = self.lines.feed(bytes, |line| {
                if let Some(content) = take(&mut self.sum, &mut self.text, line)? {
                    progress.events += 1;
                    progress.had(content.reasoning, content.output);
                }
                Ok(())
            });
            // What follows the last object changes nothing, be it an endless line.
            if let Err(kind) = fed
                && !self.sum.is_done
            {
                self.failed = Some(kind);
                return Err(kind);
            }
        }
        progress.is_over = self.sum.is_done;
        Ok(progress)
    }

    fn finish(&mut self) -> Answer {
        if self.failed.is_some() || self.sum.is_done {
            self.lines.clear();
        } else {
            // A last line without its end is whole if it is JSON, and cut if it could have been.
            let ended = self.lines.finish(|line| match take(&mut self.sum, &mut self.text, line) {
                Err(Kind::Malformed) if could_go_on(line) => Err(Kind::Truncated),
                taken => taken.map(|_| ()),
            });
            self.failed = ended.err();
        }
        Answer { text: self.text.take(), ..std::mem::take(&mut self.sum).answer(self.failed.take()) }
    }
}

/// Reads one line into the sum, and says what content it had.
fn take(sum: &mut Sum, text: &mut Kept, line: &[u8]) -> Result<Option<Content>, Kind> {
    if sum.is_done || line.trim_ascii().is_empty() {
        return Ok(None);
    }
    let json = std::str::from_utf8(line).map_err(|_| Kind::Malformed)?;
    let object: Object = serde_json::from_str(json).map_err(|_| Kind::Malformed)?;
    let content = sum.add(&object, line);
    if content.is_some() {
        text.add(|| text_in(line))?;
    }
    Ok(content)
}
