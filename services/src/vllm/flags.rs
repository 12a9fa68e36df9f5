//! `servers.service_config` as flags of `vllm serve`.

use hb_core::trial::ServiceSpec;
use serde_json::{Map, Value};

use crate::{
    config::{refused, unknown_keys, word},
    service::ServiceProblem,
};

/// What a key's value may be, and what becomes of it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    /// A whole number above zero.
    Count,
    /// A share between 0 and 1.
    Share,
    /// A number of any kind.
    Number,
    /// A word, or a number that stands for itself.
    Word,
    /// `--flag` when true; false is vLLM's own default, and says nothing.
    Switch,
    /// `--flag` or `--no-flag`: the default depends on the model.
    Either,
}

/// The keys and their forms. A key's flag has hyphens for underscores.
const KEYS: [(&str, Form); 29] = [
    ("max_model_len", Form::Word),
    ("gpu_memory_utilization", Form::Share),
    ("enforce_eager", Form::Switch),
    ("trust_remote_code", Form::Switch),
    ("tensor_parallel_size", Form::Count),
    ("pipeline_parallel_size", Form::Count),
    ("data_parallel_size", Form::Count),
    ("dtype", Form::Word),
    ("quantization", Form::Word),
    ("kv_cache_dtype", Form::Word),
    ("load_format", Form::Word),
    ("tokenizer", Form::Word),
    ("tokenizer_mode", Form::Word),
    ("revision", Form::Word),
    ("download_dir", Form::Word),
    ("block_size", Form::Count),
    ("swap_space", Form::Number),
    ("cpu_offload_gb", Form::Number),
    ("seed", Form::Number),
    ("max_num_seqs", Form::Count),
    ("max_num_batched_tokens", Form::Count),
    ("max_num_queued_reqs", Form::Count),
    ("stream_interval", Form::Count),
    ("shutdown_timeout", Form::Number),
    ("chat_template", Form::Word),
    ("attention_backend", Form::Word),
    ("enable_prefix_caching", Form::Either),
    ("enable_chunked_prefill", Form::Either),
    ("enable_expert_parallel", Form::Switch),
];

/// The keys of the block `distributed`.
const DISTRIBUTED: [&str; 5] = ["enabled", "backend", "tensor_parallel_size", "pipeline_parallel_size", "ray"];

/// The keys of the block `distributed.ray`.
const RAY: [&str; 5] = ["dashboard_port", "object_manager_port", "node_manager_port", "num_cpus_per_node", "num_gpus_per_node"];

/// Every key that is known.
pub fn keys() -> Vec<&'static str> {
    KEYS.iter().map(|(key, _)| *key).chain(["distributed"]).collect()
}

/// Everything that makes no flag.
pub fn check(spec: &ServiceSpec) -> Vec<ServiceProblem> {
    let known = keys();
    let mut problems = unknown_keys(&spec.config, &known);
    problems
        .extend(KEYS.iter().filter_map(|(key, form)| refused(&spec.config, key, form.accepted(), |value| form.accepts(value))));
    if let Some(block) = spec.config.get("distributed") {
        problems.extend(check_distributed(block));
    }
    problems
}

/// The flags, in the order of the table, so that the same recipe gives the same words.
pub fn flags(config: &Map<String, Value>) -> Vec<String> {
    let parallel = distributed(config);
    let value = |key: &str| config.get(key).or_else(|| parallel.and_then(|block| block.get(key)));
    let mut words = Vec::new();
    for (key, form) in KEYS {
        let Some(value) = value(key).filter(|value| !value.is_null()) else { continue };
        let flag = key.replace('_', "-");
        match (form, value) {
            (Form::Switch, Value::Bool(false)) => {}
            (Form::Either, Value::Bool(false)) => words.push(format!("--no-{flag}")),
            (Form::Switch | Form::Either, _) => words.push(format!("--{flag}")),
            _ => words.extend([format!("--{flag}"), word(value)]),
        }
    }
    if let Some(backend) = parallel.and_then(|block| block.get("backend")) {
        words.extend(["--distributed-executor-backend".into(), word(backend)]);
    }
    words
}

/// The block `distributed`, if it is on.
fn distributed(config: &Map<String, Value>) -> Option<&Map<String, Value>> {
    let block = config.get("distributed")?.as_object()?;
    (block.get("enabled") != Some(&Value::Bool(false))).then_some(block)
}

/// Ray needs a cluster over the server nodes before vLLM starts, which nothing here forms yet.
pub(super) fn later(config: &Map<String, Value>) -> Vec<ServiceProblem> {
    let is_ray = distributed(config).is_some_and(|block| block.get("backend").and_then(Value::as_str) == Some("ray"));
    let advice = "use `backend: mp` with the GPUs of one node, or start the server yourself and name it in servers.endpoints";
    let what = "vLLM over Ray comes later: no Ray cluster is formed yet";
    let ray = || problem("servers.service_config.distributed.backend", what.into(), advice);
    is_ray.then(ray).into_iter().collect()
}

fn check_distributed(block: &Value) -> Vec<ServiceProblem> {
    const PATH: &str = "servers.service_config.distributed";
    let Some(map) = block.as_object() else {
        return vec![problem(PATH, format!("found {block}"), "write a block with `enabled` and `backend`")];
    };
    let below = |path: String, problems: Vec<ServiceProblem>| {
        problems
            .into_iter()
            .map(move |problem| ServiceProblem { path: problem.path.replacen("servers.service_config", &path, 1), ..problem })
    };
    let mut problems: Vec<_> = below(PATH.into(), unknown_keys(map, &DISTRIBUTED)).collect();
    problems.extend(below(PATH.into(), refused(map, "enabled", "true or false", Value::is_boolean).into_iter().collect()));
    for key in ["tensor_parallel_size", "pipeline_parallel_size"] {
        let form = Form::Count;
        problems
            .extend(below(PATH.into(), refused(map, key, form.accepted(), |value| form.accepts(value)).into_iter().collect()));
    }
    if let Some(ray) = map.get("ray").and_then(Value::as_object) {
        problems.extend(below(format!("{PATH}.ray"), unknown_keys(ray, &RAY)));
    }
    if map.get("enabled") == Some(&Value::Bool(false)) {
        return problems;
    }
    match map.get("backend").and_then(Value::as_str) {
        None | Some("mp" | "uni" | "ray") => {}
        Some(other) => {
            problems.push(problem(&format!("{PATH}.backend"), format!("found `{other}`"), "write `mp`, `uni` or `ray`"))
        }
    }
    problems
}

fn problem(path: &str, what: String, advice: &str) -> ServiceProblem {
    ServiceProblem { path: path.into(), what, advice: advice.into() }
}

impl Form {
    fn accepted(self) -> &'static str {
        match self {
            Self::Count => "a whole number above zero",
            Self::Share => "a share above 0 and up to 1",
            Self::Number => "a number",
            Self::Word => "a word or a number",
            Self::Switch | Self::Either => "true or false",
        }
    }

    fn accepts(self, value: &Value) -> bool {
        match self {
            Self::Count => value.as_u64().is_some_and(|count| count > 0),
            Self::Share => value.as_f64().is_some_and(|share| share > 0.0 && share <= 1.0),
            Self::Number => value.is_number(),
            // A word that looks like a flag would be read as one.
            Self::Word => value.is_number() || value.as_str().is_some_and(|text| !text.is_empty() && !text.starts_with('-')),
            Self::Switch | Self::Either => value.is_boolean(),
        }
    }
}
