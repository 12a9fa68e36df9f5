//! A trial's load: servers counted, clocks known, one instant for all, shares of the lost.

use std::{collections::BTreeSet, time::Duration};

use hb_core::{
    counted::ServerCounts,
    events::Happened,
    orders::{LoadShare, Order},
    phases::Effect,
    units::{Nanos, NodeName, TrialId},
};
use ractor::{ActorRef, call_t, rpc::CallResult};

use super::{
    BooksMsg, OrchestratorMsg,
    actor::{Leading, tell},
    counts::Asked,
};
use crate::wall_clock::unix_nanos;

/// Every executor starts its trial this long after the order, so that the order has reached all of them…
const START_AHEAD: Duration = Duration::from_millis(300);
/// …and so long where all of them are on the leader's own host…
const START_AHEAD_HERE: Duration = Duration::from_millis(40);
/// …and longer by so much for each request that its clients ask first, which have their connections opened meanwhile.
const START_AHEAD_FOR_A_REQUEST: Duration = Duration::from_micros(60);

/// A load waits so long at most until the clocks of all that send it are known.
const CLOCKS_WITHIN: Duration = Duration::from_secs(3);

/// What lost executors left undone is known within this time, milliseconds.
const STOCK_WITHIN_MILLIS: u64 = 10_000;

/// What is known of the load of the trial that is open.
#[derive(Default)]
pub(super) struct TrialLoad {
    /// The servers of the trial, which are asked again when it is over.
    pub(super) asked: Option<Asked>,
    /// When the load of the trial started.
    started_at: Option<i128>,
    /// A trial whose load waits until the clocks of its nodes are known.
    unaligned: Option<TrialId>,
    /// Shares of what was lost before that: they start with it.
    early: Vec<LoadShare>,
    /// When the load of the trial was told to stop before its end.
    pub(super) stopped_at: Option<i128>,
}

impl TrialLoad {
    /// Another trial is opened.
    pub(super) fn begin(&mut self) {
        (self.started_at, self.stopped_at) = (None, None);
        self.early.clear();
    }
}

impl Leading {
    /// What the servers counted until now; the load starts when they told, or had their time.
    pub(super) fn count_servers(&mut self, me: &ActorRef<OrchestratorMsg>, trial: TrialId) {
        self.load.asked =
            self.run.asked_servers().map(|(urls, service)| Asked { urls, service, http2: self.run.http2_servers().clone() });
        let (asked, me) = (self.load.asked.clone(), me.clone());
        tokio::spawn(async move {
            let servers = match asked {
                Some(asked) => asked.counts().await,
                None => Vec::new(),
            };
            tell(&me, OrchestratorMsg::ServersCounted(trial, servers));
        });
    }

    pub(super) fn servers_counted(
        &mut self,
        me: &ActorRef<OrchestratorMsg>,
        trial: TrialId,
        servers: Vec<ServerCounts>,
    ) -> Vec<Effect> {
        // The run may have been ended while they were asked.
        if self.run.is_executing(&trial) {
            self.tell(Happened::ServersCounted { is_over: false, servers });
            self.load.unaligned = Some(trial.clone());
            me.send_after(CLOCKS_WITHIN, move || OrchestratorMsg::ClocksDue(trial));
            self.start_once_aligned(me);
        }
        Vec::new()
    }

    /// Starts the load that waits for it, once the clock of every node that sends it is known: by another one it would
    /// start as much too early or too late as that is wrong.
    pub(super) fn start_once_aligned(&mut self, me: &ActorRef<OrchestratorMsg>) {
        let is_known = |node: &NodeName| self.nodes.named(node).is_none_or(|member| member.clock.is_some());
        if self.load.unaligned.is_some() && self.run.loads().iter().all(|(node, _)| is_known(node)) {
            self.start_waiting(me);
        }
    }

    pub(super) fn clocks_due(&mut self, me: &ActorRef<OrchestratorMsg>, trial: &TrialId) -> Vec<Effect> {
        if self.load.unaligned.as_ref() == Some(trial) {
            self.start_waiting(me);
        }
        Vec::new()
    }

    fn start_waiting(&mut self, me: &ActorRef<OrchestratorMsg>) {
        // The run may have been ended meanwhile.
        if let Some(trial) = self.load.unaligned.take().filter(|trial| self.run.is_executing(trial)) {
            self.start_load(me, trial);
        }
    }

    /// One instant on every clock: each node is told it on its own.
    fn start_load(&mut self, me: &ActorRef<OrchestratorMsg>, trial: TrialId) {
        let start = unix_nanos() + self.start_ahead().as_nanos() as i128;
        self.load.started_at = Some(start);
        self.tell(Happened::LoadStarted { start_unix_nanos: i64::try_from(start).unwrap_or(i64::MAX) });
        self.write(BooksMsg::Started(trial.clone(), start));
        self.await_certainty(me, trial.clone());
        for (node, executor) in self.run.loads() {
            self.order_start(me, &trial, node, executor, Nanos(0));
        }
        let early = std::mem::take(&mut self.load.early);
        if !early.is_empty() {
            self.join_load(me, &trial, early);
        }
        tell(me, OrchestratorMsg::LoadStarted(trial));
    }

    /// How long after the order a load starts.
    pub(super) fn start_ahead(&self) -> Duration {
        let is_here = |node: &NodeName| self.nodes.named(node).is_some_and(|member| member.hello.host == self.own_host);
        let for_orders = if self.run.loads().iter().all(|(node, _)| is_here(node)) { START_AHEAD_HERE } else { START_AHEAD };
        for_orders + START_AHEAD_FOR_A_REQUEST * u32::try_from(self.run.most_at_a_time()).unwrap_or(u32::MAX)
    }

    fn order_start(&self, me: &ActorRef<OrchestratorMsg>, trial: &TrialId, node: NodeName, executor: u32, since: Nanos) {
        let Some(start) = self.load.started_at else { return };
        let offset = self.nodes.named(&node).and_then(|member| member.clock).map_or(0, |(offset, _)| i128::from(offset));
        let order = Order::StartLoad { trial: trial.clone(), executor, start_unix_nanos: start + offset, since };
        self.order(me, node, order);
    }

    /// The books know what came of lost executors; what comes later is not taken any more.
    pub(super) fn take_stock(&self, me: &ActorRef<OrchestratorMsg>, trial: TrialId, executors: Vec<u32>) {
        let (books, me) = (self.books.clone(), me.clone());
        tokio::spawn(async move {
            let asked = call_t!(books, BooksMsg::GetLeft, STOCK_WITHIN_MILLIS, trial.clone(), executors);
            let left = asked.unwrap_or_else(|error| {
                tracing::error!(%error, "the books did not answer; what was left of a load is not handed on");
                Vec::new()
            });
            tell(&me, OrchestratorMsg::LeftBehind(trial, left));
        });
    }

    /// What lost executors left goes on from one instant on. The books are told before the nodes.
    pub(super) fn join_load(&mut self, me: &ActorRef<OrchestratorMsg>, trial: &TrialId, shares: Vec<LoadShare>) {
        let Some(start) = self.load.started_at else {
            self.load.early.extend(shares);
            return;
        };
        let since = (unix_nanos() + self.start_ahead().as_nanos() as i128 - start).max(0);
        let since = Nanos(u64::try_from(since).unwrap_or(u64::MAX));
        let left_by: BTreeSet<u32> = shares.iter().filter_map(|share| share.left_by).collect();
        let to: BTreeSet<NodeName> = shares.iter().map(|share| share.node.clone()).collect();
        self.tell(Happened::LoadHandedOn {
            left_by: left_by.into_iter().collect(),
            to: to.into_iter().collect(),
            since_seconds: since.as_secs_f64(),
        });
        self.write(BooksMsg::HandedOn(trial.clone(), shares.clone(), since));
        for share in shares {
            self.order_start(me, trial, share.node, share.executor, since);
        }
    }

    /// The books know all answers, so they say when a figure is sure; they drop the question when the trial is over.
    fn await_certainty(&self, me: &ActorRef<OrchestratorMsg>, trial: TrialId) {
        let (books, me) = (self.books.clone(), me.clone());
        tokio::spawn(async move {
            let asked = books.call(|reply| BooksMsg::GetCertainty(trial.clone(), reply), None).await;
            if let Ok(CallResult::Success(at)) = asked {
                tell(&me, OrchestratorMsg::SureEnough(trial, at));
            }
        });
    }
}
