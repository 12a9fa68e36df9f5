//! The service, how it is reached, and what it can be asked.

use serde_json::Value;

use super::{
    super::{KnownService, Problem, Recipe},
    values,
};
use crate::{
    trial::{Api, DrillTarget, ProtocolName},
    units::nearest,
};

pub(super) fn check(recipe: &Recipe, services: &[KnownService], problems: &mut Vec<Problem>) {
    name(recipe, services, problems);
    operation(recipe, services, problems);
    endpoints(recipe, problems);
    answers(recipe, problems);
    key(recipe, problems);
    config(recipe, problems);
    sampling(recipe, problems);
}

fn name(recipe: &Recipe, services: &[KnownService], problems: &mut Vec<Problem>) {
    let name = recipe.workload.service.as_str();
    let built_in = services.iter().find(|service| service.name == name);
    if built_in.is_none() && !recipe.custom_services.contains_key(name) {
        let known: Vec<&str> =
            services.iter().map(|service| service.name).chain(recipe.custom_services.keys().map(String::as_str)).collect();
        let problem = Problem::error("workload.service", format!("`{name}`"), format!("one of {}", known.join(", ")));
        problems.push(match nearest(name, &known) {
            Some(near) => problem.advise(format!("did you mean `{near}`?")),
            None => problem.advise("describe it under `custom_services`"),
        });
    }
    if built_in.is_some_and(|service| !service.is_started) && !recipe.has_endpoints() {
        let problem = Problem::error("servers.endpoints", format!("nothing; hbnode starts no `{name}`"), "a list of base URLs");
        problems.push(problem.advise("write such as `endpoints: [\"http://host:8000\"]`"));
    }
    if recipe.workload.model.is_none() && name != "dummy" {
        problems.push(Problem::error("workload.model", "nothing; it is required", "the model's name"));
    }
    for (path, _) in values("workload.model", &recipe.workload.model).filter(|(_, model)| model.trim().is_empty()) {
        problems.push(Problem::error(path, "an empty text", "the model's name"));
    }
}

/// An operation that the service's protocol does not have.
fn operation(recipe: &Recipe, services: &[KnownService], problems: &mut Vec<Problem>) {
    let name = recipe.workload.service.as_str();
    let built_in = services.iter().find(|service| service.name == name).map(|service| match service.default_api {
        Api::Generate => ProtocolName::Ollama,
        Api::Completions | Api::Chat => ProtocolName::Openai,
    });
    let custom = recipe.custom_services.get(name).map(|custom| custom.protocol);
    let Some(protocol) = custom.or(built_in) else { return };
    for (path, api) in values("workload.api", &recipe.workload.api) {
        let (word, accepted, other) = match (protocol, api) {
            (ProtocolName::Openai, Api::Generate) => ("generate", "completions or chat", "`generate` is Ollama's"),
            (ProtocolName::Ollama, Api::Completions) => ("completions", "generate or chat", "`completions` is OpenAI's"),
            _ => continue,
        };
        let problem = Problem::error(path, format!("`{word}`, which `{name}` does not have"), accepted);
        problems.push(problem.advise(format!("{other}; leave it out for the service's usual operation")));
    }
}

fn endpoints(recipe: &Recipe, problems: &mut Vec<Problem>) {
    let Some(servers) = &recipe.servers else { return };
    for (index, url) in servers.endpoints.iter().enumerate() {
        let path = format!("servers.endpoints[{index}]");
        let rest = url.strip_prefix("http://").or_else(|| url.strip_prefix("https://"));
        let host = rest.map(|rest| rest.split('/').next().unwrap_or_default());
        let shown = match url.split_once('@') {
            // What stands before it may be a password.
            Some((_, rest)) => format!("`…@{rest}`"),
            None => format!("`{url}`"),
        };
        match host {
            None => problems.push(Problem::error(path, shown, "a URL that begins with http:// or https://")),
            Some(host) if host.contains('@') => {
                let problem = Problem::error(path, shown, "a URL without a name or password");
                problems.push(problem.advise("name the key's variable as servers.api_key_env"));
            }
            Some(host) if host.is_empty() || host.starts_with(':') || url.contains(char::is_whitespace) => {
                problems.push(Problem::error(path, shown, "a URL with a host, such as `http://host:8000`"));
            }
            Some(_) if url.contains(['?', '#']) => {
                let problem = Problem::error(path, shown, "a URL without a query or fragment");
                problems.push(problem.advise("a key's variable is named as servers.api_key_env"));
            }
            Some(host) if !has_port_or_none(host) => {
                problems.push(Problem::error(path, shown, "a port from 1 to 65535 behind the host, such as `http://host:8000`"));
            }
            Some(_) if OPERATIONS.iter().any(|operation| url.trim_end_matches('/').ends_with(operation)) => {
                let problem = Problem::error(path, shown, "the server's base URL, such as `http://host:8000`");
                problems.push(problem.advise("the operation's path is added by workload.api; leave it out"));
            }
            Some(_) if servers.endpoints[..index].contains(url) => {
                let problem = Problem::warning(path, format!("{shown} a second time"), "each endpoint once");
                problems.push(problem.advise("it would count as two servers"));
            }
            Some(_) => {}
        }
    }
    let endpoint = servers.health_check.as_ref().and_then(|health| health.endpoint.as_ref());
    if let Some(path) = endpoint.filter(|path| !path.starts_with('/')) {
        let problem = Problem::error("servers.health_check.endpoint", format!("`{path}`"), "a path such as `/health`");
        problems.push(problem.advise("it begins with a slash"));
    }
    if recipe.has_endpoints() {
        beside_endpoints(recipe, problems);
    }
}

/// The paths of operations, which are no part of a base URL.
const OPERATIONS: [&str; 5] = ["/chat/completions", "/completions", "/api/generate", "/api/chat", "/v1/models"];

/// Whether what follows the host is a port, if anything does.
fn has_port_or_none(host: &str) -> bool {
    // The colons of an IPv6 address stand in brackets.
    let behind = host.rsplit(']').next().unwrap_or_default();
    behind.split_once(':').is_none_or(|(_, port)| port.parse::<u16>().is_ok_and(|port| port > 0))
}

/// What is about starting servers, where none is started.
fn beside_endpoints(recipe: &Recipe, problems: &mut Vec<Problem>) {
    let allocation = recipe.orchestration.node_allocation.as_ref();
    let artifacts = recipe.artifacts.as_ref();
    let of_starting = [
        ("orchestration.node_allocation.servers", allocation.is_some_and(|allocation| allocation.servers.is_some())),
        ("binds", !recipe.binds.is_empty()),
        ("environment", !recipe.environment.is_empty()),
        ("artifacts.service", artifacts.is_some_and(|artifacts| artifacts.service.is_some())),
        ("artifacts.container", artifacts.is_some_and(|artifacts| artifacts.container.is_some())),
    ];
    for (path, _) in of_starting.into_iter().filter(|(_, is_written)| *is_written) {
        let problem = Problem::warning(path, "a word about starting servers", "either this or servers.endpoints");
        problems.push(problem.advise("the endpoints run already and nothing is started; leave one out"));
    }
    for (index, _) in recipe.workload.drills.iter().enumerate().filter(|(_, drill)| drill.kill == DrillTarget::Server) {
        let problem =
            Problem::error(format!("workload.drills[{index}].kill"), "`server`, beside servers.endpoints", "executor or node");
        problems.push(problem.advise("what hbnode did not start it does not kill"));
    }
}

/// Names that no answer has.
fn answers(recipe: &Recipe, problems: &mut Vec<Problem>) {
    let names = recipe.servers.iter().flat_map(|servers| &servers.answers_as).enumerate();
    for (index, _) in names.filter(|(_, name)| name.trim().is_empty()) {
        let problem =
            Problem::error(format!("servers.answers_as[{index}]"), "an empty text", "a model's name, as answers give it");
        problems.push(problem.advise("an answer that names no model is never taken for another one's"));
    }
}

fn key(recipe: &Recipe, problems: &mut Vec<Problem>) {
    let Some(servers) = &recipe.servers else { return };
    let written =
        [("servers.api_key_env", servers.api_key_env.is_some()), ("servers.api_key_file", servers.api_key_file.is_some())];
    if written.iter().all(|(_, is_written)| *is_written) {
        problems.push(Problem::error("servers.api_key_file", "two sources of the key", "api_key_env or api_key_file"));
    }
    for (path, _) in written.into_iter().filter(|(_, is_written)| *is_written && !recipe.has_endpoints()) {
        let problem = Problem::warning(path, "a key without servers.endpoints", "one beside servers.endpoints");
        problems.push(problem.advise("servers that hbnode starts ask for none"));
    }
}

/// The words of `service_config` that are the same for every service.
fn config(recipe: &Recipe, problems: &mut Vec<Problem>) {
    let Some(config) = recipe.servers.as_ref().and_then(|servers| servers.service_config.as_ref()) else { return };
    let one = |value: &Value| value.as_u64().is_some_and(|port| (1..=65_535).contains(&port));
    let is_port = |value: &Value| value.as_array().map_or_else(|| one(value), |ports| ports.iter().all(one));
    if let Some(port) = config.get("port").filter(|port| !is_port(port)) {
        problems.push(Problem::error("servers.service_config.port", format!("`{port}`"), "a port from 1 to 65535"));
    }
    let is_words =
        |value: &Value| value.as_array().is_some_and(|words| words.iter().all(|word| !word.is_array() && !word.is_object()));
    if config.get("extra_args").is_some_and(|words| !is_words(words)) {
        let problem = Problem::error("servers.service_config.extra_args", "no list of words", "a list of words");
        problems.push(problem.advise("write such as `extra_args: [\"--flag\", \"value\"]`; no shell cuts a text into words"));
    }
}

/// Fields of a request's body that hbnode itself writes.
fn sampling(recipe: &Recipe, problems: &mut Vec<Problem>) {
    let owned = [
        ("stream", "write workload.stream"),
        ("model", "write workload.model"),
        ("prompt", "prompts are made to the length of workload.prompt_len"),
        ("messages", "prompts are made to the length of workload.prompt_len"),
        ("max_tokens", "write workload.gen_tokens"),
        (
            "max_completion_tokens",
            "write workload.gen_tokens, and here `max_completion_tokens: \"{gen_tokens}\"` if the server calls it so",
        ),
        ("num_predict", "write workload.gen_tokens"),
    ];
    let Some(sampling) = &recipe.workload.sampling else { return };
    let is_endless = |text: &str| text.trim_start_matches(['.', '+', '-']).parse().is_ok_and(|number: f64| !number.is_finite());
    for (key, value) in sampling.iter().filter(|(_, value)| value.as_str().is_some_and(is_endless)) {
        problems.push(Problem::error(format!("workload.sampling.{key}"), value.to_string(), "a finite number"));
    }
    // A name for the number of tokens, and not a number.
    let is_name = |key: &str, value: &Value| key == "max_completion_tokens" && value == "{gen_tokens}";
    let is_owned = |key: &str| sampling.get(key).is_some_and(|value| !is_name(key, value));
    for (key, advice) in owned.into_iter().filter(|(key, _)| is_owned(key)) {
        let found = format!("`{key}`, which the request itself owns");
        let problem = Problem::error(format!("workload.sampling.{key}"), found, "fields such as temperature, top_p or seed");
        problems.push(problem.advise(advice));
    }
}
