//! A node's link to its leader: carries events to [`Dialling`] and performs what it decides.

use std::time::Duration;

use ractor::{Actor, ActorCell, ActorProcessingErr, ActorRef, SupervisionEvent, pg};
use ractor_cluster::{
    NodeEventSubscription, NodeServerMessage, NodeSessionMessage, RactorMessage, node::NodeServerSessionInformation,
};
use tokio::{
    sync::{mpsc::UnboundedSender, oneshot},
    time::Instant,
};
use tokio_rustls::TlsConnector;

use super::{
    INBOXES,
    ask::InboxHandle,
    dial::dial,
    dialling::{Dialling, Effect},
    events::{JoinError, NodeLinkEvent, TroubleOnTheWay},
};
use crate::messages::{InboxMsg, SCOPE};

/// The pause between two looks at the clock.
const TICK: Duration = Duration::from_millis(100);

/// What the link can be told.
#[derive(RactorMessage)]
pub(crate) enum NodeLinkMsg {
    /// Time to look at the clock.
    Tick,
    /// A try to reach the leader ended.
    Dialled(Result<(), TroubleOnTheWay>),
    /// A session began.
    SessionOpened(NodeServerSessionInformation),
    /// The leader accepted the cookie.
    SessionAuthenticated(u64),
    /// A session exchanged its groups.
    SessionReady(u64),
    /// A session ended.
    SessionGone(u64),
}

/// Answers once, with the first leader or with why there is none.
pub(crate) type FirstFound = oneshot::Sender<Result<InboxHandle, JoinError>>;

/// What the link needs.
pub(crate) struct LinkArguments {
    pub(crate) server: ActorRef<NodeServerMessage>,
    pub(crate) address: String,
    pub(crate) connector: TlsConnector,
    pub(crate) deadline: Duration,
    pub(crate) seed: u64,
    pub(crate) events: UnboundedSender<NodeLinkEvent>,
    pub(crate) first: FirstFound,
}

/// The actor.
pub(crate) struct NodeLink;

/// Its state.
pub(crate) struct Linking {
    dialling: Dialling,
    started: Instant,
    server: ActorRef<NodeServerMessage>,
    address: String,
    connector: TlsConnector,
    events: UnboundedSender<NodeLinkEvent>,
    first: Option<FirstFound>,
    session: Option<(u64, ActorRef<NodeSessionMessage>)>,
    inbox: Option<InboxHandle>,
}

impl Actor for NodeLink {
    type Msg = NodeLinkMsg;
    type State = Linking;
    type Arguments = LinkArguments;

    async fn pre_start(&self, me: ActorRef<Self::Msg>, arguments: LinkArguments) -> Result<Linking, ActorProcessingErr> {
        pg::monitor_scope(SCOPE.into(), me.get_cell());
        let subscription = Box::new(Sessions(me.clone()));
        arguments.server.cast(NodeServerMessage::SubscribeToEvents { id: "link".to_owned(), subscription })?;
        me.cast(NodeLinkMsg::Tick)?;
        Ok(Linking {
            dialling: Dialling::new(arguments.deadline, arguments.seed),
            started: Instant::now(),
            server: arguments.server,
            address: arguments.address,
            connector: arguments.connector,
            events: arguments.events,
            first: Some(arguments.first),
            session: None,
            inbox: None,
        })
    }

    async fn handle(&self, me: ActorRef<Self::Msg>, msg: NodeLinkMsg, linking: &mut Linking) -> Result<(), ActorProcessingErr> {
        let now = linking.started.elapsed();
        let effects = match msg {
            NodeLinkMsg::Tick => {
                me.send_after(TICK, || NodeLinkMsg::Tick);
                linking.dialling.tick(now)
            }
            NodeLinkMsg::Dialled(outcome) => linking.dialling.dialled(outcome, now),
            NodeLinkMsg::SessionOpened(session) => linking.opened(session),
            NodeLinkMsg::SessionAuthenticated(session) => linking.authenticated(session),
            NodeLinkMsg::SessionReady(session) => linking.ready(session, now),
            NodeLinkMsg::SessionGone(session) => linking.dialling.gone(session, now),
        };
        linking.perform(&me, effects);
        Ok(())
    }

    async fn handle_supervisor_evt(
        &self,
        me: ActorRef<Self::Msg>,
        event: SupervisionEvent,
        linking: &mut Linking,
    ) -> Result<(), ActorProcessingErr> {
        if let SupervisionEvent::ProcessGroupChanged(pg::GroupChangeMessage::Join(_, group, cells)) = event
            && group == INBOXES
        {
            for cell in cells {
                let effects = linking.inbox_seen(cell);
                linking.perform(&me, effects);
            }
        }
        Ok(())
    }
}

impl Linking {
    fn opened(&mut self, session: NodeServerSessionInformation) -> Vec<Effect> {
        self.dialling.opened(session.node_id);
        self.session = Some((session.node_id, session.actor));
        Vec::new()
    }

    fn authenticated(&mut self, session: u64) -> Vec<Effect> {
        self.dialling.authenticated(session);
        Vec::new()
    }

    fn ready(&mut self, session: u64, now: Duration) -> Vec<Effect> {
        let mut effects = self.dialling.ready(session, now);
        // The group's message may have come before we listened.
        for cell in pg::get_scoped_members(&SCOPE.into(), &INBOXES.into()) {
            if effects.is_empty() && cell.get_id().node() == session {
                effects = self.inbox_seen(cell);
            }
        }
        effects
    }

    fn inbox_seen(&mut self, cell: ActorCell) -> Vec<Effect> {
        // The leader's own process may hold an Inbox as well, and a local id says that its node is 0.
        if cell.get_id().is_local() {
            return Vec::new();
        }
        let session = cell.get_id().node();
        self.inbox = Some(InboxHandle::from(ActorRef::<InboxMsg>::from(cell)));
        self.dialling.inbox_seen(session, self.started.elapsed())
    }

    fn perform(&mut self, me: &ActorRef<NodeLinkMsg>, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::Dial => self.dial(me),
                Effect::Close(session) => {
                    if let Some((_, actor)) = self.session.as_ref().filter(|(id, _)| *id == session) {
                        actor.stop(Some("the leader did not answer".to_owned()));
                    }
                }
                Effect::Found => self.found(),
                Effect::Lost => self.report(NodeLinkEvent::LeaderLost { since: Instant::now() }),
                Effect::GiveUp { waited, trouble } => {
                    self.give_up(JoinError::NoLeader { address: self.address.clone(), waited, trouble })
                }
            }
        }
    }

    fn dial(&self, me: &ActorRef<NodeLinkMsg>) {
        let (me, server) = (me.clone(), self.server.clone());
        let (address, connector) = (self.address.clone(), self.connector.clone());
        tokio::spawn(async move {
            let dialled = dial(&address, &connector).await;
            // Told before the link is handed over, so that its session cannot open before.
            let (outcome, link) = match dialled {
                Ok(link) => (Ok(()), Some(link)),
                Err(trouble) => (Err(trouble), None),
            };
            tell(&me, NodeLinkMsg::Dialled(outcome));
            if let Some(link) = link {
                let opened = NodeServerMessage::ConnectionOpenedExternal { stream: Box::new(link), is_server: false };
                if server.cast(opened).is_err() {
                    tracing::debug!("the node server has ended");
                }
            }
        });
    }

    fn found(&mut self) {
        let Some(inbox) = self.inbox.clone() else { return };
        if let Some(first) = self.first.take()
            && first.send(Ok(inbox.clone())).is_err()
        {
            tracing::debug!("nobody waits for the leader any more");
        }
        self.report(NodeLinkEvent::LeaderFound(inbox));
    }

    fn give_up(&mut self, why: JoinError) {
        match self.first.take() {
            Some(first) => {
                if first.send(Err(why)).is_err() {
                    tracing::debug!("nobody waits for the leader any more");
                }
            }
            None => self.report(NodeLinkEvent::GaveUp { why }),
        }
    }

    fn report(&self, event: NodeLinkEvent) {
        tracing::info!(?event, "leader");
        if self.events.send(event).is_err() {
            tracing::debug!("nobody listens to the link's events");
        }
    }
}

fn tell(link: &ActorRef<NodeLinkMsg>, msg: NodeLinkMsg) {
    if link.cast(msg).is_err() {
        tracing::debug!("the node's link has ended");
    }
}

/// Hands the NodeServer's events on. Its calls are made from inside the NodeServer, so they only cast.
struct Sessions(ActorRef<NodeLinkMsg>);

impl NodeEventSubscription for Sessions {
    fn node_session_opened(&self, session: NodeServerSessionInformation) {
        tell(&self.0, NodeLinkMsg::SessionOpened(session));
    }

    fn node_session_authenticated(&self, session: NodeServerSessionInformation) {
        tell(&self.0, NodeLinkMsg::SessionAuthenticated(session.node_id));
    }

    fn node_session_ready(&self, session: NodeServerSessionInformation) {
        tell(&self.0, NodeLinkMsg::SessionReady(session.node_id));
    }

    fn node_session_disconnected(&self, session: NodeServerSessionInformation) {
        tell(&self.0, NodeLinkMsg::SessionGone(session.node_id));
    }
}
