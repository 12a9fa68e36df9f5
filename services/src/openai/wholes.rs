//! Answers that are not streamed.

use hb_core::record::{Kind, TokensSource};

use super::{
    error_text,
    events::{Choice, Chunk, Endings},
};
use crate::{protocol::Answer, whole::message};

/// Reads the answer of `/v1/completions` or `/v1/chat/completions`: they differ in where a choice has its text.
pub fn read(body: &[u8]) -> Answer {
    let failed = |kind, text: Option<String>| Answer { kind: Some(kind), message: text, ..Answer::default() };
    let Ok(text) = std::str::from_utf8(body) else { return failed(Kind::Malformed, None) };
    let Ok(chunk) = serde_json::from_str::<Chunk>(text) else {
        // A text that could still go on was cut; one that could not is no JSON.
        let is_cut = serde_json::from_str::<serde_json::Value>(text).is_err_and(|error| error.is_eof());
        return failed(if is_cut { Kind::Truncated } else { Kind::Malformed }, None);
    };
    if let Some(error) = chunk.error.filter(|error| error.get() != "null") {
        return failed(Kind::ErrorEvent, error_text(error.get().as_bytes()).as_deref().and_then(message));
    }
    let mut endings = Endings::default();
    chunk.choices.iter().filter_map(|choice| choice.finish_reason.as_deref()).for_each(|reason| endings.add(reason));
    let has_content = chunk.choices.iter().any(Choice::has_content);
    let generated = chunk.usage.map_or(u32::from(has_content), |usage| usage.completion_tokens);
    let kind = if endings.aborted > 0 {
        Some(Kind::Aborted)
    } else if generated == 0 {
        Some(Kind::NoToken)
    } else {
        None
    };
    Answer {
        kind,
        message: None,
        input_tokens: chunk.usage.map(|usage| usage.prompt_tokens),
        output_tokens: Some(generated),
        cached_tokens: chunk.usage.and_then(|usage| usage.prompt_tokens_details).and_then(|details| details.cached_tokens),
        // All tokens came in one piece: there is no time per token to speak of.
        first_chunk_tokens: Some(generated),
        source: Some(if chunk.usage.is_some() { TokensSource::Usage } else { TokensSource::Events }),
        events: u32::from(has_content),
        stopped_early: endings.stopped > 0,
    }
}
