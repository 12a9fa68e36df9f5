//! The nodes as the Orchestrator knows them: who joined, under which name, how far its clock is off.

use std::collections::BTreeMap;

use hb_core::{
    plan::{Allocation, Candidate, SeatError},
    units::NodeName,
};

use super::Expected;
use crate::{
    cluster::{AgentHandle, PeerId},
    messages::HelloBack,
};

/// A node that joined.
pub struct Member {
    /// What it said of itself.
    pub hello: HelloBack,
    /// The way to it.
    pub agent: AgentHandle,
    /// Its name in the run, once it has a seat.
    pub name: Option<NodeName>,
    /// Its clock minus the leader's, and the bound of that estimate, nanoseconds.
    pub clock: Option<(i64, u64)>,
}

/// All nodes that joined and are not lost.
#[derive(Default)]
pub struct Nodes {
    members: BTreeMap<PeerId, Member>,
    joined: Vec<PeerId>,
}

impl Nodes {
    /// A node joined.
    pub fn joined(&mut self, peer: PeerId, hello: HelloBack, agent: AgentHandle) {
        self.joined.push(peer.clone());
        self.members.insert(peer, Member { hello, agent, name: None, clock: None });
    }

    /// The same life of a node is back after its link had closed.
    pub fn returned(&mut self, peer: &PeerId, agent: AgentHandle) {
        if let Some(member) = self.members.get_mut(peer) {
            member.agent = agent;
        }
    }

    /// A node is gone; its name, if it had one.
    pub fn lost(&mut self, peer: &PeerId) -> Option<Member> {
        self.joined.retain(|other| other != peer);
        self.members.remove(peer)
    }

    /// A better estimate of a node's clock.
    pub fn clock(&mut self, peer: &PeerId, offset_nanos: i64, bound_nanos: u64) {
        if let Some(member) = self.members.get_mut(peer) {
            member.clock = Some((offset_nanos, bound_nanos));
        }
    }

    /// How many are there.
    pub fn len(&self) -> usize {
        self.members.len()
    }

    /// Gives every node its seat and its name.
    ///
    /// # Errors
    /// Fewer nodes than roles.
    pub fn seat(&mut self, expected: &Expected, own_pid: u32, own_host: &str) -> Result<Allocation, SeatError> {
        let mut order: Vec<PeerId> = self.joined.clone();
        // The same order in which `Allocation::of` sorts, so that seats and members can be matched up.
        order.sort_by_key(|peer| self.members[peer].hello.ordinal.unwrap_or(u32::MAX));
        let candidate = |peer: &PeerId| {
            let hello = &self.members[peer].hello;
            Candidate {
                ordinal: hello.ordinal,
                is_leader: !expected.are_placed && hello.pid == own_pid && hello.host == own_host,
                host: hello.host.clone(),
                address: hello.address.clone(),
                cores: hello.cores,
            }
        };
        let candidates: Vec<Candidate> = order.iter().map(candidate).collect();
        let allocation = Allocation::of(&candidates, &expected.needs)?;
        for (peer, seat) in order.iter().zip(&allocation.seats) {
            if let Some(member) = self.members.get_mut(peer) {
                member.name = Some(seat.node.clone());
            }
        }
        Ok(allocation)
    }

    /// The node of this name.
    pub fn named(&self, name: &NodeName) -> Option<&Member> {
        self.members.values().find(|member| member.name.as_ref() == Some(name))
    }

    /// Every node, with its name.
    pub fn iter(&self) -> impl Iterator<Item = &Member> {
        self.members.values()
    }
}
