//! Recipe, plan, phases, samples, tally, verdict and report: plain values and functions.
//!
//! This crate is quiet: it has no clock, socket, file, task or unseeded randomness. Time comes in
//! as a value, randomness as a seed, files as text. `runtime/tests/layers.rs` and this folder's
//! `clippy.toml` hold that up.
//!
//! The way of the data:
//!
//! ```text
//! recipe ─► trial ─► plan ─► (actors) ─► record, batch, fact ─► tally ─► report
//! ```

pub mod batch;
pub mod calibration;
pub mod certainty;
pub mod chronicle;
pub mod counted;
pub mod counting;
pub mod events;
pub mod facts;
pub mod figures;
pub mod histogram;
pub mod http_version;
mod indices;
pub mod launch;
pub mod metrics;
pub mod orders;
pub mod phases;
pub mod plan;
pub mod recipe;
pub mod record;
pub mod report;
pub mod routing;
pub mod row;
pub mod schedule;
pub mod search;
pub mod secret_names;
pub mod sockets;
pub mod statistics;
pub mod tally;
#[cfg(test)]
mod testing;
pub mod trial;
pub mod units;
pub mod verdict;
