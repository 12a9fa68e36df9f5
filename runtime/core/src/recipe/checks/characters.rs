//! Characters that a command line, a batch script or a header cannot hold.

use serde_json::Value;

use super::super::{Problem, Recipe};

/// Free words, and what goes into JSON bodies alone.
const FREE: [&str; 2] = ["metadata.notes", "workload.sampling"];

/// Refuses line breaks, zero bytes and their kind in every text but the free ones.
pub(super) fn check(recipe: &Recipe, problems: &mut Vec<Problem>) {
    let json = serde_json::to_value(recipe).expect("a recipe is plain data");
    walk(&json, "", problems);
}

fn walk(value: &Value, path: &str, problems: &mut Vec<Problem>) {
    if FREE.contains(&path) {
        return;
    }
    match value {
        Value::String(text) => text_at(text, path, problems),
        Value::Array(values) => {
            values.iter().enumerate().for_each(|(index, value)| walk(value, &format!("{path}[{index}]"), problems));
        }
        Value::Object(map) => {
            for (key, value) in map {
                text_at(key, path, problems);
                walk(value, &if path.is_empty() { key.clone() } else { format!("{path}.{key}") }, problems);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

fn text_at(text: &str, path: &str, problems: &mut Vec<Problem>) {
    // A word of a command may be a script of several lines; it is passed as it stands.
    let is_script = path.starts_with("custom_services.") && path.contains(".command");
    let is_refused = |c: &char| c.is_control() && !(is_script && matches!(c, '\n' | '\t'));
    if let Some(refused) = text.chars().find(is_refused) {
        let found = match refused {
            '\n' | '\r' => "a line break in the text".to_owned(),
            '\0' => "a zero byte in the text".to_owned(),
            other => format!("the control character `{}` in the text", other.escape_unicode()),
        };
        problems.push(Problem::error(path, found, "a text of one line without control characters"));
    }
}
