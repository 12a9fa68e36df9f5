//! The moving parts: the only floor with clocks, sockets, child processes and probes.
//!
//! ```text
//! leader                                   node (the leader's own process hosts one too)
//! ClusterWatch   sessions, beats, fences   NodeSupervisor
//! Inbox*         decodes, forwards         ├─ Agent*        orders in
//! Orchestrator   the phase                 ├─ ServerManager servers under the guardian
//!                                          ├─ ExecutorSupervisor ─► Executor
//!                                          ├─ Monitor       samples
//!                                          ├─ LogCollector  output of children
//!                                          └─ Uplink        batches, facts, readings, logs out
//! * = the only actors that are visible on the network
//! ```

pub mod agent;
mod body_form;
pub mod child;
pub mod cluster;
pub mod executor;
pub mod lease;
pub mod limits;
pub mod load;
pub mod log_collector;
pub mod messages;
pub mod monitor;
pub mod node;
pub mod orchestrator;
pub mod server_manager;
pub mod supervision;
mod trust;
pub mod uplink;
pub mod wall_clock;
pub mod wire;
