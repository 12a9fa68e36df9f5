//! The end of a run: results closed, the person told, the exit code chosen.

use std::{
    path::Path,
    sync::{Arc, PoisonError},
};

use hb_actors::orchestrator::Outcome;
use hb_core::{
    phases::Phase,
    report::{Report, TrialReport},
    verdict::Status,
};
use serde_json::{Value, json};

use super::{recipe::Checked, recorder::SharedFolder};
use crate::{
    cli::{LeadWords, exit::Exit},
    results::Manifest,
    signals::Asked,
    terminal,
};

/// A run that is over, and everything its end needs.
pub struct Ended<'a> {
    /// The words it was started with.
    pub words: &'a LeadWords,
    /// Its folder.
    pub run_dir: &'a Path,
    /// The same, to be closed.
    pub folder: SharedFolder,
    /// What it came to.
    pub outcome: Outcome,
    /// The signal that ended it early, if one did.
    pub signal: Option<Asked>,
    /// What was run.
    pub checked: &'a Checked,
    /// What came up after the books were closed.
    pub further_warnings: Vec<String>,
}

/// Writes what is left to write, tells the person, and chooses the exit code.
pub fn end(ended: Ended<'_>) -> Exit {
    let Some(mut report) = ended.outcome.report else {
        if let Some((phase, cause)) = &ended.outcome.failure {
            eprintln!("error: {phase} could not be finished: {cause}");
        }
        let run_dir = ended.run_dir.display();
        eprintln!("error: the run ended without a report; what it had written is in {run_dir}: try `hbnode report {run_dir}`");
        return say(ended.words, Some(ended.run_dir), None, Exit::Failed);
    };
    report.warnings.extend(ended.further_warnings);
    let manifest = manifest(&report, ended.checked);
    let folder = ended.folder;
    let troubles = match Arc::try_unwrap(folder) {
        Ok(folder) => folder.into_inner().unwrap_or_else(PoisonError::into_inner).finish(&report, &manifest),
        Err(_) => vec!["the run folder is still in use; report.json was not written".to_owned()],
    };
    for trouble in &troubles {
        eprintln!("error: {trouble}");
    }
    if let Some(copy) = &ended.words.monitor_output
        && let Err(error) = std::fs::copy(ended.run_dir.join("metrics.csv"), copy)
    {
        eprintln!("error: metrics.csv could not be copied to {}: {error}", copy.display());
    }
    let exit = exit_of(&report, ended.outcome.failure.as_ref(), ended.signal, troubles.is_empty());
    if !ended.words.json {
        print!("{}", terminal::summary(&report));
    }
    if let Some((phase, cause)) = &ended.outcome.failure {
        eprintln!("error: {phase} could not be finished: {cause}");
    }
    eprintln!("results: {}", ended.run_dir.display());
    say(ended.words, Some(ended.run_dir), Some(report.verdict.status), exit)
}

/// The contract's last line. Its reader may stand in another folder than this process.
pub fn line(run_dir: Option<&Path>, verdict: Option<Status>, exit: Exit) -> String {
    let run_dir = run_dir.map(|run_dir| std::path::absolute(run_dir).unwrap_or_else(|_| run_dir.to_owned()));
    json!({"run_dir": run_dir, "verdict": verdict, "exit_code": exit.code()}).to_string()
}

/// The exit code of a run that a signal ended.
pub const fn code_of(signal: Asked) -> Exit {
    match signal {
        Asked::Interrupt => Exit::Interrupted,
        Asked::Terminate | Asked::TimeIsNearlyUp => Exit::Terminated,
    }
}

/// Prints the last line where it was asked for.
pub fn say(words: &LeadWords, run_dir: Option<&Path>, verdict: Option<Status>, exit: Exit) -> Exit {
    if words.json {
        println!("{}", line(run_dir, verdict, exit));
    }
    exit
}

/// A signal beats a failure, and a failure beats an INVALID result.
fn exit_of(report: &Report, failure: Option<&(Phase, String)>, signal: Option<Asked>, is_written: bool) -> Exit {
    match (signal, failure) {
        (Some(signal), _) if !report.run.complete => code_of(signal),
        (_, Some((Phase::Initialization, _))) => Exit::NoCluster,
        (_, Some(_)) => Exit::Failed,
        (_, None) if !is_written => Exit::Failed,
        (_, None) if !report.run.complete => Exit::Failed,
        (_, None) if report.verdict.status == Status::Invalid => Exit::Invalid,
        (_, None) => Exit::Ok,
    }
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
        command_line: std::env::args().collect(),
        commit: checked.recipe.metadata.as_ref().and_then(|metadata| metadata.git_commit.as_ref()).map(|commit| commit.0.clone()),
        seed: checked.recipe.metadata.as_ref().and_then(|metadata| metadata.seed).unwrap_or_default(),
        trial_seeds: checked.trials.iter().map(|trial| (trial.id.to_string(), trial.seed)).collect(),
        nodes: nodes.map(|(name, figures)| (name.clone(), json!(figures))).collect(),
        placement: placement.collect(),
        images: report.trials.iter().flat_map(images).collect(),
        environment: telling.collect(),
    }
}
