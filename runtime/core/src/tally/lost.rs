//! What nobody told the end of, once no batch comes any more.

use std::{collections::BTreeMap, num::NonZeroU32};

use super::{LATEST, TrialTally};
use crate::{
    batch::{Open, Source},
    record::{Kind, Record},
    schedule::Schedule,
    units::{Nanos, NodeName},
};

/// A request that no batch told the end of, as the row that stands for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LostRow {
    /// Whose it was.
    pub source: Source,
    /// Its row, outcome `Lost`.
    pub record: Record,
}

impl TrialTally {
    /// No batch comes any more: a row for every request that was due and whose end nobody told.
    /// `ended_early_at_seconds` is when the load was stopped before its planned end, if it was: what the
    /// schedule holds after that was never due.
    pub fn close(&mut self, ended_early_at_seconds: Option<f64>) -> Vec<LostRow> {
        if self.is_closed {
            return Vec::new();
        }
        self.is_closed = true;
        let mut lost: BTreeMap<u64, (Source, Open)> = std::mem::take(&mut self.open);
        if let Some(schedule) = Schedule::of(&self.load, self.seed) {
            let until = ended_early_at_seconds.map_or(LATEST, Nanos::from_secs_f64);
            for due in schedule.shard(0, NonZeroU32::MIN).take_while(|due| due.at < until) {
                if !self.ended.contains(due.index) {
                    let open = Open { index: due.index, stage: due.stage, due: due.at, sent: None, turn: None };
                    lost.entry(due.index).or_insert_with(|| (self.owner(due.index, due.at), open));
                }
            }
        }
        lost.into_values().map(|(source, open)| self.lose(source, open)).collect()
    }

    /// The row for a request whose end nobody told, counted.
    fn lose(&mut self, source: Source, open: Open) -> LostRow {
        let kind = if self.lost_nodes.contains(&source.node) { Kind::NodeLost } else { Kind::ExecutorLost };
        let record = open.lost(kind);
        self.ended.insert(open.index);
        self.accounting.entry(record.stage).or_default().add(&record);
        self.seconds.ended(&record);
        self.nodes.entry(source.node.clone()).or_default().ended(&record);
        LostRow { source, record }
    }

    /// Whose a request of the schedule was: the newest life known of its executor. Of those that it was handed on to,
    /// the last one has the largest number.
    fn owner(&self, index: u64, due: Nanos) -> Source {
        let mut owners = self.shares.iter().filter(|(_, share)| share.since <= due && share.numbers.contains(index));
        let executor = owners.next_back().map_or(0, |(executor, _)| *executor);
        let lives = self.sequences.keys().filter(|source| source.executor == executor);
        lives.max_by_key(|source| (source.incarnation, source.epoch)).cloned().unwrap_or_else(|| Source {
            trial: self.trial.clone(),
            node: self.shares.get(&executor).map_or_else(NodeName::default, |share| share.node.clone()),
            incarnation: 0,
            executor,
            epoch: 0,
        })
    }
}
