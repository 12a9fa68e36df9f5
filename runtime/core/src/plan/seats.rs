//! Which node takes which role: by ordinal, monitors first, then servers, then clients.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{orders::Role, units::NodeName};

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

/// A node that has joined and has no role yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// The ordinal it claims (`SLURM_PROCID`), if any.
    pub ordinal: Option<u32>,
    /// Whether it is the leader's own process.
    pub is_leader: bool,
    /// The real host name.
    pub host: String,
    /// The address others reach its servers by.
    pub address: String,
    /// Cores it may use.
    pub cores: u32,
}

/// How many nodes a recipe needs in each role.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeNeeds {
    /// Nodes that take nothing but samples.
    pub monitors: u32,
    /// Nodes that run servers.
    pub servers: u32,
    /// Nodes that send load; `None` means every node that is left, and one at least.
    pub clients: Option<u32>,
    /// Whether clients sit on the servers' nodes.
    pub share_servers: bool,
}

impl NodeNeeds {
    /// The fewest nodes that fill every role.
    #[must_use]
    pub fn total(&self) -> u32 {
        let clients = self.clients.unwrap_or(1);
        let working = if self.share_servers { self.servers.max(clients) } else { self.servers + clients };
        self.monitors + working
    }
}

/// There are fewer nodes than roles.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the recipe needs {needed} nodes and {found} joined")]
pub struct SeatError {
    /// Nodes that are needed.
    pub needed: u32,
    /// Nodes that are there.
    pub found: u32,
}

impl Allocation {
    /// Seats the nodes that joined. One node alone takes every role; otherwise there must be enough.
    ///
    /// # Errors
    /// Fewer nodes than roles.
    pub fn of(candidates: &[Candidate], needs: &NodeNeeds) -> Result<Self, SeatError> {
        let found = candidates.len() as u32;
        if found == 0 || (found > 1 && found < needs.total()) {
            return Err(SeatError { needed: needs.total(), found });
        }
        let mut sorted: Vec<&Candidate> = candidates.iter().collect();
        // Claimed ordinals first and in their order; the sort is stable, so the rest stay as they joined.
        sorted.sort_by_key(|candidate| candidate.ordinal.unwrap_or(u32::MAX));
        let leader = sorted.iter().position(|candidate| candidate.is_leader);
        let roles = roles_by_ordinal(found, leader.map(|at| at as u32), needs);
        let mut on_host: BTreeMap<&str, u32> = BTreeMap::new();
        sorted.iter().for_each(|candidate| *on_host.entry(candidate.host.as_str()).or_default() += 1);
        let seat = |(ordinal, (candidate, roles)): (usize, (&Candidate, Vec<Role>))| Seat {
            node: if on_host[candidate.host.as_str()] > 1 {
                format!("{}-{ordinal}", candidate.host).into()
            } else {
                candidate.host.as_str().into()
            },
            ordinal: ordinal as u32,
            host: candidate.host.clone(),
            address: candidate.address.clone(),
            roles,
            cores: candidate.cores,
        };
        Ok(Self { seats: sorted.into_iter().zip(roles).enumerate().map(seat).collect() })
    }

    /// The seats that run servers.
    pub fn servers(&self) -> impl Iterator<Item = &Seat> {
        self.with(Role::Server)
    }

    /// The seats that send load.
    pub fn clients(&self) -> impl Iterator<Item = &Seat> {
        self.with(Role::Client)
    }

    /// The same nodes without one that is gone.
    #[must_use]
    pub fn without(&self, node: &NodeName) -> Self {
        Self { seats: self.seats.iter().filter(|seat| seat.node != *node).cloned().collect() }
    }

    fn with(&self, role: Role) -> impl Iterator<Item = &Seat> {
        self.seats.iter().filter(move |seat| seat.roles.contains(&role))
    }
}

/// The roles of `nodes` nodes, by ordinal. The leader's own node is the last to be given load, because
/// what it does beside would be measured too.
#[must_use]
pub fn roles_by_ordinal(nodes: u32, leader: Option<u32>, needs: &NodeNeeds) -> Vec<Vec<Role>> {
    if nodes == 1 {
        let server = (needs.servers > 0).then_some(Role::Server);
        return vec![server.into_iter().chain([Role::Client]).collect()];
    }
    let mut roles: Vec<Vec<Role>> = vec![Vec::new(); nodes as usize];
    let monitors = needs.monitors.min(nodes) as usize;
    let servers = needs.servers.min(nodes - monitors as u32) as usize;
    roles[..monitors].iter_mut().for_each(|roles| roles.push(Role::Monitor));
    roles[monitors..monitors + servers].iter_mut().for_each(|roles| roles.push(Role::Server));
    // Where the recipe leaves the number open, clients share the servers' nodes only if there are no others.
    let has_others = nodes as usize > monitors + servers;
    let is_shared = needs.share_servers && (needs.clients.is_some() || !has_others);
    let first_client = if is_shared { monitors } else { monitors + servers };
    let mut line: Vec<usize> = (first_client..nodes as usize).collect();
    line.sort_by_key(|ordinal| Some(*ordinal as u32) == leader);
    let others = line.len() - usize::from(line.last().is_some_and(|ordinal| Some(*ordinal as u32) == leader));
    let wanted = needs.clients.map_or(others.max(1), |clients| clients as usize);
    line.into_iter().take(wanted).for_each(|ordinal| roles[ordinal].push(Role::Client));
    roles
}

#[cfg(test)]
mod tests {
    use super::*;

    fn needs(monitors: u32, servers: u32, clients: Option<u32>) -> NodeNeeds {
        NodeNeeds { monitors, servers, clients, share_servers: false }
    }

    /// The roles as one word per node: `M`, `S`, `C`, `-`.
    fn drawn(nodes: u32, leader: Option<u32>, needs: &NodeNeeds) -> String {
        let letter = |role: &Role| match role {
            Role::Monitor => 'M',
            Role::Server => 'S',
            Role::Client => 'C',
        };
        let word = |roles: &Vec<Role>| if roles.is_empty() { "-".to_owned() } else { roles.iter().map(letter).collect() };
        roles_by_ordinal(nodes, leader, needs).iter().map(word).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn monitors_come_first_then_servers_then_clients() {
        assert_eq!(drawn(5, Some(0), &needs(1, 2, Some(2))), "M S S C C");
        assert_eq!(drawn(3, Some(0), &needs(0, 1, Some(2))), "S C C");
        assert_eq!(drawn(4, None, &needs(0, 1, Some(2))), "S C C -");
    }

    #[test]
    fn one_node_alone_takes_every_role() {
        assert_eq!(drawn(1, Some(0), &needs(1, 2, Some(3))), "SC");
        assert_eq!(drawn(1, Some(0), &needs(0, 0, Some(1))), "C");
    }

    #[test]
    fn the_leader_is_the_last_to_be_given_load() {
        assert_eq!(drawn(3, Some(0), &needs(0, 0, Some(2))), "- C C");
        assert_eq!(drawn(2, Some(0), &needs(0, 0, Some(2))), "C C");
        assert_eq!(drawn(3, Some(0), &needs(0, 0, None)), "- C C");
        assert_eq!(drawn(4, None, &needs(0, 1, None)), "S C C C");
    }

    #[test]
    fn shared_roles_sit_on_the_same_nodes() {
        let sharing = |clients| NodeNeeds { share_servers: true, ..needs(0, 2, clients) };
        assert_eq!(drawn(2, None, &sharing(Some(2))), "SC SC");
        assert_eq!(drawn(2, None, &sharing(None)), "SC SC");
        assert_eq!(drawn(4, None, &sharing(None)), "S S C C");
    }

    fn candidate(host: &str, ordinal: Option<u32>) -> Candidate {
        Candidate { ordinal, is_leader: false, host: host.into(), address: "127.0.0.1".into(), cores: 2 }
    }

    #[test]
    fn nodes_are_named_by_host_and_told_apart_where_they_share_one() {
        let names = |hosts: &[Candidate]| {
            let seated = Allocation::of(hosts, &needs(0, 1, Some(1))).unwrap();
            seated.seats.into_iter().map(|seat| seat.node.0).collect::<Vec<_>>()
        };
        assert_eq!(names(&[candidate("b", Some(1)), candidate("a", Some(0))]), ["a", "b"]);
        assert_eq!(names(&[candidate("a", None), candidate("a", None)]), ["a-0", "a-1"]);
    }

    #[test]
    fn too_few_nodes_are_refused_with_both_numbers() {
        let seated = Allocation::of(&[candidate("a", None), candidate("b", None)], &needs(1, 1, Some(2)));
        assert_eq!(seated, Err(SeatError { needed: 4, found: 2 }));
    }
}
