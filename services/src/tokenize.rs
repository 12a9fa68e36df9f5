//! `/tokenize`, as vLLM and llama.cpp have it: they differ in the names of their fields, and neither minds the other's.

use serde::Deserialize;
use serde_json::json;

/// The path.
pub const PATH: &str = "/tokenize";

/// A question for the tokens of a text alone, without marks around it.
#[must_use]
pub fn body(model: &str, text: &str) -> String {
    let vllm = json!({"model": model, "prompt": text, "add_special_tokens": false});
    let mut body = vllm.as_object().cloned().unwrap_or_default();
    // llama.cpp's own names.
    body.insert("content".into(), text.into());
    body.insert("add_special".into(), false.into());
    serde_json::Value::Object(body).to_string()
}

/// The ids of the answer; `None` where it has none.
#[must_use]
pub fn ids(answer: &[u8]) -> Option<Vec<u32>> {
    #[derive(Deserialize)]
    struct Answer {
        tokens: Vec<u32>,
    }
    let answer: Answer = serde_json::from_slice(answer).ok()?;
    Some(answer.tokens).filter(|tokens| !tokens.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_ways_to_answer_are_read_and_nothing_else() {
        assert_eq!(ids(br#"{"count":2,"max_model_len":4096,"tokens":[5,6],"token_strs":null}"#), Some(vec![5, 6]));
        assert_eq!(ids(br#"{"tokens":[5,6]}"#), Some(vec![5, 6]));
        for other in ["{}", r#"{"tokens":[]}"#, r#"{"tokens":["a"]}"#, r#"{"tokens":[-1]}"#, "<html>"] {
            assert_eq!(ids(other.as_bytes()), None, "{other}");
        }
    }
}
