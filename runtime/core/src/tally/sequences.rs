//! Which batches of a source came: repeats are seen, gaps are counted.

use std::collections::BTreeSet;

/// The numbers of one source's batches. Those without a gap before them cost nothing.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Sequence {
    /// Everything below came.
    whole: u64,
    /// What came after the first gap.
    ahead: BTreeSet<u64>,
    /// Whether the batch that says it is the last one came.
    pub(super) is_over: bool,
}

impl Sequence {
    pub(super) fn contains(&self, seq: u64) -> bool {
        seq < self.whole || self.ahead.contains(&seq)
    }

    pub(super) fn insert(&mut self, seq: u64) {
        if self.contains(seq) {
            return;
        }
        self.ahead.insert(seq);
        while self.ahead.remove(&self.whole) {
            self.whole += 1;
        }
    }

    /// Batches that must have been sent, because a later one came, and are not here.
    pub(super) fn missing(&self) -> u64 {
        self.ahead.last().map_or(0, |last| (last - self.whole).saturating_add(1).saturating_sub(self.ahead.len() as u64))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gaps_are_counted_until_they_close() {
        let mut sequence = Sequence::default();
        let after: Vec<u64> = [0, 3, 5, 3, 1, 2, 4]
            .into_iter()
            .map(|seq| {
                sequence.insert(seq);
                sequence.missing()
            })
            .collect();
        assert_eq!(after, [0, 2, 3, 3, 2, 1, 0]);
        assert!(sequence.ahead.is_empty() && sequence.contains(5) && !sequence.contains(6));
    }

    #[test]
    fn the_largest_number_overflows_nothing() {
        let mut sequence = Sequence::default();
        sequence.insert(u64::MAX);
        assert_eq!(sequence.missing(), u64::MAX - 1);
    }
}
