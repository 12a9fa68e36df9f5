//! How requests that were due ended, so that the parts sum to the whole.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::record::{Kind, Outcome, Record};

/// How requests ended. The parts sum to `due`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Accounting {
    /// Requests that were due.
    pub due: u64,
    /// Whole answers.
    pub completed: u64,
    /// By kind.
    pub failed: BTreeMap<String, u64>,
    /// One of our deadlines ran out.
    pub timed_out: u64,
    /// Given up by us.
    pub cancelled: u64,
    /// Never sent, by cause.
    pub dropped: BTreeMap<String, u64>,
    /// Executor or node gone.
    pub lost: u64,
}

impl Accounting {
    /// Counts one request that was due and ended so.
    pub fn add(&mut self, record: &Record) {
        self.count(record.outcome, record.kind);
    }

    /// Counts one request by its outcome and kind.
    pub fn count(&mut self, outcome: Outcome, kind: Option<Kind>) {
        let name = || kind.map_or_else(|| "unknown".to_owned(), |kind| kind.to_string());
        self.due += 1;
        match outcome {
            Outcome::Completed => self.completed += 1,
            Outcome::Failed => *self.failed.entry(name()).or_default() += 1,
            Outcome::TimedOut => self.timed_out += 1,
            Outcome::Cancelled => self.cancelled += 1,
            Outcome::Dropped => *self.dropped.entry(name()).or_default() += 1,
            Outcome::Lost => self.lost += 1,
        }
    }

    /// All that failed, of whatever kind.
    #[must_use]
    pub fn failed_total(&self) -> u64 {
        self.failed.values().sum()
    }

    /// All that never left, for whatever cause.
    #[must_use]
    pub fn dropped_total(&self) -> u64 {
        self.dropped.values().sum()
    }

    /// Whether the parts sum to what was due.
    #[must_use]
    pub fn is_balanced(&self) -> bool {
        let parts = self.completed + self.failed_total() + self.timed_out + self.cancelled + self.dropped_total() + self.lost;
        parts == self.due
    }
}
