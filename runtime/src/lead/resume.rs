//! Going on with a run that another process began: what must fit, what is left, what the whole comes to.

use std::{collections::BTreeMap, path::Path};

use hb_core::{
    recipe::Recipe,
    report::{self, Report, RunPart, TrialReport},
    search::ProbeReport,
    trial::{LoadSpec, Trial},
};
use serde_json::Value;

use super::{
    ending,
    recipe::{Checked, Source, check},
    refused::Refused,
    surroundings::SlurmStep,
};
use crate::{
    cli::{LeadWords, exit::Exit},
    results::{self, KeptRun, Past, ResumeError},
};

/// Fields that say where a run happens and not what is measured: the next part may have others.
const MAY_DIFFER: [&str; 6] =
    ["account", "partition", "qos", "orchestration.job_config", "orchestration.nodes", "orchestration.interface"];
/// Differences that are shown; more would only hide the first.
const SHOWN: usize = 8;

/// What the parts before left.
#[derive(Debug, Default)]
pub struct Earlier {
    /// The trials that they finished.
    pub trials: Vec<TrialReport>,
    /// The parts, the newest last.
    pub parts: Vec<RunPart>,
    phase_seconds: BTreeMap<String, f64>,
    warnings: Vec<String>,
}

impl Earlier {
    /// Reads it. The run's lock is held by this process.
    ///
    /// # Errors
    /// Something of it cannot be read.
    pub fn read(kept: &KeptRun) -> Result<Self, ResumeError> {
        let unreadable = |cause| ResumeError::Unreadable { path: kept.path.clone(), cause };
        let past = Past::read(&kept.path).map_err(unreadable)?;
        Ok(Self {
            trials: kept.finished.clone(),
            parts: results::closed_parts(&kept.path, &past).map_err(unreadable)?,
            phase_seconds: past.phase_seconds(),
            warnings: past.warnings_by_part(),
        })
    }

    /// The trials that are left, in order.
    #[must_use]
    pub fn left(&self, trials: &[Trial]) -> Vec<Trial> {
        let finished = report::finished(&self.trials);
        let mut left: Vec<Trial> = trials.iter().filter(|trial| !finished.contains(&trial.id)).cloned().collect();
        // The floor of the repetitions before is known to the parts before alone, so it is measured anew.
        for at in 0..left.len() {
            let (before, rest) = left.split_at_mut(at);
            let is_first = !before.iter().any(|other| is_same_load(other, &rest[0]));
            if is_first && rest[0].load.calibration.is_none() {
                let first = trials.iter().find(|other| is_same_load(other, &rest[0]));
                rest[0].load.calibration = first.and_then(|first| first.load.calibration);
            }
        }
        left
    }

    /// What the finished probes of searches came to, in the order in which they were made.
    #[must_use]
    pub fn probes(&self) -> Vec<ProbeReport> {
        let mut probes: Vec<ProbeReport> = self.trials.iter().filter_map(|trial| trial.probe.clone()).collect();
        probes.sort_by_key(|probe| probe.result.number);
        probes
    }

    /// The report of the whole from that of the last part.
    #[must_use]
    pub fn joined(&self, last: Report, trials: &[Trial]) -> Report {
        if self.parts.is_empty() && self.trials.is_empty() {
            return last;
        }
        let place = |report: &TrialReport| {
            let number = report.probe.as_ref().map(|probe| probe.result.number);
            (trials.iter().position(|trial| trial.id == *report.planned_id()), number)
        };
        let mut joined: Vec<TrialReport> = self.trials.iter().cloned().chain(last.trials).collect();
        joined.sort_by_key(place);
        let mut summary = last.run;
        results::add_seconds(&mut summary.phase_seconds, self.phase_seconds.clone());
        report::run(summary, joined, self.warnings.iter().cloned().chain(last.warnings).collect())
    }
}

/// Whether two trials are repetitions of one load.
fn is_same_load(one: &Trial, other: &Trial) -> bool {
    let load = |trial: &Trial| LoadSpec { calibration: None, ..trial.load.clone() };
    (&one.parameters, &one.request, load(one)) == (&other.parameters, &other.request, load(other))
}

/// The run that these words resume, and its recipe.
///
/// # Errors
/// Why there is none.
pub fn named(named: &Path, words: &LeadWords) -> Result<(KeptRun, Source), Refused> {
    let kept = KeptRun::read(named).map_err(|error| Refused::words(format!("cannot resume: {error}")))?;
    let source = match words.leader.as_deref().or(words.workload_config_file.as_deref()) {
        Some(path) => Source::read(path).map_err(Refused::words)?,
        None => {
            Source { name: kept.path.join("recipe.resolved.yaml").display().to_string(), bytes: kept.resolved.clone().into() }
        }
    };
    Ok((kept, source))
}

/// The run that a requeued job led before, in the same step: it goes on by itself.
#[must_use]
pub fn of_requeued_job(results_root: &Path, scenario: &str, step: &SlurmStep) -> Option<KeptRun> {
    if step.restart == 0 {
        return None;
    }
    let shelf = results_root.join(results::folder_name(scenario));
    let runs = std::fs::read_dir(shelf).ok()?.flatten().filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
    let is_own = |path: &Path| {
        let parts = results::read_parts(path).unwrap_or_default();
        parts.last().is_some_and(|part| part.job.as_ref() == Some(&step.job) && part.step.as_ref() == Some(&step.step))
    };
    let newest = runs.map(|entry| entry.path()).filter(|path| is_own(path)).max()?;
    KeptRun::read(&newest).ok()
}

/// Whether the run can go on with this recipe, and whether anything is left of it.
///
/// # Errors
/// It cannot, or nothing is left.
pub fn decide(kept: KeptRun, checked: &Checked) -> Result<KeptRun, Refused> {
    let differing = match differences(&kept, &checked.recipe) {
        Ok(differing) => differing,
        Err(sentence) => vec![sentence],
    };
    if !differing.is_empty() {
        let mut said = format!("error: cannot resume `{}`: the recipe is another one", kept.path.display());
        let more = differing.len().checked_sub(SHOWN).filter(|more| *more > 0).map(|more| format!("and {more} more"));
        for sentence in differing.into_iter().take(SHOWN).chain(more) {
            said += &format!("\n  {sentence}");
        }
        said += "\nresume it without naming a recipe, or begin a new run without --resume";
        return Err(Refused { said, exit: Exit::BadWords, run: Some((kept.path, None)) });
    }
    if let Some(report) = kept.report.as_ref().filter(|report| report.run.complete) {
        let trials = report::finished(&report.trials).len();
        let said = format!(
            "nothing to do: every trial of `{}` is finished ({trials} of {})",
            kept.path.display(),
            report.run.trials_planned
        );
        return Err(Refused { said, exit: ending::judged(report), run: Some((kept.path, Some(report.verdict.status))) });
    }
    Ok(kept)
}

/// What the run measures, the seed that was drawn for it included.
///
/// # Errors
/// Why its recipe cannot be read.
pub fn recipe_of(kept: &KeptRun) -> Result<Recipe, String> {
    let source = Source { name: String::new(), bytes: kept.resolved.clone().into() };
    let checked = check(&source, &[]).map_err(|problems| {
        let first = problems.first().map(|problem| format!("{}: {}", problem.path, problem.found)).unwrap_or_default();
        format!("its recipe.resolved.yaml cannot be read by this version: {first}")
    })?;
    Ok(checked.recipe)
}

/// Where the recipe of the run and this one differ in what is measured, each in a sentence.
fn differences(kept: &KeptRun, recipe: &Recipe) -> Result<Vec<String>, String> {
    let before = recipe_of(kept)?;
    let value = |recipe: &Recipe| serde_json::to_value(recipe).map_err(|error| error.to_string());
    let mut sentences = Vec::new();
    compare("", &value(&before)?, &value(recipe)?, &mut sentences);
    Ok(sentences)
}

fn compare(path: &str, before: &Value, now: &Value, sentences: &mut Vec<String>) {
    if before == now || MAY_DIFFER.contains(&path) {
        return;
    }
    // A block that one of them leaves out lacks each of its fields.
    let none = serde_json::Map::new();
    let (one, other) = match (before, now) {
        (Value::Object(one), Value::Object(other)) => (one, other),
        (Value::Object(one), Value::Null) => (one, &none),
        (Value::Null, Value::Object(other)) => (&none, other),
        _ => return sentences.push(format!("{path}: {} there, {} here", shown(before), shown(now))),
    };
    let keys: std::collections::BTreeSet<&String> = one.keys().chain(other.keys()).collect();
    for key in keys {
        let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
        compare(&path, one.get(key).unwrap_or(&Value::Null), other.get(key).unwrap_or(&Value::Null), sentences);
    }
}

fn shown(value: &Value) -> String {
    match value {
        Value::Null => "not set".to_owned(),
        Value::String(text) => format!("`{text}`"),
        other => format!("`{other}`"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checked(text: &str, sets: &[(&str, &str)]) -> Checked {
        let sets: Vec<_> = sets.iter().map(|(path, value)| ((*path).to_owned(), (*value).to_owned())).collect();
        let source = Source { name: "r".into(), bytes: text.as_bytes().to_vec() };
        check(&source, &sets).unwrap_or_else(|problems| panic!("{problems:#?}"))
    }

    fn kept(recipe: &Recipe) -> KeptRun {
        KeptRun {
            path: "/results/s/r".into(),
            recipe: Vec::new(),
            resolved: hb_core::recipe::resolved_text(recipe),
            finished: Vec::new(),
            report: None,
        }
    }

    #[test]
    fn every_recipe_that_was_written_down_is_the_same_when_it_is_read_again() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../recipes");
        let mut seen = 0;
        for entry in std::fs::read_dir(folder).unwrap().flatten().filter(|entry| entry.path().is_file()) {
            let text = std::fs::read_to_string(entry.path()).unwrap();
            let Ok(recipe) = check(&Source { name: "r".into(), bytes: text.into_bytes() }, &[]) else { continue };
            seen += 1;
            let kept = kept(&recipe.recipe);
            assert_eq!(differences(&kept, &recipe.recipe), Ok(Vec::new()), "{}", entry.path().display());
            let again = check(&Source { name: "r".into(), bytes: kept.resolved.into() }, &[]).unwrap();
            assert_eq!(again.trials, recipe.trials, "{}", entry.path().display());
        }
        assert!(seen > 3, "only {seen} recipes were looked at");
    }

    #[test]
    fn what_differs_is_named_and_where_a_run_happens_may_differ() {
        let text = include_str!("../../../recipes/dummy_cluster.yaml");
        let before = kept(&checked(text, &[]).recipe);
        let differing = |sets: &[(&str, &str)]| differences(&before, &checked(text, sets).recipe).unwrap();
        assert_eq!(
            differing(&[("partition", "other"), ("orchestration.job_config.time_limit", "00:20:00")]),
            Vec::<String>::new()
        );
        let found = differing(&[("workload.duration", "17s"), ("metadata.seed", "5")]);
        assert_eq!(found.len(), 2, "{found:?}");
        assert!(found[0].starts_with("metadata.seed: ") && found[0].ends_with(", `5` here"), "{found:?}");
        assert!(found[1].starts_with("workload.duration: ") && found[1].ends_with(", `17s` here"), "{found:?}");
    }
}
