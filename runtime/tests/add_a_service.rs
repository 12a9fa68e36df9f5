//! The worked example of `docs/add-a-service.md`: it compiles, and what it describes is what a service must be.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::num::NonZeroU32;

// The manual's example begins.
use hb_core::{
    orders::ServerOrder,
    trial::{Api, ProtocolName, ServiceSpec},
};
use hb_services::{
    config::{refused, unknown_keys, word},
    service::{CommandLine, PullLine, Service, ServiceProblem, Step},
};
use serde_json::Value;

/// llama.cpp's own server.
pub struct LlamaCpp;

impl Service for LlamaCpp {
    fn name(&self) -> &str {
        "llamacpp"
    }
    fn about(&self) -> &str {
        "llama.cpp's llama-server, with one model file"
    }
    fn default_port(&self) -> u16 {
        8080
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

    fn check(&self, spec: &ServiceSpec) -> Vec<ServiceProblem> {
        let mut problems = unknown_keys(&spec.config, &["model_file", "ctx_size"]);
        problems.extend(refused(&spec.config, "model_file", "a path", Value::is_string));
        problems.extend(refused(&spec.config, "ctx_size", "a whole number", Value::is_u64));
        problems
    }

    fn command(&self, order: &ServerOrder) -> Result<CommandLine, ServiceProblem> {
        let spec = &order.service;
        let mut args: Vec<String> = vec!["--host".into(), order.host.clone(), "--port".into(), order.port.to_string()];
        args.extend(["--model".into(), model_file(spec), "--alias".into(), spec.model.clone()]);
        if let Some(size) = spec.config.get("ctx_size") {
            args.extend(["--ctx-size".into(), size.to_string()]);
        }
        args.extend(spec.extra_args.iter().cloned());
        Ok(CommandLine { program: "llama-server".into(), args, env: spec.environment.clone() })
    }

    fn readiness(&self, spec: &ServiceSpec) -> Vec<Step> {
        let path = spec.health.endpoint.clone().unwrap_or_else(|| "/health".into());
        let healthy = spec.health.enabled.then_some(Step::Healthy { path });
        healthy.into_iter().chain([Step::ModelListed { path: "/v1/models".into() }, Step::Completes]).collect()
    }

    fn lists_model(&self, body: &[u8], model: &str) -> bool {
        let answer: Value = serde_json::from_slice(body).unwrap_or_default();
        answer["data"].as_array().is_some_and(|models| models.iter().any(|row| row["id"] == model))
    }

    fn pull_line(&self, _: &[u8]) -> PullLine {
        PullLine::Failed("llama.cpp pulls no models".into())
    }
}

/// The file that holds the model: as named, else by the model's name.
fn model_file(spec: &ServiceSpec) -> String {
    spec.config.get("model_file").map_or_else(|| format!("{}.gguf", spec.model), word)
}
// The manual's example ends.

use hb_core::{
    trial::{ContainerRuntime, HealthCheck, Length, RequestSpec},
    units::Span,
};
use serde_json::{Map, json};

fn spec(config: &Value) -> ServiceSpec {
    ServiceSpec {
        service: "llamacpp".into(),
        model: "tiny".into(),
        config: config.as_object().unwrap().clone(),
        environment: [("GGML_N".to_owned(), "1".to_owned())].into(),
        endpoints: vec![],
        answers_as: Vec::new(),
        headers: Default::default(),
        api_key: None,
        port: None,
        health: HealthCheck { enabled: true, timeout: Span::from_secs(60), interval: Span::from_secs(1), endpoint: None },
        runtime: ContainerRuntime::Bare,
        path: None,
        binds: vec![],
        extra_args: vec!["--mlock".into()],
        gpus: 0,
        custom: None,
        layout: Default::default(),
        remote: None,
        runtime_args: Vec::new(),
    }
}

fn order(service: ServiceSpec) -> ServerOrder {
    let request = RequestSpec {
        api: Api::Completions,
        stream: true,
        prompt_len: Length::Fixed(3),
        gen_tokens: Length::Fixed(8),
        batch: NonZeroU32::MIN,
        shared_prefix: None,
        turns: None,
        sampling: Map::new(),
    };
    ServerOrder {
        server: 0,
        part: Default::default(),
        service,
        port: 8123,
        is_port_fixed: false,
        host: "10.0.0.7".into(),
        request,
        ports: Default::default(),
        scratch: None,
    }
}

#[test]
fn the_example_makes_a_command_line() {
    let line = LlamaCpp.command(&order(spec(&json!({"model_file": "a b.gguf", "ctx_size": 512})))).unwrap();
    let words =
        ["--host", "10.0.0.7", "--port", "8123", "--model", "a b.gguf", "--alias", "tiny", "--ctx-size", "512", "--mlock"];
    assert_eq!((line.program.to_str(), line.args), (Some("llama-server"), words.map(str::to_owned).to_vec()));
    assert_eq!(line.env["GGML_N"], "1");
}

#[test]
fn the_example_says_everything_that_is_wrong_at_once() {
    let problems = LlamaCpp.check(&spec(&json!({"ctx_sise": 1, "ctx_size": "big", "model_file": 3})));
    let paths: Vec<&str> = problems.iter().map(|problem| problem.path.rsplit('.').next().unwrap()).collect();
    assert_eq!(paths, ["ctx_sise", "model_file", "ctx_size"]);
    assert!(problems[0].advice.contains("`ctx_size`"), "{problems:?}");
}

/// What `services/tests/conformance.rs` asks of every member of `SERVICES`.
#[test]
fn the_example_would_pass_the_conformance_test() {
    let mut spec = spec(&json!({}));
    assert!(hb_services::find(LlamaCpp.name()).is_none() && LlamaCpp.default_port() > 1023 && !LlamaCpp.about().is_empty());
    assert_eq!(LlamaCpp.default_api() == Api::Generate, LlamaCpp.protocol() == ProtocolName::Ollama);
    assert_eq!(LlamaCpp.check(&spec), []);
    let line = LlamaCpp.command(&order(spec.clone())).unwrap();
    assert!(line.args.contains(&"8123".to_owned()) && line.args.last().unwrap() == "--mlock", "{line:?}");
    assert_eq!(LlamaCpp.readiness(&spec).last(), Some(&Step::Completes));
    spec.health.enabled = false;
    assert_eq!(LlamaCpp.readiness(&spec), [Step::ModelListed { path: "/v1/models".into() }, Step::Completes]);
}

#[test]
fn the_example_finds_its_model_in_the_list() {
    assert!(LlamaCpp.lists_model(br#"{"data": [{"id": "tiny"}]}"#, "tiny"));
    assert!(!LlamaCpp.lists_model(br#"{"data": [{"id": "tinier"}]}"#, "tiny"));
    assert!(!LlamaCpp.lists_model(b"not JSON", "tiny"));
}
