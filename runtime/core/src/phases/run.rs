//! The run as a value: facts in, effects out. It has no clock and does nothing itself.

mod teardown;

use std::collections::BTreeSet;

use super::{
    Effect, OnNodeLoss, OrderKind, Phase, WALL_TIME,
    agenda::{Agenda, Next},
    servers::Servers,
    time_left::TimeLeft,
    under_way::UnderWay,
};
use crate::{
    counting::Counting,
    facts::Fact,
    orders::{Admission, Order},
    plan::{Allocation, Plan},
    search::ProbeReport,
    trial::{DrillTarget, IMAGE_READ_WITHIN, ServiceSpec, Trial},
    units::{Nanos, NodeName, Span, TrialId},
};

/// What a run is to do.
#[derive(Debug, Clone)]
pub struct RunSpec {
    /// Its name.
    pub run: String,
    /// Its trials, in order.
    pub trials: Vec<Trial>,
    /// Probes of its searches that earlier parts of the run finished, in order.
    pub probes: Vec<ProbeReport>,
    /// The port a server takes where the recipe names none.
    pub default_port: u16,
    /// What to do when a node is lost; `None` bears the loss of a client and not that of a server.
    pub on_node_loss: Option<OnNodeLoss>,
    /// The pause between two samples of a node; `None` leaves monitoring out.
    pub monitor_interval: Option<Span>,
    /// The time in which every node must have joined and taken its roles.
    pub join_within: Span,
    /// Unix nanoseconds: a trial that cannot be over by then is not begun. `None` where the run may take its time.
    pub ends_at: Option<i128>,
}

/// Executors have so long to build their shares.
const PREPARE_WITHIN: Span = Span::from_secs(120);
/// Nodes have so long to begin sampling themselves.
const MONITOR_WITHIN: Span = Span::from_secs(10);
/// Beyond its planned time and its drain, a load may take so long for its last batches.
const FINISH_WITHIN: Span = Span::from_secs(20);
/// Servers that are told to stop have so long; longer than their own grace.
const STOP_SERVERS_WITHIN: Span = Span::from_secs(30);
/// The books have so long to write a trial's results down.
const CLOSE_WITHIN: Span = Span::from_secs(300);
/// An image of tens of gigabytes may be pulled before the first server starts.
const PULL_WITHIN: Span = Span::from_secs(3600);
/// A ready server is noticed this much later than its own deadline at most.
const READY_MARGIN: Span = Span::from_secs(5);

/// A load that begins now is over within this time.
pub(super) fn finish_within(plan: &Plan) -> Span {
    Span(plan.load_time_at_most().0 + plan.drain().0 + FINISH_WITHIN.0)
}

/// The run: which phase it is in, what it waits for, what comes next.
#[derive(Debug)]
pub struct Run {
    pub(super) spec: RunSpec,
    pub(super) phase: Option<Phase>,
    ticket: u64,
    pub(super) allocation: Allocation,
    /// Nodes whose answer the phase waits for.
    pub(super) awaited: BTreeSet<NodeName>,
    agenda: Agenda,
    plan: Option<Plan>,
    pub(super) servers: Servers,
    pub(super) trial: Option<UnderWay>,
    pub(super) time: TimeLeft,
    is_monitoring: bool,
    pub(super) failure: Option<(Phase, String)>,
    interrupted: Option<String>,
    /// Whether its report was written before its teardown was over.
    is_report_saved: bool,
}

impl Run {
    /// A run that has not begun.
    #[must_use]
    pub fn new(mut spec: RunSpec) -> Self {
        Self {
            agenda: Agenda::new(std::mem::take(&mut spec.trials), std::mem::take(&mut spec.probes)),
            time: TimeLeft { ends_at: spec.ends_at, ..TimeLeft::default() },
            spec,
            phase: None,
            ticket: 0,
            allocation: Allocation::default(),
            awaited: BTreeSet::new(),
            plan: None,
            servers: Servers::default(),
            trial: None,
            is_monitoring: false,
            failure: None,
            interrupted: None,
            is_report_saved: false,
        }
    }

    /// The phase it is in.
    #[must_use]
    pub fn phase(&self) -> Option<Phase> {
        self.phase
    }

    /// The nodes it runs on.
    #[must_use]
    pub fn allocation(&self) -> &Allocation {
        &self.allocation
    }

    /// The phase that could not be finished, and why.
    #[must_use]
    pub fn failure(&self) -> Option<&(Phase, String)> {
        self.failure.as_ref()
    }

    /// What interrupted it.
    #[must_use]
    pub fn interrupted(&self) -> Option<&str> {
        self.interrupted.as_deref()
    }

    /// Whether every planned trial was finished.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.agenda.is_complete()
    }

    /// It is this late, Unix nanoseconds; told before whatever else is told.
    pub fn clock(&mut self, unix_nanos: i128) {
        self.time.now = unix_nanos;
    }

    /// The run begins: nodes may join.
    pub fn start(&mut self) -> Vec<Effect> {
        let mut effects = self.enter(Phase::Initialization);
        effects.push(self.deadline(self.spec.join_within));
        effects
    }

    /// Every node that is needed has joined.
    pub fn seated(&mut self, allocation: Allocation) -> Vec<Effect> {
        if self.phase != Some(Phase::Initialization) {
            return Vec::new();
        }
        self.awaited = allocation.seats.iter().map(|seat| seat.node.clone()).collect();
        self.allocation = allocation;
        let admit = |seat: &crate::plan::Seat| {
            let admission = Admission {
                run: self.spec.run.clone(),
                node: seat.node.clone(),
                ordinal: seat.ordinal,
                roles: seat.roles.clone(),
            };
            Effect::Order(seat.node.clone(), Order::Admit(admission))
        };
        self.allocation.seats.iter().map(admit).collect()
    }

    /// The nodes that are needed cannot be had.
    pub fn unseatable(&mut self, why: String) -> Vec<Effect> {
        if self.phase == Some(Phase::Initialization) { self.fail(why) } else { Vec::new() }
    }

    /// A node answered an order, or did not.
    pub fn answered(&mut self, node: &NodeName, order: OrderKind, result: Result<(), String>) -> Vec<Effect> {
        if !self.allocation.seats.iter().any(|seat| seat.node == *node) {
            // It was lost meanwhile, and that was borne or not already.
            return Vec::new();
        }
        match (order, result, self.phase) {
            (OrderKind::Admit, Ok(()), Some(Phase::Initialization)) => {
                self.awaited.remove(node);
                if self.awaited.is_empty() { self.next_trial() } else { Vec::new() }
            }
            (OrderKind::StartMonitoring, answer, Some(Phase::MonitoringSetup)) => {
                self.awaited.remove(node);
                let mut effects: Vec<Effect> =
                    answer.err().map(|why| Effect::Warn(format!("{node} does not sample itself: {why}"))).into_iter().collect();
                if self.awaited.is_empty() {
                    effects.extend(self.launch());
                }
                effects
            }
            (_, Ok(()), _) => Vec::new(),
            (OrderKind::Admit, Err(why), Some(Phase::Initialization)) => self.fail(format!("{node} takes no role: {why}")),
            (OrderKind::StartServer, Err(why), Some(Phase::ServiceDeployment)) => {
                self.fail(format!("{node} starts no server: {why}"))
            }
            (OrderKind::PrepareLoad, Err(why), Some(Phase::ClientLaunch)) => self.fail(format!("{node} prepares no load: {why}")),
            (OrderKind::PrepareLoad, Err(why), Some(Phase::Execution)) => self.takes_nothing_over(node, &why),
            (OrderKind::StartLoad, Err(why), Some(Phase::Execution)) => self.fail(format!("{node} starts no load: {why}")),
            (_, Err(why), _) => vec![Effect::Warn(format!("{node} did not do as it was told: {why}"))],
        }
    }

    /// Whether an order that got no answer is still worth repeating: nothing that came after it made it stale.
    #[must_use]
    pub fn still_wants(&self, order: &Order) -> bool {
        let is_of = |trial: &TrialId| self.trial.as_ref().is_some_and(|under_way| under_way.id() == trial);
        match order {
            Order::Admit(_) => self.phase == Some(Phase::Initialization),
            Order::StartMonitoring { .. } => self.phase == Some(Phase::MonitoringSetup),
            Order::StartServer(order) => self.phase == Some(Phase::ServiceDeployment) && self.servers.is_starting(order),
            Order::StopServer { server } => self.servers.is_ending(*server),
            Order::PrepareLoad(share) => {
                matches!(self.phase, Some(Phase::ClientLaunch | Phase::Execution))
                    && self.trial.as_ref().is_some_and(|under_way| under_way.awaits(share))
            }
            Order::StartLoad { trial, .. } | Order::LeaveServer { trial, .. } => self.is_executing(trial),
            Order::EndWindow { trial, .. } | Order::StopLoad { trial } => is_of(trial),
            Order::Drill { .. } => false,
        }
    }

    /// Whether this trial's load is to run now.
    #[must_use]
    pub fn is_executing(&self, trial: &TrialId) -> bool {
        self.phase == Some(Phase::Execution) && self.trial.as_ref().is_some_and(|under_way| under_way.id() == trial)
    }

    /// A node told something.
    pub fn fact(&mut self, node: &NodeName, fact: &Fact) -> Vec<Effect> {
        match fact {
            Fact::ServerReady { server, url, took, counting, http_version } => {
                self.time.slowest_start = self.time.slowest_start.max(*took);
                self.servers.speaks(url, *http_version);
                self.servers.ready(*server, url.clone(), counting.clone());
                self.deployed()
            }
            Fact::PartReady { server, .. } => {
                self.servers.ready(*server, String::new(), None);
                self.deployed()
            }
            Fact::ServerStarted { server, ports, .. } => {
                self.servers.started(*server, ports);
                self.deployed()
            }
            Fact::ServerFailed { server, why } => {
                self.servers.gone(*server);
                self.server_trouble(format!("{} on {node} did not become ready: {why}", self.servers.name(*server)))
            }
            Fact::ServerExited { server, why } => {
                self.servers.gone(*server);
                self.server_trouble(format!("{} on {node} ended by itself: {why}", self.servers.name(*server)))
            }
            Fact::ServerStopped { server } => {
                self.servers.stopped(*server);
                match self.phase {
                    Some(Phase::Teardown) => self.tear_down(),
                    Some(Phase::ServiceDeployment) if self.servers.are_ending() => self.replace_servers(),
                    _ => Vec::new(),
                }
            }
            Fact::LoadPrepared { trial, executor } => {
                let phase = self.phase;
                let Some(under_way) = self.under_way(trial) else { return Vec::new() };
                under_way.prepared(*executor);
                match phase {
                    Some(Phase::ClientLaunch) if under_way.is_prepared() => self.execute(),
                    Some(Phase::Execution) => under_way.join().into_iter().collect(),
                    _ => Vec::new(),
                }
            }
            Fact::LoadFailed { trial, executor, why } => {
                self.gave_up(trial, *executor, format!("executor {executor} on {node} cannot send its share: {why}"))
            }
            Fact::ExecutorGaveUp { trial, executor, why } => {
                self.gave_up(trial, *executor, format!("executor {executor} on {node} failed more often than is borne: {why}"))
            }
            Fact::LoadFinished { trial, executor } => {
                let Some(under_way) = self.under_way(trial) else { return Vec::new() };
                under_way.over(*executor);
                self.load_over(None)
            }
            Fact::ImageRead { .. }
            | Fact::ServerProgressed { .. }
            | Fact::ExecutorRestarted { .. }
            | Fact::Calibrated { .. }
            | Fact::ChildRestarted { .. }
            | Fact::DatasetRead { .. }
            | Fact::OtherModel { .. }
            | Fact::Warned { .. } => Vec::new(),
        }
    }

    /// The trial that is under way, if it is this one: of another one nothing counts any more.
    pub(super) fn under_way(&mut self, trial: &TrialId) -> Option<&mut UnderWay> {
        self.trial.as_mut().filter(|under_way| under_way.id() == trial)
    }

    /// Where the trial that is under way asks, by the servers' ordinals, and what answers there.
    #[must_use]
    pub fn asked_servers(&self) -> Option<(Vec<String>, ServiceSpec)> {
        Some((self.servers.urls()?, self.trial.as_ref()?.plan.trial.service.clone()))
    }

    /// The URLs behind which only HTTP/2 is spoken.
    #[must_use]
    pub fn http2_servers(&self) -> &BTreeSet<String> {
        self.servers.http2()
    }

    /// Servers that already run answered as they should, told this of their tokens, and speak only HTTP/2 at these URLs.
    pub fn endpoints_ready(&mut self, counting: Option<Counting>, http2: BTreeSet<String>) -> Vec<Effect> {
        let Some(plan) = self.plan.as_ref().filter(|_| self.phase == Some(Phase::ServiceDeployment)) else { return Vec::new() };
        self.servers.endpoints_ready(&plan.trial.service, counting, http2);
        self.monitor()
    }

    /// A server that already runs does not answer as it should.
    pub fn endpoints_failed(&mut self, why: String) -> Vec<Effect> {
        if self.phase == Some(Phase::ServiceDeployment) { self.fail(why) } else { Vec::new() }
    }

    /// The books of a trial are open and its folder is made, or why not: a load whose rows cannot be kept is not sent.
    pub fn trial_opened(&mut self, trial: &TrialId, result: Result<(), String>) -> Vec<Effect> {
        let is_now = self.is_executing(trial);
        match result {
            Ok(()) if is_now => vec![Effect::StartLoad(trial.clone())],
            Ok(()) => Vec::new(),
            Err(why) => self.fail(format!("the results of {trial} cannot be written: {why}")),
        }
    }

    /// Every executor knows the instant at which it starts.
    pub fn load_started(&mut self, trial: &TrialId) -> Vec<Effect> {
        let Some(under_way) = self.under_way(trial) else { return Vec::new() };
        let load = &under_way.plan.trial.load;
        let drill = |drill: &crate::trial::Drill| Effect::DrillAt {
            trial: trial.clone(),
            after: Span(load.warmup.0 + drill.at.0),
            kill: drill.kill,
        };
        load.drills.iter().map(drill).collect()
    }

    /// The figure that ends this trial's window is sure: the window ends everywhere `at` after the trial's start.
    pub fn sure_enough(&mut self, trial: &TrialId, at: Nanos) -> Vec<Effect> {
        let is_now = self.phase == Some(Phase::Execution);
        match self.under_way(trial).filter(|under_way| is_now && !under_way.is_closing) {
            Some(under_way) => {
                let mut effects = under_way.end_window(at);
                effects.extend(under_way.leave_out_drills(at));
                effects
            }
            None => Vec::new(),
        }
    }

    /// It is time for a drill.
    pub fn drill_due(&mut self, trial: &TrialId, kill: DrillTarget) -> Vec<Effect> {
        let is_now = self.is_executing(trial);
        if !self.trial.as_mut().is_some_and(|under_way| is_now && under_way.takes_drill(kill)) {
            return Vec::new();
        }
        let client = || self.trial.as_ref().and_then(|under_way| under_way.unfinished().pop_last());
        let node = match kill {
            DrillTarget::Server => self.servers.some_node(),
            DrillTarget::Executor | DrillTarget::Node => client(),
        };
        match node.cloned() {
            Some(node) => vec![Effect::Order(node, Order::Drill { kill })],
            None => vec![Effect::Warn(format!("a drill found nothing to kill: {kill}"))],
        }
    }

    /// A trial's books are closed and its results are on disk, with what it came to where it is a probe; or why they are not.
    pub fn trial_closed(&mut self, trial: &TrialId, result: Result<Option<ProbeReport>, String>) -> Vec<Effect> {
        let Some(under_way) = self.trial.take_if(|under_way| under_way.id() == trial) else { return Vec::new() };
        let mut effects = Vec::new();
        match result {
            Ok(_) if under_way.is_stopped_early => {}
            Ok(probe) => self.agenda.closed(&under_way.plan.trial, probe),
            Err(why) => {
                self.agenda.give_up(&under_way.plan.trial);
                effects.push(Effect::Warn(format!("the results of {trial} are incomplete: {why}")));
            }
        }
        effects.extend(if self.phase == Some(Phase::Teardown) { self.tear_down() } else { self.next_trial() });
        effects
    }

    /// The time allowed for something ran out; stale if the run has moved on.
    pub fn expired(&mut self, phase: Phase, ticket: u64) -> Vec<Effect> {
        if ticket != self.ticket || self.phase != Some(phase) {
            return Vec::new();
        }
        let missing = self.awaited.iter().map(NodeName::as_str).collect::<Vec<_>>().join(", ");
        match phase {
            Phase::Initialization => self.fail(match missing.as_str() {
                "" => format!("not every node joined within {}", self.spec.join_within),
                missing => format!("{missing} took no role within {}", self.spec.join_within),
            }),
            Phase::ServiceDeployment => self.fail(format!("not ready in time: {}", self.servers.left())),
            Phase::MonitoringSetup => {
                self.awaited.clear();
                let mut effects = vec![Effect::Warn(format!("{missing} did not begin to sample within {MONITOR_WITHIN}"))];
                effects.extend(self.launch());
                effects
            }
            Phase::ClientLaunch => self.fail(format!("{} built no share in time", self.unfinished())),
            Phase::Execution => self.fail(format!("{} did not finish in time", self.unfinished())),
            Phase::Teardown => self.tear_down_regardless(),
            Phase::Report => Vec::new(),
        }
    }

    /// A signal, a person or the wall-time limit ends the run.
    pub fn interrupt(&mut self, by: &str) -> Vec<Effect> {
        if self.interrupted.is_some() {
            return Vec::new();
        }
        self.interrupted = Some(by.to_owned());
        match self.phase {
            None | Some(Phase::Report) => Vec::new(),
            Some(Phase::Teardown) => self.tear_down(),
            Some(_) => self.enter_teardown(),
        }
    }

    /// The next trial would not be over in time: the run ends in order, with what it has.
    fn out_of_time(&mut self, why: &str) -> Vec<Effect> {
        let by = format!("{WALL_TIME}: {why}");
        let mut effects = vec![Effect::Warn(by.clone())];
        effects.extend(self.interrupt(&by));
        effects
    }

    /// The leader itself cannot go on with its work: nothing more can be counted or written.
    pub fn broken(&mut self, why: String) -> Vec<Effect> {
        self.fail(why)
    }

    fn unfinished(&self) -> String {
        let nodes = self.trial.iter().flat_map(UnderWay::unfinished).map(NodeName::as_str);
        nodes.collect::<Vec<_>>().join(", ")
    }

    fn enter(&mut self, phase: Phase) -> Vec<Effect> {
        self.phase = Some(phase);
        // A deadline that was set for what went before is stale now.
        self.ticket += 1;
        vec![Effect::Enter(phase)]
    }

    pub(super) fn deadline(&mut self, after: Span) -> Effect {
        self.ticket += 1;
        Effect::Deadline { phase: self.phase.unwrap_or(Phase::Initialization), ticket: self.ticket, after }
    }

    pub(super) fn fail(&mut self, cause: String) -> Vec<Effect> {
        let phase = self.phase.unwrap_or(Phase::Initialization);
        if self.failure.is_some() || phase >= Phase::Teardown {
            return vec![Effect::Warn(cause)];
        }
        self.failure = Some((phase, cause.clone()));
        let mut effects = vec![Effect::Fail { phase, cause }];
        effects.extend(self.enter_teardown());
        effects
    }

    fn next_trial(&mut self) -> Vec<Effect> {
        let trial = match self.agenda.next() {
            Next::Trial(trial) => *trial,
            Next::SearchOver(search, ending) => {
                let mut effects = vec![Effect::SearchOver { search, ending }];
                effects.extend(self.next_trial());
                return effects;
            }
            Next::Nothing => return self.enter_teardown(),
        };
        let planned = Plan::of(&trial, &self.allocation, self.spec.default_port);
        let lacks = |plan: &Plan| self.time.lacks(plan, !plan.servers.is_empty() && !self.servers.serve(plan));
        if let Some(why) = planned.as_ref().ok().and_then(lacks) {
            return self.out_of_time(&why);
        }
        match planned {
            Ok(plan) if self.servers.serve(&plan) => {
                self.plan = Some(plan);
                self.monitor()
            }
            Ok(plan) => {
                self.plan = Some(plan);
                let mut effects = self.enter(Phase::ServiceDeployment);
                effects.extend(self.replace_servers());
                effects
            }
            Err(error) => {
                let mut effects = self.enter(Phase::ServiceDeployment);
                effects.extend(self.fail(error.to_string()));
                effects
            }
        }
    }

    /// Ends the servers of the trial before, step by step, and then starts those of the next one.
    pub(super) fn replace_servers(&mut self) -> Vec<Effect> {
        let mut effects = self.servers.stop();
        if self.servers.are_gone() {
            effects.extend(self.deploy());
        } else if !effects.is_empty() {
            effects.push(self.deadline(STOP_SERVERS_WITHIN));
        }
        effects
    }

    /// Something of the servers is up: what waited for it is started, or all of them are ready.
    pub(super) fn deployed(&mut self) -> Vec<Effect> {
        if self.phase != Some(Phase::ServiceDeployment) {
            return Vec::new();
        }
        let effects = self.servers.due();
        if effects.is_empty() && self.servers.urls().is_some() { self.monitor() } else { effects }
    }

    fn deploy(&mut self) -> Vec<Effect> {
        let Some(plan) = &self.plan else { return Vec::new() };
        let service = &plan.trial.service;
        let pulls = if service.remote.is_some() { PULL_WITHIN } else { Span::ZERO };
        let starts = service.ready_limit().0.saturating_mul(service.layout.stages());
        let reads = if service.image().is_some() { IMAGE_READ_WITHIN } else { Span::ZERO };
        let within = Span(starts + pulls.0 + reads.0 + READY_MARGIN.0);
        let mut effects = if plan.trial.service.endpoints.is_empty() {
            self.servers.start(plan)
        } else {
            self.servers.forget();
            vec![Effect::AskEndpoints(Box::new(plan.trial.clone()))]
        };
        effects.push(self.deadline(within));
        effects
    }

    fn monitor(&mut self) -> Vec<Effect> {
        if self.is_monitoring {
            return self.launch();
        }
        self.is_monitoring = true;
        let mut effects = self.enter(Phase::MonitoringSetup);
        let Some(interval) = self.spec.monitor_interval else {
            effects.extend(self.launch());
            return effects;
        };
        self.awaited = self.allocation.seats.iter().map(|seat| seat.node.clone()).collect();
        effects.extend(self.awaited.iter().map(|node| Effect::Order(node.clone(), Order::StartMonitoring { interval })));
        effects.push(self.deadline(MONITOR_WITHIN));
        effects
    }

    pub(super) fn launch(&mut self) -> Vec<Effect> {
        let (Some(plan), Some(ready)) = (self.plan.take(), self.servers.all_ready()) else {
            return self.fail("no server is left".into());
        };
        // Nodes may have gone since the trial was placed: minutes pass while a server loads its model.
        let plan = match Plan::of(&plan.trial, &self.allocation, self.spec.default_port) {
            Ok(plan) => plan,
            Err(error) => return self.fail(error.to_string()),
        };
        // A server's start may have taken what was left.
        if let Some(why) = self.time.lacks(&plan, false) {
            return self.out_of_time(&why);
        }
        let mut effects = self.enter(Phase::ClientLaunch);
        let shares = plan.shares_at(&ready);
        effects.extend(plan.unlike_tokenizer(&shares).map(Effect::Warn));
        let prepare_within = Span(PREPARE_WITHIN.0 + plan.calibration().0);
        let (under_way, orders) = UnderWay::launch(plan, shares);
        self.trial = Some(under_way);
        effects.extend(orders);
        effects.push(self.deadline(prepare_within));
        effects
    }

    /// A client went while shares were being built: build them anew on those that are left.
    pub(super) fn replan(&mut self) -> Vec<Effect> {
        let Some(under_way) = self.trial.take() else { return Vec::new() };
        match Plan::of(&under_way.plan.trial, &self.allocation, self.spec.default_port) {
            Ok(plan) => {
                self.plan = Some(plan);
                self.launch()
            }
            Err(error) => self.fail(error.to_string()),
        }
    }

    fn execute(&mut self) -> Vec<Effect> {
        let mut effects = self.enter(Phase::Execution);
        let Some(under_way) = &mut self.trial else { return effects };
        under_way.is_started = true;
        let plan = under_way.plan.clone();
        effects.push(self.deadline(finish_within(&plan)));
        effects.push(Effect::OpenTrial(Box::new(plan)));
        effects
    }

    /// An executor is through, one way or the other.
    pub(super) fn load_over(&mut self, trouble: Option<String>) -> Vec<Effect> {
        let Some(under_way) = &mut self.trial else { return Vec::new() };
        if self.phase == Some(Phase::Teardown) {
            return self.tear_down();
        }
        if under_way.is_deserted() {
            let cause = trouble.unwrap_or_else(|| "no executor is left".into());
            return self.fail(cause);
        }
        if self.spec.on_node_loss == Some(OnNodeLoss::Fail) && trouble.is_some() {
            return self.fail(trouble.unwrap_or_default());
        }
        let mut effects: Vec<Effect> = trouble.map(Effect::Warn).into_iter().collect();
        if self.phase == Some(Phase::Execution) && under_way.is_over() && !under_way.is_closing {
            under_way.is_closing = true;
            let trial = under_way.id().clone();
            effects.extend(under_way.leave_out_drills(Nanos(0)));
            effects.push(Effect::CloseTrial { trial, is_complete: true });
            effects.push(self.deadline(CLOSE_WITHIN));
        }
        effects
    }
}
