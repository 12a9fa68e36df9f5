//! How often each entry of a dataset was sent, at about a bit for each and one more for each doubling.

use crate::indices::Indices;

/// How often each entry was sent.
#[derive(Debug, Clone, Default)]
pub(super) struct TimesSent {
    once: Indices,
    /// How often beyond that, in binary: a set for each digit, the lowest first.
    further: Vec<Indices>,
    /// All entries before this one were sent.
    in_a_row: u64,
    entries: u64,
    most: u64,
}

impl TimesSent {
    /// The entry is sent: how often it had been sent before.
    pub(super) fn add(&mut self, entry: u64) -> u64 {
        if self.once.insert(entry) {
            self.entries += 1;
            self.most = self.most.max(1);
            while self.once.contains(self.in_a_row) {
                self.in_a_row += 1;
            }
            return 0;
        }
        let digits = self.further.iter().enumerate();
        let further: u64 = digits.map(|(digit, set)| u64::from(set.contains(entry)) << digit).sum();
        // A digit that was set is cleared and carried on.
        if self.further.iter_mut().all(|set| set.toggle(entry)) {
            self.further.push(Indices::default());
            self.further.last_mut().map(|set| set.insert(entry));
        }
        self.most = self.most.max(further + 2);
        further + 1
    }

    /// Entries that were sent.
    pub(super) fn entries(&self) -> u64 {
        self.entries
    }

    /// Those from the first one on of which none was left out.
    pub(super) fn in_a_row(&self) -> u64 {
        self.in_a_row
    }

    /// How often one entry was sent, at most.
    pub(super) fn most(&self) -> u64 {
        self.most
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn each_is_counted_however_often_it_comes(sent in prop::collection::vec(0u64..12, 0..200)) {
            let (mut ours, mut known) = (TimesSent::default(), BTreeMap::<u64, u64>::new());
            for entry in sent {
                let times = known.entry(entry).or_default();
                prop_assert_eq!(ours.add(entry), *times);
                *times += 1;
            }
            prop_assert_eq!(ours.entries(), known.len() as u64);
            prop_assert_eq!(ours.most(), known.values().copied().max().unwrap_or(0));
            prop_assert_eq!(ours.in_a_row(), (0..).take_while(|entry| known.contains_key(entry)).count() as u64);
        }
    }
}
