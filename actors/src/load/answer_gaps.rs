//! The gaps of one answer, kept until the number of its tokens is known.
//!
//! An event says seldom how many tokens it has, and several may come in one (speculative decoding, busy servers). Only
//! the answer's end tells, so what lies between two tokens is known only then. What lies between two events is handed
//! over while the answer comes.

/// Gaps that are kept of one answer, at eight bytes each.
const HELD: usize = 16_384;
const NANOS_BITS: u32 = 42;
const COUNT_BITS: u32 = (u64::BITS - NANOS_BITS) / 2;
const MAX_NANOS: u64 = (1 << NANOS_BITS) - 1;
const MAX_COUNT: u32 = (1 << COUNT_BITS) - 1;

/// A gap in one number: nanoseconds (at most 73 minutes) below, above them the tokens and the events behind it.
#[derive(Debug, Clone, Copy)]
struct Packed(u64);

impl Packed {
    /// Neither count may be above [`MAX_COUNT`].
    fn new(nanos: u64, weight: u32, events: u32) -> Self {
        let counts = (u64::from(events) << COUNT_BITS) | u64::from(weight);
        Self((counts << NANOS_BITS) | nanos.min(MAX_NANOS))
    }

    fn nanos(self) -> u64 {
        self.0 & MAX_NANOS
    }

    fn weight(self) -> u64 {
        (self.0 >> NANOS_BITS) & u64::from(MAX_COUNT)
    }

    fn events(self) -> u64 {
        self.0 >> (NANOS_BITS + COUNT_BITS)
    }
}

/// The gaps of one answer. Beyond [`HELD`] of them the rest is kept as one sum, and counts with its mean.
#[derive(Default)]
pub(super) struct AnswerGaps {
    held: Vec<Packed>,
    /// How many of them were handed over.
    handed: usize,
    rest_nanos: u64,
    rest_weight: u64,
    weight: u64,
    is_untold: bool,
}

impl AnswerGaps {
    /// A read with content came `nanos` after the one before. It brought so many tokens, or else events.
    pub fn push(&mut self, nanos: u64, tokens: Option<u32>, events: u32) {
        self.is_untold |= tokens.is_none();
        let (mut nanos, mut weight, mut events) = (nanos, tokens.unwrap_or(events), events);
        self.weight += u64::from(weight);
        while weight > MAX_COUNT || events > MAX_COUNT {
            self.held.push(Packed::new(nanos, weight.min(MAX_COUNT), events.min(MAX_COUNT)));
            (nanos, weight, events) = (0, weight.saturating_sub(MAX_COUNT), events.saturating_sub(MAX_COUNT));
        }
        self.held.push(Packed::new(nanos, weight, events));
    }

    /// How many were not handed over yet.
    pub fn unhanded(&self) -> usize {
        self.held.len() - self.handed
    }

    /// Calls `record` with each gap between events that was not handed over yet, and with how many there are of it.
    pub fn hand_over(&mut self, mut record: impl FnMut(u64, u64)) {
        for gap in &self.held[self.handed..] {
            record(gap.nanos(), gap.events().min(1));
            // Events of one read came together: nothing lay between them.
            record(0, gap.events().saturating_sub(1));
        }
        for gap in self.held.drain(self.held.len().min(HELD)..) {
            self.rest_nanos = self.rest_nanos.saturating_add(gap.nanos());
            self.rest_weight += gap.weight();
        }
        self.handed = self.held.len();
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
        let held = self.held.iter().map(|gap| (gap.nanos(), gap.weight()));
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
        let mut gaps = AnswerGaps::default();
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
        let mut gaps = AnswerGaps::default();
        let all = HELD as u64 + 1_000;
        let mut handed = (0, 0);
        for at in 0..all {
            gaps.push(if at < HELD as u64 { 8 } else { at % 2 * 8 }, None, 1);
            if gaps.unhanded() == 32 || at + 1 == all {
                gaps.hand_over(|nanos, times| handed = (handed.0 + nanos * times, handed.1 + times));
            }
        }
        assert_eq!(handed, (HELD as u64 * 8 + 500 * 8, all), "between events every gap counts as it was");
        let (mut values, mut sum, mut count) = (0, 0, 0);
        gaps.drain(u32::try_from(all * 2).ok(), |nanos, tokens| {
            (values, sum, count) = (values + 1, sum + nanos * tokens, count + tokens)
        });
        assert_eq!((values, count), (HELD + 1, all * 2));
        assert_eq!(sum, HELD as u64 * 8 + 500 * 8, "no time is lost");
    }
    #[test]
    fn what_one_read_brought_came_without_gaps_however_much_it_was() {
        let mut gaps = AnswerGaps::default();
        gaps.push(7_000, None, 3);
        gaps.push(9_000, Some(10_000), 5_000);
        let mut between = std::collections::BTreeMap::new();
        gaps.hand_over(|nanos, times| *between.entry(nanos).or_insert(0) += times);
        assert_eq!(between, [(0, 2 + 4_999), (7_000, 1), (9_000, 1)].into());
        assert_eq!(gaps.unhanded(), 0);
        let mut tokens = 0;
        gaps.drain(None, |_, count| tokens += count);
        assert_eq!(tokens, 10_003, "a count that needs more bits than there are is not cut");
    }
}
