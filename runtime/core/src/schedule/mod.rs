//! When requests are due in an open loop: one global, absolute, seeded list, cut by request index.
//!
//! The list is never held: each shard walks the whole of it and keeps what is its own, so that N
//! nodes send bit for bit what one would. A gap costs tens of nanoseconds, so a node that walks for
//! 128 others at 10,000 requests a second spends well under one per cent of a core on it.

mod instants;
mod numbers;
mod presence;
mod rate;
mod turns;

use std::{num::NonZeroU32, sync::Arc};

use rand_distr::{Distribution as _, Exp1, Gamma};
use rand_pcg::{Pcg64, rand_core::SeedableRng};

pub use self::{
    instants::{Instants, replayed},
    numbers::Numbers,
    presence::presence,
    turns::turns,
};
use crate::{
    record::Stage,
    trial::{Arrivals, LoadModel, LoadSpec, RateStage, Slope, Stop},
    units::{Nanos, Span},
};

/// One request of the schedule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Due {
    /// Its place in the global order, from 0 at the trial's start.
    pub index: u64,
    /// The part of the trial it is due in.
    pub stage: Stage,
    /// When.
    pub at: Nanos,
}

/// An open loop's whole schedule, as the few numbers it follows from.
#[derive(Debug, Clone, PartialEq)]
pub struct Schedule {
    course: Course,
    arrivals: Arrivals,
    /// So many requests come with each arrival.
    together: NonZeroU32,
    warmup: Nanos,
    stop: Stop,
    seed: u64,
}

/// The stages after a warm-up at what the first one begins with, or, where that is nothing, goes to.
fn with_warmup(warmup: Span, stages: &[RateStage]) -> impl Iterator<Item = RateStage> {
    let level = stages.first().map_or(0.0, |stage| if stage.from > 0.0 { stage.from } else { stage.to });
    let warming = RateStage { duration: warmup, from: level, to: level, slope: Slope::Linear };
    std::iter::once(warming).chain(stages.iter().copied())
}

/// How the rate goes.
#[derive(Debug, Clone, PartialEq)]
enum Course {
    /// The same always, in requests per second.
    Even(f64),
    /// Stage after stage, the warm-up being the first.
    Staged(Arc<[RateStage]>),
    /// No rate: these instants.
    Listed(Arc<Vec<Nanos>>),
}

impl Course {
    fn even(rate: f64) -> Self {
        assert!(rate.is_finite() && rate > 0.0, "a recipe's rate is checked to be finite and above zero");
        Self::Even(rate)
    }
}

impl Schedule {
    /// The schedule of a load; `None` in a closed loop, which has none.
    #[must_use]
    pub fn of(load: &LoadSpec, seed: u64) -> Option<Self> {
        let warmup = Nanos::from(load.warmup.0);
        let (course, arrivals) = match &load.model {
            LoadModel::Closed { .. } | LoadModel::ClosedStaged { .. } => return None,
            LoadModel::Open { rate, arrivals } => (Course::even(*rate), *arrivals),
            LoadModel::Staged { stages, arrivals } => (Course::Staged(with_warmup(load.warmup, stages).collect()), *arrivals),
            LoadModel::Replay { instants, .. } => (Course::Listed(instants.shared()), Arrivals::Constant),
        };
        Some(Self { course, arrivals, together: load.together, warmup, stop: load.stop, seed })
    }

    /// The schedule of an open loop of `rate` requests per second over all nodes, each of which comes alone.
    #[must_use]
    pub fn open(rate: f64, arrivals: Arrivals, warmup: Span, stop: Stop, seed: u64) -> Self {
        Self { course: Course::even(rate), arrivals, together: NonZeroU32::MIN, warmup: Nanos::from(warmup.0), stop, seed }
    }

    /// The requests of shard `shard` of `shards`, in the order of their instants.
    #[must_use]
    pub fn shard(&self, shard: u32, shards: NonZeroU32) -> Shard {
        self.of_numbers(&Numbers::of(shard, shards))
    }

    /// The requests of a list, in the order of their instants.
    #[must_use]
    pub fn of_numbers(&self, numbers: &Numbers) -> Shard {
        Shard { walk: self.walk(), numbers: numbers.clone(), place: 0 }
    }

    fn walk(&self) -> Walk {
        let gap = match self.arrivals {
            Arrivals::Constant => Gap::Constant,
            Arrivals::Poisson => Gap::Exponential,
            // Shape and mean are checked to be finite and above zero, which is all that Gamma asks for.
            Arrivals::Gamma { burstiness } => Gamma::new(burstiness, 1.0 / burstiness).map_or(Gap::Exponential, Gap::Gamma),
        };
        let rng = Pcg64::seed_from_u64(self.seed);
        let schedule = self.clone();
        Walk { schedule, gap, rng, next: 0, at: Nanos(0), count: 0.0, stage: 0, begun: Nanos(0), before: 0.0, measured: 0 }
    }
}

/// The gaps of a process whose rate is one.
#[derive(Debug, Clone)]
enum Gap {
    Constant,
    Exponential,
    Gamma(Gamma<f64>),
}

/// All requests of the schedule, one after another.
///
/// A process of rate one is drawn, and its time is stretched: a request is due where the integral of the rate reaches
/// the process's instant. So the gaps keep their shape on every ramp, and the counts follow the integral. Where several
/// requests come together, the process counts them all, and so a gap is as many times as long.
#[derive(Debug, Clone)]
struct Walk {
    schedule: Schedule,
    gap: Gap,
    rng: Pcg64,
    next: u64,
    /// When the newest one is due.
    at: Nanos,
    /// The newest instant of the process of rate one.
    count: f64,
    /// The stage it lies in, when that began, and the integral of the rate until then.
    stage: usize,
    begun: Nanos,
    before: f64,
    measured: u64,
}

impl Walk {
    /// The next request's instant, or the schedule's end.
    fn instant(&mut self) -> Option<Nanos> {
        if let Course::Listed(list) = &self.schedule.course {
            return list.get(usize::try_from(self.next).ok()?).copied();
        }
        let together = self.schedule.together.get();
        if !self.next.is_multiple_of(u64::from(together)) {
            return Some(self.at);
        }
        let together = f64::from(together);
        self.count = match &self.gap {
            // Not added up, which would drift.
            Gap::Constant => self.next as f64,
            Gap::Exponential => self.count + together * <Exp1 as rand_distr::Distribution<f64>>::sample(&Exp1, &mut self.rng),
            Gap::Gamma(gamma) => self.count + together * gamma.sample(&mut self.rng),
        };
        match &self.schedule.course {
            Course::Even(rate) => Some(Nanos::from_secs_f64(self.count / rate)),
            Course::Staged(stages) => loop {
                let stage = stages.get(self.stage)?;
                let expected = stage.expected();
                if self.count - self.before < expected {
                    return Some(Nanos(self.begun.0 + Nanos::from_secs_f64(stage.reaches(self.count - self.before)).0));
                }
                self.before += expected;
                self.begun.0 += Nanos::from(stage.duration.0).0;
                self.stage += 1;
            },
            Course::Listed(_) => None,
        }
    }
}

impl Iterator for Walk {
    type Item = Due;

    fn next(&mut self) -> Option<Due> {
        let at = self.instant()?;
        let stage = if at < self.schedule.warmup { Stage::Warmup } else { Stage::Measure };
        if stage == Stage::Measure {
            let is_over = match self.schedule.stop {
                Stop::After(span) => at.0 >= self.schedule.warmup.0.saturating_add(Nanos::from(span.0).0),
                Stop::Requests(count) => self.measured >= count,
            };
            if is_over {
                return None;
            }
            self.measured += 1;
        }
        let index = self.next;
        self.next += 1;
        self.at = at;
        Some(Due { index, stage, at })
    }
}

/// What one executor sends.
#[derive(Debug, Clone)]
pub struct Shard {
    walk: Walk,
    numbers: Numbers,
    /// Of the next one, in `numbers`.
    place: u64,
}

impl Iterator for Shard {
    type Item = Due;

    fn next(&mut self) -> Option<Due> {
        let index = self.numbers.at(self.place);
        self.place += 1;
        self.walk.find(|due| due.index == index)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn schedule(arrivals: Arrivals, rate: f64, stop: Stop, seed: u64) -> Schedule {
        Schedule::open(rate, arrivals, Span::from_secs(1), stop, seed)
    }

    fn shards(n: u32) -> NonZeroU32 {
        NonZeroU32::new(n).unwrap()
    }

    /// The same schedule, of which so many requests come with each arrival.
    fn together(schedule: Schedule, together: u32) -> Schedule {
        Schedule { together: NonZeroU32::new(together).unwrap(), ..schedule }
    }

    fn all(schedule: &Schedule) -> Vec<Due> {
        schedule.shard(0, shards(1)).collect()
    }

    fn arrivals() -> impl Strategy<Value = Arrivals> {
        prop_oneof![
            Just(Arrivals::Constant),
            Just(Arrivals::Poisson),
            (0.2f64..8.0).prop_map(|burstiness| Arrivals::Gamma { burstiness }),
        ]
    }

    proptest! {
        #[test]
        fn any_number_of_shards_sends_what_one_would(
            kind in arrivals(), rate in 1f64..500.0, seed: u64, n in 1u32..9, batch in 1u32..6,
        ) {
            let schedule = together(schedule(kind, rate, Stop::After(Span::from_secs(3)), seed), batch);
            let mut together: Vec<Due> = (0..n).flat_map(|k| schedule.shard(k, shards(n))).collect();
            together.sort_by_key(|due| due.index);
            prop_assert_eq!(together, all(&schedule));
        }

        #[test]
        fn time_never_goes_back_and_ends_with_the_window(kind in arrivals(), rate in 1f64..500.0, seed: u64) {
            let dues = all(&schedule(kind, rate, Stop::After(Span::from_secs(3)), seed));
            prop_assert!(dues.is_sorted_by_key(|due| due.at));
            prop_assert!(dues.iter().all(|due| due.at < Nanos::from(Span::from_secs(4).0)));
            prop_assert!(dues.iter().all(|due| (due.stage == Stage::Warmup) == (due.at < Nanos::from(Span::from_secs(1).0))));
        }

        #[test]
        fn a_count_is_kept_exactly(kind in arrivals(), rate in 1f64..500.0, seed: u64, count in 0u64..300) {
            let dues = all(&schedule(kind, rate, Stop::Requests(count), seed));
            prop_assert_eq!(dues.iter().filter(|due| due.stage == Stage::Measure).count() as u64, count);
        }
    }

    proptest! {
        #[test]
        fn requests_that_come_together_are_each_arrival_of_a_rarer_schedule_so_often(
            kind in arrivals(), rate in 1f64..300.0, seed: u64, batch in 1u32..9,
        ) {
            let stop = Stop::After(Span::from_secs(3));
            let whole = all(&together(schedule(kind, rate * f64::from(batch), stop, seed), batch));
            let arrivals = all(&schedule(kind, rate, stop, seed));
            prop_assert!(whole.iter().map(|due| due.index).eq(0..whole.len() as u64));
            prop_assert_eq!(whole.len(), arrivals.len() * batch as usize);
            for (group, arrival) in whole.chunks(batch as usize).zip(&arrivals) {
                prop_assert!(group.iter().all(|due| due.at == group[0].at && due.stage == arrival.stage), "{:?}", group);
                // Rounding is all that is between them.
                prop_assert!(group[0].at.0.abs_diff(arrival.at.0) <= 1, "{:?} {:?}", group, arrival);
            }
        }

        #[test]
        fn a_count_of_requests_that_come_together_is_kept_exactly(
            kind in arrivals(), rate in 1f64..500.0, seed: u64, count in 0u64..300, batch in 1u32..9,
        ) {
            let dues = all(&together(schedule(kind, rate, Stop::Requests(count), seed), batch));
            prop_assert_eq!(dues.iter().filter(|due| due.stage == Stage::Measure).count() as u64, count);
            let groups = dues.chunks(batch as usize);
            prop_assert!(groups.clone().all(|group| group.iter().all(|due| due.at == group[0].at)));
        }
    }

    /// The coefficient of variation of the gaps of 20,000 requests.
    fn gap_variation(kind: Arrivals) -> f64 {
        let dues = all(&schedule(kind, 100.0, Stop::Requests(20_000), 7));
        let gaps: Vec<f64> = dues.windows(2).map(|pair| pair[1].at.since(pair[0].at).as_secs_f64()).collect();
        let mean = gaps.iter().sum::<f64>() / gaps.len() as f64;
        let variance = gaps.iter().map(|gap| (gap - mean).powi(2)).sum::<f64>() / gaps.len() as f64;
        variance.sqrt() / mean
    }

    #[test]
    fn gaps_are_as_uneven_as_their_name_says() {
        assert!(gap_variation(Arrivals::Constant) < 1e-6);
        assert!((gap_variation(Arrivals::Poisson) - 1.0).abs() < 0.05);
        for burstiness in [0.25f64, 4.0] {
            let expected = 1.0 / burstiness.sqrt();
            assert!((gap_variation(Arrivals::Gamma { burstiness }) / expected - 1.0).abs() < 0.05);
        }
    }

    #[test]
    fn a_seed_gives_the_same_run_in_later_versions() {
        let dues: Vec<u64> =
            all(&schedule(Arrivals::Poisson, 10.0, Stop::Requests(1), 42)).iter().map(|due| due.at.0).take(3).collect();
        insta::assert_compact_debug_snapshot!(dues);
    }

    fn staged(kind: Arrivals, stages: &[RateStage], seed: u64) -> Schedule {
        let stop = Stop::After(Span(stages.iter().map(|stage| stage.duration.0).sum()));
        let load = LoadSpec {
            model: LoadModel::Staged { stages: stages.to_vec(), arrivals: kind },
            warmup: Span::from_secs(1),
            stop,
            ..crate::testing::open_plan(1.0, 1).trial.load
        };
        Schedule::of(&load, seed).unwrap()
    }

    fn level(seconds: u64, rate: f64) -> RateStage {
        RateStage { duration: Span::from_secs(seconds), from: rate, to: rate, slope: Slope::Linear }
    }

    fn any_stages() -> impl Strategy<Value = Vec<RateStage>> {
        let stage = (1u64..4, 0.5f64..300.0, 0.5f64..300.0, prop_oneof![Just(Slope::Linear), Just(Slope::Exponential)]);
        let stage =
            stage.prop_map(|(seconds, from, to, slope)| RateStage { duration: Span::from_secs(seconds), from, to, slope });
        prop::collection::vec(stage, 1..4)
    }

    /// The measured requests due in each stage.
    fn counts(dues: &[Due], stages: &[RateStage]) -> Vec<usize> {
        let mut from = Nanos::from(Span::from_secs(1).0);
        let count = |stage: &RateStage| {
            let to = Nanos(from.0 + Nanos::from(stage.duration.0).0);
            let count = dues.iter().filter(|due| (from..to).contains(&due.at)).count();
            from = to;
            count
        };
        stages.iter().map(count).collect()
    }

    proptest! {
        #[test]
        fn any_number_of_shards_of_stages_sends_what_one_would(
            kind in arrivals(), stages in any_stages(), seed: u64, n in 1u32..9, batch in 1u32..6,
        ) {
            let schedule = together(staged(kind, &stages, seed), batch);
            let mut together: Vec<Due> = (0..n).flat_map(|k| schedule.shard(k, shards(n))).collect();
            together.sort_by_key(|due| due.index);
            prop_assert_eq!(together, all(&schedule));
        }

        #[test]
        fn stages_never_go_back_in_time_and_end_with_the_window(kind in arrivals(), stages in any_stages(), seed: u64) {
            let dues = all(&staged(kind, &stages, seed));
            let end = Nanos::from(Span::from_secs(1).0 + stages.iter().map(|stage| stage.duration.0).sum());
            prop_assert!(dues.is_sorted_by_key(|due| due.at));
            prop_assert!(dues.iter().all(|due| due.at < end));
            prop_assert!(dues.iter().all(|due| (due.stage == Stage::Warmup) == (due.at < Nanos::from(Span::from_secs(1).0))));
        }

        #[test]
        fn even_arrivals_follow_the_integral_to_the_arrival(stages in any_stages(), seed: u64, batch in 1u32..6) {
            let dues = all(&together(staged(Arrivals::Constant, &stages, seed), batch));
            for (count, stage) in counts(&dues, &stages).into_iter().zip(&stages) {
                let away = (count as f64 - stage.expected()).abs();
                prop_assert!(away <= f64::from(batch) + 1e-6, "{count} of {}", stage.expected());
            }
        }
    }

    #[test]
    fn random_arrivals_follow_the_integral_within_their_scatter() {
        let ramp = |from, to, slope| RateStage { duration: Span::from_secs(20), from, to, slope };
        let stages = [level(20, 50.0), ramp(50.0, 400.0, Slope::Linear), ramp(400.0, 20.0, Slope::Exponential), level(20, 20.0)];
        // The scatter of the sum over 50 seeds is that of one run by the root of 50; gamma gaps of shape b scatter by 1/b.
        for (kind, scatter) in [(Arrivals::Poisson, 1.0), (Arrivals::Gamma { burstiness: 4.0 }, 0.25)] {
            let mut sums = [0_usize; 4];
            for seed in 0..50 {
                let counts = counts(&all(&staged(kind, &stages, seed)), &stages);
                sums.iter_mut().zip(counts).for_each(|(sum, count)| *sum += count);
            }
            for (sum, stage) in sums.into_iter().zip(&stages) {
                let expected = stage.expected() * 50.0;
                let limit = 4.5 * (expected * scatter).sqrt() + 50.0;
                assert!((sum as f64 - expected).abs() < limit, "{kind:?} {stage:?}: {sum} of {expected}");
            }
        }
    }

    #[test]
    fn gaps_of_each_level_stage_are_as_uneven_as_their_name_says() {
        let stages = [level(100, 100.0), level(100, 400.0)];
        for (kind, expected) in [
            (Arrivals::Constant, 0.0),
            (Arrivals::Poisson, 1.0),
            (Arrivals::Gamma { burstiness: 0.25 }, 2.0),
            (Arrivals::Gamma { burstiness: 4.0 }, 0.5),
        ] {
            let dues = all(&staged(kind, &stages, 3));
            for (from, to) in [(1, 101), (101, 201)] {
                let within = dues.iter().filter(|due| (from * 1_000_000_000..to * 1_000_000_000).contains(&due.at.0));
                let instants: Vec<f64> = within.map(|due| due.at.as_secs_f64()).collect();
                let gaps: Vec<f64> = instants.windows(2).map(|pair| pair[1] - pair[0]).collect();
                let mean = gaps.iter().sum::<f64>() / gaps.len() as f64;
                let deviation = (gaps.iter().map(|gap| (gap - mean).powi(2)).sum::<f64>() / gaps.len() as f64).sqrt();
                assert!((deviation / mean - expected).abs() < 0.05 * expected.max(0.1), "{kind:?}: {}", deviation / mean);
            }
        }
    }

    #[test]
    fn a_ramp_from_nothing_is_warmed_up_at_its_height() {
        let ramp = RateStage { duration: Span::from_secs(10), from: 0.0, to: 20.0, slope: Slope::Linear };
        let dues = all(&staged(Arrivals::Constant, &[ramp], 1));
        assert_eq!(dues.iter().filter(|due| due.stage == Stage::Warmup).count(), 20);
        assert_eq!(dues.iter().filter(|due| due.stage == Stage::Measure).count(), 100);
    }

    #[test]
    fn a_replay_is_walked_as_it_is_listed() {
        let load = LoadSpec {
            model: LoadModel::Replay {
                time_scale: 1.0,
                jitter: Span::ZERO,
                instants: Instants::new([0, 500, 500, 1000, 2500].map(|ms| Nanos(ms * 1_000_000)).to_vec()),
            },
            warmup: Span::from_secs(1),
            stop: Stop::After(Span::from_secs(60)),
            ..crate::testing::open_plan(1.0, 1).trial.load
        };
        let schedule = Schedule::of(&load, 1).unwrap();
        let stages: Vec<Stage> = all(&schedule).iter().map(|due| due.stage).collect();
        assert_eq!(stages, [Stage::Warmup, Stage::Warmup, Stage::Warmup, Stage::Measure, Stage::Measure]);
        let second: Vec<u64> = schedule.shard(1, shards(2)).map(|due| due.index).collect();
        assert_eq!(second, [1, 3]);
    }
}
