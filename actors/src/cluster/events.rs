//! What the cluster reports to its callers, and who is who in it.

use std::{fmt, net::IpAddr, path::PathBuf, time::Duration};

use super::{
    ask::{AgentHandle, InboxHandle},
    join_file::JoinFileError,
};
use crate::messages::HelloBack;

/// One life of one node: `<host>-<ordinal>.<incarnation>`, or `<host>.<incarnation>` without an ordinal.
///
/// The incarnation belongs to the name because of two sessions of one name ractor_cluster keeps the one
/// with the smaller random number: a hung old process could lock its successor out.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PeerId(pub String);

impl PeerId {
    /// The name of this life.
    #[must_use]
    pub fn of(host: &str, ordinal: Option<u32>, incarnation: u64) -> Self {
        match ordinal {
            Some(ordinal) => Self(format!("{host}-{ordinal}.{incarnation:016x}")),
            None => Self(format!("{host}.{incarnation:016x}")),
        }
    }
}

impl fmt::Display for PeerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Why a node is lost.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LossCause {
    /// The link closed, and the same life did not come back in time.
    #[error("its link closed and it did not come back within {} s", .after.as_secs())]
    LinkClosed {
        /// The grace it had.
        after: Duration,
    },
    /// The link stands, and no beat is answered.
    #[error("it answered no beat for {} s", .silent.as_secs())]
    Silent {
        /// How long.
        silent: Duration,
    },
}

/// What the leader's caller is told.
#[derive(Debug, Clone)]
pub enum ClusterEvent {
    /// A node said who it is and is let in.
    Joined {
        /// Its life.
        peer: PeerId,
        /// What it said.
        hello: HelloBack,
        /// How to reach it.
        agent: AgentHandle,
    },
    /// The same life is back after its link had closed; the former handle is dead.
    Returned {
        /// Its life.
        peer: PeerId,
        /// How to reach it from now on.
        agent: AgentHandle,
    },
    /// A node is late with its answers; nothing is done about it yet.
    Suspected {
        /// Its life.
        peer: PeerId,
        /// Beats without an answer.
        missed: u32,
    },
    /// A suspect answered.
    Recovered {
        /// Its life.
        peer: PeerId,
    },
    /// A node is gone for good: its life is fenced.
    Lost {
        /// Its life.
        peer: PeerId,
        /// Why.
        why: LossCause,
    },
    /// A node went after it had been dismissed.
    Left {
        /// Its life.
        peer: PeerId,
    },
    /// A lost life came back, and was turned away.
    Fenced {
        /// Its life.
        peer: PeerId,
    },
    /// A process that came as far as the cookie was not let in.
    Refused {
        /// The name it claims and where it came from. Nobody has proved it unless the cookie was right.
        name: String,
        /// Why.
        why: String,
    },
    /// A connection did not get as far as the cookie. At most one of these a second, with all counted.
    StrangerRefused {
        /// Where the latest came from.
        address: IpAddr,
        /// Why the latest was refused.
        why: String,
        /// How many were refused so far.
        total: u64,
    },
    /// Two nodes say they are on one host; they would measure each other.
    DuplicateHost {
        /// The host.
        host: String,
        /// The newcomer.
        peer: PeerId,
        /// Who was there before.
        other: PeerId,
    },
    /// The estimate of a node's clock became another.
    Clock {
        /// Its life.
        peer: PeerId,
        /// Its clock minus the leader's.
        offset_nanos: i64,
        /// The offset is right to within this much: half of the round trip it was taken from.
        bound_nanos: u64,
    },
}

/// What a node's caller is told.
#[derive(Debug, Clone)]
pub enum NodeLinkEvent {
    /// The leader is there (again); a former handle is dead.
    LeaderFound(InboxHandle),
    /// The link to the leader closed.
    LeaderLost {
        /// When.
        since: tokio::time::Instant,
    },
    /// The leader did not come back: the caller ends its children and exits with 4.
    GaveUp {
        /// What stood in the way last.
        why: JoinError,
    },
}

/// What stood between a node and its leader at the last try.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TroubleOnTheWay {
    /// The address has no meaning here.
    #[error("its address cannot be resolved: {0}")]
    Unresolved(String),
    /// Nobody listens there.
    #[error("the connection was refused")]
    ConnectionRefused,
    /// The network did not carry us there.
    #[error("the connection failed: {0}")]
    Unreachable(String),
    /// Something listens and says nothing, or not in time.
    #[error("the handshake did not end within {} s", .0.as_secs())]
    HandshakeTimedOut(Duration),
    /// The connection was cut before it stood: a busy leader, or one that does not know our certificate.
    #[error("the connection was cut during the handshake: {0}")]
    HandshakeCut(String),
    /// Whoever listens there belongs to another run.
    #[error("the certificates differ, so it belongs to another run: {0}")]
    ForeignCertificate(String),
    /// The leader took the connection and not the cookie.
    #[error("the cookie was not accepted")]
    CookieRefused,
    /// The cookie was right, and the leader let us not in: another build, another wire version, or a life
    /// it had declared lost.
    #[error("it did not admit this node: it runs another build, or has declared this process lost")]
    NeverAdmitted,
    /// The link stood and closed.
    #[error("the link closed")]
    LinkClosed,
}

/// Why a node has no leader. Every one means exit code 4.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum JoinError {
    /// The file that says where the leader is cannot be used.
    #[error(transparent)]
    File(#[from] JoinFileError),
    /// It never came.
    #[error("no leader wrote `{}` within {} s", .path.display(), .waited.as_secs())]
    NoFile {
        /// Where it was awaited.
        path: PathBuf,
        /// How long.
        waited: Duration,
    },
    /// The leader is another build; nothing else would go well with it.
    #[error("the leader runs build {theirs} and this node {ours}")]
    OtherBuild {
        /// This node's.
        ours: String,
        /// The leader's.
        theirs: String,
    },
    /// The local half could not be set up.
    #[error("cannot set up the cluster's node: {0}")]
    Local(String),
    /// The leader could not be reached, or not again.
    #[error("no leader at {address} for {} s: {trouble}", .waited.as_secs())]
    NoLeader {
        /// Where it should be.
        address: String,
        /// How long it was tried.
        waited: Duration,
        /// What stood in the way last.
        trouble: TroubleOnTheWay,
    },
}
