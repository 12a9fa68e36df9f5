//! The list of jobs that this person submitted from this machine: one line of JSON each, only ever appended to.

use std::{
    fs::{self, OpenOptions},
    io::Write as _,
    os::unix::fs::OpenOptionsExt as _,
    path::PathBuf,
};

use serde::{Deserialize, Serialize};

use super::target::{TargetError, Where};

/// A job that was submitted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Job {
    /// The number that the scheduler gave.
    pub job: u64,
    /// The recipe's scenario.
    pub scenario: String,
    /// The job's folder there.
    pub dir: String,
    /// The folder of the scheduler's commands there.
    pub commands: String,
    /// Where it was submitted.
    #[serde(default)]
    pub place: Where,
    /// When, RFC 3339.
    pub submitted_at: String,
    /// The job whose run it goes on with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub continues: Option<u64>,
}

/// The file.
#[derive(Debug)]
pub struct JobList {
    path: PathBuf,
}

impl JobList {
    /// The person's list: `$XDG_STATE_HOME/hbnode/jobs.jsonl`, by default under `~/.local/state`.
    ///
    /// # Errors
    /// Neither variable is set.
    pub fn of_person() -> Result<Self, TargetError> {
        let absolute = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
        let state = absolute("XDG_STATE_HOME").or_else(|| absolute("HOME").map(|home| home.join(".local/state")));
        let cause = || std::io::Error::new(std::io::ErrorKind::NotFound, "neither XDG_STATE_HOME nor HOME is set");
        let state = state.ok_or_else(|| TargetError::File { doing: "find", path: "jobs.jsonl".into(), cause: cause() })?;
        Ok(Self::at(state.join("hbnode/jobs.jsonl")))
    }

    /// A list in another file.
    #[must_use]
    pub fn at(path: PathBuf) -> Self {
        Self { path }
    }

    /// Prepares the file, so that a job's number is not lost after it was submitted.
    ///
    /// # Errors
    /// The folder or the file cannot be written.
    pub fn prepare(&self) -> Result<(), TargetError> {
        self.opened().map(drop)
    }

    /// Adds a job.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn add(&self, job: &Job) -> Result<(), TargetError> {
        let mut line = serde_json::to_vec(job).expect("a job is plain data");
        line.push(b'\n');
        let mut file = self.opened()?;
        file.write_all(&line).and_then(|()| file.sync_all()).map_err(|cause| self.failed("write to", cause))
    }

    /// All jobs, the newest first. A line that cannot be read is passed over and told of.
    ///
    /// # Errors
    /// The file is there and cannot be read.
    pub fn read(&self) -> Result<Vec<Job>, TargetError> {
        let text = match fs::read_to_string(&self.path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
            Err(cause) => return Err(self.failed("read", cause)),
        };
        let mut jobs = Vec::new();
        for (index, line) in text.lines().enumerate() {
            match serde_json::from_str::<Job>(line) {
                Ok(job) => jobs.push(job),
                Err(error) => {
                    tracing::warn!(path = %self.path.display(), line = index + 1, %error, "a line of the job list is passed over");
                }
            }
        }
        jobs.reverse();
        Ok(jobs)
    }

    fn opened(&self) -> Result<fs::File, TargetError> {
        if let Some(folder) = self.path.parent() {
            fs::create_dir_all(folder).map_err(|cause| self.failed("create the folder of", cause))?;
        }
        let mut options = OpenOptions::new();
        let options = options.create(true).append(true).mode(0o600);
        options.open(&self.path).map_err(|cause| self.failed("open", cause))
    }

    fn failed(&self, doing: &'static str, cause: std::io::Error) -> TargetError {
        TargetError::File { doing, path: self.path.clone(), cause }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn jobs_come_back_newest_first_and_a_torn_line_costs_only_itself() {
        let folder = tempfile::tempdir().unwrap();
        let list = JobList::at(folder.path().join("deep/jobs.jsonl"));
        assert_eq!(list.read().unwrap(), []);
        let job = |job| Job {
            job,
            scenario: "s".into(),
            dir: "/d".into(),
            commands: "/usr/bin".into(),
            place: Where { host: Some("login".into()), ..Where::default() },
            submitted_at: "2026-01-01T00:00:00Z".into(),
            continues: None,
        };
        list.add(&job(1)).unwrap();
        list.opened().unwrap().write_all(b"{\"job\": 7, \n").unwrap();
        list.add(&job(2)).unwrap();
        assert_eq!(list.read().unwrap(), [job(2), job(1)]);
    }
}
