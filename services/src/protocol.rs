//! The load path's view of a service: a request as bytes, an answer as a few numbers.
//!
//! A [`Reader`] is fed the *decoded body* of an answer (no HTTP framing) in whatever pieces the
//! socket gave, and gets the same result however they are cut. It touches only the few fields that
//! matter and allocates nothing per token.

use std::{borrow::Cow, sync::Arc};

use bytes::Bytes;
use hb_core::{
    record::{Kind, TokensSource},
    trial::{Api, RequestSpec},
};
use serde_json::{Value, json};

use crate::whole::message;

/// What is put into a prompt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Prompt {
    /// Plain text.
    Text(String),
    /// Token ids, where the server takes them.
    TokenIds(Vec<u32>),
    /// A conversation. Operations other than chat get its texts, one after another.
    Messages(Vec<Value>),
}

impl Prompt {
    /// Its text, for an operation that takes nothing else. Token ids have none.
    #[must_use]
    pub fn text(&self) -> Option<Cow<'_, str>> {
        match self {
            Self::Text(text) => Some(text.into()),
            Self::TokenIds(_) => None,
            Self::Messages(messages) => Some(messages.iter().flat_map(texts).collect::<Vec<_>>().join("\n").into()),
        }
    }

    /// The bytes it takes in a body, nearly.
    pub(crate) fn bytes(&self) -> usize {
        match self {
            Self::Text(text) => text.len(),
            Self::TokenIds(ids) => ids.len() * 6,
            Self::Messages(messages) => messages.iter().flat_map(texts).map(|text| text.len() + 64).sum(),
        }
    }
}

/// The texts of a message, whose content is one text or a list of parts.
fn texts(message: &Value) -> Vec<&str> {
    match message.get("content") {
        Some(Value::String(text)) => vec![text],
        Some(Value::Array(parts)) => parts.iter().filter_map(|part| part.get("text")?.as_str()).collect(),
        _ => Vec::new(),
    }
}

/// The messages of a chat for these prompts: a conversation as it stands, or one question.
#[must_use]
pub fn messages(prompts: &[Prompt]) -> Value {
    match prompts {
        [Prompt::Messages(messages)] => messages.clone().into(),
        prompts => {
            let texts: Vec<_> = prompts.iter().filter_map(Prompt::text).collect();
            json!([{"role": "user", "content": texts.join("\n")}])
        }
    }
}

/// One POST, ready to be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    /// Path on the server, from the root.
    pub path: &'static str,
    /// The JSON body.
    pub body: Bytes,
}

/// What a piece of an answer added.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Progress {
    /// Events with content (text, reasoning or tool calls; an opening role event is none).
    pub events: u32,
    /// Tokens in those events, where the server tells it per event.
    pub tokens: Option<u32>,
    /// Whether one of them had reasoning alone, and none before it had output.
    pub has_reasoning: bool,
    /// Whether one of them had output: text or tool calls.
    pub has_output: bool,
    /// Whether the answer's end mark has been read: what follows changes nothing.
    pub is_over: bool,
}

impl Progress {
    /// One of the events had this content.
    pub(crate) fn had(&mut self, has_reasoning: bool, has_output: bool) {
        self.has_output |= has_output;
        self.has_reasoning |= has_reasoning && !self.has_output;
    }
}

/// What an answer came to, once its last byte was read.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Answer {
    /// Why it is not a success; `None` for a whole answer with at least one token.
    pub kind: Option<Kind>,
    /// What the server said about it, or what is wrong with its form; cut at 200 characters.
    pub message: Option<String>,
    /// Prompt tokens as the server counts them.
    pub input_tokens: Option<u32>,
    /// Answer tokens, by `source`; `None` where nobody counted.
    pub output_tokens: Option<u32>,
    /// Prompt tokens from the server's cache, where it says so.
    pub cached_tokens: Option<u32>,
    /// Tokens in the first event with content, where the server tells it.
    pub first_chunk_tokens: Option<u32>,
    /// Who counted.
    pub source: Option<TokensSource>,
    /// Events with content.
    pub events: u32,
    /// Whether the model stopped by itself rather than at the asked length.
    pub stopped_early: bool,
    /// Whether its content is reasoning alone, with no output.
    pub is_reasoning_alone: bool,
    /// Answer tokens that the server counts as reasoning, where the answer showed none.
    pub hidden_reasoning_tokens: Option<u32>,
    /// The model that answered, by its own word.
    pub model: Option<Arc<str>>,
    /// A number for the beginning of the answer's text; `None` where there was none.
    pub fingerprint: Option<u32>,
    /// Its text, without reasoning and calls of tools; kept only for requests whose conversation goes on with it.
    pub text: Option<String>,
}

impl Answer {
    /// The same, where HTTP says that all of the body came, in this `Content-Encoding` if in any: nobody cut it.
    #[must_use]
    pub fn of_whole_body(self, encoding: Option<&str>) -> Self {
        match (self.kind, encoding) {
            (Some(Kind::Truncated | Kind::Malformed | Kind::NoToken), Some(encoding)) => {
                let told = format!("the body is encoded as `{encoding}`, though no encoding was asked for");
                Self { kind: Some(Kind::Malformed), message: message(&told), ..self }
            }
            (Some(Kind::Truncated), None) => Self { kind: Some(Kind::NoEndMark), ..self },
            _ => self,
        }
    }

    /// Whether the server's answers have a form that no other answer of it will differ in.
    #[must_use]
    pub fn is_of_wrong_form(&self) -> bool {
        // A single event that cannot be read has no message.
        self.kind == Some(Kind::Malformed) && self.message.is_some()
    }
}

/// Reads one answer. One of these exists per request in flight.
pub trait Reader: Send {
    /// The answer's head came, which calls its body so (its `Content-Type`, empty where it has none).
    fn begin(&mut self, _content_type: &str) {}

    /// Takes the next bytes of the body.
    ///
    /// # Errors
    /// The kind of failure when the bytes cannot be an answer; feeding on is then useless.
    fn feed(&mut self, bytes: &[u8]) -> Result<Progress, Kind>;

    /// The body has ended properly; says what it came to. Leaves the reader ready for the next answer.
    fn finish(&mut self) -> Answer;
}

/// A family of requests and answers.
pub trait Protocol: Sync {
    /// The request's bytes.
    fn call(&self, model: &str, request: &RequestSpec, prompts: &[Prompt], gen_tokens: u32) -> Call;

    /// A reader for answers to such requests. It keeps the text only where a request may have several turns.
    fn reader(&self, request: &RequestSpec) -> Box<dyn Reader>;

    /// Whether the server puts a template around the prompts of such requests.
    fn has_template(&self, request: &RequestSpec) -> bool {
        request.api == Api::Chat
    }

    /// What to write in a recipe where a refusal's body is about a field that every request has by default.
    fn advice(&self, _refusal: &str) -> Option<String> {
        None
    }

    /// Names a refusal (any status but 2xx) by its status and the start of its body.
    fn refusal(&self, status: u16, body: &[u8]) -> (Kind, Option<String>);
}
