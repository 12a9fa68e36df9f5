//! The tokenizer of a recipe, read by the leader alone: what it says of words goes into the trials.

use std::{path::PathBuf, sync::Arc};

use hb_core::{counting::WordTokens, recipe::Problem, trial::Trial};
use hb_services::tokenizer;

use super::files;

/// Asks the tokenizer that these trials name, once.
///
/// # Errors
/// It cannot be read, is none, or this binary has none.
pub fn read(trials: &mut [Trial]) -> Result<(), Problem> {
    let mut known: Option<(PathBuf, Arc<WordTokens>)> = None;
    for spec in trials.iter_mut().filter_map(|trial| trial.load.tokenizer.as_mut()) {
        if let Some((_, words)) = known.as_ref().filter(|(path, _)| *path == spec.path) {
            spec.words = words.clone();
            continue;
        }
        let refused =
            |error| files::problem("workload.tokenizer", &spec.path, "a `tokenizer.json`, or the folder that holds it", &error);
        spec.words = Arc::new(tokenizer::words(&spec.path).map_err(refused)?);
        known = Some((spec.path.clone(), spec.words.clone()));
    }
    Ok(())
}
