//! How many nodes each role needs, and what else the leader asks a recipe before it starts.

use super::{ClientNodes, Mode, NodeLoss, OneOrMany, Recipe, Strategy};
use crate::{
    phases::OnNodeLoss,
    plan::NodeNeeds,
    trial::{ContainerRuntime, Distribution},
    units::Span,
};

/// Where figures are pushed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pushgateway {
    /// Its base URL.
    pub url: String,
    /// The time between two pushes.
    pub interval: Span,
}

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

    /// What the run does when a node is lost, as far as the recipe says.
    #[must_use]
    pub fn on_node_loss(&self) -> Option<OnNodeLoss> {
        match self.orchestration.on_node_loss? {
            NodeLoss::Fail => Some(OnNodeLoss::Fail),
            NodeLoss::Continue => Some(OnNodeLoss::Continue),
            NodeLoss::Redistribute => Some(OnNodeLoss::Redistribute),
        }
    }

    /// The pause between two samples of a node, or `None` where the recipe turns monitoring off.
    #[must_use]
    pub fn monitor_interval(&self) -> Option<Span> {
        let Some(monitoring) = &self.monitoring else { return Some(Span::from_secs(1)) };
        let shortest = monitoring.metrics.iter().filter_map(|group| group.scrape_interval).min();
        monitoring.enabled.unwrap_or(true).then(|| shortest.unwrap_or(Span::from_secs(1)))
    }

    /// Where figures are pushed, if anywhere.
    #[must_use]
    pub fn pushgateway(&self) -> Option<Pushgateway> {
        let monitoring = self.monitoring.as_ref().filter(|monitoring| monitoring.enabled.unwrap_or(true))?;
        let words = monitoring.pushgateway.as_ref()?;
        let from_node = words.node.as_ref().map(|node| format!("http://{node}:9091"));
        let url = words.url.clone().or(from_node)?;
        Some(Pushgateway { url, interval: words.interval.unwrap_or(Span::from_secs(15)) })
    }

    /// What servers run in: what the recipe says, else apptainer in slurm mode and plain processes elsewhere.
    #[must_use]
    pub fn runtime(&self) -> ContainerRuntime {
        let written = self.artifacts.as_ref().and_then(|artifacts| artifacts.runtime);
        // The Dummy is this very program and needs no image anywhere.
        let is_dummy = self.workload.service == "dummy" && self.service_path().is_none();
        written.unwrap_or(match self.orchestration.mode {
            Mode::Slurm if !is_dummy => ContainerRuntime::Apptainer,
            _ => ContainerRuntime::Bare,
        })
    }

    /// Which client asks which server.
    #[must_use]
    pub fn distribution(&self) -> Distribution {
        let Some(clients) = self.client_nodes() else { return Distribution::RoundRobin };
        match clients.distribution_strategy.unwrap_or_default() {
            Strategy::RoundRobin => Distribution::RoundRobin,
            Strategy::Random => Distribution::Random,
            Strategy::AllToAll => Distribution::AllToAll,
            Strategy::Static => {
                let written = clients.target_mapping.iter().flatten();
                // A key that is no number was refused by the check.
                let mapping = written.filter_map(|(client, servers)| Some((client.parse().ok()?, servers.values().to_vec())));
                Distribution::Static(mapping.collect())
            }
        }
    }

    /// Whether the servers run already.
    #[must_use]
    pub fn has_endpoints(&self) -> bool {
        self.servers.as_ref().is_some_and(|servers| !servers.endpoints.is_empty())
    }

    pub(super) fn client_nodes(&self) -> Option<&ClientNodes> {
        self.orchestration.node_allocation.as_ref()?.clients.as_ref()
    }

    /// The service's image or executable as written, relative to `containers_dir` where it is not absolute.
    pub(super) fn service_path(&self) -> Option<std::path::PathBuf> {
        let artifacts = self.artifacts.as_ref()?;
        let named = artifacts.service.as_ref().and_then(|service| service.path.clone());
        let path = named.or_else(|| artifacts.container.clone())?;
        // A bare word such as `vllm` is looked up by the runtime itself when there is no folder to look in.
        Some(artifacts.containers_dir.as_ref().map_or_else(|| path.clone(), |folder| folder.join(&path)))
    }
}

pub(super) fn most(nodes: &OneOrMany<std::num::NonZeroU32>) -> u32 {
    nodes.values().iter().map(|nodes| nodes.get()).max().unwrap_or(1)
}
