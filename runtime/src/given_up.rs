//! How the tasks of a step learn that their leader ended before there was a way in: a mark beside the place of the join file.
//!
//! ```text
//! rank 0     refuses ─► says why ─► given-up.JOB.STEP.RESTART.json
//! the others            wait for join.json, or read the mark ─► note that they did ─► the last one removes it all
//! ```
//!
//! The mark's name is that of the very step, and one that is older than a step can take to start is another's.

use std::{
    fs, io,
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    process::Stdio,
    time::{Duration, Instant},
};

use hb_actors::cluster::join_file::{FILE_NAME, remove_empty};
use serde::{Deserialize, Serialize};

use crate::{
    cli::exit::Exit,
    lead::{
        refused::Refused,
        surroundings::{SlurmStep, Surroundings},
    },
    signals::Signals,
};

/// The pause between two looks, as for the join file.
const POLL: Duration = Duration::from_millis(200);
/// A task that cannot be a node itself waits so long for what its leader says of that.
const LEADER_SPEAKS_WITHIN: Duration = Duration::from_secs(10);
/// An older mark is of a step of the same number, long ago.
const FRESH_FOR: Duration = Duration::from_secs(600);

/// What a leader leaves that gave up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Mark {
    /// Why, in one line.
    reason: String,
    /// How the leader ended.
    exit_code: u8,
}

/// The place of the mark of one step, for one of its tasks.
#[derive(Debug, Clone)]
pub struct GivenUp {
    folder: PathBuf,
    step: SlurmStep,
}

impl GivenUp {
    /// For a task of a step of several; alone, nobody waits.
    #[must_use]
    pub fn of(surroundings: &Surroundings, results: &Path) -> Option<Self> {
        let step = surroundings.step.clone().filter(|step| step.tasks > 1)?;
        Some(Self { folder: surroundings.state_dir(results, ""), step })
    }

    /// This task refuses: the leader tells the others, another one leaves the talking to the leader, where it can.
    pub fn refuse(&self, refused: Refused) -> Exit {
        if self.step.rank > 0 { self.also(refused) } else { self.tell(refused) }
    }

    /// As the leader: says it, and leaves the mark.
    fn tell(&self, refused: Refused) -> Exit {
        let mark = Mark { reason: refused.reason().to_owned(), exit_code: refused.exit.code() };
        let left = self.write(&mark);
        // Before Slurm is asked for anything, which may take the step's output along.
        let exit = refused.say();
        if let Err(error) = left {
            tracing::warn!(folder = %self.folder.display(), %error, "the other tasks are ended by a signal, because no mark can be left");
            signal_step(&format!("{}.{}", self.step.job, self.step.step));
        }
        exit
    }

    /// As another task that refuses by itself: what the leader refuses, too, is said once.
    fn also(&self, refused: Refused) -> Exit {
        let started = Instant::now();
        while started.elapsed() < LEADER_SPEAKS_WITHIN && !self.folder.join(FILE_NAME).exists() {
            if let Some((_, exit)) = self.look() {
                return exit;
            }
            std::thread::sleep(POLL);
        }
        eprintln!("this task, of rank {}, cannot be a node, and its leader does not know it:", self.step.rank);
        refused.say()
    }

    /// Waits until the leader gives up: why it did, and how this task ends for it.
    pub async fn heard(&self) -> (String, Exit) {
        loop {
            match self.look() {
                Some(found) => return found,
                None => tokio::time::sleep(POLL).await,
            }
        }
    }

    /// The mark, if it is there. The last task to read it removes it.
    fn look(&self) -> Option<(String, Exit)> {
        let path = self.path("json");
        let written = fs::metadata(&path).and_then(|found| found.modified()).ok()?;
        // A clock that is behind the file's makes it none too old.
        if written.elapsed().is_ok_and(|age| age > FRESH_FOR) {
            return None;
        }
        let mark = fs::read(&path).ok()?;
        self.note();
        // On a full disk it has a name and no words.
        let mark: Option<Mark> = serde_json::from_slice(&mark).ok();
        let exit = mark.as_ref().and_then(|mark| Exit::of_code(mark.exit_code.into())).unwrap_or(Exit::NoCluster);
        Some((mark.map_or_else(|| "its own words say why".to_owned(), |mark| mark.reason), exit))
    }

    /// Notes that this task has read it. Whoever is last, and sees that, removes everything.
    fn note(&self) {
        if fs::write(self.path(&format!("heard-{}", self.step.rank)), []).is_err() {
            return;
        }
        let heard = self.heard_by();
        if heard.len() as u32 + 1 >= self.step.tasks {
            for path in heard.into_iter().chain([self.path("json")]) {
                // Another one may see the same.
                let _ = fs::remove_file(path);
            }
            remove_empty(&self.folder);
        }
    }

    /// The notes of those that have read it.
    fn heard_by(&self) -> Vec<PathBuf> {
        let prefix = format!("{}.heard-", self.name());
        let entries = fs::read_dir(&self.folder).into_iter().flatten().flatten();
        entries.filter(|entry| entry.file_name().to_string_lossy().starts_with(&prefix)).map(|entry| entry.path()).collect()
    }

    /// Whole, by rename; without words where they find no room.
    fn write(&self, mark: &Mark) -> io::Result<()> {
        fs::create_dir_all(&self.folder)?;
        for path in self.heard_by() {
            fs::remove_file(path)?;
        }
        let draft = self.path("partial");
        let mut file = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&draft)?;
        let text = serde_json::to_vec(mark).expect("a text and a number serialise");
        if let Err(error) = io::Write::write_all(&mut file, &text) {
            tracing::warn!(%error, "the other tasks are not told why");
        }
        fs::rename(&draft, self.path("json"))
    }

    fn path(&self, ending: &str) -> PathBuf {
        self.folder.join(format!("{}.{ending}", self.name()))
    }

    fn name(&self) -> String {
        format!("given-up.{}.{}.{}", self.step.job, self.step.step, self.step.restart)
    }
}

/// Asks Slurm to end the tasks of this step; this one, which is ending, hears it, too, and goes on to its end.
fn signal_step(step: &str) {
    let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() else { return };
    let told = runtime.block_on(async {
        let _heard = Signals::listen()?;
        // It is waited for, because Slurm ends what a task leaves behind.
        let mut scancel = tokio::process::Command::new("scancel");
        scancel.args(["--signal=TERM", step]).stdout(Stdio::null()).stderr(Stdio::null()).status().await
    });
    if !told.as_ref().is_ok_and(|status| status.success()) {
        tracing::warn!(?told, "the other tasks wait until their time is over");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn task(folder: &Path, rank: u32, restart: u32) -> GivenUp {
        let step = SlurmStep { job: "7".into(), step: "0".into(), restart, rank, tasks: 3 };
        GivenUp { folder: folder.join(".hbnode/7.0.0"), step }
    }

    fn refused() -> Refused {
        Refused::words("the port is taken")
    }

    #[test]
    fn every_task_reads_the_leaders_reason_and_the_last_one_removes_it() {
        let results = tempfile::tempdir().unwrap();
        let (one, other) = (task(results.path(), 1, 0), task(results.path(), 2, 0));
        assert_eq!(one.look(), None);
        assert_eq!(task(results.path(), 0, 0).refuse(refused()), Exit::BadWords);
        let told = Some(("the port is taken".to_owned(), Exit::BadWords));
        assert_eq!(one.look(), told);
        assert_eq!(one.look(), told, "reading twice counts once");
        assert_eq!(other.look(), told);
        assert_eq!(fs::read_dir(results.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_mark_of_another_life_of_the_job_or_of_long_ago_is_none() {
        let results = tempfile::tempdir().unwrap();
        task(results.path(), 0, 0).refuse(refused());
        assert_eq!(task(results.path(), 1, 1).look(), None, "the job was requeued since");
        let one = task(results.path(), 1, 0);
        let file = fs::File::options().write(true).open(one.path("json")).unwrap();
        file.set_modified(std::time::SystemTime::now() - FRESH_FOR * 2).unwrap();
        assert_eq!(one.look(), None, "job numbers come again");
    }

    #[test]
    fn a_mark_that_found_no_room_for_its_words_ends_the_others_all_the_same() {
        let results = tempfile::tempdir().unwrap();
        let one = task(results.path(), 1, 0);
        fs::create_dir_all(&one.folder).unwrap();
        fs::write(one.path("json"), "").unwrap();
        assert_eq!(one.look(), Some(("its own words say why".to_owned(), Exit::NoCluster)));
    }

    #[test]
    fn a_task_that_refuses_what_its_leader_refuses_ends_as_that_does() {
        let results = tempfile::tempdir().unwrap();
        task(results.path(), 0, 0).refuse(Refused::new(Exit::Failed, "no space"));
        assert_eq!(task(results.path(), 1, 0).refuse(refused()), Exit::Failed);
    }
}
