//! Owns the run on the leader: feeds facts to the pure [`hb_core::phases::Run`] and performs the effects it returns.
//! The only sender of orders.
//!
//! ```text
//! ClusterWatch ──► Orchestrator ──► Agents (orders)
//! Inbox ─ facts ─►     │
//!       └ batches ─► Books (tally, spool, trial reports) ◄─ opens, closes
//! ```

mod actor;
mod books;
mod counts;
mod endpoints;
mod inbox;
mod load;
mod nodes;
mod recorder;
#[cfg(test)]
mod tests;

pub use self::{
    actor::{Expected, Leadership, Orchestrator, OrchestratorMsg, Outcome},
    books::{Books, BooksArguments, BooksMsg},
    inbox::Inbox,
    recorder::{Recorder, Rows},
};
