//! Which server a request goes to.

use std::collections::BTreeSet;

use rand_pcg::{
    Pcg64Mcg,
    rand_core::{Rng as _, SeedableRng as _},
};

use crate::trial::Distribution;

/// Picks a server for each request; equal on every node for equal arguments.
#[derive(Debug, Clone)]
pub struct Router {
    distribution: Distribution,
    servers: u32,
    seed: u64,
    /// Those that can be asked, where some are gone.
    left: Option<Vec<u32>>,
}

/// Why no router can be made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RoutingError {
    /// There is nobody to ask.
    #[error("there is no server to send to")]
    NoServer,
    /// A mapping names a server that is not there.
    #[error("target_mapping sends client {client} to server {server}, but there are only {servers} servers (0 to {last})", last = servers - 1)]
    UnknownServer {
        /// The client.
        client: u32,
        /// The server it names.
        server: u32,
        /// How many there are.
        servers: u32,
    },
    /// A client is not in the mapping.
    #[error("target_mapping says nothing about client {client}")]
    UnmappedClient {
        /// The client.
        client: u32,
    },
}

impl Router {
    /// A router for `clients` clients over `servers` servers.
    ///
    /// # Errors
    /// No server, or a mapping that does not fit the clients and servers there are.
    pub fn new(distribution: &Distribution, clients: u32, servers: u32, seed: u64) -> Result<Self, RoutingError> {
        if servers == 0 {
            return Err(RoutingError::NoServer);
        }
        if let Distribution::Static(mapping) = distribution {
            for client in 0..clients {
                let targets = mapping.get(&client).filter(|targets| !targets.is_empty());
                let targets = targets.ok_or(RoutingError::UnmappedClient { client })?;
                if let Some(&server) = targets.iter().find(|server| **server >= servers) {
                    return Err(RoutingError::UnknownServer { client, server, servers });
                }
            }
        }
        Ok(Self { distribution: distribution.clone(), servers, seed, left: None })
    }

    /// The same router, once these servers are gone, too. Who asked another one goes on asking it; the clients of those that
    /// are gone are spread over all that are left, or over those of them that a mapping names. Where none would be left,
    /// nothing changes.
    #[must_use]
    pub fn without(&self, gone: &BTreeSet<u32>) -> Self {
        let before = self.left.clone().unwrap_or_else(|| (0..self.servers).collect());
        let left: Vec<u32> = before.iter().copied().filter(|server| !gone.contains(server)).collect();
        if left.is_empty() || left.len() == before.len() {
            return self.clone();
        }
        Self { left: Some(left), ..self.clone() }
    }

    /// The server that client `client` asks with its `turn`-th request, which is request `index` of the trial.
    #[must_use]
    pub fn pick(&self, client: u32, turn: u64, index: u64) -> u32 {
        let meant = self.meant(client, turn, index);
        let Some(left) = self.left.as_ref().filter(|left| !left.contains(&meant)) else { return meant };
        // A client that keeps to its server keeps to the one that it gets instead.
        let spread = |list: &[u32], by: u64| list[(by % list.len() as u64) as usize];
        match &self.distribution {
            Distribution::RoundRobin => spread(left, u64::from(client / self.servers)),
            Distribution::Random | Distribution::AllToAll => spread(left, index),
            Distribution::Static(mapping) => {
                let named = mapping.get(&client).map(Vec::as_slice).unwrap_or_default();
                let named: Vec<u32> = named.iter().copied().filter(|server| left.contains(server)).collect();
                if named.is_empty() { spread(left, u64::from(client)) } else { spread(&named, turn) }
            }
        }
    }

    /// The server that is to be asked while all of them are there.
    fn meant(&self, client: u32, turn: u64, index: u64) -> u32 {
        let rotate = |length: u32, start: u64| ((start + turn) % u64::from(length)) as u32;
        match &self.distribution {
            Distribution::RoundRobin => client % self.servers,
            Distribution::Random => {
                let mut rng = Pcg64Mcg::seed_from_u64(self.seed ^ index.wrapping_mul(0x9e37_79b9_7f4a_7c15));
                (rng.next_u64() % u64::from(self.servers)) as u32
            }
            // Clients begin at different servers, so that they do not walk in step.
            Distribution::AllToAll => rotate(self.servers, u64::from(client)),
            Distribution::Static(mapping) => match mapping.get(&client) {
                Some(targets) if !targets.is_empty() => targets[rotate(targets.len() as u32, 0) as usize],
                _ => client % self.servers,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    /// The servers that clients 0..4 ask with their first six requests.
    fn asked(distribution: &Distribution, servers: u32) -> Vec<Vec<u32>> {
        let router = Router::new(distribution, 4, servers, 9).unwrap();
        (0..4).map(|client| (0..6).map(|turn| router.pick(client, turn, turn * 4 + u64::from(client))).collect()).collect()
    }

    #[test]
    fn round_robin_keeps_a_client_at_its_server() {
        assert_eq!(asked(&Distribution::RoundRobin, 3), [[0; 6], [1; 6], [2; 6], [0; 6]]);
    }

    #[test]
    fn all_to_all_takes_every_client_over_every_server() {
        let expected = [[0, 1, 2, 0, 1, 2], [1, 2, 0, 1, 2, 0], [2, 0, 1, 2, 0, 1], [0, 1, 2, 0, 1, 2]];
        assert_eq!(asked(&Distribution::AllToAll, 3), expected);
    }

    #[test]
    fn a_static_mapping_is_followed_to_the_letter() {
        let mapping = BTreeMap::from([(0, vec![1]), (1, vec![0, 1]), (2, vec![0]), (3, vec![1])]);
        let expected = [[1, 1, 1, 1, 1, 1], [0, 1, 0, 1, 0, 1], [0; 6], [1; 6]];
        assert_eq!(asked(&Distribution::Static(mapping), 2), expected);
    }

    #[test]
    fn random_is_even_and_the_same_everywhere() {
        let router = Router::new(&Distribution::Random, 1, 4, 11).unwrap();
        let mut counts = [0u32; 4];
        (0..40_000u64).for_each(|index| counts[router.pick(0, index, index) as usize] += 1);
        assert!(counts.iter().all(|&count| (9_700..10_300).contains(&count)), "{counts:?}");
        assert_eq!(router.pick(0, 5, 5), router.pick(3, 0, 5), "only the request's index decides");
    }

    #[test]
    fn the_clients_of_a_server_that_is_gone_are_spread_over_those_that_are_left() {
        let kinds = [
            Distribution::RoundRobin,
            Distribution::Random,
            Distribution::AllToAll,
            Distribution::Static((0..60).map(|client| (client, vec![client % 3, (client + 1) % 3])).collect()),
        ];
        for distribution in kinds {
            let whole = Router::new(&distribution, 60, 3, 5).unwrap();
            let rest = whole.without(&BTreeSet::from([1]));
            let mut moved = [0u32; 3];
            for client in 0..60 {
                for turn in 0..20 {
                    let index = turn * 60 + u64::from(client);
                    let (meant, asked) = (whole.pick(client, turn, index), rest.pick(client, turn, index));
                    assert!(meant == 1 || asked == meant, "{distribution:?}: who asked another server stays there");
                    moved[asked as usize] += u32::from(meant == 1);
                }
            }
            assert!(moved[1] == 0 && moved[0] > 0 && moved[2] > 0, "{distribution:?}: {moved:?}");
            let last = rest.without(&BTreeSet::from([0, 1]));
            assert!((0..60).all(|client| last.pick(client, 0, client.into()) == 2), "{distribution:?}");
        }
        let round = Router::new(&Distribution::RoundRobin, 9, 3, 5).unwrap().without(&BTreeSet::from([1]));
        let asked = |client| (0..9).map(|turn| round.pick(client, turn, turn)).collect::<BTreeSet<_>>().len();
        assert!((0..9).all(|client| asked(client) == 1), "a client keeps to one server");
        assert_eq!(
            round.without(&BTreeSet::from([0, 1, 2])).pick(4, 0, 4),
            round.pick(4, 0, 4),
            "where none is left nobody moves"
        );
    }

    #[test]
    fn a_mapping_that_does_not_fit_is_refused() {
        let mapped = |targets: Vec<u32>| Distribution::Static(BTreeMap::from([(0, targets)]));
        let refused = |distribution: &Distribution, servers| Router::new(distribution, 1, servers, 0).err();
        assert_eq!(refused(&Distribution::Random, 0), Some(RoutingError::NoServer));
        assert_eq!(refused(&mapped(vec![2]), 2), Some(RoutingError::UnknownServer { client: 0, server: 2, servers: 2 }));
        assert_eq!(refused(&mapped(vec![]), 2), Some(RoutingError::UnmappedClient { client: 0 }));
    }
}
