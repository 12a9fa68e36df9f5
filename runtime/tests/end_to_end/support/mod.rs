//! What every end-to-end test needs: a folder of its own, the real binary, a deadline on every wait, and the
//! end of all that it started, whatever the test came to.

mod dummy;
mod http;
mod processes;
mod relay;
mod run;
mod secured;

use std::{
    fs::{self, File},
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;

pub use self::{
    dummy::Dummy,
    http::{get, post, send},
    processes::holds_port,
    relay::Relay,
    run::{Run, assert_balanced},
    secured::Secured,
};

/// Nothing that a test waits for may take longer.
pub const AT_MOST: Duration = Duration::from_secs(50);
/// The pause between two looks at something that is waited for.
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// The variable by which everything that a scene started is found again; children inherit it.
const MARK: &str = "HBNODE_TEST_SCENE";

/// Waits until `look` finds something.
///
/// # Panics
/// If it does not within `limit`.
pub fn until<T>(what: &str, limit: Duration, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + limit;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < deadline, "waited {} s in vain for: {what}", limit.as_secs());
        std::thread::sleep(LOOK_EVERY);
    }
}

/// A test's own folder, and everything it started. All of it ends with this value.
pub struct Scene {
    folder: TempDir,
    mark: String,
    started: std::cell::Cell<u32>,
}

impl Scene {
    /// An empty one.
    pub fn new() -> Self {
        let folder = tempfile::Builder::new().prefix("hbnode-test-").tempdir().unwrap();
        let mark = folder.path().display().to_string();
        Self { folder, mark, started: std::cell::Cell::new(0) }
    }

    /// A path in its folder.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Writes a file into its folder.
    pub fn file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path(name);
        fs::write(&path, text).unwrap();
        path
    }

    /// Writes a program into its folder, and the folders on the way to it.
    pub fn program(&self, name: &str, text: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        path
    }

    /// The binary, in this folder, with nothing of the surroundings that would change what it does.
    pub fn hbnode(&self) -> Command {
        let mut command = Command::new(assert_cmd::cargo::cargo_bin!("hbnode"));
        for (name, _) in std::env::vars_os() {
            let name = name.to_string_lossy();
            if ["SLURM_", "HBNODE_", "KUBERNETES_"].iter().any(|prefix| name.starts_with(prefix)) || name == "WORK" {
                command.env_remove(&*name);
            }
        }
        command.env(MARK, &self.mark).env("NO_COLOR", "1").current_dir(self.folder.path()).stdin(Stdio::null());
        command
    }

    /// Runs the binary to its end.
    pub fn says(&self, arguments: &[&str]) -> Ended {
        self.start(arguments).wait()
    }

    /// Starts the binary.
    pub fn start(&self, arguments: &[&str]) -> Running {
        let mut command = self.hbnode();
        command.args(arguments);
        self.spawn(command)
    }

    /// Starts this command with its output in files, which never block it.
    pub fn spawn(&self, mut command: Command) -> Running {
        let number = self.started.replace(self.started.get() + 1);
        let (stdout, stderr) = (self.path(&format!("{number}.stdout")), self.path(&format!("{number}.stderr")));
        command.stdout(File::create(&stdout).unwrap()).stderr(File::create(&stderr).unwrap());
        Running { child: command.spawn().unwrap(), stdout, stderr, results: self.path("results") }
    }

    /// Leads this recipe with `--json`, its results in this folder.
    pub fn lead(&self, recipe: &str, further: &[&str]) -> Running {
        self.spawn(self.leading(recipe, further))
    }

    /// The command that does so.
    pub fn leading(&self, recipe: &str, further: &[&str]) -> Command {
        let recipe = self.file(&format!("recipe-{}.yaml", self.started.get()), recipe);
        let mut command = self.hbnode();
        command.arg("--leader").arg(recipe).arg("--results").arg(self.path("results")).arg("--json").args(further);
        command
    }

    /// The processes of this scene that still run, each with its command line.
    pub fn left(&self) -> Vec<(i32, String)> {
        processes::marked(&format!("{MARK}={}", self.mark))
    }

    /// Nothing that was started here runs any more.
    ///
    /// # Panics
    /// If something still does after `limit`.
    pub fn assert_nothing_left(&self, limit: Duration) {
        let deadline = Instant::now() + limit;
        while !self.left().is_empty() {
            assert!(Instant::now() < deadline, "still there after {} s: {:?}", limit.as_secs(), self.left());
            std::thread::sleep(LOOK_EVERY);
        }
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        for (pid, _) in self.left() {
            kill(pid, Signal::KILL);
        }
    }
}

/// Sends a signal to a process that may be gone already.
pub fn kill(pid: i32, signal: Signal) {
    if let Some(pid) = Pid::from_raw(pid) {
        let _ = kill_process(pid, signal);
    }
}

/// A process of the binary that runs.
pub struct Running {
    child: Child,
    stdout: PathBuf,
    stderr: PathBuf,
    results: PathBuf,
}

/// How it ended.
#[derive(Debug)]
pub struct Ended {
    /// Its exit code; `None` where a signal ended it.
    pub code: Option<i32>,
    /// All it said on standard output.
    pub stdout: String,
    /// All it said on standard error.
    pub stderr: String,
}

impl Running {
    /// Its process.
    pub fn pid(&self) -> i32 {
        i32::try_from(self.child.id()).unwrap()
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) {
        kill(self.pid(), signal);
    }

    /// What it said so far on standard error.
    pub fn stderr(&self) -> String {
        fs::read_to_string(&self.stderr).unwrap()
    }

    /// Waits for its end.
    pub fn wait(self) -> Ended {
        self.wait_at_most(AT_MOST)
    }

    /// Waits for its end, at most so long.
    ///
    /// # Panics
    /// If it does not end.
    pub fn wait_at_most(mut self, limit: Duration) -> Ended {
        let deadline = Instant::now() + limit;
        let status = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break status;
            }
            assert!(Instant::now() < deadline, "it did not end within {} s; it said: {}", limit.as_secs(), self.stderr());
            std::thread::sleep(LOOK_EVERY);
        };
        let text = |path: &Path| fs::read_to_string(path).unwrap();
        Ended { code: status.code(), stdout: text(&self.stdout), stderr: text(&self.stderr) }
    }

    /// The folder of the run it leads, once there is one.
    pub fn run_dir(&mut self) -> PathBuf {
        self.awaited("a run folder", |results| {
            let scenario = fs::read_dir(results).ok()?.flatten().map(|entry| entry.path());
            let latest = scenario.map(|path| path.join("latest")).find(|latest| latest.exists())?;
            fs::canonicalize(latest).ok()
        })
    }

    /// The first event of its run for which `is_it` holds, once it happened.
    pub fn event(&mut self, what: &str, is_it: impl Fn(&Value) -> bool) -> Value {
        let folder = self.run_dir();
        self.awaited(what, |_| run::events(&folder).into_iter().find(|event| is_it(event)))
    }

    /// Waits until it is in this phase.
    pub fn phase(&mut self, phase: &str) -> Value {
        self.event(phase, |event| event["event"] == "phase_entered" && event["phase"] == phase)
    }

    /// The word after `before` in what it says on standard error, once it said it.
    pub fn word_after(&mut self, before: &str) -> String {
        let stderr = self.stderr.clone();
        self.awaited(before, |_| {
            let said = fs::read_to_string(&stderr).ok()?;
            let (_, rest) = said.split_once(before)?;
            let (word, _) = rest.split_once(|letter: char| letter.is_whitespace() || letter == ',')?;
            Some(word.to_owned())
        })
    }

    fn awaited<T>(&mut self, what: &str, look: impl Fn(&Path) -> Option<T>) -> T {
        let deadline = Instant::now() + AT_MOST;
        loop {
            let status = self.child.try_wait().unwrap();
            if let Some(found) = look(&self.results) {
                return found;
            }
            let said = || fs::read_to_string(&self.stderr).unwrap();
            assert!(status.is_none(), "it ended ({status:?}) before there was {what}; it said: {}", said());
            assert!(Instant::now() < deadline, "waited in vain for {what}; it said: {}", said());
            std::thread::sleep(LOOK_EVERY);
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It has ended already where the test went as it should.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Ended {
    /// The contract's last line.
    ///
    /// # Panics
    /// If there is none.
    pub fn line(&self) -> Value {
        let last = self.stdout.lines().last().unwrap_or_else(|| panic!("nothing on stdout; stderr: {}", self.stderr));
        serde_json::from_str(last).unwrap_or_else(|error| panic!("`{last}` is no JSON ({error}); stderr: {}", self.stderr))
    }

    /// The run that the last line points to, which ended with this code.
    ///
    /// # Panics
    /// If it ended with another, or left no report.
    pub fn run(&self, code: i32) -> Run {
        assert_eq!(self.code, Some(code), "stdout: {}\nstderr: {}", self.stdout, self.stderr);
        let line = self.line();
        assert_eq!(line["exit_code"], code, "{line}");
        let folder = line["run_dir"].as_str().unwrap_or_else(|| panic!("no run folder; stderr: {}", self.stderr));
        Run::read(Path::new(folder))
    }
}
