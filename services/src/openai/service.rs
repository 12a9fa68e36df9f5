//! An endpoint that already runs: any OpenAI-compatible server. Nothing is started or stopped.

use hb_core::{
    orders::ServerOrder,
    trial::{Api, ProtocolName, ServiceSpec},
};
use serde_json::Value;

use crate::{
    config::unknown_keys,
    service::{CommandLine, PullLine, Service, ServiceProblem, Step},
};

/// Any OpenAI-compatible server that somebody else runs.
pub struct Openai;

impl Service for Openai {
    fn name(&self) -> &str {
        "openai"
    }
    fn about(&self) -> &str {
        "an OpenAI-compatible server that already runs, named by servers.endpoints"
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
        false
    }

    fn check(&self, spec: &ServiceSpec) -> Vec<ServiceProblem> {
        let mut problems = unknown_keys(&spec.config, &[]);
        if spec.endpoints.is_empty() {
            problems.push(ServiceProblem {
                path: "servers.endpoints".into(),
                what: "the service `openai` is never started, and no endpoint is named".into(),
                advice: "name the servers that already run, such as `endpoints: [\"http://127.0.0.1:8000\"]`".into(),
            });
        }
        problems
    }

    fn command(&self, _: &ServerOrder) -> Result<CommandLine, ServiceProblem> {
        Err(ServiceProblem {
            path: "workload.service".into(),
            what: "the service `openai` has no program to start".into(),
            advice: "name servers.endpoints, or a service that is started such as `vllm`".into(),
        })
    }

    fn readiness(&self, _: &ServiceSpec) -> Vec<Step> {
        // Not every compatible server has /health; all of them list their models.
        vec![Step::ModelListed { path: "/v1/models".into() }, Step::Completes]
    }

    fn tokenize_path(&self) -> Option<&'static str> {
        Some(crate::tokenize::PATH)
    }

    fn lists_model(&self, body: &[u8], model: &str) -> bool {
        lists_model(body, model)
    }

    fn settled_models(&self, body: &[u8]) -> Vec<String> {
        let value: Value = serde_json::from_slice(body).unwrap_or_default();
        let rows = value["data"].as_array().into_iter().flatten();
        rows.filter_map(|row| Some(row["id"].as_str()?.to_owned())).collect()
    }

    fn pull_line(&self, _: &[u8]) -> PullLine {
        PullLine::Failed("an OpenAI-compatible server pulls no models".into())
    }
}

/// Whether the answer of `/v1/models` has the model's id.
pub(crate) fn lists_model(body: &[u8], model: &str) -> bool {
    let value: Value = serde_json::from_slice(body).unwrap_or_default();
    value["data"].as_array().is_some_and(|models| models.iter().any(|row| row["id"] == model))
}
