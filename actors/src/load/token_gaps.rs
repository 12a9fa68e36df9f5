//! The gaps of one answer, kept until the number of its tokens is known.
//!
//! An event says seldom how many tokens it has, and several may come in one (speculative decoding, busy servers). Only
//! the answer's end tells, so what lies between two tokens is known only then.

/// Gaps that are kept of one answer, at eight bytes each.
const HELD: usize = 16_384;
const NANOS_BITS: u32 = 40;
const MAX_NANOS: u64 = (1 << NANOS_BITS) - 1;
const MAX_WEIGHT: u64 = (1 << (u64::BITS - NANOS_BITS)) - 1;

/// The gaps of one answer. Beyond [`HELD`] of them the rest is kept as one sum, and counts with its mean.
#[derive(Default)]
pub(super) struct TokenGaps {
    /// Each in one number: nanoseconds (at most 18 minutes) below, weight above.
    held: Vec<u64>,
    rest_nanos: u64,
    rest_weight: u64,
    weight: u64,
    is_untold: bool,
}

impl TokenGaps {
    /// A read with content came `nanos` after the one before. It brought so many tokens, or else events.
    pub fn push(&mut self, nanos: u64, tokens: Option<u32>, events: u32) {
        let weight = u64::from(tokens.unwrap_or(events)).min(MAX_WEIGHT);
        self.is_untold |= tokens.is_none();
        self.weight += weight;
        if self.held.len() < HELD {
            self.held.push((weight << NANOS_BITS) | nanos.min(MAX_NANOS));
        } else {
            self.rest_nanos = self.rest_nanos.saturating_add(nanos);
            self.rest_weight += weight;
        }
    }

    /// Calls `record` with the time per token and the number of tokens of each gap, and is empty again.
    ///
    /// `after_first` are the tokens that came with these gaps: the answer's, less those of its first event. They are
    /// spread evenly over the events, unless every event told its own. Where they are fewer than the events, a gap
    /// reaches over the events without one. `None` takes each event for a token.
    pub fn drain(&mut self, after_first: Option<u32>, mut record: impl FnMut(u64, u64)) {
        let weight = self.weight;
        let tokens = after_first.filter(|_| self.is_untold).map_or(weight, u64::from);
        let rest = (self.rest_weight > 0).then_some((self.rest_nanos, self.rest_weight));
        let held = self.held.iter().map(|gap| (gap & MAX_NANOS, gap >> NANOS_BITS));
        // What lies between the last token that was counted and here.
        let (mut nanos, mut passed, mut seen, mut counted) = (0_u64, 0_u64, 0_u64, 0_u64);
        for (gap, share) in held.chain(rest) {
            nanos = nanos.saturating_add(gap);
            passed += share;
            seen += share;
            let due = scaled(seen, tokens, weight);
            if due > counted {
                record(scaled(nanos, weight, tokens * passed), due - counted);
                (nanos, passed, counted) = (0, 0, due);
            }
        }
        self.held.clear();
        *self = Self { held: std::mem::take(&mut self.held), ..Self::default() };
    }
}

/// `value × by / of`, for an `of` above 0. A division of 128 bits takes ten times as long, and is seldom needed.
fn scaled(value: u64, by: u64, of: u64) -> u64 {
    match value.checked_mul(by) {
        Some(product) => product / of,
        None => u64::try_from(u128::from(value) * u128::from(by) / u128::from(of)).unwrap_or(u64::MAX),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Gaps of nanoseconds, tokens told and events.
    type Pushed<'a> = &'a [(u64, Option<u32>, u32)];

    fn check(pushed: Pushed<'_>, after_first: Option<u32>, expected: &[(u64, u64)]) {
        let mut gaps = TokenGaps::default();
        // The buffer serves one answer after another.
        for _ in 0..2 {
            pushed.iter().for_each(|(nanos, tokens, events)| gaps.push(*nanos, *tokens, *events));
            let mut values = Vec::new();
            gaps.drain(after_first, |nanos, count| values.push((nanos, count)));
            assert_eq!(values, expected, "{pushed:?} for {after_first:?} tokens");
        }
    }

    #[test]
    fn a_token_in_each_event_leaves_every_gap_as_it_was() {
        let gaps = [(5_000_001, None, 1), (7_000_000, None, 1), (0, None, 2), (9_000_001, None, 3)];
        let as_they_were = [(5_000_001, 1), (7_000_000, 1), (0, 2), (3_000_000, 3)];
        check(&gaps, Some(7), &as_they_were);
        check(&gaps, None, &as_they_were);
        check(&[], Some(0), &[]);
    }

    #[test]
    fn several_tokens_in_an_event_share_its_gap() {
        check(&[(20_000_000, None, 1); 3], Some(12), &[(5_000_000, 4); 3]);
        // Eleven tokens over three events: each has 3⅔, and the whole numbers add up.
        check(&[(11_000_000, None, 1); 3], Some(11), &[(3_000_000, 3), (3_000_000, 4), (3_000_000, 4)]);
    }

    #[test]
    fn events_that_tell_their_tokens_are_believed() {
        check(&[(20_000_000, Some(4), 1), (6_000_000, Some(1), 1)], Some(100), &[(5_000_000, 4), (6_000_000, 1)]);
        check(&[(8_000_000, Some(3), 1), (4_000_000, None, 1)], Some(8), &[(1_333_333, 6), (2_000_000, 2)]);
    }

    #[test]
    fn a_token_in_several_events_has_the_gaps_of_all() {
        check(&[(5_000_000, None, 1); 4], Some(2), &[(10_000_000, 1); 2]);
        check(&[(5_000_000, None, 1); 4], Some(0), &[]);
    }

    #[test]
    fn what_cannot_be_held_counts_with_its_mean() {
        let mut gaps = TokenGaps::default();
        let all = HELD as u64 + 1_000;
        (0..all).for_each(|at| gaps.push(if at < HELD as u64 { 8 } else { at % 2 * 8 }, None, 1));
        let (mut values, mut sum, mut count) = (0, 0, 0);
        gaps.drain(u32::try_from(all * 2).ok(), |nanos, tokens| {
            (values, sum, count) = (values + 1, sum + nanos * tokens, count + tokens)
        });
        assert_eq!((values, count), (HELD + 1, all * 2));
        assert_eq!(sum, HELD as u64 * 8 + 500 * 8, "no time is lost");
    }
}
