//! What the leader tells a node to do. The Orchestrator is the only sender.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    path::PathBuf,
};

use serde::{Deserialize, Serialize};

use crate::{
    counting::Counting,
    schedule::Numbers,
    trial::{DrillTarget, LoadSpec, RequestSpec, ServiceSpec},
    units::{Nanos, NodeName, Span, TrialId},
};

/// What a node is for. One node may have several.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Takes nothing but samples.
    Monitor,
    /// Runs servers.
    Server,
    /// Sends load.
    Client,
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Monitor => "monitor",
            Self::Server => "server",
            Self::Client => "client",
        })
    }
}

/// An order, imperative. Every one but a drill is idempotent: a repeat changes nothing and is answered alike.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Order {
    /// Take these roles.
    Admit(Admission),
    /// Start a server and make it ready. Progress and end come as facts.
    StartServer(Box<ServerOrder>),
    /// End a server and all its descendants.
    StopServer {
        /// The server's ordinal.
        server: u32,
    },
    /// Build everything the load needs, and open no connection yet.
    PrepareLoad(Box<LoadShare>),
    /// Start the prepared load.
    StartLoad {
        /// Its trial.
        trial: TrialId,
        /// Its executor.
        executor: u32,
        /// The trial's start as Unix time in nanoseconds **on the receiving node's clock**.
        start_unix_nanos: i128,
        /// What was due earlier after the trial's start is not this load's: zero but for what a lost node left.
        since: Nanos,
    },
    /// The measured window ends here, as if it had been planned so: nothing that is due later is sent, and what is in
    /// flight drains.
    EndWindow {
        /// Its trial.
        trial: TrialId,
        /// Since the trial's start.
        at: Nanos,
    },
    /// A server is gone: what is in flight there has failed, and its clients ask the servers that are left.
    LeaveServer {
        /// The trial.
        trial: TrialId,
        /// The server's ordinal.
        server: u32,
    },
    /// End the load: nothing new is sent, what is in flight is cancelled, the last batch is posted.
    StopLoad {
        /// Its trial.
        trial: TrialId,
    },
    /// Sample this node.
    StartMonitoring {
        /// The pause between two samples.
        interval: Span,
    },
    /// Provoke a fault.
    Drill {
        /// What is made to fail.
        kill: DrillTarget,
    },
}

/// What a node is told when it is let in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Admission {
    /// The run.
    pub run: String,
    /// The node's name in the run.
    pub node: NodeName,
    /// The node's ordinal.
    pub ordinal: u32,
    /// What it is for.
    pub roles: Vec<Role>,
}

/// A server to start, or a part of one that spans nodes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ServerOrder {
    /// Counts the processes from 0 over all nodes; those that answer come first.
    pub server: u32,
    /// What it does in its server.
    #[serde(default)]
    pub part: Part,
    /// The service.
    pub service: ServiceSpec,
    /// The port it listens on.
    pub port: u16,
    /// Whether the port was asked for by name; if not, the next free one is taken.
    pub is_port_fixed: bool,
    /// The address it listens on and others reach it by.
    pub host: String,
    /// What its first real completion is asked with.
    pub request: RequestSpec,
    /// The ports that it listens on beside its own, by name; its node fills them in.
    #[serde(default)]
    pub ports: BTreeMap<String, u16>,
    /// A folder of its own; its node fills it in where the service wants one.
    #[serde(default)]
    pub scratch: Option<PathBuf>,
}

/// An address with its port; an IPv6 one stands in brackets.
#[must_use]
pub fn authority(host: &str, port: u16) -> String {
    if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
}

impl ServerOrder {
    /// The name of the process in logs and messages.
    #[must_use]
    pub fn name(&self) -> String {
        self.part.name(self.server)
    }
}

/// What a process does in its server, and whom it needs to know for it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Part {
    /// What it does.
    pub duty: Duty,
    /// The server that it belongs to, as the load counts them.
    pub of: u32,
    /// Its node among the server's nodes, from 0.
    pub rank: u32,
    /// Where the process is met that was started before it.
    pub meeting: Option<Meeting>,
}

/// What a process does in its server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Duty {
    /// Answers requests.
    #[default]
    Serve,
    /// Works for the one that answers, on another node.
    Follow,
    /// Holds together the cluster that the server runs on.
    HeadCluster,
    /// Lends its node to that cluster.
    JoinCluster,
}

/// Where a process is met by those that are started after it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Meeting {
    /// Its address.
    pub host: String,
    /// Its ports, by name.
    pub ports: BTreeMap<String, u16>,
}

impl Part {
    /// The name of process number `server` in logs and messages.
    #[must_use]
    pub fn name(&self, server: u32) -> String {
        let Self { of, rank, .. } = self;
        match self.duty {
            Duty::Serve => format!("server-{server}"),
            Duty::Follow => format!("server-{of}-rank-{rank}"),
            Duty::HeadCluster => format!("server-{of}-cluster-head"),
            Duty::JoinCluster => format!("server-{of}-cluster-{rank}"),
        }
    }
}

/// All that one executor needs to know to send its share of a trial.
///
/// A trial's executors are numbered over all nodes. In an open loop an executor sends those requests of one global
/// schedule whose index is one of its `numbers`; in a closed loop its clients are `clients`, and its requests have those
/// numbers one after another. On equal nodes executor `k` of `n` begins with the numbers `k`, `k + n`, `k + 2n`…, and a
/// stronger node has more of them; what a lost one leaves is cut into further shares, whose executors have numbers of
/// their own.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LoadShare {
    /// The trial.
    pub trial: TrialId,
    /// The node that sends.
    pub node: NodeName,
    /// This executor's number.
    pub executor: u32,
    /// Which requests are its own.
    pub numbers: Numbers,
    /// Closed loop: its part of the measured requests, where their number ends the load.
    pub requests: Option<u64>,
    /// The executor whose rest this is, where its node was lost. It runs beside what its node has otherwise.
    pub left_by: Option<u32>,
    /// Closed loop: the ordinals of the clients it plays, over all nodes.
    pub clients: Vec<u32>,
    /// Open loop: its part of `max_in_flight`.
    pub max_in_flight: Option<u32>,
    /// When, how much, how long.
    pub load: LoadSpec,
    /// What a request asks for.
    pub request: RequestSpec,
    /// Everything about the service but where it runs.
    pub service: ServiceSpec,
    /// Base URLs of the servers, by ordinal.
    pub servers: Vec<String>,
    /// Those that are gone, by ordinal: their clients ask the others.
    pub left_servers: BTreeSet<u32>,
    /// Those of the URLs behind which nothing but HTTP/2 is spoken.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub http2: BTreeSet<String>,
    /// The trial's seed.
    pub seed: u64,
    /// What the first server that told anything says of its tokens; `None` where none did.
    #[serde(default)]
    pub counting: Option<Counting>,
}

impl LoadShare {
    /// How much of the whole load it is, from 0 to 1.
    #[must_use]
    pub fn fraction(&self) -> f64 {
        self.load.model.clients().map_or_else(|| self.numbers.fraction(), |all| self.clients.len() as f64 / f64::from(all.get()))
    }

    /// Clients of a closed loop, or the most in flight of an open one; 0 where nothing bounds that.
    #[must_use]
    pub fn threads(&self) -> u32 {
        if self.load.model.is_open() { self.max_in_flight.unwrap_or(0) } else { self.clients.len() as u32 }
    }
}
