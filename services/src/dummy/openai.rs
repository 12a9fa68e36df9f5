//! The texts of OpenAI's protocol, as vLLM writes them.

use serde_json::json;

use super::{asks::Dialect, script::About};

/// One event of one prompt.
pub fn event(about: &About, prompt: u32, text: &str, is_last: bool) -> String {
    let content = match about.ask.dialect {
        Dialect::Chat => format!(r#""delta":{{"content":"{text}"}}"#),
        _ => format!(r#""text":"{text}""#),
    };
    let reason = if is_last { format!("\"{}\"", about.reason()) } else { "null".into() };
    chunk(about, &format!(r#"{{"index":{prompt},{content},"logprobs":null,"finish_reason":{reason}}}"#), "")
}

/// Chat's first event.
pub fn role(about: &About) -> String {
    chunk(about, r#"{"index":0,"delta":{"role":"assistant","content":""},"logprobs":null,"finish_reason":null}"#, "")
}

/// What follows the last token.
pub fn ending(about: &About) -> String {
    let counts = if about.ask.wants_usage { chunk(about, "", &format!(r#","usage":{}"#, usage(about))) } else { String::new() };
    counts + "data: [DONE]\n\n"
}

/// An error in the middle of a stream, and the end mark that vLLM sends all the same.
pub fn error_event() -> String {
    format!("data: {}\n\ndata: [DONE]\n\n", error_body("planted", "InternalServerError", 500))
}

/// The body of an error.
pub fn error_body(message: &str, kind: &str, status: u16) -> String {
    json!({"error": {"message": message, "type": kind, "param": null, "code": status}}).to_string()
}

/// The body of an answer in one piece.
pub fn whole(about: &About) -> String {
    let text = about.text(about.length.tokens, true);
    let choices = (0..about.ask.prompts.count).map(|prompt| match about.ask.dialect {
        Dialect::Chat => {
            json!({"index": prompt, "message": {"role": "assistant", "content": text}, "logprobs": null, "finish_reason": about.reason()})
        }
        _ => json!({"index": prompt, "text": text, "logprobs": null, "finish_reason": about.reason()}),
    });
    let choices: Vec<_> = choices.collect();
    let (id, object) = names(about, false);
    let usage = usage(about);
    json!({"id": id, "object": object, "created": about.created, "model": about.model, "choices": choices, "usage": usage})
        .to_string()
}

fn usage(about: &About) -> serde_json::Value {
    let (prompt, answer) = (u64::from(about.ask.prompts.tokens), about.all_tokens());
    let mut usage = json!({"prompt_tokens": prompt, "total_tokens": prompt + answer, "completion_tokens": answer});
    if let Some(cached) = about.cached {
        usage["prompt_tokens_details"] = json!({"cached_tokens": cached});
    }
    usage
}

fn chunk(about: &About, choice: &str, more: &str) -> String {
    let (id, object) = names(about, true);
    let model = json!(about.model);
    let created = about.created;
    format!(r#"data: {{"id":"{id}","object":"{object}","created":{created},"model":{model},"choices":[{choice}]{more}}}"#)
        + "\n\n"
}

fn names(about: &About, is_chunk: bool) -> (String, &'static str) {
    match (about.ask.dialect, is_chunk) {
        (Dialect::Chat, true) => (format!("chatcmpl-{}", about.number), "chat.completion.chunk"),
        (Dialect::Chat, false) => (format!("chatcmpl-{}", about.number), "chat.completion"),
        _ => (format!("cmpl-{}", about.number), "text_completion"),
    }
}
