//! The run's folder: what is written when, so that a run that is killed at any moment leaves all it had.
//!
//! ```text
//! <results>/<scenario>/latest -> <run>
//! <results>/<scenario>/<run>/
//!   recipe.yaml  recipe.resolved.yaml      at the start
//!   events.jsonl                           line by line, to be followed while the run goes on
//!   parts.json                             who leads it, from the start
//!   metrics.csv  logs/                     line by line, `.partial` until the end
//!   <trial>/batches                        as batches come, `.partial` until the trial is over
//!   <trial>/{requests.jsonl,timeseries.csv,trial.json}      when the trial is over
//!   manifest.json  summary.md  report.html  report.json     at the end, in this order; of a run that is told to end
//!                                          also before its servers are
//!   parts/<n>/                             what a resumed run set aside of the parts before
//! ```
//!
//! Before the load a folder that cannot be written is an error; afterwards a failed write is kept as a
//! warning and the rest goes on: what could be saved is saved, and the report says what is missing.

mod durable;
mod lock;
mod logs;
mod manifest;
mod parts;
mod past;
mod readings;
mod rebuild;
mod recover;
mod reports;
mod resume;
mod rows;
mod spool;
mod troubles;

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
};

use hb_core::{
    batch::{Batch, Source},
    events::RunEvent,
    facts::{LogBatch, NodeReading},
    plan::Plan,
    record::Record,
    report::{Report, RunPart, TrialReport},
    tally::LostRow,
    units::TrialId,
};

use self::{
    durable::Growing,
    logs::Logs,
    parts::Parts,
    reports::{write_manifest, write_reports},
    spool::Spool,
    troubles::Troubles,
};
pub use self::{
    lock::{Holder, LockError, RunLock},
    logs::MAX_LOG_BYTES,
    manifest::Manifest,
    parts::{closed as closed_parts, read as read_parts},
    past::{Past, add_seconds},
    rebuild::rebuild,
    recover::{Recovered, RecoveredTrial, recover},
    reports::{write_again, write_recovered},
    resume::{KeptRun, ResumeError},
    spool::Batches,
};

/// Room that must be left on the file system before a load starts.
const NEEDED_BYTES: u64 = 32 * 1024 * 1024;

const CREATE_SHELF: &str = "create the results folder";

/// Why there is no folder to write to.
#[derive(Debug, thiserror::Error)]
pub enum ResultsError {
    /// The file system refuses.
    #[error("cannot {doing} `{}`: {cause}", path.display())]
    Refused {
        /// What was tried.
        doing: &'static str,
        /// On what.
        path: PathBuf,
        /// What the system said.
        cause: io::Error,
    },
    /// Too little room for even a small run.
    #[error(
        "only {} MiB are free for results in `{}`, and {} are needed; make room, or name another folder with --results",
        free_bytes >> 20,
        path.display(),
        needed_bytes >> 20
    )]
    Full {
        /// Where.
        path: PathBuf,
        /// What is left.
        free_bytes: u64,
        /// What a run needs at least.
        needed_bytes: u64,
    },
    /// Somebody leads there.
    #[error("{0}")]
    Locked(#[from] LockError),
    /// Another run has this folder.
    #[error("the results folder `{}` is there already", path.display())]
    Taken {
        /// Which.
        path: PathBuf,
    },
}

impl ResultsError {
    /// Whether the folder that was named for results can hold none, whoever asks and whenever.
    #[must_use]
    pub fn is_of_the_name(&self) -> bool {
        let Self::Refused { doing: CREATE_SHELF, cause, .. } = self else { return false };
        matches!(
            cause.kind(),
            io::ErrorKind::NotADirectory
                | io::ErrorKind::NotFound
                | io::ErrorKind::PermissionDenied
                | io::ErrorKind::ReadOnlyFilesystem
        )
    }

    fn refused(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |cause| Self::Refused { doing, path: path.to_owned(), cause }
    }
}

/// Where a trial's placement is kept.
pub(crate) const PLAN: &str = "plan.json";

/// The folder of a run that goes on.
#[derive(Debug)]
pub struct RunFolder {
    path: PathBuf,
    events: Growing,
    metrics: Growing,
    logs: Option<Logs>,
    spools: BTreeMap<TrialId, Spool>,
    parts: Parts,
    troubles: Troubles,
    _lock: RunLock,
}

/// Which run is begun.
#[derive(Debug)]
pub struct NewRun<'a> {
    /// The folder of all results.
    pub results_root: &'a Path,
    /// The recipe's name.
    pub scenario: &'a str,
    /// The run's name.
    pub id: &'a str,
    /// The recipe as read.
    pub recipe_text: &'a str,
    /// The recipe as understood.
    pub resolved_yaml: &'a str,
}

impl RunFolder {
    /// Makes the folder, writes the recipe into it and lets `latest` point to it.
    ///
    /// # Errors
    /// If anything of that cannot be done; nothing of the run has begun then, and nothing of it stays.
    pub fn create(run: &NewRun<'_>, part: RunPart, holder: Holder) -> Result<Self, ResultsError> {
        let shelf = run.results_root.join(folder_name(run.scenario));
        fs::create_dir_all(&shelf).map_err(ResultsError::refused(CREATE_SHELF, &shelf))?;
        check_room(&shelf)?;
        let path = shelf.join(folder_name(run.id));
        fs::create_dir(&path).map_err(|cause| match cause.kind() {
            io::ErrorKind::AlreadyExists => ResultsError::Taken { path: path.clone() },
            _ => ResultsError::Refused { doing: "create the run's folder", path: path.clone(), cause },
        })?;
        let filled = Self::fill(run, part, holder, &shelf, &path);
        if filled.is_err() {
            abandon(&path);
        }
        filled
    }

    fn fill(run: &NewRun<'_>, part: RunPart, holder: Holder, shelf: &Path, path: &Path) -> Result<Self, ResultsError> {
        let lock = RunLock::take(path, holder)?;
        // What a person wrote or set may hold secrets, and a later part of the run needs it as it is.
        let write = |name: &str, text: &str| {
            let file = path.join(name);
            durable::write_private(&file, text.as_bytes()).map_err(ResultsError::refused("write", &file))
        };
        write("recipe.yaml", run.recipe_text)?;
        write("recipe.resolved.yaml", run.resolved_yaml)?;
        let parts = Parts::begin(path, Vec::new(), part);
        let parts = parts.map_err(ResultsError::refused("write", &path.join(parts::PARTS)))?;
        let logs = path.join("logs");
        fs::create_dir(&logs).map_err(ResultsError::refused("create", &logs))?;
        let (events, metrics) = (path.join("events.jsonl"), path.join("metrics.csv"));
        let folder = Self {
            events: Growing::begin_followed(&events).map_err(ResultsError::refused("begin", &events))?,
            metrics: Growing::begin(&metrics).map_err(ResultsError::refused("begin", &metrics))?,
            logs: Some(Logs::begin(&logs, MAX_LOG_BYTES).map_err(ResultsError::refused("begin the logs in", &logs))?),
            spools: BTreeMap::new(),
            parts,
            troubles: Troubles::default(),
            path: path.to_owned(),
            _lock: lock,
        };
        durable::sync_folder(shelf).map_err(ResultsError::refused("sync", shelf))?;
        folder.point_latest()?;
        Ok(folder)
    }

    /// Lets `latest` point to this run, which is the one that was begun or resumed last.
    fn point_latest(&self) -> Result<(), ResultsError> {
        let link = self.path.with_file_name("latest");
        let run = self.path.file_name().map(PathBuf::from).unwrap_or_default();
        durable::point(&link, &run).map_err(ResultsError::refused("renew the link", &link))
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// A trial's folder.
    #[must_use]
    pub fn trial_path(&self, trial: &TrialId) -> PathBuf {
        self.path.join(folder_name(trial.as_str()))
    }

    /// What could not be written so far, for the report's warnings.
    #[must_use]
    pub fn warnings(&self) -> Vec<String> {
        self.troubles.sentences()
    }

    /// Appends to `events.jsonl`; it is with the kernel when this returns.
    pub fn event(&mut self, event: &RunEvent) {
        let appended = json_line(event).and_then(|line| self.events.append(&line));
        self.troubles.note("events.jsonl", appended);
        let told = self.parts.event(event);
        self.troubles.note(parts::PARTS, told);
    }

    /// Appends a sample to `metrics.csv`.
    pub fn reading(&mut self, reading: &NodeReading) {
        let is_first = self.metrics.length() == 0;
        let appended = readings::lines(reading, is_first).and_then(|lines| self.metrics.append(&lines));
        self.troubles.note("metrics.csv", appended);
    }

    /// Appends lines to the logs.
    pub fn logs(&mut self, batch: &LogBatch) {
        let appended = self.logs.as_mut().map_or(Ok(()), |logs| logs.append(batch));
        self.troubles.note("logs", appended);
    }

    /// Makes the trial's folder and begins its spool.
    ///
    /// # Errors
    /// If that cannot be done: no batch of the trial could be kept.
    pub fn begin_trial(&mut self, trial: &TrialId) -> Result<(), ResultsError> {
        let folder = self.trial_path(trial);
        fs::create_dir_all(&folder).map_err(ResultsError::refused("create the trial's folder", &folder))?;
        let spool = Spool::begin(&folder).map_err(ResultsError::refused("begin the spool in", &folder))?;
        self.spools.insert(trial.clone(), spool);
        Ok(())
    }

    /// Writes down how a trial is placed, so that its report can be built even if this process dies.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn plan(&self, plan: &Plan) -> io::Result<()> {
        durable::write_private(&self.trial_path(&plan.trial.id).join(PLAN), &pretty(plan)?)
    }

    /// Keeps a batch, so that the death of this process does not lose it. Acknowledge it only then.
    ///
    /// # Errors
    /// If it could not be written whole, or its trial has not begun.
    pub fn spool(&mut self, batch: &Batch) -> io::Result<()> {
        let trial = &batch.key.source.trial;
        match self.spools.get_mut(trial) {
            Some(spool) => spool.append(batch),
            None => Err(io::Error::other(format!("trial `{trial}` has no open spool"))),
        }
    }

    /// The batches kept so far of a trial.
    ///
    /// # Errors
    /// If its spool cannot be opened.
    pub fn batches(&self, trial: &TrialId) -> io::Result<Batches> {
        Batches::open(&spool::find(&self.trial_path(trial)))
    }

    /// The records kept so far of a trial, each with who sent it.
    ///
    /// # Errors
    /// If its spool cannot be opened.
    pub fn rows(&self, trial: &TrialId) -> io::Result<impl Iterator<Item = io::Result<(Source, Record)>> + use<>> {
        spool::rows(&spool::find(&self.trial_path(trial)))
    }

    /// Writes what the trial came to; from here on it is safe, whatever becomes of the run.
    ///
    /// What could not be written of it is given, and in [`Self::warnings`] too.
    pub fn finish_trial(&mut self, report: &TrialReport, lost: &[LostRow]) -> Vec<String> {
        let mut own = Troubles::default();
        let folder = self.trial_path(&report.id);
        let name = folder_name(report.id.as_str());
        let made = fs::create_dir_all(&folder);
        own.note(&name, made);
        own.note(&format!("{name}/requests.jsonl"), rows::write_requests(&folder, lost));
        own.note(&format!("{name}/timeseries.csv"), rows::write_timeseries(&folder, &report.timeline));
        let written = pretty(report).and_then(|text| durable::write_whole(&folder.join("trial.json"), &text));
        own.note(&format!("{name}/trial.json"), written);
        if let Some(spool) = self.spools.remove(&report.id) {
            own.note(&format!("{name}/{}", spool::SPOOL), spool.finish());
        }
        let told = self.parts.trial(report);
        own.note(parts::PARTS, told);
        let told = own.sentences();
        self.troubles.take(own);
        told
    }

    /// This process's part of the run is over: all parts, for the report.
    pub fn end_part(&mut self, ended_at: &str, because: &str) -> Vec<RunPart> {
        match self.parts.end(ended_at, because) {
            Ok(parts) => parts,
            Err(error) => {
                self.troubles.note::<()>(parts::PARTS, Err(error));
                Vec::new()
            }
        }
    }

    /// Writes the manifest and the reports of a run that is told to end and whose folder stays open; [`Self::finish`]
    /// writes them again. What could not be written is told by that, too.
    pub fn save(&self, report: &Report, manifest: &Manifest) {
        let mut troubles = self.troubles.clone();
        write_manifest(&self.path, manifest, &mut troubles);
        write_reports(&self.path, report, &mut troubles);
        let known = self.troubles.sentences();
        for trouble in troubles.sentences().iter().filter(|sentence| !known.contains(sentence)) {
            tracing::warn!(%trouble, "the report of a run that is ending");
        }
    }

    /// Writes all that a run ends with. The report gets the warnings of what could not be written;
    /// they are returned too, for the terminal.
    pub fn finish(mut self, report: &Report, manifest: &Manifest) -> Vec<String> {
        for (trial, spool) in std::mem::take(&mut self.spools) {
            self.troubles.note(&format!("{trial}/{}", spool::SPOOL), spool.finish());
        }
        let log_ends = self.logs.take().map_or_else(Vec::new, Logs::finish);
        for (name, end) in log_ends {
            match end {
                Ok(0) => {}
                Ok(left_out) => self.troubles.tell(format!("{left_out} bytes are left out of `{name}`: it is full")),
                Err(error) => self.troubles.note::<()>(&name, Err(error)),
            }
        }
        let Self { path, events, metrics, mut troubles, .. } = self;
        troubles.note("events.jsonl", events.finish());
        troubles.note("metrics.csv", metrics.finish());
        write_manifest(&path, manifest, &mut troubles);
        write_reports(&path, report, &mut troubles);
        troubles.sentences()
    }
}

/// Takes away the folder of a run that did not begin, and lets `latest` point to the newest that did.
pub fn abandon(path: &Path) {
    let Some(shelf) = path.parent() else { return };
    let taken_away = fs::remove_dir_all(path).and_then(|()| point_to_newest(shelf));
    if let Err(error) = taken_away {
        tracing::warn!(path = %path.display(), %error, "the folder of a run that did not begin stays behind");
    }
}

/// `latest` points to the last run by name; it goes where there is none.
pub(crate) fn point_to_newest(shelf: &Path) -> io::Result<()> {
    let entries = fs::read_dir(shelf)?.collect::<io::Result<Vec<_>>>()?;
    let runs = entries.iter().filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
    let link = shelf.join("latest");
    match runs.map(fs::DirEntry::file_name).max() {
        Some(newest) => durable::point(&link, Path::new(&newest)),
        None => match fs::remove_file(&link) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => fs::remove_dir(shelf),
        },
    }
}

/// A text as a name of a folder: nothing in it leads elsewhere, hides it or needs quoting.
pub fn folder_name(text: &str) -> String {
    let is_plain = |letter: char| letter.is_ascii_alphanumeric() || matches!(letter, '.' | '_' | '-' | '=' | '+');
    let name: String = text.chars().map(|letter| if is_plain(letter) { letter } else { '-' }).take(200).collect();
    if name.is_empty() || name.starts_with(['.', '-']) || name == "latest" { format!("run-{name}") } else { name }
}

fn check_room(shelf: &Path) -> Result<(), ResultsError> {
    let room =
        rustix::fs::statvfs(shelf).map_err(|errno| ResultsError::refused("look at the file system of", shelf)(errno.into()))?;
    let free_bytes = room.f_bavail.saturating_mul(room.f_frsize);
    let is_full = free_bytes < NEEDED_BYTES;
    if is_full { Err(ResultsError::Full { path: shelf.to_owned(), free_bytes, needed_bytes: NEEDED_BYTES }) } else { Ok(()) }
}

/// Unix nanoseconds as RFC 3339, with all digits: lines of output and samples follow each other more closely than the
/// milliseconds of [`hb_actors::wall_clock::rfc3339`]. What no calendar holds gives the epoch.
pub(crate) fn instant(unix_nanos: i128) -> String {
    jiff::Timestamp::from_nanosecond(unix_nanos).unwrap_or(jiff::Timestamp::UNIX_EPOCH).to_string()
}

fn json_line(value: &impl serde::Serialize) -> io::Result<Vec<u8>> {
    let mut line = serde_json::to_vec(value)?;
    line.push(b'\n');
    Ok(line)
}

fn pretty(value: &impl serde::Serialize) -> io::Result<Vec<u8>> {
    let mut text = serde_json::to_vec_pretty(value)?;
    text.push(b'\n');
    Ok(text)
}

#[cfg(test)]
mod tests;
