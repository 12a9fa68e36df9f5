//! OpenAI's completions and chat: the protocol, and the service of an endpoint that already runs.

mod events;
mod requests;
mod service;
mod stream;
mod wholes;

use hb_core::{record::Kind, trial::RequestSpec};
use serde_json::Value;

pub use self::service::Openai;
pub(crate) use self::service::lists_model;
use crate::{
    protocol::{Call, Prompt, Protocol, Reader},
    whole::{Whole, message},
};

/// Requests as JSON, answers as server-sent events or one JSON text.
pub struct OpenaiProtocol;

impl Protocol for OpenaiProtocol {
    fn call(&self, model: &str, request: &RequestSpec, prompts: &[Prompt], gen_tokens: u32) -> Call {
        requests::call(model, request, prompts, gen_tokens)
    }

    fn reader(&self, request: &RequestSpec) -> Box<dyn Reader> {
        if request.stream { Box::new(stream::EventStream::new(request.batch.get())) } else { Box::new(Whole::new(wholes::read)) }
    }

    fn refusal(&self, status: u16, body: &[u8]) -> (Kind, Option<String>) {
        let text = error_text(body);
        let lower = text.as_deref().unwrap_or_default().to_ascii_lowercase();
        let is_context = status == 400
            && ["exceed_context_size", "maximum context length", "max_model_len", "context size", "context window"]
                .iter()
                .any(|words| lower.contains(words));
        (if is_context { Kind::ContextLength } else { Kind::Http(status) }, text.as_deref().and_then(message))
    }
}

/// The sentence in an error body: `error.message` with its type, FastAPI's `detail`, or the text itself.
fn error_text(body: &[u8]) -> Option<String> {
    let Ok(value) = serde_json::from_slice::<Value>(body) else {
        let text = String::from_utf8_lossy(body).trim().to_owned();
        return (!text.is_empty()).then_some(text);
    };
    let error = value.get("error").unwrap_or(&value);
    let part = |name: &str| error.get(name).and_then(Value::as_str);
    match (part("message"), part("type")) {
        (Some(text), Some(kind)) => Some(format!("{text} ({kind})")),
        (Some(text), None) => Some(text.to_owned()),
        (None, _) => error.as_str().or_else(|| part("detail")).map(str::to_owned),
    }
}
