//! `hbnode run --resume`: which run is meant, and whether it can go on.

use std::path::Path;

use super::{
    exit::Exit,
    submitted::{failed, find as find_job, newest_part, open},
};
use crate::{
    lead::recipe::Source,
    results,
    submit::{Continued, Job, Where, ask, resumable},
};

/// A run whose continuation can be submitted.
pub struct Found {
    /// Its name for messages.
    pub name: String,
    /// Its recipe.
    pub source: Source,
    /// Where it was submitted.
    pub place: Where,
    /// What goes on.
    pub continued: Continued,
}

/// The run that is meant; nothing where every trial of it is finished, which is said then.
///
/// # Errors
/// The exit code, after everything was said.
pub fn find(named: &str) -> Result<Option<Found>, Exit> {
    let named = job_of(named)?;
    let began = named.job;
    let job = newest_part(named)?;
    if job.job != began {
        eprintln!("job {began} was gone on with already: the newest part of its run is job {}", job.job);
    }
    let target = open(&job)?;
    let mut answers = ask(&target, std::slice::from_ref(&job)).map_err(failed)?;
    let now = answers.pop().expect("one job was asked for");
    if now.state.is_some() && !now.is_over() {
        eprintln!("error: job {} is not over: {}; it goes on by itself, or `hbnode cancel {0}` ends it", job.job, now.sentence());
        return Err(Exit::Failed);
    }
    let Some(run) = resumable(&target, &job).map_err(failed)? else {
        eprintln!("error: job {} left no run that could go on; submit its recipe anew", job.job);
        return Err(Exit::Failed);
    };
    let name = format!("{}/{}", job.dir, run.continued.run);
    if run.is_complete {
        eprintln!("nothing to do: every trial of {name} is finished; `hbnode fetch {}` brings its results", job.job);
        return Ok(None);
    }
    let source = Source { name: format!("{name}/recipe.resolved.yaml"), bytes: run.recipe };
    Ok(Some(Found { name, source, place: job.place, continued: run.continued }))
}

/// A job by its number, or by the folder of its run.
fn job_of(named: &str) -> Result<Job, Exit> {
    let folder = Path::new(named);
    if !folder.is_dir() {
        return find_job(named);
    }
    let wrong = |sentence: String| {
        eprintln!("error: {sentence}");
        Exit::BadWords
    };
    let parts = results::read_parts(folder).map_err(|error| wrong(format!("cannot read `{named}/parts.json`: {error}")))?;
    match parts.iter().rev().find_map(|part| part.job.as_deref()) {
        Some(job) => find_job(job),
        None => Err(wrong(format!("`{named}` is no run that a job led; `hbnode --resume {named}` goes on with it here"))),
    }
}
