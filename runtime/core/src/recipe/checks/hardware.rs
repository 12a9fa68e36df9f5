//! GPUs, images, and what a model is cut into.

use serde_json::{Map, Value};

use super::super::{NodeResources, Problem, Recipe, needs::most};
use crate::trial::ContainerRuntime;

pub(super) fn check(recipe: &Recipe, problems: &mut Vec<Problem>) {
    gpus(recipe, problems);
    images(recipe, problems);
    parallel(recipe, problems);
}

fn gpus_of(role: Option<&NodeResources>) -> u32 {
    role.and_then(|role| role.gpus).unwrap_or(0)
}

fn gpus(recipe: &Recipe, problems: &mut Vec<Problem>) {
    let Some(resources) = &recipe.resources else { return };
    let partition = recipe.partition.as_deref().unwrap_or("gpu");
    if gpus_of(resources.servers.as_ref()) > 0 && !partition.contains("gpu") {
        let found = format!("GPUs on the partition `{partition}`");
        let problem = Problem::warning("resources.servers.gpus", found, "a partition with GPUs");
        problems.push(problem.advise("write `partition: gpu`, or `gpus: 0`"));
    }
    for (path, role) in [("resources.clients.gpus", &resources.clients), ("resources.monitors.gpus", &resources.monitors)] {
        if gpus_of(role.as_ref()) > 0 {
            problems.push(Problem::warning(path, "GPUs that nothing uses", "0").advise("only servers use GPUs"));
        }
    }
}

fn images(recipe: &Recipe, problems: &mut Vec<Problem>) {
    let Some(artifacts) = &recipe.artifacts else { return };
    let of_service = artifacts.service.as_ref().and_then(|artifact| artifact.path.as_ref());
    for (path, file) in [("artifacts.service.path", of_service), ("artifacts.container", artifacts.container.as_ref())] {
        let is_image = file.is_none_or(|file| file.extension().is_some_and(|ending| ending == "sif"));
        if recipe.runtime() == ContainerRuntime::Apptainer && !is_image {
            let problem = Problem::error(path, "a path that does not end in `.sif`", "an Apptainer image");
            problems.push(problem.advise("or name another `artifacts.runtime`"));
        }
    }
    if of_service.is_some() && artifacts.container.is_some() {
        let problem = Problem::warning("artifacts.container", "a second image", "artifacts.service.path or artifacts.container");
        problems.push(problem.advise("service.path wins; leave this one out"));
    }
    if !artifacts.extra_args.is_empty() && recipe.runtime() == ContainerRuntime::Bare {
        let problem = Problem::error("artifacts.extra_args", "words for a container runtime, while there is none", "nothing");
        problems.push(problem.advise("name artifacts.runtime, or write servers.service_config.extra_args for the server itself"));
    }
    if recipe.workload.service == "dummy" && recipe.service_path().is_some() {
        let problem = Problem::warning("artifacts.service.path", "an image or program for the Dummy", "nothing");
        problems.push(problem.advise("the Dummy is hbnode itself and runs on the node as it is; leave it out"));
    }
    let remote = artifacts.service.as_ref().and_then(|artifact| artifact.remote.as_ref());
    if remote.is_some() && of_service.is_none() && artifacts.container.is_none() {
        let problem = Problem::warning("artifacts.service.remote", "where to pull from, and no path", "a path beside it");
        problems.push(problem.advise("name the file that it is pulled to as `path`"));
    }
    if artifacts.python.is_some() {
        let problem = Problem::warning("artifacts.python", "a client image", "nothing");
        problems.push(problem.advise("hbnode's clients need none; leave it out"));
    }
}

/// The parts that vLLM cuts a model into need a GPU each.
fn parallel(recipe: &Recipe, problems: &mut Vec<Problem>) {
    let config = recipe.servers.as_ref().and_then(|servers| servers.service_config.as_ref());
    let Some(config) = config.filter(|_| recipe.workload.service == "vllm") else { return };
    let resources = recipe.resources.as_ref().and_then(|resources| resources.servers.as_ref());
    let Some(gpus) = resources.and_then(|resources| resources.gpus) else { return };
    let servers = recipe.orchestration.node_allocation.as_ref().and_then(|allocation| allocation.servers.as_ref());
    let nodes = servers.map_or(1, |servers| most(&servers.nodes));
    let distributed = config.get("distributed").and_then(Value::as_object);
    let distributed = distributed.filter(|block| block.get("enabled") != Some(&Value::Bool(false)));
    let Some((path, parts, replicas)) = parts(config, distributed) else { return };
    // A server takes as many nodes as its parts need; what is left of the nodes are further servers.
    let named = distributed.and_then(|block| block.get("nodes")).and_then(Value::as_u64);
    if gpus == 0 && named.is_some() {
        // On CPU, as the recipe says itself: a node holds as many parts as one likes.
        return;
    }
    // Its replicas all run on one node.
    let needed = if gpus == 0 { 1 } else { (parts / replicas.max(1)).div_ceil(u64::from(gpus)) };
    let each = named.unwrap_or(needed).clamp(1, u64::from(nodes.max(1)));
    let there = u64::from(gpus).saturating_mul(each);
    let place = if each > 1 { format!("{there} GPUs on {each} nodes") } else { format!("{gpus} GPUs on a node") };
    let accepted = "tensor_parallel_size × pipeline_parallel_size × data_parallel_size equal to the GPUs";
    if parts > there {
        let problem = Problem::error(path, format!("a need of {parts} GPUs, with {place}"), accepted);
        problems.push(problem.advise("raise resources.servers.gpus, or cut the model into fewer parts"));
    } else if parts < there {
        let problem = Problem::warning(path, format!("{parts} of {place} in use"), accepted);
        problems.push(problem.advise("the other GPUs stay idle and are paid for"));
    }
}

/// The largest product of the sizes that are written, the field to point at, and how many replicas are a factor of it.
fn parts(config: &Map<String, Value>, distributed: Option<&Map<String, Value>>) -> Option<(String, u64, u64)> {
    let mut at = None;
    let (mut parts, mut replicas) = (1_u64, 1);
    for key in ["data_parallel_size", "pipeline_parallel_size", "tensor_parallel_size"] {
        let inner = distributed.and_then(|block| Some((format!("distributed.{key}"), block.get(key)?)));
        let Some((path, value)) = config.get(key).map(|value| (key.to_owned(), value)).or(inner) else { continue };
        let size = match value {
            Value::Array(sizes) => sizes.iter().filter_map(Value::as_u64).max(),
            other => other.as_u64(),
        };
        parts = parts.saturating_mul(size?);
        if key == "data_parallel_size" {
            replicas = size?;
        }
        at = Some(format!("servers.service_config.{path}"));
    }
    Some((at?, parts, replicas))
}
