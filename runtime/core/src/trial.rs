//! One point of a recipe: every field has one value, and nothing is left to guess.

use std::{
    collections::BTreeMap,
    fmt,
    num::NonZeroU32,
    path::{Path, PathBuf},
    sync::Arc,
};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::{
    counting::WordTokens,
    schedule::Instants,
    search::{ProbePlace, SearchSpec},
    units::{Span, TrialId},
};

/// One point of the sweep, in one repetition.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Trial {
    /// Stable and readable; also its folder's name.
    pub id: TrialId,
    /// The swept fields and the values they have here, by path without the `workload.` prefix.
    pub parameters: BTreeMap<String, Value>,
    /// Counts from 1.
    pub repetition: u32,
    /// Seeds schedule, prompts and routing; differs between trials and repetitions.
    pub seed: u64,
    /// What is asked or started. Equal services need no restart between trials.
    pub service: ServiceSpec,
    /// How many requests, when and to whom.
    pub load: LoadSpec,
    /// What a request asks for.
    pub request: RequestSpec,
    /// What an answer must meet to count as good.
    pub slo: Slo,
    /// With it this is no single load but a search, whose first probe it looks like.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub search: Option<SearchSpec>,
    /// Of a probe: where it stands in its search.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub place: Option<ProbePlace>,
}

impl Trial {
    /// The trial of the recipe that this one is, or is a probe of.
    #[must_use]
    pub fn planned_id(&self) -> &TrialId {
        self.place.as_ref().map_or(&self.id, |place| &place.search)
    }
}

/// The service under test, as far as the recipe says.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ServiceSpec {
    /// A name in `hb_services::SERVICES`, or of a custom service.
    pub service: String,
    /// The model's name.
    pub model: String,
    /// `servers.service_config`, typed by the service itself.
    pub config: Map<String, Value>,
    /// Variables for the server processes.
    pub environment: BTreeMap<String, String>,
    /// Servers that already run; nothing is started or stopped then.
    pub endpoints: Vec<String>,
    /// Further names under which the model may answer.
    #[serde(default)]
    pub answers_as: Vec<String>,
    /// Where the key for the endpoints comes from. The key itself is in no plan, order or report.
    pub api_key: Option<ApiKeySource>,
    /// Further headers of every request to the endpoints, by name.
    #[serde(default)]
    pub headers: BTreeMap<String, HeaderSource>,
    /// The port the first server of a node takes, if the recipe or the command line names one.
    pub port: Option<u16>,
    /// How readiness is asked.
    pub health: HealthCheck,
    /// What the server runs in.
    pub runtime: ContainerRuntime,
    /// The image, or the executable where the runtime is `bare`; `None` means the service's own default.
    pub path: Option<PathBuf>,
    /// Where the image is pulled from, where it is not there.
    #[serde(default)]
    pub remote: Option<String>,
    /// `source:target[:mode]` as the recipe has them.
    pub binds: Vec<String>,
    /// Further words for the server's command line.
    pub extra_args: Vec<String>,
    /// Further words for the command line of the runtime that wraps it.
    #[serde(default)]
    pub runtime_args: Vec<String>,
    /// GPUs per server node.
    pub gpus: u32,
    /// The declarative block, where the service is a custom one.
    pub custom: Option<CustomService>,
    /// How one server is spread over nodes, as the service itself says.
    #[serde(default)]
    pub layout: Layout,
}

/// How one server is spread over nodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Layout {
    /// One process on one node.
    #[default]
    OneNode,
    /// A process on each of so many nodes: the first one's answers, the others' follow it.
    Ranks(NonZeroU32),
    /// A cluster of the service's own over so many nodes, and then the server on the first of them.
    Cluster(NonZeroU32),
}

impl Layout {
    /// The nodes that one server takes.
    #[must_use]
    pub fn nodes(self) -> NonZeroU32 {
        match self {
            Self::OneNode => NonZeroU32::MIN,
            Self::Ranks(nodes) | Self::Cluster(nodes) => nodes,
        }
    }

    /// How many times something must be up before the next thing is started.
    #[must_use]
    pub fn stages(self) -> u32 {
        match self {
            Self::OneNode | Self::Ranks(_) => 1,
            Self::Cluster(_) => 3,
        }
    }
}

/// Load waits so long at most for the digest of the servers' image: 100 GB at 120 MB/s, twice what is met.
pub const IMAGE_READ_WITHIN: Span = Span::from_secs(900);

impl ServiceSpec {
    /// The image's path, where the runtime has one that is a path: podman's are names.
    #[must_use]
    pub fn image(&self) -> Option<&Path> {
        match self.runtime {
            ContainerRuntime::Apptainer | ContainerRuntime::Charliecloud => self.path.as_deref(),
            ContainerRuntime::Podman | ContainerRuntime::Bare => None,
        }
    }

    /// The time a server has from its start to its first completion; a custom block's own word wins.
    #[must_use]
    pub fn ready_limit(&self) -> Span {
        self.custom.as_ref().and_then(|custom| custom.ready_timeout).unwrap_or(self.health.timeout)
    }
}

/// Where an endpoint's key is read, on the node that needs it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ApiKeySource {
    /// An environment variable's name.
    Env(String),
    /// A file's path.
    File(PathBuf),
}

/// Where a header's value comes from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HeaderSource {
    /// The recipe itself, so it is no secret.
    Text(String),
    /// An environment variable's name, on the node that needs it.
    Env(String),
    /// A file's path there.
    File(PathBuf),
}

/// How a server is asked whether it is ready.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HealthCheck {
    /// Whether the HTTP check is made; model and completion are asked in any case.
    pub enabled: bool,
    /// The time a server has from its start to its first real completion.
    pub timeout: Span,
    /// The pause between two questions.
    pub interval: Span,
    /// The path to ask; `None` means the service's own.
    pub endpoint: Option<String>,
}

/// What a server process is wrapped in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ContainerRuntime {
    /// Apptainer, the default on a cluster.
    Apptainer,
    /// Podman.
    Podman,
    /// Charliecloud.
    Charliecloud,
    /// A plain process.
    Bare,
}

/// A service described in the recipe, without Rust.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CustomService {
    /// The command's words; `{host}`, `{port}` and `{model}` are filled in.
    pub command: Vec<String>,
    /// Variables for it.
    pub env: BTreeMap<String, String>,
    /// The path that answers 200 when it is ready.
    pub ready_path: Option<String>,
    /// The time it has to become ready.
    pub ready_timeout: Option<Span>,
    /// The protocol it speaks.
    pub protocol: ProtocolName,
    /// Its port.
    pub port: Option<u16>,
    /// The signal that ends it, such as `SIGTERM`.
    pub stop_signal: Option<String>,
    /// The time it has to end.
    pub stop_grace: Option<Span>,
}

/// A protocol of the load path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ProtocolName {
    /// OpenAI's completions and chat, server-sent events.
    Openai,
    /// Ollama's generate and chat, newline-delimited JSON.
    Ollama,
}

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

/// What a request asks for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RequestSpec {
    /// The operation.
    pub api: Api,
    /// Whether the answer is streamed.
    pub stream: bool,
    /// Prompt tokens.
    pub prompt_len: Length,
    /// Answer tokens that are asked for.
    pub gen_tokens: Length,
    /// Prompts in one request, where the protocol has it.
    pub batch: NonZeroU32,
    /// Groups of prompts that begin alike, and how many tokens they share.
    pub shared_prefix: Option<SharedPrefix>,
    /// How many turns a conversation has; `None` where every request stands alone.
    #[serde(default)]
    pub turns: Option<Length>,
    /// Put into every body as it stands.
    pub sampling: Map<String, Value>,
}

impl RequestSpec {
    /// How many answers each prompt is asked for.
    #[must_use]
    pub fn choices(&self) -> u32 {
        choices(&self.sampling)
    }

    /// Whether a request gets one answer: several, of a batch or of several choices, come in one stream by turns, and the time
    /// from one token to the next says nothing of any of them.
    #[must_use]
    pub fn has_one_answer(&self) -> bool {
        self.batch.get() == 1 && self.choices() == 1
    }
}

/// How many answers these fields of a body ask for each prompt: `n`, and one where it says nothing.
#[must_use]
pub fn choices(sampling: &Map<String, Value>) -> u32 {
    let asked = sampling.get("n").and_then(Value::as_u64).and_then(|n| u32::try_from(n).ok());
    asked.unwrap_or(1).max(1)
}

/// The operation of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Api {
    /// `/v1/completions`.
    Completions,
    /// `/v1/chat/completions`, or `/api/chat` of Ollama.
    Chat,
    /// `/api/generate` of Ollama.
    Generate,
}

impl fmt::Display for Api {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Completions => "completions",
            Self::Chat => "chat",
            Self::Generate => "generate",
        })
    }
}

impl Api {
    /// Whether a request may hold several prompts.
    #[must_use]
    pub fn takes_several_prompts(self) -> bool {
        self == Self::Completions
    }
}

/// A number of tokens (or of turns), or a distribution of it.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Length {
    /// Always the same.
    Fixed(u32),
    /// Evenly between two numbers, both included.
    Uniform(u32, u32),
    /// Mean and standard deviation.
    Normal(f64, f64),
    /// Median and the logarithm's standard deviation.
    Lognormal(f64, f64),
}

/// Groups of prompts that begin alike.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct SharedPrefix {
    /// How many groups.
    pub groups: NonZeroU32,
    /// How many tokens a group shares.
    pub tokens: u32,
}

/// Limits by percentile, in seconds: `ttft_p99` and its kind.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Slo {
    /// Metric (`ttft`, `tpot`, `e2el`), percentile (0–100) and limit.
    pub limits: Vec<SloLimit>,
}

/// One limit.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SloLimit {
    /// `ttft`, `tpot` or `e2el`.
    pub metric: String,
    /// The percentile, such as 99.
    pub percentile: f64,
    /// What it must not exceed.
    pub limit: Span,
}
