//! What everything that is drawn begins with.

use super::{Metadata, Recipe, trial_names::hash};
use crate::{trial::Trial, units::TrialId};

impl Recipe {
    /// `metadata.seed`, if it is written.
    #[must_use]
    pub fn seed(&self) -> Option<u64> {
        self.metadata.as_ref()?.seed
    }

    /// Writes a seed into a recipe, and into each of its trials the one that follows from it.
    pub fn set_seed(&mut self, seed: u64, trials: &mut [Trial]) {
        self.metadata.get_or_insert_with(Metadata::default).seed = Some(seed);
        for trial in trials {
            trial.seed = of_trial(Some(seed), &trial.id, trial.repetition);
        }
    }
}

/// A trial's own seed, from the run's: no two trials of a run draw the same.
pub(super) fn of_trial(run: Option<u64>, id: &TrialId, repetition: u32) -> u64 {
    hash(&[&run.unwrap_or(0).to_le_bytes(), id.as_str().as_bytes(), &repetition.to_le_bytes()])
}
