//! A job's results, brought here: into a folder beside, then moved to their place in one step each.

use std::{
    fs, io,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use hb_core::launch::shell;

use super::{
    jobs::Job,
    target::{Target, TargetError},
};
use crate::results::point_to_newest;

/// What came.
#[derive(Debug)]
pub struct Fetched {
    /// The runs' folders here; empty where the job left none.
    pub runs: Vec<PathBuf>,
    /// Where the job's script and output are.
    pub job_files: PathBuf,
}

/// Brings everything that a job left into `results`.
///
/// # Errors
/// The place cannot be reached, or something cannot be written here.
pub fn fetch(target: &Target, job: &Job, results: &Path) -> Result<Fetched, TargetError> {
    let tail = uuid::Uuid::now_v7().simple().to_string();
    let beside = results.join(format!(".fetching-{}-{}", job.job, &tail[tail.len() - 6..]));
    fs::create_dir_all(&beside).map_err(|cause| TargetError::File { doing: "create", path: beside.clone(), cause })?;
    let fetched = unpack(target, job, &beside).and_then(|()| {
        put_in_place(job, &beside, results).map_err(|cause| TargetError::File {
            doing: "put results into",
            path: results.to_owned(),
            cause,
        })
    });
    if let Err(error) = fs::remove_dir_all(&beside) {
        tracing::warn!(folder = %beside.display(), %error, "a folder for fetching could not be removed");
    }
    fetched
}

/// One stream of one `tar` there into one here.
fn unpack(target: &Target, job: &Job, beside: &Path) -> Result<(), TargetError> {
    // The state folder holds the way into a run that is over.
    let script = format!(
        "cd -- {} && set -- && for name in results slurm-*.out job.sh recipe.yaml; do [ ! -e \"$name\" ] || set -- \"$@\" \"$name\"; \
         done && tar -cf - --exclude=results/.hbnode -- \"$@\"",
        shell(&job.dir)
    );
    let failed = |cause| TargetError::Program { program: "tar", cause };
    let mut there = target.start(&script, Stdio::null(), Stdio::piped())?;
    let stream = there.stdout.take().expect("standard output was asked for");
    // Both at once: a `tar` there that says much would wait for a reader, and the one here for its archive.
    let mut unpacking = Command::new("tar");
    unpacking.arg("-xf").arg("-").arg("-C").arg(beside).stdin(stream).stderr(Stdio::piped());
    let (here, there) = std::thread::scope(|scope| {
        let there = scope.spawn(|| there.wait_with_output());
        let here = unpacking.output();
        // It keeps the reading end open, and the other would go on writing.
        drop(unpacking);
        (here, there.join().expect("waiting for a process does not panic"))
    });
    let (here, there) = (here.map_err(failed)?, there.map_err(failed)?);
    if !there.status.success() {
        return Err(target.failure("reading the results", there.status, &there.stderr));
    }
    if !here.status.success() {
        let cause = io::Error::other(super::target::one_line(&String::from_utf8_lossy(&here.stderr)));
        return Err(TargetError::File { doing: "unpack into", path: beside.to_owned(), cause });
    }
    Ok(())
}

/// `results/<scenario>/<run>`, as if the run had been led here. A run that was fetched before is replaced.
fn put_in_place(job: &Job, beside: &Path, results: &Path) -> io::Result<Fetched> {
    let mut runs = Vec::new();
    for scenario in folders(&beside.join("results"))? {
        for run in folders(&scenario)? {
            let (Some(scenario), Some(name)) = (scenario.file_name(), run.file_name()) else { continue };
            let (folder, place) = (results.join(scenario), results.join(scenario).join(name));
            fs::create_dir_all(&folder)?;
            if place.exists() {
                fs::remove_dir_all(&place)?;
            }
            fs::rename(&run, &place)?;
            point_to_newest(&folder)?;
            runs.push(place);
        }
    }
    runs.sort();
    let job_files = match runs.last() {
        Some(run) => run.join("job"),
        None => results.join(&job.scenario).join(format!("job-{}", job.job)),
    };
    fs::create_dir_all(&job_files)?;
    // The outputs of all jobs that led the run.
    for entry in fs::read_dir(beside)? {
        let entry = entry?;
        if entry.file_type()?.is_file() {
            fs::rename(entry.path(), job_files.join(entry.file_name()))?;
        }
    }
    Ok(Fetched { runs, job_files })
}

/// The folders in a folder, links not followed; none where it is not there.
fn folders(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries.collect::<io::Result<Vec<_>>>()?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
        Err(error) => return Err(error),
    };
    let is_folder = |entry: &fs::DirEntry| entry.file_type().is_ok_and(|kind| kind.is_dir());
    let mut paths: Vec<PathBuf> = entries.iter().filter(|entry| is_folder(entry)).map(fs::DirEntry::path).collect();
    paths.sort();
    Ok(paths)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::submit::Where;

    fn job(dir: &Path) -> Job {
        Job {
            job: 5,
            scenario: "s".into(),
            dir: dir.display().to_string(),
            commands: "/usr/bin".into(),
            place: Where::default(),
            submitted_at: String::new(),
            continues: None,
        }
    }

    #[test]
    fn results_come_to_their_place_and_a_second_time_too() {
        let (there, here) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let run = there.path().join("results/a b/r1");
        fs::create_dir_all(run.join("logs")).unwrap();
        fs::create_dir_all(there.path().join("results/.hbnode/1.0.0")).unwrap();
        fs::write(run.join("report.json"), "{}").unwrap();
        fs::write(there.path().join("slurm-5.out"), "said").unwrap();
        std::os::unix::fs::symlink("r1", there.path().join("results/a b/latest")).unwrap();
        let target = Target::open(Where::default()).unwrap();
        for _ in 0..2 {
            let fetched = fetch(&target, &job(there.path()), here.path()).unwrap();
            assert_eq!(fetched.runs, [here.path().join("a b/r1")]);
            assert!(here.path().join("a b/latest/report.json").is_file());
            assert_eq!(fs::read_to_string(fetched.job_files.join("slurm-5.out")).unwrap(), "said");
        }
        let left: Vec<_> = fs::read_dir(here.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(left, ["a b"]);
    }

    #[test]
    fn an_older_run_that_is_fetched_does_not_become_the_latest() {
        let (there, here) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        fs::create_dir_all(there.path().join("results/s/r1")).unwrap();
        fs::create_dir_all(here.path().join("s/r2")).unwrap();
        fetch(&Target::open(Where::default()).unwrap(), &job(there.path()), here.path()).unwrap();
        assert_eq!(fs::read_link(here.path().join("s/latest")).unwrap(), Path::new("r2"));
    }

    #[test]
    fn a_job_that_left_no_run_still_gives_its_output() {
        let (there, here) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        fs::write(there.path().join("slurm-5.out"), "module: not found").unwrap();
        let fetched = fetch(&Target::open(Where::default()).unwrap(), &job(there.path()), here.path()).unwrap();
        assert!(fetched.runs.is_empty() && fetched.job_files.join("slurm-5.out").is_file());
    }

    #[test]
    fn a_job_whose_folder_is_gone_is_an_error_and_leaves_nothing_here() {
        let here = tempfile::tempdir().unwrap();
        assert!(fetch(&Target::open(Where::default()).unwrap(), &job(Path::new("/no/such")), here.path()).is_err());
        assert_eq!(fs::read_dir(here.path()).unwrap().count(), 0);
    }
}
