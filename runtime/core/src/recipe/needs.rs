//! How many nodes each role needs.

use std::num::NonZeroU32;

use super::{OneOrMany, Recipe};
use crate::plan::NodeNeeds;

impl Recipe {
    /// The nodes that the run needs. Without `node_allocation`: one server and every other node a client, or both
    /// on one node where there is only one.
    #[must_use]
    pub fn needs(&self) -> NodeNeeds {
        let allocation = self.orchestration.node_allocation.as_ref();
        let written_servers = allocation.and_then(|allocation| allocation.servers.as_ref());
        let servers = match written_servers {
            _ if self.has_endpoints() => 0,
            Some(servers) => most(&servers.nodes),
            None => 1,
        };
        let clients_block = self.client_nodes();
        let is_sharing = clients_block.is_some_and(|clients| clients.share_servers);
        let share_servers = servers > 0 && (is_sharing || allocation.is_none());
        let clients = match clients_block.and_then(|clients| clients.nodes.as_ref()) {
            Some(nodes) => Some(most(nodes)),
            None if allocation.is_none() => None,
            None if share_servers => Some(servers),
            None => Some(1),
        };
        let monitors = allocation.and_then(|allocation| allocation.monitors.as_ref()).map_or(0, |monitors| monitors.nodes);
        NodeNeeds { monitors, servers, clients, share_servers }
    }
}

/// The most nodes that are written, or the one number.
pub(super) fn most(nodes: &OneOrMany<NonZeroU32>) -> u32 {
    nodes.values().iter().map(|nodes| nodes.get()).max().unwrap_or(1)
}
