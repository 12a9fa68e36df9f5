//! vLLM as a service.

use hb_core::{
    orders::ServerOrder,
    trial::{Api, ContainerRuntime, ProtocolName, ServiceSpec},
};

use super::flags;
use crate::{
    openai::lists_model,
    service::{CommandLine, PullLine, Service, ServiceProblem, Step, healthy, program},
};

/// vLLM's own server, on the GPUs of one node.
pub struct Vllm;

impl Service for Vllm {
    fn name(&self) -> &str {
        "vllm"
    }
    fn about(&self) -> &str {
        "vLLM's OpenAI-compatible server, on the GPUs of one node"
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

    fn later(&self, spec: &ServiceSpec) -> Vec<ServiceProblem> {
        flags::later(&spec.config)
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

    fn command(&self, order: &ServerOrder) -> Result<CommandLine, ServiceProblem> {
        let spec = &order.service;
        if let Some(problem) = unsafe_model(spec) {
            return Err(problem);
        }
        let mut args = vec!["serve".into(), spec.model.clone()];
        args.extend(["--host".into(), order.host.clone(), "--port".into(), order.port.to_string()]);
        args.extend(flags::flags(&spec.config));
        args.extend(spec.extra_args.iter().cloned());
        let mut env = spec.environment.clone();
        // A benchmark reports to nobody, and compute nodes could not reach it anyway.
        env.entry("VLLM_NO_USAGE_STATS".into()).or_insert_with(|| "1".into());
        Ok(CommandLine { program: program(spec, "vllm"), args, env })
    }

    fn readiness(&self, spec: &ServiceSpec) -> Vec<Step> {
        // /health and /v1/models answer 200 even where the model cannot infer at all; only a completion tells.
        let listed = Step::ModelListed { path: "/v1/models".into() };
        healthy(spec, "/health").into_iter().chain([listed, Step::Completes]).collect()
    }

    fn lists_model(&self, body: &[u8], model: &str) -> bool {
        lists_model(body, model)
    }

    fn pull_line(&self, _: &[u8]) -> PullLine {
        PullLine::Failed("vLLM loads its model when it starts and pulls none".into())
    }
}

/// The model stands as a word of its own and must not be read as a flag.
fn unsafe_model(spec: &ServiceSpec) -> Option<ServiceProblem> {
    (spec.model.is_empty() || spec.model.starts_with('-')).then(|| ServiceProblem {
        path: "workload.model".into(),
        what: format!("found `{}`", spec.model),
        advice: "write the model's name or the path of its folder".into(),
    })
}
