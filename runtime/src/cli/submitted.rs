//! What the verbs about submitted jobs have in common: finding the job, opening its place, watching it.

use std::sync::Arc;

use hb_core::launch::JobId;

use super::exit::Exit;
use crate::{
    signals::{Asked, Signals},
    submit::{Job, JobList, JobNow, Target, TargetError, Watched, follow},
};

/// The job of a number, from the list.
///
/// # Errors
/// The exit code, after everything was said.
pub fn find(number: &str) -> Result<Job, Exit> {
    let id: JobId = number.parse().map_err(|error| said(&error, Exit::BadWords))?;
    let jobs = list()?.read().map_err(failed)?;
    let known: Vec<String> = jobs.iter().take(5).map(|job| job.job.to_string()).collect();
    jobs.into_iter().find(|job| job.job == id.job).ok_or_else(|| {
        let newest = if known.is_empty() { "none was".to_owned() } else { format!("the newest are {}", known.join(", ")) };
        eprintln!("error: job {id} was not submitted from here by `hbnode run`; {newest}");
        Exit::BadWords
    })
}

/// The person's list of jobs.
///
/// # Errors
/// The exit code, after everything was said.
pub fn list() -> Result<JobList, Exit> {
    JobList::of_person().map_err(failed)
}

/// Opens the place where a job was submitted.
///
/// # Errors
/// The exit code, after everything was said.
pub fn open(job: &Job) -> Result<Target, Exit> {
    Target::open(job.place.clone()).map_err(failed)
}

/// Says what went wrong.
pub fn failed(error: TargetError) -> Exit {
    said(&error, Exit::Failed)
}

fn said(error: &dyn std::error::Error, exit: Exit) -> Exit {
    eprintln!("error: {error}");
    exit
}

/// Watches a job until it is over. Ctrl-C ends the watching, never the job.
///
/// # Errors
/// The exit code, after everything was said.
pub fn watch(target: &Arc<Target>, job: &Job, watched: Watched) -> Result<JobNow, Exit> {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|error| said(&error, Exit::Failed))?;
    let outcome = runtime.block_on(async {
        let mut signals = Signals::listen().map_err(|error| said(&error, Exit::Failed))?;
        let (there, own) = (Arc::clone(target), job.clone());
        let watching = tokio::task::spawn_blocking(move || {
            follow(&there, &own, watched, &mut |line| match watched {
                Watched::Events => eprintln!("{line}"),
                Watched::Output => println!("{line}"),
            })
        });
        tokio::select! {
            watched = watching => match watched {
                Ok(watched) => watched.map_err(failed),
                Err(error) => Err(said(&error, Exit::Failed)),
            },
            signal = signals.next() => {
                eprintln!("{}: the job goes on; `hbnode fetch --follow {}` watches it again, `hbnode cancel {1}` ends it", signal.name(), job.job);
                Err(match signal {
                    Asked::Interrupt => Exit::Interrupted,
                    Asked::Terminate | Asked::TimeIsNearlyUp => Exit::Terminated,
                })
            }
        }
    });
    // The thread that watches may be in the middle of a question; nobody waits for its answer any more.
    runtime.shutdown_background();
    if outcome.is_err() {
        target.close();
    }
    outcome
}
