//! `report.json`: the versioned contract with scripts, dashboards and other tools.
//!
//! The words here are relied on by others; a change of meaning raises [`SCHEMA_VERSION`].

mod accounting;
mod asked_prompts;
mod client;
mod concurrency;
mod conversations;
mod dataset;
mod drift;
mod endpoints;
mod evidence;
mod flow;
mod gather;
mod latencies;
mod likeness;
mod load;
mod part;
mod percentile;
mod pieces;
mod remarks;
mod repeated;
mod resources;
mod run;
mod servers;
mod slice;
mod slo;
mod stages;
mod steady;
mod summary;
mod times_sent;
mod trial;
mod window;

use std::collections::BTreeMap;

pub use accounting::Accounting;
pub use client::{ClientFigures, ExecutorFigures};
pub use conversations::Conversations;
pub use dataset::{DatasetFigures, DatasetKnown, SentEntries};
pub(crate) use drift::MOVED;
pub use latencies::{Distribution, Latencies};
pub use load::{LoadFigures, STAGE_HEADS, staged};
pub use part::RunPart;
pub use percentile::{ADJUSTED, Percentile, TOO_FEW};
pub use pieces::SpreadFigures;
pub use repeated::{REPEATED_HEADS, Repeated, RepeatedFigure};
pub use resources::{NodeFigures, ReadingSums, Resources};
pub use run::{finished, run};
use serde::{Deserialize, Serialize};
use serde_json::Value;
pub use servers::{SERVER_HEADS, ServerFigures, of_several_servers};
pub use slice::{SLICE_HEADS, SliceLatencies};
pub use slo::{SloFigure, SloOutcome};
pub use stages::StageFigures;
pub use steady::SteadyWindow;
pub use summary::summary_markdown;
pub use trial::{TrialFrame, trial};

use crate::{
    certainty::Certainty,
    counting::LengthsBy,
    search::{ProbeReport, SearchReport},
    units::TrialId,
    verdict::Verdict,
};

/// The version of this contract: `major.minor`; additions raise the minor part.
pub const SCHEMA_VERSION: &str = "1.1";

/// A whole run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// [`SCHEMA_VERSION`].
    pub schema_version: String,
    /// The run itself.
    pub run: RunSummary,
    /// The run's verdict: its worst trial's, where probes of a search count for its answer only; no finished trial is
    /// INVALID.
    pub verdict: Verdict,
    /// Every trial that was begun, in order.
    pub trials: Vec<TrialReport>,
    /// Every search of which a probe was finished, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub searches: Vec<SearchReport>,
    /// What repetitions of the same parameters say together; left out where there are none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub repeated: Vec<Repeated>,
    /// What a person should read, and what was not disturbed by it.
    pub warnings: Vec<String>,
}

/// The run itself.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct RunSummary {
    /// Sortable by time; also its folder's name.
    pub id: String,
    /// The recipe's name.
    pub scenario: String,
    /// RFC 3339, UTC.
    pub started_at: String,
    /// RFC 3339, UTC.
    pub ended_at: String,
    /// The version and build of the binary.
    pub hbnode_version: String,
    /// Whether every planned trial was finished.
    pub complete: bool,
    /// Why not.
    pub incomplete_reason: Option<String>,
    /// Seconds spent in each phase of the run, summed over its trials.
    pub phase_seconds: BTreeMap<String, f64>,
    /// Trials that were planned.
    pub trials_planned: u32,
    /// Who led it, in order; several where it was resumed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub parts: Vec<RunPart>,
}

/// One trial.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct TrialReport {
    /// Stable and readable; also its folder's name.
    pub id: TrialId,
    /// The swept fields and their values here.
    pub parameters: BTreeMap<String, Value>,
    /// Counts from 1.
    pub repetition: u32,
    /// RFC 3339, UTC; the trial's zero, from which its rows count.
    pub started_at: String,
    /// Whether it ran to its planned end.
    pub complete: bool,
    /// Seconds by phase.
    pub phase_seconds: BTreeMap<String, f64>,
    /// Whether to believe it.
    pub verdict: Verdict,
    /// How every request of the measured phase that was due ended.
    pub accounting: Accounting,
    /// The same for the phases that are not measured, by phase (`warmup`).
    pub other_accounting: BTreeMap<String, Accounting>,
    /// The measured window.
    pub window: Window,
    /// Its steady part; `None` where the window is too short to say, or its load was to be uneven.
    #[serde(default)]
    pub steady: Option<SteadyWindow>,
    /// What was asked for and what was sent.
    pub load: LoadFigures,
    /// With `workload.stop_when`: how sure its figure was when the window ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certainty: Option<Certainty>,
    /// With `workload.turns`: what became of conversations.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub conversations: Option<Conversations>,
    /// With a `workload.dataset` of texts: how often they were sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dataset: Option<DatasetFigures>,
    /// Of a probe: its search, and what it came to there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub probe: Option<ProbeReport>,
    /// Latencies, seconds.
    pub latency: Latencies,
    /// Each server's own figures, where there are several.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub servers: Vec<ServerFigures>,
    /// Tokens of completed measured requests.
    pub tokens: TokenFigures,
    /// Rates over the window.
    pub throughput: Throughput,
    /// Where the final percentiles come from: `records` (exact) or `histogram` (three digits), by metric.
    pub percentile_source: BTreeMap<String, String>,
    /// Share of due requests that met each limit, and all of them; empty without SLO.
    pub slo: BTreeMap<String, f64>,
    /// What became of each limit; empty without SLO.
    #[serde(default)]
    pub slo_limits: Vec<SloFigure>,
    /// How well the client did.
    pub client: ClientFigures,
    /// What is known of the servers: urls, command lines, restarts.
    pub server: BTreeMap<String, Value>,
    /// Nodes and what they used.
    pub resources: Resources,
    /// Node-hours and their like.
    pub cost: BTreeMap<String, f64>,
    /// What happened, with the second since the trial's start.
    pub events: Vec<TimedEvent>,
    /// Sums of each second since the trial's start, for the charts.
    pub timeline: Vec<Second>,
}

impl TrialReport {
    /// The trial of the recipe that this one is, or is a probe of.
    #[must_use]
    pub fn planned_id(&self) -> &TrialId {
        self.probe.as_ref().map_or(&self.id, |probe| &probe.search)
    }
}

/// The measured window, seconds since the trial's start.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct Window {
    /// Where the measured phase begins.
    pub start: f64,
    /// Where it ends.
    pub end: f64,
    /// Its length.
    pub seconds: f64,
}

/// Tokens of completed requests of the measured phase.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct TokenFigures {
    /// Prompt tokens; `None` where nobody counted.
    pub input: Option<u64>,
    /// Answer tokens; `None` where nobody counted.
    pub output: Option<u64>,
    /// Answers whose tokens nobody counted; the others' are in the figures.
    #[serde(default)]
    pub uncounted: u64,
    /// Who counted: `usage`, `events`, or `mixed`.
    pub source: Option<String>,
    /// What prompts that are made got their length by: `token_ids`, `tokenize`, `tokenizer`, `usage`, or `words`
    /// where nobody told it.
    #[serde(default)]
    pub lengths_by: LengthsBy,
    /// Answer tokens that were asked for.
    pub requested_output: u64,
    /// Prompt tokens that were asked for; 0 where nobody asked for a length.
    pub requested_input: u64,
    /// Prompt tokens from the server's prefix cache, where it says so.
    pub cached: Option<u64>,
    /// Answers that ended by themselves before the asked length.
    pub stopped_early: u64,
    /// Streamed answers whose tokens are known as a whole and of no event; `None` where there was none.
    #[serde(default)]
    pub spread: Option<SpreadFigures>,
    /// Answers of reasoning alone: no output came.
    #[serde(default)]
    pub ended_in_reasoning: u64,
}

/// Rates over the window.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Throughput {
    /// Requests completed in the window, per second.
    pub requests_per_second: f64,
    /// Answer tokens that arrived in the window, per second; `None` where nobody counted.
    pub output_tokens_per_second: Option<f64>,
    /// Prompt tokens (at the first answer token) and answer tokens, per second; `None` where nobody counted the former.
    pub total_tokens_per_second: Option<f64>,
    /// Requests that met every SLO, per second; `None` without SLO.
    pub goodput_requests_per_second: Option<f64>,
    /// Answer tokens of those, per second; `None` without SLO.
    #[serde(default)]
    pub goodput_output_tokens_per_second: Option<f64>,
    /// From the first sending to the last end of measured requests.
    #[serde(default)]
    pub makespan_seconds: f64,
    /// Answer tokens of completed measured requests over that.
    #[serde(default)]
    pub makespan_output_tokens_per_second: Option<f64>,
    /// Completed measured requests over that.
    #[serde(default)]
    pub makespan_requests_per_second: f64,
    /// Tokens per second of one answer, the inverse of the time per token: the median.
    #[serde(default)]
    pub tps_user_p50: Option<f64>,
    /// The same of the slowest in a hundred.
    #[serde(default)]
    pub tps_user_p1: Option<f64>,
    /// Requests that failed, timed out or were cut off by the server, over those that were sent.
    #[serde(default)]
    pub error_rate: f64,
}

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct TimedEvent {
    /// Seconds since the trial's start.
    pub at_seconds: f64,
    /// One word: such as `executor_restarted`, `node_lost` or `server_exited`.
    pub what: String,
    /// A sentence.
    pub message: String,
}

/// One second of a trial, over all executors.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Second {
    /// Seconds since the trial's start: the second's beginning.
    pub at: u32,
    /// Requests sent.
    pub sent: u64,
    /// Requests completed.
    pub completed: u64,
    /// Requests failed, timed out or lost.
    pub failed: u64,
    /// Answer tokens of requests that ended, spread over their time of arrival.
    pub output_tokens: f64,
    /// Requests in flight, time-weighted.
    pub in_flight: f64,
    /// Median time to first token of requests whose first token came in this second.
    pub ttft_p50: Option<f64>,
    /// Its 99th percentile.
    pub ttft_p99: Option<f64>,
    /// Median latency of requests that completed in this second.
    pub e2el_p50: Option<f64>,
    /// Its 99th percentile.
    pub e2el_p99: Option<f64>,
}
