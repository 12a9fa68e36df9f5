//! The trial that is under way: how far each of its executors is.

use std::collections::{BTreeMap, BTreeSet};

use super::Effect;
use crate::{
    orders::{LoadShare, Order},
    plan::{Left, Plan, Seat, pieces},
    trial::{Drill, DrillTarget},
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
    /// What each executor was told.
    shares: BTreeMap<u32, LoadShare>,
    /// Lost executors of which it is not known yet what they left.
    unknown: BTreeSet<u32>,
    /// Executors that take over what lost ones left, and have not been told to start.
    joining: BTreeSet<u32>,
    /// The drills of its recipe that were neither carried out nor left out.
    drills: Vec<Drill>,
    /// Its window was ended before its time.
    has_window_ended: bool,
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
        let orders = shares.iter().map(prepare).collect();
        let under_way = Self {
            drills: plan.trial.load.drills.clone(),
            plan,
            executors,
            shares: shares.into_iter().map(|share| (share.executor, share)).collect(),
            unknown: BTreeSet::new(),
            joining: BTreeSet::new(),
            has_window_ended: false,
            is_started: false,
            is_stopped_early: false,
            is_closing: false,
        };
        (under_way, orders)
    }

    pub fn id(&self) -> &TrialId {
        &self.plan.trial.id
    }

    /// Whether this is a share of its latest plan that is not built yet.
    pub fn awaits(&self, share: &LoadShare) -> bool {
        let executor = self.executors.get(&share.executor);
        // Servers may have been left since it was ordered.
        let is_it = |latest: &LoadShare| *latest == LoadShare { left_servers: latest.left_servers.clone(), ..share.clone() };
        self.shares.get(&share.executor).is_some_and(is_it)
            && executor.is_some_and(|(node, load)| *node == share.node && *load == Load::Preparing)
    }

    pub fn prepared(&mut self, executor: u32) {
        self.set(executor, Load::Prepared);
    }

    pub fn over(&mut self, executor: u32) {
        self.set(executor, Load::Over);
    }

    /// The executor sends no more: whether it was not through.
    pub fn gave_up(&mut self, executor: u32) -> bool {
        let unfinished = self.executors.get_mut(&executor).filter(|(_, load)| matches!(load, Load::Preparing | Load::Prepared));
        unfinished.map(|(_, load)| *load = Load::Lost).is_some()
    }

    /// Whether an executor of this node was lost.
    pub fn has_given_up(&self, node: &NodeName) -> bool {
        self.executors.values().any(|(at, load)| at == node && *load == Load::Lost)
    }

    /// The executors of the node that were not through.
    pub fn node_lost(&mut self, node: &NodeName) -> Vec<u32> {
        let mut unfinished = Vec::new();
        for (executor, (_, load)) in self.executors.iter_mut().filter(|(_, (at, _))| at == node) {
            if matches!(load, Load::Preparing | Load::Prepared) {
                unfinished.push(*executor);
            }
            *load = Load::Lost;
        }
        unfinished
    }

    /// Whether what lost executors left can still be handed on.
    pub fn may_hand_on(&self) -> bool {
        !self.has_window_ended && !self.is_closing && !self.is_stopped_early
    }

    /// What these executors left is asked for.
    pub fn await_stock(&mut self, executors: &[u32]) -> Effect {
        self.unknown.extend(executors);
        Effect::TakeStock { trial: self.id().clone(), executors: executors.to_vec() }
    }

    /// What lost executors left is known: orders that have it built on these nodes.
    pub fn hand_on(&mut self, left: &[Left], heirs: &[Seat]) -> Vec<Effect> {
        let mut orders = Vec::new();
        if left.is_empty() {
            // Nobody knows; it is lost.
            self.unknown.clear();
        }
        for left in left.iter().filter(|left| self.unknown.remove(&left.executor)) {
            let next = self.executors.keys().next_back().map_or(0, |last| last + 1);
            let Some(lost) = self.shares.get(&left.executor) else { continue };
            for piece in pieces(lost, left, heirs, next) {
                orders.push(prepare(&piece));
                self.executors.insert(piece.executor, (piece.node.clone(), Load::Preparing));
                self.joining.insert(piece.executor);
                self.shares.insert(piece.executor, piece);
            }
        }
        orders
    }

    /// What lost executors left and did not begin yet is given up. Nobody's word is waited for any more.
    pub fn give_up_joining(&mut self) {
        self.unknown.clear();
        for executor in std::mem::take(&mut self.joining) {
            self.set(executor, Load::Lost);
        }
    }

    /// A node does not build what it was to take over: the executors that were to do it.
    pub fn refused(&mut self, node: &NodeName) -> Vec<u32> {
        let here: Vec<u32> = self.joining.iter().filter(|executor| self.shares[executor].node == *node).copied().collect();
        here.into_iter().filter(|executor| self.gave_up(*executor)).collect()
    }

    /// Those that take over, once every one of them is built or lost.
    pub fn join(&mut self) -> Option<Effect> {
        let load = |executor: &u32| self.executors.get(executor).map(|(_, load)| *load);
        if self.joining.is_empty() || self.joining.iter().any(|executor| load(executor) == Some(Load::Preparing)) {
            return None;
        }
        let ready = self.joining.iter().filter(|executor| load(executor) == Some(Load::Prepared));
        let shares: Vec<LoadShare> = ready.filter_map(|executor| self.shares.get(executor).cloned()).collect();
        self.joining.clear();
        (!shares.is_empty()).then(|| Effect::JoinLoad { trial: self.id().clone(), shares })
    }

    /// Executors that were built, and are told to start by whoever starts the trial.
    pub fn loads(&self) -> impl Iterator<Item = (&NodeName, u32)> {
        let is_built =
            |(executor, (_, load)): &(&u32, &(NodeName, Load))| *load == Load::Prepared && !self.joining.contains(executor);
        self.executors.iter().filter(is_built).map(|(executor, (node, _))| (node, *executor))
    }

    /// The most requests that the clients of one executor ask at a time.
    pub fn most_at_a_time(&self) -> usize {
        let asked = |share: &LoadShare| share.clients.len().saturating_mul(share.load.together.get() as usize);
        self.shares.values().map(asked).max().unwrap_or(0)
    }

    /// Orders that have the clients of these servers ask the others, and the URLs of those that were not left before.
    pub fn leave_servers(&mut self, lost: &BTreeSet<u32>) -> (Vec<Effect>, Vec<String>) {
        let mut gone: BTreeMap<u32, String> = BTreeMap::new();
        for share in self.shares.values_mut() {
            let is_new = |server: &u32| lost.contains(server) && !share.left_servers.contains(server);
            let left = (0..).zip(&share.servers).filter(|(server, _)| is_new(server));
            let left: Vec<(u32, String)> = left.map(|(server, url)| (server, url.clone())).collect();
            share.left_servers.extend(left.iter().map(|(server, _)| *server));
            gone.extend(left);
        }
        let orders = self.unfinished().into_iter().flat_map(|node| {
            let order = |server: &u32| Order::LeaveServer { trial: self.id().clone(), server: *server };
            gone.keys().map(move |server| Effect::Order(node.clone(), order(server)))
        });
        (orders.collect(), gone.into_values().collect())
    }

    pub fn is_prepared(&self) -> bool {
        self.executors.values().all(|(_, load)| *load == Load::Prepared)
    }

    /// Whether nobody sends any more.
    pub fn is_over(&self) -> bool {
        self.unknown.is_empty() && self.executors.values().all(|(_, load)| matches!(load, Load::Over | Load::Lost))
    }

    /// Whether nobody is left who could have finished it.
    pub fn is_deserted(&self) -> bool {
        self.unknown.is_empty() && self.executors.values().all(|(_, load)| *load == Load::Lost)
    }

    /// Orders that end its load wherever it is not over.
    pub fn stop(&self) -> Vec<Effect> {
        let trial = self.id();
        self.unfinished().into_iter().map(|node| Effect::Order(node.clone(), Order::StopLoad { trial: trial.clone() })).collect()
    }

    /// Orders that end its measured window at this instant.
    pub fn end_window(&mut self, at: Nanos) -> Vec<Effect> {
        self.has_window_ended = true;
        self.give_up_joining();
        let trial = self.id();
        self.unfinished()
            .into_iter()
            .map(|node| Effect::Order(node.clone(), Order::EndWindow { trial: trial.clone(), at }))
            .collect()
    }

    /// It is time for a drill: whether it still is to be. The earliest of its kind is meant.
    pub fn takes_drill(&mut self, kill: DrillTarget) -> bool {
        let of_kind = self.drills.iter().enumerate().filter(|(_, drill)| drill.kill == kill);
        let first = of_kind.min_by_key(|(_, drill)| drill.at).map(|(index, _)| index);
        first.map(|index| self.drills.remove(index)).is_some()
    }

    /// No drill happens any more that lies at this instant or behind it: a sentence for each.
    pub fn leave_out_drills(&mut self, from: Nanos) -> Vec<Effect> {
        let warmup = self.plan.trial.load.warmup.0;
        let is_behind = |drill: &Drill| Nanos::from(warmup.saturating_add(drill.at.0)) >= from;
        let (left_out, kept): (Vec<Drill>, _) = std::mem::take(&mut self.drills).into_iter().partition(is_behind);
        self.drills = kept;
        let told = |Drill { at, kill }: Drill| {
            format!("{}: the drill at {at} (kill: {kill}) did not happen: the measured window was over before", self.id())
        };
        left_out.into_iter().map(told).map(Effect::Warn).collect()
    }

    /// The nodes that are not through, each once, however many executors it has.
    pub fn unfinished(&self) -> BTreeSet<&NodeName> {
        let unfinished = self.executors.values().filter(|(_, load)| matches!(load, Load::Preparing | Load::Prepared));
        unfinished.map(|(node, _)| node).collect()
    }

    /// Whether a number of requests ends it, and no instant.
    pub fn is_counted(&self) -> bool {
        self.shares.values().any(|share| share.requests.is_some())
    }

    fn set(&mut self, executor: u32, to: Load) {
        if let Some((_, load)) = self.executors.get_mut(&executor).filter(|(_, load)| *load != Load::Lost) {
            *load = to;
        }
    }
}

fn prepare(share: &LoadShare) -> Effect {
    Effect::Order(share.node.clone(), Order::PrepareLoad(Box::new(share.clone())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{schedule::Numbers, testing::open_plan};

    #[test]
    fn an_order_of_an_older_plan_is_not_repeated() {
        let mut plan = open_plan(50.0, 2);
        plan.shares[0].servers = vec!["http://a".into(), "http://b".into()];
        let ordered = plan.shares.clone();
        let (mut under_way, _) = UnderWay::launch(plan, ordered.clone());
        assert!(under_way.awaits(&ordered[0]) && under_way.awaits(&ordered[1]));
        let of_other_nodes = LoadShare { numbers: Numbers::all(), ..ordered[0].clone() };
        assert!(!under_way.awaits(&of_other_nodes));
        let (_, left) = under_way.leave_servers(&BTreeSet::from([1]));
        assert!(left == ["http://b"] && under_way.awaits(&ordered[0]), "a server that was left makes no other share");
        under_way.prepared(0);
        assert!(!under_way.awaits(&ordered[0]));
    }
}
