//! What is asked or started: a service, where it runs and how it is reached.

use std::{
    collections::BTreeMap,
    num::NonZeroU32,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::units::Span;

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
