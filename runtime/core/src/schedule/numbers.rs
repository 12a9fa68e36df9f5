//! Which requests of a trial's global order are somebody's. A share that is cut stays such a list, so that what was one
//! node's can be several others', and theirs again.

use std::{
    collections::BTreeMap,
    num::{NonZeroU32, NonZeroU64},
};

use serde::{Deserialize, Serialize};

use super::turns::{greatest_common_divisor, turns};

/// A list has at most so many requests in a round.
const LONGEST_ROUND: u64 = 4096;

const HALF: NonZeroU32 = NonZeroU32::new(2).unwrap();

/// Some requests of a trial, the same ones of every round of `step`: `first` and those so far `beyond` it, and as many in
/// the next round.
///
/// ```text
/// first 1, beyond [2], step 4      . 1 . 3 | . 5 . 7 | . 9 …
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Numbers {
    first: u64,
    step: NonZeroU64,
    /// Ascending, and below `step`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    beyond: Vec<u64>,
}

impl Numbers {
    /// The requests `first`, `first + step`, `first + 2 step`…
    #[must_use]
    pub fn new(first: u64, step: NonZeroU64) -> Self {
        Self { first, step, beyond: Vec::new() }
    }

    /// All of them.
    #[must_use]
    pub fn all() -> Self {
        Self::new(0, NonZeroU64::MIN)
    }

    /// Those of executor `executor` of `executors` that have equal shares.
    #[must_use]
    pub fn of(executor: u32, executors: NonZeroU32) -> Self {
        assert!(executor < executors.get(), "an executor is one of its executors");
        Self::new(executor.into(), executors.into())
    }

    /// The one at this place of the list, from 0.
    #[must_use]
    pub fn at(&self, place: u64) -> u64 {
        let (round, within) = (place / self.each_round(), place % self.each_round());
        let beyond = within.checked_sub(1).map_or(0, |within| self.beyond[within as usize]);
        self.first.saturating_add(round.saturating_mul(self.step.get())).saturating_add(beyond)
    }

    /// How many lie before `index`, which is the place of the first one at or after it.
    #[must_use]
    pub fn before(&self, index: u64) -> u64 {
        let ahead = index.saturating_sub(self.first);
        let (round, within) = (ahead / self.step, ahead % self.step);
        let begun = if within == 0 { 0 } else { 1 + self.beyond.partition_point(|beyond| *beyond < within) as u64 };
        round.saturating_mul(self.each_round()).saturating_add(begun)
    }

    /// Whether this request is one of them.
    #[must_use]
    pub fn contains(&self, index: u64) -> bool {
        self.at(self.before(index)) == index
    }

    /// How many of all requests they are, from 0 to 1.
    #[must_use]
    pub fn fraction(&self) -> f64 {
        self.each_round() as f64 / self.step.get() as f64
    }

    /// The same list from `index` on, dealt out by weight: with the weights 1 and 2 the second one gets two of three. Weights
    /// of which a list would be too long are made coarser. Where numbers that far apart do not exist, the first one has all.
    #[must_use]
    pub fn dealt(&self, index: u64, weights: &[NonZeroU32]) -> Vec<Self> {
        if weights.is_empty() {
            return Vec::new();
        }
        let from = self.before(index);
        let mut weights = weights.to_vec();
        // Equal weights always fit: a list is then no longer than this one.
        let turns = loop {
            let turns = turns(&weights);
            if self.longest_part(&turns).is_some_and(|longest| longest <= LONGEST_ROUND) || weights.iter().all(|it| it.get() == 1)
            {
                break turns;
            }
            weights.iter_mut().for_each(|weight| *weight = weight.div_ceil(HALF));
        };
        self.dealt_in(&turns, from, weights.len()).unwrap_or_else(|| {
            let first = self.at(from);
            let beyond = (1..self.each_round()).map(|place| self.at(from + place) - first).collect();
            vec![Self { first, step: self.step, beyond }]
        })
    }

    /// So many places later both the turns and this list's own rounds begin again.
    fn places(&self, turns: &[u32]) -> Option<u64> {
        let (turns, own) = (turns.len() as u64, self.each_round());
        (turns / greatest_common_divisor(turns, own)).checked_mul(own)
    }

    /// How long the round of the part is that has the most turns.
    fn longest_part(&self, turns: &[u32]) -> Option<u64> {
        let mut counts: BTreeMap<u32, u64> = BTreeMap::new();
        turns.iter().for_each(|turn| *counts.entry(*turn).or_default() += 1);
        Some(self.places(turns)? / turns.len() as u64 * counts.into_values().max()?)
    }

    /// Each part takes its turns of the places from `from` on; `None` where their numbers would be too far apart.
    fn dealt_in(&self, turns: &[u32], from: u64, parts: usize) -> Option<Vec<Self>> {
        let places = self.places(turns)?;
        let step = self.step.checked_mul(NonZeroU64::new(places / self.each_round())?)?;
        let mut dealt: Vec<Option<Self>> = vec![None; parts];
        for (place, turn) in (0..places).zip(turns.iter().cycle()) {
            let index = self.at(from + place);
            match &mut dealt[*turn as usize] {
                Some(part) => part.beyond.push(index - part.first),
                part @ None => *part = Some(Self::new(index, step)),
            }
        }
        dealt.into_iter().collect()
    }

    fn each_round(&self) -> u64 {
        1 + self.beyond.len() as u64
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::testing::weights;

    fn first_of(numbers: &Numbers, count: u64) -> Vec<u64> {
        (0..count).map(|place| numbers.at(place)).collect()
    }

    proptest! {
        #[test]
        fn however_often_it_is_dealt_out_every_request_is_in_one_part(
            first in prop::collection::vec(1u32..6, 1..6),
            cuts in prop::collection::vec((0usize..64, 0u64..300, prop::collection::vec(1u32..6, 1..5)), 0..6),
        ) {
            let mut lists: Vec<(Numbers, u64)> =
                Numbers::all().dealt(0, &weights(&first)).into_iter().map(|numbers| (numbers, u64::MAX)).collect();
            for (which, from, by) in cuts {
                let which = which % lists.len();
                // A part ends where it is cut, and what follows belongs to its own parts.
                let from = from.min(lists[which].1);
                let until = std::mem::replace(&mut lists[which].1, from);
                let parts = lists[which].0.dealt(from, &weights(&by));
                let fraction: f64 = parts.iter().map(Numbers::fraction).sum();
                prop_assert!((fraction - lists[which].0.fraction()).abs() < 1e-9);
                lists.extend(parts.into_iter().map(|part| (part, until)));
            }
            for index in 0..400 {
                let owners = lists.iter().filter(|(numbers, until)| numbers.contains(index) && index < *until).count();
                prop_assert_eq!(owners, 1, "request {}", index);
            }
        }

        #[test]
        fn a_place_and_a_request_find_each_other(of in prop::collection::vec(1u32..9, 1..5), from in 0u64..50) {
            for part in Numbers::all().dealt(from, &weights(&of)) {
                let listed = first_of(&part, 60);
                prop_assert!(listed.is_sorted_by(|one, next| one < next) && listed[0] >= from);
                for (place, index) in (0..).zip(&listed) {
                    prop_assert_eq!(part.before(*index), place);
                    prop_assert_eq!(part.before(index + 1), place + 1);
                }
                let held: Vec<u64> = (0..*listed.last().unwrap() + 1).filter(|index| part.contains(*index)).collect();
                prop_assert_eq!(held, listed);
            }
        }

        #[test]
        fn equal_weights_are_the_plain_lists(executors in 1u32..12, weight in 1u32..9, turns in 0u64..30) {
            let executors = NonZeroU32::new(executors).unwrap();
            let equal = vec![NonZeroU32::new(weight).unwrap(); executors.get() as usize];
            for (executor, part) in (0..).zip(Numbers::all().dealt(0, &equal)) {
                prop_assert_eq!(&part, &Numbers::of(executor, executors));
                prop_assert_eq!(part.at(turns), u64::from(executor) + turns * u64::from(executors.get()));
            }
        }
    }

    #[test]
    fn the_heavier_has_more_and_never_all_at_once() {
        let [light, heavy] = &Numbers::all().dealt(0, &weights(&[32, 64]))[..] else { panic!("two parts") };
        assert_eq!((first_of(light, 3), first_of(heavy, 6)), (vec![1, 4, 7], vec![0, 2, 3, 5, 6, 8]));
        assert_eq!((light.fraction(), heavy.fraction()), (1.0 / 3.0, 2.0 / 3.0));
    }

    #[test]
    fn weights_of_which_lists_would_be_too_long_are_made_coarser() {
        // 4,095 and 1 of a round fit; what the stronger one leaves cannot be dealt out by 127 and 128 as well.
        let [strong, _] = &Numbers::all().dealt(0, &weights(&[4095, 1]))[..] else { panic!("two parts") };
        let parts = strong.dealt(9_000, &weights(&[127, 128]));
        let fractions: Vec<f64> = parts.iter().map(|part| part.fraction() / strong.fraction()).collect();
        assert!(fractions.iter().all(|fraction| (0.49..0.51).contains(fraction)), "{fractions:?}");
        assert!(parts.iter().all(|part| part.each_round() <= LONGEST_ROUND));
        for index in 9_000..30_000 {
            let owners = parts.iter().filter(|part| part.contains(index)).count();
            assert_eq!(owners, usize::from(strong.contains(index)), "{index}");
        }
    }

    #[test]
    fn nobody_is_dealt_nothing() {
        assert_eq!(Numbers::all().dealt(0, &[]), []);
    }

    #[test]
    fn numbers_too_far_apart_stay_in_one_part() {
        let far = Numbers::new(3, NonZeroU64::new(u64::MAX / 2).unwrap());
        assert_eq!(far.dealt(0, &weights(&[1, 1, 1])), [far]);
    }
}
