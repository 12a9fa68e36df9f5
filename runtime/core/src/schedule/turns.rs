//! Whose turn it is, where some have more turns than others.

use std::{cmp::Reverse, collections::BinaryHeap, num::NonZeroU32};

/// One round in which everybody has turns in proportion to his weight, by his place in `weights`. At every point of it
/// nobody has had a whole turn more, or less, than his part of those until then. Equal weights take turns in their order.
///
/// Each turn has a time at which it may be taken, where its owner's part reaches the turns that he has had, and one by which
/// it must be; of those that may be, the most urgent is taken (earliest deadline first, as Pfair scheduling has it).
///
/// ```text
/// weights 1, 2       1 0 1
/// weights 3, 3       0 1
/// ```
#[must_use]
pub fn turns(weights: &[NonZeroU32]) -> Vec<u32> {
    let common = weights.iter().fold(0, |common, weight| greatest_common_divisor(common, u64::from(weight.get())));
    let each: Vec<u64> = weights.iter().map(|weight| u64::from(weight.get()) / common).collect();
    let all: u64 = each.iter().sum();
    let mut had = vec![0; each.len()];
    let mut waiting: BinaryHeap<Reverse<(u64, usize)>> = (0..each.len()).map(|who| Reverse((0, who))).collect();
    let mut ready: BinaryHeap<Reverse<(u64, usize)>> = BinaryHeap::new();
    let mut turns = Vec::new();
    for place in 0..all {
        while let Some(Reverse((_, who))) = waiting.peek().copied().filter(|Reverse((from, _))| *from <= place) {
            waiting.pop();
            ready.push(Reverse((((had[who] + 1) * all).div_ceil(each[who]), who)));
        }
        // Somebody is always ready, as what the one has had too much the others have had too little.
        let Some(Reverse((_, who))) = ready.pop() else { break };
        turns.push(who as u32);
        had[who] += 1;
        if had[who] < each[who] {
            waiting.push(Reverse((had[who] * all / each[who], who)));
        }
    }
    turns
}

pub(super) fn greatest_common_divisor(a: u64, b: u64) -> u64 {
    if b == 0 { a } else { greatest_common_divisor(b, a % b) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::testing::weights;

    #[test]
    fn turns_are_spread_over_the_round() {
        assert_eq!(turns(&weights(&[5, 5, 5])), [0, 1, 2]);
        assert_eq!(turns(&weights(&[1, 2])), [1, 0, 1]);
        assert_eq!(turns(&weights(&[64, 96])), [1, 0, 1, 0, 1]);
        assert_eq!(turns(&weights(&[1, 4])), [1, 1, 1, 0, 1]);
        assert_eq!(turns(&weights(&[1, 1, 1, 3])), [3, 0, 3, 1, 2, 3]);
        assert!(turns(&[]).is_empty());
    }

    proptest! {
        #[test]
        fn nobody_is_a_whole_turn_off(of in prop::collection::vec(1u32..130, 1..40)) {
            let turns = turns(&weights(&of));
            let sum: u32 = of.iter().sum();
            let mut had = vec![0_u64; of.len()];
            for (place, turn) in (1..).zip(&turns) {
                had[*turn as usize] += 1;
                for (had, weight) in had.iter().zip(&of) {
                    let (had, meant) = (had * u64::from(sum), place * u64::from(*weight));
                    prop_assert!(had.abs_diff(meant) < u64::from(sum), "{} and {} of {}", had, meant, sum);
                }
            }
            for (had, weight) in had.iter().zip(&of) {
                prop_assert_eq!(had * u64::from(sum), turns.len() as u64 * u64::from(*weight));
            }
        }
    }
}
