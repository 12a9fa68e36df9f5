//! What the actors can be told. Only [`AgentMsg`] and [`InboxMsg`] cross the network; their variants
//! each carry exactly one [`Wire`] value, so that fields can be added between versions.

use hb_core::{
    batch::{Batch, BatchKey},
    facts::{Fact, LogBatch, LogLine, NodeFact, NodeReading},
    orders::{LoadShare, Order, ServerOrder},
    units::{Nanos, NodeName, Span, TrialId},
};
use ractor::RpcReplyPort;
use ractor_cluster::{RactorClusterMessage, RactorMessage};
use serde::{Deserialize, Serialize};

use crate::{
    cluster::InboxHandle,
    wire::{Reply, Wire},
};

/// The process-group scope of the cluster. The wire's major version is part of it: a peer of another
/// version is never found.
pub const SCOPE: &str = "hb/1";

/// What a node's Agent can be told by the leader.
#[derive(RactorClusterMessage)]
pub enum AgentMsg {
    /// Who are you, and of which build?
    #[rpc]
    Hello(Wire<Hello>, RpcReplyPort<Reply<HelloBack>>),
    /// Are you well, and what is your clock?
    #[rpc]
    Beat(Wire<Beat>, RpcReplyPort<Reply<BeatBack>>),
    /// Do this. Answered when it is begun; how it went comes as facts.
    #[rpc]
    Order(Wire<Order>, RpcReplyPort<Reply<()>>),
    /// The run is over: end everything and exit with 0.
    #[rpc]
    Bye(Wire<Bye>, RpcReplyPort<Reply<()>>),
}

/// What the leader's Inbox can be told by a node.
#[derive(RactorClusterMessage)]
pub enum InboxMsg {
    /// A window of requests; acknowledged whole once it is in the run's spool.
    #[rpc]
    Batch(Wire<Box<Batch>>, RpcReplyPort<Reply<BatchKey>>),
    /// Something happened.
    #[rpc]
    Fact(Wire<NodeFact>, RpcReplyPort<Reply<u64>>),
    /// A sample of the node.
    #[rpc]
    Reading(Wire<NodeReading>, RpcReplyPort<Reply<()>>),
    /// Lines of output.
    #[rpc]
    Logs(Wire<LogBatch>, RpcReplyPort<Reply<()>>),
}

/// The leader's first question to a node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// The leader's build; a node of another build refuses.
    pub build: String,
    /// The run.
    pub run: String,
}

/// A node's facts about itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HelloBack {
    /// The node's build.
    pub build: String,
    /// The real host name.
    pub host: String,
    /// The address others reach its servers by.
    pub address: String,
    /// The ordinal it claims (`SLURM_PROCID`), if any.
    pub ordinal: Option<u32>,
    /// The life of its process.
    pub incarnation: u64,
    /// Its process.
    pub pid: u32,
    /// Cores it may use.
    pub cores: u32,
    /// Memory there is, bytes.
    pub memory_bytes: u64,
    /// Names of its GPUs.
    pub gpus: Vec<String>,
    /// The port of its HTTP endpoints.
    pub http_port: Option<u16>,
}

/// A beat; sent every 2 s.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Beat {
    /// Counts up from 1.
    pub seq: u64,
    /// The last beat of which the leader has the answer; 0 is its question who the node is.
    pub answered: u64,
}

/// The answer to a beat, from which the leader estimates the node's clock offset.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BeatBack {
    /// The beat's number.
    pub seq: u64,
    /// Unix time in nanoseconds on the node's clock.
    pub unix_nanos: i128,
}

/// The end of a run, for a node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bye {
    /// Why, for the log.
    pub why: String,
}

/// What a node's Uplink can be told by its neighbours. It numbers, spools and posts what it gets.
#[derive(RactorMessage)]
pub enum UplinkMsg {
    /// Post this window; it is kept until the leader has acknowledged it.
    Batch(Box<Batch>),
    /// Post this fact, after everything that was handed in before it was acknowledged.
    Fact(Fact),
    /// Show this window of a load that the node's own endpoint began; it is posted to nobody.
    OwnBatch(Box<Batch>),
    /// Show this fact of a load that the node's own endpoint began; it is posted to nobody.
    OwnFact(Fact),
    /// An executor of this node will play this share: for the node's own view, and posted to nobody.
    Plays(Playing),
    /// Post this sample; the newest few are kept while the leader is slow.
    Reading(NodeReading),
    /// Post these lines.
    Logs(LogBatch),
    /// The leader's Inbox was found (again).
    InboxFound(InboxHandle),
    /// The link to the leader is gone: nothing is sent until it is found again.
    InboxLost,
    /// There is no leader and will be none: what is handed in is shown in the node's share and then dropped.
    NobodyListens,
    /// A post was answered, or was not.
    Posted(PostResult),
    /// Answered when everything handed in so far is acknowledged, or nobody is there to take it.
    GetDrained(RpcReplyPort<()>),
}

/// Who had a load begun. What comes of it goes there and nowhere else.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OrderedBy {
    /// The leader of the run.
    Leader,
    /// The node's own endpoint: `POST /start`.
    Endpoint,
}

impl OrderedBy {
    /// What the Uplink is told of a window of the load.
    #[must_use]
    pub fn batch(self, batch: Batch) -> UplinkMsg {
        match self {
            Self::Leader => UplinkMsg::Batch(Box::new(batch)),
            Self::Endpoint => UplinkMsg::OwnBatch(Box::new(batch)),
        }
    }

    /// What the Uplink is told of a fact of the load.
    #[must_use]
    pub fn fact(self, fact: Fact) -> UplinkMsg {
        match self {
            Self::Leader => UplinkMsg::Fact(fact),
            Self::Endpoint => UplinkMsg::OwnFact(fact),
        }
    }
}

/// An executor's part in a trial.
#[derive(Debug, Clone)]
pub struct Playing {
    /// The trial.
    pub trial: TrialId,
    /// The executor.
    pub executor: u32,
    /// Clients of a closed loop, or the most in flight of an open one.
    pub threads: u32,
    /// The service that is asked.
    pub service: String,
}

/// How a post ended.
#[derive(Debug)]
pub struct PostResult {
    /// Which post, by the Uplink's own count.
    pub ticket: u64,
    /// Whether the leader acknowledged it.
    pub is_acknowledged: bool,
}

/// What a node's ServerManager can be told.
#[derive(RactorMessage)]
pub enum ServerManagerMsg {
    /// Start this server and make it ready.
    Start(Box<ServerOrder>),
    /// End this server.
    Stop(u32),
    /// A drill: SIGKILL to a server's process, as if it had crashed.
    KillOne,
    /// A step of a server's start or end, from the task that watches it.
    Stepped(u32, Box<Fact>),
    /// How many servers run?
    GetRunning(RpcReplyPort<u32>),
    /// End all servers, and say when nothing of them is left.
    GetStopped(RpcReplyPort<()>),
}

/// What a node's ExecutorSupervisor can be told.
#[derive(RactorMessage)]
pub enum ExecutorSupervisorMsg {
    /// Build this share for the leader.
    Prepare(Box<LoadShare>),
    /// Build this share for the node's own endpoint, if no load is built or runs here; the answer is whether it is begun.
    PrepareOwn(Box<LoadShare>, RpcReplyPort<Done>),
    /// Start the prepared load at this Unix time on this node's clock.
    Start {
        /// Its trial.
        trial: TrialId,
        /// Its executor.
        executor: u32,
        /// Nanoseconds.
        start_unix_nanos: i128,
        /// What was due earlier after the trial's start is not this load's.
        since: Nanos,
    },
    /// The measured window of this trial ends so long after its start.
    EndWindow(TrialId, Nanos),
    /// The clients of this server ask the others.
    LeaveServer(TrialId, u32),
    /// End the load of this trial.
    Stop(TrialId),
    /// A drill: an executor's task panics.
    PanicOne,
    /// A share was built, or cannot be; the number tells the builds apart.
    Prepared(u64, Result<std::sync::Arc<crate::load::Prepared>, String>),
    /// The load of this executor is over, and its last window was handed in.
    Finished(u32),
    /// Time to go on after this executor failed, if its old tasks are gone.
    Recover(TrialId, u32),
    /// End all load, and say when nothing of it is left.
    GetStopped(RpcReplyPort<()>),
}

/// What a node's Monitor can be told.
#[derive(RactorMessage)]
pub enum MonitorMsg {
    /// Sample with this pause.
    Start(Span),
    /// Take a sample now.
    Tick,
}

/// What a node's LogCollector can be told.
#[derive(RactorMessage)]
pub enum LogCollectorMsg {
    /// A process wrote these lines.
    Wrote {
        /// What wrote: `server-0`.
        source: String,
        /// The lines.
        lines: Vec<LogLine>,
    },
    /// Time to hand on what was collected.
    Flush,
}

/// Names a node in logs and facts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeIdentity {
    /// Its name in the run.
    pub node: NodeName,
    /// The life of its process.
    pub incarnation: u64,
}

/// A reply that carries nothing but its coming.
pub type Done = Reply<()>;
