//! The load, as a recipe writes it.

use std::{
    collections::BTreeMap,
    num::{NonZeroU32, NonZeroU64},
};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{
    one_or_many::OneOrMany,
    words::{PlainText, TokenCount},
};
use crate::{
    trial::{Api, BadLine, DrillTarget},
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
    /// Closed loop: a client's pause after each answer.
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
    /// Prompts in one request; default 1.
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
    /// Fields put into every request's body.
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
    /// The client's own error floor, measured before the load.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub calibration: Option<Calibration>,
    /// One run, several loads, one after another; they make the measured window.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
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

/// Groups of prompts that begin alike.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SharedPrefixGroups {
    /// How many groups.
    pub groups: NonZeroU32,
    /// Tokens that a group shares.
    pub tokens: u32,
}

/// A named set of overrides of the workload.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SuiteEntry {
    /// Its name, which becomes part of the trial's.
    pub name: PlainText,
    /// Overrides `workload.duration`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duration: Option<OneOrMany<Span>>,
    /// Overrides `workload.warmup`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub warmup: Option<OneOrMany<Span>>,
    /// Clients on each client node.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub num_threads: Option<OneOrMany<NonZeroU32>>,
    /// Overrides `workload.clients_per_node`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clients_per_node: Option<OneOrMany<NonZeroU32>>,
    /// Overrides `workload.concurrency`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub concurrency: Option<OneOrMany<NonZeroU32>>,
    /// Overrides `workload.requests`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requests: Option<OneOrMany<NonZeroU64>>,
    /// Overrides `workload.sleep_seconds`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sleep_seconds: Option<OneOrMany<Span>>,
    /// Overrides `workload.target_rps`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "super::rate_schema")]
    pub target_rps: Option<OneOrMany<f64>>,
    /// Overrides `workload.prompt_len`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prompt_len: Option<OneOrMany<TokenCount>>,
    /// Overrides `workload.gen_tokens`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gen_tokens: Option<OneOrMany<TokenCount>>,
    /// Overrides `workload.batch`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub batch: Option<OneOrMany<NonZeroU32>>,
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
    /// Its concurrency.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub concurrency: Option<NonZeroU32>,
    /// How the load gets there from the stage before, over the whole duration; the first stage comes from
    /// `workload.target_rps`, or from nothing.
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

/// The highest load that meets the SLO.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Search {
    /// What is made as high as can be.
    pub maximize: SearchTarget,
    /// The lowest value tried.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<f64>,
    /// The highest value tried.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<f64>,
    /// How near the answer must be, such as `5%`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub precision: Option<PlainText>,
    /// The time it may take.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub budget: Option<Span>,
}

/// What a search makes as high as can be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum SearchTarget {
    /// Requests per second.
    Rate,
    /// Requests in flight.
    Concurrency,
    /// Good answers per second.
    Goodput,
}

/// Stop when a figure is known well enough.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct StopWhen {
    /// The figure, such as `ttft_p99`.
    pub metric: String,
    /// Its confidence interval's half width, such as `5%`.
    pub ci: PlainText,
    /// Not before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min: Option<Span>,
    /// Not after.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max: Option<Span>,
}

/// Where prompts come from.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
#[serde(untagged)]
pub enum Dataset {
    /// A file.
    Path(String),
    /// A file and how it is read.
    Described(DatasetFile),
}

impl<'de> Deserialize<'de> for Dataset {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl<'de> serde::de::Visitor<'de> for Visitor {
            type Value = Dataset;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a path, or {path, format, time_scale, skip, limit, jitter, on_bad_line}")
            }
            fn visit_str<E: serde::de::Error>(self, path: &str) -> Result<Dataset, E> {
                Ok(Dataset::Path(path.to_owned()))
            }
            fn visit_map<A: serde::de::MapAccess<'de>>(self, map: A) -> Result<Dataset, A::Error> {
                DatasetFile::deserialize(serde::de::value::MapAccessDeserializer::new(map)).map(Dataset::Described)
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}

/// A file of prompts and how it is read.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DatasetFile {
    /// The file.
    pub path: String,
    /// `text`, `jsonl`, `sharegpt`, `openai_batch`, `csv`, `csv:COLUMN`, `mooncake`, `burstgpt` or `azure`; default: its
    /// beginning tells.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub format: Option<String>,
    /// Factor on its time stamps: 0.5 replays it twice as fast.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time_scale: Option<f64>,
    /// Entries to leave out at its start.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub skip: Option<u64>,
    /// Entries to use at most.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u64>,
    /// The most by which a time stamp is shifted, drawn evenly.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jitter: Option<Span>,
    /// What a line that cannot be read does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_bad_line: Option<BadLine>,
}
