//! The files that a recipe names beside its own: where a relative path lies, and that they are what they should be before
//! anything starts.

use std::path::{self, Path, PathBuf};

use hb_core::{
    recipe::{Dataset, Problem, Recipe, Severity},
    trial::Trial,
};

use super::{datasets, tokenizers};

/// Makes relative paths whole: they lie beside the recipe, in `folder`, or else in the working directory. Returns what
/// was made whole, by key.
pub fn place(recipe: &mut Recipe, folder: &Path) -> Vec<(String, String)> {
    let workload = &mut recipe.workload;
    let dataset = workload.dataset.as_mut().map(|dataset| match dataset {
        Dataset::Path(path) => ("workload.dataset", path),
        Dataset::Described(file) => ("workload.dataset.path", &mut file.path),
    });
    let tokenizer = workload.tokenizer.as_mut().map(|path| ("workload.tokenizer", path));
    let mut placed = Vec::new();
    for (key, path) in dataset.into_iter().chain(tokenizer).filter(|(_, path)| !path.is_empty()) {
        // Names of files are bytes, and the recipe's are text: one that is no text stays as it is.
        let Some(whole) = whole(Path::new(path), folder).and_then(|whole| whole.to_str().map(str::to_owned)) else { continue };
        placed.push((key.to_owned(), whole.clone()));
        *path = whole;
    }
    placed
}

fn whole(written: &Path, folder: &Path) -> Option<PathBuf> {
    let beside = folder.join(written);
    let named = if beside.exists() { &beside } else { written };
    if written.is_absolute() { None } else { path::absolute(named).ok() }
}

/// Looks at all files of these trials, and puts what the leader must know of them into the trials.
///
/// # Errors
/// The first that is missing, or is something else.
pub fn read(trials: &mut [Trial]) -> Result<(), Problem> {
    datasets::read(trials)?;
    tokenizers::read(trials)
}

/// A file that cannot be used.
pub(super) fn problem(key: &str, path: &Path, accepted: &str, why: &dyn std::error::Error) -> Problem {
    Problem {
        severity: Severity::Error,
        path: key.into(),
        line: None,
        column: None,
        found: format!("`{}`", path.display()),
        accepted: accepted.into(),
        advice: Some(why.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use crate::lead::recipe::{Source, check};

    #[test]
    fn a_relative_path_lies_beside_the_recipe_or_else_in_the_working_directory() {
        let folder = tempfile::tempdir().unwrap();
        let beside = folder.path().join("a.txt");
        fs::write(&beside, "Why?\n").unwrap();
        let text = "scenario: x\norchestration: {mode: local}\nworkload: {service: dummy, duration: 60s, dataset: {path: a.txt}, \
                    tokenizer: models/tokenizer.json}\n";
        let source = Source { name: folder.path().join("r.yaml").display().to_string(), bytes: text.into() };
        let checked = check(&source, &[]).unwrap();
        let expected =
            [beside, std::env::current_dir().unwrap().join("models/tokenizer.json")].map(|path| path.display().to_string());
        assert_eq!(checked.placed.iter().map(|(_, path)| path).collect::<Vec<_>>(), expected.iter().collect::<Vec<_>>());
        assert_eq!(
            checked.trials[0].load.dataset.as_ref().map(|dataset| dataset.path.display().to_string()),
            Some(expected[0].clone())
        );
        // What was made whole stays so.
        let again = Source { name: "elsewhere/r.yaml".into(), bytes: hb_core::recipe::resolved_text(&checked.recipe).into() };
        assert_eq!(check(&again, &[]).unwrap().placed, []);
    }
}
