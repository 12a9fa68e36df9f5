//! The trial that is under way: how far each of its executors is.

use std::collections::BTreeMap;

use super::Effect;
use crate::{
    orders::{LoadShare, Order},
    plan::Plan,
    units::{Nanos, NodeName, TrialId},
};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Load {
    Preparing,
    Prepared,
    Over,
    Lost,
}

/// One trial from its launch to the closing of its books.
#[derive(Debug)]
pub(super) struct UnderWay {
    pub plan: Plan,
    executors: BTreeMap<u32, (NodeName, Load)>,
    pub is_started: bool,
    pub is_stopped_early: bool,
    pub is_closing: bool,
}

impl UnderWay {
    /// The trial, and the orders that have its shares built.
    pub fn launch(plan: Plan, shares: Vec<LoadShare>) -> (Self, Vec<Effect>) {
        let executors = shares.iter().map(|share| (share.executor, (share.node.clone(), Load::Preparing))).collect();
        // What is kept of the trial is what its executors are told.
        let plan = Plan { shares: shares.clone(), ..plan };
        let orders =
            shares.into_iter().map(|share| Effect::Order(share.node.clone(), Order::PrepareLoad(Box::new(share)))).collect();
        (Self { plan, executors, is_started: false, is_stopped_early: false, is_closing: false }, orders)
    }

    pub fn id(&self) -> &TrialId {
        &self.plan.trial.id
    }

    /// Whether this is a share of its latest plan that is not built yet.
    pub fn awaits(&self, share: &LoadShare) -> bool {
        let executor = self.executors.get(&share.executor);
        share.trial == *self.id()
            && share.executors as usize == self.executors.len()
            && executor.is_some_and(|(node, load)| *node == share.node && *load == Load::Preparing)
    }

    pub fn prepared(&mut self, executor: u32) {
        self.set(executor, Load::Prepared);
    }

    pub fn over(&mut self, executor: u32) {
        self.set(executor, Load::Over);
    }

    pub fn gave_up(&mut self, executor: u32) {
        self.set(executor, Load::Lost);
    }

    /// Whether the node had a part in it that was not over.
    pub fn node_lost(&mut self, node: &NodeName) -> bool {
        let mut had_part = false;
        for (_, load) in self.executors.values_mut().filter(|(at, _)| at == node) {
            had_part |= *load != Load::Over;
            *load = Load::Lost;
        }
        had_part
    }

    pub fn is_prepared(&self) -> bool {
        self.executors.values().all(|(_, load)| *load == Load::Prepared)
    }

    /// Whether nobody sends any more.
    pub fn is_over(&self) -> bool {
        self.executors.values().all(|(_, load)| matches!(load, Load::Over | Load::Lost))
    }

    /// Whether nobody is left who could have finished it.
    pub fn is_deserted(&self) -> bool {
        self.executors.values().all(|(_, load)| *load == Load::Lost)
    }

    /// Orders that end its load wherever it is not over.
    pub fn stop(&self) -> Vec<Effect> {
        let trial = self.id();
        self.unfinished().map(|node| Effect::Order(node.clone(), Order::StopLoad { trial: trial.clone() })).collect()
    }

    /// Orders that end its measured window at this instant.
    pub fn end_window(&self, at: Nanos) -> Vec<Effect> {
        let trial = self.id();
        self.unfinished().map(|node| Effect::Order(node.clone(), Order::EndWindow { trial: trial.clone(), at })).collect()
    }

    /// The nodes that are not through.
    pub fn unfinished(&self) -> impl Iterator<Item = &NodeName> {
        self.executors.values().filter(|(_, load)| matches!(load, Load::Preparing | Load::Prepared)).map(|(node, _)| node)
    }

    fn set(&mut self, executor: u32, to: Load) {
        if let Some((_, load)) = self.executors.get_mut(&executor).filter(|(_, load)| *load != Load::Lost) {
            *load = to;
        }
    }
}
