//! How each stage of a load that changes went.

use super::StageFigures;
use crate::{
    record::{Outcome, Record, Stage},
    trial::{LoadModel, LoadSpec},
    units::Nanos,
};

/// Sums by stage; none where the load has no stages.
pub(super) struct Stages(Vec<(Nanos, StageFigures)>);

impl Stages {
    pub(super) fn new(load: &LoadSpec) -> Self {
        let (stages, is_open) = match &load.model {
            LoadModel::Staged { stages, .. } => (stages, true),
            LoadModel::ClosedStaged { stages, .. } => (stages, false),
            LoadModel::Closed { .. } | LoadModel::Open { .. } | LoadModel::Replay { .. } => return Self(Vec::new()),
        };
        let mut start = load.warmup.0;
        let figures = stages.iter().map(|stage| {
            let end = start.saturating_add(stage.duration.0);
            let figures = StageFigures {
                start: start.as_secs_f64(),
                end: end.as_secs_f64(),
                rate_from: is_open.then_some(stage.from),
                rate_to: is_open.then_some(stage.to),
                requested: is_open.then(|| stage.expected()),
                concurrency_from: (!is_open).then_some(stage.from),
                concurrency_to: (!is_open).then_some(stage.to),
                concurrency_requested: (!is_open).then(|| stage.expected() / stage.duration.as_secs_f64()),
                ..StageFigures::default()
            };
            start = end;
            (Nanos::from(end), figures)
        });
        Self(figures.collect())
    }

    pub(super) fn take(&mut self, record: &Record) {
        if record.stage != Stage::Measure {
            return;
        }
        let Some((_, figures)) = self.0.iter_mut().find(|(end, _)| record.due < *end) else { return };
        figures.due += 1;
        figures.sent += u64::from(record.sent.is_some());
        figures.completed += u64::from(record.outcome == Outcome::Completed);
    }

    /// `in_flight` gives mean and peak of a stretch of time; nothing is said of what lies beyond `until`.
    pub(super) fn figures(self, until: Nanos, in_flight: impl Fn((Nanos, Nanos)) -> (f64, u32)) -> Vec<StageFigures> {
        let whole = |(end, mut figures): (Nanos, StageFigures)| {
            let start = Nanos::from_secs_f64(figures.start).min(until);
            (figures.concurrency_mean, figures.concurrency_peak) = in_flight((start, end.min(until)));
            figures
        };
        self.0.into_iter().map(whole).collect()
    }
}
