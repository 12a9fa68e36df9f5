//! When requests are due in an open loop: one global, absolute, seeded list, cut by request index.
//!
//! The list is never held: each shard walks the whole of it and keeps what is its own, so that N
//! nodes send bit for bit what one would. A gap costs tens of nanoseconds, so a node that walks for
//! 128 others at 10,000 requests a second spends well under one per cent of a core on it.

use std::num::NonZeroU32;

use rand_distr::{Distribution as _, Exp1, Gamma};
use rand_pcg::{Pcg64, rand_core::SeedableRng};

use crate::{
    record::Stage,
    trial::{Arrivals, Stop},
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
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Schedule {
    rate: f64,
    arrivals: Arrivals,
    warmup: Nanos,
    stop: Stop,
    seed: u64,
}

impl Schedule {
    /// The schedule of an open loop of `rate` requests per second over all nodes.
    #[must_use]
    pub fn open(rate: f64, arrivals: Arrivals, warmup: Span, stop: Stop, seed: u64) -> Self {
        assert!(rate.is_finite() && rate > 0.0, "a recipe's rate is checked to be finite and above zero");
        Self { rate, arrivals, warmup: Nanos::from(warmup.0), stop, seed }
    }

    /// The requests of shard `shard` of `shards`, in the order of their instants.
    #[must_use]
    pub fn shard(&self, shard: u32, shards: NonZeroU32) -> Shard {
        assert!(shard < shards.get(), "a shard is one of its shards");
        Shard { walk: self.walk(), shard: u64::from(shard), shards: u64::from(shards.get()) }
    }

    fn walk(&self) -> Walk {
        let gap = match self.arrivals {
            Arrivals::Constant => Gap::Constant,
            Arrivals::Poisson => Gap::Exponential,
            // Shape and mean are checked to be finite and above zero, which is all that Gamma asks for.
            Arrivals::Gamma { burstiness } => {
                Gamma::new(burstiness, 1.0 / (burstiness * self.rate)).map_or(Gap::Exponential, Gap::Gamma)
            }
        };
        Walk { schedule: *self, gap, rng: Pcg64::seed_from_u64(self.seed), next: 0, seconds: 0.0, measured: 0 }
    }
}

#[derive(Debug, Clone)]
enum Gap {
    Constant,
    Exponential,
    Gamma(Gamma<f64>),
}

/// All requests of the schedule, one after another.
#[derive(Debug, Clone)]
struct Walk {
    schedule: Schedule,
    gap: Gap,
    rng: Pcg64,
    next: u64,
    seconds: f64,
    measured: u64,
}

impl Iterator for Walk {
    type Item = Due;

    fn next(&mut self) -> Option<Due> {
        let index = self.next;
        self.seconds = match &self.gap {
            // By multiplication: adding up gaps would drift.
            Gap::Constant => index as f64 / self.schedule.rate,
            Gap::Exponential => {
                self.seconds + <Exp1 as rand_distr::Distribution<f64>>::sample(&Exp1, &mut self.rng) / self.schedule.rate
            }
            Gap::Gamma(gamma) => self.seconds + gamma.sample(&mut self.rng),
        };
        let at = Nanos::from_secs_f64(self.seconds);
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
        self.next += 1;
        Some(Due { index, stage, at })
    }
}

/// What one executor sends.
#[derive(Debug, Clone)]
pub struct Shard {
    walk: Walk,
    shard: u64,
    shards: u64,
}

impl Iterator for Shard {
    type Item = Due;

    fn next(&mut self) -> Option<Due> {
        let (shard, shards) = (self.shard, self.shards);
        self.walk.find(|due| due.index % shards == shard)
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
        fn any_number_of_shards_sends_what_one_would(kind in arrivals(), rate in 1f64..500.0, seed: u64, n in 1u32..9) {
            let schedule = schedule(kind, rate, Stop::After(Span::from_secs(3)), seed);
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
}
