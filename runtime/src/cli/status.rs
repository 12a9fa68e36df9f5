//! `hbnode status`: what became of submitted jobs, one question for each place.

use std::collections::BTreeMap;

use super::{
    exit::Exit,
    submitted::{failed, find, list},
    words::StatusWords,
};
use crate::submit::{Job, JobNow, Target, ask};

/// How many jobs are shown when none is named.
const NEWEST: usize = 20;

/// Asks and shows.
pub fn run(words: &StatusWords) -> Exit {
    let jobs = match &words.job {
        Some(number) => find(number).map(|job| vec![job]),
        None => newest(),
    };
    match jobs {
        Ok(jobs) => show(&jobs, words.json),
        Err(exit) => exit,
    }
}

fn newest() -> Result<Vec<Job>, Exit> {
    let mut jobs = list()?.read().map_err(failed)?;
    jobs.truncate(NEWEST);
    Ok(jobs)
}

fn show(jobs: &[Job], is_json: bool) -> Exit {
    if jobs.is_empty() && !is_json {
        eprintln!("no job was submitted from here; `hbnode run RECIPE` submits one");
    }
    let mut by_place: BTreeMap<String, Vec<Job>> = BTreeMap::new();
    for job in jobs {
        // All that says how a place is reached makes it the same place.
        let place = serde_json::to_string(&(&job.place, &job.commands)).expect("a place is plain data");
        by_place.entry(place).or_default().push(job.clone());
    }
    let (mut found, mut exit): (Vec<JobNow>, Exit) = (Vec::new(), Exit::Ok);
    for jobs in by_place.values() {
        match Target::open(jobs[0].place.clone()).and_then(|target| ask(&target, jobs)) {
            Ok(answers) => found.extend(answers),
            Err(error) => exit = failed(error),
        }
    }
    found.sort_by(|one, other| other.job.submitted_at.cmp(&one.job.submitted_at));
    if is_json {
        println!("{}", serde_json::to_string(&found).expect("jobs are plain data"));
        return exit;
    }
    for now in &found {
        println!("{:<9} {:<20} {:<12} {}", now.job.job, now.job.scenario, now.job.place.to_string(), now.sentence());
    }
    exit
}
