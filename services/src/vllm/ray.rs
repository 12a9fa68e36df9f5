//! The Ray cluster that a vLLM runs on: the words that start its head and its other nodes, its ports, and how its
//! dashboard tells that all nodes are there.

use hb_core::{
    orders::{Duty, Meeting, ServerOrder, authority},
    trial::ServiceSpec,
};
use serde_json::Value;

use super::distributed;
use crate::service::{CommandLine, Gathering, PortWish, ServiceProblem, Step, program};

/// The ports of a node, by their keys under `distributed.ray`, with Ray's own numbers.
const EVERY_NODE: [(&str, u16); 3] =
    [("object_manager_port", 8076), ("node_manager_port", 8077), ("dashboard_agent_port", 52_365)];

/// Those of the head besides.
const HEAD: [(&str, u16); 5] = [
    (GCS, 6379),
    (DASHBOARD, 8265),
    ("client_server_port", 10_001),
    ("dashboard_metric_port", 44_227),
    ("autoscaler_metric_port", 44_217),
];

/// Where nodes and drivers meet the head.
const GCS: &str = "port";
/// Where it is asked.
const DASHBOARD: &str = "dashboard_port";

/// What a node of the cluster holds, where the recipe says it.
const HOLDS: [(&str, &str); 2] = [("num_cpus_per_node", "--num-cpus"), ("num_gpus_per_node", "--num-gpus")];

/// The keys of the block `distributed.ray` that are ports.
pub(super) fn port_keys() -> impl Iterator<Item = &'static str> {
    HEAD.into_iter().chain(EVERY_NODE).map(|(key, _)| key)
}

/// The other keys.
pub(super) fn count_keys() -> impl Iterator<Item = &'static str> {
    HOLDS.into_iter().map(|(key, _)| key)
}

/// The ports that a process of the cluster needs.
pub(super) fn ports(order: &ServerOrder) -> Vec<PortWish> {
    let named = |key| distributed::ray(&order.service.config)?.get(key)?.as_u64().and_then(|port| u16::try_from(port).ok());
    let wish = |(name, usual): (&'static str, u16)| {
        let named = named(name);
        PortWish { name, port: named.unwrap_or(usual), is_fixed: named.is_some() }
    };
    match order.part.duty {
        Duty::HeadCluster => HEAD.into_iter().chain(EVERY_NODE).map(wish).collect(),
        Duty::JoinCluster => EVERY_NODE.into_iter().map(wish).collect(),
        Duty::Serve | Duty::Follow => Vec::new(),
    }
}

/// The words that start the head, or a node that joins it, in the foreground.
pub(super) fn command(order: &ServerOrder) -> Result<CommandLine, ServiceProblem> {
    let spec = &order.service;
    let port = |name: &str| order.ports.get(name).copied().unwrap_or_default();
    let mut args: Vec<String> = vec!["start".into(), "--block".into()];
    if order.part.duty == Duty::HeadCluster {
        args.push("--head".into());
    }
    let mut add = |flag: &str, value: String| args.push(format!("{flag}={value}"));
    let mut env = spec.environment.clone();
    if order.part.duty == Duty::HeadCluster {
        add("--port", port(GCS).to_string());
        add("--ray-client-server-port", port("client_server_port").to_string());
        add("--include-dashboard", "true".into());
        add("--dashboard-host", order.host.clone());
        add("--dashboard-port", port(DASHBOARD).to_string());
        env.insert("DASHBOARD_METRIC_PORT".into(), port("dashboard_metric_port").to_string());
        env.insert("AUTOSCALER_METRIC_PORT".into(), port("autoscaler_metric_port").to_string());
    } else {
        add("--address", address(order)?);
    }
    add("--node-ip-address", order.host.clone());
    add("--object-manager-port", port("object_manager_port").to_string());
    add("--node-manager-port", port("node_manager_port").to_string());
    add("--dashboard-agent-listen-port", port("dashboard_agent_port").to_string());
    let block = distributed::ray(&spec.config);
    for (key, flag) in HOLDS {
        let gpus = (key == "num_gpus_per_node" && spec.gpus > 0).then(|| u64::from(spec.gpus));
        if let Some(count) = block.and_then(|block| block.get(key)).and_then(Value::as_u64).or(gpus) {
            add(flag, count.to_string());
        }
    }
    if let Some(scratch) = &order.scratch {
        add("--temp-dir", scratch.display().to_string());
    }
    args.push("--disable-usage-stats".into());
    Ok(CommandLine { program: beside_vllm(spec), args, env })
}

/// Ray belongs to vLLM's installation: where that is named by its path, Ray's program lies beside it.
fn beside_vllm(spec: &ServiceSpec) -> std::path::PathBuf {
    let vllm = program(spec, "ray");
    if vllm.components().count() > 1 { vllm.with_file_name("ray") } else { "ray".into() }
}

/// Where the head is met, as `host:port`.
pub(super) fn address(order: &ServerOrder) -> Result<String, ServiceProblem> {
    let head = order.part.meeting.as_ref().and_then(|head| Some(authority(&head.host, *head.ports.get(GCS)?)));
    head.ok_or_else(|| distributed::untold(order))
}

/// Where the cluster is asked, and what for: the head for itself, every other node for all of them.
pub(super) fn gathering(order: &ServerOrder) -> Result<(String, Step), ServiceProblem> {
    let own = Meeting { host: order.host.clone(), ports: order.ports.clone() };
    let head = if order.part.duty == Duty::HeadCluster { Some(&own) } else { order.part.meeting.as_ref() };
    let asked = head.and_then(|head| Some(authority(&head.host, *head.ports.get(DASHBOARD)?)));
    let nodes = if order.part.duty == Duty::HeadCluster { 1 } else { order.service.layout.nodes().get() };
    let step = Step::Gathered { path: "/api/v0/nodes".into(), nodes };
    Ok((format!("http://{}", asked.ok_or_else(|| distributed::untold(order))?), step))
}

/// Reads the dashboard's list of nodes: so many must be alive, and once all are there, hold a GPU for each part.
pub(super) fn gathered(body: &[u8], nodes: u32, spec: &ServiceSpec) -> Gathering {
    let answer: Value = serde_json::from_slice(body).unwrap_or_default();
    let rows = answer["data"]["result"]["result"].as_array().map(Vec::as_slice).unwrap_or_default();
    if let Some(dead) = rows.iter().find(|row| row["state"] == "DEAD") {
        let words = |key: &str| dead[key].as_str().unwrap_or("unknown").to_owned();
        return Gathering::Refused(format!("Ray's node {} is dead: {}", words("node_ip"), words("state_message")));
    }
    let alive = rows.iter().filter(|row| row["state"] == "ALIVE");
    let count = alive.clone().count();
    if count < nodes as usize {
        return Gathering::Incomplete(format!("Ray has {count} of {nodes} nodes"));
    }
    let parts = distributed::parts(&spec.config);
    // Not `sum`, which makes -0 of nothing.
    let gpus = alive.filter_map(|row| row["resources_total"]["GPU"].as_f64()).fold(0.0, |sum, gpus| sum + gpus);
    if nodes == spec.layout.nodes().get() && gpus < parts as f64 {
        return Gathering::Refused(format!("Ray counts {gpus} GPUs on {nodes} nodes, and the model is cut into {parts} parts"));
    }
    Gathering::Whole
}
