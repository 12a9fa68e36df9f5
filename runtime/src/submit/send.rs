//! The submission itself: binary, recipe and script are copied, the job is handed to the scheduler, and whatever
//! fails on that way takes away again what it had brought.

use std::path::{Path, PathBuf};

use hb_core::launch::{JobId, SubmitFacts, shell};

use super::{
    binary::{Binary, partial},
    jobs::Job,
    probe::Found,
    target::{Target, TargetError},
};

/// The largest file of a recipe that is copied, bytes: it is held in memory meanwhile.
const MOST_ALONG: u64 = 256 * 1024 * 1024;

/// What is sent, and where to.
#[derive(Debug)]
pub struct Sending {
    /// The folder for binaries and jobs.
    remote_dir: String,
    /// The binary.
    binary: Binary,
    /// The job's name in the folder, sortable by time.
    stamp: String,
    /// The run that goes on, in the folder of the job that began it.
    continued: Option<Continued>,
    /// Files that the recipe names and the cluster has not.
    along: Vec<Along>,
}

/// A file of this machine that the recipe names, and that lies beside it on the cluster.
#[derive(Debug)]
pub struct Along {
    key: String,
    path: PathBuf,
    bytes: Vec<u8>,
}

impl Along {
    /// The file that stands under `key`; of a tokenizer's folder, the tokenizer.
    ///
    /// # Errors
    /// It cannot be read, or is too large to be carried along.
    pub fn read(key: &str, path: &Path) -> Result<Self, TargetError> {
        let path = if path.is_dir() { path.join("tokenizer.json") } else { path.to_owned() };
        let failed = |said: String| TargetError::Failed {
            doing: format!("reading `{}`, which `{key}` names by a relative path", path.display()),
            place: "this machine".into(),
            said,
        };
        let size = std::fs::metadata(&path).map_err(|error| failed(error.to_string()))?.len();
        if size > MOST_ALONG {
            let said = format!(
                "it has {size} bytes, more than the {MOST_ALONG} that are copied; bring it there, and write its whole path"
            );
            return Err(failed(said));
        }
        let bytes = std::fs::read(&path).map_err(|error| failed(error.to_string()))?;
        Ok(Self { key: key.to_owned(), path, bytes })
    }

    /// Its name in the job's folder: no two keys have the same, and its end, which may tell the format, stays.
    fn name(&self) -> String {
        let block = self.key.split('.').nth(1).unwrap_or(&self.key);
        format!("{block}-{}", self.path.file_name().unwrap_or_default().to_string_lossy())
    }
}

/// A run that another job began.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Continued {
    /// The job that led it last.
    pub job: u64,
    /// That job's folder there, which takes the continuation too.
    pub dir: String,
    /// The run's folder, relative to it.
    pub run: String,
}

impl Sending {
    /// Names what will be sent.
    ///
    /// # Errors
    /// The binary cannot be read.
    pub fn new(binary: &Path, remote_dir: &str) -> Result<Self, TargetError> {
        let now = jiff::Timestamp::now().strftime("%Y%m%d-%H%M%S");
        let tail = uuid::Uuid::now_v7().simple().to_string();
        let stamp = format!("{now}-{}", &tail[tail.len() - 4..]);
        Ok(Self { remote_dir: remote_dir.to_owned(), binary: Binary::read(binary)?, stamp, continued: None, along: Vec::new() })
    }

    /// The same for a run that goes on.
    #[must_use]
    pub fn continuing(self, continued: Option<Continued>) -> Self {
        Self { continued, ..self }
    }

    /// The same with these files.
    #[must_use]
    pub fn with(self, along: Vec<Along>) -> Self {
        Self { along, ..self }
    }

    /// The files that are copied beside the recipe: from here, to there.
    pub fn along(&self) -> impl Iterator<Item = (&Path, String)> {
        self.along.iter().map(|file| (file.path.as_path(), format!("{}/{}", self.job_dir(), file.name())))
    }

    /// The same with the folder as the target names it.
    #[must_use]
    pub fn into_dir(self, remote_dir: &str) -> Self {
        Self { remote_dir: remote_dir.to_owned(), ..self }
    }

    /// What the script needs to know.
    #[must_use]
    pub fn facts(&self, sets: &[(String, String)]) -> SubmitFacts {
        // The filter of hbnode's own log is all that is taken along: other variables may hold secrets.
        let log = std::env::var("HBNODE_LOG").ok().map(|filter| ("HBNODE_LOG".to_owned(), filter));
        let places = self.along().map(|(_, to)| to);
        SubmitFacts {
            job_dir: self.job_dir(),
            binary: self.binary_path(),
            sets: sets.iter().cloned().chain(self.along.iter().map(|file| file.key.clone()).zip(places)).collect(),
            resume: self.continued.as_ref().map(|continued| continued.run.clone()),
            environment: log.into_iter().collect(),
        }
    }

    /// What of the target keeps the job from running, all at once.
    #[must_use]
    pub fn misfits(&self, found: &Found) -> Vec<String> {
        let mut misfits = self.binary.misfits(found);
        if found.sbatch.is_none() {
            misfits.push("there is no `sbatch`; is this the cluster's login node? Name it with --host".to_owned());
        }
        misfits
    }

    /// How large the binary is, bytes.
    #[must_use]
    pub fn size(&self) -> usize {
        self.binary.bytes.len()
    }

    /// The binary of this machine.
    #[must_use]
    pub fn source(&self) -> &Path {
        &self.binary.path
    }

    fn job_dir(&self) -> String {
        match &self.continued {
            Some(continued) => continued.dir.clone(),
            None => format!("{}/jobs/{}", self.remote_dir, self.stamp),
        }
    }

    fn binary_path(&self) -> String {
        self.binary.path_in(&self.remote_dir)
    }
}

/// Copies and submits. The scheduler's words are passed on as they are.
///
/// # Errors
/// What failed; nothing is left behind then, except where the connection was lost and nobody can know.
pub fn send(
    target: &Target,
    found: &Found,
    sending: &Sending,
    recipe: &[u8],
    script: &str,
    scenario: &str,
) -> Result<Job, TargetError> {
    let commands = found.sbatch.as_deref().and_then(|path| path.rsplit_once('/')).map_or("/usr/bin", |(folder, _)| folder);
    let mut is_new_binary = false;
    let submitted = copy(target, sending, recipe, script, &mut is_new_binary).and_then(|()| submit(target, sending, commands));
    match submitted {
        Ok(job) => Ok(Job {
            job,
            scenario: scenario.to_owned(),
            dir: sending.job_dir(),
            commands: commands.to_owned(),
            place: target.place().clone(),
            submitted_at: jiff::Timestamp::now().to_string(),
            continues: sending.continued.as_ref().map(|continued| continued.job),
        }),
        Err(error) => {
            if let Err(left) = clean(target, sending, is_new_binary) {
                tracing::warn!(dir = sending.job_dir(), %left, "what was copied could not be removed");
            }
            Err(error)
        }
    }
}

fn copy(target: &Target, sending: &Sending, recipe: &[u8], script: &str, is_new_binary: &mut bool) -> Result<(), TargetError> {
    let (dir, job_dir, binary) = (shell(&sending.remote_dir).into_owned(), sending.job_dir(), sending.binary_path());
    let job_dir = shell(&job_dir);
    let folder = match sending.continued {
        // The number of the job before would be taken for that of this one.
        Some(_) => format!("cd -- {job_dir} && rm -f job.id"),
        None => format!("mkdir -- {job_dir}"),
    };
    let prepare = format!(
        "umask 077 && mkdir -p -- {dir}/bin {dir}/jobs && {folder} || exit 1\n\
         if {}; then echo there; fi",
        sending.binary.is_there(&binary)
    );
    if target.run("making folders", &prepare)?.trim() != "there" {
        *is_new_binary = true;
        let put = sending.binary.put(&binary, &sending.stamp);
        target.run_with("copying the binary", &put, &sending.binary.bytes)?;
    }
    target.run("starting the binary", &format!("{} --version", shell(&binary)))?;
    if sending.continued.is_none() {
        target.run_with("copying the recipe", &format!("umask 077; cat > {job_dir}/recipe.yaml"), recipe)?;
    }
    for (file, (_, to)) in sending.along.iter().zip(sending.along()) {
        target.run_with("copying a file of the recipe", &format!("umask 077; cat > {}", shell(&to)), &file.bytes)?;
    }
    target.run_with("copying the script", &format!("umask 077; cat > {job_dir}/job.sh"), script.as_bytes())?;
    Ok(())
}

/// The number is written down there before it travels here. Slurm takes the umask over: the job's output may hold
/// what is for its owner alone.
fn submit(target: &Target, sending: &Sending, commands: &str) -> Result<u64, TargetError> {
    let (job_dir, commands) = (sending.job_dir(), shell(commands));
    let script = format!(
        "umask 077; cd -- {} && PATH={commands}:$PATH && sbatch --parsable job.sh > job.id && cat job.id",
        shell(&job_dir)
    );
    let said = match target.run("submitting", &script) {
        Ok(said) => said,
        Err(TargetError::Failed { doing, place, said }) => {
            let said = advised(&said);
            return Err(TargetError::Failed { doing, place, said });
        }
        Err(error) => return Err(error),
    };
    said.trim().parse::<JobId>().map(|id| id.job).map_err(|error| TargetError::Failed {
        doing: "reading the job's number".into(),
        place: target.place().to_string(),
        said: error.to_string(),
    })
}

/// The scheduler's words, and what to do about them where that is known.
fn advised(said: &str) -> String {
    const ADVICE: &[(&str, &str)] = &[
        ("account", "look at `account` in the recipe (or MLUX_ACCOUNT) and at `sacctmgr show associations user=$USER`"),
        ("qos", "look at `qos` in the recipe and at `sacctmgr show qos`"),
        ("partition", "look at `partition` in the recipe and at `sinfo`"),
        ("reservation", "look at `orchestration.job_config.reservation` and at `scontrol show reservation`"),
        ("time limit", "set `orchestration.job_config.time_limit`"),
        ("node configuration", "no node has what `resources` asks for"),
        ("space", "make room, or name another folder with --remote-dir"),
        ("configuration source", "this machine belongs to no cluster: name the login node with --host"),
        ("unable to contact", "the scheduler does not answer: try again"),
    ];
    let lower = said.to_lowercase();
    match ADVICE.iter().find(|(word, _)| lower.contains(word)) {
        Some((_, advice)) => format!("{said}; {advice}"),
        None => said.to_owned(),
    }
}

/// Takes away what was brought, unless a job was submitted after all and its number only got lost on the way.
fn clean(target: &Target, sending: &Sending, is_new_binary: bool) -> Result<(), TargetError> {
    let (dir, job_dir, binary) = (shell(&sending.remote_dir).into_owned(), sending.job_dir(), sending.binary_path());
    let draft = partial(&binary, &sending.stamp);
    let (job_dir, binary, draft) = (shell(&job_dir), shell(&binary), shell(&draft));
    let new = if is_new_binary { format!("rm -f -- {binary} {draft}\n") } else { String::new() };
    // A run that goes on keeps what it has.
    let folder = if sending.continued.is_some() { String::new() } else { format!("rm -rf -- {job_dir}\n") };
    let script = format!(
        "[ ! -s {job_dir}/job.id ] || {{ echo \"a job was submitted: $(cat {job_dir}/job.id)\" >&2; exit 1; }}\n\
         {folder}{new}rmdir -- {dir}/bin {dir}/jobs {dir} 2>/dev/null\nexit 0"
    );
    target.run("cleaning up", &script).map(drop)
}

/// Cancels a job.
///
/// # Errors
/// The place cannot be reached, or the scheduler refuses.
pub fn cancel(target: &Target, job: &Job) -> Result<(), TargetError> {
    let script = format!("PATH={}:$PATH; scancel {}", shell(&job.commands), job.job);
    target.run("cancelling", &script).map(drop)
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt as _};

    use super::*;
    use crate::submit::Where;

    /// A stand-in for a scheduler's command.
    fn write_command(path: &Path, text: &str) {
        fs::write(path, format!("#!/bin/sh\n{text}\n")).unwrap();
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
    }

    fn sent(folder: &Path, sbatch: &str) -> Result<Job, TargetError> {
        let commands = folder.join("commands");
        fs::create_dir_all(&commands).unwrap();
        write_command(&commands.join("sbatch"), sbatch);
        write_command(&folder.join("hbnode"), "echo hbnode");
        let remote = folder.join("it's remote").display().to_string();
        let target = Target::open(Where::default()).unwrap();
        let found = Found {
            processor: "x86_64".into(),
            c_library: None,
            sbatch: Some(commands.join("sbatch").display().to_string()),
            remote_dir: remote.clone(),
            is_writable: true,
            free_kib: None,
            partitions: Vec::new(),
        };
        let along = Along::read("workload.tokenizer", &folder.join("hbnode")).unwrap();
        let sending = Sending::new(&folder.join("hbnode"), &remote).unwrap().with(vec![along]);
        let place = format!("{}/tokenizer-hbnode", sending.facts(&[]).job_dir);
        assert_eq!(sending.facts(&[]).sets, [("workload.tokenizer".to_owned(), place)]);
        send(&target, &found, &sending, b"scenario: x\n", "#!/bin/bash\n", "x")
    }

    #[test]
    fn a_job_that_was_taken_has_its_files_and_its_number_there() {
        let folder = tempfile::tempdir().unwrap();
        let job = sent(folder.path(), "[ -f recipe.yaml ] && [ \"$1 $2\" = '--parsable job.sh' ] && echo '42;cluster'").unwrap();
        assert_eq!(job.job, 42);
        assert_eq!(fs::read_to_string(format!("{}/job.id", job.dir)).unwrap().trim(), "42;cluster");
        assert_eq!(fs::read_to_string(format!("{}/recipe.yaml", job.dir)).unwrap(), "scenario: x\n");
        assert!(fs::read_to_string(format!("{}/tokenizer-hbnode", job.dir)).unwrap().contains("echo hbnode"));
        assert_eq!(fs::metadata(&job.dir).unwrap().permissions().mode() & 0o777, 0o700);
    }

    #[test]
    fn a_refused_job_leaves_nothing_behind_and_says_the_schedulers_words() {
        let folder = tempfile::tempdir().unwrap();
        let refused = sent(folder.path(), "echo 'sbatch: error: Invalid qos specification' >&2; exit 1").unwrap_err().to_string();
        assert!(refused.contains("Invalid qos specification") && refused.contains("`qos` in the recipe"), "{refused}");
        assert!(!folder.path().join("it's remote").exists());
    }

    #[test]
    fn a_binary_that_other_jobs_use_stays_when_a_job_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        sent(folder.path(), "echo 1").unwrap();
        sent(folder.path(), "exit 1").unwrap_err();
        let binaries = fs::read_dir(folder.path().join("it's remote/bin")).unwrap().count();
        let jobs = fs::read_dir(folder.path().join("it's remote/jobs")).unwrap().count();
        assert_eq!((binaries, jobs), (1, 1));
    }
}
