//! The run that a job led, as far as it must be known to submit its continuation.

use hb_core::launch::shell;
use serde_json::Value;

use super::{
    jobs::Job,
    send::Continued,
    target::{Target, TargetError},
};

/// A run that can go on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resumable {
    /// Where it is.
    pub continued: Continued,
    /// Its recipe, with what was set from the command line.
    pub recipe: Vec<u8>,
    /// Whether every trial of it is finished.
    pub is_complete: bool,
}

/// The newest run of a job; nothing where it left none.
///
/// # Errors
/// The place cannot be reached, or the job's folder is gone.
pub fn resumable(target: &Target, job: &Job) -> Result<Option<Resumable>, TargetError> {
    let dir = shell(&job.dir);
    let list = format!(
        "cd -- {dir} && for run in results/*/*; do [ -h \"$run\" ] || [ ! -f \"$run/recipe.resolved.yaml\" ] || printf '%s\\n' \"$run\"; done"
    );
    let said = target.run("looking for the job's run", &list)?;
    // The names of runs sort by time, those of scenarios do not; a job has one scenario.
    let Some(run) = said.lines().max_by_key(|run| run.rsplit('/').next()).map(str::to_owned) else { return Ok(None) };
    let quoted = shell(&run).into_owned();
    let recipe = target.run("reading the run's recipe", &format!("cd -- {dir} && cat -- {quoted}/recipe.resolved.yaml"))?;
    let report = format!("cd -- {dir} && if [ -f {quoted}/report.json ]; then cat -- {quoted}/report.json; fi");
    let report = target.run("reading the run's report", &report)?;
    let report = serde_json::from_str::<Value>(&report).unwrap_or_default();
    Ok(Some(Resumable {
        continued: Continued { job: job.job, dir: job.dir.clone(), run },
        recipe: recipe.into_bytes(),
        is_complete: report["run"]["complete"].as_bool().unwrap_or(false),
    }))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::submit::Where;

    #[test]
    fn the_newest_run_of_a_job_is_the_one_that_goes_on() {
        let folder = tempfile::tempdir().unwrap();
        let job = Job {
            job: 5,
            scenario: "s".into(),
            dir: folder.path().join("it's").display().to_string(),
            commands: "/usr/bin".into(),
            place: Where::default(),
            submitted_at: String::new(),
            continues: None,
        };
        let target = Target::open(Where::default()).unwrap();
        assert!(resumable(&target, &job).is_err(), "its folder is gone");
        fs::create_dir_all(format!("{}/results", job.dir)).unwrap();
        assert_eq!(resumable(&target, &job).unwrap(), None);
        for run in ["2026-1", "2026-2"] {
            let run = format!("{}/results/a b/{run}", job.dir);
            fs::create_dir_all(&run).unwrap();
            fs::write(format!("{run}/recipe.resolved.yaml"), &run).unwrap();
        }
        std::os::unix::fs::symlink("2026-1", format!("{}/results/a b/latest", job.dir)).unwrap();
        let found = resumable(&target, &job).unwrap().unwrap();
        assert_eq!((found.continued.run.as_str(), found.is_complete), ("results/a b/2026-2", false));
        assert!(String::from_utf8(found.recipe).unwrap().ends_with("2026-2"));
        fs::write(format!("{}/{}/report.json", job.dir, found.continued.run), r#"{"run": {"complete": true}}"#).unwrap();
        assert!(resumable(&target, &job).unwrap().unwrap().is_complete);
    }
}
