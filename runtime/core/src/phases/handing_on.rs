//! What `on_node_loss: redistribute` means while load runs: the rest of a lost client node's share is done by the nodes
//! that are left, and the clients of a lost server ask the other servers.
//!
//! ```text
//! node_lost ─► TakeStock ─► left_behind ─► PrepareLoad (on the nodes that are left) ─► LoadPrepared ─► JoinLoad
//! ```
//!
//! From what the lost node told last until the others join, everything that was due of it is lost; from then on nothing.

use super::{Effect, OnNodeLoss, Phase, Run, run::finish_within};
use crate::{
    plan::Left,
    units::{NodeName, TrialId},
};

impl Run {
    /// Whether the loss of a node or server is borne while others are left.
    pub(super) fn bears_loss(&self) -> bool {
        matches!(self.spec.on_node_loss, Some(OnNodeLoss::Continue | OnNodeLoss::Redistribute))
    }

    /// A node is lost while load runs: these executors were not through.
    pub(super) fn hand_on(&mut self, unfinished: &[u32], cause: String) -> Vec<Effect> {
        let mut effects = self.leave_servers();
        let has_heirs = self.allocation.clients().next().is_some();
        let under_way = self.trial.as_mut().filter(|under_way| has_heirs && under_way.may_hand_on());
        match under_way.filter(|_| !unfinished.is_empty()) {
            Some(under_way) => {
                effects.push(Effect::Warn(cause));
                effects.push(under_way.await_stock(unfinished));
                // It may have been all that those wait for who take over what others left.
                effects.extend(under_way.join());
            }
            None if unfinished.is_empty() => effects.push(Effect::Warn(cause)),
            None => effects.extend(self.load_over(Some(cause))),
        }
        effects
    }

    /// What lost executors left of a trial's load is known.
    pub fn left_behind(&mut self, trial: &TrialId, left: &[Left]) -> Vec<Effect> {
        let is_now = self.is_executing(trial);
        let heirs: Vec<NodeName> = self.allocation.clients().map(|seat| seat.node.clone()).collect();
        let Some(under_way) = self.trial.as_mut().filter(|_| is_now) else { return Vec::new() };
        let mut effects = under_way.hand_on(left, &heirs);
        // A number of requests takes longer with fewer nodes.
        if !effects.is_empty() && under_way.is_counted() {
            let within = finish_within(&under_way.plan);
            effects.push(self.deadline(within));
        }
        effects.extend(self.load_over(None));
        effects
    }

    /// A node does not build what it was to take over.
    pub(super) fn takes_nothing_over(&mut self, node: &NodeName, why: &str) -> Vec<Effect> {
        if let Some(under_way) = &mut self.trial {
            under_way.refused(node);
        }
        self.joined_or_over(format!("{node} takes nothing over: {why}"))
    }

    /// An executor is through with trouble: those that it kept waiting join, and the load may be over.
    pub(super) fn joined_or_over(&mut self, cause: String) -> Vec<Effect> {
        let joined = self.trial.as_mut().and_then(super::under_way::UnderWay::join);
        joined.into_iter().chain(self.load_over(Some(cause))).collect()
    }

    /// The clients of servers that are gone ask the others.
    pub(super) fn leave_servers(&mut self) -> Vec<Effect> {
        let is_meant = self.spec.on_node_loss == Some(OnNodeLoss::Redistribute) && self.phase == Some(Phase::Execution);
        let (Some(up), Some(under_way)) = (self.servers.urls(), self.trial.as_mut().filter(|_| is_meant)) else {
            return Vec::new();
        };
        let (mut effects, gone) = under_way.leave_servers(&up);
        effects.extend(gone.iter().map(|url| Effect::Warn(format!("the clients of {url} ask the servers that are left"))));
        effects
    }

    /// Nodes and executors that are to start the load of the trial.
    #[must_use]
    pub fn loads(&self) -> Vec<(NodeName, u32)> {
        let loads = self.trial.iter().flat_map(super::under_way::UnderWay::loads);
        loads.map(|(node, executor)| (node.clone(), executor)).collect()
    }
}
