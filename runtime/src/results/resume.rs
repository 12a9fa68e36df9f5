//! A run that goes on in another process: what the parts before left is read, what they had not finished is set aside.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use hb_core::report::{Report, RunPart, TrialReport};

use super::{
    Growing, Holder, LockError, Logs, MAX_LOG_BYTES, PLAN, Parts, ResultsError, RunFolder, RunLock, Troubles, check_room,
    durable, parts, spool,
};

/// The folder in a run's folder that takes what was set aside.
const ASIDE: &str = "parts";
/// Files that the end of a part writes and the end of the next one writes again.
const OF_THE_END: [&str; 3] = ["report.json", "report.html", "summary.md"];

/// Why a run cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum ResumeError {
    /// The folder is none of a run.
    #[error("`{}` is no run's folder: it has no {missing}", path.display())]
    NoRun {
        /// What was named.
        path: PathBuf,
        /// What every run has.
        missing: &'static str,
    },
    /// Something in it cannot be read.
    #[error("cannot read `{}`: {cause}", path.display())]
    Unreadable {
        /// What.
        path: PathBuf,
        /// Why.
        cause: io::Error,
    },
}

/// A run as its last part left it.
#[derive(Debug)]
pub struct KeptRun {
    /// Its folder, absolute.
    pub path: PathBuf,
    /// The recipe as it was read.
    pub recipe: Vec<u8>,
    /// The recipe as it was understood, with what was set from the command line.
    pub resolved: String,
    /// The trials that were finished.
    pub finished: Vec<TrialReport>,
    /// The report of its last part, if that one wrote it.
    pub report: Option<Report>,
}

impl KeptRun {
    /// Reads a run's folder and changes nothing in it.
    ///
    /// # Errors
    /// It is none of a run, or cannot be read.
    pub fn read(named: &Path) -> Result<Self, ResumeError> {
        let path = fs::canonicalize(named).map_err(|cause| ResumeError::Unreadable { path: named.to_owned(), cause })?;
        let needed = |missing: &'static str| match fs::read(path.join(missing)) {
            Ok(bytes) => Ok(bytes),
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
                Err(ResumeError::NoRun { path: named.to_owned(), missing })
            }
            Err(cause) => Err(ResumeError::Unreadable { path: path.join(missing), cause }),
        };
        let recipe = needed("recipe.yaml")?;
        let resolved = String::from_utf8_lossy(&needed("recipe.resolved.yaml")?).into_owned();
        let report = match fs::read(path.join("report.json")) {
            Ok(text) => Some(serde_json::from_slice(&text).map_err(|error| unreadable(&path.join("report.json"), error.into()))?),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(cause) => return Err(unreadable(&path.join("report.json"), cause)),
        };
        let finished = trial_folders(&path).map_err(|cause| unreadable(&path, cause))?;
        let finished = finished.into_iter().filter_map(|(_, trial)| trial.filter(|trial| trial.complete)).collect();
        Ok(Self { path, recipe, resolved, finished, report })
    }

    /// The run's name.
    #[must_use]
    pub fn id(&self) -> String {
        self.path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
    }

    /// Takes the lock: from here on this process is the only one that leads there.
    ///
    /// # Errors
    /// Somebody else is, or the file system refuses.
    pub fn lock(&self, holder: Holder) -> Result<RunLock, LockError> {
        RunLock::take(&self.path, holder)
    }
}

fn unreadable(path: &Path, cause: io::Error) -> ResumeError {
    ResumeError::Unreadable { path: path.to_owned(), cause }
}

/// The folders of trials that were begun, each with its report if it is over.
fn trial_folders(run: &Path) -> io::Result<Vec<(PathBuf, Option<TrialReport>)>> {
    let mut folders = Vec::new();
    for entry in fs::read_dir(run)? {
        let folder = entry?.path();
        match fs::read(folder.join("trial.json")) {
            Ok(text) => folders.push((folder, Some(serde_json::from_slice(&text)?))),
            Err(_) if folder.join(PLAN).exists() || spool::find(&folder).exists() => folders.push((folder, None)),
            Err(_) => {}
        }
    }
    Ok(folders)
}

impl RunFolder {
    /// Takes up the folder of a run that goes on. What its last part had begun and not finished is moved to
    /// `parts/<n>/`, so that no reader mistakes it for the whole; files that grow are taken up where they end.
    ///
    /// # Errors
    /// If anything of that cannot be done.
    pub fn resume(kept: &KeptRun, earlier: Vec<RunPart>, own: RunPart, lock: RunLock) -> Result<Self, ResultsError> {
        let path = kept.path.clone();
        check_room(&path)?;
        set_aside(&path, earlier.len()).map_err(ResultsError::refused("set aside the unfinished part in", &path))?;
        let parts = Parts::begin(&path, earlier, own);
        let parts = parts.map_err(ResultsError::refused("write", &path.join(parts::PARTS)))?;
        let (events, metrics, logs) = (path.join("events.jsonl"), path.join("metrics.csv"), path.join("logs"));
        fs::create_dir_all(&logs).map_err(ResultsError::refused("create", &logs))?;
        let folder = Self {
            events: Growing::resume_followed(&events).map_err(ResultsError::refused("take up", &events))?,
            metrics: Growing::resume(&metrics).map_err(ResultsError::refused("take up", &metrics))?,
            logs: Some(Logs::resume(&logs, MAX_LOG_BYTES).map_err(ResultsError::refused("take up the logs in", &logs))?),
            spools: std::collections::BTreeMap::new(),
            parts,
            troubles: Troubles::default(),
            path,
            _lock: lock,
        };
        folder.point_latest()?;
        Ok(folder)
    }
}

/// Moves what part number `part` left unfinished out of the way.
fn set_aside(run: &Path, part: usize) -> io::Result<()> {
    let aside = run.join(ASIDE).join(part.max(1).to_string());
    fs::create_dir_all(&aside)?;
    for name in OF_THE_END {
        move_to(&run.join(name), &aside)?;
        move_to(&durable::partial_of(&run.join(name)), &aside)?;
    }
    for (folder, trial) in trial_folders(run)? {
        if !trial.is_some_and(|trial| trial.complete) {
            move_to(&folder, &aside)?;
        }
    }
    durable::sync_folder(run)
}

fn move_to(from: &Path, folder: &Path) -> io::Result<()> {
    let Some(name) = from.file_name().filter(|_| from.exists()) else { return Ok(()) };
    let place = folder.join(name);
    // A part that was killed while it did this is resumed under the same number.
    if place.is_dir() {
        fs::remove_dir_all(&place)?;
    }
    fs::rename(from, &place)
}
