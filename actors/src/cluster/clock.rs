//! How far a node's clock is off, from beats. Used only to align windows, never to measure latency.

use std::{collections::VecDeque, time::Duration};

/// Beats that are remembered: half a minute of them.
const WINDOW: usize = 16;

/// An estimate of a clock's offset.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClockEstimate {
    /// The node's clock minus ours.
    pub offset_nanos: i64,
    /// The truth lies within this of it: half of the round trip.
    pub bound_nanos: u64,
}

/// The latest estimates; the one with the shortest round trip counts, because its bound is the tightest.
#[derive(Debug, Clone, Default)]
pub struct ClockWindow {
    samples: VecDeque<ClockEstimate>,
    best: Option<ClockEstimate>,
}

impl ClockWindow {
    /// Takes in one beat: when it was sent by our clock, how long the answer took, what the node's clock
    /// said. Gives the best estimate if it is now another one.
    pub fn answered(&mut self, sent_unix_nanos: i128, round_trip: Duration, node_unix_nanos: i128) -> Option<ClockEstimate> {
        let half = round_trip / 2;
        let middle = sent_unix_nanos + i128::try_from(half.as_nanos()).unwrap_or(i128::MAX / 4);
        let offset = node_unix_nanos.saturating_sub(middle);
        let sample = ClockEstimate {
            offset_nanos: i64::try_from(offset).unwrap_or(if offset < 0 { i64::MIN } else { i64::MAX }),
            bound_nanos: u64::try_from(half.as_nanos()).unwrap_or(u64::MAX),
        };
        if self.samples.len() == WINDOW {
            self.samples.pop_front();
        }
        self.samples.push_back(sample);
        let best = self.samples.iter().min_by_key(|sample| sample.bound_nanos).copied();
        let is_new = best != self.best;
        self.best = best;
        best.filter(|_| is_new)
    }

    /// The best estimate so far.
    #[must_use]
    pub fn best(&self) -> Option<ClockEstimate> {
        self.best
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MILLI: i128 = 1_000_000;

    #[test]
    fn the_shortest_round_trip_counts_and_its_bound_holds_the_truth() {
        let mut window = ClockWindow::default();
        let truth = 250 * MILLI;
        // All delay on the way out: the worst case for a symmetric guess.
        for (sent, out, back) in [(0, 8, 0), (2_000, 0, 2), (4_000, 20, 20)] {
            let node = sent * MILLI + out * MILLI + truth;
            window.answered(sent * MILLI, Duration::from_millis((out + back) as u64), node);
        }
        let best = window.best().unwrap();
        assert_eq!(best.bound_nanos, 1_000_000);
        assert!((i128::from(best.offset_nanos) - truth).unsigned_abs() <= u128::from(best.bound_nanos), "{best:?}");
    }

    #[test]
    fn only_news_is_told() {
        let mut window = ClockWindow::default();
        assert!(window.answered(0, Duration::from_millis(2), MILLI).is_some());
        assert!(window.answered(0, Duration::from_millis(4), MILLI).is_none());
        assert!(window.answered(0, Duration::from_millis(1), MILLI).is_some());
    }

    #[test]
    fn an_old_estimate_is_forgotten() {
        let mut window = ClockWindow::default();
        window.answered(0, Duration::from_millis(1), 0);
        for beat in 0..WINDOW as i128 {
            window.answered(beat, Duration::from_millis(10), beat);
        }
        assert_eq!(window.best().unwrap().bound_nanos, 5_000_000);
    }

    #[test]
    fn an_absurd_clock_does_not_overflow() {
        let mut window = ClockWindow::default();
        let estimate = window.answered(i128::from(i64::MAX), Duration::MAX, i128::MIN).unwrap();
        assert_eq!(estimate.offset_nanos, i64::MIN);
    }
}
