//! The JSON of one event or answer, as far as it matters.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

/// One event's JSON, or a whole answer's.
#[derive(Debug, Deserialize)]
pub struct Chunk<'a> {
    /// One per prompt and choice; empty in the event that carries only `usage`.
    #[serde(default, borrow)]
    pub choices: Vec<Choice<'a>>,
    /// The server's own count.
    #[serde(default)]
    pub usage: Option<Usage>,
    /// An error inside an answer that began with status 200.
    #[serde(default, borrow)]
    pub error: Option<&'a RawValue>,
}

/// One choice.
#[derive(Debug, Deserialize)]
pub struct Choice<'a> {
    /// Completions: the piece of text.
    #[serde(default, borrow)]
    pub text: Option<Cow<'a, str>>,
    /// Chat, streamed: what this event adds.
    #[serde(default, borrow)]
    pub delta: Option<Piece<'a>>,
    /// Chat, whole: the message.
    #[serde(default, borrow)]
    pub message: Option<Piece<'a>>,
    /// Why it ended, in the last event of the choice.
    #[serde(default, borrow)]
    pub finish_reason: Option<Cow<'a, str>>,
    /// vLLM with `return_token_ids`: the tokens of this event.
    #[serde(default)]
    pub token_ids: Option<Vec<u32>>,
}

/// A piece of a chat message.
#[derive(Debug, Deserialize)]
pub struct Piece<'a> {
    /// The answer's text.
    #[serde(default, borrow)]
    pub content: Option<Cow<'a, str>>,
    /// The reasoning's text, as vLLM names it now.
    #[serde(default, borrow)]
    pub reasoning: Option<Cow<'a, str>>,
    /// The reasoning's text, as most servers name it.
    #[serde(default, borrow)]
    pub reasoning_content: Option<Cow<'a, str>>,
    /// Calls of tools: content, too.
    #[serde(default, borrow)]
    pub tool_calls: Option<&'a RawValue>,
}

/// Token counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub struct Usage {
    /// Tokens of the prompt.
    #[serde(default)]
    pub prompt_tokens: u32,
    /// Tokens of the answer, reasoning included.
    #[serde(default)]
    pub completion_tokens: u32,
    /// Where the prompt's tokens came from.
    #[serde(default)]
    pub prompt_tokens_details: Option<PromptDetails>,
}

/// Where the prompt's tokens came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub struct PromptDetails {
    /// Taken from the prefix cache.
    #[serde(default)]
    pub cached_tokens: Option<u32>,
}

impl Choice<'_> {
    /// Whether it carries content: text, reasoning or a tool call that is not empty.
    pub fn has_content(&self) -> bool {
        let has_text = |text: &Option<Cow<str>>| text.as_deref().is_some_and(|text| !text.is_empty());
        let piece = self.delta.as_ref().or(self.message.as_ref());
        has_text(&self.text)
            || piece.is_some_and(|piece| {
                let calls = piece.tool_calls.map(RawValue::get);
                has_text(&piece.content)
                    || has_text(&piece.reasoning)
                    || has_text(&piece.reasoning_content)
                    || calls.is_some_and(|calls| calls != "null" && calls != "[]")
            })
    }
}

/// How the choices ended, taken together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Endings {
    /// Choices with any finish reason.
    pub finished: u32,
    /// Choices that ended by themselves, before the asked length.
    pub stopped: u32,
    /// Choices that the server gave up.
    pub aborted: u32,
}

impl Endings {
    /// Counts one choice's reason.
    pub fn add(&mut self, reason: &str) {
        self.finished += 1;
        match reason {
            "length" => {}
            "abort" | "aborted" | "error" => self.aborted += 1,
            _ => self.stopped += 1,
        }
    }
}
