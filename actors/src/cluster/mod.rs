//! Both ends of the cluster: how processes find, prove themselves to, watch and lose each other.
//!
//! ```text
//! leader                                            node
//! lead() ─ join.json ─────────────────────────────► join()
//! accept loop ◄──────────── mutual TLS 1.3 ──────── dial loop          (NodeLink)
//!     │ ConnectionOpenedExternal                        │
//! NodeServer ◄────────────── cookie, pg ──────────► NodeServer
//!     │ sessions                                        │ sessions
//! ClusterWatch ──── Hello, Beat ──────────────────► the caller's Agent
//!     │ ClusterEvent                                    │ NodeLinkEvent
//!     ▼ caller                                          ▼ caller
//! ```
//!
//! Thinking lives in plain values ([`membership::Membership`], [`dialling::Dialling`],
//! [`pending::Pending`], [`clock::ClockWindow`]); [`watch::ClusterWatch`] and [`node_link::NodeLink`]
//! carry out what they say. Everything runs on the tokio runtime it is called from; give it one of its
//! own, so that load cannot starve the beats.
//!
//! Two facts of ractor shape what is here. Registry and process groups are statics of the process, so
//! one process is one node: tests of several nodes run several processes. And a panic in an actor is
//! caught, but with `RUST_BACKTRACE=1` symbolising it holds a worker thread for a third of a second:
//! whoever starts hbnode as a service leaves that variable unset.

mod accept;
pub mod ask;
pub mod clock;
mod dial;
pub mod dialling;
mod events;
pub mod identity;
mod join;
pub mod join_file;
mod lead;
pub mod membership;
mod node_link;
pub mod pending;
mod server;
mod tls;
mod transport;
pub mod watch;

pub use self::{
    ask::{AgentHandle, InboxHandle},
    events::{ClusterEvent, JoinError, LossCause, NodeLinkEvent, PeerId, TroubleOnTheWay},
    join::{JoinOptions, JoinSource, Joined, join},
    join_file::{JoinFile, JoinFileError},
    lead::{ClusterError, LeadOptions, Leading, lead},
    watch::{ClusterWatchMsg, PeerStatus},
};

use std::time::Duration;

/// The pause between two beats.
pub const BEAT: Duration = Duration::from_secs(2);
/// Unanswered beats after which a node is suspect.
pub const SUSPECT_AFTER_BEATS: u32 = 2;
/// Silence after which a node is lost, and after which a node without its leader gives up.
pub const LOST_AFTER: Duration = Duration::from_secs(10);
/// Time in which the same incarnation may come back after its link closed.
pub const GRACE: Duration = Duration::from_secs(5);
/// Silence after which a link is closed. Peers ping each other every 1 to 5 s, whatever their actors do.
pub const IDLE: Duration = Duration::from_secs(15);
/// The largest frame either side takes in. One above it ends the link, so senders stay far below.
pub const MAX_FRAME_BYTES: u64 = 4 * 1024 * 1024;

/// The group of the nodes' Agents.
pub(crate) const AGENTS: &str = "agent";
/// The group of the leader's Inbox.
pub(crate) const INBOXES: &str = "inbox";
