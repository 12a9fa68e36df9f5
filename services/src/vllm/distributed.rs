//! The block `distributed` of vLLM's configuration, and what it comes to: how many parts the model is cut into,
//! over how many nodes, by which of vLLM's two ways.

use std::num::NonZeroU32;

use hb_core::{
    orders::ServerOrder,
    trial::{Layout, ServiceSpec},
};
use serde_json::{Map, Value};

use super::ray;
use crate::{
    config::{refused, unknown_keys},
    service::ServiceProblem,
};

/// Where the block stands.
const PATH: &str = "servers.service_config.distributed";

/// Its keys.
const KEYS: [&str; 7] = ["enabled", "backend", "nodes", "tensor_parallel_size", "pipeline_parallel_size", "master_port", "ray"];

/// The block, if it is on.
pub(super) fn block(config: &Map<String, Value>) -> Option<&Map<String, Value>> {
    let block = config.get("distributed")?.as_object()?;
    (block.get("enabled") != Some(&Value::Bool(false))).then_some(block)
}

/// The block of Ray's settings.
pub(super) fn ray(config: &Map<String, Value>) -> Option<&Map<String, Value>> {
    block(config)?.get("ray")?.as_object()
}

/// How many parts the model is cut into.
pub(super) fn parts(config: &Map<String, Value>) -> u64 {
    size(config, "tensor_parallel_size").saturating_mul(size(config, "pipeline_parallel_size"))
}

/// The executor's backend, where one is named.
pub(super) fn backend(config: &Map<String, Value>) -> Option<&str> {
    block(config)?.get("backend")?.as_str()
}

/// A port that the block names.
pub(super) fn port(config: &Map<String, Value>, key: &str) -> Option<u16> {
    block(config)?.get(key)?.as_u64().and_then(|port| u16::try_from(port).ok())
}

/// How one server is spread: over as many nodes as its parts need GPUs, or as the recipe says.
pub(super) fn layout(spec: &ServiceSpec) -> Result<Layout, ServiceProblem> {
    let config = &spec.config;
    let parts = parts(config);
    let is_on_ray = backend(config) == Some("ray");
    let named = block(config).and_then(|block| block.get("nodes")).and_then(Value::as_u64);
    // Without GPUs to count, every node holds as many parts as one likes.
    let needed = if spec.gpus == 0 { 1 } else { parts.div_ceil(u64::from(spec.gpus)) };
    let nodes = named.unwrap_or(needed);
    let at = |key: &str| format!("{PATH}.{key}");
    let sizes = format!("tensor_parallel_size × pipeline_parallel_size is {parts}");
    if nodes < needed {
        let what = format!("{nodes} nodes of {} GPUs, while {sizes}", spec.gpus);
        return Err(problem(&at("nodes"), what, &format!("write {needed}, or leave it out")));
    }
    let nodes = u32::try_from(nodes).ok().and_then(NonZeroU32::new).unwrap_or(NonZeroU32::MIN);
    let data_parallel = size(config, "data_parallel_size");
    if nodes == NonZeroU32::MIN && !is_on_ray {
        let all = parts.saturating_mul(data_parallel);
        if data_parallel > 1 && spec.gpus > 0 && all > u64::from(spec.gpus) {
            let what = format!("{data_parallel} replicas of {parts} GPUs each on a node of {}", spec.gpus);
            let advice = "leave it out and give the recipe more server nodes: each is a server of its own";
            return Err(problem("servers.service_config.data_parallel_size", what, advice));
        }
        return Ok(Layout::OneNode);
    }
    if !parts.is_multiple_of(u64::from(nodes.get())) {
        let what = format!("{sizes}, which {nodes} nodes cannot share evenly");
        let key = "tensor_parallel_size";
        let path = if config.contains_key(key) { format!("servers.service_config.{key}") } else { at(key) };
        return Err(problem(&path, what, "choose sizes whose product is a multiple of the nodes"));
    }
    if data_parallel > 1 {
        let over = if is_on_ray { "runs on Ray".to_owned() } else { format!("spans {nodes} nodes") };
        let what = format!("{data_parallel} replicas inside one server that {over}");
        let advice = "leave it out and give the recipe more server nodes: each group of nodes is a server of its own";
        return Err(problem("servers.service_config.data_parallel_size", what, advice));
    }
    if backend(config) == Some("uni") {
        let what = format!("`uni`, which is one process, while {sizes} over {nodes} nodes");
        return Err(problem(&at("backend"), what, "write `mp`, or leave it out"));
    }
    Ok(if is_on_ray { Layout::Cluster(nodes) } else { Layout::Ranks(nodes) })
}

/// A size from the top of the configuration or from the block; 1 where it is not written.
fn size(config: &Map<String, Value>, key: &str) -> u64 {
    let value = config.get(key).or_else(|| block(config)?.get(key));
    value.and_then(Value::as_u64).unwrap_or(1)
}

/// A process that needs another one and was not told where that is.
pub(super) fn untold(order: &ServerOrder) -> ServiceProblem {
    let what = format!("{} was not told where the first process of its server is", order.name());
    problem(PATH, what, "this is a fault of hbnode itself; please report it")
}

/// Everything in the block that cannot be taken.
pub(super) fn check(block: &Value) -> Vec<ServiceProblem> {
    let Some(map) = block.as_object() else {
        return vec![problem(PATH, format!("found {block}"), "write a block with `enabled` and `backend`")];
    };
    let mut problems = below(PATH, unknown_keys(map, &KEYS));
    let is_count = |value: &Value| value.as_u64().is_some_and(|count| (1..=u64::from(u32::MAX)).contains(&count));
    let is_port = |value: &Value| value.as_u64().is_some_and(|port| (1..=65_535).contains(&port));
    let mut refuse = |map, at: &str, key, accepted, accepts: &dyn Fn(&Value) -> bool| {
        problems.extend(below(at, refused(map, key, accepted, accepts).into_iter().collect()));
    };
    refuse(map, PATH, "enabled", "true or false", &Value::is_boolean);
    for key in ["nodes", "tensor_parallel_size", "pipeline_parallel_size"] {
        refuse(map, PATH, key, "a whole number above zero", &is_count);
    }
    refuse(map, PATH, "master_port", "a port from 1 to 65535", &is_port);
    let at_ray = format!("{PATH}.ray");
    if let Some(block) = map.get("ray").and_then(Value::as_object) {
        for key in ray::port_keys() {
            refuse(block, &at_ray, key, "a port from 1 to 65535", &is_port);
        }
        for key in ray::count_keys() {
            refuse(block, &at_ray, key, "a whole number", &Value::is_u64);
        }
        let known: Vec<&str> = ray::port_keys().chain(ray::count_keys()).collect();
        problems.extend(below(&at_ray, unknown_keys(block, &known)));
    } else if let Some(other) = map.get("ray") {
        problems.push(problem(&at_ray, format!("found {other}"), "write a block with Ray's ports and counts"));
    }
    if map.get("enabled") == Some(&Value::Bool(false)) {
        return problems;
    }
    match map.get("backend").map(Value::as_str) {
        None | Some(Some("mp" | "uni" | "ray")) => {}
        Some(other) => {
            let found = other.map_or_else(|| "no word".to_owned(), |word| format!("found `{word}`"));
            problems.push(problem(&format!("{PATH}.backend"), found, "write `mp`, `uni` or `ray`"));
        }
    }
    problems
}

/// The same problems, in a block below `service_config`.
fn below(path: &str, problems: Vec<ServiceProblem>) -> Vec<ServiceProblem> {
    let moved =
        |problem: ServiceProblem| ServiceProblem { path: problem.path.replacen("servers.service_config", path, 1), ..problem };
    problems.into_iter().map(moved).collect()
}

fn problem(path: &str, what: String, advice: &str) -> ServiceProblem {
    ServiceProblem { path: path.into(), what, advice: advice.into() }
}
