//! What a lost node leaves of a trial's load, cut into shares for the nodes that are left.
//!
//! ```text
//! before   executor 0: 0 2 4 6 8 …            executor 1: 1 3 5 7 9 …   (its node is lost)
//! after    executor 0: 0 2 4 6 8 …            executor 2: 5 9 13 …      (on node a)
//!                                             executor 3: 7 11 15 …     (on node b, as strong as a)
//! ```
//!
//! In an open loop the list of what is due stays as it is, only who sends it changes. In a closed loop clients move,
//! and go on with numbers that nobody has used.

use super::{
    Seat,
    shares::{dealt_clients, parts, size, sizes, weights, with_something},
};
use crate::{orders::LoadShare, schedule::Schedule, trial::LoadSpec, units::Nanos};

/// What is known of a lost executor once nothing more is counted of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Left {
    /// Its number.
    pub executor: u32,
    /// When that was, since the trial's start.
    pub at: Nanos,
    /// The index after the last one of its requests that is known.
    pub next: u64,
    /// How many of those that are known are measured ones.
    pub measured: u64,
}

/// A closed loop's numbers go on so many turns after the last one that is known: what the lost node began and did not
/// tell of has other numbers, as nobody begins so many requests in the seconds until a loss is seen.
const TURNS_AHEAD: u64 = 1 << 20;

/// The shares that together are the rest of `lost`, on `heirs`, their executors numbered from `executor`. None where
/// nothing is left to do, or nobody to do it.
#[must_use]
pub fn pieces(lost: &LoadShare, left: &Left, heirs: &[Seat], executor: u32) -> Vec<LoadShare> {
    let is_open = lost.load.model.is_open();
    let rest = lost.requests.map(|requests| requests.saturating_sub(left.measured));
    let whole = if is_open { lost.max_in_flight.unwrap_or(u32::MAX) } else { lost.clients.len() as u32 };
    if heirs.is_empty() || whole == 0 || rest == Some(0) {
        return Vec::new();
    }
    // Where several executors are lost at once, not everybody's first piece goes to the same node.
    let in_turn = heirs.iter().cycle().skip(left.executor as usize % heirs.len()).take(heirs.len()).collect();
    let by = lost.load.shares_by;
    let heirs = with_something(in_turn, by, whole);
    let from = if is_open {
        let schedule = Schedule::of(&lost.load, lost.seed);
        let next = schedule.and_then(|schedule| schedule.of_numbers(&lost.numbers).find(|due| due.at >= left.at));
        let Some(due) = next else { return Vec::new() };
        due.index
    } else {
        lost.numbers.at(lost.numbers.before(left.next).saturating_add(TURNS_AHEAD))
    };
    let numbers = lost.numbers.dealt(from, &weights(&heirs, by));
    let heirs = &heirs[..numbers.len()];
    let clients = dealt_clients(&lost.load.model, &lost.clients, &weights(heirs, by));
    let in_flight = lost.max_in_flight.map(|most| parts(most.into(), &weights(heirs, by)));
    // Who has more clients is through with more requests.
    let requests = rest.map(|rest| parts(rest, &sizes(clients.iter().map(Vec::len))));
    let piece = |((part, numbers), heir): ((usize, _), &&Seat)| LoadShare {
        node: heir.node.clone(),
        executor: executor + part as u32,
        numbers,
        requests: requests.as_ref().map(|parts| parts[part].end - parts[part].start),
        left_by: Some(left.executor),
        clients: clients.get(part).cloned().unwrap_or_default(),
        max_in_flight: in_flight.as_ref().map(|parts| size(&parts[part])),
        // The client was measured before the load; beside one it cannot be.
        load: LoadSpec { calibration: None, ..lost.load.clone() },
        ..lost.clone()
    };
    (0..).zip(numbers).zip(heirs).map(piece).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use proptest::prelude::*;

    use super::*;
    use crate::{
        schedule::{Due, Numbers},
        testing::{closed_plan, open_plan, seat, weights as of_weights},
        trial::{LoadModel, RateStage, Slope, Stop},
        units::{NodeName, Span},
    };

    fn nodes(cores: &[u32]) -> Vec<Seat> {
        (0..).zip(cores).map(|(ordinal, cores)| seat(ordinal, *cores)).collect()
    }

    /// What executor `share` sends that joins so late.
    fn sends(share: &LoadShare, since: Nanos, until: Nanos) -> Vec<Due> {
        let schedule = Schedule::of(&share.load, share.seed).unwrap();
        schedule.of_numbers(&share.numbers).filter(|due| due.at >= since && due.at < until).collect()
    }

    proptest! {
        #[test]
        fn an_open_loop_sends_what_one_would_but_for_the_gaps(
            rate in 20f64..200.0,
            cores in prop::collection::vec(1u32..20, 2..7),
            losses in prop::collection::vec((0u64..10_000_000_000, 1u64..900_000_000, 0usize..7), 0..5),
            in_flight in prop::option::of(1u32..20),
        ) {
            let mut plan = open_plan(rate, cores.len() as u32);
            for (share, numbers) in plan.shares.iter_mut().zip(Numbers::all().dealt(0, &of_weights(&cores))) {
                (share.max_in_flight, share.numbers) = (in_flight, numbers);
            }
            let mut alive = nodes(&cores);
            // Each executor's share, from when it sends, and until when.
            let mut loads: Vec<(LoadShare, Nanos, Nanos)> =
                plan.shares.iter().map(|share| (share.clone(), Nanos(0), Nanos(u64::MAX))).collect();
            let mut gaps: Vec<(Nanos, Nanos, Numbers)> = Vec::new();
            let mut losses = losses;
            losses.sort_unstable();
            let mut now = 0;
            for (at, takes, who) in losses {
                if alive.len() < 2 { break }
                let at = at.max(now);
                now = at + takes;
                let gone = alive.remove(who % alive.len());
                for lost in 0..loads.len() {
                    let (share, since, until) = &mut loads[lost];
                    if share.node != gone.node || until.0 < u64::MAX { continue }
                    *until = Nanos(at).max(*since);
                    gaps.push((*until, Nanos(now), share.numbers.clone()));
                    let left = Left { executor: share.executor, at: Nanos(at), next: 0, measured: 0 };
                    let cut = pieces(&share.clone(), &left, &alive, loads.len() as u32);
                    loads.extend(cut.into_iter().map(|piece| (piece, Nanos(now), Nanos(u64::MAX))));
                }
            }
            let mut sent: Vec<Due> = loads.iter().flat_map(|(share, since, until)| sends(share, *since, *until)).collect();
            sent.sort_by_key(|due| due.index);
            let whole = Schedule::of(&plan.trial.load, plan.trial.seed).unwrap();
            let is_in_gap = |due: &Due| gaps.iter().any(|(from, to, numbers)| due.at >= *from && due.at < *to && numbers.contains(due.index));
            let expected: Vec<Due> = whole.of_numbers(&Numbers::all()).filter(|due| !is_in_gap(due)).collect();
            prop_assert_eq!(sent, expected);
        }

        #[test]
        fn a_closed_loop_keeps_its_clients_and_its_number_of_requests(
            concurrency in 1u32..40,
            count in 2u32..7,
            told in prop::collection::vec(0u64..60, 6),
            total in 1u64..400,
        ) {
            let mut plan = closed_plan(concurrency.max(count), count);
            plan.trial.load.stop = Stop::Requests(total);
            for share in &mut plan.shares {
                share.requests = Some(share.numbers.before(total));
            }
            let cores: Vec<u32> = (1..=count).collect();
            let mut alive = nodes(&cores);
            let mut loads = plan.shares.clone();
            let mut done = 0;
            let mut used: BTreeSet<u64> = BTreeSet::new();
            while alive.len() > 1 {
                let gone = alive.remove(0);
                let lost: Vec<LoadShare> = loads.iter().filter(|share| share.node == gone.node).cloned().collect();
                loads.retain(|share| share.node != gone.node);
                let mut next = 1_000 * (8 - alive.len() as u32);
                for share in lost {
                    let measured = told[alive.len() - 1].min(share.requests.unwrap());
                    done += measured;
                    for place in 0..measured {
                        prop_assert!(used.insert(share.numbers.at(place)), "a number is used once");
                    }
                    let next_number = share.numbers.at(measured);
                    let left = Left { executor: share.executor, at: Nanos(1), next: next_number, measured };
                    let cut = pieces(&share, &left, &alive, next);
                    next += cut.len() as u32;
                    let is_alive = |node: &NodeName| alive.iter().any(|seat| seat.node == *node);
                    prop_assert!(cut.iter().all(|piece| piece.left_by == Some(share.executor) && is_alive(&piece.node)));
                    loads.extend(cut);
                }
            }
            let rest: u64 = loads.iter().map(|share| share.requests.unwrap()).sum();
            prop_assert_eq!(done + rest, total, "what is asked for is done");
            let mut played: BTreeMap<u32, u32> = BTreeMap::new();
            loads.iter().flat_map(|share| &share.clients).for_each(|client| *played.entry(*client).or_default() += 1);
            prop_assert!(played.values().all(|times| *times == 1));
            prop_assert!(rest == 0 || !played.is_empty());
        }
    }

    #[test]
    fn a_part_of_what_may_be_in_flight_is_never_nothing() {
        let mut plan = open_plan(50.0, 2);
        plan.shares[1].max_in_flight = Some(2);
        let left = Left { executor: 1, at: Nanos(0), next: 0, measured: 0 };
        let cut = pieces(&plan.shares[1], &left, &nodes(&[4; 5]), 2);
        assert_eq!(cut.iter().map(|piece| piece.max_in_flight).collect::<Vec<_>>(), [Some(1), Some(1)]);
    }

    #[test]
    fn the_stronger_heir_takes_more() {
        let plan = closed_plan(12, 2);
        let left = Left { executor: 1, at: Nanos(0), next: 0, measured: 0 };
        let clients = |cores: &[u32]| -> BTreeMap<String, usize> {
            let cut = pieces(&plan.shares[1], &left, &nodes(cores), 2);
            cut.iter().map(|piece| (piece.node.to_string(), piece.clients.len())).collect()
        };
        assert_eq!(clients(&[2, 4]), BTreeMap::from([("node-0".into(), 2), ("node-1".into(), 4)]));
        assert_eq!(clients(&[4, 4]), BTreeMap::from([("node-0".into(), 3), ("node-1".into(), 3)]));
    }

    #[test]
    fn of_clients_that_come_and_go_every_heir_has_early_ones_and_late_ones() {
        let mut plan = closed_plan(12, 2);
        let ramp = RateStage { duration: Span::from_secs(9), from: 1.0, to: 12.0, slope: Slope::Linear };
        plan.shares[1].load.model = LoadModel::ClosedStaged { stages: vec![ramp], think: Span::ZERO };
        let left = Left { executor: 1, at: Nanos(0), next: 0, measured: 0 };
        let cut = pieces(&plan.shares[1], &left, &nodes(&[4, 4]), 2);
        assert_eq!(cut.iter().map(|piece| &piece.clients[..]).collect::<Vec<_>>(), [[1, 5, 9], [3, 7, 11]]);
    }

    #[test]
    fn nothing_is_handed_on_where_nothing_is_left_or_nobody() {
        let plan = open_plan(50.0, 2);
        let at = |seconds: u64| Left { executor: 1, at: Nanos(seconds * 1_000_000_000), next: 0, measured: 0 };
        assert!(pieces(&plan.shares[1], &at(12), &nodes(&[4; 3]), 2).is_empty());
        assert!(pieces(&plan.shares[1], &at(1), &[], 2).is_empty());
    }
}
