//! The Orchestrator: facts into the [`Run`], effects out into the world.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use hb_core::{
    counted::ServerCounts,
    counting::Counting,
    events::{Happened, RunEvent},
    facts::NodeFact,
    orders::Order,
    phases::{Effect, OrderKind, Phase, Run, RunSpec},
    plan::{Left, NodeNeeds, Plan, Seat},
    report::{NodeFigures, Report},
    trial::DrillTarget,
    units::{Nanos, NodeName, TrialId},
};
use ractor::{Actor, ActorProcessingErr, ActorRef, SupervisionEvent, call_t, rpc::CallResult};
use ractor_cluster::RactorMessage;
use tokio::sync::{mpsc, oneshot};

use super::{
    BooksMsg,
    books::{Closed, Ending},
    endpoints::ask_endpoints,
    load::TrialLoad,
    nodes::Nodes,
};
use crate::{
    cluster::{AgentHandle, ClusterEvent, PeerId},
    messages::HelloBack,
    wall_clock::unix_nanos,
    wire::WireError,
};

/// An order that got no answer is given again after this pause.
const ORDER_AGAIN_AFTER: Duration = Duration::from_millis(250);

/// A trial's folder and its first files are made within this time, milliseconds.
const OPEN_WITHIN_MILLIS: u64 = 10_000;

/// A trial's rows are read back and its report is written within this time, milliseconds.
const CLOSE_WITHIN_MILLIS: u64 = 300_000;

/// The run's report is built within this time, milliseconds.
const FINISH_WITHIN_MILLIS: u64 = 60_000;

/// The nodes that are waited for.
#[derive(Debug, Clone)]
pub struct Expected {
    /// How many must join.
    pub nodes: u32,
    /// How many of which role the recipe needs.
    pub needs: NodeNeeds,
    /// Whether several nodes may sit on one host, as they do when they were started on this machine.
    pub may_share_hosts: bool,
    /// Whether every ordinal was chosen for its role, so that the leader's own node is not kept from load.
    pub are_placed: bool,
}

/// What the Orchestrator is given.
pub struct Leadership {
    /// What the run is to do.
    pub spec: RunSpec,
    /// The nodes that are waited for.
    pub expected: Expected,
    /// Takes what is to be written down.
    pub books: ActorRef<BooksMsg>,
    /// Joins, losses, clocks.
    pub cluster: mpsc::UnboundedReceiver<ClusterEvent>,
    /// This process's host, to tell the leader's own node.
    pub own_host: String,
    /// Told once, when the run is over.
    pub done: oneshot::Sender<Outcome>,
}

/// What a run came to.
#[derive(Debug)]
pub struct Outcome {
    /// The report, as it was written.
    pub report: Option<Box<Report>>,
    /// The phase that could not be finished, and why.
    pub failure: Option<(Phase, String)>,
    /// The signal or reason that ended the run early.
    pub interrupted: Option<String>,
}

/// What the Orchestrator can be told.
#[derive(RactorMessage)]
pub enum OrchestratorMsg {
    /// A node joined, was lost, was refused, or its clock is known better.
    ClusterChanged(Box<ClusterEvent>),
    /// A node told something.
    NodeTold(Box<NodeFact>),
    /// A node answered an order, or did not.
    OrderAnswered(NodeName, OrderKind, Result<(), String>),
    /// The servers were asked for their own counts, and a trial's load can start.
    ServersCounted(TrialId, Vec<ServerCounts>),
    /// A trial's load has waited long enough for the clocks of its nodes.
    ClocksDue(TrialId),
    /// An order got no answer: the link to the node may be coming back.
    OrderUnanswered(NodeName, Box<Order>),
    /// The books cannot keep rows any more.
    BooksGaveUp(String),
    /// The books of a trial are open, or why not.
    TrialOpened(TrialId, Result<(), String>),
    /// Every executor of a trial was told when to start.
    LoadStarted(TrialId),
    /// The figure that ends a trial's window is sure: when after the trial's start that is to be.
    SureEnough(TrialId, Nanos),
    /// What lost executors of a trial left undone.
    LeftBehind(TrialId, Vec<Left>),
    /// It is time for a drill.
    DrillDue(TrialId, DrillTarget),
    /// A server that already runs is not ready yet: what is waited for.
    EndpointWaitedFor(String),
    /// Servers that already run were asked: what they told of their tokens, and which of them speak only HTTP/2.
    EndpointsAnswered(Result<(Option<Counting>, BTreeSet<String>), String>),
    /// A trial's books are closed.
    TrialClosed(TrialId, Closed),
    /// Processes of nodes that were started for the run ended otherwise than by a goodbye: which, and how.
    NodeProcessesEnded(String),
    /// The time allowed for something ran out.
    PhaseExpired(Phase, u64),
    /// A signal or a person ends the run.
    Interrupt(String),
}

/// The behaviour; its state is [`Leading`].
pub struct Orchestrator;

/// The run and what is needed to act for it.
pub struct Leading {
    pub(super) run: Run,
    expected: Expected,
    pub(super) nodes: Nodes,
    refused: Vec<String>,
    has_seen_strangers: bool,
    /// The number of the fact that each life of a node tells next.
    next_facts: BTreeMap<(NodeName, u64), u64>,
    pub(super) books: ActorRef<BooksMsg>,
    pub(super) own_host: String,
    trial: Option<TrialId>,
    pub(super) load: TrialLoad,
    done: Option<oneshot::Sender<Outcome>>,
}

impl Actor for Orchestrator {
    type Msg = OrchestratorMsg;
    type State = Leading;
    type Arguments = Leadership;

    async fn pre_start(&self, me: ActorRef<Self::Msg>, leadership: Leadership) -> Result<Leading, ActorProcessingErr> {
        // Books that fail would otherwise only be missed when a trial is closed.
        leadership.books.get_cell().link(me.get_cell());
        let mut cluster = leadership.cluster;
        let told = me.clone();
        tokio::spawn(async move {
            while let Some(event) = cluster.recv().await {
                if told.cast(OrchestratorMsg::ClusterChanged(Box::new(event))).is_err() {
                    break;
                }
            }
        });
        let mut leading = Leading {
            run: Run::new(leadership.spec),
            expected: leadership.expected,
            nodes: Nodes::default(),
            refused: Vec::new(),
            has_seen_strangers: false,
            next_facts: BTreeMap::new(),
            books: leadership.books,
            own_host: leadership.own_host,
            trial: None,
            load: TrialLoad::default(),
            done: Some(leadership.done),
        };
        leading.await_failure(&me);
        let effects = leading.run.start();
        leading.perform(&me, effects);
        Ok(leading)
    }

    async fn handle(&self, me: ActorRef<Self::Msg>, msg: Self::Msg, leading: &mut Leading) -> Result<(), ActorProcessingErr> {
        leading.run.clock(unix_nanos());
        let effects = match msg {
            OrchestratorMsg::ClusterChanged(event) => {
                let effects = leading.cluster_changed(*event);
                leading.start_once_aligned(&me);
                effects
            }
            OrchestratorMsg::NodeTold(fact) => leading.node_told(*fact),
            OrchestratorMsg::OrderAnswered(node, kind, result) => leading.run.answered(&node, kind, result),
            OrchestratorMsg::ServersCounted(trial, servers) => leading.servers_counted(&me, trial, servers),
            OrchestratorMsg::ClocksDue(trial) => leading.clocks_due(&me, &trial),
            OrchestratorMsg::OrderUnanswered(node, order) => leading.unanswered(node, *order),
            OrchestratorMsg::BooksGaveUp(why) => leading.run.broken(why),
            OrchestratorMsg::TrialOpened(trial, result) => leading.run.trial_opened(&trial, result),
            OrchestratorMsg::LoadStarted(trial) => leading.run.load_started(&trial),
            OrchestratorMsg::SureEnough(trial, at) => leading.run.sure_enough(&trial, at),
            OrchestratorMsg::LeftBehind(trial, left) => leading.run.left_behind(&trial, &left),
            OrchestratorMsg::DrillDue(trial, kill) => leading.run.drill_due(&trial, kill),
            OrchestratorMsg::EndpointWaitedFor(what) => {
                leading.warn(&what);
                Vec::new()
            }
            OrchestratorMsg::EndpointsAnswered(Ok((tokens, http2))) => leading.run.endpoints_ready(tokens, http2),
            OrchestratorMsg::EndpointsAnswered(Err(why)) => leading.run.endpoints_failed(why),
            OrchestratorMsg::TrialClosed(trial, result) => leading.run.trial_closed(&trial, result),
            OrchestratorMsg::NodeProcessesEnded(what) => leading.processes_ended(what),
            OrchestratorMsg::PhaseExpired(phase, ticket) => leading.expired(phase, ticket),
            OrchestratorMsg::Interrupt(by) => leading.interrupt(by),
        };
        leading.perform(&me, effects);
        Ok(())
    }

    async fn handle_supervisor_evt(
        &self,
        me: ActorRef<Self::Msg>,
        event: SupervisionEvent,
        leading: &mut Leading,
    ) -> Result<(), ActorProcessingErr> {
        if let SupervisionEvent::ActorFailed(_, why) = event {
            let effects = leading.run.broken(format!("the leader's books failed: {why}"));
            leading.perform(&me, effects);
        }
        Ok(())
    }
}

impl Leading {
    fn cluster_changed(&mut self, event: ClusterEvent) -> Vec<Effect> {
        match event {
            ClusterEvent::Joined { peer, hello, agent } => self.joined(peer, hello, agent),
            ClusterEvent::Returned { peer, agent } => {
                self.nodes.returned(&peer, agent);
                Vec::new()
            }
            ClusterEvent::Lost { peer, why } => self.lost(&peer, &why.to_string()),
            ClusterEvent::Clock { peer, offset_nanos, bound_nanos } => {
                self.nodes.clock(&peer, offset_nanos, bound_nanos);
                Vec::new()
            }
            ClusterEvent::Refused { name, why } => self.refused(format!("{name} was not let in: {why}")),
            ClusterEvent::DuplicateHost { host, peer, other } => {
                self.duplicate_host(format!("{peer} and {other} are both on {host}"))
            }
            ClusterEvent::Suspected { peer, missed } => {
                self.warn(&format!("{peer} has not answered {missed} beats"));
                Vec::new()
            }
            ClusterEvent::Fenced { peer } => {
                self.warn(&format!("{peer} came back after it was declared lost, and was turned away"));
                Vec::new()
            }
            // The count goes up with every port scan; it is told once, at the first.
            ClusterEvent::StrangerRefused { address, why, total } => {
                if !std::mem::replace(&mut self.has_seen_strangers, true) {
                    self.warn(&format!("somebody at {address} connected and was refused ({total} so far): {why}"));
                }
                Vec::new()
            }
            ClusterEvent::Recovered { .. } | ClusterEvent::Left { .. } => Vec::new(),
        }
    }

    /// The last one that is waited for gives every node its seat.
    fn joined(&mut self, peer: PeerId, hello: HelloBack, agent: AgentHandle) -> Vec<Effect> {
        self.nodes.joined(peer, hello, agent);
        if !self.is_gathering() || self.nodes.len() < self.expected.nodes as usize {
            return Vec::new();
        }
        match self.nodes.seat(&self.expected, std::process::id(), &self.own_host) {
            Ok(allocation) => {
                self.tell_seats(&allocation.seats);
                self.run.seated(allocation)
            }
            Err(error) => self.run.unseatable(error.to_string()),
        }
    }

    /// The books keep what was known of a node that is gone.
    fn lost(&mut self, peer: &PeerId, why: &str) -> Vec<Effect> {
        let known = self.figures();
        let Some(name) = self.nodes.lost(peer).and_then(|member| member.name) else { return Vec::new() };
        if let Some(figures) = known.into_iter().find(|(node, _)| *node == name) {
            self.write(BooksMsg::Known(Box::new(figures)));
        }
        self.tell(Happened::NodeLost { node: name.clone(), why: why.to_owned() });
        self.run.node_lost(&name, why)
    }

    /// Kept for the message of a run whose nodes did not come in time.
    fn refused(&mut self, sentence: String) -> Vec<Effect> {
        self.warn(&sentence);
        self.refused.push(sentence);
        Vec::new()
    }

    fn duplicate_host(&mut self, who: String) -> Vec<Effect> {
        if self.expected.may_share_hosts {
            return Vec::new();
        }
        let advice = "start one task per node (`--ntasks-per-node=1`), and name no host twice";
        self.run.unseatable(format!("{who} and would measure each other; {advice}"))
    }

    fn warn(&self, what: &str) {
        self.tell(Happened::Warned { what: what.to_owned() });
    }

    fn node_told(&mut self, told: NodeFact) -> Vec<Effect> {
        // Facts travel one by one and in order; one whose answer was lost on the way is sent again.
        let next = self.next_facts.entry((told.node.clone(), told.incarnation)).or_default();
        if told.seq < *next {
            return Vec::new();
        }
        *next = told.seq + 1;
        self.tell(Happened::NodeTold { node: told.node.clone(), fact: told.fact.clone() });
        self.run.fact(&told.node, &told.fact)
    }

    /// While nodes are waited for, the deadline's message says how many came and who was refused.
    fn expired(&mut self, phase: Phase, ticket: u64) -> Vec<Effect> {
        if !self.is_gathering() || self.run.phase() != Some(phase) {
            return self.run.expired(phase, ticket);
        }
        let here: Vec<&str> = self.nodes.iter().map(|member| member.hello.host.as_str()).collect();
        let here = if here.is_empty() { "nobody".to_owned() } else { here.join(", ") };
        let refused = if self.refused.is_empty() { String::new() } else { format!("; {}", self.refused.join("; ")) };
        self.run.unseatable(format!("{} of {} nodes joined in time ({here}){refused}", self.nodes.len(), self.expected.nodes))
    }

    /// Whether nodes are still waited for.
    fn is_gathering(&self) -> bool {
        self.run.phase() == Some(Phase::Initialization) && self.run.allocation().seats.is_empty()
    }

    /// A node that ends before it has a seat will never come; of a later one the cluster's watch knows what it means.
    fn processes_ended(&mut self, what: String) -> Vec<Effect> {
        if self.is_gathering() {
            return self.run.unseatable(what);
        }
        self.warn(&what);
        Vec::new()
    }

    fn interrupt(&mut self, by: String) -> Vec<Effect> {
        self.tell(Happened::Interrupted { by: by.clone() });
        self.run.interrupt(&by)
    }

    fn tell_seats(&self, seats: &[Seat]) {
        for seat in seats {
            let roles = seat.roles.iter().map(ToString::to_string).collect();
            self.tell(Happened::NodeJoined { node: seat.node.clone(), host: seat.host.clone(), roles });
        }
    }

    pub(super) fn tell(&self, happened: Happened) {
        let event = RunEvent { unix_nanos: unix_nanos(), trial: self.trial.clone(), happened };
        self.write(BooksMsg::Event(event));
    }

    pub(super) fn write(&self, message: BooksMsg) {
        if self.books.cast(message).is_err() {
            tracing::error!("the books are closed; what happens now is not written down");
        }
    }

    /// The only place that acts on the world.
    fn perform(&mut self, me: &ActorRef<OrchestratorMsg>, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::Enter(phase) => self.tell(Happened::PhaseEntered { phase }),
                Effect::Deadline { phase, ticket, after } => {
                    me.send_after(after.0, move || OrchestratorMsg::PhaseExpired(phase, ticket));
                }
                Effect::Order(node, order) => {
                    if matches!(order, Order::StopLoad { .. }) {
                        self.load.stopped_at.get_or_insert_with(unix_nanos);
                    }
                    self.order(me, node, order);
                }
                Effect::AskEndpoints(trial) => ask_endpoints(me.clone(), *trial),
                Effect::OpenTrial(plan) => {
                    self.trial = Some(plan.trial.id.clone());
                    self.load.begin();
                    self.open_trial(me, plan);
                }
                Effect::StartLoad(trial) => self.count_servers(me, trial),
                Effect::TakeStock { trial, executors } => self.take_stock(me, trial, executors),
                Effect::JoinLoad { trial, shares } => self.join_load(me, &trial, shares),
                Effect::DrillAt { trial, after, kill } => {
                    me.send_after(after.0 + self.start_ahead(), move || OrchestratorMsg::DrillDue(trial, kill));
                }
                Effect::CloseTrial { trial, is_complete } => self.close_trial(me, trial, is_complete),
                Effect::WriteOff(node) => self.write(BooksMsg::NodeLost(node)),
                Effect::Fail { phase, cause } => self.tell(Happened::PhaseFailed { phase, cause }),
                Effect::SearchOver { search, ending } => self.tell(Happened::SearchOver { search, ending }),
                Effect::Warn(what) => self.tell(Happened::Warned { what }),
                Effect::SaveReport => self.write(BooksMsg::Save(self.ending())),
                Effect::Finish => self.finish(me),
            }
        }
    }

    pub(super) fn order(&self, me: &ActorRef<OrchestratorMsg>, node: NodeName, order: Order) {
        let Some(member) = self.nodes.named(&node) else {
            tracing::debug!(%node, "an order for a node that is gone is left out");
            return;
        };
        let (agent, me, kind) = (member.agent.clone(), me.clone(), OrderKind::of(&order));
        tokio::spawn(async move {
            let message = match agent.order(order.clone()).await {
                Err(WireError::Unreachable | WireError::TimedOut) => {
                    tokio::time::sleep(ORDER_AGAIN_AFTER).await;
                    OrchestratorMsg::OrderUnanswered(node, Box::new(order))
                }
                answer => OrchestratorMsg::OrderAnswered(node, kind, answer.map_err(|error| error.to_string())),
            };
            tell(&me, message);
        });
    }

    /// What may have been carried out is simply said again, until the node is back, declared lost, or out of time.
    fn unanswered(&self, node: NodeName, order: Order) -> Vec<Effect> {
        if self.run.still_wants(&order) { vec![Effect::Order(node, order)] } else { Vec::new() }
    }

    fn open_trial(&self, me: &ActorRef<OrchestratorMsg>, plan: Box<Plan>) {
        let (books, me, trial, figures) = (self.books.clone(), me.clone(), plan.trial.id.clone(), self.figures());
        tokio::spawn(async move {
            let opened = call_t!(books, BooksMsg::Open, OPEN_WITHIN_MILLIS, plan, figures);
            let result = opened.unwrap_or_else(|error| Err(format!("the books did not answer: {error}")));
            tell(&me, OrchestratorMsg::TrialOpened(trial, result));
        });
    }

    /// A load whose rows cannot be kept is not sent any longer.
    fn await_failure(&self, me: &ActorRef<OrchestratorMsg>) {
        let (books, me) = (self.books.clone(), me.clone());
        tokio::spawn(async move {
            if let Ok(CallResult::Success(why)) = books.call(BooksMsg::GetFailure, None).await {
                tell(&me, OrchestratorMsg::BooksGaveUp(why));
            }
        });
    }

    fn close_trial(&mut self, me: &ActorRef<OrchestratorMsg>, trial: TrialId, is_complete: bool) {
        let (books, me, figures) = (self.books.clone(), me.clone(), self.figures());
        let ended_early = (!is_complete).then(|| self.load.stopped_at.unwrap_or_else(unix_nanos));
        let asked = self.load.asked.take();
        tokio::spawn(async move {
            if let Some(asked) = asked {
                let happened = Happened::ServersCounted { is_over: true, servers: asked.counts().await };
                let event = RunEvent { unix_nanos: unix_nanos(), trial: Some(trial.clone()), happened };
                if books.cast(BooksMsg::Event(event)).is_err() {
                    tracing::error!("the books are closed; what the servers counted is not written down");
                }
            }
            let closed = call_t!(books, BooksMsg::Close, CLOSE_WITHIN_MILLIS, trial.clone(), ended_early, figures);
            let result = closed.unwrap_or_else(|error| Err(format!("the books did not answer: {error}")));
            tell(&me, OrchestratorMsg::TrialClosed(trial, result));
        });
    }

    /// What is known of each node, for the trial's report.
    fn figures(&self) -> Vec<(NodeName, NodeFigures)> {
        let seats = self.run.allocation().seats.iter();
        let figures = |seat: &Seat| {
            let member = self.nodes.named(&seat.node);
            let clock = member.and_then(|member| member.clock);
            let figures = NodeFigures {
                address: seat.address.clone(),
                memory_bytes: member.map(|member| member.hello.memory_bytes),
                gpu_names: member.map(|member| member.hello.gpus.clone()).unwrap_or_default(),
                roles: seat.roles.iter().map(ToString::to_string).collect(),
                host: seat.host.clone(),
                cores: seat.cores,
                clock_offset_seconds: clock.map(|(offset, _)| offset as f64 / 1e9),
                clock_bound_seconds: clock.map(|(_, bound)| bound as f64 / 1e9),
                ..NodeFigures::default()
            };
            (seat.node.clone(), figures)
        };
        seats.map(figures).collect()
    }

    fn ending(&self) -> Ending {
        Ending {
            is_complete: self.run.is_complete(),
            failure: self.run.failure().cloned(),
            interrupted: self.run.interrupted().map(str::to_owned),
        }
    }

    fn finish(&mut self, me: &ActorRef<OrchestratorMsg>) {
        let Some(done) = self.done.take() else { return };
        let ending = self.ending();
        let (books, me) = (self.books.clone(), me.clone());
        tokio::spawn(async move {
            let report = call_t!(books, BooksMsg::Finish, FINISH_WITHIN_MILLIS, ending.clone());
            let report = report.map_err(|error| tracing::error!(%error, "the books did not answer")).ok();
            let outcome = Outcome { report, failure: ending.failure, interrupted: ending.interrupted };
            if done.send(outcome).is_err() {
                tracing::debug!("nobody waits for the run's outcome");
            }
            me.stop(None);
        });
    }
}

/// Tells the Orchestrator what came of something; the run may be over by then.
pub(super) fn tell(me: &ActorRef<OrchestratorMsg>, msg: OrchestratorMsg) {
    if me.cast(msg).is_err() {
        tracing::debug!("the run is over");
    }
}
