//! What the loss of a node, an executor or a server means for the run.
//!
//! With `on_node_loss: redistribute`, while load runs, the rest of a lost client node's share is done by the nodes that
//! are left, and the clients of a lost server ask the other servers. An executor that gives up on a node that lives is
//! lost, too, and no further share goes to that node in this trial:
//!
//! ```text
//! node_lost ─┬─► TakeStock ─► left_behind ─► PrepareLoad (on the nodes that are left) ─► LoadPrepared ─► JoinLoad
//! gave_up  ──┘
//! ```
//!
//! From what the lost executor told last until the others join, everything that was due of it is lost; from then on
//! nothing.

use serde::{Deserialize, Serialize};

use super::{Effect, Phase, Run, run::finish_within, under_way::UnderWay};
use crate::{
    plan::{Left, Seat},
    units::{NodeName, TrialId},
};

/// What to do when a node is lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnNodeLoss {
    /// The run ends with its report.
    Fail,
    /// The run goes on with the nodes that are left.
    Continue,
    /// As `Continue`; and what a lost client node, or an executor that gave up, left of a load is done by the others, and
    /// the clients of a lost server ask those that are left.
    Redistribute,
}

impl Run {
    /// A node is gone.
    pub fn node_lost(&mut self, node: &NodeName, why: &str) -> Vec<Effect> {
        if !self.allocation.seats.iter().any(|seat| seat.node == *node) {
            return Vec::new();
        }
        self.allocation = self.allocation.without(node);
        let was_awaited = self.awaited.remove(node);
        let servers = self.servers.node_lost(node);
        let unfinished = self.trial.as_mut().map(|under_way| under_way.node_lost(node)).unwrap_or_default();
        let had_load = !unfinished.is_empty();
        let mut effects = vec![Effect::WriteOff(node.clone())];
        let cause = format!("node {node} was lost: {why}");
        let is_borne = match self.spec.on_node_loss {
            Some(OnNodeLoss::Fail) => false,
            Some(OnNodeLoss::Continue | OnNodeLoss::Redistribute) => servers.is_empty() || self.servers.urls().is_some(),
            None => servers.is_empty(),
        };
        effects.extend(match self.phase {
            None | Some(Phase::Report) => Vec::new(),
            Some(Phase::Teardown) => self.tear_down(),
            Some(Phase::Initialization) => self.fail(cause),
            _ if !is_borne => self.fail(cause),
            Some(Phase::ClientLaunch) if had_load => self.replan(),
            Some(Phase::Execution) if self.redistributes() => {
                let mut effects = self.leave_servers();
                effects.extend(self.hand_on(&unfinished, cause));
                effects
            }
            Some(Phase::Execution) if had_load => self.load_over(Some(cause)),
            Some(Phase::MonitoringSetup) if was_awaited && self.awaited.is_empty() => self.launch(),
            // The servers that are left may be all that was still waited for.
            Some(Phase::ServiceDeployment) => self.deployed(),
            _ => Vec::new(),
        });
        effects
    }

    /// A server ended, or did not become ready.
    pub(super) fn server_trouble(&mut self, cause: String) -> Vec<Effect> {
        match self.phase {
            // Of a server's ranks the first to be heard of need not be the one that broke: the others' ends are told too.
            Some(Phase::Teardown) => {
                let told = self.failure.is_some().then_some(Effect::Warn(cause));
                told.into_iter().chain(self.tear_down()).collect()
            }
            None | Some(Phase::Report) => Vec::new(),
            // The one that it worked for was told to end, and it has seen that before its own order came.
            Some(Phase::ServiceDeployment) if self.servers.are_ending() => self.replace_servers(),
            Some(_) if self.bears_loss() && self.servers.urls().is_some() => {
                let mut effects = vec![Effect::Warn(cause)];
                effects.extend(self.deployed());
                effects.extend(self.leave_servers());
                effects
            }
            Some(_) => self.fail(cause),
        }
    }

    /// Whether the loss of a node or server is borne while others are left.
    pub(super) fn bears_loss(&self) -> bool {
        matches!(self.spec.on_node_loss, Some(OnNodeLoss::Continue | OnNodeLoss::Redistribute))
    }

    /// Whether others do what lost executors left of the load that runs.
    fn redistributes(&self) -> bool {
        self.spec.on_node_loss == Some(OnNodeLoss::Redistribute) && self.phase == Some(Phase::Execution)
    }

    /// Client nodes that may take over what others left: those on which no executor of the trial gave up.
    fn heirs(&self) -> Vec<Seat> {
        let is_sound = |seat: &&Seat| self.trial.as_ref().is_none_or(|under_way| !under_way.has_given_up(&seat.node));
        self.allocation.clients().filter(is_sound).cloned().collect()
    }

    /// An executor sends no more, and its node lives: it failed too often, or cannot build its share.
    pub(super) fn gave_up(&mut self, trial: &TrialId, executor: u32, cause: String) -> Vec<Effect> {
        let Some(under_way) = self.under_way(trial) else { return Vec::new() };
        let was_unfinished = under_way.gave_up(executor);
        match self.phase {
            Some(Phase::ClientLaunch) => self.fail(cause),
            _ if was_unfinished && self.redistributes() => self.hand_on(&[executor], cause),
            _ => self.joined_or_over(cause),
        }
    }

    /// These executors were not through and are lost while load runs.
    fn hand_on(&mut self, unfinished: &[u32], cause: String) -> Vec<Effect> {
        if unfinished.is_empty() {
            return vec![Effect::Warn(cause)];
        }
        let has_heirs = !self.heirs().is_empty();
        match self.trial.as_mut().filter(|under_way| has_heirs && under_way.may_hand_on()) {
            Some(under_way) => {
                let mut effects = vec![Effect::Warn(cause), under_way.await_stock(unfinished)];
                // They may have been all that those wait for who take over what others left.
                effects.extend(under_way.join());
                effects
            }
            None => self.joined_or_over(cause),
        }
    }

    /// What lost executors left of a trial's load is known.
    pub fn left_behind(&mut self, trial: &TrialId, left: &[Left]) -> Vec<Effect> {
        let is_now = self.is_executing(trial);
        let heirs = self.heirs();
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
        let refused = self.trial.as_mut().map(|under_way| under_way.refused(node)).unwrap_or_default();
        self.hand_on(&refused, format!("{node} takes nothing over: {why}"))
    }

    /// Executors are through with trouble: those that they kept waiting join, and the load may be over.
    fn joined_or_over(&mut self, cause: String) -> Vec<Effect> {
        let joined = self.trial.as_mut().and_then(UnderWay::join);
        joined.into_iter().chain(self.load_over(Some(cause))).collect()
    }

    /// The clients of servers that are gone ask the others.
    pub(super) fn leave_servers(&mut self) -> Vec<Effect> {
        let is_meant = self.redistributes();
        let gone = self.servers.gone_ordinals();
        let are_left = self.servers.urls().is_some();
        let Some(under_way) = self.trial.as_mut().filter(|_| is_meant && are_left) else { return Vec::new() };
        let (mut effects, gone) = under_way.leave_servers(&gone);
        effects.extend(gone.iter().map(|url| Effect::Warn(format!("the clients of {url} ask the servers that are left"))));
        effects
    }

    /// Nodes and executors that are to start the load of the trial.
    #[must_use]
    pub fn loads(&self) -> Vec<(NodeName, u32)> {
        let loads = self.trial.iter().flat_map(UnderWay::loads);
        loads.map(|(node, executor)| (node.clone(), executor)).collect()
    }

    /// The most requests that the clients of one executor ask at a time.
    #[must_use]
    pub fn most_at_a_time(&self) -> usize {
        self.trial.iter().map(UnderWay::most_at_a_time).max().unwrap_or(0)
    }
}
