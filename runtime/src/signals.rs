//! SIGINT and SIGTERM as values.

use tokio::signal::unix::{Signal, SignalKind, signal};

/// A signal that asks this process to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asked {
    /// SIGINT: Ctrl-C.
    Interrupt,
    /// SIGTERM: Slurm, a supervisor, or the leader.
    Terminate,
    /// SIGUSR1: Slurm's `--signal`, some time before the wall-time limit. A batch script hands SIGTERM on as this, too,
    /// since `srun` makes an end by force of that.
    TimeIsNearlyUp,
}

impl Asked {
    /// The name for messages.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Interrupt => "SIGINT",
            Self::Terminate => "SIGTERM",
            Self::TimeIsNearlyUp => "SIGUSR1: the wall-time limit is near, or the job was cancelled",
        }
    }
}

/// The signals this process listens to. From now on they end nothing by themselves.
pub struct Signals {
    interrupt: Signal,
    terminate: Signal,
    user: Signal,
}

impl Signals {
    /// Begins to listen.
    ///
    /// # Errors
    /// The system refuses.
    pub fn listen() -> std::io::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            user: signal(SignalKind::user_defined1())?,
        })
    }

    /// The next of them.
    pub async fn next(&mut self) -> Asked {
        tokio::select! {
            _ = self.interrupt.recv() => Asked::Interrupt,
            _ = self.terminate.recv() => Asked::Terminate,
            _ = self.user.recv() => Asked::TimeIsNearlyUp,
        }
    }
}

/// Until this process is asked to end.
pub async fn ended() {
    match Signals::listen() {
        Ok(mut signals) => drop(signals.next().await),
        // Without signals the process is ended by force, as it would be anyway.
        Err(_) => std::future::pending().await,
    }
}
