//! Watches a node's Executor: builds its share, starts it, and starts it again under a new epoch when it
//! fails, once the old tasks are gone and what was in flight is written off.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use hb_core::{
    batch::Source,
    facts::Fact,
    orders::LoadShare,
    sockets::Wanted,
    units::{Nanos, Span, TrialId},
};
use ractor::{Actor, ActorId, ActorProcessingErr, ActorRef, RpcReplyPort, SupervisionEvent};
use tokio::{runtime::Handle, time::Instant};

use super::{AbortOnDrop, Executor, ExecutorArguments, ExecutorMsg, calibration::calibrate};
use crate::{
    lease::Lease,
    limits,
    load::{Clock, Ledger, Prepared},
    messages::{ExecutorSupervisorMsg, OrderedBy, Playing, UplinkMsg},
    server_manager::own_headers::OwnHeaders,
    supervision::Intensity,
    wall_clock::unix_nanos,
    wire::{WireError, answer},
};

/// What an ExecutorSupervisor is given.
pub struct SupervisorArguments {
    /// Takes windows and facts.
    pub uplink: ActorRef<UplinkMsg>,
    /// The runtime of the load.
    pub load_runtime: Handle,
    /// The life of this process.
    pub incarnation: u64,
    /// Without it nothing new is sent.
    pub lease: Lease,
}

/// The behaviour; its state is [`Supervising`].
pub struct ExecutorSupervisor;

/// A share of the trial that is under way.
struct Work {
    share: LoadShare,
    ordered_by: OrderedBy,
    /// Which build of a share it waits for: a trial may be prepared anew with another share.
    build: u64,
    /// A calibration goes on for seconds; it ends with the work.
    _building: AbortOnDrop,
    prepared: Option<Arc<Prepared>>,
    /// Servers to leave that were named while it was built.
    left: BTreeSet<u32>,
    ledger: Option<Arc<Ledger>>,
    clock: Option<Clock>,
    executor: Option<ActorRef<ExecutorMsg>>,
    intensity: Intensity,
    failure: Option<Failure>,
    is_stopped: bool,
}

/// An executor that failed and whose tasks may not be gone yet.
struct Failure {
    at: Instant,
    why: String,
    /// Whether it is started again, or written off.
    is_borne: bool,
}

/// What a node's load is doing.
pub struct Supervising {
    arguments: SupervisorArguments,
    builds: u64,
    /// By executor: the node's own share, and those that it took over from lost nodes.
    works: BTreeMap<u32, Work>,
    stopped: Vec<RpcReplyPort<()>>,
}

impl Actor for ExecutorSupervisor {
    type Msg = ExecutorSupervisorMsg;
    type State = Supervising;
    type Arguments = SupervisorArguments;

    async fn pre_start(&self, _: ActorRef<Self::Msg>, arguments: SupervisorArguments) -> Result<Supervising, ActorProcessingErr> {
        Ok(Supervising { arguments, builds: 0, works: BTreeMap::new(), stopped: Vec::new() })
    }

    async fn handle(&self, me: ActorRef<Self::Msg>, msg: Self::Msg, state: &mut Supervising) -> Result<(), ActorProcessingErr> {
        match msg {
            ExecutorSupervisorMsg::Prepare(share) => state.prepare(&me, *share),
            ExecutorSupervisorMsg::PrepareOwn(share, reply) => answer(reply, state.prepare_own(&me, *share)),
            ExecutorSupervisorMsg::Prepared(build, result) => state.prepared(&me, build, result).await,
            ExecutorSupervisorMsg::Start { trial, executor, start_unix_nanos, since } => {
                let clock = Clock::starting_at(start_unix_nanos, unix_nanos()).joining(since);
                state.start(&me, &trial, executor, clock).await;
            }
            ExecutorSupervisorMsg::EndWindow(trial, at) => state.end_window(&trial, at),
            ExecutorSupervisorMsg::LeaveServer(trial, server) => state.leave_server(&trial, server),
            ExecutorSupervisorMsg::Stop(trial) => state.stop(&trial),
            ExecutorSupervisorMsg::PanicOne => state.panic_one(),
            ExecutorSupervisorMsg::Recover(trial, executor) => state.recover(&me, &trial, executor).await?,
            ExecutorSupervisorMsg::Finished(executor) => state.finished(executor),
            ExecutorSupervisorMsg::GetStopped(reply) => state.stop_all(reply),
        }
        Ok(())
    }

    async fn handle_supervisor_evt(
        &self,
        me: ActorRef<Self::Msg>,
        event: SupervisionEvent,
        state: &mut Supervising,
    ) -> Result<(), ActorProcessingErr> {
        match event {
            SupervisionEvent::ActorFailed(actor, why) => state.failed(&me, actor.get_id(), &why.to_string()),
            SupervisionEvent::ActorTerminated(..) => state.answer_stopped(),
            SupervisionEvent::ActorStarted(_)
            | SupervisionEvent::ProcessGroupChanged(_)
            | SupervisionEvent::PidLifecycleEvent(_) => {}
        }
        Ok(())
    }
}

impl Supervising {
    /// Builds a share for the node's own endpoint, where nothing else is built or runs: not even a share that a trial
    /// of the leader gave up may be pushed out by it.
    fn prepare_own(&mut self, me: &ActorRef<ExecutorSupervisorMsg>, share: LoadShare) -> Result<(), WireError> {
        if let Some(work) = self.works.values().next() {
            return Err(WireError::Refused(match work.ordered_by {
                OrderedBy::Endpoint => "a load runs on this node already; stop it first, or wait for its end".to_owned(),
                OrderedBy::Leader => format!(
                    "this node has a part in trial `{}` of the run that it belongs to; wait for its end",
                    work.share.trial
                ),
            }));
        }
        self.begin_build(me, share, OrderedBy::Endpoint);
        Ok(())
    }

    fn prepare(&mut self, me: &ActorRef<ExecutorSupervisorMsg>, share: LoadShare) {
        if self.works.get(&share.executor).is_some_and(|work| work.share == share) {
            // The order was repeated, because its answer was lost on the way.
            return;
        }
        // A trial that has not started may be given other shares; nobody else's may come in between.
        if share.left_by.is_none() {
            self.works.retain(|_, work| work.clock.is_some() || work.share.trial != share.trial);
        }
        // What was taken over in an earlier trial too late to be started was over with it.
        let is_over = |work: &Work| work.share.trial != share.trial && work.share.left_by.is_some() && work.clock.is_none();
        self.works.retain(|_, work| !is_over(work));
        let is_in_the_way = |work: &Work| {
            let has_begun = work.clock.is_some() && (share.left_by.is_none() || work.share.executor == share.executor);
            has_begun || work.share.trial != share.trial
        };
        if let Some(work) = self.works.values().find(|work| is_in_the_way(work)) {
            let why = match work.ordered_by {
                OrderedBy::Leader => "this node's load of another trial is not over",
                OrderedBy::Endpoint => {
                    "a load that `POST /start` began on this node is not over; end such loads with `POST /stop` before a run's"
                }
            };
            let refused = Fact::LoadFailed { trial: share.trial.clone(), executor: share.executor, why: why.into() };
            self.post(OrderedBy::Leader.fact(refused));
            return;
        }
        self.begin_build(me, share, OrderedBy::Leader);
    }

    fn begin_build(&mut self, me: &ActorRef<ExecutorSupervisorMsg>, share: LoadShare, ordered_by: OrderedBy) {
        self.builds += 1;
        let (me, build_number, given, executor) = (me.clone(), self.builds, share.clone(), share.executor);
        let (uplink, lease) = (self.arguments.uplink.clone(), self.arguments.lease.clone());
        let building = self.arguments.load_runtime.spawn(async move {
            let result = build(given, ordered_by, &uplink, lease).await;
            // The node may be ending.
            let _ = me.cast(ExecutorSupervisorMsg::Prepared(build_number, result));
        });
        let work = Work {
            share,
            ordered_by,
            build: build_number,
            _building: AbortOnDrop(building.abort_handle()),
            prepared: None,
            left: BTreeSet::new(),
            ledger: None,
            clock: None,
            executor: None,
            intensity: Intensity::default(),
            failure: None,
            is_stopped: false,
        };
        self.works.insert(executor, work);
    }

    async fn prepared(&mut self, me: &ActorRef<ExecutorSupervisorMsg>, build: u64, result: Result<Arc<Prepared>, String>) {
        let incarnation = self.arguments.incarnation;
        let Some(work) = self.works.values_mut().find(|work| work.build == build) else { return };
        let (trial, executor, ordered_by) = (work.share.trial.clone(), work.share.executor, work.ordered_by);
        let fact = match result {
            Ok(prepared) => {
                // What was ordered while it was built holds for it, too.
                work.left.iter().for_each(|server| prepared.leave_server(*server));
                let source = Source { trial: trial.clone(), node: work.share.node.clone(), incarnation, executor, epoch: 0 };
                work.ledger = Some(Ledger::new(source));
                work.prepared = Some(prepared);
                let (threads, service) = (work.share.threads(), work.share.service.service.clone());
                self.post(UplinkMsg::Plays(Playing { trial: trial.clone(), executor, threads, service }));
                Fact::LoadPrepared { trial, executor }
            }
            Err(why) => {
                self.works.remove(&executor);
                Fact::LoadFailed { trial, executor, why }
            }
        };
        self.post(ordered_by.fact(fact));
        // A start that came before the share was built was only noted.
        self.spawn(me, executor).await;
    }

    async fn start(&mut self, me: &ActorRef<ExecutorSupervisorMsg>, trial: &TrialId, executor: u32, clock: Clock) {
        let Some(work) = self.work(trial, executor).filter(|work| work.clock.is_none()) else { return };
        work.clock = Some(clock);
        self.spawn(me, executor).await;
    }

    /// The work of an executor in this trial.
    fn work(&mut self, trial: &TrialId, executor: u32) -> Option<&mut Work> {
        self.works.get_mut(&executor).filter(|work| work.share.trial == *trial)
    }

    /// All works of this trial.
    fn of<'a>(&'a self, trial: &'a TrialId) -> impl Iterator<Item = &'a Work> {
        self.works.values().filter(move |work| work.share.trial == *trial)
    }

    async fn spawn(&mut self, me: &ActorRef<ExecutorSupervisorMsg>, number: u32) {
        let Some(work) = self.works.get_mut(&number) else { return };
        let (Some(prepared), Some(ledger), Some(clock)) = (&work.prepared, &work.ledger, work.clock) else { return };
        ledger.joins(clock.since);
        let arguments = ExecutorArguments {
            number,
            prepared: Arc::clone(prepared),
            ledger: Arc::clone(ledger),
            clock,
            ordered_by: work.ordered_by,
            load_runtime: self.arguments.load_runtime.clone(),
            uplink: self.arguments.uplink.clone(),
            supervisor: me.clone(),
        };
        match Actor::spawn_linked(None, Executor, arguments, me.get_cell()).await {
            Ok((executor, _)) => work.executor = Some(executor),
            Err(error) => {
                let (trial, executor, ordered_by) = (work.share.trial.clone(), work.share.executor, work.ordered_by);
                self.post(ordered_by.fact(Fact::LoadFailed { trial, executor, why: error.to_string() }));
            }
        }
    }

    /// The Executor failed: bear it or not, in any case only once its tasks are gone.
    fn failed(&mut self, me: &ActorRef<ExecutorSupervisorMsg>, actor: ActorId, why: &str) {
        let is_its = |work: &&mut Work| work.executor.as_ref().is_some_and(|executor| executor.get_id() == actor);
        let Some(work) = self.works.values_mut().find(is_its) else { return };
        work.executor = None;
        let now = Instant::now();
        tracing::warn!(trial = %work.share.trial, why, "an executor failed");
        let pause = work.intensity.failed(now.into_std());
        work.failure = Some(Failure { at: now, why: why.to_owned(), is_borne: pause.is_some() });
        let (trial, executor) = (work.share.trial.clone(), work.share.executor);
        me.send_after(pause.unwrap_or_default(), move || ExecutorSupervisorMsg::Recover(trial, executor));
    }

    /// Goes on after a failure, as soon as nothing of the old load is left: a second load beside it would be a lie.
    async fn recover(
        &mut self,
        me: &ActorRef<ExecutorSupervisorMsg>,
        trial: &TrialId,
        executor: u32,
    ) -> Result<(), ActorProcessingErr> {
        let Some(work) = self.work(trial, executor) else { return Ok(()) };
        let (Some(ledger), Some(failure)) = (&work.ledger, work.failure.take()) else { return Ok(()) };
        if is_held_elsewhere(ledger) {
            // A thread that is blocked cannot be ended from here. This actor fails, and with it the node: the leader
            // sees a lost node, which is the truth.
            if failure.at.elapsed() > HELD_AT_MOST {
                let seconds = HELD_AT_MOST.as_secs();
                return Err(format!("the old load still holds its threads {seconds} s after it failed: {}", failure.why).into());
            }
            work.failure = Some(failure);
            let trial = trial.clone();
            me.send_after(ASK_AGAIN_AFTER, move || ExecutorSupervisorMsg::Recover(trial, executor));
            return Ok(());
        }
        let (trial, is_stopped, ordered_by) = (trial.clone(), work.is_stopped, work.ordered_by);
        let (lost, gap) = (self.bury(executor), Span(failure.at.elapsed()));
        if is_stopped {
            self.finished(executor);
        } else if failure.is_borne {
            self.spawn(me, executor).await;
            let epoch = self.works.get(&executor).and_then(|work| work.ledger.as_ref()).map_or(0, |ledger| ledger.epoch());
            self.post(ordered_by.fact(Fact::ExecutorRestarted { trial, executor, epoch, lost, gap, why: failure.why }));
        } else {
            self.works.remove(&executor);
            self.post(ordered_by.fact(Fact::ExecutorGaveUp { trial, executor, why: failure.why }));
            self.answer_stopped();
        }
        Ok(())
    }

    /// Writes off what the dead Executor had in flight, and posts all that it had not.
    fn bury(&self, executor: u32) -> u64 {
        let Some(work) = self.works.get(&executor) else { return 0 };
        let (Some(ledger), Some(clock)) = (&work.ledger, work.clock) else { return 0 };
        let buried = ledger.bury(Nanos::from(clock.start.elapsed()));
        for batch in buried.batches {
            self.post(work.ordered_by.batch(batch));
        }
        buried.lost
    }

    /// The load is over and its last batch was handed in; the fact follows it.
    fn finished(&mut self, executor: u32) {
        let Some(work) = self.works.remove(&executor) else { return };
        self.post(work.ordered_by.fact(Fact::LoadFinished { trial: work.share.trial, executor: work.share.executor }));
        self.answer_stopped();
    }

    /// The share itself is told, so that every later life of its executor knows.
    fn end_window(&self, trial: &TrialId, at: Nanos) {
        self.of(trial).filter_map(|work| work.prepared.as_ref()).for_each(|prepared| prepared.end_window(at));
    }

    fn leave_server(&mut self, trial: &TrialId, server: u32) {
        for work in self.works.values_mut().filter(|work| work.share.trial == *trial) {
            match &work.prepared {
                Some(prepared) => prepared.leave_server(server),
                None => drop(work.left.insert(server)),
            }
        }
    }

    fn stop(&mut self, trial: &TrialId) {
        let mut through = Vec::new();
        for (number, work) in self.works.iter_mut().filter(|(_, work)| work.share.trial == *trial) {
            work.is_stopped = true;
            if let Some(executor) = &work.executor {
                if executor.cast(ExecutorMsg::Stop).is_err() {
                    tracing::debug!("the executor is ending already");
                }
            } else if work.failure.is_none() {
                through.push(*number);
            }
        }
        through.into_iter().for_each(|number| self.finished(number));
    }

    fn stop_all(&mut self, reply: RpcReplyPort<()>) {
        self.stopped.push(reply);
        let trials: BTreeSet<TrialId> = self.works.values().map(|work| work.share.trial.clone()).collect();
        trials.iter().for_each(|trial| self.stop(trial));
        self.answer_stopped();
    }

    fn panic_one(&self) {
        if let Some(executor) = self.works.values().find_map(|work| work.executor.as_ref())
            && executor.cast(ExecutorMsg::Panic).is_err()
        {
            tracing::debug!("the executor is ending already");
        }
    }

    fn answer_stopped(&mut self) {
        if self.works.is_empty() {
            for reply in self.stopped.drain(..) {
                // Whoever asked may have stopped waiting.
                let _ = reply.send(());
            }
        }
    }

    fn post(&self, message: UplinkMsg) {
        if self.arguments.uplink.cast(message).is_err() {
            tracing::error!("the uplink is gone; nothing is posted any more");
        }
    }
}

/// Tasks of a load that failed are waited for this long.
const HELD_AT_MOST: Duration = Duration::from_secs(5);
/// The pause before it is looked again whether the old tasks are gone.
const ASK_AGAIN_AFTER: Duration = Duration::from_millis(20);

/// Whether a task of the load still holds the ledger.
fn is_held_elsewhere(ledger: &Arc<Ledger>) -> bool {
    Arc::strong_count(ledger) > 1
}

/// What the client itself adds is measured first, where it is to be: bodies that stand ready take memory. That it could
/// not be measured is told, and nothing else comes of it.
async fn build(
    mut share: LoadShare,
    ordered_by: OrderedBy,
    uplink: &ActorRef<UplinkMsg>,
    lease: Lease,
) -> Result<Arc<Prepared>, String> {
    let tell = |fact: Fact| {
        if uplink.cast(ordered_by.fact(fact)).is_err() {
            tracing::error!("the uplink is gone; what a share's making came to is lost");
        }
    };
    let service = hb_services::resolve(&share.service).map_err(|problem| problem.to_string())?;
    share.request = hb_services::service::request_for(&*service, &share.service, &share.request);
    let servers = share.servers.iter().collect::<BTreeSet<_>>().len() as u64;
    let wanted = Wanted::of_share(&share);
    match limits::sockets().shortage(wanted, servers) {
        Some(why) if wanted.is_certain => return Err(why),
        Some(why) => tell(Fact::Warned { what: format!("requests may fail for want of connections: {why}") }),
        None => {}
    }
    if let Some(lasting) = share.load.calibration {
        let fact = match calibrate(&share, lasting).await {
            Ok(floor) => Fact::Calibrated { trial: share.trial.clone(), executor: share.executor, floor },
            Err(why) => Fact::Warned { what: format!("the client's own error floor is not known: {why}") },
        };
        tell(fact);
    }
    let own = OwnHeaders::read(&share.service).map_err(|error| error.to_string())?;
    // All executors read the same file; one tells of it.
    let (is_first, trial) = (share.executor == 0, share.trial.clone());
    let prepared = Prepared::build(share, own).await.map_err(|error| error.to_string())?;
    if let Some(what) = prepared.left_out.clone().filter(|_| is_first) {
        tell(Fact::Warned { what });
    }
    if let Some(entries) = prepared.texts.filter(|_| is_first) {
        tell(Fact::DatasetRead { trial, entries });
    }
    Ok(Arc::new(prepared.under(lease)))
}
