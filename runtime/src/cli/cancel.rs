//! `hbnode cancel`: ends a job. What it had measured stays, and can be fetched.

use super::{
    exit::Exit,
    submitted::{failed, find, open},
    words::CancelWords,
};
use crate::submit::{ask, cancel};

/// Cancels, and says what the job is then.
pub fn run(words: &CancelWords, is_quiet: bool) -> Exit {
    let cancelled = find(&words.job).and_then(|job| {
        let target = open(&job)?;
        let before = ask(&target, std::slice::from_ref(&job)).map_err(failed)?;
        if let Some(now) = before.first().filter(|now| now.is_over()) {
            eprintln!("job {} is over already: {}", job.job, now.sentence());
            return Ok(());
        }
        cancel(&target, &job).map_err(failed)?;
        if !is_quiet {
            eprintln!("job {} is being cancelled; `hbnode fetch {0}` brings what it had finished", job.job);
        }
        Ok(())
    });
    cancelled.err().unwrap_or(Exit::Ok)
}
