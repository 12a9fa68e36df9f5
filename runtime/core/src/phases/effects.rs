//! What a [`super::Run`] wants done. The Orchestrator does it, and nothing else.

use crate::{
    orders::{LoadShare, Order},
    phases::Phase,
    plan::Plan,
    search::Ending,
    trial::DrillTarget,
    units::{NodeName, Span, TrialId},
};

/// Something to be done.
#[derive(Debug, Clone, PartialEq)]
pub enum Effect {
    /// Tell the world that this phase begins.
    Enter(Phase),
    /// Come back with `expired(phase, ticket)` after this time.
    Deadline {
        /// What the time is for.
        phase: Phase,
        /// Tells a stale deadline from the one that counts.
        ticket: u64,
        /// How long.
        after: Span,
    },
    /// Tell a node to do this; answer with `answered`.
    Order(NodeName, Order),
    /// Ask servers that already run whether they are ready; answer with `endpoints_ready` or `endpoints_failed`.
    AskEndpoints(Box<crate::trial::Trial>),
    /// Open the books for this trial, tell the world that it begins, and answer with `trial_opened`.
    OpenTrial(Box<Plan>),
    /// Tell every executor of this trial to start at one instant, and answer with `load_started`.
    StartLoad(TrialId),
    /// Ask the books what these executors, which are lost, left undone, and count nothing more of theirs; answer
    /// with `left_behind`.
    TakeStock {
        /// The trial.
        trial: TrialId,
        /// The executors.
        executors: Vec<u32>,
    },
    /// These shares of what lost executors left are built: tell the books, and their nodes to start at one instant.
    JoinLoad {
        /// The trial.
        trial: TrialId,
        /// The shares.
        shares: Vec<LoadShare>,
    },
    /// Come back with `drill_due` this long after the trial's start.
    DrillAt {
        /// The trial.
        trial: TrialId,
        /// When.
        after: Span,
        /// What is made to fail.
        kill: DrillTarget,
    },
    /// Close the books of this trial: no batch comes any more. Answer with `trial_closed`.
    CloseTrial {
        /// The trial.
        trial: TrialId,
        /// Whether it ran to its planned end.
        is_complete: bool,
    },
    /// Tell the books that nothing more comes from this node.
    WriteOff(NodeName),
    /// Tell the world that a phase cannot be finished.
    Fail {
        /// Which.
        phase: Phase,
        /// The cause.
        cause: String,
    },
    /// Tell the world that a search is over.
    SearchOver {
        /// Which.
        search: TrialId,
        /// Why.
        ending: Ending,
    },
    /// Tell a person.
    Warn(String),
    /// The run was told to end: write its report as it stands. What is left to do may take longer than its process has.
    SaveReport,
    /// The run is over; write the report.
    Finish,
}

/// What an answered order was about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OrderKind {
    /// [`Order::Admit`].
    Admit,
    /// [`Order::StartMonitoring`].
    StartMonitoring,
    /// [`Order::PrepareLoad`].
    PrepareLoad,
    /// [`Order::StartLoad`].
    StartLoad,
    /// [`Order::StartServer`].
    StartServer,
    /// Any other; a failed one only earns a warning.
    Other,
}

impl OrderKind {
    /// The kind of an order.
    #[must_use]
    pub fn of(order: &Order) -> Self {
        match order {
            Order::Admit(_) => Self::Admit,
            Order::StartMonitoring { .. } => Self::StartMonitoring,
            Order::PrepareLoad(_) => Self::PrepareLoad,
            Order::StartLoad { .. } => Self::StartLoad,
            Order::StartServer(_) => Self::StartServer,
            Order::StopServer { .. }
            | Order::EndWindow { .. }
            | Order::LeaveServer { .. }
            | Order::StopLoad { .. }
            | Order::Drill { .. } => Self::Other,
        }
    }
}
