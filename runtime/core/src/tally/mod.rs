//! Merges the batches of all executors into one truth: counts, histograms, the live view, and what is lost.
//!
//! The order in which batches come cannot be seen in the result, and a repeat changes nothing: all
//! sums are whole numbers, and whatever is "the newest" is decided by a batch's key. A request costs
//! about one bit, the mark that its end was told; everything else grows with time, not with requests.

mod checks;
mod handed_on;
mod latencies;
mod live;
mod lost;
mod nodes;
mod seconds;
mod sequences;

use std::collections::{BTreeMap, BTreeSet};

pub use self::{
    latencies::Latency,
    live::{Live, NodeLive},
    lost::LostRow,
    nodes::{ExecutorHealth, NodeSums},
};
use self::{latencies::LatencyHistograms, nodes::ExecutorSums, seconds::Seconds, sequences::Sequence};
use crate::{
    batch::{Batch, BatchKey, Open, Source},
    histogram::Histogram,
    indices::Indices,
    orders::LoadShare,
    plan::Plan,
    record::{Record, Stage},
    report::{Accounting, Second},
    schedule::Numbers,
    trial::LoadSpec,
    units::{Nanos, NodeName, Span, TrialId},
};

/// No instant lies later: a stamp beyond it would make a second of the timeline for nothing.
const LATEST: Nanos = Nanos(Span::LONGEST.0.as_nanos() as u64);

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

/// Which node has which executor, and what it is told to play.
#[derive(Debug, Clone, PartialEq)]
struct Share {
    node: NodeName,
    /// Clients of a closed loop, or the most in flight of an open one.
    threads: u32,
    /// Which requests are its own.
    numbers: Numbers,
    /// From when on they are.
    since: Nanos,
}

impl Share {
    fn of(share: &LoadShare, since: Nanos) -> Self {
        Self { node: share.node.clone(), threads: share.threads(), numbers: share.numbers.clone(), since }
    }
}

/// The merged truth of one trial.
#[derive(Debug, Clone, PartialEq)]
pub struct TrialTally {
    trial: TrialId,
    load: LoadSpec,
    seed: u64,
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
    /// Executors whose rest was handed on: nothing more is counted of them.
    written_off: BTreeSet<u32>,
    is_closed: bool,
}

impl TrialTally {
    /// An empty tally for this plan.
    #[must_use]
    pub fn new(plan: &Plan) -> Self {
        Self {
            trial: plan.trial.id.clone(),
            load: plan.trial.load.clone(),
            seed: plan.trial.seed,
            shares: plan.shares.iter().map(|share| (share.executor, Share::of(share, Nanos(0)))).collect(),
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
            written_off: BTreeSet::new(),
            is_closed: false,
        }
    }

    /// Counts a batch, once. The order in which batches come does not matter.
    pub fn take(&mut self, batch: &Batch) -> Taken {
        let BatchKey { source, seq } = &batch.key;
        if self.sequences.get(source).is_some_and(|sequence| sequence.contains(*seq)) {
            return Taken::Repeat;
        }
        let gaps = match self.check(batch) {
            Ok(gaps) => gaps,
            Err(why) => return Taken::Refused(why),
        };
        let sequence = self.sequences.entry(source.clone()).or_default();
        sequence.insert(*seq);
        sequence.is_over |= batch.is_last;

        for (latency, gaps) in [Latency::Itl, Latency::Icl].into_iter().zip(&gaps) {
            gaps.iter().for_each(|gaps| self.latencies.merge(latency, gaps));
        }
        batch.records.iter().for_each(|record| self.ended(record));
        batch.opened.iter().for_each(|open| self.opened(source, *open));
        self.executor_sums.entry(source.executor).or_default().take(batch);
        self.nodes.entry(source.node.clone()).or_default().take(batch);
        Taken::New
    }

    /// A node is gone and sends nothing more.
    pub fn node_lost(&mut self, node: &NodeName) {
        self.lost_nodes.insert(node.clone());
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

    /// How well each executor did in the measured window, from its start to where it really ended.
    #[must_use]
    pub fn executors(&self, measured: (Nanos, Nanos)) -> BTreeMap<u32, ExecutorHealth> {
        let node = |executor| self.shares.get(executor).map(|share| share.node.clone()).unwrap_or_default();
        let health = |executor, sums: &ExecutorSums| ExecutorHealth { node: node(executor), ..sums.health(measured) };
        self.executor_sums.iter().map(|(executor, sums)| (*executor, health(executor, sums))).collect()
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
        newest.len() >= self.shares.len() && newest.values().all(|(.., is_over)| *is_over)
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
}

#[cfg(test)]
mod tests;
