//! Merges the batches of all executors into one truth: counts, histograms, the live view, and what is lost.
//!
//! The order in which batches come cannot be seen in the result, and a repeat changes nothing: all
//! sums are whole numbers, and whatever is "the newest" is decided by a batch's key. A request costs
//! about one bit, the mark that its end was told; everything else grows with time, not with requests.

mod indices;
mod latencies;
mod nodes;
mod seconds;
mod sequences;

use std::{
    collections::{BTreeMap, BTreeSet},
    num::NonZeroU32,
};

use serde::{Deserialize, Serialize};

use self::{
    indices::Indices,
    latencies::LatencyHistograms,
    nodes::{ExecutorSums, NodeSums},
    seconds::Seconds,
    sequences::Sequence,
};
pub use self::{latencies::Latency, nodes::ExecutorHealth};
use crate::{
    batch::{Batch, BatchKey, Open, Source},
    histogram::Histogram,
    plan::Plan,
    record::{Kind, Outcome, Record, Stage},
    report::{Accounting, Second},
    schedule::Schedule,
    trial::{LoadModel, LoadSpec, Stop},
    units::{Nanos, NodeName, TrialId},
};

/// No instant lies later: a stamp beyond it is a fault, and would make a second of the timeline for nothing.
const LATEST: Nanos = Nanos(8 * 86_400 * 1_000_000_000);
/// Seconds that the live view shows.
const LIVE_SECONDS: u32 = 600;

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

/// Which node has which executor, and what it is told to play.
#[derive(Debug, Clone, PartialEq)]
struct Share {
    node: NodeName,
    /// Clients of a closed loop, or the most in flight of an open one.
    threads: u32,
}

/// The merged truth of one trial.
#[derive(Debug, Clone, PartialEq)]
pub struct TrialTally {
    trial: TrialId,
    load: LoadSpec,
    seed: u64,
    executors: u32,
    shares: BTreeMap<u32, Share>,
    sequences: BTreeMap<Source, Sequence>,
    ended: Indices,
    repeated_indices: u64,
    /// Started and not ended, by index.
    open: BTreeMap<u64, (Source, Open)>,
    accounting: BTreeMap<Stage, Accounting>,
    latencies: LatencyHistograms,
    seconds: Seconds,
    nodes: BTreeMap<NodeName, NodeSums>,
    executor_sums: BTreeMap<u32, ExecutorSums>,
    lost_nodes: BTreeSet<NodeName>,
    is_closed: bool,
}

impl TrialTally {
    /// An empty tally for this plan.
    #[must_use]
    pub fn new(plan: &Plan) -> Self {
        let share = |share: &crate::orders::LoadShare| Share {
            node: share.node.clone(),
            threads: match share.load.model {
                LoadModel::Closed { .. } => share.clients.len() as u32,
                LoadModel::Open { .. } => share.max_in_flight.unwrap_or(0),
            },
        };
        Self {
            trial: plan.trial.id.clone(),
            load: plan.trial.load.clone(),
            seed: plan.trial.seed,
            executors: plan.shares.iter().map(|share| share.executors).max().unwrap_or(0),
            shares: plan.shares.iter().map(|each| (each.executor, share(each))).collect(),
            sequences: BTreeMap::new(),
            ended: Indices::default(),
            repeated_indices: 0,
            open: BTreeMap::new(),
            accounting: BTreeMap::new(),
            latencies: LatencyHistograms::new(),
            seconds: Seconds::default(),
            nodes: plan.shares.iter().map(|share| (share.node.clone(), NodeSums::default())).collect(),
            executor_sums: BTreeMap::new(),
            lost_nodes: BTreeSet::new(),
            is_closed: false,
        }
    }

    /// Counts a batch, once. The order in which batches come does not matter.
    pub fn take(&mut self, batch: &Batch) -> Taken {
        let BatchKey { source, seq } = &batch.key;
        if self.sequences.get(source).is_some_and(|sequence| sequence.contains(*seq)) {
            return Taken::Repeat;
        }
        let (itl, icl) = match self.check(batch) {
            Ok(gaps) => gaps,
            Err(why) => return Taken::Refused(why),
        };
        let sequence = self.sequences.entry(source.clone()).or_default();
        sequence.insert(*seq);
        sequence.is_over |= batch.is_last;

        self.latencies.merge(Latency::Itl, &itl);
        self.latencies.merge(Latency::Icl, &icl);
        batch.records.iter().for_each(|record| self.ended(record));
        batch.opened.iter().for_each(|open| self.opened(source, *open));
        let measured = self.planned_window();
        self.executor_sums.entry(source.executor).or_default().take(batch, measured);
        self.nodes.entry(source.node.clone()).or_default().take(batch);
        Taken::New
    }

    /// A node is gone and sends nothing more.
    pub fn node_lost(&mut self, node: &NodeName) {
        self.lost_nodes.insert(node.clone());
    }

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

    /// No batch comes any more: a row for every request that was due and whose end nobody told.
    /// `ended_early_at_seconds` is when the load was stopped before its planned end, if it was: what the
    /// schedule holds after that was never due.
    pub fn close(&mut self, ended_early_at_seconds: Option<f64>) -> Vec<LostRow> {
        if self.is_closed {
            return Vec::new();
        }
        self.is_closed = true;
        let mut lost: BTreeMap<u64, (Source, Open)> = std::mem::take(&mut self.open);
        if let LoadModel::Open { rate, arrivals } = self.load.model {
            let until = ended_early_at_seconds.map_or(LATEST, Nanos::from_secs_f64);
            let schedule = Schedule::open(rate, arrivals, self.load.warmup, self.load.stop, self.seed);
            for due in schedule.shard(0, NonZeroU32::MIN).take_while(|due| due.at < until) {
                if !self.ended.contains(due.index) {
                    let open = Open { index: due.index, stage: due.stage, due: due.at, sent: None };
                    lost.entry(due.index).or_insert_with(|| (self.owner(due.index), open));
                }
            }
        }
        lost.into_values().map(|(source, open)| self.lose(source, open)).collect()
    }

    /// How the requests of a stage ended so far.
    #[must_use]
    pub fn accounting(&self, stage: Stage) -> Accounting {
        self.accounting.get(&stage).cloned().unwrap_or_default()
    }

    /// The merged histogram of a latency in the measured stage.
    #[must_use]
    pub fn latency(&self, latency: Latency) -> &Histogram {
        self.latencies.of(latency)
    }

    /// Every second from the trial's start to the last one known.
    #[must_use]
    pub fn timeline(&self) -> Vec<Second> {
        self.seconds.from(0)
    }

    /// How well each executor did.
    #[must_use]
    pub fn executors(&self) -> BTreeMap<u32, ExecutorHealth> {
        self.executor_sums.iter().map(|(executor, sums)| (*executor, sums.health())).collect()
    }

    /// Batches that must have been sent and never came.
    #[must_use]
    pub fn missing_batches(&self) -> u64 {
        self.sequences.values().map(Sequence::missing).fold(0, u64::saturating_add)
    }

    /// Ends told of requests whose end had been told before: more than none, and the books are wrong.
    #[must_use]
    pub fn repeated_indices(&self) -> u64 {
        self.repeated_indices
    }

    /// Whether every executor's newest life has said that it is done.
    #[must_use]
    pub fn is_over(&self) -> bool {
        let mut newest: BTreeMap<u32, (u64, u32, bool)> = BTreeMap::new();
        for (source, sequence) in &self.sequences {
            let life = (source.incarnation, source.epoch, sequence.is_over && sequence.missing() == 0);
            newest.entry(source.executor).and_modify(|known| *known = life.max(*known)).or_insert(life);
        }
        newest.len() >= self.executors as usize && newest.values().all(|(.., is_over)| *is_over)
    }

    /// Whether a batch can be right, and its gaps between tokens.
    fn check(&self, batch: &Batch) -> Result<(Histogram, Histogram), String> {
        let source = &batch.key.source;
        if source.trial != self.trial {
            return Err(format!("a batch of trial `{}` came to trial `{}`", source.trial, self.trial));
        }
        if self.is_closed {
            return Err(format!("the books of trial `{}` are closed", self.trial));
        }
        if source.executor >= self.executors {
            return Err(format!("executor {} is not one of the trial's {}", source.executor, self.executors));
        }
        let counted = Batch::counted(&batch.records);
        let stated = batch.counts.iter().filter(|(_, counts)| counts.total() > 0);
        if !stated.map(|(stage, counts)| (*stage, *counts)).eq(counted.iter().map(|(stage, counts)| (*stage, *counts))) {
            return Err(format!("batch {} counts {:?}, but its records are {counted:?}", batch.key.seq, batch.counts));
        }
        let stamps =
            |record: &Record| [Some(record.due), record.sent, record.first, record.last, record.end].into_iter().flatten().max();
        let latest = batch.records.iter().filter_map(stamps).chain([batch.span.0, batch.span.1]);
        let latest = latest.chain(batch.opened.iter().flat_map(|open| [Some(open.due), open.sent]).flatten()).max();
        if let Some(instant) = latest.filter(|instant| *instant > LATEST) {
            return Err(format!(
                "an instant {} s after the start is beyond the limit of {} s",
                instant.as_secs_f64(),
                LATEST.as_secs_f64()
            ));
        }
        if let Some(record) = batch.records.iter().find(|record| record.kind.is_none() != (record.outcome == Outcome::Completed))
        {
            return Err(format!("request {} is {:?} with kind {:?}", record.index, record.outcome, record.kind));
        }
        let read = |bytes: &[u8]| Histogram::from_bytes(bytes).map_err(|error| error.to_string());
        Ok((read(&batch.itl)?, read(&batch.icl)?))
    }

    fn ended(&mut self, record: &Record) {
        if !self.ended.insert(record.index) {
            self.repeated_indices += 1;
        }
        let was_open = self.open.remove(&record.index);
        self.accounting.entry(record.stage).or_default().add(record);
        if record.stage == Stage::Measure {
            self.latencies.record(record);
        }
        if let Some(sent) = record.sent.filter(|_| was_open.is_none_or(|(_, open)| open.sent.is_none())) {
            self.seconds.sent(sent);
        }
        self.seconds.ended(record);
    }

    fn opened(&mut self, source: &Source, open: Open) {
        if self.ended.contains(open.index) {
            return;
        }
        let known = self.open.get(&open.index);
        if let Some(sent) = open.sent.filter(|_| known.is_none_or(|(_, known)| known.sent.is_none())) {
            self.seconds.sent(sent);
        }
        // Two lives may tell of one request; the older one is kept, whichever came first.
        let is_better = known.is_none_or(|(owner, known)| (open.sent.is_none(), source) < (known.sent.is_none(), owner));
        if is_better {
            self.open.insert(open.index, (source.clone(), open));
        }
    }

    /// The row for a request whose end nobody told, counted.
    fn lose(&mut self, source: Source, open: Open) -> LostRow {
        let kind = if self.lost_nodes.contains(&source.node) { Kind::NodeLost } else { Kind::ExecutorLost };
        let mut record = Record::unsent(open.index, open.stage, open.due, Outcome::Lost, kind);
        record.sent = open.sent;
        self.ended.insert(open.index);
        self.accounting.entry(record.stage).or_default().add(&record);
        self.seconds.ended(&record);
        self.nodes.entry(source.node.clone()).or_default().ended(&record);
        LostRow { source, record }
    }

    /// Whose a request of the schedule was: the newest life known of its executor.
    fn owner(&self, index: u64) -> Source {
        let executor = (index % u64::from(self.executors.max(1))) as u32;
        let lives = self.sequences.keys().filter(|source| source.executor == executor);
        lives.max_by_key(|source| (source.incarnation, source.epoch)).cloned().unwrap_or_else(|| Source {
            trial: self.trial.clone(),
            node: self.shares.get(&executor).map_or_else(NodeName::default, |share| share.node.clone()),
            incarnation: 0,
            executor,
            epoch: 0,
        })
    }

    /// Where the measured stage lies, as far as the plan says.
    fn planned_window(&self) -> (Nanos, Nanos) {
        let start = Nanos::from(self.load.warmup.0);
        match self.load.stop {
            Stop::After(span) => (start, Nanos(start.0.saturating_add(Nanos::from(span.0).0))),
            Stop::Requests(_) => (start, Nanos(u64::MAX)),
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

#[cfg(test)]
mod tests;
