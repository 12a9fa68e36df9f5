//! Which process of which server runs on which node.
//!
//! ```text
//! OneNode      server-0          server-1
//! Ranks(2)     server-0          server-0-rank-1
//! Cluster(2)   cluster-head      cluster-1
//!              server-0
//! ```

use std::collections::BTreeMap;

use super::{Allocation, PlacedServer, PlanError, Seat};
use crate::{
    orders::{Duty, Part, ServerOrder},
    trial::{Layout, Trial},
};

/// The processes of all servers: those that answer first, so that a server's number is its place in the load's list.
pub(super) fn servers(trial: &Trial, allocation: &Allocation, default_port: u16) -> Result<Vec<PlacedServer>, PlanError> {
    let seats: Vec<&Seat> = allocation.servers().collect();
    let layout = trial.service.layout;
    let nodes = layout.nodes().get();
    let found = seats.len() as u32;
    if found > 0 && found < nodes {
        return Err(PlanError::TooFewNodes { needed: nodes, found });
    }
    let mut parts: Vec<(&Seat, Part)> = Vec::new();
    for (of, seats) in seats.chunks_exact(nodes as usize).enumerate() {
        for (rank, seat) in seats.iter().enumerate() {
            let part = |duty| (*seat, Part { duty, of: of as u32, rank: rank as u32, meeting: None });
            parts.extend(duties(layout, rank == 0).iter().map(|duty| part(*duty)));
        }
    }
    parts.sort_by_key(|(_, part)| part.duty != Duty::Serve);
    let place = |(number, (seat, part)): (usize, (&Seat, Part))| PlacedServer {
        node: seat.node.clone(),
        order: ServerOrder {
            server: number as u32,
            part,
            service: trial.service.clone(),
            port: trial.service.port.unwrap_or(default_port),
            is_port_fixed: trial.service.port.is_some(),
            host: seat.address.clone(),
            request: trial.request.clone(),
            ports: BTreeMap::new(),
            scratch: None,
        },
    };
    Ok(parts.into_iter().enumerate().map(place).collect())
}

/// What runs on a node of a server: on its first one, or on another.
fn duties(layout: Layout, is_first: bool) -> &'static [Duty] {
    match (layout, is_first) {
        (Layout::OneNode, _) | (Layout::Ranks(_), true) => &[Duty::Serve],
        (Layout::Ranks(_), false) => &[Duty::Follow],
        (Layout::Cluster(_), true) => &[Duty::HeadCluster, Duty::Serve],
        (Layout::Cluster(_), false) => &[Duty::JoinCluster],
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use super::*;
    use crate::{
        plan::{Candidate, NodeNeeds},
        testing,
    };

    /// The processes by number, as `name@node`.
    fn drawn(layout: Layout, nodes: u32) -> Result<String, PlanError> {
        let candidate = |ordinal: u32| Candidate {
            ordinal: Some(ordinal),
            is_leader: false,
            host: format!("n{ordinal}"),
            address: format!("10.0.0.{ordinal}"),
            cores: 1,
        };
        let candidates: Vec<Candidate> = (0..=nodes).map(candidate).collect();
        let needs = NodeNeeds { monitors: 0, servers: nodes, clients: Some(1), share_servers: false };
        let mut trial = testing::closed_plan(1, 1).trial;
        trial.service.layout = layout;
        trial.service.endpoints.clear();
        let placed = servers(&trial, &Allocation::of(&candidates, &needs).unwrap(), 8000)?;
        assert!(placed.iter().enumerate().all(|(number, placed)| placed.order.server == number as u32));
        let words = placed.iter().map(|placed| format!("{}@{}", placed.order.name(), placed.node));
        Ok(words.collect::<Vec<_>>().join(" "))
    }

    #[test]
    fn every_node_of_a_server_has_its_part_and_those_that_answer_come_first() {
        let two = NonZeroU32::new(2).unwrap();
        assert_eq!(drawn(Layout::OneNode, 2).unwrap(), "server-0@n0 server-1@n1");
        assert_eq!(drawn(Layout::Ranks(two), 4).unwrap(), "server-0@n0 server-1@n2 server-0-rank-1@n1 server-1-rank-1@n3");
        assert_eq!(drawn(Layout::Cluster(two), 2).unwrap(), "server-0@n0 server-0-cluster-head@n0 server-0-cluster-1@n1");
    }

    #[test]
    fn a_server_of_more_nodes_than_there_are_is_refused_with_both_numbers() {
        let three = NonZeroU32::new(3).unwrap();
        assert_eq!(drawn(Layout::Ranks(three), 2), Err(PlanError::TooFewNodes { needed: 3, found: 2 }));
    }
}
