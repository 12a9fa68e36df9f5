//! In which pieces streamed answers came, and what of them never came.

use serde::{Deserialize, Serialize};

use crate::{
    record::{Record, TokensSource},
    units::Nanos,
};

/// Answers of fewer events may come at once by chance: there is little to stream.
const FEWEST_EVENTS: u32 = 4;
/// Events that follow each other faster than this on average are read, not generated: no server makes ten thousand a second
/// for one answer…
const FASTEST: Nanos = Nanos(100_000);
/// …nor all but the first within so small a part of the time to the first.
const PART_OF_TTFT: u64 = 100;

/// Streamed answers whose tokens the server counted as a whole and in no event: their times per token are spread over what
/// came.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct SpreadFigures {
    /// How many.
    pub answers: u64,
    /// Their events with content.
    pub events: u64,
    /// Their tokens.
    pub tokens: u64,
    /// Of those, the ones that the server counted as reasoning and no event showed.
    pub hidden_reasoning: u64,
}

/// Sums over completed requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Pieces {
    /// Whether a request gets one answer. Of several the events come together, and are those of all.
    has_one_answer: bool,
    /// Streamed answers that had several events.
    several: u64,
    /// Of those, the ones that came at once, at their end.
    at_once: u64,
    spread: SpreadFigures,
    /// Answers of reasoning alone, streamed or not.
    pub(super) ended_in_reasoning: u64,
}

impl Pieces {
    pub(super) fn new(has_one_answer: bool) -> Self {
        Self { has_one_answer, ..Self::default() }
    }

    /// A completed request.
    pub(super) fn take(&mut self, record: &Record) {
        self.ended_in_reasoning += u64::from(record.ended_in_reasoning);
        self.spread.take(record);
        let Some(first) = record.first.filter(|_| self.has_one_answer && record.chunks >= FEWEST_EVENTS) else { return };
        self.several += 1;
        self.at_once += u64::from(came_at_once(record, first));
    }

    /// `None` where there was none.
    pub(super) fn spread(&self) -> Option<SpreadFigures> {
        Some(self.spread).filter(|spread| spread.answers > 0)
    }

    /// Streamed answers of several events, and how many of them came at once.
    pub(super) fn at_once(&self) -> (u64, u64) {
        (self.several, self.at_once)
    }
}

impl SpreadFigures {
    fn take(&mut self, record: &Record) {
        let is_spread = record.first.is_some() && record.chunks > 0 && record.first_chunk_tokens.is_none();
        let counted = record.output_tokens.filter(|_| is_spread && record.tokens_source == Some(TokensSource::Usage));
        let Some(tokens) = counted else { return };
        // Some servers count reasoning beside the answer's tokens, not among them: each event shows a token at least.
        let is_among = |hidden: &u32| hidden.saturating_add(record.chunks) <= tokens;
        self.answers += 1;
        self.events += u64::from(record.chunks);
        self.tokens += u64::from(tokens);
        self.hidden_reasoning += u64::from(record.hidden_reasoning_tokens.filter(is_among).unwrap_or(0));
    }
}

/// Whether all events of an answer came together. A long answer that was held back takes more than one read, so its last bytes
/// may be stamped a moment after its first ones.
fn came_at_once(record: &Record, first: Nanos) -> bool {
    let (Some(sent), Some(last)) = (record.sent, record.last) else { return false };
    let (waited, took) = (first.since(sent).as_nanos(), last.since(first).as_nanos());
    took <= u128::from(FASTEST.0) * u128::from(record.chunks - 1) && took * u128::from(PART_OF_TTFT) <= waited
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::answered;

    #[test]
    fn tokens_are_spread_where_no_event_tells_its_own() {
        let spread = |change: fn(&mut Record)| {
            let mut record = Record { chunks: 4, ..answered(0, 0, 300, 16) };
            change(&mut record);
            let mut pieces = Pieces::new(true);
            pieces.take(&record);
            pieces.spread().map(|spread| (spread.events, spread.tokens, spread.hidden_reasoning))
        };
        assert_eq!(spread(|_| {}), Some((4, 16, 0)));
        assert_eq!(spread(|record| record.hidden_reasoning_tokens = Some(12)), Some((4, 16, 12)));
        assert_eq!(spread(|record| record.hidden_reasoning_tokens = Some(13)), Some((4, 16, 0)), "counted beside the others");
        assert_eq!(spread(|record| record.first_chunk_tokens = Some(4)), None);
        assert_eq!(spread(|record| record.tokens_source = Some(TokensSource::Events)), None);
        assert_eq!(spread(|record| record.first = None), None);
    }

    #[test]
    fn an_answer_came_at_once_where_its_last_event_follows_its_first_within_a_read() {
        let check = |first: u64, took: u64, events: u32, expected: (u64, u64)| {
            let mut record = answered(0, 0, 1, events);
            (record.first, record.last) = (Some(Nanos(first)), Some(Nanos(first + took)));
            let mut pieces = Pieces::new(true);
            pieces.take(&record);
            assert_eq!(pieces.at_once(), expected, "{events} events within {took} ns, {first} ns after sending");
        };
        let (millisecond, second) = (1_000_000, 1_000_000_000);
        check(second, 0, 3, (0, 0));
        check(second, 0, 4, (1, 1));
        // Five hundred events in a few reads, and some that were streamed.
        check(5 * second, 2 * millisecond, 500, (1, 1));
        check(5 * second, 500 * 5 * millisecond, 500, (1, 0));
        // A short answer to a very long prompt.
        check(20 * second, 60 * millisecond, 4, (1, 0));
        // A server that is as quick as all that from the beginning.
        check(millisecond, millisecond, 100, (1, 0));
        let mut pieces = Pieces::new(true);
        pieces.take(&Record { first: None, ..answered(0, 0, 1, 8) });
        assert_eq!(pieces.at_once(), (0, 0), "an answer in one piece was asked for");
    }
}
