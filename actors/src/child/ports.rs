//! Ports for servers: the wanted one, or the next free one where it was not asked for by name.
//!
//! Between the look whether a port is free and the server that listens on it there is a while. In it the port
//! is promised: within this process by a set, and to other runs on this machine by an abstract socket.

use std::{
    collections::BTreeSet,
    fmt, fs, io,
    net::TcpListener,
    os::{
        linux::net::SocketAddrExt as _,
        unix::net::{SocketAddr, UnixListener},
    },
    sync::{Arc, Mutex, PoisonError},
};

/// How many ports above the wanted one are tried.
const PORTS_TRIED: u16 = 100;

/// Why no port can be had.
#[derive(Debug, thiserror::Error)]
pub enum PortError {
    /// The named port is in use.
    #[error("port {port} on {host} is in use by {owner}; name another port, or none to get the next free one")]
    Taken {
        /// The address.
        host: String,
        /// The port.
        port: u16,
        /// Who listens there.
        owner: Owner,
    },
    /// All ports that were tried are in use.
    #[error("no port from {from} to {to} on {host} is free; {from} is in use by {owner}")]
    NoneFree {
        /// The address.
        host: String,
        /// The first one tried.
        from: u16,
        /// The last one tried.
        to: u16,
        /// Who listens on the first.
        owner: Owner,
    },
    /// The address itself cannot be listened on.
    #[error("cannot listen on {host}:{port}: {source}")]
    Refused {
        /// The address.
        host: String,
        /// The port.
        port: u16,
        /// What the system said.
        source: io::Error,
    },
}

/// Who listens on a port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Owner {
    /// A process that we may look into.
    Process {
        /// Its number.
        pid: u32,
        /// Its name.
        name: String,
    },
    /// Another server of this run.
    ThisRun,
    /// A process of another user, or of another namespace.
    Unknown,
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Process { pid, name } => write!(f, "process {pid} ({name})"),
            Self::ThisRun => f.write_str("another server of this run"),
            Self::Unknown => f.write_str("a process that cannot be seen from here"),
        }
    }
}

/// The ports of this node that are promised to servers, which take a while until they listen.
#[derive(Debug, Clone, Default)]
pub struct Ports(Arc<Mutex<BTreeSet<u16>>>);

/// A port that is promised until this is dropped.
#[derive(Debug)]
pub struct PortLease {
    port: u16,
    ports: Ports,
    _promise: Promise,
}

/// No other run on this machine looks at this port while this is held. Such a look would listen on it for a
/// moment, and a server that starts in that moment fails. An abstract socket has one owner, leaves no file
/// behind and goes with its process; there is none where the system has no such sockets.
#[derive(Debug)]
pub struct Promise {
    _socket: Option<UnixListener>,
}

impl Promise {
    /// The promise of this port, unless another run has it.
    #[must_use]
    pub fn of(port: u16) -> Option<Self> {
        let bound = SocketAddr::from_abstract_name(format!("hbnode-port-{port}")).and_then(|name| UnixListener::bind_addr(&name));
        match bound {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => None,
            bound => Some(Self { _socket: bound.ok() }),
        }
    }
}

impl PortLease {
    /// The port.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }
}

impl Drop for PortLease {
    fn drop(&mut self) {
        self.ports.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.port);
    }
}

impl Ports {
    /// Promises the wanted port, or the next free one unless it `is_fixed`.
    ///
    /// # Errors
    /// That none is free, with the owner of the wanted one; or that the address is not this node's.
    pub fn lease(&self, host: &str, wanted: u16, is_fixed: bool) -> Result<PortLease, PortError> {
        let mut promised = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let last = if is_fixed { wanted } else { wanted.saturating_add(PORTS_TRIED) };
        for port in wanted..=last {
            // Where the system has no abstract sockets, this set alone keeps the promise.
            if promised.contains(&port) {
                continue;
            }
            let Some(promise) = Promise::of(port) else { continue };
            if is_free(host, port)? {
                promised.insert(port);
                return Ok(PortLease { port, ports: self.clone(), _promise: promise });
            }
        }
        let owner = if promised.contains(&wanted) { Owner::ThisRun } else { owner(wanted) };
        let host = host.to_owned();
        Err(if is_fixed {
            PortError::Taken { host, port: wanted, owner }
        } else {
            PortError::NoneFree { host, from: wanted, to: last, owner }
        })
    }
}

/// Whether a server could listen there now.
fn is_free(host: &str, port: u16) -> Result<bool, PortError> {
    match TcpListener::bind((host, port)) {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => Ok(false),
        Err(source) => Err(PortError::Refused { host: host.to_owned(), port, source }),
    }
}

/// Who listens on a port, if `/proc` tells it.
fn owner(port: u16) -> Owner {
    let tables = ["/proc/net/tcp", "/proc/net/tcp6"];
    let inode = tables.iter().find_map(|table| listening_inode(&fs::read_to_string(table).ok()?, port));
    inode.and_then(|inode| holder(&format!("socket:[{inode}]"))).unwrap_or(Owner::Unknown)
}

/// The inode of the socket that listens on a port, from a table of `/proc/net`.
fn listening_inode(table: &str, port: u16) -> Option<u64> {
    const LISTEN: &str = "0A";
    let suffix = format!(":{port:04X}");
    table.lines().skip(1).find_map(|line| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let is_it = words.get(1)?.ends_with(&suffix) && *words.get(3)? == LISTEN;
        is_it.then(|| words.get(9)?.parse().ok())?
    })
}

/// The process that has a file open under this name.
fn holder(link: &str) -> Option<Owner> {
    for entry in fs::read_dir("/proc").ok()?.flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else { continue };
        // Another user's files cannot be listed.
        let Ok(files) = fs::read_dir(entry.path().join("fd")) else { continue };
        if files.flatten().any(|file| fs::read_link(file.path()).is_ok_and(|target| target.as_os_str() == link)) {
            let name = fs::read_to_string(entry.path().join("comm")).unwrap_or_default();
            return Some(Owner::Process { pid, name: name.trim().to_owned() });
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_taken_port_names_its_owner() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let error = Ports::default().lease("127.0.0.1", port, true).unwrap_err();
        let PortError::Taken { owner: Owner::Process { pid, .. }, .. } = error else { panic!("{error}") };
        assert_eq!(pid, std::process::id());
    }

    #[test]
    fn the_next_free_port_is_taken_unless_one_is_named() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let taken = listener.local_addr().unwrap().port();
        let lease = Ports::default().lease("127.0.0.1", taken, false).unwrap();
        assert!(lease.port() > taken);
    }

    #[test]
    fn a_promised_port_is_given_once_and_comes_back() {
        let ports = Ports::default();
        let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let first = ports.lease("127.0.0.1", free, false).unwrap();
        let second = ports.lease("127.0.0.1", first.port(), false).unwrap();
        assert_ne!(first.port(), second.port());
        let fixed = ports.lease("127.0.0.1", first.port(), true);
        assert!(matches!(fixed, Err(PortError::Taken { owner: Owner::ThisRun, .. })));
        let port = first.port();
        drop(first);
        assert_eq!(ports.lease("127.0.0.1", port, true).unwrap().port(), port);
    }

    #[test]
    fn an_address_of_another_machine_is_refused() {
        assert!(matches!(Ports::default().lease("192.0.2.1", 8000, false), Err(PortError::Refused { .. })));
    }

    #[test]
    fn only_a_listening_socket_owns_a_port() {
        let head = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n";
        let row = |state: &str, inode: u64| {
            format!(
                "   0: 0100007F:1F90 0100007F:C000 {state} 00000000:00000000 00:00000000 00000000  1000        0 {inode} 1 0\n"
            )
        };
        let table = format!("{head}{}{}", row("01", 11), row("0A", 12));
        assert_eq!(listening_inode(&table, 8080), Some(12));
        assert_eq!(listening_inode(&table, 8081), None);
        assert_eq!(listening_inode(&format!("{head}{}", row("01", 11)), 8080), None);
    }
}
