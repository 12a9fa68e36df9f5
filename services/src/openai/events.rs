//! The JSON of one event or answer, as far as it matters.

use std::borrow::Cow;

use serde::{Deserialize, Deserializer};
use serde_json::{Value, value::RawValue};

use crate::{
    fields::{Count, Filled, Tokens},
    refusal::error_text,
};

/// One event's JSON, or a whole answer's.
#[derive(Debug, Deserialize)]
pub struct Chunk<'a> {
    /// The model that answers.
    #[serde(default, borrow)]
    pub model: Option<Cow<'a, str>>,
    /// One per prompt and choice; empty in the event that carries only `usage`.
    #[serde(default, borrow)]
    pub choices: Vec<Choice<'a>>,
    /// The server's own count; none where its numbers are none.
    #[serde(default, deserialize_with = "usage")]
    pub usage: Option<Usage>,
    /// An error inside an answer that began with status 200.
    #[serde(default, borrow)]
    pub error: Option<&'a RawValue>,
}

/// One choice.
#[derive(Debug, Deserialize)]
pub struct Choice<'a> {
    /// Completions: the piece of text.
    #[serde(default)]
    pub text: Filled,
    /// Chat, streamed: what this event adds.
    #[serde(default)]
    pub delta: Option<Piece>,
    /// Chat, whole: the message.
    #[serde(default)]
    pub message: Option<Piece>,
    /// Why it ended, in the last event of the choice.
    #[serde(default, borrow)]
    pub finish_reason: Option<Cow<'a, str>>,
    /// vLLM with `return_token_ids`: the tokens of this event.
    #[serde(default)]
    pub token_ids: Count,
}

/// A piece of a chat message.
#[derive(Debug, Deserialize)]
pub struct Piece {
    /// The answer's text.
    #[serde(default)]
    pub content: Filled,
    /// The reasoning's text, as vLLM names it now.
    #[serde(default)]
    pub reasoning: Filled,
    /// The reasoning's text, as most servers name it.
    #[serde(default)]
    pub reasoning_content: Filled,
    /// Calls of tools: content, too.
    #[serde(default)]
    pub tool_calls: Filled,
    /// What is said in place of an answer that the model refuses: content, too.
    #[serde(default)]
    pub refusal: Filled,
}

/// Token counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Usage {
    /// Tokens of the prompt.
    pub prompt_tokens: u32,
    /// Tokens of the answer, reasoning included.
    pub completion_tokens: u32,
    /// Where the prompt's tokens came from.
    pub prompt_tokens_details: Option<PromptDetails>,
    /// Tokens of the answer that are reasoning, where the server tells it.
    pub reasoning_tokens: Option<u32>,
}

/// Where the prompt's tokens came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PromptDetails {
    /// Taken from the prefix cache.
    pub cached_tokens: Option<u32>,
}

fn usage<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Usage>, D::Error> {
    #[derive(Deserialize)]
    struct Told {
        #[serde(default)]
        prompt_tokens: Tokens,
        #[serde(default)]
        completion_tokens: Tokens,
        prompt_tokens_details: Option<Details>,
        /// Of whatever form: what is said beside the counts spoils no answer.
        #[serde(default)]
        completion_tokens_details: Value,
    }
    #[derive(Deserialize)]
    struct Details {
        cached_tokens: Option<Tokens>,
    }
    let told = Option::<Told>::deserialize(deserializer)?;
    Ok(told.and_then(|told| {
        let details = told.prompt_tokens_details;
        let reasoning = told.completion_tokens_details["reasoning_tokens"].as_u64();
        Some(Usage {
            prompt_tokens: told.prompt_tokens.0?,
            completion_tokens: told.completion_tokens.0?,
            prompt_tokens_details: details
                .map(|details| PromptDetails { cached_tokens: details.cached_tokens.and_then(|tokens| tokens.0) }),
            reasoning_tokens: reasoning.and_then(|tokens| u32::try_from(tokens).ok()).filter(|tokens| *tokens > 0),
        })
    }))
}

impl Chunk<'_> {
    /// The error, unless it is `null`.
    pub fn error_text(&self) -> Option<String> {
        let error = self.error.map(RawValue::get).filter(|text| *text != "null")?;
        error_text(error.as_bytes())
    }

    /// The same, or the sentence of an event that is nothing but an error: `{"object":"error","message":…}`.
    pub fn error_in(&self, data: &[u8]) -> Option<String> {
        self.error_text().or_else(|| {
            let is_bare = self.choices.is_empty() && self.usage.is_none();
            let is_error = || serde_json::from_slice::<Value>(data).is_ok_and(|value| value["object"] == "error");
            if is_bare && is_error() { error_text(data) } else { None }
        })
    }

    /// Why choices ended; some servers write `""` until then.
    pub fn finish_reasons(&self) -> impl Iterator<Item = &str> {
        self.choices.iter().filter_map(|choice| choice.finish_reason.as_deref()).filter(|reason| !reason.is_empty())
    }
}

impl Choice<'_> {
    /// Whether it carries content: text, reasoning, a tool call or a refusal that is not empty, or a token that is no text yet.
    pub fn has_content(&self) -> bool {
        self.has_output() || self.has_reasoning() || self.token_ids.0.is_some_and(|count| count > 0)
    }

    /// Whether it carries reasoning.
    pub fn has_reasoning(&self) -> bool {
        self.piece().is_some_and(|piece| piece.reasoning.0 || piece.reasoning_content.0)
    }

    /// Whether it carries output: text, a tool call or a refusal.
    pub fn has_output(&self) -> bool {
        self.text.0 || self.piece().is_some_and(|piece| piece.content.0 || piece.tool_calls.0 || piece.refusal.0)
    }

    fn piece(&self) -> Option<&Piece> {
        self.delta.as_ref().or(self.message.as_ref())
    }
}

/// How the choices ended, taken together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Endings {
    /// Choices with any finish reason.
    pub finished: u32,
    /// Choices that ended by themselves.
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
