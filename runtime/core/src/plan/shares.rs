//! Each executor's exact share of the load: nothing lost, nothing twice, and of clients, of requests in flight and of an open
//! loop's requests within one of the fraction that its node's weight gives it.

use std::{cmp::Reverse, collections::BTreeSet, num::NonZeroU32, ops::Range};

use super::{Allocation, Seat};
use crate::{
    orders::LoadShare,
    schedule::{Numbers, turns},
    trial::{LoadModel, SharesBy, Stop, Trial},
};

/// More cores than these make no node heavier.
const MOST_CORES: u32 = 1024;

/// One share for each client node that has something to do.
pub(super) fn of(trial: &Trial, allocation: &Allocation) -> Vec<LoadShare> {
    let load = &trial.load;
    // A node that would get no client, or no request in flight, would only send an empty window.
    let whole = load.model.clients().or(load.max_in_flight).map_or(u32::MAX, NonZeroU32::get);
    let seats = with_something(allocation.clients().collect(), load.shares_by, whole);
    let weights = weights(&seats, load.shares_by);
    let clients = clients(&load.model, &weights);
    let in_flight = load.max_in_flight.map(|most| parts(most.get().into(), &weights));
    // Who has more clients is through with more requests.
    let sizes = sizes(clients.iter().map(Vec::len));
    let numbers = Numbers::all().dealt(0, if load.model.is_open() { &weights } else { &sizes });
    let share = |((executor, seat), numbers): ((u32, &&Seat), Numbers)| LoadShare {
        trial: trial.id.clone(),
        node: seat.node.clone(),
        executor,
        requests: match load.stop {
            Stop::Requests(total) if !load.model.is_open() => Some(numbers.before(total)),
            _ => None,
        },
        numbers,
        left_by: None,
        clients: clients.get(executor as usize).cloned().unwrap_or_default(),
        max_in_flight: in_flight.as_ref().map(|parts| size(&parts[executor as usize])),
        load: load.clone(),
        request: trial.request.clone(),
        service: trial.service.clone(),
        servers: Vec::new(),
        left_servers: BTreeSet::new(),
        http2: BTreeSet::new(),
        seed: trial.seed,
        counting: None,
    };
    (0..).zip(&seats).zip(numbers).map(share).collect()
}

/// The ordinals of each executor's clients; nobody's in an open loop.
fn clients(model: &LoadModel, weights: &[NonZeroU32]) -> Vec<Vec<u32>> {
    let all: Vec<u32> = (0..model.clients().map_or(0, NonZeroU32::get)).collect();
    dealt_clients(model, &all, weights)
}

/// These clients, each part of them in the order of their ordinals.
pub(super) fn dealt_clients(model: &LoadModel, clients: &[u32], weights: &[NonZeroU32]) -> Vec<Vec<u32>> {
    let blocks = parts(clients.len() as u64, weights);
    match model {
        // The first ones begin first and end last: dealt out in turn, every node has its part of any number of them.
        LoadModel::ClosedStaged { .. } => {
            let sizes = sizes(blocks.iter().map(|block| size(block) as usize));
            let mut dealt = vec![Vec::new(); sizes.len()];
            clients.iter().zip(turns(&sizes).iter().cycle()).for_each(|(client, turn)| dealt[*turn as usize].push(*client));
            dealt
        }
        _ => blocks.into_iter().map(|block| clients[block.start as usize..block.end as usize].to_vec()).collect(),
    }
}

/// How many clients the router must know: in an open loop each executor is one.
pub(super) fn routed_clients(trial: &Trial, shares: &[LoadShare]) -> u32 {
    trial.load.model.clients().map_or(shares.len() as u32, NonZeroU32::get)
}

/// Those of the nodes that get something of `whole`: where it is too little for all of them, the weakest go without.
pub(super) fn with_something(mut seats: Vec<&Seat>, by: SharesBy, whole: u32) -> Vec<&Seat> {
    while parts(whole.into(), &weights(&seats, by)).iter().any(Range::is_empty) {
        let weakest = seats.iter().enumerate().min_by_key(|(place, seat)| (weight(seat, by), Reverse(*place)));
        let Some((weakest, _)) = weakest else { break };
        seats.remove(weakest);
    }
    seats
}

/// How much these nodes send, in proportion.
pub(super) fn weights(seats: &[&Seat], by: SharesBy) -> Vec<NonZeroU32> {
    seats.iter().map(|seat| weight(seat, by)).collect()
}

/// A node whose cores nobody knows is as heavy as one with a single core.
fn weight(seat: &Seat, by: SharesBy) -> NonZeroU32 {
    match by {
        SharesBy::Cores => NonZeroU32::new(seat.cores.min(MOST_CORES)).unwrap_or(NonZeroU32::MIN),
        SharesBy::Nodes => NonZeroU32::MIN,
    }
}

/// How many clients each has, as weights.
pub(super) fn sizes(clients: impl Iterator<Item = usize>) -> Vec<NonZeroU32> {
    clients.filter_map(|clients| NonZeroU32::new(clients as u32)).collect()
}

/// Neighbouring parts of `0..whole` by weight, each within one of its exact fraction. What the whole parts leave goes to those
/// that lack most, of equals to the lighter ones first: who gets something does not depend on the order.
pub(super) fn parts(whole: u64, weights: &[NonZeroU32]) -> Vec<Range<u64>> {
    let sum: u128 = weights.iter().map(|weight| u128::from(weight.get())).sum();
    let exact = |weight: &NonZeroU32| u128::from(whole) * u128::from(weight.get());
    let mut sizes: Vec<u64> = weights.iter().map(|weight| (exact(weight) / sum) as u64).collect();
    let left = (whole - sizes.iter().sum::<u64>().min(whole)) as usize;
    let mut lacking: Vec<usize> = (0..weights.len()).collect();
    lacking.sort_by_key(|place| (Reverse(exact(&weights[*place]) % sum), weights[*place]));
    lacking.into_iter().take(left).for_each(|place| sizes[place] += 1);
    let mut end = 0;
    let part = |size: u64| {
        let start = end;
        end += size;
        start..end
    };
    sizes.into_iter().map(part).collect()
}

/// How much such a part of a number of clients or requests in flight holds.
pub(super) fn size(part: &Range<u64>) -> u32 {
    (part.end - part.start) as u32
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{
        schedule::Schedule,
        testing::{closed_plan, open_plan, seat, weights as of_weights},
        trial::{RateStage, Slope},
        units::Span,
    };

    fn allocation(cores: &[u32]) -> Allocation {
        Allocation { seats: (0..).zip(cores).map(|(ordinal, cores)| seat(ordinal, *cores)).collect() }
    }

    proptest! {
        #[test]
        fn parts_hold_everything_once_and_are_off_by_less_than_one(whole in 0u64..5_000, of in prop::collection::vec(1u32..200, 1..60)) {
            let (parts, sum) = (parts(whole, &of_weights(&of)), of.iter().sum::<u32>());
            prop_assert_eq!(parts.iter().flat_map(Clone::clone).collect::<Vec<_>>(), (0..whole).collect::<Vec<_>>());
            for (part, weight) in parts.iter().zip(&of) {
                let exact = whole as f64 * f64::from(*weight) / f64::from(sum);
                prop_assert!((f64::from(size(part)) - exact).abs() < 1.0);
            }
        }

        #[test]
        fn every_client_and_every_request_is_somebodys_whatever_the_cores(
            cores in prop::collection::vec(0u32..130, 1..9),
            clients in 1u32..60,
            total in 1u64..500,
            is_staged in any::<bool>(),
            by in prop_oneof![Just(SharesBy::Cores), Just(SharesBy::Nodes)],
        ) {
            let mut trial = closed_plan(clients, 1).trial;
            (trial.load.stop, trial.load.shares_by) = (Stop::Requests(total), by);
            if is_staged {
                let ramp = RateStage { duration: Span::from_secs(9), from: 1.0, to: clients.into(), slope: Slope::Linear };
                trial.load.model = LoadModel::ClosedStaged { stages: vec![ramp], think: Span::ZERO };
            }
            let shares = of(&trial, &allocation(&cores));
            let mut played: Vec<u32> = shares.iter().flat_map(|share| share.clients.clone()).collect();
            played.sort_unstable();
            prop_assert_eq!(played, (0..clients).collect::<Vec<_>>());
            prop_assert!(shares.iter().all(|share| !share.clients.is_empty()));
            let asked = |share: &LoadShare| (0..share.requests.unwrap()).map(|place| share.numbers.at(place)).collect::<Vec<_>>();
            let mut all: Vec<u64> = shares.iter().flat_map(asked).collect();
            all.sort_unstable();
            prop_assert_eq!(all, (0..total).collect::<Vec<_>>());
            for share in &shares {
                let exact = total as f64 * share.clients.len() as f64 / f64::from(clients);
                prop_assert!((share.requests.unwrap() as f64 - exact).abs() < 1.0);
            }
        }

        #[test]
        fn an_open_loop_of_uneven_nodes_sends_what_one_would(
            rate in 20f64..200.0,
            cores in prop::collection::vec(1u32..130, 1..7),
            in_flight in prop::option::of(1u32..40),
            together in 1u32..6,
        ) {
            let mut trial = open_plan(rate, 1).trial;
            trial.load.together = NonZeroU32::new(together).unwrap();
            trial.load.max_in_flight = in_flight.and_then(NonZeroU32::new);
            let shares = of(&trial, &allocation(&cores));
            let schedule = Schedule::of(&trial.load, trial.seed).unwrap();
            let all = schedule.of_numbers(&Numbers::all()).count() as f64;
            for share in &shares {
                prop_assert!((schedule.of_numbers(&share.numbers).count() as f64 - all * share.fraction()).abs() < 1.0);
            }
            let mut together: Vec<_> = shares.iter().flat_map(|share| schedule.of_numbers(&share.numbers)).collect();
            together.sort_by_key(|due| due.index);
            prop_assert_eq!(together, schedule.of_numbers(&Numbers::all()).collect::<Vec<_>>());
            if let Some(most) = in_flight {
                let parts: Vec<u32> = shares.iter().map(|share| share.max_in_flight.unwrap()).collect();
                prop_assert!(parts.iter().all(|part| *part > 0) && parts.iter().sum::<u32>() == most, "{:?}", parts);
            }
        }
    }

    /// How many clients each node plays, by node.
    fn played(cores: &[u32], clients: u32, by: SharesBy) -> Vec<(String, usize)> {
        let mut trial = closed_plan(clients, 1).trial;
        trial.load.shares_by = by;
        of(&trial, &allocation(cores)).iter().map(|share| (share.node.to_string(), share.clients.len())).collect()
    }

    #[test]
    fn a_node_with_twice_the_cores_plays_twice_the_clients() {
        let told = |of: &[(&str, usize)]| of.iter().map(|(node, clients)| ((*node).to_owned(), *clients)).collect::<Vec<_>>();
        assert_eq!(played(&[64, 128], 96, SharesBy::Cores), told(&[("node-0", 32), ("node-1", 64)]));
        assert_eq!(played(&[64, 128], 96, SharesBy::Nodes), told(&[("node-0", 48), ("node-1", 48)]));
        assert_eq!(played(&[8, 8, 8], 2, SharesBy::Cores), told(&[("node-0", 1), ("node-1", 1)]));
        assert_eq!(played(&[64, 128], 2, SharesBy::Cores), told(&[("node-0", 1), ("node-1", 1)]));
        assert_eq!(played(&[128, 64], 2, SharesBy::Cores), told(&[("node-0", 1), ("node-1", 1)]));
        assert_eq!(played(&[4, 1, 1, 1], 4, SharesBy::Cores).len(), played(&[1, 4, 1, 1], 4, SharesBy::Cores).len());
        let mixed: Vec<u32> = [128, 64].into_iter().cycle().take(16).collect();
        let sorted: Vec<u32> = [128; 8].into_iter().chain([64; 8]).collect();
        for cores in [mixed, sorted] {
            assert!(played(&cores, 16, SharesBy::Cores).iter().map(|(_, clients)| *clients).eq([1; 16]), "{cores:?}");
        }
        assert_eq!(played(&[1, 64, 1], 4, SharesBy::Cores), told(&[("node-1", 4)]), "the weakest go without");
    }
}
