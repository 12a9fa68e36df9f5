//! The texts of Ollama's protocol.

use serde_json::{Map, Value, json};

use super::{asks::Dialect, script::About};

/// One line with so many tokens.
pub fn line(about: &About, text: &str) -> String {
    text_of(head(about, text, false))
}

/// The last line.
pub fn done(about: &About) -> String {
    text_of(ended(about, ""))
}

/// The answer in one piece.
pub fn whole(about: &About) -> String {
    text_of(ended(about, &about.text(about.length.tokens, true)))
}

/// The answer to a request that only loads the model.
pub fn loaded(about: &About) -> String {
    let mut line = head(about, "", true);
    line.insert("done_reason".into(), "load".into());
    text_of(line)
}

/// An error in the middle of a stream.
pub fn error_line() -> String {
    error_body("an error was encountered while running the model: planted") + "\n"
}

/// The body of an error.
pub fn error_body(message: &str) -> String {
    json!({"error": message}).to_string()
}

fn head(about: &About, text: &str, is_done: bool) -> Map<String, Value> {
    let mut line = Map::new();
    line.insert("model".into(), about.model.into());
    line.insert("created_at".into(), rfc3339(about.created).into());
    match about.ask.dialect {
        Dialect::OllamaChat => line.insert("message".into(), json!({"role": "assistant", "content": text})),
        _ => line.insert("response".into(), text.into()),
    };
    line.insert("done".into(), is_done.into());
    line
}

fn ended(about: &About, text: &str) -> Map<String, Value> {
    let mut line = head(about, text, true);
    line.insert("done_reason".into(), about.reason().into());
    let counts = [
        ("total_duration", about.prompt_nanos + about.answer_nanos),
        ("prompt_eval_count", about.ask.prompts.tokens.into()),
        ("prompt_eval_duration", about.prompt_nanos),
        ("eval_count", about.all_tokens()),
        ("eval_duration", about.answer_nanos),
    ];
    // Ollama leaves out what is zero.
    line.extend(counts.into_iter().filter(|(_, count)| *count > 0).map(|(name, count)| (name.to_owned(), count.into())));
    line
}

fn text_of(line: Map<String, Value>) -> String {
    Value::Object(line).to_string() + "\n"
}

/// The instant in RFC 3339.
fn rfc3339(unix_seconds: u64) -> String {
    humantime::format_rfc3339_seconds(std::time::UNIX_EPOCH + std::time::Duration::from_secs(unix_seconds)).to_string()
}
