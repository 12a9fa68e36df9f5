//! Sets of requests or of a dataset's entries: a bit for each, in pages that exist only where they are used.

use std::collections::BTreeMap;

/// Bits of one page.
const PAGE_BITS: u64 = 1 << 15;

/// A set of indices at about one bit each.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Indices {
    pages: BTreeMap<u64, Box<[u64]>>,
}

impl Indices {
    /// Adds an index; says whether it is new.
    pub(crate) fn insert(&mut self, index: u64) -> bool {
        let (page, word, bit) = place(index);
        let words = self.pages.entry(page).or_insert_with(|| vec![0; PAGE_BITS as usize / 64].into_boxed_slice());
        let is_new = words[word] & bit == 0;
        words[word] |= bit;
        is_new
    }

    /// Takes it out if it is there, and puts it in if not; says whether it was there.
    pub(crate) fn toggle(&mut self, index: u64) -> bool {
        let was_there = !self.insert(index);
        if was_there {
            let (page, word, bit) = place(index);
            if let Some(words) = self.pages.get_mut(&page) {
                words[word] &= !bit;
            }
        }
        was_there
    }

    pub(crate) fn contains(&self, index: u64) -> bool {
        let (page, word, bit) = place(index);
        self.pages.get(&page).is_some_and(|words| words[word] & bit != 0)
    }
}

/// Page, word in it, bit in that.
fn place(index: u64) -> (u64, usize, u64) {
    let within = index % PAGE_BITS;
    (index / PAGE_BITS, (within / 64) as usize, 1 << (within % 64))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn it_is_a_set(indices in prop::collection::vec(prop_oneof![0u64..200_000, any::<u64>()], 0..100), other: u64) {
            let (mut ours, mut known) = (Indices::default(), BTreeSet::new());
            for index in indices {
                prop_assert_eq!(ours.insert(index), known.insert(index));
            }
            prop_assert!(known.iter().all(|index| ours.contains(*index)));
            prop_assert_eq!(ours.contains(other), known.contains(&other));
            prop_assert_eq!(ours.toggle(other), known.contains(&other));
            prop_assert_eq!(ours.contains(other), !known.contains(&other));
        }
    }

    #[test]
    fn a_million_requests_take_a_million_bits() {
        let mut ours = Indices::default();
        (0..1_000_000).for_each(|index| assert!(ours.insert(index)));
        assert_eq!(ours.pages.len() as u64, 1_000_000u64.div_ceil(PAGE_BITS));
    }
}
