//! In which pieces streamed answers came.

use crate::{record::Record, units::Nanos};

/// Answers of fewer events may come at once by chance: there is little to stream.
const FEWEST_EVENTS: u32 = 4;
/// Events that follow each other faster than this on average are read, not generated: no server makes ten thousand a second
/// for one answer…
const FASTEST: Nanos = Nanos(100_000);
/// …nor all but the first within so small a part of the time to the first.
const PART_OF_TTFT: u64 = 100;

/// Sums over completed requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Pieces {
    /// Streamed answers that had several events.
    several: u64,
    /// Of those, the ones that came at once, at their end.
    at_once: u64,
}

impl Pieces {
    /// A completed request.
    pub(super) fn take(&mut self, record: &Record) {
        let Some(first) = record.first.filter(|_| record.chunks >= FEWEST_EVENTS) else { return };
        self.several += 1;
        self.at_once += u64::from(came_at_once(record, first));
    }

    /// Streamed answers of several events, and how many of them came at once.
    pub(super) fn at_once(&self) -> (u64, u64) {
        (self.several, self.at_once)
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
    fn an_answer_came_at_once_where_its_last_event_follows_its_first_within_a_read() {
        let check = |first: u64, took: u64, events: u32, expected: (u64, u64)| {
            let mut record = answered(0, 0, 1, events);
            (record.first, record.last) = (Some(Nanos(first)), Some(Nanos(first + took)));
            let mut pieces = Pieces::default();
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
        let mut pieces = Pieces::default();
        pieces.take(&Record { first: None, ..answered(0, 0, 1, 8) });
        assert_eq!(pieces.at_once(), (0, 0), "an answer in one piece was asked for");
    }
}
