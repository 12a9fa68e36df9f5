//! The load engine: sends a share of a trial's requests and accounts for every one that was due.
//!
//! ```text
//! Prepared ── Router, Schedule, Supply of ready bodies
//!    │                            ┌ open:   a pacer thread, a task per request in flight
//!  drive() ── JoinSet, aborts on drop ┤
//!    │                            └ closed: a task per client
//!  request ── Pool ── Link (hyper's HTTP/1.1 or HTTP/2, driven inside the request's own task)
//!    │             └ a place in ReceiveQueues, which a side thread looks into
//!  Ledger  ── outlives the executor: open requests, rows, gaps, health ──► Batch
//! ```
//!
//! The Executor owns the tasks; this module knows no actor.

mod answer_gaps;
mod closed;
mod connection;
mod drive;
mod ending;
mod exchange;
mod health;
mod inflow;
mod ledger;
mod messages;
mod open;
mod pacer;
mod prepared;
mod request;
mod seen;
mod server;
mod side_thread;
mod supply;
mod talk;
#[cfg(test)]
pub(crate) mod tests;
mod unread;
mod window;

use std::{path::PathBuf, sync::Arc, time::Instant};

use hb_core::{routing::RoutingError, units::Nanos};
use tokio_util::sync::CancellationToken;

use crate::trust::TrustError;

pub use self::{
    drive::drive,
    ledger::{Buried, Due, Ledger},
    prepared::Prepared,
};

/// Why a share cannot be sent.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LoadError {
    /// A server's URL cannot be used.
    #[error("cannot use server `{url}`: {why}")]
    Url {
        /// The URL.
        url: String,
        /// What is wrong with it.
        why: String,
    },
    /// Nobody says whom to trust behind `https`.
    #[error("cannot use https: {0}")]
    Tls(#[from] TrustError),
    /// Nobody knows the service.
    #[error("no service is called `{0}`")]
    UnknownService(String),
    /// The distribution does not fit the servers.
    #[error(transparent)]
    Routing(#[from] RoutingError),
    /// The dataset cannot be used.
    #[error("{0}")]
    Dataset(String),
    /// The trace of this node is not the leader's.
    #[error("the trace `{}` of this node has other instants than the leader's: {instants} here, {told} there", path.display())]
    OtherTrace {
        /// The file.
        path: PathBuf,
        /// How many it has here.
        instants: u64,
        /// How many the leader counts by.
        told: u64,
    },
    /// One of the load's tasks failed.
    #[error("a load task panicked: {0}")]
    Panicked(String),
    /// The timer or thread of the load could not be made.
    #[error("cannot start the load: {0}")]
    Start(String),
}

/// The trial's time on this node.
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    /// The trial's start.
    pub start: Instant,
    /// From when on this load has a part in it, since the start.
    pub since: Nanos,
}

impl Clock {
    /// The clock of a load that begins with its trial.
    #[must_use]
    pub fn beginning(start: Instant) -> Self {
        Self { start, since: Nanos(0) }
    }

    /// The same clock for a load that joins a trial so long after its start.
    #[must_use]
    pub fn joining(self, since: Nanos) -> Self {
        Self { since, ..self }
    }

    /// Whether the load has begun.
    #[must_use]
    pub fn has_begun(self) -> bool {
        self.start + std::time::Duration::from_nanos(self.since.0) <= Instant::now()
    }

    /// The clock of a trial that starts at this Unix time on this node, which may lie ahead or have passed.
    #[must_use]
    pub fn starting_at(start_unix_nanos: i128, now_unix_nanos: i128) -> Self {
        let now = Instant::now();
        let ahead = start_unix_nanos - now_unix_nanos;
        let distance = std::time::Duration::from_nanos(u64::try_from(ahead.unsigned_abs()).unwrap_or(u64::MAX));
        let start = if ahead >= 0 { now.checked_add(distance) } else { now.checked_sub(distance) };
        Self::beginning(start.unwrap_or(now))
    }

    /// Now, since the trial's start; zero before it.
    #[must_use]
    pub fn now(self) -> Nanos {
        self.of(Instant::now())
    }

    /// This instant, since the trial's start; zero before it.
    fn of(self, instant: Instant) -> Nanos {
        Nanos::from(instant.saturating_duration_since(self.start))
    }

    fn instant(self, at: Nanos) -> tokio::time::Instant {
        (self.start + std::time::Duration::from_nanos(at.0)).into()
    }
}

/// Makes a load task panic, for drills.
#[derive(Debug, Clone, Default)]
pub struct PanicSwitch(Arc<CancellationToken>);

impl PanicSwitch {
    /// One load task panics now, or as soon as there is one.
    pub fn trip(&self) {
        self.0.cancel();
    }

    async fn tripped(&self) {
        self.0.cancelled().await;
    }
}
