//! The supervisor with real loads on a runtime of their own; its own clock is paused.

use std::{
    sync::{
        atomic::Ordering,
        mpsc::{Sender, channel},
    },
    time::Duration,
};

use hb_core::{
    facts::Fact,
    orders::LoadShare,
    trial::Stop,
    units::{Nanos, Span, TrialId},
};
use ractor::{Actor, ActorProcessingErr, ActorRef};
use tokio::{
    runtime::Runtime,
    sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel},
    task::JoinHandle,
};

use super::{ExecutorSupervisor, SupervisorArguments};
use crate::{
    cluster::ask::ask,
    load::tests::{Answer, TestServer, closed, server},
    messages::{ExecutorSupervisorMsg, UplinkMsg},
    wall_clock::unix_nanos,
    wire::WireError,
};

/// An uplink that hands on what it is told.
struct Ear;

impl Actor for Ear {
    type Msg = UplinkMsg;
    type State = UnboundedSender<UplinkMsg>;
    type Arguments = UnboundedSender<UplinkMsg>;

    async fn pre_start(&self, _: ActorRef<UplinkMsg>, heard: Self::Arguments) -> Result<Self::State, ActorProcessingErr> {
        Ok(heard)
    }

    async fn handle(&self, _: ActorRef<UplinkMsg>, msg: UplinkMsg, heard: &mut Self::State) -> Result<(), ActorProcessingErr> {
        // The test may have heard enough.
        let _ = heard.send(msg);
        Ok(())
    }
}

/// A supervisor, a server that never answers, and a load runtime of one thread that can be blocked.
struct Scene {
    supervisor: ActorRef<ExecutorSupervisorMsg>,
    ended: JoinHandle<()>,
    heard: UnboundedReceiver<UplinkMsg>,
    server: TestServer,
    load: Runtime,
}

impl Scene {
    /// Nothing is prepared.
    async fn idle() -> Self {
        let load = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let server = load.spawn(server(Answer::Hang(String::new()))).await.unwrap();
        let (sender, heard) = unbounded_channel();
        let (uplink, _) = Actor::spawn(None, Ear, sender).await.unwrap();
        let arguments =
            SupervisorArguments { uplink, load_runtime: load.handle().clone(), incarnation: 1, lease: Default::default() };
        let (supervisor, ended) = Actor::spawn(None, ExecutorSupervisor, arguments).await.unwrap();
        Self { supervisor, ended, heard, server, load }
    }

    /// `clients` requests are on their way.
    async fn with_load(clients: u32) -> Self {
        let mut scene = Self::idle().await;
        scene.supervisor.cast(ExecutorSupervisorMsg::Prepare(Box::new(scene.share(clients)))).unwrap();
        scene.fact(|fact| matches!(fact, Fact::LoadPrepared { .. })).await;
        scene.start();
        scene.asked(u64::from(clients)).await;
        scene
    }

    /// Clients that ask once and wait.
    fn share(&self, clients: u32) -> LoadShare {
        let mut share = closed(clients, Stop::After(Span::from_secs(600)), &self.server.url);
        share.load.timeouts.first_byte = Span::from_secs(600);
        share.load.timeouts.total = Span::from_secs(600);
        share
    }

    fn start(&self) {
        self.start_of(0, Nanos(0));
    }

    fn start_of(&self, executor: u32, since: Nanos) {
        let start_unix_nanos = unix_nanos();
        let start = ExecutorSupervisorMsg::Start { trial: TrialId::from("t"), executor, start_unix_nanos, since };
        self.supervisor.cast(start).unwrap();
    }

    /// Until the server has been asked so often.
    async fn asked(&self, times: u64) {
        while self.server.requests.load(Ordering::SeqCst) < times {
            tokio::task::yield_now().await;
        }
    }

    /// The next fact of this kind.
    async fn fact(&mut self, is_meant: impl Fn(&Fact) -> bool) -> Fact {
        loop {
            match self.heard.recv().await.expect("the supervisor still runs") {
                UplinkMsg::Fact(fact) if is_meant(&fact) => return fact,
                _ => {}
            }
        }
    }

    /// The load's only thread does nothing until the sender is dropped.
    fn block(&self) -> Sender<()> {
        let (sender, receiver) = channel::<()>();
        self.load.spawn(async move { receiver.recv() });
        sender
    }
}

#[tokio::test]
async fn a_load_that_panicked_starts_again_only_when_its_old_tasks_are_gone() {
    let mut scene = Scene::with_load(3).await;
    scene.supervisor.cast(ExecutorSupervisorMsg::PanicOne).unwrap();
    let restarted = scene.fact(|fact| matches!(fact, Fact::ExecutorRestarted { .. })).await;
    let Fact::ExecutorRestarted { lost, epoch, .. } = restarted else { unreachable!() };
    assert_eq!((lost, epoch), (3, 1), "all that was in flight is written off");
    scene.asked(6).await;
    scene.supervisor.stop(None);
    scene.load.shutdown_background();
}

#[tokio::test]
async fn a_load_that_fails_too_often_is_given_up_and_leaves_nothing() {
    let mut scene = Scene::with_load(2).await;
    for restart in 1..=3 {
        scene.supervisor.cast(ExecutorSupervisorMsg::PanicOne).unwrap();
        scene.fact(|fact| matches!(fact, Fact::ExecutorRestarted { .. })).await;
        scene.asked(2 * (restart + 1)).await;
    }
    scene.supervisor.cast(ExecutorSupervisorMsg::PanicOne).unwrap();
    scene.fact(|fact| matches!(fact, Fact::ExecutorGaveUp { .. })).await;
    ractor::call_t!(scene.supervisor, ExecutorSupervisorMsg::GetStopped, 10_000).unwrap();
    assert_eq!(scene.server.requests.load(Ordering::SeqCst), 8, "two requests for each of four lives");
    scene.supervisor.stop(None);
    scene.load.shutdown_background();
}

#[tokio::test(start_paused = true)]
async fn a_load_whose_thread_is_blocked_takes_the_node_along_and_is_never_doubled() {
    let mut scene = Scene::with_load(3).await;
    let blocked = scene.block();
    // Nothing moves any more, so the clock runs on to the limits of patience.
    tokio::time::timeout(Duration::from_secs(60), &mut scene.ended).await.expect("the supervisor fails").unwrap();
    while let Ok(heard) = scene.heard.try_recv() {
        assert!(!matches!(heard, UplinkMsg::Fact(Fact::ExecutorRestarted { .. })), "no second load beside the blocked one");
    }
    assert_eq!(scene.server.requests.load(Ordering::SeqCst), 3);
    drop(blocked);
    scene.load.shutdown_background();
}

#[tokio::test]
async fn a_trial_that_is_prepared_is_not_pushed_out_by_another() {
    let mut scene = Scene::idle().await;
    let share = scene.share(2);
    scene.supervisor.cast(ExecutorSupervisorMsg::Prepare(Box::new(share.clone()))).unwrap();
    let other = LoadShare { trial: "other".into(), ..share };
    scene.supervisor.cast(ExecutorSupervisorMsg::Prepare(Box::new(other))).unwrap();
    let refused = scene.fact(|fact| matches!(fact, Fact::LoadFailed { .. })).await;
    assert!(matches!(refused, Fact::LoadFailed { trial, .. } if trial.as_str() == "other"));
    scene.start();
    scene.asked(2).await;
    scene.supervisor.stop(None);
    scene.load.shutdown_background();
}

/// What the endpoint of the node is answered when it asks for this share.
async fn asked_for(scene: &Scene, share: LoadShare) -> Result<(), WireError> {
    ask(&scene.supervisor, Duration::from_secs(5), |reply| ExecutorSupervisorMsg::PrepareOwn(Box::new(share), reply)).await
}

#[tokio::test]
async fn a_load_of_the_nodes_own_is_refused_while_one_of_the_leader_is_built_or_runs_and_the_leader_hears_nothing() {
    let mut scene = Scene::idle().await;
    let share = scene.share(2);
    let own = LoadShare { trial: "own".into(), ..share.clone() };
    // The build waits for the load's only thread.
    let blocked = scene.block();
    scene.supervisor.cast(ExecutorSupervisorMsg::Prepare(Box::new(share))).unwrap();
    let refused = asked_for(&scene, own.clone()).await.unwrap_err();
    assert_eq!(refused.to_string(), "this node has a part in trial `t` of the run that it belongs to; wait for its end");
    drop(blocked);
    scene.fact(|fact| matches!(fact, Fact::LoadPrepared { .. })).await;
    assert!(asked_for(&scene, own.clone()).await.is_err(), "it is built, and waits for its start");
    scene.start();
    scene.asked(2).await;
    assert!(asked_for(&scene, own.clone()).await.is_err(), "it runs");
    scene.supervisor.cast(ExecutorSupervisorMsg::Stop(TrialId::from("t"))).unwrap();
    let next = scene.fact(|_| true).await;
    assert!(matches!(next, Fact::LoadFinished { .. }), "a refusal is not the leader's business: {next:?}");
    assert_eq!(asked_for(&scene, own).await, Ok(()));
    scene.supervisor.stop(None);
    scene.load.shutdown_background();
}

#[tokio::test]
async fn a_leaders_load_is_refused_while_one_of_the_nodes_own_runs_and_hears_nothing_else_of_it() {
    let mut scene = Scene::idle().await;
    let share = scene.share(2);
    asked_for(&scene, share.clone()).await.unwrap();
    while !matches!(scene.heard.recv().await, Some(UplinkMsg::OwnFact(Fact::LoadPrepared { .. }))) {}
    scene.start();
    scene.asked(2).await;
    assert!(asked_for(&scene, share.clone()).await.unwrap_err().to_string().contains("stop it first"));
    scene.supervisor.cast(ExecutorSupervisorMsg::Prepare(Box::new(LoadShare { trial: "run".into(), ..share }))).unwrap();
    // An executor that fails is told to whoever had it begun.
    scene.supervisor.cast(ExecutorSupervisorMsg::PanicOne).unwrap();
    scene.asked(4).await;
    scene.supervisor.cast(ExecutorSupervisorMsg::Stop(TrialId::from("t"))).unwrap();
    let (mut facts, mut own) = (Vec::new(), Vec::new());
    while !own.iter().any(|fact| matches!(fact, Fact::LoadFinished { .. })) {
        match scene.heard.recv().await.expect("the supervisor still runs") {
            UplinkMsg::Fact(fact) => facts.push(fact),
            UplinkMsg::OwnFact(fact) => own.push(fact),
            UplinkMsg::Batch(batch) => panic!("a leader is posted {batch:?}"),
            _ => {}
        }
    }
    assert!(own.iter().any(|fact| matches!(fact, Fact::ExecutorRestarted { .. })), "{own:?}");
    let [Fact::LoadFailed { trial, why, .. }] = &facts[..] else { panic!("{facts:?}") };
    assert!(trial.as_str() == "run" && why.contains("`POST /start`"), "{why}");
    scene.supervisor.stop(None);
    scene.load.shutdown_background();
}

#[tokio::test]
async fn an_order_to_prepare_that_is_repeated_changes_nothing() {
    let mut scene = Scene::with_load(2).await;
    scene.supervisor.cast(ExecutorSupervisorMsg::Prepare(Box::new(scene.share(2)))).unwrap();
    scene.supervisor.cast(ExecutorSupervisorMsg::Stop(TrialId::from("t"))).unwrap();
    let end = scene.fact(|fact| matches!(fact, Fact::LoadFinished { .. } | Fact::LoadFailed { .. })).await;
    assert!(matches!(end, Fact::LoadFinished { .. }), "{end:?}");
    scene.supervisor.stop(None);
    scene.load.shutdown_background();
}

#[tokio::test]
async fn what_a_lost_node_left_runs_beside_a_nodes_own_share() {
    let mut scene = Scene::with_load(2).await;
    let rest = LoadShare { executor: 5, left_by: Some(1), ..scene.share(3) };
    scene.supervisor.cast(ExecutorSupervisorMsg::Prepare(Box::new(rest.clone()))).unwrap();
    scene.fact(|fact| matches!(fact, Fact::LoadPrepared { executor: 5, .. })).await;
    // The order that started the node's own share may be repeated, and is not meant for this one.
    scene.start();
    scene.start_of(5, Nanos(0));
    scene.asked(5).await;
    scene.supervisor.cast(ExecutorSupervisorMsg::Prepare(Box::new(rest))).unwrap();
    scene.supervisor.cast(ExecutorSupervisorMsg::Stop(TrialId::from("t"))).unwrap();
    let is_end = |fact: &Fact| matches!(fact, Fact::LoadFinished { .. } | Fact::LoadFailed { .. });
    let mut ends = Vec::new();
    for _ in 0..2 {
        match scene.fact(is_end).await {
            Fact::LoadFinished { executor, .. } => ends.push(executor),
            other => panic!("{other:?}"),
        }
    }
    ends.sort_unstable();
    assert_eq!(ends, [0, 5]);
    ractor::call_t!(scene.supervisor, ExecutorSupervisorMsg::GetStopped, 10_000).unwrap();
    assert_eq!(scene.server.requests.load(Ordering::SeqCst), 5);
    scene.supervisor.stop(None);
    scene.load.shutdown_background();
}

#[tokio::test]
async fn what_was_taken_over_too_late_to_be_started_does_not_bar_the_next_trial() {
    let mut scene = Scene::idle().await;
    let late = LoadShare { executor: 5, left_by: Some(1), ..scene.share(1) };
    scene.supervisor.cast(ExecutorSupervisorMsg::Prepare(Box::new(late))).unwrap();
    scene.fact(|fact| matches!(fact, Fact::LoadPrepared { executor: 5, .. })).await;
    let next = LoadShare { trial: "next".into(), ..scene.share(1) };
    scene.supervisor.cast(ExecutorSupervisorMsg::Prepare(Box::new(next))).unwrap();
    let answer = scene.fact(|fact| matches!(fact, Fact::LoadPrepared { .. } | Fact::LoadFailed { .. })).await;
    assert!(matches!(answer, Fact::LoadPrepared { executor: 0, .. }), "{answer:?}");
    scene.supervisor.stop(None);
    scene.load.shutdown_background();
}

#[tokio::test]
async fn a_server_that_is_left_while_a_share_is_built_is_left_by_that_share() {
    let scene = Scene::idle().await;
    let other = scene.load.spawn(server(Answer::Hang(String::new()))).await.unwrap();
    let mut share = scene.share(2);
    share.servers.push(other.url.clone());
    // The build waits for the load's only thread, and its end is told after what is ordered here.
    let blocked = scene.block();
    scene.supervisor.cast(ExecutorSupervisorMsg::Prepare(Box::new(share))).unwrap();
    scene.supervisor.cast(ExecutorSupervisorMsg::LeaveServer(TrialId::from("t"), 0)).unwrap();
    drop(blocked);
    scene.start();
    while other.requests.load(Ordering::SeqCst) < 2 {
        tokio::task::yield_now().await;
    }
    assert_eq!(scene.server.requests.load(Ordering::SeqCst), 0, "it was left before anybody asked it");
    scene.supervisor.stop(None);
    scene.load.shutdown_background();
}
