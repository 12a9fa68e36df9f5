//! Where a run happens and which node does what: what a recipe writes and what it means.

use std::{collections::BTreeMap, num::NonZeroU32};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Recipe, one_or_many::OneOrMany, words::PlainText};
use crate::{
    phases::OnNodeLoss,
    trial::{Distribution, SharesBy},
    units::Span,
};

/// Where the run happens, on how many nodes, and what each is for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Orchestration {
    /// What gives the nodes.
    pub mode: Mode,
    /// All nodes of the allocation; the roles' nodes add up to it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub total_nodes: Option<NonZeroU32>,
    /// How many nodes each role gets.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node_allocation: Option<NodeAllocation>,
    /// What the batch job is asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub job_config: Option<JobConfig>,
    /// Mode `ssh`: the hosts, as `ssh` takes them, in the order of roles: monitors, servers, clients.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub nodes: Vec<String>,
    /// What the run does when a node is lost.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_node_loss: Option<NodeLoss>,
    /// The network interface that nodes and load use.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interface: Option<String>,
}

/// What gives the nodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// A Slurm allocation.
    Slurm,
    /// Kubernetes jobs.
    Kubernetes,
    /// Nodes named by hand, started over ssh.
    Ssh,
    /// This machine.
    Local,
}

/// What the run does when a node is lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum NodeLoss {
    /// End the trial and the run.
    Fail,
    /// Go on with the nodes that are left; the verdict says so.
    Continue,
    /// Go on, with the rest of the share of a lost node, or of an executor that gave up, done by the others.
    Redistribute,
}

/// How many nodes each role gets.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NodeAllocation {
    /// Nodes that run servers; left out where `servers.endpoints` is given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub servers: Option<ServerNodes>,
    /// Nodes that send load.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clients: Option<ClientNodes>,
    /// Nodes for monitoring alone; every node samples itself in any case.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub monitors: Option<MonitorNodes>,
}

/// Nodes that run servers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ServerNodes {
    /// How many; a list is a scaling study.
    pub nodes: OneOrMany<NonZeroU32>,
}

/// Nodes that send load.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ClientNodes {
    /// How many; a list is a scaling study. May be left out with `share_servers`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nodes: Option<OneOrMany<NonZeroU32>>,
    /// Clients on each of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clients_per_node: Option<NonZeroU32>,
    /// What the size of a client node's share goes by; default `cores`, and `nodes` in a closed loop that does not say how many
    /// clients there are over all nodes (`concurrency`, `stages`, `search`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shares_by: Option<SharesBy>,
    /// Which client asks which server.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub distribution_strategy: Option<Strategy>,
    /// Strategy `static`: client ordinal to server ordinals.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target_mapping: Option<BTreeMap<String, OneOrMany<u32>>>,
    /// Clients on the servers' own nodes.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub share_servers: bool,
}

/// Nodes for monitoring alone.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MonitorNodes {
    /// How many.
    pub nodes: u32,
}

/// Which client asks which server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Strategy {
    /// Client `i` asks server `i mod N`.
    #[default]
    RoundRobin,
    /// Drawn for each request from the seed.
    Random,
    /// Each client rotates over all servers.
    AllToAll,
    /// As `target_mapping` says.
    Static,
}

/// What the batch job is asked for.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct JobConfig {
    /// The job's wall-time limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time_limit: Option<Span>,
    /// Whether nodes are shared with nobody.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exclusive: Option<bool>,
    /// A reservation's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reservation: Option<PlainText>,
    /// The nodes to use, such as `mel[2001-2004]`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node_range: Option<String>,
    /// Further words for `sbatch`, each quoted as it stands.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub extra_sbatch: Vec<String>,
}

/// What one node of each role needs.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Resources {
    /// Each server node.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub servers: Option<NodeResources>,
    /// Each client node.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clients: Option<NodeResources>,
    /// Each monitor node.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub monitors: Option<NodeResources>,
}

/// What one node needs.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NodeResources {
    /// GPUs per node.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(max = 1024))]
    pub gpus: Option<u32>,
    /// Cores per node.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpus_per_task: Option<NonZeroU32>,
    /// Memory per node in GiB.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mem_gb: Option<NonZeroU32>,
}

impl Recipe {
    /// What the run does when a node is lost, as far as the recipe says.
    #[must_use]
    pub fn on_node_loss(&self) -> Option<OnNodeLoss> {
        match self.orchestration.on_node_loss? {
            NodeLoss::Fail => Some(OnNodeLoss::Fail),
            NodeLoss::Continue => Some(OnNodeLoss::Continue),
            NodeLoss::Redistribute => Some(OnNodeLoss::Redistribute),
        }
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

    pub(super) fn client_nodes(&self) -> Option<&ClientNodes> {
        self.orchestration.node_allocation.as_ref()?.clients.as_ref()
    }
}
