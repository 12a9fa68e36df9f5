//! The guardian: `hbnode __guard --grace SECONDS [--signal NAME] [--scratch FOLDER] [--] PROGRAM ARGS…`.
//!
//! ```text
//!           program ended, end of stdin, SIGTERM            grace over
//! guarding ──────────────────────────────────────► ending ─────────────► killing
//!                          (asks all descendants)     │ no child left       │ no child left
//!                                                     └────► exit ◄─────────┘
//! ```
//!
//! It is a subreaper, so "no child left" means that no descendant is left. It exits with the program's code, or
//! 128 and the signal's number. A second SIGTERM changes nothing: whoever is in a hurry has SIGKILL. The scratch folder
//! was made for the program and goes last, so that it goes where the node was killed, too.

use std::{
    ffi::OsString,
    fs::{self, File},
    io::{self, Read, Write},
    os::{fd::AsFd, unix::process::CommandExt},
    path::PathBuf,
    process::{Command, ExitCode, Stdio},
    time::Duration,
};

use rustix::process::{Pid, Signal, WaitOptions, getpid, kill_process, set_child_subreaper, wait};
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::mpsc,
    time::{Instant, sleep_until},
};

use super::{
    descendants::signal_all,
    report::{KILL_ORDER, Report},
    stopping::{StopPolicy, StopSignal, UnknownSignal},
};

/// The exit code when the guardian itself fails.
const EXIT_GUARD: u8 = 125;
/// The exit code when the program cannot be started.
const EXIT_NO_PROGRAM: u8 = 127;
/// The grace of what a program leaves behind that ended by itself: its node waits to hear of a crash.
const ORPHAN_GRACE: Duration = Duration::from_secs(2);
/// The pause between two rounds of SIGKILL: a process may have forked between the look and the signal.
const KILL_ROUND: Duration = Duration::from_millis(50);

/// Why a guardian cannot do its work.
#[derive(Debug, thiserror::Error)]
pub enum GuardError {
    /// The words make no sense.
    #[error("usage: hbnode __guard --grace SECONDS [--signal NAME] [--scratch FOLDER] [--] PROGRAM ARGS…; {0}")]
    Usage(String),
    /// A signal's name is unknown.
    #[error(transparent)]
    Signal(#[from] UnknownSignal),
    /// The system refuses something.
    #[error("cannot {what}: {source}")]
    System {
        /// What was tried.
        what: &'static str,
        /// What it said.
        source: io::Error,
    },
}

/// Runs a guardian to its end. `words` are those after `__guard`.
pub fn guard_main(words: &[OsString]) -> ExitCode {
    match Guard::parse(words).and_then(Guard::run) {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            eprintln!("hbnode __guard: {error}");
            ExitCode::from(EXIT_GUARD)
        }
    }
}

/// What the words ask for.
#[derive(Debug, PartialEq, Eq)]
struct Guard {
    policy: StopPolicy,
    scratch: Option<PathBuf>,
    program: OsString,
    args: Vec<OsString>,
}

/// What a node, or a signal, tells a guardian.
enum Told {
    /// SIGKILL to the program.
    Kill,
    /// End everything.
    End,
}

impl Guard {
    fn parse(words: &[OsString]) -> Result<Self, GuardError> {
        let usage = |what: &str| GuardError::Usage(what.to_owned());
        let mut policy = StopPolicy::default();
        let mut scratch = None;
        let mut words = words.iter();
        loop {
            let word = words.next().ok_or_else(|| usage("no program is named"))?;
            let mut value = || words.next().and_then(|value| value.to_str()).ok_or_else(|| usage("an option lacks its value"));
            match word.to_str() {
                Some("--grace") => {
                    policy.grace =
                        value()?.parse().map_err(|error: hb_core::units::NotASpan| GuardError::Usage(error.to_string()))?;
                }
                Some("--signal") => policy.signal = value()?.parse::<StopSignal>()?,
                Some("--scratch") => scratch = Some(PathBuf::from(value()?)),
                Some("--") => break,
                Some(option) if option.starts_with("--") => return Err(GuardError::Usage(format!("`{option}` is unknown"))),
                _ => return Ok(Self { policy, scratch, program: word.clone(), args: words.cloned().collect() }),
            }
        }
        let program = words.next().ok_or_else(|| usage("no program is named"))?.clone();
        Ok(Self { policy, scratch, program, args: words.cloned().collect() })
    }

    fn run(self) -> Result<u8, GuardError> {
        let system = |what| move |source| GuardError::System { what, source };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(system("build a runtime"))?;
        let scratch = self.scratch.clone();
        let guarded = runtime.block_on(self.guard());
        // The node removes it, too, if it lives.
        if let Some(folder) = scratch
            && let Err(error) = fs::remove_dir_all(&folder)
            && error.kind() != io::ErrorKind::NotFound
        {
            eprintln!("hbnode __guard: cannot remove `{}`: {error}", folder.display());
        }
        guarded
    }

    async fn guard(self) -> Result<u8, GuardError> {
        let system = |what| move |source| GuardError::System { what, source };
        // The streams come before the program, so that no early end is missed.
        let mut child = signal(SignalKind::child()).map_err(system("listen for SIGCHLD"))?;
        let mut terminate = signal(SignalKind::terminate()).map_err(system("listen for SIGTERM"))?;
        let mut interrupt = signal(SignalKind::interrupt()).map_err(system("listen for SIGINT"))?;
        let mut hangup = signal(SignalKind::hangup()).map_err(system("listen for SIGHUP"))?;
        set_child_subreaper(Some(getpid()))
            .map_err(|error| GuardError::System { what: "become a subreaper", source: error.into() })?;
        let node = io::stdin().as_fd().try_clone_to_owned().map_err(system("copy stdin"))?;
        // A socket from a node, a pipe or a terminal by hand: a `File` reads them all.
        let mut node = File::from(node);
        let mut told = listen(node.try_clone().map_err(system("copy stdin"))?);

        let spawned = Command::new(&self.program).args(&self.args).stdin(Stdio::null()).process_group(0).spawn();
        let program = match spawned {
            Ok(program) => program.id(),
            Err(error) => {
                report(&mut node, &Report::NotStarted(error.to_string()));
                eprintln!("hbnode __guard: cannot start `{}`: {error}", self.program.display());
                return Ok(EXIT_NO_PROGRAM);
            }
        };
        report(&mut node, &Report::Started(program));

        let mut guarding = Guarding { policy: self.policy, program, code: None, ending: None };
        loop {
            tokio::select! {
                _ = child.recv() => {}
                order = told.recv() => guarding.told(&order.unwrap_or(Told::End)),
                _ = terminate.recv() => guarding.told(&Told::End),
                _ = interrupt.recv() => guarding.told(&Told::End),
                _ = hangup.recv() => guarding.told(&Told::End),
                () = guarding.next_round() => guarding.kill(),
            }
            if guarding.reap(&mut node) == Left::Nothing {
                return Ok(guarding.code.unwrap_or(EXIT_GUARD));
            }
        }
    }
}

/// Reads the node's orders in a thread of its own, since a read from a pipe blocks; it ends with the process.
fn listen(mut node: File) -> mpsc::Receiver<Told> {
    let (sender, receiver) = mpsc::channel(8);
    std::thread::spawn(move || {
        let mut byte = [0];
        // A read that fails says as much as an end: the node is out of reach.
        while node.read(&mut byte).is_ok_and(|count| count == 1) {
            if byte[0] == KILL_ORDER && sender.blocking_send(Told::Kill).is_err() {
                return;
            }
        }
        // The guardian that no longer listens has ended.
        let _ = sender.blocking_send(Told::End);
        // The sender stays until the process ends, so that the guardian hears the end once.
        loop {
            std::thread::park();
        }
    });
    receiver
}

/// Tells the node. It may be gone, and the guardian then has other work than to complain.
fn report(node: &mut File, report: &Report) {
    let _ = node.write_all(format!("{report}\n").as_bytes());
}

/// Whether descendants are left.
#[derive(PartialEq, Eq)]
enum Left {
    Some,
    Nothing,
}

/// A guardian at work.
struct Guarding {
    policy: StopPolicy,
    program: u32,
    /// The program's exit code, once it ended.
    code: Option<u8>,
    /// When the next round of SIGKILL is due, once everything was asked to end.
    ending: Option<Instant>,
}

impl Guarding {
    fn told(&mut self, order: &Told) {
        match order {
            Told::Kill if self.code.is_none() => {
                // Not reaped yet, so the number is still its own.
                let pid = i32::try_from(self.program).ok().and_then(Pid::from_raw);
                if let Some(Err(error)) = pid.map(|pid| kill_process(pid, Signal::KILL)) {
                    eprintln!("hbnode __guard: cannot kill {}: {error}", self.program);
                }
            }
            Told::Kill => {}
            Told::End => self.end(self.policy.grace.0),
        }
    }

    /// Asks every descendant to end, once.
    fn end(&mut self, grace: Duration) {
        if self.ending.is_none() {
            self.ending = Some(Instant::now() + grace);
            self.signal(self.policy.signal.0);
        }
    }

    /// Waits for the next round of SIGKILL, for ever while nothing was asked to end.
    async fn next_round(&self) {
        match self.ending {
            Some(at) => sleep_until(at).await,
            None => std::future::pending().await,
        }
    }

    fn kill(&mut self) {
        self.ending = Some(Instant::now() + KILL_ROUND);
        self.signal(Signal::KILL);
    }

    fn signal(&self, signal: Signal) {
        if let Err(error) = signal_all(signal) {
            eprintln!("hbnode __guard: cannot read /proc: {error}");
        }
    }

    /// Takes up everyone who ended. An orphan's end is none of the node's business, the program's is.
    fn reap(&mut self, node: &mut File) -> Left {
        loop {
            match wait(WaitOptions::NOHANG) {
                Ok(Some((pid, status))) if pid.as_raw_nonzero().get().unsigned_abs() == self.program => {
                    let (said, code) = match (status.exit_status(), status.terminating_signal()) {
                        (Some(code), _) => (Report::Exited(code), code),
                        (None, signal) => (Report::Killed(signal.unwrap_or(0)), 128 + signal.unwrap_or(0)),
                    };
                    self.code = Some(u8::try_from(code).unwrap_or(EXIT_GUARD));
                    report(node, &said);
                    // A server is its main process: what it leaves behind serves nobody.
                    self.end(self.policy.grace.0.min(ORPHAN_GRACE));
                }
                Ok(Some(_)) => {}
                Ok(None) => return Left::Some,
                Err(rustix::io::Errno::INTR) => {}
                Err(_) => return Left::Nothing,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<OsString> {
        text.split_whitespace().map(OsString::from).collect()
    }

    #[test]
    fn the_words_after_the_program_are_its_own() {
        let guard = Guard::parse(&words("--grace 2.5 --scratch /tmp/hb-a --signal SIGINT -- sh --grace 7")).unwrap();
        assert_eq!(guard.scratch, Some("/tmp/hb-a".into()));
        assert_eq!((guard.program, guard.args), ("sh".into(), words("--grace 7")));
        assert_eq!(guard.policy.grace, hb_core::units::Span::from_millis(2500));
        assert_eq!(guard.policy.signal, "INT".parse().unwrap());
        assert_eq!(Guard::parse(&words("sh -c")).unwrap().args, words("-c"));
    }

    #[test]
    fn words_that_make_no_sense_are_refused() {
        for text in ["", "--", "--grace", "--grace soon sh", "--signal SIGSTOP sh", "--colour sh"] {
            assert!(Guard::parse(&words(text)).is_err(), "{text:?}");
        }
    }
}
