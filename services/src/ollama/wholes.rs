//! Answers that are not streamed: one object.

use hb_core::record::{Kind, TokensSource};

use super::stream::{Object, Sum};
use crate::{protocol::Answer, whole::could_go_on};

/// Reads the answer of `/api/generate` or `/api/chat`.
pub fn read(body: &[u8]) -> Answer {
    let object = std::str::from_utf8(body).ok().and_then(|text| serde_json::from_str::<Object>(text).ok());
    let Some(object) = object else {
        let kind = if could_go_on(body) { Kind::Truncated } else { Kind::Malformed };
        return Answer { kind: Some(kind), ..Answer::default() };
    };
    let mut sum = Sum::default();
    sum.add(&object, body);
    let answer = sum.answer(None);
    // Where the server did not count them nobody knows how many tokens the one piece holds.
    let source = answer.source.filter(|source| *source == TokensSource::Usage);
    let output_tokens = answer.output_tokens.filter(|_| source.is_some());
    // All tokens came in one piece: there is no time per token to speak of.
    Answer { source, output_tokens, first_chunk_tokens: output_tokens, ..answer }
}
