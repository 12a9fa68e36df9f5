//! Answers with a status other than 2xx: what a server says, and the kind of failure it is.

use hb_core::record::Kind;
use serde_json::Value;

use crate::whole::message;

/// What servers write when the prompt or the asked length does not fit the model: vLLM, llama.cpp, Ollama.
const CONTEXT_WORDS: [&str; 6] =
    ["exceed_context_size", "maximum context length", "max_model_len", "context size", "context window", "context length"];

/// Names a refusal by its status and the start of its body.
pub fn refusal(status: u16, body: &[u8]) -> (Kind, Option<String>) {
    let text = error_text(body);
    let lower = text.as_deref().unwrap_or_default().to_ascii_lowercase();
    let is_context = status == 400 && CONTEXT_WORDS.iter().any(|words| lower.contains(words));
    (if is_context { Kind::ContextLength } else { Kind::Http(status) }, text.as_deref().and_then(message))
}

/// The sentence in an error body: `error` or `error.message` with its type, FastAPI's `detail`, or else the text itself.
pub fn error_text(body: &[u8]) -> Option<String> {
    said(body).or_else(|| {
        let text = String::from_utf8_lossy(body).trim().to_owned();
        (!text.is_empty()).then_some(text)
    })
}

fn said(body: &[u8]) -> Option<String> {
    let value: Value = serde_json::from_slice(body).ok()?;
    let error = value.get("error").unwrap_or(&value);
    let part = |name: &str| error.get(name).and_then(Value::as_str);
    match (part("message"), part("type")) {
        (Some(text), Some(kind)) => Some(format!("{text} ({kind})")),
        (Some(text), None) => Some(text.to_owned()),
        (None, _) => error.as_str().or_else(|| part("detail")).map(str::to_owned),
    }
}
