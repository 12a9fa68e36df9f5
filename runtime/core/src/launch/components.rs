//! The nodes that are asked for: one component where all are alike, several where roles differ.

use std::num::NonZeroU32;

use crate::recipe::{NodeResources, Recipe};

/// So many nodes that are alike.
#[derive(Debug, Clone, PartialEq)]
pub struct Component {
    /// How many.
    pub nodes: u32,
    /// What each needs.
    pub needs: NodeResources,
}

/// The components of a job, in the order in which ordinals take roles: monitors, servers, clients. A node that
/// serves and sends needs what both need. Nodes beyond the roles' join the last component.
#[must_use]
pub fn components(recipe: &Recipe) -> Vec<Component> {
    let nodes = recipe.needs();
    let resources = recipe.resources.clone().unwrap_or_default();
    let (monitors, servers) = (resources.monitors.unwrap_or_default(), resources.servers.unwrap_or_default());
    let clients = resources.clients.unwrap_or_default();
    let sending = nodes.clients.unwrap_or(1);
    let roles = if nodes.share_servers {
        let both = nodes.servers.min(sending);
        vec![
            (nodes.monitors, monitors),
            (both, together(&servers, &clients)),
            (nodes.servers - both, servers),
            (sending - both, clients),
        ]
    } else {
        vec![(nodes.monitors, monitors), (nodes.servers, servers), (sending, clients)]
    };
    let mut components: Vec<Component> = Vec::new();
    for (nodes, needs) in roles.into_iter().filter(|(nodes, _)| *nodes > 0) {
        let needs = NodeResources { gpus: needs.gpus.filter(|gpus| *gpus > 0), ..needs };
        match components.last_mut() {
            Some(last) if last.needs == needs => last.nodes += nodes,
            _ => components.push(Component { nodes, needs }),
        }
    }
    let asked: u32 = components.iter().map(|component| component.nodes).sum();
    let total = recipe.orchestration.total_nodes.map_or(asked, NonZeroU32::get);
    if let Some(last) = components.last_mut() {
        last.nodes += total.saturating_sub(asked);
    }
    components
}

/// What a node needs that does the work of both.
fn together(one: &NodeResources, other: &NodeResources) -> NodeResources {
    let sum = |one: Option<NonZeroU32>, other: Option<NonZeroU32>| match (one, other) {
        (Some(one), Some(other)) => Some(one.saturating_add(other.get())),
        (one, other) => one.or(other),
    };
    NodeResources {
        gpus: one.gpus.max(other.gpus),
        cpus_per_task: sum(one.cpus_per_task, other.cpus_per_task),
        mem_gb: sum(one.mem_gb, other.mem_gb),
    }
}
