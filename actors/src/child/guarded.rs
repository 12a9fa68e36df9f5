//! A child under its guardian, as its node sees it. Dropping every handle ends the child and all its descendants,
//! since that closes the node's end of the socket pair.

use std::{
    ffi::OsStr,
    fmt,
    io::{self, ErrorKind},
    os::{fd::OwnedFd, unix::net::UnixStream as StdUnixStream},
    path::{Path, PathBuf},
    process::Stdio,
    sync::Arc,
    time::Duration,
};

use hb_core::{facts::LogLine, units::Span};
use hb_services::service::CommandLine;
use rustix::process::{Pid, Signal, kill_process_group};
use tokio::{
    io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWriteExt, BufReader, Lines},
    net::{
        UnixStream,
        unix::{OwnedReadHalf, OwnedWriteHalf},
    },
    process::{Child, Command},
    sync::{Mutex, watch},
    task::JoinSet,
    time::timeout,
};

use super::{
    GUARD_WORD,
    lines::{LineCutter, Tail},
    report::{KILL_ORDER, Report},
    stopping::{StopPolicy, signal_name},
};
use crate::wall_clock::unix_nanos;

/// Takes the lines of a child, a read's worth at once.
pub type LineSink = Arc<dyn Fn(Vec<LogLine>) + Send + Sync>;

/// The time a guardian has to start its program: it is a process that does nothing else.
const START_DEADLINE: Duration = Duration::from_secs(30);
/// The time SIGKILL has to work after the grace.
const KILL_DEADLINE: Duration = Duration::from_secs(20);
/// The time to read what is left in the pipes, should somebody outlive a lost guardian.
const PIPE_DEADLINE: Duration = Duration::from_secs(2);
/// How much is read at once.
const READ_BYTES: usize = 16 * 1024;

/// Why a child cannot be started or ended.
#[derive(Debug, thiserror::Error)]
pub enum ChildError {
    /// The guardian cannot be started.
    #[error("cannot start the guardian `{exe}`: {source}", exe = exe.display())]
    Guardian {
        /// Its executable.
        exe: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The guardian runs and cannot start the program.
    #[error("cannot start `{program}`: {why}", program = program.display())]
    Program {
        /// The program.
        program: PathBuf,
        /// What the system said.
        why: String,
    },
    /// Something of it is left after SIGKILL.
    #[error("process {pid} or a descendant is left {waited} after it was asked to end")]
    Left {
        /// The program's process.
        pid: u32,
        /// How long was waited.
        waited: Span,
    },
}

/// How a child ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// By itself, with this code.
    Code(i32),
    /// By this signal.
    Signal(i32),
    /// Unknown: its guardian was killed, and the child's process group after it.
    GuardianLost,
}

impl Ending {
    /// Whether it says that all went well.
    #[must_use]
    pub fn is_success(self) -> bool {
        self == Self::Code(0)
    }
}

impl fmt::Display for Ending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Code(code) => write!(f, "exited with code {code}"),
            Self::Signal(signal) => write!(f, "was ended by {}", signal_name(*signal)),
            Self::GuardianLost => f.write_str("lost its guardian and was killed"),
        }
    }
}

/// A child's end: nothing of it is left.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ended {
    /// How.
    pub how: Ending,
    /// The last lines it wrote, oldest first.
    pub tail: Vec<String>,
}

impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}; {}", self.how, LastWords(&self.tail))
    }
}

/// The end of a child's own output, for a message.
pub struct LastWords<'a>(pub &'a [String]);

impl fmt::Display for LastWords<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() { f.write_str("it wrote nothing") } else { write!(f, "its last lines:\n{}", self.0.join("\n")) }
    }
}

/// A running child. Shared by whoever waits for it and whoever ends it.
#[derive(Debug)]
pub struct GuardedChild {
    pid: u32,
    policy: StopPolicy,
    /// `None` once everything was asked to end.
    orders: Mutex<Option<OwnedWriteHalf>>,
    ended: watch::Receiver<Option<Ended>>,
    tail: Arc<Tail>,
}

impl GuardedChild {
    /// Starts a program under a guardian, which is this very binary.
    ///
    /// # Errors
    /// What the guardian or the program cannot be started for.
    pub async fn spawn(command: &CommandLine, own_exe: &Path, policy: StopPolicy, sink: LineSink) -> Result<Self, ChildError> {
        Self::spawn_with(command, own_exe, policy, None, sink).await
    }

    /// The same for a program that has a folder of its own, which goes when nothing of it is left, even if this process
    /// is gone by then.
    ///
    /// # Errors
    /// As [`Self::spawn`].
    pub async fn spawn_with(
        command: &CommandLine,
        own_exe: &Path,
        policy: StopPolicy,
        scratch: Option<&Path>,
        sink: LineSink,
    ) -> Result<Self, ChildError> {
        let guardian_error = |source| ChildError::Guardian { exe: own_exe.to_owned(), source };
        let program_error = |why: String| ChildError::Program { program: command.program.clone(), why };
        let (ours, theirs) = StdUnixStream::pair().map_err(guardian_error)?;
        let mut guard = guard_command(command, own_exe, policy, scratch, theirs).spawn().map_err(guardian_error)?;
        ours.set_nonblocking(true).map_err(guardian_error)?;
        let (reports, orders) = UnixStream::from_std(ours).map_err(guardian_error)?.into_split();
        let tail = Arc::new(Tail::default());
        let mut pumps = JoinSet::new();
        if let Some(stdout) = guard.stdout.take() {
            pumps.spawn(pump(stdout, false, Arc::clone(&tail), Arc::clone(&sink)));
        }
        if let Some(stderr) = guard.stderr.take() {
            pumps.spawn(pump(stderr, true, Arc::clone(&tail), sink));
        }
        let mut reports = BufReader::new(reports).lines();
        let first = match timeout(START_DEADLINE, reports.next_line()).await {
            Ok(line) => line.map_err(guardian_error)?,
            Err(_) => return Err(guardian_error(ErrorKind::TimedOut.into())),
        };
        let pid = match first.as_deref().and_then(Report::read) {
            Some(Report::Started(pid)) => pid,
            Some(Report::NotStarted(why)) => return Err(program_error(why)),
            _ => {
                // It ended without a word of ours: its own words are on stderr.
                while pumps.join_next().await.is_some() {}
                let words = tail.lines();
                return Err(guardian_error(io::Error::other(LastWords(&words).to_string())));
            }
        };
        let (told, ended) = watch::channel(None);
        tokio::spawn(watch_over(guard, pid, reports, pumps, Arc::clone(&tail), told));
        Ok(Self { pid, policy, orders: Mutex::new(Some(orders)), ended, tail })
    }

    /// The program's process, which leads its own group.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Waits until nothing of it is left.
    pub async fn wait(&self) -> Ended {
        let mut ended = self.ended.clone();
        let lost = || Ended { how: Ending::GuardianLost, tail: self.tail.lines() };
        ended.wait_for(Option::is_some).await.ok().and_then(|value| value.clone()).unwrap_or_else(lost)
    }

    /// Ends the program and all its descendants: the policy's signal, its grace, SIGKILL. A repeat waits alike.
    ///
    /// # Errors
    /// That something is left in spite of SIGKILL.
    pub async fn stop(&self) -> Result<Ended, ChildError> {
        // Dropped is shut down, which the guardian reads as the end.
        drop(self.orders.lock().await.take());
        let waited = self.policy.grace.0 + KILL_DEADLINE;
        timeout(waited, self.wait()).await.map_err(|_| ChildError::Left { pid: self.pid, waited: Span(waited) })
    }

    /// A drill: SIGKILL to the program itself, as if it had crashed. One that ends already is left to end.
    pub async fn kill_now(&self) {
        if let Some(orders) = self.orders.lock().await.as_mut()
            && let Err(error) = orders.write_all(&[KILL_ORDER]).await
        {
            tracing::warn!(pid = self.pid, %error, "the guardian takes no orders");
        }
    }
}

/// The guardian's own command line. Variables, secrets among them, are inherited through it and in no `argv`.
fn guard_command(
    command: &CommandLine,
    own_exe: &Path,
    policy: StopPolicy,
    scratch: Option<&Path>,
    control: StdUnixStream,
) -> Command {
    let mut guard = Command::new(own_exe);
    guard
        .arg(GUARD_WORD)
        .args(scratch.into_iter().flat_map(|folder| [OsStr::new("--scratch"), folder.as_os_str()]))
        .arg("--grace")
        .arg(policy.grace.as_secs_f64().to_string())
        .arg("--signal")
        .arg(policy.signal.to_string())
        .arg("--")
        .arg(&command.program)
        .args(&command.args)
        .envs(&command.env)
        .stdin(Stdio::from(OwnedFd::from(control)))
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        // So that a Ctrl-C in the terminal ends the run in its own order.
        .process_group(0);
    guard
}

/// Reads a pipe to its end, line by line.
async fn pump(mut pipe: impl AsyncRead + Unpin, is_stderr: bool, tail: Arc<Tail>, sink: LineSink) {
    let mut cutter = LineCutter::default();
    let mut bytes = vec![0; READ_BYTES];
    loop {
        // A pipe that cannot be read has ended, as far as anyone can tell.
        let count = pipe.read(&mut bytes).await.unwrap_or(0);
        let texts = if count == 0 { cutter.finish().into_iter().collect() } else { cutter.feed(&bytes[..count]) };
        if !texts.is_empty() {
            let unix_nanos = unix_nanos();
            texts.iter().for_each(|text| tail.push(text));
            sink(texts.into_iter().map(|text| LogLine { unix_nanos, is_stderr, text }).collect());
        }
        if count == 0 {
            return;
        }
    }
}

/// Stays with a guardian until it has ended and everything its descendants wrote was read.
async fn watch_over(
    mut guard: Child,
    pid: u32,
    mut reports: Lines<BufReader<OwnedReadHalf>>,
    mut pumps: JoinSet<()>,
    tail: Arc<Tail>,
    told: watch::Sender<Option<Ended>>,
) {
    let mut how = Ending::GuardianLost;
    while let Ok(Some(line)) = reports.next_line().await {
        match Report::read(&line) {
            Some(Report::Exited(code)) => how = Ending::Code(code),
            Some(Report::Killed(signal)) => how = Ending::Signal(signal),
            _ => tracing::warn!(pid, line, "the guardian said something unknown"),
        }
    }
    let status = guard.wait().await;
    // Ended by a signal, a guardian could not end its descendants: the group is what we can still reach.
    if !status.is_ok_and(|status| status.code().is_some())
        && let Some(group) = i32::try_from(pid).ok().and_then(Pid::from_raw)
        && let Err(error) = kill_process_group(group, Signal::KILL)
        && error != rustix::io::Errno::SRCH
    {
        tracing::warn!(pid, %error, "cannot kill the group of a child whose guardian is gone");
    }
    if timeout(PIPE_DEADLINE, async { while pumps.join_next().await.is_some() {} }).await.is_err() {
        tracing::warn!(pid, "somebody still holds the output of a child that has ended");
    }
    told.send_replace(Some(Ended { how, tail: tail.lines() }));
}
