//! Request bodies.

use hb_core::trial::{Api, RequestSpec};
use serde_json::{Map, Value, json};

use crate::protocol::{Call, Prompt, messages};

/// The request for these prompts. What the recipe puts into `sampling` wins over every default here; `stream` is no
/// default, because it decides how the answer is read.
pub fn call(model: &str, request: &RequestSpec, prompts: &[Prompt], gen_tokens: u32) -> Call {
    let mut body = Map::new();
    body.insert("model".into(), model.into());
    let path = match request.api {
        Api::Chat => {
            body.insert("messages".into(), messages(prompts));
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
        Prompt::TokenIds(ids) => Value::from(ids.as_slice()),
        Prompt::Text(_) | Prompt::Messages(_) => Value::from(prompt.text().unwrap_or_default()),
    };
    match prompts {
        [single] => one(single),
        several => several.iter().map(one).collect(),
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use hb_core::trial::Length;

    use super::*;

    fn request(api: Api, stream: bool, batch: u32, sampling: &Value) -> RequestSpec {
        RequestSpec {
            api,
            stream,
            prompt_len: Length::Fixed(2),
            gen_tokens: Length::Fixed(7),
            batch: NonZeroU32::new(batch).unwrap(),
            shared_prefix: None,
            turns: None,
            sampling: sampling.as_object().unwrap().clone(),
        }
    }

    fn check(request: &RequestSpec, prompts: &[Prompt], path: &str, body: &Value) {
        let call = call("tiny", request, prompts, 7);
        assert_eq!((call.path, &serde_json::from_slice::<Value>(&call.body).unwrap()), (path, body));
    }

    #[test]
    fn a_prompt_is_a_text_or_ids_and_a_batch_is_a_list() {
        let (text, ids) = (Prompt::Text("two words".into()), Prompt::TokenIds(vec![4, 5]));
        let cases = [
            (vec![text.clone()], json!("two words")),
            (vec![ids.clone()], json!([4, 5])),
            (vec![text.clone(), text], json!(["two words", "two words"])),
            (vec![ids.clone(), ids], json!([[4, 5], [4, 5]])),
        ];
        for (prompts, prompt) in cases {
            let body = json!({"model": "tiny", "prompt": prompt, "max_tokens": 7, "temperature": 0, "ignore_eos": true, "stream": false});
            check(&request(Api::Completions, false, 1, &json!({})), &prompts, "/v1/completions", &body);
        }
    }

    #[test]
    fn sampling_wins_over_every_default_but_the_way_of_answering() {
        let sampling = json!({"temperature": 0.7, "ignore_eos": false, "top_k": 5, "stream": false});
        let body = json!({
            "model": "tiny", "messages": [{"role": "user", "content": "two words"}], "max_tokens": 7, "temperature": 0.7,
            "ignore_eos": false, "stream_options": {"include_usage": true}, "top_k": 5, "stream": true,
        });
        let prompts = [Prompt::Text("two words".into())];
        check(&request(Api::Chat, true, 1, &sampling), &prompts, "/v1/chat/completions", &body);
    }

    #[test]
    fn a_conversation_stands_as_it_is_and_is_text_elsewhere() {
        let turns = json!([
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": [{"type": "text", "text": "Why?"}]},
        ]);
        let prompts = [Prompt::Messages(turns.as_array().unwrap().clone())];
        let body = |key: &str, value: Value| json!({"model": "tiny", key: value, "max_tokens": 7, "temperature": 0, "ignore_eos": true, "stream": false});
        check(&request(Api::Chat, false, 1, &json!({})), &prompts, "/v1/chat/completions", &body("messages", turns));
        let text = json!("Be brief.\nWhy?");
        check(&request(Api::Completions, false, 1, &json!({})), &prompts, "/v1/completions", &body("prompt", text));
    }

    #[test]
    fn an_answer_has_n_choices_for_each_prompt() {
        let count = |api, batch, sampling: Value| choices(&request(api, true, batch, &sampling));
        assert_eq!(count(Api::Completions, 1, json!({})), 1);
        assert_eq!(count(Api::Completions, 4, json!({"n": 2})), 8);
        assert_eq!(count(Api::Chat, 4, json!({"n": 2})), 2, "a chat is one prompt");
        assert_eq!(count(Api::Completions, 4, json!({"n": 0})), 4);
    }
}
