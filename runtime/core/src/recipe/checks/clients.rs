//! How many clients a load has, as routing counts them.

use std::num::NonZeroU32;

use super::super::{Recipe, Workload, dataset, expand::workloads};
use crate::units::plural;

/// The clients of one load, and the field that says so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Clients {
    /// How many there are, numbered from 0.
    pub count: u32,
    /// The field.
    pub path: &'static str,
    /// Whether the loop is open, where each client node is one client.
    pub is_open: bool,
}

impl Clients {
    /// The clients of every load that a recipe has.
    pub fn of(recipe: &Recipe) -> Vec<Self> {
        workloads(recipe).iter().flat_map(|(_, workload)| of_workload(recipe, workload)).collect()
    }

    /// Such as `16 clients` or `1 client node`.
    pub fn text(&self) -> String {
        let what = if self.is_open { "client node" } else { "client" };
        plural(self.count.into(), what)
    }
}

/// The clients of every load of a workload.
pub(super) fn of_workload(recipe: &Recipe, workload: &Workload) -> Vec<Clients> {
    let nodes = recipe.needs().clients.unwrap_or(1).max(1);
    let has_rates = workload.stages.iter().any(|stage| stage.target_rps.is_some());
    let is_open = workload.target_rps.is_some() || has_rates || dataset::replays(workload);
    let clients = |count, path| Clients { count, path, is_open };
    let path = if recipe.workload.benchmark_suite.is_empty() { None } else { Some("workload.benchmark_suite") };
    if is_open {
        let of_rate = match () {
            () if has_rates => "workload.stages",
            () if workload.target_rps.is_some() => "workload.target_rps",
            () => "workload",
        };
        let has_nodes = recipe.client_nodes().is_some_and(|clients| clients.nodes.is_some());
        return vec![clients(nodes, if has_nodes { "orchestration.node_allocation.clients.nodes" } else { of_rate })];
    }
    if let Some(most) = workload.stages.iter().filter_map(|stage| stage.concurrency).max() {
        return vec![clients(most.get(), path.unwrap_or("workload.stages"))];
    }
    if let Some(written) = &workload.concurrency {
        return written.values().iter().map(|value| clients(value.get(), path.unwrap_or("workload.concurrency"))).collect();
    }
    if let Some(written) = &workload.clients_per_node {
        let path = path.unwrap_or("workload.clients_per_node");
        return written.values().iter().map(|value| clients(value.get().saturating_mul(nodes), path)).collect();
    }
    let each = recipe.client_nodes().and_then(|clients| clients.clients_per_node);
    let path = if each.is_some() { "orchestration.node_allocation.clients.clients_per_node" } else { "workload" };
    vec![clients(each.map_or(1, NonZeroU32::get).saturating_mul(nodes), path)]
}
