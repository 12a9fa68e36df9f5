//! The end of a run: results closed, the person told, the exit code chosen.

use std::{
    path::{Path, PathBuf},
    sync::{Arc, PoisonError},
};

use hb_actors::orchestrator::Outcome;
use hb_core::{
    launch::shell,
    phases::{Phase, WALL_TIME},
    report::{self, Report, TrialReport},
    verdict::Status,
};
use serde_json::{Value, json};

use super::{masking::words_without_secrets, own_step, recipe::Checked, recorder::SharedFolder, resume::Earlier};
use crate::{
    cli::{LeadWords, exit::Exit},
    results::{self, Manifest, RunFolder},
    signals::Asked,
    terminal,
};

/// What the report of this part of a run is completed with, so that it is that of the whole.
pub struct Whole {
    /// The run's folder.
    pub run_dir: PathBuf,
    /// What is run.
    pub checked: Arc<Checked>,
    /// What earlier parts of the run left.
    pub earlier: Earlier,
}

impl Whole {
    /// The report of all parts, and the manifest.
    fn of(&self, mut report: Report, folder: &mut RunFolder) -> (Report, Manifest) {
        let because = report.run.incomplete_reason.clone().unwrap_or_else(|| "every trial was finished".to_owned());
        report.run.parts = folder.end_part(&report.run.ended_at, &because);
        let mut report = self.earlier.joined(report, &self.checked.trials);
        report.warnings.extend(left(&report, &self.checked, &self.run_dir));
        let manifest = manifest(&report, &self.checked);
        (report, manifest)
    }

    /// Writes the report of a run that was told to end, as it stands.
    pub fn save(&self, report: Report, folder: &mut RunFolder) {
        let (report, manifest) = self.of(report, folder);
        folder.save(&report, &manifest);
    }
}

/// A run that is over, and everything its end needs.
pub struct Ended<'a> {
    /// The words it was started with.
    pub words: &'a LeadWords,
    /// Its folder, to be closed.
    pub folder: SharedFolder,
    /// What it came to.
    pub outcome: Outcome,
    /// The signal that ended it early, if one did.
    pub signal: Option<Asked>,
    /// What its report is completed with.
    pub whole: &'a Whole,
    /// What came up after the books were closed.
    pub further_warnings: Vec<String>,
}

/// Writes what is left to write, tells the person, and chooses the exit code.
pub fn end(ended: Ended<'_>) -> Exit {
    let run_dir = ended.whole.run_dir.as_path();
    let Some(report) = ended.outcome.report else {
        if let Some((phase, cause)) = &ended.outcome.failure {
            eprintln!("error: {phase} could not be finished: {cause}");
        }
        let shown = run_dir.display();
        eprintln!("error: the run ended without a report; what it had written is in {shown}: try `hbnode report {shown}`");
        return say(ended.words, Some(run_dir), None, Exit::Failed);
    };
    let mut report = *report;
    report.warnings.extend(ended.further_warnings);
    let folder = ended.folder;
    let (report, manifest) = ended.whole.of(report, &mut folder.lock().unwrap_or_else(PoisonError::into_inner));
    let troubles = match Arc::try_unwrap(folder) {
        Ok(folder) => folder.into_inner().unwrap_or_else(PoisonError::into_inner).finish(&report, &manifest),
        Err(_) => vec!["the run folder is still in use; report.json was not written".to_owned()],
    };
    for trouble in &troubles {
        eprintln!("error: {trouble}");
    }
    if let Some(copy) = &ended.words.metrics_copy()
        && let Err(error) = std::fs::copy(run_dir.join("metrics.csv"), copy)
    {
        eprintln!("error: metrics.csv could not be copied to {}: {error}", copy.display());
    }
    let exit = exit_of(&report, &ended.outcome.failure, ended.outcome.interrupted.as_deref(), ended.signal, troubles.is_empty());
    if !ended.words.json {
        print!("{}", terminal::summary(&report));
    }
    // Elsewhere it was said when it happened, and again beside the verdict.
    if let (Some((phase, cause)), true) = (&ended.outcome.failure, ended.words.json) {
        eprintln!("error: {phase} could not be finished: {cause}");
    }
    if !ended.words.is_quiet {
        eprintln!("results: {}", run_dir.display());
    }
    say(ended.words, Some(run_dir), Some(report.verdict.status), exit)
}

/// What of the run is left, and the command that goes on with it.
fn left(report: &Report, checked: &Checked, run_dir: &Path) -> Option<String> {
    let finished = report::finished(&report.trials);
    let planned = checked.trials.iter().map(|trial| &trial.id);
    let left: Vec<&str> = planned.filter(|id| !finished.contains(id)).map(|id| id.as_str()).collect();
    if left.is_empty() {
        return None;
    }
    let run_dir = std::path::absolute(run_dir).unwrap_or_else(|_| run_dir.to_owned());
    let job = report.run.parts.last().and_then(|part| part.job.as_ref());
    let job = job.map_or_else(String::new, |job| {
        format!(", and `hbnode run --resume {job}` submits that where `hbnode run` had submitted it")
    });
    Some(format!("left: {}; `hbnode --resume {}` goes on with them{job}", left.join(", "), shell(&run_dir.display().to_string())))
}

/// What stays of a run whose cluster could not even be tried: nothing of one that had not begun, and of one that goes
/// on its folder, with the report of what it has.
pub fn without_cluster(run_dir: PathBuf, is_resumed: bool, why: &str) -> Option<PathBuf> {
    if !is_resumed {
        results::abandon(&run_dir);
        return None;
    }
    if let Err(sentence) = results::rebuild(&run_dir, Some(why)) {
        eprintln!("error: its report could not be written again: {sentence}");
    }
    Some(run_dir)
}

/// The contract's last line. Its reader may stand in another folder than this process.
pub fn line(run_dir: Option<&Path>, verdict: Option<Status>, exit: Exit) -> String {
    let run_dir = run_dir.map(|run_dir| std::path::absolute(run_dir).unwrap_or_else(|_| run_dir.to_owned()));
    json!({"run_dir": run_dir, "verdict": verdict, "exit_code": exit.code()}).to_string()
}

/// Prints the last line where it was asked for.
pub fn say(words: &LeadWords, run_dir: Option<&Path>, verdict: Option<Status>, exit: Exit) -> Exit {
    let line = line(run_dir, verdict, exit);
    own_step::write_end(&line);
    if words.json {
        println!("{line}");
    }
    exit
}

/// A signal beats a failure, and a failure beats an INVALID result. A run that its wall time ended is one that a signal
/// would have ended a little later.
fn exit_of(
    report: &Report,
    failure: &Option<(Phase, String)>,
    interrupted: Option<&str>,
    signal: Option<Asked>,
    is_written: bool,
) -> Exit {
    let is_out_of_time = interrupted.is_some_and(|by| by.starts_with(WALL_TIME));
    match (signal, failure) {
        (Some(signal), _) if !report.run.complete => signal.into(),
        (_, Some((Phase::Initialization, _))) => Exit::NoCluster,
        (_, Some(_)) => Exit::Failed,
        (_, None) if !is_written => Exit::Failed,
        (_, None) if !report.run.complete && is_out_of_time => Exit::Terminated,
        (_, None) if !report.run.complete => Exit::Failed,
        (_, None) => judged(report),
    }
}

/// The exit code of a run that is whole.
pub fn judged(report: &Report) -> Exit {
    if report.verdict.status == Status::Invalid { Exit::Invalid } else { Exit::Ok }
}

/// Variables that bear on a result and hold no secret.
const TELLING: &[&str] = &[
    "SLURM_JOB_ID",
    "SLURM_STEP_ID",
    "SLURM_JOB_NODELIST",
    "SLURM_JOB_PARTITION",
    "SLURM_CPUS_PER_TASK",
    "SLURM_RESTART_COUNT",
    "CUDA_VISIBLE_DEVICES",
    "OMP_NUM_THREADS",
];

/// The images that a trial's servers ran in, and their digests.
fn images(trial: &TrialReport) -> impl Iterator<Item = (String, String)> {
    let text = |value: &Value, key: &str| value[key].as_str().map(str::to_owned);
    trial.server.values().filter_map(move |server| Some((text(server, "image")?, text(server, "image_digest")?)))
}

fn manifest(report: &Report, checked: &Checked) -> Manifest {
    let telling = TELLING.iter().filter_map(|name| Some(((*name).to_owned(), std::env::var(name).ok()?)));
    let nodes = report.trials.iter().flat_map(|trial| trial.resources.nodes.iter());
    let placement = report.trials.iter().map(|trial| (trial.id.to_string(), json!(trial.server)));
    Manifest {
        run: report.run.id.clone(),
        hbnode_version: env!("CARGO_PKG_VERSION").to_owned(),
        build: report.run.hbnode_version.clone(),
        command_line: words_without_secrets(std::env::args()),
        commit: checked.recipe.metadata.as_ref().and_then(|metadata| metadata.git_commit.as_ref()).map(|commit| commit.0.clone()),
        seed: checked.recipe.seed().unwrap_or_default(),
        trial_seeds: checked.trials.iter().map(|trial| (trial.id.to_string(), trial.seed)).collect(),
        nodes: nodes.map(|(name, figures)| (name.clone(), json!(figures))).collect(),
        placement: placement.collect(),
        images: report.trials.iter().flat_map(images).collect(),
        environment: telling.collect(),
    }
}
