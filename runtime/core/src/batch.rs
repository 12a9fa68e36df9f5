//! What an executor posts once a second: a window and the records of exactly the requests it counts.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{
    record::{Kind, Outcome, Record, Stage, Turn},
    units::{Nanos, NodeName, TrialId},
};

/// The largest batch on the wire, in bytes. A busy second is several batches.
pub const MAX_BATCH_BYTES: usize = 64 * 1024;

/// Names a batch for ever: repeats are dropped by it, gaps are counted by `seq`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct BatchKey {
    /// The executor and its life that the batch comes from.
    pub source: Source,
    /// Counts from 0 within the source, without gaps.
    pub seq: u64,
}

/// One life of one executor in one trial.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Source {
    /// The trial.
    pub trial: TrialId,
    /// The node that sends.
    pub node: NodeName,
    /// The life of the node's process.
    pub incarnation: u64,
    /// The executor's number within the trial, over all nodes.
    pub executor: u32,
    /// The executor's life; a restart adds one.
    pub epoch: u32,
}

/// Requests that were started, and how those that ended did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Counts {
    /// Requests with a whole answer.
    pub completed: u64,
    /// Requests that the server or the network failed.
    pub failed: u64,
    /// Requests that ran into one of our deadlines.
    pub timed_out: u64,
    /// Requests that we gave up.
    pub cancelled: u64,
    /// Requests that were never sent.
    pub dropped: u64,
    /// Requests whose executor or node is gone.
    pub lost: u64,
}

impl Counts {
    /// Counts one more request that ended so.
    pub fn add(&mut self, outcome: Outcome) {
        *match outcome {
            Outcome::Completed => &mut self.completed,
            Outcome::Failed => &mut self.failed,
            Outcome::TimedOut => &mut self.timed_out,
            Outcome::Cancelled => &mut self.cancelled,
            Outcome::Dropped => &mut self.dropped,
            Outcome::Lost => &mut self.lost,
        } += 1;
    }

    /// What the records of one stage add up to.
    #[must_use]
    pub fn of<'a>(records: impl IntoIterator<Item = &'a Record>) -> Self {
        let mut counts = Self::default();
        records.into_iter().for_each(|record| counts.add(record.outcome));
        counts
    }

    /// All requests that ended, however they did.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.completed + self.failed + self.timed_out + self.cancelled + self.dropped + self.lost
    }
}

/// A request that was started and has not ended: should its node be lost, it becomes a `lost` row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Open {
    /// The request's index.
    pub index: u64,
    /// The part of the trial in which it was due.
    pub stage: Stage,
    /// When it was due.
    pub due: Nanos,
    /// When it was sent, if it was.
    pub sent: Option<Nanos>,
    /// Its place in a conversation, if it is in one.
    #[serde(default)]
    pub turn: Option<Turn>,
}

impl Open {
    /// The row for it where nobody can tell its end any more.
    #[must_use]
    pub fn lost(self, kind: Kind) -> Record {
        let row = Record::unsent(self.index, self.stage, self.due, Outcome::Lost, kind);
        Record { sent: self.sent, turn: self.turn, ..row }
    }
}

/// How well the client itself did in the window: the evidence against "the client was the bottleneck".
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct ClientHealth {
    /// CPU time of the load threads over the time they could have had (1 = all of them busy).
    pub cpu_ratio: f64,
    /// The largest lateness of a timer on the load runtime, in seconds.
    pub lag_max_seconds: f64,
    /// The mean lateness of those timers, in seconds.
    pub lag_mean_seconds: f64,
    /// Timers measured.
    pub lag_samples: u32,
    /// The largest jump of the node's wall clock against its monotonic one, in seconds.
    #[serde(default)]
    pub clock_step_seconds: f64,
    /// Requests in flight at the window's end.
    pub in_flight: u32,
    /// Content tokens (or events, where the server tells no counts) read in the window.
    pub tokens_read: u64,
    /// What lay in the receive queues.
    #[serde(default)]
    pub unread: Unread,
}

/// Bytes of answers that had come and were not read, as a thread beside the load saw them from time to time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Unread {
    /// How often it looked.
    pub looks: u32,
    /// What it saw in all looks together, bytes.
    pub seen_bytes: u64,
    /// The most that it saw at once, bytes.
    pub max_bytes: u64,
    /// What was read of answers' bodies meanwhile, bytes.
    pub read_bytes: u64,
}

impl Unread {
    /// Fewer looks say nothing.
    const FEWEST_LOOKS: u32 = 10;

    /// One more look, which saw so many bytes.
    pub fn saw(&mut self, bytes: u64) {
        self.add(Self { looks: 1, seen_bytes: bytes, max_bytes: bytes, read_bytes: 0 });
    }

    /// What was seen at another time, or of another executor.
    pub fn add(&mut self, other: Self) {
        self.looks = self.looks.saturating_add(other.looks);
        self.seen_bytes = self.seen_bytes.saturating_add(other.seen_bytes);
        self.max_bytes = self.max_bytes.max(other.max_bytes);
        self.read_bytes = self.read_bytes.saturating_add(other.read_bytes);
    }

    /// The mean of what it saw, bytes.
    #[must_use]
    pub fn mean_bytes(&self) -> f64 {
        self.seen_bytes as f64 / f64::from(self.looks.max(1))
    }

    /// For how long a byte lay unread on average, in seconds, where this was seen within so many seconds: by Little's law
    /// what lies there over what is read in a second.
    #[must_use]
    pub fn mean_seconds(&self, within: f64) -> Option<f64> {
        let is_known = self.looks >= Self::FEWEST_LOOKS && self.read_bytes > 0 && within > 0.0;
        is_known.then(|| self.mean_bytes() / (self.read_bytes as f64 / within))
    }
}

/// One window of one executor.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Batch {
    /// Its name.
    pub key: BatchKey,
    /// Start and end of the window.
    pub span: (Nanos, Nanos),
    /// What `records` add up to, by stage; a batch whose sums differ is refused.
    pub counts: BTreeMap<Stage, Counts>,
    /// The requests that ended in the window.
    pub records: Vec<Record>,
    /// Requests started in the window or before that are first told of here and have not ended.
    pub opened: Vec<Open>,
    /// Gaps between tokens in the measured stage, HDR V2 bytes, nanoseconds; empty if there were none.
    #[serde(with = "serde_bytes")]
    pub itl: Vec<u8>,
    /// Gaps between events with content in the measured stage, HDR V2 bytes, nanoseconds.
    #[serde(with = "serde_bytes")]
    pub icl: Vec<u8>,
    /// How the client did.
    pub health: ClientHealth,
    /// Whether this source says nothing after this.
    pub is_last: bool,
}

impl Batch {
    /// The sums that `records` really have.
    #[must_use]
    pub fn counted(records: &[Record]) -> BTreeMap<Stage, Counts> {
        let mut by_stage: BTreeMap<Stage, Counts> = BTreeMap::new();
        for record in records {
            by_stage.entry(record.stage).or_default().add(record.outcome);
        }
        by_stage
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_lie_unread_for_as_long_as_it_takes_to_read_what_lies_there() {
        let mut unread = Unread { read_bytes: 50_000, ..Unread::default() };
        (0..9).for_each(|_| unread.saw(200));
        assert_eq!(unread.mean_seconds(5.0), None, "too few looks");
        unread.saw(1_200);
        assert_eq!((unread.mean_bytes(), unread.max_bytes), (300.0, 1_200));
        // 10 000 bytes are read in a second, and 300 lie there.
        assert_eq!(unread.mean_seconds(5.0), Some(0.03));
        assert_eq!(unread.mean_seconds(0.0), None);
        assert_eq!(Unread { read_bytes: 0, ..unread }.mean_seconds(5.0), None, "nothing was read");
    }
}
