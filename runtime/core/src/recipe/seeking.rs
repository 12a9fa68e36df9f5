//! Loads that change or look for something, and how the client measures itself.

use std::num::NonZeroU32;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::words::PlainText;
use crate::{search::SearchTarget, units::Span};

/// How thoroughly the client measures itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Calibration {
    /// Not at all.
    Off,
    /// At most five seconds for each load.
    Quick,
    /// At the whole load.
    Full,
}

/// One stretch of a load that changes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LoadStage {
    /// How long it lasts.
    pub duration: Span,
    /// Its rate, or the one that its ramp leads to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target_rps: Option<f64>,
    /// Its concurrency over all nodes, or the one that its ramp leads to: a closed loop whose clients come and go. Where
    /// the number falls, a client that goes still waits for its answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub concurrency: Option<NonZeroU32>,
    /// How the load gets there from the stage before; the first one comes from `workload.target_rps` or
    /// `workload.concurrency`, or from nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ramp: Option<Ramp>,
}

/// How a stage's load is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Ramp {
    /// At once.
    None,
    /// By equal steps.
    Linear,
    /// By equal factors.
    Exponential,
}

/// The highest load that meets `slo`: trials of one load each, made one after another until the answer is known.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Search {
    /// What is made as high as can be.
    pub maximize: SearchTarget,
    /// The lowest load tried, and the first: requests per second, or requests in flight; default 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<f64>,
    /// The highest load tried; default 1024 times `from`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<f64>,
    /// How near the answer must be to the next load that misses, as a share of it; default 5%.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub precision: Option<PlainText>,
    /// The time that its probes may take: one that would not be over by then is not begun; left out, as long as they take.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub budget: Option<Span>,
}

/// Stop when a figure is known well enough.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct StopWhen {
    /// The figure: a percentile of ttft, ttft_scheduled, tpot, e2el or e2el_scheduled, such as `ttft_p99`.
    pub metric: String,
    /// The half width of its 95 % confidence interval over the figure, such as `5%`. It is looked at once a second, and
    /// must hold twice in a row, the second time with more answers: stopping at the first narrow interval would stop at
    /// a lucky one.
    pub ci: PlainText,
    /// The shortest window; default 30s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min: Option<Span>,
    /// The longest window; default `workload.duration`, or 10m. Where the figure is not sure by then, a warning says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max: Option<Span>,
}
