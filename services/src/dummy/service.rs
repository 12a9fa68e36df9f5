//! The Dummy as a service: a process of its own, started from hbnode's own binary.

use hb_core::{
    orders::ServerOrder,
    trial::{Api, ProtocolName, ServiceSpec},
};

use super::config::{DummyConfig, KEYS};
use crate::{
    config::word,
    openai::lists_model,
    service::{CommandLine, OWN_BINARY, PullLine, Service, ServiceProblem, Step, healthy},
};

/// The built-in stand-in.
pub struct Dummy;

impl Service for Dummy {
    fn name(&self) -> &str {
        "dummy"
    }
    fn about(&self) -> &str {
        "a built-in server of exactly known timing, for trying things out and for calibration"
    }
    fn default_port(&self) -> u16 {
        5000
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
        KEYS.iter().map(|key| key.name).collect()
    }

    fn check(&self, spec: &ServiceSpec) -> Vec<ServiceProblem> {
        let problems = DummyConfig::from_config(&spec.config).err().unwrap_or_default();
        let at =
            |key: &str| if key.is_empty() { "servers.service_config".into() } else { format!("servers.service_config.{key}") };
        problems
            .into_iter()
            .map(|problem| ServiceProblem { path: at(&problem.key), what: problem.what, advice: problem.advice })
            .collect()
    }

    fn command(&self, order: &ServerOrder) -> Result<CommandLine, ServiceProblem> {
        let spec = &order.service;
        let mut args = vec!["dummy".into(), "--host".into(), order.host.clone(), "--port".into(), order.port.to_string()];
        if !spec.config.contains_key("model") {
            args.extend(["--model".into(), spec.model.clone()]);
        }
        for (key, value) in spec.config.iter().filter(|(_, value)| !value.is_null()) {
            args.extend([format!("--{}", key.replace('_', "-")), word(value)]);
        }
        args.extend(spec.extra_args.iter().cloned());
        Ok(CommandLine { program: OWN_BINARY.into(), args, env: spec.environment.clone() })
    }

    fn readiness(&self, spec: &ServiceSpec) -> Vec<Step> {
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
        PullLine::Failed("a Dummy has the model it was started with".into())
    }
}
