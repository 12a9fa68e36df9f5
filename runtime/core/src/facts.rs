//! What a node tells the leader that happened. Named in the past.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{
    calibration::Floor,
    counting::Counting,
    http_version::HttpVersion,
    units::{NodeName, Span, TrialId},
};

/// Something that happened on a node.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fact {
    /// A server's process was started.
    ServerStarted {
        /// Its ordinal.
        server: u32,
        /// The name of the process, as it stands in the logs.
        #[serde(default)]
        name: String,
        /// Its process.
        pid: u32,
        /// The command line, without secrets.
        command: Vec<String>,
        /// The ports that it was given beside its own, by name.
        #[serde(default)]
        ports: BTreeMap<String, u16>,
    },
    /// A step on the way to readiness, for people.
    ServerProgressed {
        /// Its ordinal.
        server: u32,
        /// Such as `pulling llama2: 43 %`.
        what: String,
    },
    /// A server gave its first real completion.
    ServerReady {
        /// Its ordinal.
        server: u32,
        /// Where it answers.
        url: String,
        /// Time since its start.
        took: Span,
        /// What it told of its tokens, if anything.
        #[serde(default)]
        counting: Option<Counting>,
        /// What is spoken with it.
        #[serde(default)]
        http_version: HttpVersion,
    },
    /// The image that servers run in was looked at.
    ImageRead {
        /// The server that was to be started in it.
        server: u32,
        /// Its path.
        image: String,
        /// Its digest, such as `sha256:…`.
        digest: String,
    },
    /// A part of the cluster that a server runs on is in place.
    PartReady {
        /// The number of its process.
        server: u32,
        /// Its name.
        name: String,
        /// Time since its start.
        took: Span,
    },
    /// A server did not become ready, or could not be started.
    ServerFailed {
        /// Its ordinal.
        server: u32,
        /// The cause, with the end of its own output.
        why: String,
    },
    /// A server that was ready ended by itself.
    ServerExited {
        /// Its ordinal.
        server: u32,
        /// How: a code or a signal, with the end of its own output.
        why: String,
    },
    /// A server was ended as ordered, and nothing of it is left.
    ServerStopped {
        /// Its ordinal.
        server: u32,
    },
    /// An executor measured the client's own error floor.
    Calibrated {
        /// Its trial.
        trial: TrialId,
        /// Its number.
        executor: u32,
        /// What it found.
        floor: Floor,
    },
    /// An executor read a dataset whose entries are texts.
    DatasetRead {
        /// Its trial.
        trial: TrialId,
        /// Entries that there are to use.
        entries: u64,
    },
    /// An executor has everything it needs.
    LoadPrepared {
        /// Its trial.
        trial: TrialId,
        /// Its number.
        executor: u32,
    },
    /// An executor cannot do its share.
    LoadFailed {
        /// Its trial.
        trial: TrialId,
        /// Its number.
        executor: u32,
        /// The cause.
        why: String,
    },
    /// An executor's measured window is over, its drain too, and its last batch was acknowledged.
    LoadFinished {
        /// Its trial.
        trial: TrialId,
        /// Its number.
        executor: u32,
    },
    /// An executor failed and was started again by its supervisor.
    ExecutorRestarted {
        /// Its trial.
        trial: TrialId,
        /// Its number.
        executor: u32,
        /// The new life.
        epoch: u32,
        /// What was in flight and is lost.
        lost: u64,
        /// The time without load.
        gap: Span,
        /// The cause.
        why: String,
    },
    /// An executor failed more often than its supervisor bears.
    ExecutorGaveUp {
        /// Its trial.
        trial: TrialId,
        /// Its number.
        executor: u32,
        /// The last cause.
        why: String,
    },
    /// A sampler, collector or manager failed and was started again.
    ChildRestarted {
        /// Which.
        child: String,
        /// The cause.
        why: String,
    },
    /// A server answered for another model than was asked.
    OtherModel {
        /// The name in its answer.
        answered: String,
        /// The sentence.
        what: String,
    },
    /// Something a person should read, that stops nothing.
    Warned {
        /// The sentence.
        what: String,
    },
}

/// A fact and where it comes from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NodeFact {
    /// The node.
    pub node: NodeName,
    /// The life of its process.
    pub incarnation: u64,
    /// Counts from 0 within that life: a repeat after a lost acknowledgement is dropped by it.
    pub seq: u64,
    /// What happened.
    pub fact: Fact,
}

/// One sample of a node.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct NodeReading {
    /// The node.
    pub node: NodeName,
    /// Unix time in nanoseconds on the node's clock.
    pub unix_nanos: i128,
    /// Busy share of each core, percent.
    pub cpu_percent: Vec<f32>,
    /// Memory in use, bytes.
    pub memory_used_bytes: u64,
    /// Memory there is, bytes.
    pub memory_total_bytes: u64,
    /// Bytes received and sent over the network since the node's start, loopback left out.
    pub network_bytes: (u64, u64),
    /// Each GPU.
    pub gpus: Vec<GpuReading>,
}

/// One sample of a GPU.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct GpuReading {
    /// Its index on the node.
    pub index: u32,
    /// Its UUID.
    pub uuid: String,
    /// Its model's name.
    pub name: String,
    /// Busy share, percent.
    pub utilization_percent: f32,
    /// Memory in use, bytes.
    pub memory_used_bytes: u64,
    /// Memory there is, bytes.
    pub memory_total_bytes: u64,
    /// Power drawn, watts.
    pub power_watts: Option<f32>,
    /// Energy since the driver was loaded, joules.
    pub energy_joules: Option<f64>,
    /// Temperature, degrees Celsius.
    pub temperature_celsius: Option<f32>,
    /// Clock of the streaming multiprocessors, MHz.
    pub sm_clock_mhz: Option<u32>,
    /// Whether the driver holds the clock down, other than for idling.
    pub is_throttled: Option<bool>,
}

/// Lines of one process's output.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogBatch {
    /// The node.
    pub node: NodeName,
    /// What wrote it: `server-0`, `hbnode`.
    pub source: String,
    /// The lines.
    pub lines: Vec<LogLine>,
}

/// One line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogLine {
    /// When it was read, Unix time in nanoseconds on the node's clock.
    pub unix_nanos: i128,
    /// Whether it came from stderr.
    pub is_stderr: bool,
    /// The line without its end, cut at 8 KiB, with what is not UTF-8 replaced.
    pub text: String,
}
