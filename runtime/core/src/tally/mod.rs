//! Merges the batches of all executors into one truth: counts, histograms, the live view, and what is lost.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{
    batch::{Batch, Source},
    plan::Plan,
    record::Record,
    report::{Accounting, Second},
    units::{NodeName, TrialId},
};

/// What became of a batch that was handed in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Taken {
    /// It is counted; it must now be made durable and acknowledged.
    New,
    /// It was counted before; acknowledge it again.
    Repeat,
    /// It cannot be right, and why.
    Refused(String),
}

/// A request that no batch told the end of, as the row that stands for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LostRow {
    /// Whose it was.
    pub source: Source,
    /// Its row, outcome `Lost`.
    pub record: Record,
}

/// The run as it stands now: what the live page, the terminal and `/metrics` show.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Live {
    /// The trial under way.
    pub trial: Option<TrialId>,
    /// Which one it is, from 1, of how many.
    pub position: (u32, u32),
    /// Seconds since its start.
    pub elapsed_seconds: f64,
    /// Measured phase only.
    pub accounting: Accounting,
    /// Requests in flight now.
    pub in_flight: u64,
    /// Last full second's figures.
    pub requests_per_second: f64,
    /// Last full second's figures.
    pub output_tokens_per_second: f64,
    /// Medians and tails so far in the measured phase, seconds (HDR).
    pub latency: BTreeMap<String, f64>,
    /// The last seconds, oldest first, at most 600.
    pub timeline: Vec<Second>,
    /// By node, the same that node's own `/metrics` shows.
    pub nodes: BTreeMap<NodeName, NodeLive>,
}

/// One node's own share, from the windows it sent.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct NodeLive {
    /// Whether load runs on it.
    pub is_running: bool,
    /// Requests that ended (all phases).
    pub requests_total: u64,
    /// Of those, the ones that did not complete.
    pub errors_total: u64,
    /// By outcome or kind.
    pub outcomes: BTreeMap<String, u64>,
    /// Answer tokens of completed requests.
    pub output_tokens_total: u64,
    /// Prompt tokens of completed requests.
    pub input_tokens_total: u64,
    /// Sum of the latencies of completed requests, seconds.
    pub latency_seconds_sum: f64,
    /// Sum of their times to first token, seconds.
    pub ttft_seconds_sum: f64,
    /// Completed requests.
    pub completed_total: u64,
    /// Seconds since the load's start.
    pub elapsed_seconds: f64,
    /// Clients it plays.
    pub threads: u32,
    /// Requests in flight.
    pub in_flight: u64,
}

/// The merged truth of one trial.
#[derive(Debug)]
pub struct TrialTally {}

impl TrialTally {
    /// An empty tally for this plan.
    #[must_use]
    pub fn new(_plan: &Plan) -> Self {
        Self {}
    }

    /// Counts a batch, once. The order in which batches come does not matter.
    pub fn take(&mut self, _batch: &Batch) -> Taken {
        Taken::New
    }

    /// A node is gone and sends nothing more.
    pub fn node_lost(&mut self, _node: &NodeName) {}

    /// The live figures; `elapsed_seconds` since the trial's start.
    #[must_use]
    pub fn live(&self, _elapsed_seconds: f64) -> Live {
        Live::default()
    }

    /// No batch comes any more: a row for every request that was due and whose end nobody told.
    /// `ended_early_at_seconds` is when the load was stopped before its planned end, if it was: what the
    /// schedule holds after that was never due.
    pub fn close(&mut self, _ended_early_at_seconds: Option<f64>) -> Vec<LostRow> {
        Vec::new()
    }
}
