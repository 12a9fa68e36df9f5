//! Request bodies.

use std::borrow::Cow;

use hb_core::trial::{Api, RequestSpec};
use serde::{Serialize, Serializer};
use serde_json::{Value, json};

use crate::protocol::{Call, Prompt, messages};

/// In `sampling`, the value of the field in which this server takes the number of tokens, in place of `max_tokens`.
const ASKED_TOKENS: &str = "{gen_tokens}";

/// The request for these prompts. What the recipe puts into `sampling` wins over every default here, and `null` takes a
/// default out; `stream` is no default, because it decides how the answer is read.
pub fn call(model: &str, request: &RequestSpec, prompts: &[Prompt], gen_tokens: u32) -> Call {
    let mut body = Body(Vec::with_capacity(8 + request.sampling.len()));
    body.set("model", Field::Text(model.into()));
    let path = match request.api {
        Api::Chat => {
            body.set("messages", Field::Value(Cow::Owned(messages(prompts))));
            "/v1/chat/completions"
        }
        Api::Completions | Api::Generate => {
            body.set("prompt", prompt(prompts));
            "/v1/completions"
        }
    };
    body.set("max_tokens", Field::Number(gen_tokens));
    body.set("temperature", Field::Number(0));
    // So that every answer has the asked length; servers that do not know it ignore it.
    body.set("ignore_eos", Field::Flag(true));
    if request.stream {
        body.set("stream_options", Field::Value(Cow::Owned(json!({"include_usage": true}))));
    }
    for (field, value) in &request.sampling {
        if value == ASKED_TOKENS {
            body.0.retain(|(name, _)| *name != "max_tokens");
            body.set(field, Field::Number(gen_tokens));
        } else {
            body.set(field, Field::Value(Cow::Borrowed(value)));
        }
    }
    body.0.retain(|(_, value)| !matches!(value, Field::Value(value) if value.is_null()));
    body.set("stream", Field::Flag(request.stream));
    let mut bytes = Vec::with_capacity(REST_BYTES + prompts.iter().map(Prompt::bytes).sum::<usize>());
    serde_json::to_writer(&mut bytes, &body).expect("a vector takes every byte, and every key is a text");
    Call { path, body: bytes.into() }
}

/// What a body takes beside its prompts, most often.
const REST_BYTES: usize = 192;

/// A body's fields in their order. Neither a prompt nor a field's name is copied before it is written.
struct Body<'a>(Vec<(&'a str, Field<'a>)>);

/// The value of one of them.
#[derive(Serialize)]
#[serde(untagged)]
enum Field<'a> {
    Number(u32),
    Flag(bool),
    Text(Cow<'a, str>),
    Ids(&'a [u32]),
    List(Vec<Self>),
    Value(Cow<'a, Value>),
}

impl<'a> Body<'a> {
    /// Gives the field this value, in its place if it had one.
    fn set(&mut self, field: &'a str, value: Field<'a>) {
        match self.0.iter_mut().find(|(name, _)| *name == field) {
            Some((_, place)) => *place = value,
            None => self.0.push((field, value)),
        }
    }
}

impl Serialize for Body<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(field, value)| (field, value)))
    }
}

/// What to write where a server's refusal names a field that stands in a request by default.
pub fn advice(refusal: &str) -> Option<String> {
    if refusal.contains("max_tokens") && refusal.contains("max_completion_tokens") {
        return Some(format!(r#"write `workload.sampling: {{max_completion_tokens: "{ASKED_TOKENS}"}}`"#));
    }
    let field = ["ignore_eos", "stream_options", "temperature"].into_iter().find(|field| refusal.contains(field))?;
    Some(format!("write `workload.sampling: {{{field}: null}}` to leave that field out"))
}

/// How many choices the answer has: `n` for each prompt.
pub fn choices(request: &RequestSpec) -> u32 {
    let prompts = if request.api == Api::Chat { 1 } else { request.batch.get() };
    prompts.saturating_mul(request.choices())
}

/// `prompt` is a text, a list of ids, or a list of either for a batch.
fn prompt(prompts: &[Prompt]) -> Field<'_> {
    match prompts {
        [Prompt::TokenIds(ids)] => Field::Ids(ids),
        [single] => Field::Text(single.text().unwrap_or_default()),
        several => Field::List(several.chunks(1).map(prompt).collect()),
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
    fn a_default_can_be_left_out_and_the_number_of_tokens_be_called_otherwise() {
        let sampling =
            json!({"ignore_eos": null, "stream_options": null, "temperature": null, "max_completion_tokens": "{gen_tokens}"});
        let body = json!({"model": "tiny", "prompt": "two words", "max_completion_tokens": 7, "stream": true});
        check(&request(Api::Completions, true, 1, &sampling), &[Prompt::Text("two words".into())], "/v1/completions", &body);
    }

    #[test]
    fn a_refusal_of_a_default_is_told_with_what_to_write() {
        let told = |refusal| advice(refusal).unwrap_or_default();
        assert!(told("Unrecognized request argument supplied: ignore_eos").contains("`workload.sampling: {ignore_eos: null}`"));
        assert!(told("extra_forbidden: body.stream_options").contains("{stream_options: null}"));
        let renamed = "Unsupported parameter: 'max_tokens'. Use 'max_completion_tokens' instead.";
        assert!(told(renamed).contains(r#"{max_completion_tokens: "{gen_tokens}"}"#), "{}", told(renamed));
        assert_eq!(advice("the model is too hot"), None);
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
