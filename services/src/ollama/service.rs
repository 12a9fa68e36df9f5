//! Ollama as a service.

use hb_core::{
    orders::{ServerOrder, authority},
    trial::{Api, ProtocolName, ServiceSpec},
};
use serde_json::{Map, Value, json};

use crate::{
    config::{refused, unknown_keys, word},
    service::{CommandLine, PullLine, Service, ServiceProblem, Step, healthy, program},
};

/// The keys that become variables of `ollama serve`.
const VARIABLES: [(&str, &str); 10] = [
    ("models", "OLLAMA_MODELS"),
    ("num_parallel", "OLLAMA_NUM_PARALLEL"),
    ("max_loaded_models", "OLLAMA_MAX_LOADED_MODELS"),
    ("max_queue", "OLLAMA_MAX_QUEUE"),
    ("keep_alive", "OLLAMA_KEEP_ALIVE"),
    ("load_timeout", "OLLAMA_LOAD_TIMEOUT"),
    ("context_length", "OLLAMA_CONTEXT_LENGTH"),
    ("flash_attention", "OLLAMA_FLASH_ATTENTION"),
    ("kv_cache_type", "OLLAMA_KV_CACHE_TYPE"),
    ("sched_spread", "OLLAMA_SCHED_SPREAD"),
];

/// The keys that go into the options of every request, under Ollama's own names. They decide how the model is loaded,
/// so they must be the same in every request: a change reloads it.
const OPTIONS: [(&str, &str); 4] =
    [("gpu_layers", "num_gpu"), ("num_ctx", "num_ctx"), ("num_batch", "num_batch"), ("num_thread", "num_thread")];

/// `ollama serve`.
pub struct Ollama;

impl Service for Ollama {
    fn name(&self) -> &str {
        "ollama"
    }
    fn about(&self) -> &str {
        "Ollama, which pulls its model if it is not there"
    }
    fn default_port(&self) -> u16 {
        11434
    }
    fn protocol(&self) -> ProtocolName {
        ProtocolName::Ollama
    }
    fn default_api(&self) -> Api {
        Api::Generate
    }
    fn is_started(&self) -> bool {
        true
    }

    fn config_keys(&self) -> Vec<&'static str> {
        VARIABLES.iter().chain(&OPTIONS).map(|(key, _)| *key).collect()
    }

    fn check(&self, spec: &ServiceSpec) -> Vec<ServiceProblem> {
        let known = self.config_keys();
        let is_plain = |value: &Value| value.is_string() || value.is_number() || value.is_boolean();
        let mut problems = unknown_keys(&spec.config, &known);
        problems
            .extend(VARIABLES.iter().filter_map(|(key, _)| refused(&spec.config, key, "a word, a number or a bool", is_plain)));
        problems.extend(OPTIONS.iter().filter_map(|(key, _)| refused(&spec.config, key, "a whole number", Value::is_i64)));
        problems
    }

    fn command(&self, order: &ServerOrder) -> Result<CommandLine, ServiceProblem> {
        let spec = &order.service;
        let mut env = spec.environment.clone();
        for (key, variable) in VARIABLES {
            if let Some(value) = spec.config.get(key).filter(|value| !value.is_null()) {
                // Its booleans are 0 and 1.
                let text = value.as_bool().map_or_else(|| word(value), |is_set| u8::from(is_set).to_string());
                env.insert(variable.into(), text);
            }
        }
        // Without it Ollama listens on loopback alone. A recipe's own word would move it to where nobody asks.
        env.insert("OLLAMA_HOST".into(), authority(&order.host, order.port));
        let args = ["serve".to_owned()].into_iter().chain(spec.extra_args.iter().cloned()).collect();
        Ok(CommandLine { program: program(spec, "ollama"), args, env })
    }

    fn readiness(&self, spec: &ServiceSpec) -> Vec<Step> {
        let body = json!({"model": spec.model, "stream": true}).to_string();
        let pulled = Step::ModelPulled { list_path: "/api/tags".into(), path: "/api/pull".into(), body };
        healthy(spec, "/api/version").into_iter().chain([pulled, Step::Completes]).collect()
    }

    fn lists_model(&self, body: &[u8], model: &str) -> bool {
        let value: Value = serde_json::from_slice(body).unwrap_or_default();
        let names = |row: &Value| [row["name"].as_str(), row["model"].as_str()].map(|name| name.map(with_tag));
        let asked = Some(with_tag(model));
        value["models"].as_array().is_some_and(|models| models.iter().any(|row| names(row).contains(&asked)))
    }

    fn pull_line(&self, line: &[u8]) -> PullLine {
        let Ok(value) = serde_json::from_slice::<Value>(line) else {
            return PullLine::Failed(format!("no JSON: {}", String::from_utf8_lossy(&line[..line.len().min(200)])));
        };
        if let Some(error) = value["error"].as_str() {
            return PullLine::Failed(error.to_owned());
        }
        let status = value["status"].as_str().unwrap_or_default();
        match (value["total"].as_f64(), value["completed"].as_f64().unwrap_or(0.0)) {
            _ if status == "success" => PullLine::Done,
            (Some(total), completed) if total > 0.0 => {
                PullLine::Progress(format!("{status}: {:.0} %", 100.0 * completed / total))
            }
            _ => PullLine::Progress(status.to_owned()),
        }
    }

    fn request_fields(&self, spec: &ServiceSpec) -> Map<String, Value> {
        let field = |(key, option): (&str, &str)| Some((option.to_owned(), spec.config.get(key)?.clone()));
        OPTIONS.into_iter().filter_map(field).collect()
    }
}

/// `llama2` and `llama2:latest` are one model.
pub(crate) fn with_tag(name: &str) -> String {
    // A colon before the last slash belongs to a registry's port.
    let last = name.rsplit('/').next().unwrap_or(name);
    if last.contains(':') { name.to_owned() } else { format!("{name}:latest") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_model_is_found_with_and_without_its_tag() {
        let tags = br#"{"models": [{"name": "llama2:latest", "model": "llama2:latest"}, {"name": "reg:5000/q/qwen:7b"}]}"#;
        let cases =
            [("llama2", true), ("llama2:latest", true), ("llama2:13b", false), ("reg:5000/q/qwen:7b", true), ("qwen:7b", false)];
        for (model, is_there) in cases {
            assert_eq!(Ollama.lists_model(tags, model), is_there, "{model}");
        }
        assert!(!Ollama.lists_model(b"no JSON", "llama2"));
        assert!(!Ollama.lists_model(br#"{"models": null}"#, "llama2"));
    }

    #[test]
    fn a_pull_is_done_only_when_it_says_success() {
        let check = |line: &str, expected| assert_eq!(Ollama.pull_line(line.as_bytes()), expected, "{line}");
        check(r#"{"status": "success"}"#, PullLine::Done);
        check(r#"{"status": "pulling manifest"}"#, PullLine::Progress("pulling manifest".into()));
        check(
            r#"{"status": "pulling 8934d96d3f08", "total": 200, "completed": 86}"#,
            PullLine::Progress("pulling 8934d96d3f08: 43 %".into()),
        );
        check(r#"{"status": "pulling 8934d96d3f08", "total": 200}"#, PullLine::Progress("pulling 8934d96d3f08: 0 %".into()));
        check(
            r#"{"error": "pull model manifest: file does not exist"}"#,
            PullLine::Failed("pull model manifest: file does not exist".into()),
        );
        check("<html>", PullLine::Failed("no JSON: <html>".into()));
    }
}
