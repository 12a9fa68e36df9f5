//! Answers that are not streamed.

use hb_core::record::{Kind, TokensSource};

use super::{
    events::{Choice, Chunk, Endings},
    stream::TEXTS,
};
use crate::{
    fingerprint::{Fingerprint, text_of},
    protocol::Answer,
    whole::{could_go_on, message},
};

/// Reads the answer of `/v1/completions` or `/v1/chat/completions`: they differ in where a choice has its text.
pub fn read(body: &[u8]) -> Answer {
    let failed = |kind, text: Option<String>| Answer { kind: Some(kind), message: text, ..Answer::default() };
    let chunk = std::str::from_utf8(body).ok().and_then(|text| serde_json::from_str::<Chunk>(text).ok());
    let Some(chunk) = chunk else {
        return failed(if could_go_on(body) { Kind::Truncated } else { Kind::Malformed }, None);
    };
    if let Some(error) = chunk.error_in(body) {
        return failed(Kind::ErrorEvent, message(&error));
    }
    let mut print = Fingerprint::default();
    print.add(text_of(body, &*TEXTS).unwrap_or_default());
    let mut endings = Endings::default();
    chunk.finish_reasons().for_each(|reason| endings.add(reason));
    let has_content = chunk.choices.iter().any(Choice::has_content);
    let has_reasoned = chunk.choices.iter().any(Choice::has_reasoning);
    // A count of zero beside content is a server that does not count.
    let usage = chunk.usage.filter(|usage| usage.completion_tokens > 0 || !has_content);
    // Without it nobody knows how many tokens the one piece holds.
    let generated = usage.map(|usage| usage.completion_tokens);
    let kind = if endings.aborted > 0 {
        Some(Kind::Aborted)
    } else if !has_content && generated.is_none_or(|tokens| tokens == 0) {
        Some(Kind::NoToken)
    } else {
        None
    };
    Answer {
        kind,
        message: None,
        input_tokens: usage.map(|usage| usage.prompt_tokens),
        output_tokens: generated,
        cached_tokens: usage.and_then(|usage| usage.prompt_tokens_details).and_then(|details| details.cached_tokens),
        // All tokens came in one piece: there is no time per token to speak of.
        first_chunk_tokens: generated,
        source: usage.map(|_| TokensSource::Usage),
        events: u32::from(has_content),
        stopped_early: endings.stopped > 0,
        is_reasoning_alone: has_reasoned && !chunk.choices.iter().any(Choice::has_output),
        hidden_reasoning_tokens: usage.and_then(|usage| usage.reasoning_tokens).filter(|_| !has_reasoned),
        model: chunk.model.as_deref().map(Into::into),
        fingerprint: print.number(),
        text: None,
    }
}
