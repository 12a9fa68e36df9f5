//! Starts what every node has, the leader's own one too: its actors and its endpoints.

use std::net::IpAddr;

use hb_actors::{
    messages::HelloBack,
    monitor::Machine,
    node::{Node, NodeOptions},
    wall_clock::unix_nanos,
};
use tokio::{net::TcpListener, runtime::Handle};

use super::{WantedPort, door::Door, solo::Solo};
use crate::cli::BUILD;

/// What a node is started with.
pub struct NodeStart {
    /// The real host name.
    pub host: String,
    /// The address others reach it by.
    pub address: IpAddr,
    /// Its place in the order of roles, if it has one.
    pub ordinal: Option<u32>,
    /// The port of its endpoints.
    pub port: WantedPort,
    /// The service's name, which begins the old metric names; empty where it is not known.
    pub service: String,
    /// The runtime of its load.
    pub load_runtime: Handle,
}

/// A node that runs.
pub struct Started {
    /// Its actors.
    pub node: Node,
    /// The life of this process.
    pub incarnation: u64,
    /// Where its endpoints are.
    pub endpoints: std::net::SocketAddr,
    host: String,
    service: String,
    listener: Option<TcpListener>,
}

/// Starts a node's actors and takes its port.
///
/// # Errors
/// A sentence: a port that was asked for is taken, or an actor does not start.
pub async fn start(options: NodeStart) -> Result<Started, String> {
    let incarnation = u64::try_from(unix_nanos()).unwrap_or_default();
    let machine = tokio::task::spawn_blocking(Machine::look).await.map_err(|error| error.to_string())?;
    let listener = options.port.take(options.address).await?;
    let endpoints = listener.local_addr().map_err(|error| error.to_string())?;
    let hello = HelloBack {
        build: BUILD.to_owned(),
        host: options.host.clone(),
        address: options.address.to_string(),
        ordinal: options.ordinal,
        incarnation,
        pid: std::process::id(),
        cores: machine.cores,
        memory_bytes: machine.memory_bytes,
        gpus: machine.gpus,
        http_port: Some(endpoints.port()),
    };
    let node = Node::start(NodeOptions { hello, load_runtime: options.load_runtime }).await;
    let node = node.map_err(|error| format!("cannot start: {error}"))?;
    Ok(Started { node, incarnation, endpoints, host: options.host, service: options.service, listener: Some(listener) })
}

impl Started {
    /// Opens the node's endpoints; `/start` and `/stop` take this token.
    ///
    /// # Panics
    /// If they were opened before.
    pub fn open(&mut self, token: &str, run: Option<&str>) -> Door {
        let listener = self.listener.take().expect("a node's endpoints are opened once");
        let solo = Solo::new(self.node.door(), self.host.clone());
        Door::of_node(
            listener,
            self.node.share.clone(),
            solo,
            token,
            (self.host.clone(), run.map(str::to_owned), self.service.clone()),
        )
    }
}
