//! Each executor's exact share of the load: nothing lost, nothing twice, differing by one at most.

use std::{collections::BTreeSet, num::NonZeroU32};

use super::Allocation;
use crate::{
    orders::LoadShare,
    schedule::Numbers,
    trial::{LoadModel, Stop, Trial},
};

/// One share for each client node that has something to do.
pub(super) fn of(trial: &Trial, allocation: &Allocation) -> Vec<LoadShare> {
    let seats: Vec<_> = allocation.clients().collect();
    // A node that would get no client, or no request in flight, would only send an empty window.
    let clients = trial.load.model.clients();
    let most = clients.or(trial.load.max_in_flight).map_or(u32::MAX, NonZeroU32::get);
    let executors = (seats.len() as u32).min(most);
    let Some(of) = NonZeroU32::new(executors) else { return Vec::new() };
    let share = |(executor, seat): (u32, &&super::Seat)| LoadShare {
        trial: trial.id.clone(),
        node: seat.node.clone(),
        executor,
        executors,
        numbers: Numbers::of(executor, of),
        requests: match trial.load.stop {
            Stop::Requests(total) if !trial.load.model.is_open() => Some(even(total, executor, of)),
            _ => None,
        },
        left_by: None,
        clients: match &trial.load.model {
            LoadModel::Closed { concurrency, .. } => block(concurrency.get(), executor, executors),
            // The first ones begin first: dealt out in turn, every node has its part of any number of them.
            model @ LoadModel::ClosedStaged { .. } => {
                (executor..model.clients().map_or(0, NonZeroU32::get)).step_by(executors as usize).collect()
            }
            LoadModel::Open { .. } | LoadModel::Staged { .. } | LoadModel::Replay { .. } => Vec::new(),
        },
        max_in_flight: trial.load.max_in_flight.map(|most| block_size(most.get(), executor, executors)),
        load: trial.load.clone(),
        request: trial.request.clone(),
        service: trial.service.clone(),
        servers: Vec::new(),
        left_servers: BTreeSet::new(),
        http2: BTreeSet::new(),
        seed: trial.seed,
        counting: None,
    };
    (0..executors).zip(&seats).map(share).collect()
}

/// How many clients the router must know: in an open loop each executor is one.
pub(super) fn routed_clients(trial: &Trial, shares: &[LoadShare]) -> u32 {
    trial.load.model.clients().map_or(shares.len() as u32, NonZeroU32::get)
}

/// The `part`-th of `parts` shares of a number; they differ by one at most.
pub(super) fn even(whole: u64, part: u32, parts: NonZeroU32) -> u64 {
    let parts = u64::from(parts.get());
    whole / parts + u64::from(u64::from(part) < whole % parts)
}

/// The `part`-th of `parts` neighbouring blocks of `0..whole`; their sizes differ by one at most.
pub(super) fn block(whole: u32, part: u32, parts: u32) -> Vec<u32> {
    borders(whole, part, parts).collect()
}

/// How much such a block holds.
pub(super) fn block_size(whole: u32, part: u32, parts: u32) -> u32 {
    let borders = borders(whole, part, parts);
    borders.end - borders.start
}

fn borders(whole: u32, part: u32, parts: u32) -> std::ops::Range<u32> {
    let border = |part: u32| (u64::from(whole) * u64::from(part) / u64::from(parts)) as u32;
    border(part)..border(part + 1)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn blocks_hold_everything_once_and_differ_by_one_at_most(whole in 0u32..5_000, parts in 1u32..200) {
            let blocks: Vec<Vec<u32>> = (0..parts).map(|part| block(whole, part, parts)).collect();
            prop_assert_eq!(blocks.concat(), (0..whole).collect::<Vec<_>>());
            let sizes = blocks.iter().map(Vec::len);
            prop_assert!(sizes.clone().max().unwrap() - sizes.min().unwrap() <= 1);
        }
    }
}
