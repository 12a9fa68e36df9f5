//! How many answers begin alike.

use std::collections::BTreeMap;

use crate::record::Record;

/// Answers of fewer tokens may be alike by chance: there is little that they can say.
const FEWEST_TOKENS: u32 = 8;
/// So many different beginnings are kept; where there are more, the answers are not all alike.
const MOST_KEPT: usize = 4096;

/// Beginnings of answers, counted.
#[derive(Debug, Default)]
pub(super) struct Likeness {
    answers: u64,
    beginnings: BTreeMap<u32, u64>,
}

impl Likeness {
    /// A completed answer.
    pub(super) fn take(&mut self, record: &Record) {
        let Some(beginning) = record.fingerprint.filter(|_| record.output_tokens.is_some_and(|tokens| tokens >= FEWEST_TOKENS))
        else {
            return;
        };
        self.answers += 1;
        let has_room = self.beginnings.len() < MOST_KEPT;
        match self.beginnings.get_mut(&beginning) {
            Some(count) => *count += 1,
            None if has_room => _ = self.beginnings.insert(beginning, 1),
            None => {}
        }
    }

    /// Answers that were looked at, and how many of them begin as most do.
    pub(super) fn alike(&self) -> (u64, u64) {
        (self.answers, self.beginnings.values().copied().max().unwrap_or(0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::answered;

    #[test]
    fn the_most_frequent_beginning_is_counted_among_answers_that_say_something() {
        let mut likeness = Likeness::default();
        for index in 0..20_000u64 {
            let mut record = answered(index, index, 300, if index % 10 == 9 { 7 } else { 8 });
            record.fingerprint = Some(if index % 2 == 0 { 7 } else { 1_000 + index as u32 });
            likeness.take(&record);
        }
        likeness.take(&answered(20_000, 20_000, 300, 8));
        assert_eq!(likeness.alike(), (18_000, 10_000));
        assert!(likeness.beginnings.len() <= MOST_KEPT);
    }
}
