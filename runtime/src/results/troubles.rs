//! What of a run could not be written, for its report's warnings.

use std::{collections::BTreeMap, io};

/// What could not be written, by file: how often, and the last cause.
#[derive(Debug, Clone, Default)]
pub(crate) struct Troubles {
    by_file: BTreeMap<String, (u64, String)>,
    told: Vec<String>,
}

impl Troubles {
    /// Keeps the cause where a write failed.
    pub(super) fn note<T>(&mut self, file: &str, written: io::Result<T>) {
        if let Err(error) = written {
            let entry = self.by_file.entry(file.to_owned()).or_default();
            *entry = (entry.0 + 1, error.to_string());
        }
    }

    /// Takes over what is in others.
    pub(super) fn take(&mut self, others: Self) {
        for (file, (times, cause)) in others.by_file {
            let entry = self.by_file.entry(file).or_default();
            *entry = (entry.0 + times, cause);
        }
        self.told.extend(others.told);
    }

    /// Something else that is missing.
    pub(super) fn tell(&mut self, sentence: String) {
        self.told.push(sentence);
    }

    /// A sentence for each.
    pub(crate) fn sentences(&self) -> Vec<String> {
        let missing = self.by_file.iter().map(|(file, (times, cause))| match times {
            1 => format!("`{file}` could not be written: {cause}"),
            _ => format!("`{file}` is incomplete: {times} writes failed, the last one with: {cause}"),
        });
        missing.chain(self.told.iter().cloned()).collect()
    }
}
