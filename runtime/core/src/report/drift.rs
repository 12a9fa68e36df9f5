//! Whether latencies moved to another level within the window, by one stated rule.
//!
//! ```text
//!   window in 12 equal parts     ▁▂▁▁▂▁▁ · ▅▆▅▅        each part's median, of the requests due in it
//!                                before    after       any cut leaves out one part and has three on each side
//! ```
//!
//! A latency moved at a cut where every part's median on the one side lies above every one on the other, the medians of
//! both sides are a third apart and no less than can be told from the client's own timers, and their intervals of four
//! standard deviations by order statistics do not touch. The first condition keeps queues that come and go from being
//! taken for a step, the last one few samples.

use std::collections::BTreeMap;

use crate::{
    record::{Outcome, Record, Stage},
    tally::Latency,
    trial::{LoadModel, Trial},
    units::Nanos,
    verdict::DriftEvidence,
};

/// Parts of the window.
const PARTS: u64 = 12;
/// Parts on each side of a cut that must have answers.
const FEWEST_PARTS: usize = 3;
/// Windows under this length say too little.
const SHORTEST_SECONDS: f64 = 9.0;
/// By how much the larger median exceeds the smaller one, as a factor.
pub(crate) const MOVED: f64 = 1.33;
/// And by how much at least, of times to first token and of whole answers…
const APART_SECONDS: f64 = 0.005;
/// …and of times per token.
const APART_PER_TOKEN: f64 = 0.000_5;
/// Standard deviations of a rank on each side of a median.
const SIGMAS: f64 = 4.0;

/// Requests are put into cells of this length by the instant at which they were due; twice as long ones where a window has more than
/// [`MOST_CELLS`] of them.
const CELL: u64 = 125_000_000;
/// A window's cells; memory does not grow beyond them.
const MOST_CELLS: usize = 4096;
/// Latencies are counted in buckets that are so much apart, as a factor.
const BUCKET: f64 = 1.02;

/// Counts by bucket.
type Counts = BTreeMap<i32, u64>;

/// Latencies by when their requests were due.
#[derive(Debug)]
pub(super) struct Drift {
    /// Nothing is said of a load that was to be uneven, and of prompts that grow from turn to turn.
    is_judged: bool,
    start: Nanos,
    width: u64,
    /// By latency, cell, bucket.
    cells: BTreeMap<Latency, BTreeMap<u64, Counts>>,
}

impl Drift {
    pub(super) fn new(trial: &Trial, start: Nanos) -> Self {
        let is_even = matches!(trial.load.model, LoadModel::Closed { .. } | LoadModel::Open { .. });
        Self { is_judged: is_even && trial.request.turns.is_none(), start, width: CELL, cells: BTreeMap::new() }
    }

    /// A measured request.
    pub(super) fn take(&mut self, record: &Record) {
        if !self.is_judged || record.stage != Stage::Measure || record.outcome != Outcome::Completed {
            return;
        }
        let cell = record.due.since(self.start).as_nanos() as u64 / self.width;
        for latency in [Latency::Ttft, Latency::Tpot, Latency::E2el] {
            let Some(seconds) = latency.of(record).filter(|seconds| *seconds > 0.0) else { continue };
            let bucket = (seconds.ln() / BUCKET.ln()).round() as i32;
            *self.cells.entry(latency).or_default().entry(cell).or_default().entry(bucket).or_default() += 1;
        }
        while self.cells.values().any(|cells| cells.len() > MOST_CELLS) {
            self.width *= 2;
            for cells in self.cells.values_mut() {
                let mut wider: BTreeMap<u64, Counts> = BTreeMap::new();
                std::mem::take(cells).into_iter().for_each(|(cell, counts)| add(wider.entry(cell / 2).or_default(), &counts));
                *cells = wider;
            }
        }
    }

    /// The latencies that moved in a window that ended then. Whole answers are judged where there is no time to a first token.
    pub(super) fn found(&self, end: Nanos) -> Vec<DriftEvidence> {
        let length = end.since(self.start).as_nanos() as u64;
        if Nanos(length).as_secs_f64() < SHORTEST_SECONDS {
            return Vec::new();
        }
        let whole = if self.cells.contains_key(&Latency::Ttft) { None } else { Some(Latency::E2el) };
        let judged = [Latency::Ttft, Latency::Tpot].into_iter().chain(whole);
        judged.filter_map(|latency| self.moved(latency, length)).collect()
    }

    /// The cut at which the sides are farthest apart, among those at which a latency moved.
    fn moved(&self, latency: Latency, length: u64) -> Option<DriftEvidence> {
        let mut parts: BTreeMap<u64, Counts> = BTreeMap::new();
        for (cell, counts) in self.cells.get(&latency)? {
            let middle = cell * self.width + self.width / 2;
            let part = (u128::from(middle) * u128::from(PARTS) / u128::from(length.max(1))) as u64;
            add(parts.entry(part.min(PARTS - 1)).or_default(), counts);
        }
        let parts: Vec<(u64, Counts)> = parts.into_iter().collect();
        let cuts = FEWEST_PARTS..parts.len().saturating_sub(FEWEST_PARTS);
        let found = cuts.filter_map(|cut| {
            let (before, after) = (Side::of(&parts[..cut])?, Side::of(&parts[cut + 1..])?);
            let (low, high) = if before.median <= after.median { (&before, &after) } else { (&after, &before) };
            let least = if latency == Latency::Tpot { APART_PER_TOKEN } else { APART_SECONDS };
            let is_apart = low.highest < high.lowest && low.interval[1] < high.interval[0];
            let is_moved = high.median > low.median * MOVED && high.median - low.median > least;
            let at = Nanos(length).as_secs_f64() * (parts[cut].0 as f64 + 0.5) / PARTS as f64;
            (is_apart && is_moved).then(|| DriftEvidence {
                latency: latency.name().to_owned(),
                seconds: [before.median, after.median],
                at_seconds: self.start.as_secs_f64() + at,
            })
        });
        found.max_by(|one, other| one.factor().total_cmp(&other.factor()))
    }
}

/// The parts on one side of a cut.
struct Side {
    median: f64,
    /// Of the median.
    interval: [f64; 2],
    /// The lowest and the highest median of a part.
    lowest: f64,
    highest: f64,
}

impl Side {
    /// `None` where there are too few answers for an interval.
    fn of(parts: &[(u64, Counts)]) -> Option<Self> {
        let mut all = Counts::new();
        parts.iter().for_each(|(_, counts)| add(&mut all, counts));
        let count = all.values().sum::<u64>() as f64;
        let away = SIGMAS * count.sqrt() / 2.0;
        let (low, high) = (count / 2.0 - away, count / 2.0 + away);
        if low < 0.0 {
            return None;
        }
        let medians = parts.iter().map(|(_, counts)| at_rank(counts, counts.values().sum::<u64>() as f64 / 2.0));
        let (lowest, highest) =
            medians.fold((f64::MAX, 0.0), |(low, high): (f64, f64), median| (low.min(median), high.max(median)));
        Some(Self { median: at_rank(&all, count / 2.0), interval: [at_rank(&all, low), at_rank(&all, high)], lowest, highest })
    }
}

fn add(sums: &mut Counts, further: &Counts) {
    further.iter().for_each(|(bucket, count)| *sums.entry(*bucket).or_default() += count);
}

/// The value below which so many lie, in seconds.
fn at_rank(counts: &Counts, rank: f64) -> f64 {
    let mut below = 0;
    let bucket = counts.iter().find(|(_, count)| {
        below += **count;
        below as f64 >= rank
    });
    bucket.or(counts.last_key_value()).map_or(0.0, |(bucket, _)| BUCKET.powi(*bucket))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::testing::{answered, closed_plan};

    /// What is found of requests over 12 s, each a due second and a time to first token in milliseconds.
    fn found(requests: impl IntoIterator<Item = (f64, f64)>) -> Vec<DriftEvidence> {
        let mut drift = Drift::new(&closed_plan(1, 1).trial, Nanos(0));
        for (index, (due, ttft)) in requests.into_iter().enumerate() {
            let due = Nanos::from_secs_f64(due);
            let record = answered(index as u64, due.0, (ttft * 3e6) as u64, 1);
            drift.take(&record);
        }
        drift.found(Nanos::from_secs_f64(12.0))
    }

    fn moved(by: impl Fn(f64) -> f64, noise: &[f64]) -> bool {
        let count = noise.len() as f64;
        let requests = noise.iter().enumerate().map(|(index, noise)| {
            let due = 12.0 * index as f64 / count;
            (due, 50.0 * by(due) * noise)
        });
        !found(requests).is_empty()
    }

    proptest! {
        #[test]
        fn what_only_spreads_does_not_move(noise in prop::collection::vec(0.2f64..5.0, 30..2_000)) {
            let is_found = moved(|_| 1.0, &noise);
            prop_assert!(!is_found);
        }

        #[test]
        fn a_queue_that_comes_and_goes_does_not_move(noise in prop::collection::vec(0.8f64..1.2, 200..600), period in 1.0f64..5.0) {
            prop_assert!(!moved(|due| 1.5 + (due / period * std::f64::consts::TAU).sin(), &noise));
        }

        #[test]
        fn a_step_of_half_or_more_is_found(
            noise in prop::collection::vec(0.8f64..1.2, 120..1_000),
            factor in 1.5f64..10.0,
            at in 4.0f64..8.0,
            is_up in any::<bool>(),
        ) {
            let is_found = moved(|due| if (due < at) == is_up { 1.0 } else { factor }, &noise);
            prop_assert!(is_found);
        }

        #[test]
        fn a_steady_rise_to_the_double_is_found(noise in prop::collection::vec(0.95f64..1.05, 600..1_000)) {
            prop_assert!(moved(|due| 1.0 + due / 12.0, &noise));
        }
    }

    #[test]
    fn the_evidence_says_when_and_by_how_much() {
        let step = (0..1200).map(|index| f64::from(index) / 100.0).map(|due| (due, if due < 6.0 { 20.0 } else { 60.0 }));
        let one = found(step).remove(0);
        assert_eq!((one.latency.as_str(), one.factor().round()), ("ttft", 3.0));
        assert!((5.0..=7.0).contains(&one.at_seconds), "{one:?}");
        let little = (0..1200).map(|index| f64::from(index) / 100.0).map(|due| (due, if due < 6.0 { 1.0 } else { 3.0 }));
        assert_eq!(found(little), [], "two milliseconds may be the client's own");
    }

    #[test]
    fn a_long_window_takes_no_more_memory_and_is_judged_all_the_same() {
        let mut drift = Drift::new(&closed_plan(1, 1).trial, Nanos(0));
        for second in 0..10_000u64 {
            let took = if second < 5_000 { 60_000_000 } else { 180_000_000 };
            drift.take(&answered(second, second * 1_000_000_000, took, 1));
        }
        assert!(drift.cells[&Latency::Ttft].len() <= MOST_CELLS);
        assert_eq!(drift.found(Nanos(10_000 * 1_000_000_000)).len(), 1);
    }

    #[test]
    fn a_load_that_was_to_be_uneven_is_not_judged() {
        let mut trial = closed_plan(1, 1).trial;
        trial.load.model = LoadModel::Staged { stages: Vec::new(), arrivals: crate::trial::Arrivals::Constant };
        assert!(!Drift::new(&trial, Nanos(0)).is_judged);
    }
}
