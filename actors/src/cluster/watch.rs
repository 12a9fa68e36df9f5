//! The leader's eye on its nodes: carries events to the [`Membership`] and performs what it decides.

use std::{collections::BTreeMap, time::Duration};

use ractor::{Actor, ActorCell, ActorProcessingErr, ActorRef, RpcReplyPort, SupervisionEvent, pg};
use ractor_cluster::{
    NodeEventSubscription, NodeServerMessage, NodeSessionMessage, RactorMessage, node::NodeServerSessionInformation,
};
use tokio::{sync::mpsc::UnboundedSender, task::JoinSet, time::Instant};

pub use super::membership::{Answer, LinkId, PeerStatus};
use super::{
    AGENTS,
    ask::AgentHandle,
    events::{ClusterEvent, PeerId},
    membership::{Effect, Membership},
    server,
};
use crate::{
    messages::{AgentMsg, Beat, Bye, Hello, HelloBack, SCOPE},
    wall_clock::unix_nanos,
    wire::WireError,
};

/// The pause between two looks at the clock.
const TICK: Duration = Duration::from_millis(500);

/// What the watch can be told.
#[derive(RactorMessage)]
pub enum ClusterWatchMsg {
    /// A session proved that it knows the cookie.
    SessionAuthenticated(u64),
    /// A session exchanged its groups.
    SessionReady(NodeServerSessionInformation),
    /// A session ended.
    SessionGone(NodeServerSessionInformation),
    /// The Agent of the leader's own process runs.
    LocalAgentSeen(ActorRef<AgentMsg>),
    /// An Agent answered who it is, or did not.
    Greeted(LinkId, Result<HelloBack, WireError>),
    /// A beat was answered.
    BeatAnswered(LinkId, Answer),
    /// Time to look at the clock.
    Tick,
    /// Say goodbye to everyone, and give the number of those who did not hear it.
    Dismiss(String, RpcReplyPort<usize>),
    /// Who belongs to the cluster?
    GetPeers(RpcReplyPort<Vec<PeerStatus>>),
}

/// What the watch needs.
pub(crate) struct WatchArguments {
    pub(crate) server: ActorRef<NodeServerMessage>,
    pub(crate) hello: Hello,
    pub(crate) events: UnboundedSender<ClusterEvent>,
}

/// The actor.
pub(crate) struct ClusterWatch;

/// Its state: what it thinks with, and what it acts on.
pub(crate) struct Watching {
    membership: Membership,
    started: Instant,
    hello: Hello,
    events: UnboundedSender<ClusterEvent>,
    sessions: BTreeMap<LinkId, ActorRef<NodeSessionMessage>>,
    agents: BTreeMap<LinkId, AgentHandle>,
}

impl Actor for ClusterWatch {
    type Msg = ClusterWatchMsg;
    type State = Watching;
    type Arguments = WatchArguments;

    async fn pre_start(&self, me: ActorRef<Self::Msg>, arguments: WatchArguments) -> Result<Watching, ActorProcessingErr> {
        pg::monitor_scope(SCOPE.into(), me.get_cell());
        let subscription = Box::new(Sessions(me.clone()));
        arguments.server.cast(NodeServerMessage::SubscribeToEvents { id: "watch".to_owned(), subscription })?;
        tick_later(&me);
        Ok(Watching {
            membership: Membership::new(arguments.hello.build.clone()),
            started: Instant::now(),
            hello: arguments.hello,
            events: arguments.events,
            sessions: BTreeMap::new(),
            agents: BTreeMap::new(),
        })
    }

    async fn handle(
        &self,
        me: ActorRef<Self::Msg>,
        msg: ClusterWatchMsg,
        watching: &mut Watching,
    ) -> Result<(), ActorProcessingErr> {
        let now = watching.started.elapsed();
        let effects = match msg {
            ClusterWatchMsg::SessionAuthenticated(session) => watching.membership.session_authenticated(LinkId::Session(session)),
            ClusterWatchMsg::SessionReady(session) => watching.session_ready(session, now),
            ClusterWatchMsg::SessionGone(session) => watching.session_gone(&session, now),
            ClusterWatchMsg::LocalAgentSeen(agent) => watching.local_agent_seen(agent, now),
            ClusterWatchMsg::Greeted(link, answer) => watching.membership.greeted(link, answer, now),
            ClusterWatchMsg::BeatAnswered(link, answer) => watching.membership.beat_answered(link, &answer, now),
            ClusterWatchMsg::Tick => {
                tick_later(&me);
                watching.membership.tick(now)
            }
            ClusterWatchMsg::Dismiss(why, reply) => {
                watching.dismiss(why, reply);
                Vec::new()
            }
            ClusterWatchMsg::GetPeers(reply) => {
                watching.get_peers(reply);
                Vec::new()
            }
        };
        watching.perform(&me, effects);
        Ok(())
    }

    async fn handle_supervisor_evt(
        &self,
        me: ActorRef<Self::Msg>,
        event: SupervisionEvent,
        watching: &mut Watching,
    ) -> Result<(), ActorProcessingErr> {
        // Everything else that may come here concerns no child of ours; the default would end the watch.
        if let SupervisionEvent::ProcessGroupChanged(pg::GroupChangeMessage::Join(_, group, cells)) = event
            && group == AGENTS
        {
            for cell in cells {
                let effects = watching.agent_seen(cell);
                watching.perform(&me, effects);
            }
        }
        Ok(())
    }
}

/// Re-armed by each tick rather than an interval: after a pause of our own, an interval would deliver all
/// the ticks it missed at once, and with them beats that nobody had time to answer.
fn tick_later(me: &ActorRef<ClusterWatchMsg>) {
    me.send_after(TICK, || ClusterWatchMsg::Tick);
}

impl Watching {
    fn session_ready(&mut self, session: NodeServerSessionInformation, now: Duration) -> Vec<Effect> {
        let link = LinkId::Session(session.node_id);
        let claimed = server::claimed_name(&session).unwrap_or_else(|| PeerId(session.peer_addr.clone()));
        self.sessions.insert(link, session.actor);
        let mut effects = self.membership.session_ready(link, claimed, now);
        // The group's message may have come before the session was ready, or even before we listened.
        if !self.agents.contains_key(&link) {
            for cell in pg::get_scoped_members(&SCOPE.into(), &AGENTS.into()) {
                if link_of(&cell) == link {
                    effects.extend(self.agent_seen(cell));
                }
            }
        }
        effects
    }

    fn session_gone(&mut self, session: &NodeServerSessionInformation, now: Duration) -> Vec<Effect> {
        let link = LinkId::Session(session.node_id);
        self.sessions.remove(&link);
        self.agents.remove(&link);
        self.membership.session_gone(link, server::claimed_name(session), &session.peer_addr, now)
    }

    fn local_agent_seen(&mut self, agent: ActorRef<AgentMsg>, now: Duration) -> Vec<Effect> {
        self.agents.insert(LinkId::Local, AgentHandle::from(agent));
        self.membership.local_agent_seen(now)
    }

    fn agent_seen(&mut self, cell: ActorCell) -> Vec<Effect> {
        let link = link_of(&cell);
        if link == LinkId::Local {
            return Vec::new(); // it is told by a message of its own
        }
        self.agents.insert(link, AgentHandle::from(ActorRef::<AgentMsg>::from(cell)));
        self.membership.agent_seen(link)
    }

    fn dismiss(&mut self, why: String, reply: RpcReplyPort<usize>) {
        let mut byes = JoinSet::new();
        for link in self.membership.dismiss() {
            if let Some(agent) = self.agents.get(&link).cloned() {
                let bye = Bye { why: why.clone() };
                byes.spawn(async move { agent.bye(bye).await });
            }
        }
        tokio::spawn(async move {
            let unheard = byes.join_all().await.iter().filter(|answer| answer.is_err()).count();
            if reply.send(unheard).is_err() {
                tracing::debug!("nobody waits for the goodbyes any more");
            }
        });
    }

    fn get_peers(&self, reply: RpcReplyPort<Vec<PeerStatus>>) {
        if reply.send(self.membership.peers()).is_err() {
            tracing::debug!("nobody waits for the peers any more");
        }
    }

    fn perform(&mut self, me: &ActorRef<ClusterWatchMsg>, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::Greet(link) => self.greet(me, link),
                Effect::Beat { link, beat } => self.beat(me, link, beat),
                Effect::Close { link, why } => self.close(link, why),
                Effect::Join { peer, hello, link } => {
                    if let Some(agent) = self.agents.get(&link).cloned() {
                        self.report(ClusterEvent::Joined { peer, hello: *hello, agent });
                    }
                }
                Effect::Return { peer, link } => {
                    if let Some(agent) = self.agents.get(&link).cloned() {
                        self.report(ClusterEvent::Returned { peer, agent });
                    }
                }
                Effect::Report(event) => self.report(event),
            }
        }
    }

    fn greet(&self, me: &ActorRef<ClusterWatchMsg>, link: LinkId) {
        let Some(agent) = self.agents.get(&link).cloned() else { return };
        let (me, hello) = (me.clone(), self.hello.clone());
        tokio::spawn(async move {
            let answer = agent.hello(hello).await;
            tell(&me, ClusterWatchMsg::Greeted(link, answer));
        });
    }

    fn beat(&self, me: &ActorRef<ClusterWatchMsg>, link: LinkId, beat: Beat) {
        let Some(agent) = self.agents.get(&link).cloned() else { return };
        let (me, seq) = (me.clone(), beat.seq);
        tokio::spawn(async move {
            let (sent_unix_nanos, sent) = (unix_nanos(), Instant::now());
            match agent.beat(beat).await {
                Ok(back) => {
                    let answer = Answer { seq, sent_unix_nanos, round_trip: sent.elapsed(), back };
                    tell(&me, ClusterWatchMsg::BeatAnswered(link, answer));
                }
                // Silence is what the membership counts, so there is nothing to tell.
                Err(error) => tracing::debug!(?link, seq, %error, "a beat was not answered"),
            }
        });
    }

    fn close(&mut self, link: LinkId, why: &'static str) {
        // The session is our own actor; only remote references must never be stopped.
        if let Some(session) = self.sessions.get(&link) {
            session.stop(Some(why.to_owned()));
        }
    }

    fn report(&self, event: ClusterEvent) {
        tracing::info!(?event, "cluster");
        if self.events.send(event).is_err() {
            tracing::debug!("nobody listens to the cluster's events");
        }
    }
}

fn link_of(cell: &ActorCell) -> LinkId {
    // A local id says that its node is 0, which is also the number of the first session.
    match cell.get_id() {
        id if id.is_local() => LinkId::Local,
        id => LinkId::Session(id.node()),
    }
}

fn tell(watch: &ActorRef<ClusterWatchMsg>, msg: ClusterWatchMsg) {
    if watch.cast(msg).is_err() {
        tracing::debug!("the cluster's watch has ended");
    }
}

/// Hands the NodeServer's events on. Its calls are made from inside the NodeServer, so they only cast.
struct Sessions(ActorRef<ClusterWatchMsg>);

impl NodeEventSubscription for Sessions {
    fn node_session_opened(&self, _: NodeServerSessionInformation) {}

    fn node_session_authenticated(&self, session: NodeServerSessionInformation) {
        tell(&self.0, ClusterWatchMsg::SessionAuthenticated(session.node_id));
    }

    fn node_session_ready(&self, session: NodeServerSessionInformation) {
        tell(&self.0, ClusterWatchMsg::SessionReady(session));
    }

    fn node_session_disconnected(&self, session: NodeServerSessionInformation) {
        tell(&self.0, ClusterWatchMsg::SessionGone(session));
    }
}
