//! The seven phases of a run, and the pure value that decides what follows what.
//!
//! ```text
//! initialization ─► service_deployment ─► monitoring_setup ─► client_launch ─► execution ─► teardown ─► report
//!                          ▲                                                       │
//!                          └──────────────── the next trial ───────────────────────┘
//! ```
//!
//! From every phase a failure, a lost node that the recipe does not bear, or an interrupt leads to
//! teardown and report.

mod agenda;
mod effects;
mod losses;
mod run;
mod servers;
#[cfg(test)]
mod tests;
mod time_left;
mod under_way;

use std::fmt;

use serde::{Deserialize, Serialize};

pub use self::{
    effects::{Effect, OrderKind},
    losses::OnNodeLoss,
    run::{Run, RunSpec},
};

/// What ends a run whose next trial would not be over in time; the cause follows after a colon.
pub const WALL_TIME: &str = "the wall-time limit";

/// A phase of the run. Each has a deadline and a named cause when it fails, and leads to
/// [`Phase::Teardown`] and [`Phase::Report`] from wherever it stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// Nodes join and are admitted.
    Initialization,
    /// Servers are started and become ready.
    ServiceDeployment,
    /// Every node samples itself.
    MonitoringSetup,
    /// Executors build their shares.
    ClientLaunch,
    /// Warm-up, measured window, drain.
    Execution,
    /// Load, servers and nodes are ended.
    Teardown,
    /// Results are written.
    Report,
}

impl Phase {
    /// All phases in their order.
    pub const ALL: [Self; 7] = [
        Self::Initialization,
        Self::ServiceDeployment,
        Self::MonitoringSetup,
        Self::ClientLaunch,
        Self::Execution,
        Self::Teardown,
        Self::Report,
    ];

    /// The name in files; in messages it is written in words, see [`fmt::Display`].
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Initialization => "initialization",
            Self::ServiceDeployment => "service_deployment",
            Self::MonitoringSetup => "monitoring_setup",
            Self::ClientLaunch => "client_launch",
            Self::Execution => "execution",
            Self::Teardown => "teardown",
            Self::Report => "report",
        }
    }
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name().replace('_', " "))
    }
}
