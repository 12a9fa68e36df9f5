//! A probe: a trial of one load, and what it came to.

use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{LimitFigure, SearchSpec, SearchTarget};
use crate::{
    trial::{LoadModel, Trial},
    units::TrialId,
};

/// Where a trial stands in a search.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ProbePlace {
    /// The search.
    pub search: TrialId,
    /// Which of its probes, from 1.
    pub number: u32,
    /// The load: requests per second, or requests in flight.
    pub load: f64,
}

/// What a probe came to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Probe {
    /// The trial that it is.
    pub trial: TrialId,
    /// Which one of its search, from 1.
    pub number: u32,
    /// The load: requests per second, or requests in flight.
    pub load: f64,
    /// Whether that load meets the SLO.
    pub outcome: ProbeOutcome,
    /// Why, in a sentence's part: `ttft_p99 is 612 ms`.
    pub why: String,
    /// Each limit of the SLO beside its figure.
    pub limits: Vec<LimitFigure>,
    /// Answers that met every limit, per second; of a rate, the rate times the share of its requests that did.
    pub goodput_requests_per_second: f64,
    /// Seconds that it took, from the building of its shares to the closing of its books.
    pub seconds: f64,
}

/// Whether a load meets the SLO.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ProbeOutcome {
    /// Every limit holds.
    Met,
    /// One does not, or too many requests failed.
    Missed,
    /// Too few answers to say so.
    TooFew,
    /// The measurement is INVALID: it says nothing of the server.
    Invalid,
}

/// A trial's part in a search, as its report has it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ProbeReport {
    /// The search.
    pub search: TrialId,
    /// What is searched.
    pub spec: SearchSpec,
    /// What this probe came to.
    pub result: Probe,
}

impl Trial {
    /// The trial that probes this load, after those probes. `self` is a search.
    #[must_use]
    pub fn probe(&self, spec: &SearchSpec, load: f64, before: &[Probe]) -> Self {
        let number = before.len() as u32 + 1;
        let mut probe = self.clone();
        let key = spec.maximize.key();
        probe.id = TrialId(format!("{}.probe-{number:02}.{key}-{load}", self.id));
        // Other prompts and other instants than the probe before, also where the load is the same.
        probe.seed = self.seed.wrapping_add(u64::from(number).wrapping_mul(0x9e37_79b9_7f4a_7c15));
        probe.place = Some(ProbePlace { search: self.id.clone(), number, load });
        match (&mut probe.load.model, spec.maximize) {
            (LoadModel::Closed { concurrency, .. }, SearchTarget::Concurrency) => {
                *concurrency = std::num::NonZeroU32::new(load as u32).unwrap_or(std::num::NonZeroU32::MIN);
                probe.parameters.insert(key.to_owned(), json!(load as u32));
            }
            (LoadModel::Open { rate, .. }, SearchTarget::Rate | SearchTarget::Goodput) => {
                *rate = spec.requests(load);
                probe.parameters.insert(key.to_owned(), json!(load));
            }
            (model, target) => unreachable!("a search for the best {target:?} has no load such as {model:?}"),
        }
        // The same load has the same floor.
        if before.iter().any(|other| other.load == load) {
            probe.load.calibration = None;
        }
        probe
    }
}
