//! The beginning of a run: its folder, new or taken up, and what is to be measured.

use std::path::{Path, PathBuf};

use hb_actors::wall_clock::{rfc3339, unix_nanos};
use hb_core::{
    report::{RunPart, RunSummary},
    search::ProbeReport,
    trial::Trial,
};

use super::{
    recipe::{Checked, Source},
    refused::Refused,
    resume::Earlier,
    surroundings::Surroundings,
};
use crate::{
    cli::{BUILD, LeadWords, exit::Exit},
    results::{Holder, KeptRun, LockError, NewRun, ResultsError, RunFolder},
};

/// A run that begins or goes on.
pub struct Begun {
    /// Its folder.
    pub folder: RunFolder,
    /// What is known of it before it is led.
    pub summary: RunSummary,
    /// The trials that are to be measured.
    pub trials: Vec<Trial>,
    /// What the probes of their searches came to that earlier parts finished.
    pub probes: Vec<ProbeReport>,
    /// What earlier parts left.
    pub earlier: Earlier,
}

impl From<ResultsError> for Refused {
    fn from(error: ResultsError) -> Self {
        // A folder that cannot be there at all is a matter of the words, a full disk is not.
        let exit = if error.is_of_the_name() { Exit::BadWords } else { Exit::Failed };
        let advice = if exit == Exit::BadWords { "; name another folder with --results" } else { "" };
        Self::new(exit, format!("{error}{advice}"))
    }
}

/// Makes the folder of a new run, or takes up that of one that is kept.
///
/// # Errors
/// The folder cannot be written, or somebody else leads there.
pub fn begin(
    source: &Source,
    checked: &Checked,
    surroundings: &Surroundings,
    results: &Path,
    run: &str,
    kept: Option<KeptRun>,
) -> Result<Begun, Refused> {
    let now = rfc3339(unix_nanos());
    let step = surroundings.step.as_ref();
    let own = RunPart {
        started_at: now.clone(),
        job: step.map(|step| step.job.clone()),
        step: step.map(|step| step.step.clone()),
        restart: step.map_or(0, |step| step.restart),
        hbnode_version: BUILD.to_owned(),
        ..RunPart::default()
    };
    let holder = Holder::this(&surroundings.host, own.job.as_deref());
    let mut summary = RunSummary {
        scenario: checked.recipe.scenario.clone(),
        hbnode_version: BUILD.to_owned(),
        trials_planned: checked.trials.len() as u32,
        started_at: now,
        id: run.to_owned(),
        ..RunSummary::default()
    };
    let Some(kept) = kept else {
        let new = NewRun {
            results_root: results,
            scenario: &checked.recipe.scenario,
            id: run,
            recipe_text: &source.text(),
            resolved_yaml: &hb_core::recipe::resolved_text(&checked.recipe),
        };
        let folder = RunFolder::create(&new, own, holder)?;
        return Ok(Begun { folder, summary, trials: checked.trials.clone(), probes: Vec::new(), earlier: Earlier::default() });
    };
    let failed = |sentence: String| Refused::new(Exit::Failed, format!("cannot resume: {sentence}"));
    let lock = kept.lock(holder).map_err(|error| failed(held(&error)))?;
    // Read again under the lock: somebody may have finished a trial since.
    let kept = KeptRun::read(&kept.path).map_err(|error| failed(error.to_string()))?;
    let earlier = Earlier::read(&kept).map_err(|error| failed(error.to_string()))?;
    let trials = earlier.left(&checked.trials);
    tell(&kept, &earlier, &trials);
    summary.started_at = earlier.parts.first().map_or(summary.started_at, |part| part.started_at.clone());
    summary.parts.clone_from(&earlier.parts);
    let folder = RunFolder::resume(&kept, earlier.parts.clone(), own, lock)?;
    let probes = earlier.probes();
    Ok(Begun { folder, summary, trials, probes, earlier })
}

fn held(error: &LockError) -> String {
    match error {
        LockError::Held { .. } => format!("{error}; wait for its end, or end it first"),
        LockError::Refused { .. } => error.to_string(),
    }
}

fn tell(kept: &KeptRun, earlier: &Earlier, left: &[Trial]) {
    let finished: Vec<&str> = earlier.trials.iter().map(|trial| trial.id.as_str()).collect();
    let finished = if finished.is_empty() { "no trial is finished".into() } else { format!("finished: {}", finished.join(", ")) };
    let left: Vec<&str> = left.iter().map(|trial| trial.id.as_str()).collect();
    eprintln!("going on with {}, part {}; {finished}; left: {}", kept.path.display(), earlier.parts.len() + 1, left.join(", "));
}

/// The name of a new run: sortable by time, and unique beside runs that begin in the same second.
pub fn run_id() -> String {
    let now = jiff::Timestamp::now().strftime("%Y%m%d-%H%M%S");
    let tail = uuid::Uuid::now_v7().simple().to_string();
    format!("{now}-{}", &tail[tail.len() - 4..])
}

/// The folder of all results: as named, else the one that holds the run that goes on, else the usual one.
#[must_use]
pub fn results_of(named: Option<&Path>, kept: Option<&KeptRun>) -> PathBuf {
    let of_kept = || kept.and_then(|kept| kept.path.parent()?.parent()).map(Path::to_owned);
    named.map(Path::to_owned).or_else(of_kept).unwrap_or_else(|| super::surroundings::results_root(None))
}

/// The same, where nothing of a run was read yet; what `--resume` names may be no run at all.
#[must_use]
pub fn results_by_words(words: &LeadWords) -> PathBuf {
    let of_kept = || words.resume.as_ref()?.canonicalize().ok()?.parent()?.parent().map(Path::to_owned);
    words.results.clone().or_else(of_kept).unwrap_or_else(|| super::surroundings::results_root(None))
}
