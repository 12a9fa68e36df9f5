//! The datasets of a recipe, seen by the leader before anything starts: that they are there, and when a trace is due.

use std::path::Path;

use hb_core::{
    recipe::Problem,
    schedule,
    trial::{DatasetSpec, LoadModel, Trial},
    units::Nanos,
};
use hb_services::datasets::{Dataset, DatasetError};

use super::files;

/// Looks at every dataset, makes its path whole, and puts a trace's instants into the trials that replay it.
///
/// # Errors
/// A file that is missing, has no format, or is no trace.
pub fn read(trials: &mut [Trial]) -> Result<(), Problem> {
    let mut checked: Option<(DatasetSpec, bool)> = None;
    let mut trace: Option<(DatasetSpec, Vec<Nanos>)> = None;
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
        if trace.as_ref().is_none_or(|(known, _)| *known != spec) {
            trace = Some((spec.clone(), Dataset::trace(&spec).map_err(refused)?.1));
        }
        if let Some((_, stamps)) = &trace {
            trial.load = schedule::replayed(&trial.load, stamps.clone(), trial.seed);
        }
    }
    Ok(())
}

/// Reads every dataset to its end, so that a line that cannot be used is known before anything starts.
///
/// # Errors
/// The first line that is wrong, where such lines are not left out.
pub fn read_through(trials: &[Trial]) -> Result<(), Problem> {
    let mut seen: Vec<&DatasetSpec> = Vec::new();
    for spec in trials.iter().filter_map(|trial| trial.load.dataset.as_ref()) {
        if !seen.contains(&spec) {
            Dataset::open(spec).map_err(|error| unusable(&spec.path, &error))?;
            seen.push(spec);
        }
    }
    Ok(())
}

fn unusable(path: &Path, why: &dyn std::error::Error) -> Problem {
    files::problem("workload.dataset", path, "a file that every client node can read", why)
}
