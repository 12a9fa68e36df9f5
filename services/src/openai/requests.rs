//! Request bodies.

use hb_core::trial::{Api, RequestSpec};
use serde_json::{Map, Value, json};

use crate::protocol::{Call, Prompt};

/// The request for these prompts. What the recipe puts into `sampling` wins over every default here; `stream` is no
/// default, because it decides how the answer is read.
pub fn call(model: &str, request: &RequestSpec, prompts: &[Prompt], gen_tokens: u32) -> Call {
    let mut body = Map::new();
    body.insert("model".into(), model.into());
    let path = match request.api {
        Api::Chat => {
            body.insert("messages".into(), json!([{"role": "user", "content": text(prompts)}]));
            "/v1/chat/completions"
        }
        Api::Completions | Api::Generate => {
            body.insert("prompt".into(), prompt(prompts));
            "/v1/completions"
        }
    };
    body.insert("max_tokens".into(), gen_tokens.into());
    body.insert("temperature".into(), 0.into());
    // So that every answer has the asked length; servers that do not know it ignore it.
    body.insert("ignore_eos".into(), true.into());
    if request.stream {
        body.insert("stream_options".into(), json!({"include_usage": true}));
    }
    body.extend(request.sampling.clone());
    body.insert("stream".into(), request.stream.into());
    Call { path, body: Value::Object(body).to_string().into() }
}

/// How many choices the answer has: `n` for each prompt.
pub fn choices(request: &RequestSpec) -> u32 {
    let prompts = if request.api == Api::Chat { 1 } else { request.batch.get() };
    let each = request.sampling.get("n").and_then(Value::as_u64).and_then(|n| u32::try_from(n).ok());
    prompts.saturating_mul(each.unwrap_or(1).max(1))
}

/// `prompt` is a text, a list of ids, or a list of either for a batch.
fn prompt(prompts: &[Prompt]) -> Value {
    let one = |prompt: &Prompt| match prompt {
        Prompt::Text(text) => Value::from(text.as_str()),
        Prompt::TokenIds(ids) => Value::from(ids.as_slice()),
    };
    match prompts {
        [single] => one(single),
        several => several.iter().map(one).collect(),
    }
}

/// Chat takes text alone.
fn text(prompts: &[Prompt]) -> String {
    let texts = prompts.iter().filter_map(|prompt| match prompt {
        Prompt::Text(text) => Some(text.as_str()),
        Prompt::TokenIds(_) => None,
    });
    texts.collect::<Vec<_>>().join("\n")
}
