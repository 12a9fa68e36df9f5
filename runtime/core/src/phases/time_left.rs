//! The time that is left for trials, where the run must be over at a known instant. The clock is told, never read.

use crate::{plan::Plan, units::Span};

/// What is known of the run's end.
#[derive(Debug, Default)]
pub(super) struct TimeLeft {
    /// Unix nanoseconds: no trial may be under way after it.
    pub ends_at: Option<i128>,
    /// Unix nanoseconds, as it was told last.
    pub now: i128,
    /// The longest that servers took to become ready; the next start is expected to take as long.
    pub slowest_start: Span,
}

impl TimeLeft {
    /// Why this trial is not begun: even without any delay it would not be over in time.
    pub fn lacks(&self, plan: &Plan, starts_servers: bool) -> Option<String> {
        let left = self.ends_at? - self.now;
        let start = if starts_servers { self.slowest_start } else { Span::ZERO };
        // A load that ends after a count may be a matter of seconds: it is tried while there is any time.
        let needed = Span(start.0 + plan.calibration().0 + plan.load_time().unwrap_or_default().0);
        if left > 0 && i128::try_from(needed.0.as_nanos()).is_ok_and(|needed| needed <= left) {
            return None;
        }
        let left = Span::from_secs(u64::try_from(left / 1_000_000_000).unwrap_or_default());
        let needed = Span::from_secs(needed.as_secs_f64().ceil() as u64);
        Some(format!("{} needs {needed} and {left} are left for trials", plan.trial.id))
    }
}
