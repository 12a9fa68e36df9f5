//! The load, as a recipe writes it.

use std::{
    collections::BTreeMap,
    num::{NonZeroU32, NonZeroU64},
};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{
    dataset::Dataset,
    one_or_many::OneOrMany,
    search::Search,
    stages::LoadStage,
    stop_when::StopWhen,
    suite::SuiteEntry,
    words::{TokenCount, TurnCount},
};
use crate::{
    trial::{Api, DrillTarget},
    units::Span,
};

/// The load. A list in a field that takes one value is a sweep.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Workload {
    /// What is measured; only `inference`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub component: Option<Component>,
    /// The service: `ollama`, `vllm`, `dummy`, `openai`, or one of `custom_services`.
    pub service: String,
    /// The model's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<OneOrMany<String>>,
    /// The measured window; default 60s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duration: Option<OneOrMany<Span>>,
    /// Load before the measured window; default none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub warmup: Option<OneOrMany<Span>>,
    /// Clients on each client node; wins over the allocation's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clients_per_node: Option<OneOrMany<NonZeroU32>>,
    /// Closed loop: requests in flight over all nodes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub concurrency: Option<OneOrMany<NonZeroU32>>,
    /// Stop after so many due requests instead of after `duration`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requests: Option<OneOrMany<NonZeroU64>>,
    /// Closed loop: a client's pause after each answer, between the turns of a conversation, too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sleep_seconds: Option<OneOrMany<Span>>,
    /// Open loop: requests per second over all nodes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "super::rate_schema")]
    pub target_rps: Option<OneOrMany<f64>>,
    /// Open loop: the shape of the gaps; default poisson.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_distribution: Option<OneOrMany<RequestDistribution>>,
    /// Open loop, `burst`: the gamma shape of the gaps; 1 is poisson, smaller comes in bursts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "super::burstiness_schema")]
    pub burstiness: Option<OneOrMany<f64>>,
    /// Open loop: the most requests in flight over all nodes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_in_flight: Option<OneOrMany<NonZeroU32>>,
    /// Prompt tokens; default 128.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prompt_len: Option<OneOrMany<TokenCount>>,
    /// Answer tokens that are asked for; default 64.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gen_tokens: Option<OneOrMany<TokenCount>>,
    /// Closed loop: turns of a conversation, each carrying the former ones and their answers; default 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub turns: Option<OneOrMany<TurnCount>>,
    /// Prompts in one request where `api` takes several, as `completions` does; elsewhere requests of one prompt that are sent
    /// together, and `target_rps`, `stages` and `search` count how often that happens; default 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub batch: Option<OneOrMany<NonZeroU32>>,
    /// The operation; default by service.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub api: Option<OneOrMany<Api>>,
    /// Whether answers are streamed; default true.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stream: Option<OneOrMany<bool>>,
    /// Groups of prompts that begin alike.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shared_prefix: Option<SharedPrefixGroups>,
    /// Named overrides; each is a trial.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub benchmark_suite: Vec<SuiteEntry>,
    /// Fields put into every request's body. `null` takes out one that stands there by default (`ignore_eos`, `stream_options`,
    /// `temperature`); `"{gen_tokens}"` is the number of tokens asked for, in place of `max_tokens`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sampling: Option<Map<String, Value>>,
    /// Deadlines of a request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeouts: Option<RequestTimeouts>,
    /// What an answer must meet to count as good, such as `ttft_p99: 500ms`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slo: Option<BTreeMap<String, Span>>,
    /// Faults that the run provokes in itself.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub drills: Vec<DrillEntry>,
    /// The client's own error floor, measured before the load; left out, quickly in a run whose load lasts longer than 60 s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub calibration: Option<Calibration>,
    /// One run, several loads, one after another; they make the measured window.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(min = 1))]
    pub stages: Vec<LoadStage>,
    /// The highest load that meets `slo`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub search: Option<Search>,
    /// Stop when a figure is known well enough.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stop_when: Option<StopWhen>,
    /// Where prompts come from: a path, or `{path, format, …}`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dataset: Option<Dataset>,
    /// The model's `tokenizer.json`, or its folder: prompts get the asked length by it where the server tells no tokens of words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tokenizer: Option<String>,
}

impl Workload {
    /// Every number of prompts in a request that is written anywhere.
    pub(super) fn batches(&self) -> impl Iterator<Item = NonZeroU32> {
        let entries = self.benchmark_suite.iter().map(|entry| &entry.batch);
        entries.chain([&self.batch]).flatten().flat_map(|batch| batch.values()).copied()
    }
}

/// What is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Component {
    /// An inference service.
    Inference,
}

/// The shape of the gaps between requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum RequestDistribution {
    /// Equal gaps.
    Constant,
    /// Exponential gaps.
    Poisson,
    /// Gamma gaps; see `burstiness`.
    Burst,
    /// The same as `burst`.
    Gamma,
    /// The time stamps of `dataset`.
    Trace,
}

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

/// Groups of prompts that begin alike.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SharedPrefixGroups {
    /// How many groups.
    pub groups: NonZeroU32,
    /// Tokens that a group shares.
    pub tokens: u32,
}

/// Deadlines of a request.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RequestTimeouts {
    /// To open a connection; default 10s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connect: Option<Span>,
    /// From sending to the first content; default 300s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_byte: Option<Span>,
    /// Between two pieces of content; default 60s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub between_chunks: Option<Span>,
    /// For all of it; default 600s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub total: Option<Span>,
}

/// A fault that the run provokes in itself.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DrillEntry {
    /// After the start of the measured window.
    pub at: Span,
    /// What is made to fail.
    pub kill: DrillTarget,
}
