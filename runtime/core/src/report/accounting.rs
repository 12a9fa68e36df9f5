//! How requests that were due ended, so that the parts sum to the whole.

use super::Accounting;
use crate::record::{Kind, Outcome, Record};

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
