//! Which port a node's endpoints take.

use std::net::IpAddr;

use hb_actors::child::ports::{Ports, Promise};
use tokio::net::TcpListener;

use crate::cli::NodeWords;

/// Ports that are tried after a default one that is taken.
const TRIED: u16 = 100;

/// The default, as it was in the old toolkit.
const DEFAULT: u16 = 5000;
/// The default beside a Dummy server, which keeps 5000.
const BESIDE_DUMMY: u16 = 6000;

/// A port that is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WantedPort {
    /// It was asked for by name: taken, it is an error.
    Fixed(u16),
    /// A default: taken, the next free one will do, and it is told.
    From(u16),
    /// The default of nodes that share a machine: all but one of them find it taken.
    Shared(u16),
}

impl WantedPort {
    /// The first that is tried.
    #[must_use]
    pub const fn first(self) -> u16 {
        match self {
            Self::Fixed(port) | Self::From(port) | Self::Shared(port) => port,
        }
    }

    /// Takes it, or where it is only a default the next free one.
    ///
    /// # Errors
    /// A sentence with the port, its owner if that can be known, and advice.
    pub async fn take(self, address: IpAddr) -> Result<TcpListener, String> {
        let (first, last) = match self {
            Self::Fixed(port) => (port, port),
            Self::From(port) | Self::Shared(port) => (port, port.saturating_add(TRIED)),
        };
        let mut refused = None;
        for port in first..=last {
            // A server of another run is about to listen there.
            let Some(_promise) = Promise::of(port) else { continue };
            match TcpListener::bind((address, port)).await {
                Ok(listener) => {
                    if port != first && matches!(self, Self::From(_)) {
                        eprintln!("port {first} is taken: this node's endpoints are at port {port}");
                    }
                    return Ok(listener);
                }
                Err(error) => refused = Some(error),
            }
        }
        let cause = refused.map(|error| error.to_string()).unwrap_or_default();
        // The lease that fails knows who has the port.
        let taken = Ports::default().lease(&address.to_string(), first, true).err().map_or(cause, |error| error.to_string());
        Err(format!("this node's endpoints cannot listen (--client-port): {taken}"))
    }
}

/// The port for a node's endpoints, by its words and the service that may share its machine.
#[must_use]
pub fn wanted_port(words: &NodeWords, service: &str) -> WantedPort {
    match (words.endpoints.client_port, words.endpoints.client_port_from) {
        (Some(port), _) => WantedPort::Fixed(port),
        (None, Some(port)) => WantedPort::Shared(port),
        (None, None) if service == "dummy" => WantedPort::From(BESIDE_DUMMY),
        (None, None) => WantedPort::From(DEFAULT),
    }
}
