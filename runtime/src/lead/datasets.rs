//! The datasets of a recipe, seen by the leader before anything starts: that they are there, and when a trace is due.

use std::path::Path;

use hb_core::{
    recipe::Problem,
    trial::{DatasetSpec, LoadModel, Trial},
};
use hb_services::datasets::{Dataset, DatasetError};

use super::files;

/// Looks at every dataset, makes its path whole, and puts a trace's instants into the trials that replay it.
///
/// # Errors
/// A file that is missing, has no format, or is no trace.
pub fn read(trials: &mut [Trial]) -> Result<(), Problem> {
    let mut checked: Option<(DatasetSpec, bool)> = None;
    let mut open: Option<(DatasetSpec, Dataset)> = None;
    for trial in trials {
        let Some(mut spec) = trial.load.dataset.clone() else { continue };
        // Nodes may have another working directory than the leader.
        spec.path = std::path::absolute(&spec.path).map_err(|error| unusable(&spec.path, &error))?;
        trial.load.dataset = Some(spec.clone());
        let refused = |error: DatasetError| unusable(&spec.path, &error);
        if !matches!(trial.load.model, LoadModel::Replay { .. }) {
            let wanted = Some((spec.clone(), trial.request.turns.is_some()));
            if checked != wanted {
                Dataset::check(&spec, &trial.request).map_err(refused)?;
                checked = wanted;
            }
            continue;
        }
        if open.as_ref().is_none_or(|(known, _)| *known != spec) {
            open = Some((spec.clone(), Dataset::open(&spec).map_err(refused)?));
        }
        if let Some((_, dataset)) = &open {
            trial.load = dataset.replayed(&trial.load, trial.seed).map_err(refused)?;
        }
    }
    Ok(())
}

fn unusable(path: &Path, why: &dyn std::error::Error) -> Problem {
    files::problem("workload.dataset", path, "a file that every client node can read", why)
}
