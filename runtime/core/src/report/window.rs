//! Where a trial's measured window lies.

use std::num::NonZeroU32;

use super::TrialFrame;
use crate::{
    schedule::Schedule,
    trial::{LoadModel, Stop},
    units::Nanos,
};

/// Where the measured stage lies; it ends at the end of time where only its requests can say.
pub(super) fn planned_window(frame: &TrialFrame) -> (Nanos, Nanos) {
    let trial = &frame.plan.trial;
    let start = Nanos::from(trial.load.warmup.0);
    let end = match (trial.load.stop, &trial.load.model) {
        (Stop::After(span), _) => Nanos(start.0.saturating_add(Nanos::from(span.0).0)),
        (Stop::Requests(_), LoadModel::Closed { .. } | LoadModel::ClosedStaged { .. }) => Nanos(u64::MAX),
        (Stop::Requests(count), model) => {
            let schedule = Schedule::of(&trial.load, trial.seed).into_iter();
            let last = schedule.flat_map(|schedule| schedule.shard(0, NonZeroU32::MIN)).last();
            let last = last.map_or(start, |due| due.at.max(start));
            let gap = match model {
                LoadModel::Open { rate, .. } => f64::from(trial.load.together.get()) / rate,
                _ => last.since(start).as_secs_f64() / count.max(1) as f64,
            };
            Nanos(last.0.saturating_add(Nanos::from_secs_f64(gap).0))
        }
    };
    let early = frame.ended_early_at_seconds.map_or(Nanos(u64::MAX), Nanos::from_secs_f64);
    let sure = frame.certainty.as_ref().and_then(|certainty| certainty.ended_at_seconds);
    let sure = sure.map_or(Nanos(u64::MAX), Nanos::from_secs_f64);
    (start, end.min(early).min(sure).max(start))
}
