//! `parts.json`: who led this run, one entry for each process. It is whole at every moment, so that a part that is
//! killed is known by its beginning, its nodes and the trials that it finished.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use hb_core::{
    events::{Happened, RunEvent},
    report::{RunPart, TrialReport},
};

use super::{
    durable::{self, PARTIAL},
    instant,
    past::Past,
    pretty,
    spool::SPOOL,
};

/// The file.
pub(crate) const PARTS: &str = "parts.json";
/// What is said of a part that wrote no end.
const KILLED: &str = "it was killed";

/// The parts of a run, as they were written; none where the run is older than this file.
///
/// # Errors
/// The file is there and cannot be read.
pub fn read(folder: &Path) -> io::Result<Vec<RunPart>> {
    match fs::read(folder.join(PARTS)) {
        Ok(text) => Ok(serde_json::from_slice(&text)?),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

/// The parts of a run that nobody leads any more: one without an end was killed after its last sign of life.
///
/// # Errors
/// The file cannot be read.
pub fn closed(folder: &Path, past: &Past) -> io::Result<Vec<RunPart>> {
    let mut parts = read(folder)?;
    if let Some(last) = parts.last_mut().filter(|last| last.ended_at.is_none()) {
        let sign = past.ended_at().max(last_written(folder));
        last.ended_at = Some(sign.map_or_else(|| last.started_at.clone(), instant));
        last.ended_because = Some(KILLED.to_owned());
    }
    Ok(parts)
}

/// When anything was last written that comes in while load runs, Unix nanoseconds: a load of an hour has no event.
fn last_written(folder: &Path) -> Option<i128> {
    let is_growing = |path: &Path| {
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        [SPOOL, "metrics.csv"].contains(&name.strip_suffix(PARTIAL).unwrap_or(name))
    };
    let files = |folder: &Path| fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    let all = files(folder).chain(files(folder).filter(|path| path.is_dir()).flat_map(|trial| files(&trial)));
    let changed = all.filter(|path| is_growing(path)).filter_map(|path| path.metadata().ok()?.modified().ok()).max()?;
    let since = changed.duration_since(std::time::UNIX_EPOCH).ok()?;
    i128::try_from(since.as_nanos()).ok()
}

/// Writes down why the last part ended, where it could not do so itself.
///
/// # Errors
/// The file cannot be read or written.
pub(super) fn close(folder: &Path, past: &Past, because: &str) -> io::Result<()> {
    let is_open = read(folder)?.last().is_some_and(|last| last.ended_at.is_none());
    let mut parts = closed(folder, past)?;
    if let Some(last) = parts.last_mut().filter(|_| is_open) {
        last.ended_because = Some(because.to_owned());
    }
    durable::write_whole(&folder.join(PARTS), &pretty(&parts)?)
}

/// The parts of a run that goes on; the last one is this process's.
#[derive(Debug)]
pub(crate) struct Parts {
    path: PathBuf,
    parts: Vec<RunPart>,
}

impl Parts {
    /// Begins a part after those before it.
    pub(crate) fn begin(folder: &Path, earlier: Vec<RunPart>, own: RunPart) -> io::Result<Self> {
        let mut parts = Self { path: folder.join(PARTS), parts: earlier };
        parts.parts.push(own);
        parts.write()?;
        Ok(parts)
    }

    /// Takes from an event what it tells of this part.
    pub(crate) fn event(&mut self, event: &RunEvent) -> io::Result<()> {
        let Happened::NodeJoined { host, .. } = &event.happened else { return Ok(()) };
        if self.own().nodes.contains(host) {
            return Ok(());
        }
        self.own().nodes.push(host.clone());
        self.write()
    }

    /// A trial is on disk.
    pub(crate) fn trial(&mut self, report: &TrialReport) -> io::Result<()> {
        if !report.complete {
            return Ok(());
        }
        self.own().trials.push(report.id.clone());
        self.write()
    }

    /// This part is over.
    pub(crate) fn end(&mut self, ended_at: &str, because: &str) -> io::Result<Vec<RunPart>> {
        self.own().ended_at = Some(ended_at.to_owned());
        self.own().ended_because = Some(because.to_owned());
        self.write()?;
        Ok(self.parts.clone())
    }

    fn own(&mut self) -> &mut RunPart {
        self.parts.last_mut().expect("a part was begun with this value")
    }

    fn write(&self) -> io::Result<()> {
        durable::write_whole(&self.path, &pretty(&self.parts)?)
    }
}
