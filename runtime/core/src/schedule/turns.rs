//! Whose turn it is, where some have more turns than others.

use std::num::NonZeroU32;

/// One round in which everybody has turns in proportion to his weight, spread over it as evenly as can be; by his place in
/// `weights`. Equal weights take turns in their order.
///
/// ```text
/// weights 1, 2       1 0 1
/// weights 3, 3       0 1
/// ```
#[must_use]
pub fn turns(weights: &[NonZeroU32]) -> Vec<u32> {
    let common = weights.iter().fold(0, |common, weight| greatest_common_divisor(common, u64::from(weight.get())));
    // Each turn is wished for in the middle of its own part of the round: a fraction, and whose it is.
    let mut wishes: Vec<(u64, u64, u32)> = Vec::new();
    for (who, weight) in (0..).zip(weights) {
        let turns = u64::from(weight.get()) / common;
        wishes.extend((0..turns).map(|turn| (2 * turn + 1, 2 * turns, who)));
    }
    // The sort is stable: of two wishes for the same instant the one of the earlier place goes first.
    wishes.sort_by(|(at, of, _), (other_at, other_of, _)| (at * other_of).cmp(&(other_at * of)));
    wishes.into_iter().map(|(_, _, who)| who).collect()
}

pub(super) fn greatest_common_divisor(a: u64, b: u64) -> u64 {
    if b == 0 { a } else { greatest_common_divisor(b, a % b) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn weights(of: &[u32]) -> Vec<NonZeroU32> {
        of.iter().map(|weight| NonZeroU32::new(*weight).unwrap()).collect()
    }

    #[test]
    fn turns_are_spread_over_the_round() {
        assert_eq!(turns(&weights(&[5, 5, 5])), [0, 1, 2]);
        assert_eq!(turns(&weights(&[1, 2])), [1, 0, 1]);
        assert_eq!(turns(&weights(&[64, 96])), [1, 0, 1, 0, 1]);
        assert_eq!(turns(&weights(&[1, 4])), [1, 1, 0, 1, 1]);
        assert!(turns(&[]).is_empty());
    }

    proptest! {
        #[test]
        fn everybody_has_his_turns_in_every_stretch(of in prop::collection::vec(1u32..40, 1..8)) {
            let turns = turns(&weights(&of));
            let sum: u32 = of.iter().sum();
            let mut had = vec![0.0; of.len()];
            for (place, turn) in turns.iter().enumerate() {
                had[*turn as usize] += 1.0;
                for (had, weight) in had.iter().zip(&of) {
                    let meant = (place + 1) as f64 * f64::from(*weight) / f64::from(sum);
                    // Two can always be kept within one turn; of more, several may wish for one instant.
                    let bound = if of.len() <= 2 { 1.0 } else { of.len() as f64 / 2.0 + 0.5 };
                    prop_assert!((had - meant).abs() < bound, "{had} of {meant}");
                }
            }
            let round = turns.len() as f64 / f64::from(sum);
            for (had, weight) in had.iter().zip(&of) {
                prop_assert!((had - f64::from(*weight) * round).abs() < 1e-9);
            }
        }
    }
}
