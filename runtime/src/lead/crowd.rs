//! How many nodes a run will have, and whether its recipe is content with them.

use std::num::NonZeroU32;

use hb_core::{
    plan::NodeNeeds,
    recipe::{Mode, Orchestration},
};

use super::surroundings::Surroundings;
use crate::cli::LeadWords;

/// How many nodes there will be, and where they come from.
pub(super) struct Crowd {
    /// How many must join.
    pub nodes: u32,
    /// Node processes that the leader starts on this machine.
    pub local: Option<NonZeroU32>,
    /// Whether the leader's own process is a node, too.
    pub hosts_own_node: bool,
    /// Whether the leader starts them over ssh.
    pub is_over_ssh: bool,
}

impl Crowd {
    /// By the words, by the recipe's own list of nodes, or by the job's step.
    pub fn of(words: &LeadWords, orchestration: &Orchestration, surroundings: &Surroundings) -> Self {
        let here = Self { nodes: 1, local: None, hosts_own_node: true, is_over_ssh: false };
        match (words.local_nodes, &surroundings.step) {
            (Some(local), _) => Self { nodes: local.get(), local: Some(local), hosts_own_node: false, ..here },
            (None, _) if orchestration.mode == Mode::Ssh => {
                let nodes = u32::try_from(orchestration.nodes.len()).unwrap_or(u32::MAX);
                Self { nodes, hosts_own_node: false, is_over_ssh: true, ..here }
            }
            (None, Some(step)) => Self { nodes: step.tasks, ..here },
            (None, None) => here,
        }
    }

    /// Whether no other machine takes part.
    pub fn is_on_this_machine(&self) -> bool {
        self.local.is_some() || self.nodes == 1 && !self.is_over_ssh
    }

    /// Every role must find a node, or the run would wait for one that never comes.
    ///
    /// # Errors
    /// How many there are, how many it takes, and how to start them.
    pub fn check(&self, needs: &NodeNeeds, mode: Mode) -> Result<(), String> {
        if self.nodes == 1 && mode == Mode::Local || self.nodes >= needs.total() {
            return Ok(());
        }
        let advice = if self.local.is_some() {
            format!("start more with `--local-nodes {}`", needs.total())
        } else {
            format!("start one task on each of {} nodes: `srun --nodes={0} --ntasks-per-node=1 hbnode --leader …`", needs.total())
        };
        Err(format!("the recipe needs {} nodes and there are {}; {advice}", needs.total(), self.nodes))
    }
}
