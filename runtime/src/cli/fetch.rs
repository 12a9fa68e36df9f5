//! `hbnode fetch`: brings a job's results, and says what the run came to.

use std::{path::Path, sync::Arc};

use hb_core::verdict::Status;
use serde_json::json;

use super::{
    exit::Exit,
    submitted::{failed, find, open, watch},
    words::FetchWords,
};
use crate::{
    lead::surroundings::results_root,
    submit::{Job, JobNow, Target, Watched, ask, fetch},
};

/// What is said beside what went wrong.
#[derive(Debug, Clone, Copy)]
pub struct Telling {
    /// A line of JSON in place of the summary.
    pub is_json: bool,
    /// Nothing on standard error.
    pub is_quiet: bool,
}

/// Fetches.
pub fn run(words: &FetchWords, is_quiet: bool) -> Exit {
    let telling = Telling { is_json: words.json, is_quiet };
    let fetched = find(&words.job).and_then(|job| {
        let target = Arc::new(open(&job)?);
        if words.follow {
            return watched(&target, &job, words.results.as_deref(), telling);
        }
        let mut answers = ask(&target, std::slice::from_ref(&job)).map_err(failed)?;
        let now = answers.pop().expect("one job was asked for");
        // A scheduler that does not answer is no reason to keep results back.
        if now.state.is_some() && !now.is_over() {
            eprintln!("error: job {} is not over: {}; `hbnode fetch --follow {0}` waits for it", job.job, now.sentence());
            return Err(Exit::Failed);
        }
        bring(&target, &now, words.results.as_deref(), telling)
    });
    fetched.unwrap_or_else(|exit| exit)
}

/// Watches until the job is over, then fetches.
///
/// # Errors
/// The exit code, after everything was said.
pub fn watched(target: &Arc<Target>, job: &Job, results: Option<&Path>, telling: Telling) -> Result<Exit, Exit> {
    let now = watch(target, job, Watched::Events)?;
    bring(target, &now, results, telling)
}

/// The exit code is that of the run's own report: the scheduler's is some task's.
fn bring(target: &Target, now: &JobNow, results: Option<&Path>, telling: Telling) -> Result<Exit, Exit> {
    let results = results_root(results);
    let fetched = fetch(target, &now.job, &results).map_err(failed)?;
    if !telling.is_quiet {
        eprintln!("job {}: {}", now.job.job, now.sentence());
    }
    let exit = match now.outcome.as_ref().map(|outcome| (outcome.verdict, outcome.complete)) {
        Some((Status::Invalid, true)) => Exit::Invalid,
        Some((Status::Valid | Status::Suspect, _)) => Exit::Ok,
        // A run that did not go through, as its leader's own code says.
        Some((Status::Invalid, false)) | None => Exit::Failed,
    };
    match fetched.runs.last() {
        Some(_) if telling.is_quiet => {}
        Some(run) => eprintln!("results: {}", run.display()),
        None => eprintln!("it left no results; its output is in {}", fetched.job_files.display()),
    }
    if telling.is_json {
        let verdict = now.outcome.as_ref().map(|outcome| outcome.verdict);
        println!("{}", json!({"run_dir": fetched.runs.last(), "verdict": verdict, "exit_code": exit.code()}));
    } else if let Some(summary) = fetched.runs.last().and_then(|run| std::fs::read_to_string(run.join("summary.md")).ok()) {
        print!("{summary}");
    }
    Ok(exit)
}
