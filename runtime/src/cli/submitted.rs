//! What the verbs about submitted jobs have in common: finding the job, opening its place, watching it.

use std::sync::Arc;

use hb_core::launch::JobId;

use super::exit::Exit;
use crate::{
    signals::Signals,
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

/// The last of the jobs that went on with a job's run, one after the other; the job itself where none did.
///
/// # Errors
/// The exit code, after everything was said.
pub fn newest_part(job: Job) -> Result<Job, Exit> {
    let jobs = list()?.read().map_err(failed)?;
    Ok(last_of(&jobs, job))
}

/// Of several that went on with the same job, the one that was submitted last. `jobs` begins with the newest.
fn last_of(jobs: &[Job], job: Job) -> Job {
    let mut last = job;
    let mut rest = jobs;
    // A continuation is newer than what it goes on with, so each step leaves the list shorter.
    while let Some(at) =
        rest.iter().position(|other| other.continues == Some(last.job) && other.dir == last.dir && other.place == last.place)
    {
        last = rest[at].clone();
        rest = &rest[..at];
    }
    last
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
        let is_output = watched != Watched::Events;
        let watching = tokio::task::spawn_blocking(move || {
            follow(&there, &own, watched, &mut |line| if is_output { println!("{line}") } else { eprintln!("{line}") })
        });
        tokio::select! {
            watched = watching => match watched {
                Ok(watched) => watched.map_err(failed),
                Err(error) => Err(said(&error, Exit::Failed)),
            },
            signal = signals.next() => {
                eprintln!("{}: the job goes on; `hbnode fetch --follow {}` watches it again, `hbnode cancel {1}` ends it", signal.name(), job.job);
                Err(signal.into())
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::submit::Where;

    #[test]
    fn of_a_run_that_went_on_the_newest_part_is_meant() {
        let job = |job, continues| Job {
            job,
            scenario: "s".into(),
            dir: "/d".into(),
            commands: "/usr/bin".into(),
            place: Where::default(),
            submitted_at: String::new(),
            continues,
        };
        let elsewhere = Job { dir: "/other".into(), ..job(9, Some(1)) };
        let jobs = [elsewhere, job(5, Some(4)), job(4, Some(1)), job(3, None), job(2, Some(1)), job(1, None)];
        assert_eq!(last_of(&jobs, job(1, None)).job, 5);
        assert_eq!(last_of(&jobs, job(2, Some(1))).job, 2);
        assert_eq!(last_of(&jobs, job(3, None)).job, 3);
    }
}
