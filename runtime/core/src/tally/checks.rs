//! Whether a batch can be right. Input from another node never panics and never costs more than it weighs.

use super::{LATEST, TrialTally};
use crate::{
    batch::Batch,
    histogram::Histogram,
    record::{Outcome, Record},
};

impl TrialTally {
    /// Whether a batch can be right, and its gaps between tokens, where it has some.
    pub(super) fn check(&self, batch: &Batch) -> Result<[Option<Histogram>; 2], String> {
        let source = &batch.key.source;
        if source.trial != self.trial {
            return Err(format!("a batch of trial `{}` came to trial `{}`", source.trial, self.trial));
        }
        if self.is_closed {
            return Err(format!("the books of trial `{}` are closed", self.trial));
        }
        if !self.shares.contains_key(&source.executor) {
            return Err(format!("executor {} is not one of the trial's {}", source.executor, self.shares.len()));
        }
        if self.written_off.contains(&source.executor) {
            return Err(format!("executor {} was lost, and others do what it left", source.executor));
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
        Ok([read(&batch.itl)?, read(&batch.icl)?])
    }
}
