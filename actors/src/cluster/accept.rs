//! The leader's door: takes every connection, gives its handshake two seconds, and hands to the
//! NodeServer only those that hold a certificate of the job.

use std::{
    collections::HashMap,
    net::IpAddr,
    time::{Duration, Instant},
};

use ractor::ActorRef;
use ractor_cluster::NodeServerMessage;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::mpsc::UnboundedSender,
    task::{AbortHandle, Id, JoinError, JoinSet},
};
use tokio_rustls::{TlsAcceptor, TlsStream};

use super::{
    events::ClusterEvent,
    pending::Pending,
    transport::{self, Link},
};

/// Time for a handshake. On the job's network it takes milliseconds.
const HANDSHAKE: Duration = Duration::from_secs(2);
/// Pause after `accept` failed: out of descriptors it would fail again at once, for ever.
const AFTER_ERROR: Duration = Duration::from_millis(200);
/// At most one report of strangers in this time.
const REPORT_EVERY: Duration = Duration::from_secs(1);

type Handshake = Result<Link, String>;

/// Serves until it is aborted. Everything it began ends with it.
pub(crate) async fn accept(
    listener: TcpListener,
    acceptor: TlsAcceptor,
    server: ActorRef<NodeServerMessage>,
    events: UnboundedSender<ClusterEvent>,
) {
    let mut door = Door {
        handshakes: JoinSet::new(),
        aborts: HashMap::new(),
        pending: Pending::default(),
        strangers: Strangers::new(events),
    };
    loop {
        tokio::select! {
            // Finished handshakes first: they make room without anyone having to go.
            biased;
            Some(ended) = door.handshakes.join_next_with_id() => door.handshake_ended(ended, &server),
            accepted = listener.accept() => match accepted {
                Ok((stream, peer)) => door.knocked(stream, peer.ip(), acceptor.clone()),
                Err(error) => {
                    tracing::warn!(%error, "a connection could not be accepted");
                    tokio::time::sleep(AFTER_ERROR).await;
                }
            },
        }
    }
}

struct Door {
    handshakes: JoinSet<Handshake>,
    aborts: HashMap<Id, AbortHandle>,
    pending: Pending<Id>,
    strangers: Strangers,
}

impl Door {
    fn knocked(&mut self, stream: TcpStream, address: IpAddr, acceptor: TlsAcceptor) {
        if let Some((oldest, from)) = self.pending.make_room(address) {
            if let Some(abort) = self.aborts.remove(&oldest) {
                abort.abort();
            }
            self.strangers.refused(from, "it was the oldest of too many unfinished handshakes".to_owned());
        }
        let abort = self.handshakes.spawn(handshake(stream, acceptor));
        self.pending.began(abort.id(), address);
        self.aborts.insert(abort.id(), abort);
    }

    fn handshake_ended(&mut self, ended: Result<(Id, Handshake), JoinError>, server: &ActorRef<NodeServerMessage>) {
        let (id, outcome) = match ended {
            Ok((id, outcome)) => (id, outcome),
            Err(error) => (error.id(), Err(error.to_string())),
        };
        self.aborts.remove(&id);
        // One that had to go was counted when it went, even if it had ended just then.
        let Some(address) = self.pending.ended(id) else { return };
        match outcome {
            Ok(link) => {
                let opened = NodeServerMessage::ConnectionOpenedExternal { stream: Box::new(link), is_server: true };
                if server.cast(opened).is_err() {
                    tracing::error!("the node server is gone, so nobody can join");
                }
            }
            Err(why) => self.strangers.refused(address, why),
        }
    }
}

async fn handshake(stream: TcpStream, acceptor: TlsAcceptor) -> Handshake {
    let peer = stream.peer_addr().map_err(|e| e.to_string())?.to_string();
    transport::tune(&stream).map_err(|e| e.to_string())?;
    match tokio::time::timeout(HANDSHAKE, acceptor.accept(stream)).await {
        Ok(Ok(stream)) => Ok(Link { stream: TlsStream::Server(stream), peer }),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err(format!("its handshake did not end within {} s", HANDSHAKE.as_secs())),
    }
}

/// Counts those who were turned away, and reports them in moderation.
struct Strangers {
    events: UnboundedSender<ClusterEvent>,
    total: u64,
    reported: Option<Instant>,
}

impl Strangers {
    fn new(events: UnboundedSender<ClusterEvent>) -> Self {
        Self { events, total: 0, reported: None }
    }

    fn refused(&mut self, address: IpAddr, why: String) {
        self.total += 1;
        if self.reported.is_some_and(|at| at.elapsed() < REPORT_EVERY) {
            return;
        }
        self.reported = Some(Instant::now());
        tracing::warn!(%address, why, total = self.total, "a stranger was refused");
        if self.events.send(ClusterEvent::StrangerRefused { address, why, total: self.total }).is_err() {
            tracing::debug!("nobody listens to the cluster's events");
        }
    }
}
