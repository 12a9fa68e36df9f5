//! What `events.jsonl`, the live page and the terminal tell of a run: one stream, in order.

use serde::{Deserialize, Serialize};

use crate::{
    certainty::Certainty,
    counted::ServerCounts,
    facts::Fact,
    phases::Phase,
    search::{Ending, ProbeReport},
    units::{NodeName, TrialId},
    verdict::Status,
};

/// Something that happened in the run, as the leader saw it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RunEvent {
    /// Unix time in nanoseconds on the leader's clock.
    pub unix_nanos: i128,
    /// The trial it belongs to, if it belongs to one.
    pub trial: Option<TrialId>,
    /// What.
    pub happened: Happened,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "event")]
pub enum Happened {
    /// A phase begins.
    PhaseEntered {
        /// Which.
        phase: Phase,
    },
    /// A phase cannot be finished; teardown and report follow.
    PhaseFailed {
        /// Which.
        phase: Phase,
        /// The cause.
        cause: String,
    },
    /// A trial begins.
    TrialBegun {
        /// Which one, from 1.
        number: u32,
        /// Of how many.
        of: u32,
        /// How long its load will take, seconds, where that is known.
        expected_seconds: Option<f64>,
    },
    /// A trial's load starts: its zero.
    LoadStarted {
        /// Unix time in nanoseconds on the leader's clock. An `i64`: serde buffers a tagged enum, and its buffer
        /// knows no wider number.
        start_unix_nanos: i64,
    },
    /// The servers of a trial were asked for their own counts.
    ServersCounted {
        /// Whether its load is over, rather than yet to come.
        is_over: bool,
        /// Those that told.
        servers: Vec<ServerCounts>,
    },
    /// The figure that ends a trial's window is known well enough.
    SureEnough {
        /// How well.
        certainty: Certainty,
    },
    /// A trial is over and on disk.
    TrialFinished {
        /// Whether to believe it.
        verdict: Status,
    },
    /// A probe of a search was judged.
    Probed {
        /// What it came to.
        probe: ProbeReport,
    },
    /// A search needs no further probe.
    SearchOver {
        /// Which.
        search: TrialId,
        /// Why.
        ending: Ending,
    },
    /// A node was let in.
    NodeJoined {
        /// Its name in the run.
        node: NodeName,
        /// The real host name.
        host: String,
        /// `monitor`, `server`, `client`.
        roles: Vec<String>,
    },
    /// A node is gone.
    NodeLost {
        /// Its name in the run.
        node: NodeName,
        /// How that was seen.
        why: String,
    },
    /// What a lost node left of a load is done by others.
    LoadHandedOn {
        /// The executors that were lost with it.
        left_by: Vec<u32>,
        /// The nodes that go on with it.
        to: Vec<NodeName>,
        /// From when on, seconds after the trial's start; what was due of it before and was not told of is lost.
        since_seconds: f64,
    },
    /// A node told something.
    NodeTold {
        /// Which node.
        node: NodeName,
        /// What.
        fact: Fact,
    },
    /// A signal or a person ends the run.
    Interrupted {
        /// `SIGINT`, `SIGTERM`, the wall-time limit.
        by: String,
    },
    /// Something a person should read, that stops nothing.
    Warned {
        /// The sentence.
        what: String,
    },
}
