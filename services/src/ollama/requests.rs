//! Request bodies.

use hb_core::trial::{Api, RequestSpec};
use serde_json::{Map, Value};

use crate::protocol::{Call, Prompt, messages};

/// The fields of a request itself. Ollama ignores a field it does not know without a word, so anything else that a
/// recipe puts into `sampling` goes into `options`, where it means something.
const REQUEST_FIELDS: [&str; 17] = [
    "context",
    "format",
    "images",
    "keep_alive",
    "logprobs",
    "model",
    "options",
    "raw",
    "shift",
    "stream",
    "suffix",
    "system",
    "template",
    "think",
    "tools",
    "top_logprobs",
    "truncate",
];

/// The request for these prompts. What the recipe puts into `sampling` wins over every default here; `stream` is no
/// default, because it decides how the answer is read.
pub fn call(model: &str, request: &RequestSpec, prompts: &[Prompt], gen_tokens: u32) -> Call {
    let mut body = Map::new();
    body.insert("model".into(), model.into());
    let path = if request.api == Api::Chat {
        body.insert("messages".into(), messages(prompts));
        "/api/chat"
    } else {
        // Ollama takes one text and no token ids.
        let texts: Vec<_> = prompts.iter().filter_map(Prompt::text).collect();
        body.insert("prompt".into(), texts.join("\n").into());
        // Without the model's template, so that the prompt has the asked length and nothing before it is shared.
        body.insert("raw".into(), true.into());
        "/api/generate"
    };
    // No option forces the length of an answer: `num_predict` is a cap.
    let mut options = Map::new();
    options.insert("num_predict".into(), gen_tokens.into());
    options.insert("temperature".into(), 0.into());
    for (key, value) in &request.sampling {
        match value {
            Value::Object(given) if key == "options" => options.extend(given.clone()),
            value if REQUEST_FIELDS.contains(&key.as_str()) => {
                body.insert(key.clone(), value.clone());
            }
            value => {
                options.insert(key.clone(), value.clone());
            }
        }
    }
    options.retain(|_, value| !value.is_null());
    body.retain(|_, value| !value.is_null());
    body.insert("options".into(), options.into());
    body.insert("stream".into(), request.stream.into());
    Call { path, body: Value::Object(body).to_string().into() }
}

/// Whether the model's template is put around a prompt: in a chat, and where the recipe takes `raw` back.
pub fn has_template(request: &RequestSpec) -> bool {
    let is_raw = request.sampling.get("raw").is_none_or(|raw| *raw == Value::Bool(true));
    request.api == Api::Chat || !is_raw
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use hb_core::trial::Length;
    use serde_json::json;

    use super::*;

    fn request(api: Api, sampling: &Value) -> RequestSpec {
        RequestSpec {
            api,
            stream: true,
            prompt_len: Length::Fixed(2),
            gen_tokens: Length::Fixed(7),
            batch: NonZeroU32::MIN,
            shared_prefix: None,
            turns: None,
            sampling: sampling.as_object().unwrap().clone(),
        }
    }

    fn body(api: Api, sampling: Value) -> (&'static str, Value) {
        let call = call("tiny", &request(api, &sampling), &[Prompt::Text("two words".into())], 7);
        (call.path, serde_json::from_slice(&call.body).unwrap())
    }

    #[test]
    fn generate_is_raw_and_capped() {
        let wanted = json!({
            "model": "tiny", "prompt": "two words", "raw": true,
            "options": {"num_predict": 7, "temperature": 0}, "stream": true,
        });
        assert_eq!(body(Api::Generate, json!({})), ("/api/generate", wanted));
    }

    #[test]
    fn a_template_is_put_around_chats_and_around_what_is_not_raw() {
        let check = |api, sampling: Value, expected| {
            assert_eq!(has_template(&request(api, &sampling)), expected, "{api:?} {sampling}");
        };
        check(Api::Chat, json!({}), true);
        check(Api::Generate, json!({}), false);
        check(Api::Generate, json!({"raw": true}), false);
        check(Api::Generate, json!({"raw": false}), true);
        check(Api::Generate, json!({"raw": null}), true);
    }

    #[test]
    fn sampling_wins_and_lands_where_ollama_reads_it() {
        let sampling = json!({"temperature": 0.7, "top_k": 5, "options": {"num_ctx": 512}, "keep_alive": -1, "stream": false});
        let wanted = json!({
            "model": "tiny", "messages": [{"role": "user", "content": "two words"}], "keep_alive": -1,
            "options": {"num_predict": 7, "temperature": 0.7, "top_k": 5, "num_ctx": 512}, "stream": true,
        });
        assert_eq!(body(Api::Chat, sampling), ("/api/chat", wanted));
    }
}
