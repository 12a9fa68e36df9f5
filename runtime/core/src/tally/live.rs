//! The live view: what the page, the terminal and `/metrics` show while load runs.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::{Latency, TrialTally, nodes::ExecutorSums};
use crate::{
    record::Stage,
    report::{Accounting, Second},
    units::{Nanos, NodeName, TrialId},
};

/// Seconds that the live view shows.
const LIVE_SECONDS: u32 = 600;

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

impl TrialTally {
    /// The live figures; `elapsed_seconds` since the trial's start. The caller knows the trial's `position`.
    #[must_use]
    pub fn live(&self, elapsed_seconds: f64) -> Live {
        let nodes = self.live_nodes();
        let full_second = self.known_until().0 / 1_000_000_000;
        let newest = full_second.checked_sub(1).map(|at| self.seconds.second(at as u32)).unwrap_or_default();
        let quantiles = [("p50", 0.50), ("p90", 0.90), ("p99", 0.99)];
        let shown = [Latency::Ttft, Latency::Tpot, Latency::Itl, Latency::E2el];
        let latency = shown.into_iter().flat_map(|latency| {
            quantiles.into_iter().filter_map(move |(name, quantile)| {
                Some((format!("{}_{name}", latency.name()), self.latencies.of(latency).quantile(quantile)?))
            })
        });
        Live {
            trial: Some(self.trial.clone()),
            position: (0, 0),
            elapsed_seconds,
            accounting: self.accounting(Stage::Measure),
            in_flight: nodes.values().map(|node| node.in_flight).sum(),
            requests_per_second: newest.completed as f64,
            output_tokens_per_second: newest.output_tokens,
            latency: latency.collect(),
            timeline: self.seconds.from((self.seconds.last().unwrap_or(0) + 1).saturating_sub(LIVE_SECONDS)),
            nodes,
        }
    }

    /// Executors that have sent something and not said that they are done, on nodes that are there.
    fn running(&self) -> BTreeSet<u32> {
        let done: BTreeSet<u32> =
            self.sequences.iter().filter(|(_, sequence)| sequence.is_over).map(|(source, _)| source.executor).collect();
        let is_there = |executor: &u32| self.shares.get(executor).is_none_or(|share| !self.lost_nodes.contains(&share.node));
        self.executor_sums.keys().filter(|executor| !done.contains(executor) && is_there(executor)).copied().collect()
    }

    /// Until when the figures are whole: the least that any running executor has told.
    fn known_until(&self) -> Nanos {
        let running = self.running();
        let told = |executor: &u32| self.executor_sums.get(executor).and_then(ExecutorSums::until);
        let slowest = running.iter().filter_map(told).min();
        slowest.or_else(|| self.executor_sums.keys().filter_map(told).max()).unwrap_or_default()
    }

    fn live_nodes(&self) -> BTreeMap<NodeName, NodeLive> {
        let running = self.running();
        let mut nodes: BTreeMap<NodeName, NodeLive> = self.nodes.iter().map(|(node, sums)| (node.clone(), sums.live())).collect();
        for (executor, share) in &self.shares {
            let node = nodes.entry(share.node.clone()).or_default();
            node.threads += share.threads;
            if running.contains(executor) {
                node.is_running = true;
                node.in_flight += self.executor_sums.get(executor).map_or(0, ExecutorSums::in_flight);
            }
        }
        nodes
    }
}
