//! vLLM as a service.

use hb_core::{
    orders::{Duty, Meeting, ServerOrder},
    trial::{Api, ContainerRuntime, Layout, ProtocolName, ServiceSpec},
};

use super::{distributed, flags, ray};
use crate::{
    openai::lists_model,
    service::{CommandLine, Gathering, PortWish, PullLine, Service, ServiceProblem, Step, healthy, program},
};

/// The port at which the ranks of a server meet, unless the recipe names one.
const MASTER_PORT: u16 = 29_501;

/// Its name among a process's ports, and its key in the recipe.
const MASTER: &str = "master_port";

/// vLLM's own server.
pub struct Vllm;

impl Service for Vllm {
    fn name(&self) -> &str {
        "vllm"
    }
    fn about(&self) -> &str {
        "vLLM's OpenAI-compatible server, on the GPUs of one node or of several"
    }
    fn default_port(&self) -> u16 {
        8000
    }
    fn protocol(&self) -> ProtocolName {
        ProtocolName::Openai
    }
    fn default_api(&self) -> Api {
        Api::Completions
    }
    fn is_started(&self) -> bool {
        true
    }

    fn config_keys(&self) -> Vec<&'static str> {
        flags::keys()
    }

    fn check(&self, spec: &ServiceSpec) -> Vec<ServiceProblem> {
        let mut problems = flags::check(spec);
        problems.extend(unsafe_model(spec));
        if spec.runtime == ContainerRuntime::Bare
            && spec.path.as_deref().is_some_and(|path| path.extension().is_some_and(|end| end == "sif"))
        {
            problems.push(ServiceProblem {
                path: "artifacts.service.path".into(),
                what: "an image cannot be run as a plain program".into(),
                advice: "set artifacts.runtime to apptainer, or name the `vllm` program".into(),
            });
        }
        problems
    }

    fn layout(&self, spec: &ServiceSpec) -> Result<Layout, ServiceProblem> {
        distributed::layout(spec)
    }

    fn ports(&self, order: &ServerOrder) -> Vec<PortWish> {
        if matches!(order.service.layout, Layout::Cluster(_)) {
            return ray::ports(order);
        }
        let is_met = order.part.duty == Duty::Serve && matches!(order.service.layout, Layout::Ranks(_));
        let named = distributed::port(&order.service.config, MASTER);
        let wish = PortWish { name: MASTER, port: named.unwrap_or(MASTER_PORT), is_fixed: named.is_some() };
        is_met.then_some(wish).into_iter().collect()
    }

    fn wants_scratch(&self, order: &ServerOrder) -> bool {
        matches!(order.part.duty, Duty::HeadCluster | Duty::JoinCluster)
    }

    fn gathering(&self, order: &ServerOrder) -> Result<(String, Step), ServiceProblem> {
        ray::gathering(order)
    }

    fn gathered(&self, body: &[u8], nodes: u32, spec: &ServiceSpec) -> Gathering {
        ray::gathered(body, nodes, spec)
    }

    fn command(&self, order: &ServerOrder) -> Result<CommandLine, ServiceProblem> {
        let spec = &order.service;
        if matches!(order.part.duty, Duty::HeadCluster | Duty::JoinCluster) {
            return ray::command(order);
        }
        if let Some(problem) = unsafe_model(spec) {
            return Err(problem);
        }
        let mut args = vec!["serve".into(), spec.model.clone()];
        if order.part.duty == Duty::Serve {
            args.extend(["--host".into(), order.host.clone(), "--port".into(), order.port.to_string()]);
        }
        args.extend(flags::flags(&spec.config));
        let mut env = spec.environment.clone();
        match spec.layout {
            Layout::OneNode => {}
            Layout::Ranks(nodes) => args.extend(rank_flags(order, nodes.get())?),
            Layout::Cluster(_) => {
                env.insert("RAY_ADDRESS".into(), ray::address(order)?);
            }
        }
        if spec.layout != Layout::OneNode {
            // By itself it takes the address of the node's first interface, which need not be the run's.
            env.entry("VLLM_HOST_IP".into()).or_insert_with(|| order.host.clone());
        }
        args.extend(spec.extra_args.iter().cloned());
        // A benchmark reports to nobody, and compute nodes could not reach it anyway.
        env.entry("VLLM_NO_USAGE_STATS".into()).or_insert_with(|| "1".into());
        Ok(CommandLine { program: program(spec, "vllm"), args, env })
    }

    fn readiness(&self, spec: &ServiceSpec) -> Vec<Step> {
        // /health and /v1/models answer 200 even where the model cannot infer at all; only a completion tells.
        let listed = Step::ModelListed { path: "/v1/models".into() };
        healthy(spec, "/health").into_iter().chain([listed, Step::Completes]).collect()
    }

    fn tokenize_path(&self) -> Option<&'static str> {
        Some(crate::tokenize::PATH)
    }

    fn lists_model(&self, body: &[u8], model: &str) -> bool {
        lists_model(body, model)
    }

    fn pull_line(&self, _: &[u8]) -> PullLine {
        PullLine::Failed("vLLM loads its model when it starts and pulls none".into())
    }
}

/// The flags that make a process one rank of a server over so many nodes; the others find the first one by them.
fn rank_flags(order: &ServerOrder, nodes: u32) -> Result<Vec<String>, ServiceProblem> {
    let own = Meeting { host: order.host.clone(), ports: order.ports.clone() };
    let first = if order.part.duty == Duty::Serve { Some(&own) } else { order.part.meeting.as_ref() };
    let met = first.and_then(|first| Some((first.host.clone(), first.ports.get(MASTER)?.to_string())));
    let (host, port) = met.ok_or_else(|| distributed::untold(order))?;
    let mut words: Vec<String> =
        ["--nnodes", &nodes.to_string(), "--node-rank", &order.part.rank.to_string()].map(str::to_owned).into();
    words.extend(["--master-addr".into(), host, "--master-port".into(), port]);
    if order.part.duty != Duty::Serve {
        words.push("--headless".into());
    }
    Ok(words)
}

/// The model stands as a word of its own and must not be read as a flag.
fn unsafe_model(spec: &ServiceSpec) -> Option<ServiceProblem> {
    (spec.model.is_empty() || spec.model.starts_with('-')).then(|| ServiceProblem {
        path: "workload.model".into(),
        what: format!("found `{}`", spec.model),
        advice: "write the model's name or the path of its folder".into(),
    })
}
