//! Restart intensity, stated: so many restarts in so much time, then the failure goes up.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

/// How many restarts are borne.
pub const RESTARTS: usize = 3;
/// In how much time.
pub const WITHIN: Duration = Duration::from_secs(60);

/// Counts restarts. More than [`RESTARTS`] within [`WITHIN`] are not borne.
#[derive(Debug, Default)]
pub struct Intensity {
    restarts: VecDeque<Instant>,
}

impl Intensity {
    /// One more failure at this instant: the pause before the restart, or `None` if it is not borne.
    pub fn failed(&mut self, now: Instant) -> Option<Duration> {
        self.restarts.retain(|at| now.duration_since(*at) < WITHIN);
        if self.restarts.len() >= RESTARTS {
            return None;
        }
        self.restarts.push_back(now);
        Some(Duration::from_millis(100 << self.restarts.len()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_restarts_in_a_minute_are_borne_and_a_fourth_is_not() {
        let (mut intensity, start) = (Intensity::default(), Instant::now());
        let pauses: Vec<_> = (0..4).map(|second| intensity.failed(start + Duration::from_secs(second))).collect();
        let expected = [Some(200), Some(400), Some(800), None];
        assert_eq!(pauses, expected.map(|millis: Option<u64>| millis.map(Duration::from_millis)));
    }

    #[test]
    fn failures_far_apart_are_borne_for_ever() {
        let (mut intensity, start) = (Intensity::default(), Instant::now());
        assert!((0..20).all(|round| intensity.failed(start + WITHIN * round).is_some()));
    }
}
