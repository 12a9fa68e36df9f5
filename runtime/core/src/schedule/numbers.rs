//! Which requests of a trial's global order are somebody's. A share that is cut stays such a list, so that what was one
//! node's can be several others', and theirs again.

use std::num::{NonZeroU32, NonZeroU64};

use serde::{Deserialize, Serialize};

/// The requests `first`, `first + step`, `first + 2 step`… of a trial.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Numbers {
    /// The first one.
    pub first: u64,
    /// From one to the next.
    pub step: NonZeroU64,
}

impl Numbers {
    /// Those of executor `executor` of `executors`.
    #[must_use]
    pub fn of(executor: u32, executors: NonZeroU32) -> Self {
        assert!(executor < executors.get(), "an executor is one of its executors");
        Self { first: executor.into(), step: executors.into() }
    }

    /// Whether this request is one of them.
    #[must_use]
    pub fn contains(&self, index: u64) -> bool {
        index.checked_sub(self.first).is_some_and(|beyond| beyond % self.step == 0)
    }

    /// The first one at or after `index`.
    #[must_use]
    pub fn at_or_after(&self, index: u64) -> u64 {
        let turns = index.saturating_sub(self.first).div_ceil(self.step.get());
        self.first.saturating_add(turns.saturating_mul(self.step.get()))
    }

    /// The same list from `index` on, cut into so many, each of which has every so-manyth of them. Where numbers that
    /// far apart do not exist, the first has all.
    #[must_use]
    pub fn cut(&self, index: u64, parts: NonZeroU32) -> Vec<Self> {
        let first = self.at_or_after(index);
        let Some(step) = self.step.checked_mul(parts.into()) else { return vec![Self { first, step: self.step }] };
        (0..u64::from(parts.get())).map(|part| Self { first: first.saturating_add(part * self.step.get()), step }).collect()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn however_often_it_is_cut_every_request_is_in_one_part(executors in 1u32..9, cuts in prop::collection::vec((0usize..64, 0u64..300, 1u32..5), 0..6)) {
            let executors = NonZeroU32::new(executors).unwrap();
            let mut lists: Vec<(Numbers, u64)> = (0..executors.get()).map(|k| (Numbers::of(k, executors), u64::MAX)).collect();
            for (which, from, parts) in cuts {
                let which = which % lists.len();
                // A part ends where it is cut, and what follows belongs to its own parts.
                let from = from.min(lists[which].1);
                let until = std::mem::replace(&mut lists[which].1, from);
                let parts = lists[which].0.cut(from, NonZeroU32::new(parts).unwrap());
                lists.extend(parts.into_iter().map(|part| (part, until)));
            }
            for index in 0..400 {
                let owners = lists.iter().filter(|(numbers, until)| numbers.contains(index) && index < *until).count();
                prop_assert_eq!(owners, 1, "request {}", index);
            }
        }
    }

    #[test]
    fn numbers_too_far_apart_stay_in_one_part() {
        let step = NonZeroU64::new(u64::MAX / 2).unwrap();
        let far = Numbers { first: 3, step };
        assert_eq!(far.cut(0, NonZeroU32::new(3).unwrap()), [far]);
    }
}
