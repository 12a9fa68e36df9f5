//! What a killed run left behind, read back: finished trials as they are, others from their spools.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use hb_core::{report::TrialReport, units::TrialId};

use super::{
    ResultsError, durable,
    spool::{self, Batches},
};

/// A run's folder as it was found.
#[derive(Debug)]
pub struct Recovered {
    /// The folder.
    pub path: PathBuf,
    /// Its trials, by name.
    pub trials: Vec<RecoveredTrial>,
    /// What was cut short, for a person.
    pub warnings: Vec<String>,
}

/// One trial.
#[derive(Debug)]
pub enum RecoveredTrial {
    /// Its `trial.json` was written: it needs nothing.
    Finished(Box<TrialReport>),
    /// It was under way; what its spool holds is to be tallied again.
    Spooled {
        /// Its name.
        trial: TrialId,
        /// Its folder.
        folder: PathBuf,
        /// Whole batches in its spool.
        batches: u64,
        /// Whether the last one was cut off.
        is_torn: bool,
    },
}

impl RecoveredTrial {
    /// The batches of a trial that was under way, to tally again; none where the trial is finished.
    ///
    /// # Errors
    /// If the spool cannot be opened.
    pub fn batches(&self) -> io::Result<Option<Batches>> {
        match self {
            Self::Finished(_) => Ok(None),
            Self::Spooled { folder, .. } => Batches::open(&spool::find(folder)).map(Some),
        }
    }
}

/// Reads a run's folder, finished or killed. Files that were still growing get their names, cut after
/// their last whole line.
///
/// # Errors
/// If the folder cannot be read or is none of a run.
pub fn recover(path: &Path) -> Result<Recovered, ResultsError> {
    let recipe = path.join("recipe.yaml");
    fs::metadata(&recipe).map_err(ResultsError::refused("find the recipe of a run", &recipe))?;
    let mut warnings = Vec::new();
    for name in ["events.jsonl", "metrics.csv", "logs/stdout.log", "logs/stderr.log", "logs/aggregated.jsonl"] {
        let file = path.join(name);
        match close_lines(&file) {
            Ok(true) => warnings.push(format!("`{name}` ends where the run was killed")),
            Ok(false) => {}
            Err(error) => warnings.push(format!("`{name}` could not be closed: {error}")),
        }
    }
    let mut trials = Vec::new();
    let entries = fs::read_dir(path).and_then(Iterator::collect::<io::Result<Vec<_>>>);
    let mut folders: Vec<PathBuf> =
        entries.map_err(ResultsError::refused("list", path))?.iter().map(fs::DirEntry::path).collect();
    folders.sort();
    for folder in folders {
        match trial(&folder) {
            Ok(Some(found)) => trials.push(found),
            Ok(None) => {}
            Err(error) => warnings.push(format!("`{}` could not be read: {error}", folder.display())),
        }
    }
    for found in &trials {
        if let RecoveredTrial::Spooled { trial, batches, is_torn: true, .. } = found {
            warnings.push(format!("the spool of trial `{trial}` is cut off after {batches} batches"));
        }
    }
    Ok(Recovered { path: path.to_owned(), trials, warnings })
}

/// The trial in this folder, if it is one's.
fn trial(folder: &Path) -> io::Result<Option<RecoveredTrial>> {
    match fs::read(folder.join("trial.json")) {
        Ok(text) => return Ok(Some(RecoveredTrial::Finished(serde_json::from_slice(&text)?))),
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {}
        Err(error) => return Err(error),
    }
    let mut spooled = match Batches::open(&spool::find(folder)) {
        Ok(spooled) => spooled,
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => return Ok(None),
        Err(error) => return Err(error),
    };
    let mut name = None;
    let mut batches = 0;
    for batch in spooled.by_ref() {
        name.get_or_insert(batch?.key.source.trial);
        batches += 1;
    }
    let named_by_folder = || folder.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default().into();
    let trial = name.unwrap_or_else(named_by_folder);
    Ok(Some(RecoveredTrial::Spooled { trial, folder: folder.to_owned(), batches, is_torn: spooled.is_torn() }))
}

/// Gives a growing file its name, without a last line that was cut off; whether there was one to name.
fn close_lines(file: &Path) -> io::Result<bool> {
    let partial = durable::partial_of(file);
    let grown = if file.exists() { file } else { partial.as_path() };
    if !grown.exists() {
        return Ok(false);
    }
    let bytes = fs::read(grown)?;
    let whole = durable::whole_lines(&bytes);
    if grown == file && whole == bytes.len() {
        return Ok(false);
    }
    let growing = fs::OpenOptions::new().write(true).open(grown)?;
    growing.set_len(whole as u64)?;
    growing.sync_all()?;
    if grown != file {
        durable::publish(&partial, file)?;
    }
    Ok(true)
}
