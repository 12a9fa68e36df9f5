//! What it takes to run a service: its command line, and the questions that show it is ready.

use std::{collections::BTreeMap, path::PathBuf};

use hb_core::{
    orders::ServerOrder,
    trial::{Api, ContainerRuntime, Layout, ProtocolName, RequestSpec, ServiceSpec},
    units::Span,
};
use serde_json::{Map, Value};

/// The program of a service that lives in hbnode's own binary. The ServerManager puts the path of its own
/// executable in its place; no runtime wraps it.
pub const OWN_BINARY: &str = "hbnode";

/// A program and its words, never a shell text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommandLine {
    /// The executable.
    pub program: PathBuf,
    /// Its arguments.
    pub args: Vec<String>,
    /// Variables added to the environment.
    pub env: BTreeMap<String, String>,
}

/// Why a service cannot be described from what the recipe says.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{path}: {what}; {advice}")]
pub struct ServiceProblem {
    /// The recipe's field.
    pub path: String,
    /// What was found.
    pub what: String,
    /// What to do.
    pub advice: String,
}

/// One question on the way to readiness, asked until it is answered well or the deadline is over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// `GET path` answers 2xx.
    Healthy {
        /// The path.
        path: String,
    },
    /// `GET path` lists the model; [`Service::lists_model`] reads the answer.
    ModelListed {
        /// The path.
        path: String,
    },
    /// `POST path` brings the model if [`Step::ModelListed`] on `list_path` says it is absent;
    /// [`Service::pull_line`] reads each line of the answer.
    ModelPulled {
        /// The path that lists what is there.
        list_path: String,
        /// The path that pulls.
        path: String,
        /// The JSON body.
        body: String,
    },
    /// One real completion through the protocol ends as a success.
    Completes,
    /// `GET path` lists so many nodes of the service's own cluster; [`Service::gathered`] reads the answer.
    Gathered {
        /// The path.
        path: String,
        /// How many nodes there must be.
        nodes: u32,
    },
}

/// What a list of a cluster's nodes comes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Gathering {
    /// All are there, with what they are to hold.
    Whole,
    /// Some may come yet.
    Incomplete(String),
    /// It will not come to be.
    Refused(String),
}

/// A port that a process needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PortWish {
    /// What it is for.
    pub name: &'static str,
    /// The wanted one.
    pub port: u16,
    /// Whether the recipe names it; if not, the next free one does as well.
    pub is_fixed: bool,
}

/// A line of a pull's answer.
#[derive(Debug, Clone, PartialEq)]
pub enum PullLine {
    /// Such as `pulling 8934d96d3f08: 43 %`.
    Progress(String),
    /// The model is there.
    Done,
    /// It will not come, and why.
    Failed(String),
}

/// A service that hbnode can start, wait for and measure.
pub trait Service: Sync {
    /// The name recipes use.
    fn name(&self) -> &str;
    /// A sentence for `hbnode list` and the manual.
    fn about(&self) -> &str;
    /// The port of its first server on a node.
    fn default_port(&self) -> u16;
    /// The protocol of its load path.
    fn protocol(&self) -> ProtocolName;
    /// The operation used where the recipe names none.
    fn default_api(&self) -> Api;
    /// Whether hbnode starts it (an `openai` endpoint is never started).
    fn is_started(&self) -> bool;
    /// Everything in `servers.service_config` that it cannot take, all at once.
    fn check(&self, spec: &ServiceSpec) -> Vec<ServiceProblem>;
    /// Every key that `servers.service_config` may have for it, so that a person can be told them.
    fn config_keys(&self) -> Vec<&'static str> {
        Vec::new()
    }
    /// How one server is spread over nodes.
    ///
    /// # Errors
    /// What in the recipe cannot be spread.
    fn layout(&self, _: &ServiceSpec) -> Result<Layout, ServiceProblem> {
        Ok(Layout::OneNode)
    }
    /// The ports that a process of it needs beside the one that answers.
    fn ports(&self, _: &ServerOrder) -> Vec<PortWish> {
        Vec::new()
    }
    /// Whether a process of it needs an empty folder on its node, with a short path, that goes when it has ended.
    fn wants_scratch(&self, _: &ServerOrder) -> bool {
        false
    }
    /// The base URL and the question that tell whether a part of its cluster is in place.
    ///
    /// # Errors
    /// That it has no cluster, or that the part was not told where the rest of it is.
    fn gathering(&self, order: &ServerOrder) -> Result<(String, Step), ServiceProblem> {
        Err(ServiceProblem {
            path: "workload.service".into(),
            what: format!("{} is part of a cluster, and the service `{}` forms none", order.name(), self.name()),
            advice: "this is a fault of hbnode itself; please report it".into(),
        })
    }
    /// Reads the answer of a [`Step::Gathered`] question.
    fn gathered(&self, _body: &[u8], _nodes: u32, _: &ServiceSpec) -> Gathering {
        Gathering::Refused(format!("the service `{}` forms no cluster", self.name()))
    }
    /// The command line inside its runtime.
    ///
    /// # Errors
    /// What in the recipe makes no command line.
    fn command(&self, order: &ServerOrder) -> Result<CommandLine, ServiceProblem>;
    /// The questions that show it is ready, in order.
    fn readiness(&self, spec: &ServiceSpec) -> Vec<Step>;
    /// Where it tells the tokens of a text, in the way of [`crate::tokenize`], if it may.
    fn tokenize_path(&self) -> Option<&'static str> {
        None
    }
    /// Whether the answer of a [`Step::ModelListed`] question names the model.
    fn lists_model(&self, body: &[u8], model: &str) -> bool;

    /// The models that a list names, where asking again is useless when the wanted one is not among them: of a
    /// server that already runs, and has what it has.
    fn settled_models(&self, _body: &[u8]) -> Vec<String> {
        Vec::new()
    }
    /// Reads a line of a pull's answer.
    fn pull_line(&self, line: &[u8]) -> PullLine;
    /// What `servers.service_config` puts into every request, below what `workload.sampling` says.
    fn request_fields(&self, _: &ServiceSpec) -> Map<String, Value> {
        Map::new()
    }
    /// How its process is asked to end.
    fn stopping(&self) -> Stopping {
        Stopping::default()
    }
}

/// How a server's process is asked to end; what is left after the grace is killed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stopping {
    /// The signal's name.
    pub signal: String,
    /// The time it has to end.
    pub grace: Span,
}

impl Default for Stopping {
    fn default() -> Self {
        // A run that a signal ends must be over within 15 s, a server that does not react included.
        Self { signal: "SIGTERM".into(), grace: Span::from_secs(8) }
    }
}

/// The request as it is really sent: what the service's configuration adds stands under `sampling`, where the
/// recipe's own words win.
#[must_use]
pub fn request_for(service: &dyn Service, spec: &ServiceSpec, request: &RequestSpec) -> RequestSpec {
    let mut sampling = service.request_fields(spec);
    sampling.extend(request.sampling.clone());
    RequestSpec { sampling, ..request.clone() }
}

/// The health question, at the recipe's path or the service's own, unless the recipe leaves it out.
pub(crate) fn healthy(spec: &ServiceSpec, path: &str) -> Option<Step> {
    let path = spec.health.endpoint.as_deref().unwrap_or(path);
    spec.health.enabled.then(|| Step::Healthy { path: path.into() })
}

/// The program: under `bare` the path the recipe names, or the usual name, which `PATH` or the image knows.
pub(crate) fn program(spec: &ServiceSpec, usual: &str) -> PathBuf {
    let named = spec.path.clone().filter(|_| spec.runtime == ContainerRuntime::Bare);
    named.unwrap_or_else(|| usual.into())
}
