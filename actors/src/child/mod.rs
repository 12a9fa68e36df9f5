//! Child processes that leave nothing behind: each server runs under a small guardian process that holds one
//! end of a socket pair. When the node's end closes, for whatever reason, the guardian ends all descendants.
//!
//! ```text
//! node ──socket pair (stdin)──► hbnode __guard ──► PROGRAM ──► its children, wherever they hide
//!   ◄────────── stdout, stderr of all of them ────────┴───────────┘
//! ```
//!
//! [`guard`] is the guardian's side, [`guarded`] the node's, [`report`] what they say to each other.

mod descendants;
pub mod guard;
pub mod guarded;
pub mod lines;
pub mod ports;
mod report;
pub mod stopping;

pub use self::{
    guard::guard_main,
    guarded::{ChildError, Ended, Ending, GuardedChild, LineSink},
    stopping::{StopPolicy, StopSignal},
};

/// The hidden subcommand that makes this binary a guardian.
pub const GUARD_WORD: &str = "__guard";
