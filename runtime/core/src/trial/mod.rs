//! One point of a recipe: every field has one value, and nothing is left to guess.

mod load;
mod request;
mod service;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

pub use self::{
    load::{
        Arrivals, BadLine, DatasetSpec, Distribution, Drill, DrillTarget, LoadModel, LoadSpec, RateStage, SharesBy, Slope, Stop,
        StopWhen, Timeouts, TokenizerSpec,
    },
    request::{Api, Length, RequestSpec, SharedPrefix, choices},
    service::{
        ApiKeySource, ContainerRuntime, CustomService, HeaderSource, HealthCheck, IMAGE_READ_WITHIN, Layout, ProtocolName,
        ServiceSpec,
    },
};
use crate::{
    search::{ProbePlace, SearchSpec},
    units::{Span, TrialId},
};

/// One point of the sweep, in one repetition.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Trial {
    /// Stable and readable; also its folder's name.
    pub id: TrialId,
    /// The swept fields and the values they have here, by path without the `workload.` prefix.
    pub parameters: BTreeMap<String, Value>,
    /// Counts from 1.
    pub repetition: u32,
    /// Seeds schedule, prompts and routing; differs between trials and repetitions.
    pub seed: u64,
    /// What is asked or started. Equal services need no restart between trials.
    pub service: ServiceSpec,
    /// How many requests, when and to whom.
    pub load: LoadSpec,
    /// What a request asks for.
    pub request: RequestSpec,
    /// What an answer must meet to count as good.
    pub slo: Slo,
    /// With it this is no single load but a search, whose first probe it looks like.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub search: Option<SearchSpec>,
    /// Of a probe: where it stands in its search.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub place: Option<ProbePlace>,
}

impl Trial {
    /// The trial of the recipe that this one is, or is a probe of.
    #[must_use]
    pub fn planned_id(&self) -> &TrialId {
        self.place.as_ref().map_or(&self.id, |place| &place.search)
    }
}

/// Limits by percentile, in seconds: `ttft_p99` and its kind.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Slo {
    /// Metric (`ttft`, `tpot`, `e2el`), percentile (0–100) and limit.
    pub limits: Vec<SloLimit>,
}

/// One limit.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SloLimit {
    /// `ttft`, `tpot` or `e2el`.
    pub metric: String,
    /// The percentile, such as 99.
    pub percentile: f64,
    /// What it must not exceed.
    pub limit: Span,
}
