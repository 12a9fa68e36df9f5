//! The leader's end: opens the door, and writes down where it is.

use std::{
    net::{IpAddr, Ipv6Addr, SocketAddr},
    path::{Path, PathBuf},
    time::Duration,
};

use ractor::{Actor, ActorRef, pg};
use ractor_cluster::NodeServerMessage;
use tokio::{net::TcpListener, sync::mpsc::UnboundedSender, task::JoinHandle};

use super::{
    AGENTS, INBOXES, accept,
    events::{ClusterEvent, PeerId},
    identity::{Authority, IdentityError, random_secret},
    join_file::{JoinFile, JoinFileError, JoinFileGuard},
    server::{self, ServerError},
    tls,
    watch::{ClusterWatch, ClusterWatchMsg, PeerStatus, WatchArguments},
};
use crate::messages::{AgentMsg, Hello, InboxMsg, SCOPE};

/// Time for our own actors to end.
const END: Duration = Duration::from_secs(2);
/// Time for everyone's answer to a goodbye.
const DISMISS: Duration = Duration::from_secs(8);

/// How to lead.
#[derive(Debug, Clone)]
pub struct LeadOptions {
    /// The address of the job's interface.
    pub bind: IpAddr,
    /// The name or address by which nodes reach it.
    pub advertise: String,
    /// The port; any free one if none.
    pub port: Option<u16>,
    /// Where the join file is written; nowhere if none, where nodes are handed what it says.
    pub state_dir: Option<PathBuf>,
    /// The run.
    pub run: String,
    /// Our build.
    pub build: String,
    /// The bearer token of the HTTP endpoints.
    pub http_token: String,
}

/// Why there is no cluster to lead.
#[derive(Debug, thiserror::Error)]
pub enum ClusterError {
    /// The port.
    #[error("cannot listen on {address}: {why}")]
    Bind {
        /// The address.
        address: SocketAddr,
        /// The system's words.
        why: std::io::Error,
    },
    /// The certificates.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// The join file.
    #[error(transparent)]
    JoinFile(#[from] JoinFileError),
    /// The node server.
    #[error(transparent)]
    Server(#[from] ServerError),
    /// The watch.
    #[error("cannot watch the cluster: {0}")]
    Watch(String),
}

/// A cluster that is led. It ends when this is dropped; [`Leading::end`] also waits for it.
pub struct Leading {
    /// What a node needs to join, also for handing it over otherwise than by the file.
    pub join: JoinFile,
    /// The watch over the nodes.
    pub watch: ActorRef<ClusterWatchMsg>,
    file: Option<JoinFileGuard>,
    port: u16,
    server: ActorRef<NodeServerMessage>,
    door: JoinHandle<()>,
}

/// Starts to lead. The Inbox becomes visible to nodes; the Agent, if there is one, is watched and asked
/// like theirs.
///
/// # Errors
/// If the port, the join file or an actor cannot be had. Nothing is left behind then.
pub async fn lead(
    options: LeadOptions,
    inbox: ActorRef<InboxMsg>,
    agent: Option<ActorRef<AgentMsg>>,
    events: UnboundedSender<ClusterEvent>,
) -> Result<Leading, ClusterError> {
    let wanted = SocketAddr::new(options.bind, options.port.unwrap_or(0));
    let bind = |why| ClusterError::Bind { address: wanted, why };
    let listener = TcpListener::bind(wanted).await.map_err(bind)?;
    let port = listener.local_addr().map_err(bind)?.port();
    let authority = Authority::create()?;
    let join = JoinFile {
        address: host_and_port(&options.advertise, port),
        cookie: random_secret()?,
        ca_certificate_pem: authority.certificate_pem().to_owned(),
        ca_key_pem: authority.key_pem(),
        http_token: options.http_token,
        run: options.run.clone(),
        build: options.build.clone(),
    };
    let acceptor = tls::acceptor(&authority)?;
    let life = random_secret()?;
    let name = PeerId(format!("leader.{}", &life[..16]));
    let server = server::start(&name, &options.advertise, &join.cookie).await?;
    let hello = Hello { build: options.build, run: options.run };
    let watch = match spawn_watch(&server, hello, &events).await {
        Ok(watch) => watch,
        Err(error) => {
            server.stop(None);
            return Err(error);
        }
    };
    // Groups first: a session tells its peer of the members there are when it becomes ready.
    pg::join_scoped(SCOPE.into(), INBOXES.into(), vec![inbox.get_cell()]);
    if let Some(agent) = agent {
        pg::join_scoped(SCOPE.into(), AGENTS.into(), vec![agent.get_cell()]);
        watch.cast(ClusterWatchMsg::LocalAgentSeen(agent)).map_err(|e| ClusterError::Watch(e.to_string()))?;
    }
    let file = match options.state_dir.map(|folder| join.write(&folder)).transpose() {
        Ok(file) => file,
        Err(error) => {
            watch.stop(None);
            server.stop(None);
            return Err(error.into());
        }
    };
    let door = tokio::spawn(accept::accept(listener, acceptor, server.clone(), events));
    Ok(Leading { join, watch, file, port, server, door })
}

async fn spawn_watch(
    server: &ActorRef<NodeServerMessage>,
    hello: Hello,
    events: &UnboundedSender<ClusterEvent>,
) -> Result<ActorRef<ClusterWatchMsg>, ClusterError> {
    let arguments = WatchArguments { server: server.clone(), hello, events: events.clone() };
    let (watch, _) = Actor::spawn(None, ClusterWatch, arguments).await.map_err(|e| ClusterError::Watch(e.to_string()))?;
    Ok(watch)
}

impl Leading {
    /// Where the join file lies, if it was written.
    #[must_use]
    pub fn join_path(&self) -> Option<&Path> {
        self.file.as_ref().map(JoinFileGuard::path)
    }

    /// What a node needs to join that reaches the leader by this name or address.
    #[must_use]
    pub fn join_at(&self, host: &str) -> JoinFile {
        JoinFile { address: host_and_port(host, self.port), ..self.join.clone() }
    }

    /// Who belongs to the cluster now; nobody if the watch has ended.
    pub async fn peers(&self) -> Vec<PeerStatus> {
        ractor::call_t!(self.watch, ClusterWatchMsg::GetPeers, 2000).unwrap_or_default()
    }

    /// Says goodbye to every node, so that they end by themselves and their going is no alarm. Gives the
    /// number of those who did not hear it, or `None` if not even the watch answered.
    pub async fn dismiss(&self, why: &str) -> Option<usize> {
        let why = why.to_owned();
        let asked = self.watch.call(|reply| ClusterWatchMsg::Dismiss(why, reply), Some(DISMISS)).await;
        asked.ok().and_then(|answer| answer.success_or(()).ok())
    }

    /// Closes the door, ends every link, and removes the join file.
    pub async fn end(self) {
        self.door.abort();
        if self.watch.stop_and_wait(None, Some(END)).await.is_err() {
            tracing::debug!("the cluster's watch had ended before");
        }
        if self.server.stop_and_wait(None, Some(END)).await.is_err() {
            tracing::warn!("the node server did not end in time");
        }
    }
}

impl Drop for Leading {
    fn drop(&mut self) {
        self.door.abort();
        self.watch.stop(None);
        self.server.stop(None);
    }
}

/// `host:port`, with brackets where the host is an IPv6 address.
fn host_and_port(host: &str, port: u16) -> String {
    match host.parse::<Ipv6Addr>() {
        Ok(address) => format!("[{address}]:{port}"),
        Err(_) => format!("{host}:{port}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ipv6_address_gets_brackets() {
        assert_eq!(host_and_port("node-a", 1), "node-a:1");
        assert_eq!(host_and_port("10.0.0.1", 1), "10.0.0.1:1");
        assert_eq!(host_and_port("fe80::1", 1), "[fe80::1]:1");
    }
}
