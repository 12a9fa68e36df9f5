//! Who does what, where: pure, so that `hbnode plan` draws on a laptop exactly what runs.

use serde::{Deserialize, Serialize};

use crate::{
    orders::{LoadShare, Role, ServerOrder},
    trial::Trial,
    units::NodeName,
};

/// A node of the allocation and what it is for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seat {
    /// Its name in the run.
    pub node: NodeName,
    /// Its ordinal.
    pub ordinal: u32,
    /// The real host name.
    pub host: String,
    /// The address others reach its servers by.
    pub address: String,
    /// What it is for.
    pub roles: Vec<Role>,
    /// Cores it may use.
    pub cores: u32,
}

/// The nodes of a run, by ordinal.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Allocation {
    /// Sorted by ordinal.
    pub seats: Vec<Seat>,
}

/// A server and the node it runs on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PlacedServer {
    /// The node.
    pub node: NodeName,
    /// What it is told.
    pub order: ServerOrder,
}

/// One trial, placed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    /// The trial.
    pub trial: Trial,
    /// Servers to start; empty where endpoints are given.
    pub servers: Vec<PlacedServer>,
    /// One share for each executor; `servers` in it is filled once their URLs are known.
    pub shares: Vec<LoadShare>,
}
