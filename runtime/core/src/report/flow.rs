//! Whether as many requests went as came: a window that is short beside its answers, or a load that the servers are too
//! slow for, tells by them.

use super::gather::Gathered;
use crate::{
    trial::{Arrivals, LoadModel, LoadSpec},
    units::Nanos,
    verdict::FlowEvidence,
};

/// Times in flight, summed up.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct TimesInFlight {
    requests: u64,
    seconds: f64,
    squares: f64,
}

impl TimesInFlight {
    /// One more request was in flight for so many seconds.
    pub(super) fn add(&mut self, seconds: f64) {
        self.requests += 1;
        self.seconds += seconds;
        self.squares += seconds * seconds;
    }

    /// Their mean in seconds, if any was above none.
    pub(super) fn mean(&self) -> Option<f64> {
        (self.seconds > 0.0).then(|| self.seconds / self.requests as f64)
    }

    /// Their standard deviation over their mean.
    fn variation(&self) -> f64 {
        let Some(mean) = self.mean() else { return 0.0 };
        (self.squares / self.requests as f64 - mean * mean).max(0.0).sqrt() / mean
    }
}

/// What came and went in the window of a load that was to stay the same for all of it.
pub(super) fn flow(load: &LoadSpec, gathered: &Gathered<'_>, window: (Nanos, Nanos)) -> Option<FlowEvidence> {
    // How many come in a stretch varies by so much: the variance over the mean of their number. Of what comes together it is
    // so many times as much.
    let together = f64::from(load.together.get());
    let dispersion = match &load.model {
        LoadModel::Open { arrivals: Arrivals::Gamma { burstiness }, .. } => (1.0 / burstiness).max(1.0) * together,
        LoadModel::Open { .. } | LoadModel::Closed { .. } => together,
        LoadModel::Staged { .. } | LoadModel::ClosedStaged { .. } | LoadModel::Replay { .. } => return None,
    };
    let seconds = window.1.since(window.0).as_secs_f64();
    let answer_seconds = gathered.in_flight_times.mean()?;
    let at = |quarter: u64| Nanos(window.0.0 + window.1.0.saturating_sub(window.0.0) / 4 * quarter);
    let within = |from, to| gathered.in_flight.within((at(from), at(to))).0;
    let is_open = load.model.is_open();
    let (expected, noise) = if is_open {
        // Of a steady load as many are in flight at the end as at the beginning, but for chance.
        (gathered.sent as f64, (2.0 * dispersion * within(0, 4)).sqrt())
    } else {
        // Little's law: what is in flight, over the time it takes.
        let expected = within(0, 4) * seconds / answer_seconds;
        (expected, gathered.in_flight_times.variation() * (expected * together).sqrt())
    };
    Some(FlowEvidence {
        is_open,
        ended: gathered.ended,
        expected,
        noise,
        dispersion,
        in_flight: [within(1, 2), within(2, 3), within(3, 4)],
        answer_seconds,
        window_seconds: seconds,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        record::Record,
        testing::{answered, closed_plan, open_plan},
    };

    const SECOND: u64 = 1_000_000_000;

    #[test]
    fn times_have_a_mean_and_a_variation() {
        let mut times = TimesInFlight::default();
        assert_eq!((times.mean(), times.variation()), (None, 0.0));
        [1.0, 3.0].into_iter().for_each(|seconds| times.add(seconds));
        assert_eq!((times.mean(), times.variation()), (Some(2.0), 0.5));
    }

    fn of(plan: &crate::plan::Plan, window: (u64, u64), records: &[Record]) -> FlowEvidence {
        let window = (Nanos(window.0 * SECOND), Nanos(window.1 * SECOND));
        let mut gathered = Gathered::new(window, &plan.trial, None);
        records.iter().for_each(|record| gathered.take(record));
        gathered.in_flight.sort();
        flow(&plan.trial.load, &gathered, window).unwrap()
    }

    #[test]
    fn waves_of_a_closed_loop_end_more_seldom_in_a_window_than_they_should() {
        // Two clients whose answers take four seconds each, from the start; the window has one end of each and a half.
        let wave = |at: u64| [0, 1].map(|client| answered(at / 2 + client, at * SECOND, 4 * SECOND, 8));
        let records: Vec<Record> = [0, 4, 8].into_iter().flat_map(wave).collect();
        let seen = of(&closed_plan(2, 1), (1, 7), &records);
        assert_eq!((seen.ended, seen.expected, seen.noise), (2, 3.0, 0.0));
        assert_eq!((seen.answer_seconds, seen.window_seconds, seen.in_flight), (4.0, 6.0, [2.0; 3]));
    }

    #[test]
    fn what_comes_together_is_scattered_as_many_times_as_much() {
        let records: Vec<Record> = (0..8).map(|at| answered(at, at / 2 * SECOND, (at / 2 + 2) * SECOND, 8)).collect();
        let seen = |together: u32| {
            let mut plan = open_plan(8.0, 1);
            plan.trial.load.together = std::num::NonZeroU32::new(together).unwrap();
            of(&plan, (0, 4), &records)
        };
        let (alone, by_four) = (seen(1), seen(4));
        assert_eq!((alone.dispersion, by_four.dispersion), (1.0, 4.0));
        assert!((by_four.noise / alone.noise - 2.0).abs() < 1e-9 && by_four.expected == alone.expected);
    }

    #[test]
    fn what_a_slow_server_has_not_answered_yet_is_in_flight_at_the_end() {
        // One request a second is sent, and one in two seconds is answered.
        let records: Vec<Record> = (0..8).map(|at| answered(at, at * SECOND, (at + 2) * SECOND, 8)).collect();
        let seen = of(&open_plan(8.0, 1), (0, 8), &records);
        assert_eq!((seen.ended, seen.expected), (3, 8.0));
        assert_eq!(seen.in_flight, [2.5, 3.5, 4.5]);
    }
}
