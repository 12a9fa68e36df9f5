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
        let LoadModel::Staged { stages, .. } = &load.model else { return Self(Vec::new()) };
        let mut start = load.warmup.0;
        let figures = stages.iter().map(|stage| {
            let end = start.saturating_add(stage.duration.0);
            let figures = StageFigures {
                start: start.as_secs_f64(),
                end: end.as_secs_f64(),
                rate_from: stage.from,
                rate_to: stage.to,
                requested: stage.expected(),
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

    pub(super) fn figures(self) -> Vec<StageFigures> {
        self.0.into_iter().map(|(_, figures)| figures).collect()
    }
}
