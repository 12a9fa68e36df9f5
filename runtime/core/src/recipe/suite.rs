//! A suite: named entries, each laid over the workload.

use std::num::{NonZeroU32, NonZeroU64};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    dataset,
    one_or_many::OneOrMany,
    search,
    words::{PlainText, TokenCount},
    workload::Workload,
};
use crate::units::Span;

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

/// The workload with an entry's words over it.
pub(super) fn overlaid(base: &Workload, entry: &SuiteEntry) -> Workload {
    let mut workload = base.clone();
    let clients = entry.num_threads.clone().or_else(|| entry.clients_per_node.clone());
    // An entry's own word about the load wins over every word that all entries share.
    if clients.is_some() || entry.concurrency.is_some() || entry.target_rps.is_some() {
        workload.stages.clear();
        workload.clients_per_node = clients.or(workload.clients_per_node);
        workload.concurrency = entry.concurrency.clone();
        workload.target_rps = entry.target_rps.clone();
    }
    if workload.target_rps.is_none() && !search::is_open(&workload) && workload.stages.is_empty() && !dataset::replays(&workload)
    {
        (workload.request_distribution, workload.burstiness, workload.max_in_flight) = (None, None, None);
    }
    // An end of its own is the entry's end, whatever ends the others.
    if entry.duration.is_some() || entry.requests.is_some() {
        workload.stop_when = None;
    }
    if entry.duration.is_some() {
        (workload.duration, workload.requests) = (entry.duration.clone(), None);
    }
    if entry.requests.is_some() {
        workload.requests = entry.requests.clone();
    }
    workload.warmup = entry.warmup.clone().or(workload.warmup);
    workload.sleep_seconds = entry.sleep_seconds.clone().or(workload.sleep_seconds);
    workload.prompt_len = entry.prompt_len.clone().or(workload.prompt_len);
    workload.gen_tokens = entry.gen_tokens.clone().or(workload.gen_tokens);
    workload.batch = entry.batch.clone().or(workload.batch);
    workload
}
