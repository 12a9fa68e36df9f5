//! An image that is not there and that the recipe says where to pull: the first node that comes pulls it, to a name of its
//! own, which becomes the image's when it is whole; the others wait for it.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, ErrorKind, Write as _},
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, SystemTime},
};

use hb_core::trial::ServiceSpec;
use hb_services::{prefetch::image_pull, service::CommandLine};
use tokio::time::{Instant, interval, sleep};
use tokio_util::sync::CancellationToken;

use crate::child::{GuardedChild, StopPolicy, guarded::LineSink};

/// How often whoever pulls shows that it still does, and those who wait look.
const BEAT: Duration = Duration::from_secs(1);
/// A claim that nobody renewed for so long is of a node that is gone.
const STALE_AFTER: Duration = Duration::from_secs(30);

/// What a pull needs of its node.
pub(super) struct Puller<'a> {
    /// This very binary, which is the guardian.
    pub own_exe: &'a Path,
    /// Takes the tool's output.
    pub sink: LineSink,
    /// Ends it.
    pub stop: &'a CancellationToken,
    /// Takes what is going on, for people.
    pub progress: &'a (dyn Fn(String) + Sync),
}

impl Puller<'_> {
    /// Sees to it that the image is there, if the recipe names where it comes from.
    ///
    /// # Errors
    /// Why it cannot be brought, and what to do.
    pub(super) async fn bring(&self, spec: &ServiceSpec) -> Result<(), String> {
        let (Some(path), Some(remote)) = (spec.image(), spec.remote.as_deref()) else { return Ok(()) };
        let mut watched = Watched::default();
        let mut is_told = false;
        while !path.exists() && !self.stop.is_cancelled() {
            let claim = match Claim::take(path) {
                Ok(claim) => claim,
                Err(error) => return Err(advised(path, remote, &format!("its folder cannot be written to: {error}"))),
            };
            if let Some(claim) = claim {
                (self.progress)(format!("pulling {remote}"));
                return self.pull(spec, path, remote, &claim).await.map_err(|why| advised(path, remote, &why));
            }
            if watched.is_stale(&claim_of(path), Instant::now()) {
                Claim::drop_stale(path);
            } else if !is_told {
                is_told = true;
                (self.progress)(format!("waiting for {}, which another node pulls", path.display()));
            }
            tokio::select! {
                () = self.stop.cancelled() => {}
                () = sleep(BEAT) => {}
            }
        }
        Ok(())
    }

    async fn pull(&self, spec: &ServiceSpec, path: &Path, remote: &str, claim: &Claim) -> Result<(), String> {
        let draft = Draft::beside(path);
        for command in image_pull(spec.runtime, remote, &draft.0.to_string_lossy()) {
            self.run(&command, claim).await?;
            if self.stop.is_cancelled() {
                return Ok(());
            }
        }
        fs::rename(&draft.0, path).map_err(|error| format!("cannot give it its name: {error}"))
    }

    async fn run(&self, command: &CommandLine, claim: &Claim) -> Result<(), String> {
        let child = GuardedChild::spawn(command, self.own_exe, StopPolicy::default(), Arc::clone(&self.sink))
            .await
            .map_err(|error| error.to_string())?;
        let mut beat = interval(BEAT);
        loop {
            tokio::select! {
                biased;
                () = self.stop.cancelled() => return child.stop().await.map(drop).map_err(|error| error.to_string()),
                ended = child.wait() => {
                    return if ended.how.is_success() { Ok(()) } else { Err(format!("`{}` {ended}", command.program.display())) };
                }
                _ = beat.tick() => claim.renew(),
            }
        }
    }
}

fn advised(path: &Path, remote: &str, why: &str) -> String {
    format!(
        "cannot pull the image `{}` from `{remote}`, which artifacts.service names: {why}; where compute nodes reach no registry, \
         `hbnode prefetch RECIPE` brings it on a host that does",
        path.display()
    )
}

/// Where it is written that somebody pulls the image.
fn claim_of(path: &Path) -> PathBuf {
    with_ending(path, "pulling")
}

fn with_ending(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".");
    name.push(ending);
    name.into()
}

/// The right to pull an image: a file that one node can make. Dropped, it goes.
struct Claim(PathBuf);

impl Claim {
    /// The claim, if nobody has it.
    fn take(path: &Path) -> io::Result<Option<Self>> {
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)?;
        }
        let claim = claim_of(path);
        match OpenOptions::new().write(true).create_new(true).open(&claim) {
            Ok(mut file) => {
                // For people who wonder; nobody reads it.
                writeln!(file, "process {}", std::process::id())?;
                Ok(Some(Self(claim)))
            }
            Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn renew(&self) {
        let renewed = File::options().write(true).open(&self.0).and_then(|file| file.set_modified(SystemTime::now()));
        if let Err(error) = renewed {
            tracing::debug!(%error, "a claim to pull cannot be renewed");
        }
    }

    fn drop_stale(path: &Path) {
        if let Err(error) = fs::remove_file(claim_of(path)) {
            tracing::debug!(%error, "a stale claim to pull was removed by another node");
        }
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

/// What is pulled so far; what is left of it goes.
struct Draft(PathBuf);

impl Draft {
    fn beside(path: &Path) -> Self {
        let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
        Self(with_ending(path, &format!("{host}-{}.partial", std::process::id())))
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        // Where it has got its name there is none.
        let _ = if self.0.is_dir() { fs::remove_dir_all(&self.0) } else { fs::remove_file(&self.0) };
    }
}

/// A claim as others see it: by their own clock, since nodes' clocks differ.
#[derive(Default)]
struct Watched(Option<(SystemTime, Instant)>);

impl Watched {
    /// Whether nobody has renewed it while this node watched for [`STALE_AFTER`].
    fn is_stale(&mut self, claim: &Path, now: Instant) -> bool {
        let Ok(renewed) = fs::metadata(claim).and_then(|data| data.modified()) else {
            self.0 = None;
            return false;
        };
        match self.0 {
            Some((same, since)) if same == renewed => now.duration_since(since) >= STALE_AFTER,
            _ => {
                self.0 = Some((renewed, now));
                false
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_node_has_the_claim_until_it_drops_it() {
        let folder = tempfile::tempdir().unwrap();
        let image = folder.path().join("images/s.sif");
        let claim = Claim::take(&image).unwrap().expect("nobody has it");
        assert!(Claim::take(&image).unwrap().is_none());
        drop(claim);
        assert!(Claim::take(&image).unwrap().is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn a_claim_is_stale_once_nobody_renewed_it_while_it_was_watched() {
        let folder = tempfile::tempdir().unwrap();
        let image = folder.path().join("s.sif");
        let claim = Claim::take(&image).unwrap().unwrap();
        let mut watched = Watched::default();
        let mut stale = || watched.is_stale(&claim_of(&image), Instant::now());
        assert!(!stale());
        tokio::time::advance(STALE_AFTER / 2).await;
        File::options().write(true).open(&claim.0).unwrap().set_modified(SystemTime::now() + Duration::from_secs(9)).unwrap();
        assert!(!stale());
        tokio::time::advance(STALE_AFTER / 2).await;
        assert!(!stale(), "it was renewed");
        tokio::time::advance(STALE_AFTER).await;
        assert!(stale());
    }
}
