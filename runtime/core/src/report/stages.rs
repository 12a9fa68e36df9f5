//! How each stage of a load that changes went.

use serde::{Deserialize, Serialize};

use super::{
    gather::tokens_within,
    slice::{Slice, SliceLatencies},
};
use crate::{
    record::{Outcome, Record, Stage},
    trial::{LoadModel, LoadSpec},
    units::Nanos,
};

/// One stage of a load that changes.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct StageFigures {
    /// Where it begins, seconds since the trial's start.
    pub start: f64,
    /// Where it ends.
    pub end: f64,
    /// Open loop: the rate where it begins, in requests per second.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate_from: Option<f64>,
    /// Open loop: the rate where it ends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate_to: Option<f64>,
    /// Open loop: requests that its rate comes to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requested: Option<f64>,
    /// Closed loop: the clients where it begins.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub concurrency_from: Option<f64>,
    /// Closed loop: the clients where it ends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub concurrency_to: Option<f64>,
    /// Closed loop: the requests in flight asked for, time-weighted: the clients, times the requests that each asks at a time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub concurrency_requested: Option<f64>,
    /// Requests in flight, time-weighted over the stage.
    #[serde(default)]
    pub concurrency_mean: f64,
    /// The most in flight at one instant of it.
    #[serde(default)]
    pub concurrency_peak: u32,
    /// Requests that were due in it.
    pub due: u64,
    /// Of those, the ones that were sent.
    pub sent: u64,
    /// Of those, the ones that completed.
    pub completed: u64,
    /// Requests completed in it, per second.
    #[serde(default)]
    pub requests_per_second: f64,
    /// Answer tokens that came in it, per second.
    #[serde(default)]
    pub output_tokens_per_second: f64,
    /// Latencies of those that were due in it.
    #[serde(default)]
    pub latency: SliceLatencies,
}

/// Sums by stage; none where the load has no stages.
pub(super) struct Stages(Vec<Sums>);

/// One stage.
struct Sums {
    start: Nanos,
    end: Nanos,
    figures: StageFigures,
    slice: Slice,
    /// By stamp, of whichever stage.
    completed: u64,
    output_tokens: f64,
}

impl Stages {
    pub(super) fn new(load: &LoadSpec, has_one_answer: bool) -> Self {
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
                concurrency_requested: (!is_open)
                    .then(|| stage.expected() / stage.duration.as_secs_f64() * f64::from(load.together.get())),
                ..StageFigures::default()
            };
            let from = std::mem::replace(&mut start, end);
            let slice = Slice::new(has_one_answer);
            Sums { start: from.into(), end: end.into(), figures, slice, completed: 0, output_tokens: 0.0 }
        });
        Self(figures.collect())
    }

    pub(super) fn take(&mut self, record: &Record) {
        for sums in &mut self.0 {
            let is_inside = |instant: Nanos| (sums.start..sums.end).contains(&instant);
            sums.completed += u64::from(record.outcome == Outcome::Completed && record.last.is_some_and(is_inside));
            sums.output_tokens += tokens_within(record, (sums.start, sums.end));
        }
        if record.stage != Stage::Measure {
            return;
        }
        let Some(sums) = self.0.iter_mut().find(|sums| record.due < sums.end) else { return };
        sums.figures.due += 1;
        sums.figures.sent += u64::from(record.sent.is_some());
        sums.figures.completed += u64::from(record.outcome == Outcome::Completed);
        sums.slice.take(record);
    }

    /// `in_flight` gives mean and peak of a stretch of time; nothing is said of what lies beyond `until`.
    pub(super) fn figures(self, until: Nanos, in_flight: impl Fn((Nanos, Nanos)) -> (f64, u32)) -> Vec<StageFigures> {
        let whole = |sums: Sums| {
            let (start, end) = (sums.start.min(until), sums.end.min(until));
            let seconds = end.since(start).as_secs_f64();
            let per_second = |count: f64| if seconds > 0.0 { count / seconds } else { 0.0 };
            let (concurrency_mean, concurrency_peak) = in_flight((start, end));
            StageFigures {
                concurrency_mean,
                concurrency_peak,
                requests_per_second: per_second(sums.completed as f64),
                output_tokens_per_second: per_second(sums.output_tokens),
                latency: sums.slice.told(),
                ..sums.figures
            }
        };
        self.0.into_iter().map(whole).collect()
    }
}
