//! One process at a time leads a run: `leader.lock` in its folder.
//!
//! The kernel's lock tells at once, and is gone with its holder. Some shared file systems keep it on one host only, so
//! the holder also writes a counter into the file: whoever finds another host's name there waits for it to move.

use std::{
    fs::{self, File, OpenOptions, TryLockError},
    io::{self, Seek as _, SeekFrom, Write as _},
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    sync::mpsc::{self, RecvTimeoutError},
    thread::JoinHandle,
    time::{Duration, Instant},
};

use serde::{Deserialize, Serialize};

/// The file.
pub(crate) const LOCK: &str = "leader.lock";
/// The counter moves this often.
const BEAT_EVERY: Duration = Duration::from_secs(3);
/// A counter of another host that stands still for so long belongs to a process that is gone.
const GONE_AFTER: Duration = Duration::from_secs(12);
/// The pause between two looks at it.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// Who holds a lock.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holder {
    /// Its host.
    pub host: String,
    /// Its process there.
    pub pid: u32,
    /// Its Slurm job, where it is one.
    pub job: Option<String>,
    /// Moves while it lives.
    beat: u64,
}

impl Holder {
    /// This process.
    #[must_use]
    pub fn this(host: &str, job: Option<&str>) -> Self {
        Self { host: host.to_owned(), pid: std::process::id(), job: job.map(str::to_owned), beat: 0 }
    }

    fn read(path: &Path) -> Option<Self> {
        serde_json::from_slice(&fs::read(path).ok()?).ok()
    }
}

impl std::fmt::Display for Holder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "process {} on {}", self.pid, self.host)?;
        self.job.as_ref().map_or(Ok(()), |job| write!(f, ", job {job}"))
    }
}

/// Why a lock cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Somebody leads there.
    #[error("{holder} is still leading the run in `{}`", folder.display())]
    Held {
        /// Who.
        holder: Holder,
        /// Where.
        folder: PathBuf,
    },
    /// The file system refuses.
    #[error("cannot lock `{}`: {cause}", path.display())]
    Refused {
        /// The file.
        path: PathBuf,
        /// What the system said.
        cause: io::Error,
    },
}

/// A lock that is held; it is given back with this value.
#[derive(Debug)]
pub struct RunLock {
    path: PathBuf,
    beating: Option<(mpsc::Sender<()>, JoinHandle<()>)>,
}

impl RunLock {
    /// Takes the lock of a run's folder. Where its last holder sat on another host, this waits until that one has
    /// given no sign of life for a while, and says so.
    ///
    /// # Errors
    /// Somebody holds it, or the file cannot be written.
    pub fn take(folder: &Path, holder: Holder) -> Result<Self, LockError> {
        let path = folder.join(LOCK);
        let refused = |cause| LockError::Refused { path: path.clone(), cause };
        let held = |holder: Holder| LockError::Held { holder, folder: folder.to_owned() };
        let (file, is_kernels) = loop {
            let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path).map_err(refused)?;
            let is_kernels = match file.try_lock() {
                Ok(()) => true,
                Err(TryLockError::WouldBlock) => return Err(held(Holder::read(&path).unwrap_or_default())),
                // A file system that knows no such locks: the counter alone has to tell.
                Err(TryLockError::Error(_)) => false,
            };
            // Its last holder may have removed the file between the two lines.
            let is_same = fs::metadata(&path).is_ok_and(|now| file.metadata().is_ok_and(|own| own.ino() == now.ino()));
            if is_same {
                break (file, is_kernels);
            }
        };
        if let Some(before) = Holder::read(&path).filter(|before| before.host != holder.host || !is_kernels) {
            eprintln!("{before} led this run last; waiting up to {} s for a sign of life of it", GONE_AFTER.as_secs());
            wait_until_gone(&path, &before).map_err(held)?;
        }
        let mut beating = Beating { file, holder };
        beating.beat().map_err(refused)?;
        let (stop, stopped) = mpsc::channel();
        let thread = std::thread::Builder::new().name("lock".into()).spawn(move || beating.go_on(&stopped));
        let thread = thread.map_err(refused)?;
        Ok(Self { path, beating: Some((stop, thread)) })
    }
}

/// Whether the counter stands still for long enough; else who moves it.
fn wait_until_gone(path: &Path, before: &Holder) -> Result<(), Holder> {
    let deadline = Instant::now() + GONE_AFTER;
    while Instant::now() < deadline {
        match Holder::read(path) {
            Some(now) if now != *before => return Err(now),
            None => return Ok(()),
            Some(_) => std::thread::sleep(LOOK_EVERY),
        }
    }
    Ok(())
}

/// The holder's side of the counter.
struct Beating {
    file: File,
    holder: Holder,
}

impl Beating {
    fn beat(&mut self) -> io::Result<()> {
        let mut text = serde_json::to_vec(&self.holder)?;
        text.push(b'\n');
        self.file.seek(SeekFrom::Start(0))?;
        self.file.write_all(&text)?;
        self.file.set_len(text.len() as u64)?;
        self.holder.beat += 1;
        Ok(())
    }

    /// Until the lock is given back. A beat that a full disk refuses costs nothing while the kernel's lock holds.
    fn go_on(mut self, stopped: &mpsc::Receiver<()>) {
        while matches!(stopped.recv_timeout(BEAT_EVERY), Err(RecvTimeoutError::Timeout)) {
            if let Err(error) = self.beat() {
                tracing::warn!(%error, "the lock of the run shows no sign of life");
            }
        }
    }
}

impl Drop for RunLock {
    fn drop(&mut self) {
        // First the name, then the lock: whoever comes between sees that the file is another one.
        if let Err(error) = fs::remove_file(&self.path)
            && error.kind() != io::ErrorKind::NotFound
        {
            tracing::warn!(path = %self.path.display(), %error, "the lock of the run stays behind");
        }
        if let Some((stop, thread)) = self.beating.take() {
            drop(stop);
            if thread.join().is_err() {
                tracing::error!("the lock's thread failed");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_is_led_by_one_at_a_time_and_the_lock_leaves_no_file() {
        let folder = tempfile::tempdir().unwrap();
        let lock = RunLock::take(folder.path(), Holder::this("here", Some("7"))).unwrap();
        let second = RunLock::take(folder.path(), Holder::this("here", None)).unwrap_err().to_string();
        assert!(second.contains(&format!("process {} on here, job 7", std::process::id())), "{second}");
        drop(lock);
        assert!(!folder.path().join(LOCK).exists());
        RunLock::take(folder.path(), Holder::this("here", None)).unwrap();
    }

    #[test]
    fn a_lock_that_was_left_behind_on_this_host_is_taken_over_at_once() {
        let folder = tempfile::tempdir().unwrap();
        let left = Holder { host: "here".into(), pid: 1, job: None, beat: 9 };
        fs::write(folder.path().join(LOCK), serde_json::to_vec(&left).unwrap()).unwrap();
        drop(RunLock::take(folder.path(), Holder::this("here", None)).unwrap());
    }

    #[test]
    fn a_counter_of_another_host_that_moves_keeps_the_run() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(LOCK);
        let there = |beat| Holder { host: "there".into(), pid: 1, job: None, beat };
        fs::write(&path, serde_json::to_vec(&there(2)).unwrap()).unwrap();
        assert_eq!(wait_until_gone(&path, &there(1)), Err(there(2)));
        fs::remove_file(&path).unwrap();
        assert_eq!(wait_until_gone(&path, &there(1)), Ok(()));
    }
}
