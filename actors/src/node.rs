//! The root of a node: starts its actors, hands orders to them, restarts what may be restarted, and ends
//! everything when the run or the link to the leader is over.
//!
//! ```text
//! NodeSupervisor
//! ├─ Agent*              orders in
//! ├─ Uplink              windows, facts, samples, lines out
//! ├─ ServerManager       servers under the guardian
//! ├─ ExecutorSupervisor ─► Executor
//! ├─ LogCollector        output of children
//! └─ Monitor             samples; restarted when it fails
//! * = visible on the network
//! ```
//!
//! Whatever else fails takes the node along: the leader sees a lost node, which is the truth.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use hb_core::{
    facts::Fact,
    orders::{LoadShare, Order},
    trial::DrillTarget,
    units::{NodeName, Span},
};
use ractor::{Actor, ActorId, ActorProcessingErr, ActorRef, SpawnErr, SupervisionEvent, call_t};
use ractor_cluster::RactorMessage;
use tokio::{runtime::Handle, sync::watch};

use crate::{
    agent::{Agent, AgentArguments},
    cluster::{InboxHandle, ask::ask},
    executor::{ExecutorSupervisor, SupervisorArguments},
    lease::Lease,
    log_collector::{LogCollector, LogCollectorArgs},
    messages::{
        AgentMsg, Done, ExecutorSupervisorMsg, HelloBack, LogCollectorMsg, MonitorMsg, NodeIdentity, ServerManagerMsg, UplinkMsg,
    },
    monitor::{Monitor, MonitorArgs, PROBES},
    server_manager::{ServerManager, ServerManagerArgs},
    supervision::Intensity,
    uplink::{NodeShare, Uplink, UplinkArguments},
    wire::{WireError, answer},
};

/// Load that is told to end is waited for this long when the node ends.
const STOP_LOAD_WITHIN_MS: u64 = 3_000;
/// Servers are waited for this long when the node ends; longer than their own grace.
const STOP_SERVERS_WITHIN_MS: u64 = 20_000;

/// What was not posted yet is waited for this long when the node ends.
const DRAIN_WITHIN_MS: u64 = 1_000;

/// An order from within the process is answered in this time.
const ORDER_WITHIN: Duration = Duration::from_secs(5);

/// What a node is made of.
pub struct NodeOptions {
    /// What it says of itself.
    pub hello: HelloBack,
    /// The runtime of the load, apart from that of the actors, so that neither starves the other.
    pub load_runtime: Handle,
}

/// Why a node ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NodeEnd {
    /// The leader said goodbye.
    Dismissed(String),
    /// Something failed that cannot be restarted here.
    Failed(String),
}

/// What a node's root can be told.
#[derive(RactorMessage)]
pub enum NodeMsg {
    /// Carry this out.
    Order(Box<Order>, ractor::RpcReplyPort<Done>),
    /// Have this share built for the node's own endpoint, if no load is built or runs here.
    PrepareOwn(Box<LoadShare>, ractor::RpcReplyPort<Done>),
    /// The leader said goodbye.
    Dismissed(String),
    /// The Monitor may be started again now.
    RestartMonitor(String),
    /// End everything, and say when nothing of it is left.
    GetStopped(ractor::RpcReplyPort<()>),
}

/// A node that runs.
pub struct Node {
    /// The actor that the leader speaks to.
    pub agent: ActorRef<AgentMsg>,
    /// The node's own share, as its endpoints show it.
    pub share: watch::Receiver<NodeShare>,
    /// Told when the node ends.
    pub ended: watch::Receiver<Option<NodeEnd>>,
    root: ActorRef<NodeMsg>,
    uplink: ActorRef<UplinkMsg>,
    lease: Lease,
}

impl Node {
    /// Starts a node's actors. It does nothing until it is ordered to.
    ///
    /// # Errors
    /// An actor could not be started.
    pub async fn start(options: NodeOptions) -> Result<Self, SpawnErr> {
        let (ended_sender, ended) = watch::channel(None);
        let (share_sender, share) = watch::channel(NodeShare::default());
        let (ready_sender, ready) = tokio::sync::oneshot::channel();
        let lease = Lease::default();
        let arguments =
            RootArguments { options, ended: ended_sender, share: share_sender, ready: ready_sender, lease: lease.clone() };
        let (root, _) = Actor::spawn(None, NodeSupervisor, arguments).await?;
        let (agent, uplink) =
            ready.await.map_err(|_| SpawnErr::StartupFailed("the node's root ended while it started".into()))?;
        Ok(Self { agent, share, ended, root, uplink, lease })
    }

    /// The leader can be posted to.
    pub fn inbox_found(&self, inbox: InboxHandle) {
        self.uplink_told(UplinkMsg::InboxFound(inbox));
    }

    /// The leader cannot be posted to for now.
    pub fn inbox_lost(&self) {
        self.lease.shorten();
        self.uplink_told(UplinkMsg::InboxLost);
    }

    /// Nobody leads this node, and nobody will.
    pub fn stands_alone(&self) {
        self.uplink_told(UplinkMsg::NobodyListens);
    }

    /// Ends load and servers; returns when nothing of them is left, or what is left was given up.
    pub async fn stop(&self) {
        let within = STOP_LOAD_WITHIN_MS + STOP_SERVERS_WITHIN_MS + DRAIN_WITHIN_MS + 1_000;
        if let Err(error) = call_t!(self.root, NodeMsg::GetStopped, within) {
            tracing::error!(%error, "not everything on this node was ended in time");
        }
    }

    /// A way for this process's own endpoints to have something done here.
    #[must_use]
    pub fn door(&self) -> NodeDoor {
        NodeDoor { root: self.root.clone(), share: self.share.clone() }
    }

    fn uplink_told(&self, message: UplinkMsg) {
        if self.uplink.cast(message).is_err() {
            tracing::error!("the uplink is gone");
        }
    }
}

/// A way to give a node orders from within its process, as its leader would.
#[derive(Debug, Clone)]
pub struct NodeDoor {
    root: ActorRef<NodeMsg>,
    /// The node's own share.
    pub share: watch::Receiver<NodeShare>,
}

impl NodeDoor {
    /// Gives an order.
    ///
    /// # Errors
    /// A refusal, or that the node is ending.
    pub async fn order(&self, order: Order) -> Result<(), WireError> {
        ask(&self.root, ORDER_WITHIN, |reply| NodeMsg::Order(Box::new(order), reply)).await
    }

    /// Has a load of the node's own built; how far it is, the node's share tells.
    ///
    /// # Errors
    /// Another load is built or runs here, or the node is ending.
    pub async fn prepare_own(&self, share: LoadShare) -> Result<(), WireError> {
        ask(&self.root, ORDER_WITHIN, |reply| NodeMsg::PrepareOwn(Box::new(share), reply)).await
    }
}

struct RootArguments {
    options: NodeOptions,
    ended: watch::Sender<Option<NodeEnd>>,
    share: watch::Sender<NodeShare>,
    ready: tokio::sync::oneshot::Sender<(ActorRef<AgentMsg>, ActorRef<UplinkMsg>)>,
    lease: Lease,
}

/// The behaviour; its state is [`Root`].
struct NodeSupervisor;

/// The children of a node.
struct Root {
    identity: Arc<Mutex<NodeIdentity>>,
    uplink: ActorRef<UplinkMsg>,
    servers: ActorRef<ServerManagerMsg>,
    executors: ActorRef<ExecutorSupervisorMsg>,
    monitor: ActorRef<MonitorMsg>,
    logs: ActorRef<LogCollectorMsg>,
    agent: ActorRef<AgentMsg>,
    interval: Option<Span>,
    intensity: Intensity,
    ended: watch::Sender<Option<NodeEnd>>,
}

impl Actor for NodeSupervisor {
    type Msg = NodeMsg;
    type State = Root;
    type Arguments = RootArguments;

    async fn pre_start(&self, me: ActorRef<NodeMsg>, arguments: RootArguments) -> Result<Root, ActorProcessingErr> {
        let RootArguments { options, ended, share, ready, lease } = arguments;
        let NodeOptions { hello, load_runtime } = options;
        let name = NodeName::from(hello.host.as_str());
        let identity = Arc::new(Mutex::new(NodeIdentity { node: name, incarnation: hello.incarnation }));
        let cell = me.get_cell();
        let uplink_arguments = UplinkArguments { identity: Arc::clone(&identity), share };
        let (uplink, _) = Actor::spawn_linked(None, Uplink, uplink_arguments, cell.clone()).await?;
        let named = NodeIdentity { node: hello.host.as_str().into(), incarnation: hello.incarnation };
        let collector = LogCollectorArgs { identity: named.clone(), uplink: uplink.clone() };
        let (logs, _) = Actor::spawn_linked(None, LogCollector, collector, cell.clone()).await?;
        let own_exe = std::env::current_exe()?;
        let servers = ServerManagerArgs { uplink: uplink.clone(), logs: logs.clone(), own_exe };
        let (servers, _) = Actor::spawn_linked(None, ServerManager, servers, cell.clone()).await?;
        let supervisor =
            SupervisorArguments { uplink: uplink.clone(), load_runtime, incarnation: hello.incarnation, lease: lease.clone() };
        let (executors, _) = Actor::spawn_linked(None, ExecutorSupervisor, supervisor, cell.clone()).await?;
        let (monitor, _) = Actor::spawn_linked(None, Monitor, monitor_args(named.clone(), &uplink), cell.clone()).await?;
        let (agent, _) = Actor::spawn_linked(None, Agent, AgentArguments { hello, node: me.clone(), lease }, cell).await?;
        if ready.send((agent.clone(), uplink.clone())).is_err() {
            return Err("nobody waits for this node".into());
        }
        Ok(Root {
            identity,
            uplink,
            servers,
            executors,
            monitor,
            logs,
            agent,
            interval: None,
            intensity: Intensity::default(),
            ended,
        })
    }

    async fn handle(&self, me: ActorRef<NodeMsg>, msg: NodeMsg, root: &mut Root) -> Result<(), ActorProcessingErr> {
        match msg {
            NodeMsg::Order(order, reply) => {
                root.carry_out(*order)?;
                answer(reply, Ok(()));
            }
            NodeMsg::PrepareOwn(share, reply) => root.executors.cast(ExecutorSupervisorMsg::PrepareOwn(share, reply))?,
            NodeMsg::Dismissed(why) => root.end(NodeEnd::Dismissed(why)),
            NodeMsg::RestartMonitor(why) => root.restart_monitor(&me, why).await?,
            NodeMsg::GetStopped(reply) => root.stop(reply),
        }
        Ok(())
    }

    async fn handle_supervisor_evt(
        &self,
        me: ActorRef<NodeMsg>,
        event: SupervisionEvent,
        root: &mut Root,
    ) -> Result<(), ActorProcessingErr> {
        match event {
            SupervisionEvent::ActorFailed(child, why) if child.get_id() == root.monitor.get_id() => {
                let why = why.to_string();
                match root.intensity.failed(Instant::now()) {
                    Some(pause) => drop(me.send_after(pause, move || NodeMsg::RestartMonitor(why))),
                    None => root.end(NodeEnd::Failed(format!("the monitor failed more often than is borne: {why}"))),
                }
            }
            SupervisionEvent::ActorFailed(child, why) => {
                root.end(NodeEnd::Failed(format!("{} failed: {why}", root.name_of(child.get_id()))));
            }
            SupervisionEvent::ActorStarted(_)
            | SupervisionEvent::ActorTerminated(..)
            | SupervisionEvent::ProcessGroupChanged(_)
            | SupervisionEvent::PidLifecycleEvent(_) => {}
        }
        Ok(())
    }
}

impl Root {
    /// What a child that was started once is, in the words of `ARCHITECTURE.md`.
    fn name_of(&self, child: ActorId) -> &'static str {
        let named = [
            (self.uplink.get_id(), "the uplink"),
            (self.servers.get_id(), "the server manager"),
            (self.executors.get_id(), "the executors' supervisor"),
            (self.logs.get_id(), "the log collector"),
            (self.agent.get_id(), "the agent"),
        ];
        named.iter().find(|(id, _)| *id == child).map_or("an actor", |(_, name)| name)
    }

    fn carry_out(&mut self, order: Order) -> Result<(), ActorProcessingErr> {
        match order {
            Order::Admit(admission) => {
                self.identity.lock().unwrap_or_else(PoisonError::into_inner).node = admission.node;
            }
            Order::StartServer(server) => self.servers.cast(ServerManagerMsg::Start(server))?,
            Order::StopServer { server } => self.servers.cast(ServerManagerMsg::Stop(server))?,
            Order::PrepareLoad(share) => self.executors.cast(ExecutorSupervisorMsg::Prepare(share))?,
            Order::StartLoad { trial, executor, start_unix_nanos, since } => {
                self.executors.cast(ExecutorSupervisorMsg::Start { trial, executor, start_unix_nanos, since })?;
            }
            Order::EndWindow { trial, at } => self.executors.cast(ExecutorSupervisorMsg::EndWindow(trial, at))?,
            Order::LeaveServer { trial, server } => self.executors.cast(ExecutorSupervisorMsg::LeaveServer(trial, server))?,
            Order::StopLoad { trial } => self.executors.cast(ExecutorSupervisorMsg::Stop(trial))?,
            Order::StartMonitoring { interval } => {
                self.interval = Some(interval);
                self.monitor.cast(MonitorMsg::Start(interval))?;
            }
            Order::Drill { kill: DrillTarget::Executor } => self.executors.cast(ExecutorSupervisorMsg::PanicOne)?,
            Order::Drill { kill: DrillTarget::Server } => self.servers.cast(ServerManagerMsg::KillOne)?,
            Order::Drill { kill: DrillTarget::Node } => kill_this_process(),
        }
        Ok(())
    }

    async fn restart_monitor(&mut self, me: &ActorRef<NodeMsg>, why: String) -> Result<(), ActorProcessingErr> {
        let named = self.identity.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let (monitor, _) = Actor::spawn_linked(None, Monitor, monitor_args(named, &self.uplink), me.get_cell()).await?;
        self.monitor = monitor;
        if let Some(interval) = self.interval {
            self.monitor.cast(MonitorMsg::Start(interval))?;
        }
        self.uplink.cast(UplinkMsg::Fact(Fact::ChildRestarted { child: "monitor".into(), why }))?;
        Ok(())
    }

    /// Load first, then servers, so that the end of a server is not mistaken for its failure; then their last words.
    fn stop(&self, reply: ractor::RpcReplyPort<()>) {
        let (executors, servers, uplink) = (self.executors.clone(), self.servers.clone(), self.uplink.clone());
        tokio::spawn(async move {
            if let Err(error) = call_t!(executors, ExecutorSupervisorMsg::GetStopped, STOP_LOAD_WITHIN_MS) {
                tracing::warn!(%error, "the load did not end in time");
            }
            if let Err(error) = call_t!(servers, ServerManagerMsg::GetStopped, STOP_SERVERS_WITHIN_MS) {
                tracing::warn!(%error, "a server did not end in time");
            }
            if let Err(error) = call_t!(uplink, UplinkMsg::GetDrained, DRAIN_WITHIN_MS) {
                tracing::debug!(%error, "the leader did not take everything in time");
            }
            // Whoever asked may have stopped waiting.
            let _ = reply.send(());
        });
    }

    fn end(&self, why: NodeEnd) {
        // The first reason is the true one.
        self.ended.send_if_modified(|ended| ended.is_none() && ended.replace(why).is_none());
    }
}

fn monitor_args(identity: NodeIdentity, uplink: &ActorRef<UplinkMsg>) -> MonitorArgs {
    MonitorArgs { identity, uplink: uplink.clone(), probes: PROBES }
}

/// A drill: as if the machine had lost power, as far as this process is concerned.
fn kill_this_process() {
    if let Err(error) = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL) {
        tracing::error!(%error, "the drill could not kill this process");
    }
}
