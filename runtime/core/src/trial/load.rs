//! How many requests, when, and to whom.

use std::{collections::BTreeMap, fmt, num::NonZeroU32, path::PathBuf, sync::Arc};

use serde::{Deserialize, Serialize};

use crate::{counting::WordTokens, schedule::Instants, units::Span};

/// How many requests, when, to whom and for how long.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LoadSpec {
    /// The load model.
    pub model: LoadModel,
    /// Load before the measured window.
    pub warmup: Span,
    /// What ends the measured window.
    pub stop: Stop,
    /// What ends it before that.
    #[serde(default)]
    pub stop_when: Option<StopWhen>,
    /// How many requests are due at the same instant, at each arrival of an open loop and whenever a client of a closed one
    /// asks: `workload.batch`, where the operation takes one prompt in a request.
    #[serde(default = "alone")]
    pub together: NonZeroU32,
    /// Open loop: the most requests in flight over all nodes.
    pub max_in_flight: Option<NonZeroU32>,
    /// How large each client node's share is.
    #[serde(default)]
    pub shares_by: SharesBy,
    /// Deadlines of a request.
    pub timeouts: Timeouts,
    /// Who asks whom.
    pub distribution: Distribution,
    /// Where prompts and time stamps come from; `None` means synthetic prompts.
    pub dataset: Option<DatasetSpec>,
    /// Who else can tell the tokens of a text than the server.
    #[serde(default)]
    pub tokenizer: Option<TokenizerSpec>,
    /// Faults that the run provokes in itself.
    pub drills: Vec<Drill>,
    /// How long the client's own error floor is measured before the load, if it is.
    #[serde(default)]
    pub calibration: Option<Span>,
}

const fn alone() -> NonZeroU32 {
    NonZeroU32::MIN
}

impl LoadSpec {
    /// Closed loop: the most requests that its clients have in flight, over all nodes.
    #[must_use]
    pub fn most_of_clients(&self) -> Option<NonZeroU32> {
        Some(self.model.clients()?.saturating_mul(self.together))
    }
}

/// What the size of a client node's share goes by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum SharesBy {
    /// Its cores: a node with twice as many sends twice as much.
    #[default]
    Cores,
    /// All nodes send as much as each other.
    Nodes,
}

/// A file of prompts, read on every node that sends.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DatasetSpec {
    /// The file.
    pub path: PathBuf,
    /// Its format's name; `None` means that its beginning tells.
    pub format: Option<String>,
    /// Entries left out at its start.
    pub skip: u64,
    /// The most entries that are used.
    pub limit: Option<u64>,
    /// What a line that cannot be read does.
    pub on_bad_line: BadLine,
}

/// A local tokenizer, read by the leader alone: what it says of words travels with the shares.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenizerSpec {
    /// The file.
    pub path: PathBuf,
    /// What it says, once it was read.
    #[serde(skip)]
    pub words: Arc<WordTokens>,
}

/// What a line that cannot be read does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum BadLine {
    /// Ends the run before it starts.
    Fail,
    /// Is counted and left out.
    Skip,
}

/// What decides when a request is due.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LoadModel {
    /// So many clients over all nodes, each asking again `think` after its answer, or the last of those that it waits for.
    Closed {
        /// Clients over all nodes.
        concurrency: NonZeroU32,
        /// A client's pause after each answer.
        think: Span,
    },
    /// A closed loop whose number of clients changes with time.
    ClosedStaged {
        /// One after another, from the window's start to its end; each counts clients over all nodes.
        stages: Vec<RateStage>,
        /// A client's pause after each answer.
        think: Span,
    },
    /// Requests are due by a schedule, whatever the answers do.
    Open {
        /// Requests per second over all nodes; finite and above zero.
        rate: f64,
        /// The shape of the gaps.
        arrivals: Arrivals,
    },
    /// An open loop whose rate changes with time.
    Staged {
        /// One after another, from the window's start to its end.
        stages: Vec<RateStage>,
        /// The shape of the gaps, as a process of rate one has them.
        arrivals: Arrivals,
    },
    /// An open loop whose requests are due as the time stamps of the dataset say.
    Replay {
        /// Factor on the stamps; finite and above zero.
        time_scale: f64,
        /// The most by which a stamp is shifted, drawn evenly.
        jitter: Span,
        /// The instants, once the dataset was read.
        instants: Instants,
    },
}

impl LoadModel {
    /// Whether requests are due by a schedule.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.clients().is_none()
    }

    /// Closed loop: the most clients that there are at one time, over all nodes.
    #[must_use]
    pub fn clients(&self) -> Option<NonZeroU32> {
        match self {
            Self::Closed { concurrency, .. } => Some(*concurrency),
            Self::ClosedStaged { stages, .. } => {
                let most = stages.iter().map(|stage| stage.from.max(stage.to)).fold(1.0, f64::max);
                Some(NonZeroU32::new(most as u32).unwrap_or(NonZeroU32::MIN))
            }
            Self::Open { .. } | Self::Staged { .. } | Self::Replay { .. } => None,
        }
    }

    /// Closed loop: a client's pause after each answer.
    #[must_use]
    pub fn think(&self) -> Span {
        match self {
            Self::Closed { think, .. } | Self::ClosedStaged { think, .. } => *think,
            Self::Open { .. } | Self::Staged { .. } | Self::Replay { .. } => Span::ZERO,
        }
    }
}

/// A stretch of a load that changes: of an open loop, whose rate goes from here to there, or of a closed one, whose
/// number of clients does.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct RateStage {
    /// How long it lasts; above zero.
    pub duration: Span,
    /// Requests per second, or clients, over all nodes where it begins; finite, not negative.
    pub from: f64,
    /// Where it ends.
    pub to: f64,
    /// How it goes from the one to the other.
    pub slope: Slope,
}

/// How a rate changes within a stage.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Slope {
    /// By equal steps, which may be none.
    Linear,
    /// By equal factors; both ends are above zero.
    Exponential,
}

/// The shape of the gaps between due instants.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Arrivals {
    /// Equal gaps.
    Constant,
    /// Exponential gaps.
    Poisson,
    /// Gamma gaps of this shape; 1 is Poisson, larger is smoother.
    Gamma {
        /// The shape; the gaps' coefficient of variation is `1/√burstiness`.
        burstiness: f64,
    },
}

/// What ends the measured window.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stop {
    /// So much time.
    After(Span),
    /// So many due requests over all nodes.
    Requests(u64),
}

/// A figure that ends the measured window once it is known well enough ([`crate::certainty`]).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StopWhen {
    /// A latency of which each request has one, such as `ttft`.
    pub metric: String,
    /// The percentile, such as 99.
    pub percentile: f64,
    /// The half width of the figure's 95 % confidence interval, as a share of the figure.
    pub half_width: f64,
    /// The window is never shorter.
    pub min: Span,
}

/// The deadlines of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Timeouts {
    /// To open a connection.
    pub connect: Span,
    /// From sending to the first content.
    pub first_byte: Span,
    /// Between two pieces of content.
    pub between_chunks: Span,
    /// For all of it.
    pub total: Span,
}

/// Which client asks which server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Distribution {
    /// Client `i` asks server `i mod N`.
    RoundRobin,
    /// Drawn for each request from the trial's seed.
    Random,
    /// Each client rotates over all servers.
    AllToAll,
    /// Client ordinal to server ordinals, rotated over.
    Static(BTreeMap<u32, Vec<u32>>),
}

/// A fault that the run provokes in itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Drill {
    /// After the start of the measured window.
    pub at: Span,
    /// What is made to fail.
    pub kill: DrillTarget,
}

/// What a drill makes fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum DrillTarget {
    /// An executor panics inside its task.
    Executor,
    /// A server process gets SIGKILL.
    Server,
    /// A client node's process gets SIGKILL.
    Node,
}

impl fmt::Display for DrillTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Executor => "executor",
            Self::Server => "server",
            Self::Node => "node",
        })
    }
}
