//! `servers.service_config` as flags of `vllm serve`.

use hb_core::trial::ServiceSpec;
use serde_json::{Map, Value};

use super::distributed;
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
        problems.extend(distributed::check(block));
    }
    problems
}

/// The flags, in the order of the table, so that the same recipe gives the same words.
pub fn flags(config: &Map<String, Value>) -> Vec<String> {
    let parallel = distributed::block(config);
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
    if let Some(backend) = distributed::backend(config) {
        words.extend(["--distributed-executor-backend".into(), backend.to_owned()]);
    }
    words
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
