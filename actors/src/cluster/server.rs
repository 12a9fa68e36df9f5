//! The NodeServer as both ends use it: fed with finished links, its own listener a stub.

use std::net::{IpAddr, Ipv4Addr};

use ractor::{Actor, ActorRef};
use ractor_cluster::{
    IncomingEncryptionMode, NodeServer, NodeServerMessage,
    node::{NodeConnectionMode, NodeServerSessionInformation},
};

use super::{MAX_FRAME_BYTES, events::PeerId, identity::IdentityError, tls};

/// Why there is no NodeServer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ServerError {
    /// Its certificates.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// The actor.
    #[error("cannot start the node server: {0}")]
    Start(String),
}

/// Starts one under this name.
///
/// A NodeServer always opens a listener. It accepts one connection at a time, its handshakes have no time
/// limit, and an error of `accept` makes it spin; so it gets the loopback, a port nobody is told, and an
/// acceptor that turns everyone away. The links come from our own accept and dial loops.
pub(crate) async fn start(name: &PeerId, host: &str, cookie: &str) -> Result<ActorRef<NodeServerMessage>, ServerError> {
    let nobody = IncomingEncryptionMode::Tls(tls::refuse_everyone()?);
    // Transitive connections would be dialled by the built-in plain-TCP client, past our TLS.
    let star = NodeConnectionMode::Isolated;
    let server = NodeServer::new(0, cookie.to_owned(), name.0.clone(), host.to_owned(), Some(nobody), Some(star))
        .with_listen_addr(IpAddr::V4(Ipv4Addr::LOCALHOST))
        .with_max_inbound_frame_size(MAX_FRAME_BYTES);
    let (server, _) = Actor::spawn(None, server, ()).await.map_err(|e| ServerError::Start(e.to_string()))?;
    Ok(server)
}

/// The name a session's peer claims, without the host that ractor_cluster appends.
pub(crate) fn claimed_name(session: &NodeServerSessionInformation) -> Option<PeerId> {
    let full = &session.peer_name.as_ref()?.name;
    Some(PeerId(full.split_once('@').map_or(full.as_str(), |(name, _)| name).to_owned()))
}
