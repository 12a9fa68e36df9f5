//! The instants of a replayed trace. A node reads them from the file itself: what travels is their number and their
//! digest, so that a node whose file differs from the leader's is found before it sends anything.

use std::sync::Arc;

use rand_pcg::{
    Pcg64,
    rand_core::{Rng as _, SeedableRng as _},
};
use serde::{Deserialize, Serialize};

use crate::{
    trial::{LoadModel, LoadSpec, Stop},
    units::Nanos,
};

/// The due instants of a replay, in order.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Instants {
    count: u64,
    digest: u64,
    #[serde(skip)]
    list: Arc<Vec<Nanos>>,
}

impl PartialEq for Instants {
    fn eq(&self, other: &Self) -> bool {
        (self.count, self.digest) == (other.count, other.digest)
    }
}

impl Instants {
    /// These instants, which are in order.
    #[must_use]
    pub fn new(list: Vec<Nanos>) -> Self {
        assert!(list.is_sorted(), "a replay's instants are put in order by whoever makes them");
        // FNV-1a over whole words: it tells different files apart and keeps nobody from making equal ones.
        let digest =
            list.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, at| (hash ^ at.0).wrapping_mul(0x0100_0000_01b3).rotate_left(29));
        Self { count: list.len() as u64, digest, list: list.into() }
    }

    /// How many there are, whether they are at hand or not.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Those at hand: none where only their number travelled here.
    #[must_use]
    pub fn list(&self) -> &[Nanos] {
        &self.list
    }

    pub(super) fn shared(&self) -> Arc<Vec<Nanos>> {
        self.list.clone()
    }
}

/// A load whose trace has these time stamps, in order and from any zero: the first is due at the trial's start. A load
/// without an end of its own ends with its trace. Loads that replay nothing come back as they are. The list is made in the
/// place of the stamps: a long trace is in memory once.
#[must_use]
pub fn replayed(load: &LoadSpec, stamps: Vec<Nanos>, seed: u64) -> LoadSpec {
    let mut load = load.clone();
    let LoadModel::Replay { time_scale, jitter, instants } = &mut load.model else { return load };
    let warmup = Nanos::from(load.warmup.0);
    let until = match load.stop {
        Stop::After(span) => Nanos(warmup.0.saturating_add(Nanos::from(span.0).0)),
        Stop::Requests(_) => Nanos(u64::MAX),
    };
    let first = stamps.first().copied().unwrap_or_default();
    let most = Nanos::from(jitter.0).0;
    let mut random = Pcg64::seed_from_u64(seed);
    let shifted = stamps.into_iter().map(|stamp| {
        let at = (stamp.0.saturating_sub(first.0) as f64 * *time_scale).round() as u64;
        let shift = ((u128::from(random.next_u64()) * u128::from(most)) >> 64) as u64;
        Nanos(at.saturating_add(shift))
    });
    let mut list: Vec<Nanos> = shifted.filter(|at| *at < until).collect();
    // Where the shift made two pass each other, the entries keep their order and the instants are handed out in theirs.
    list.sort_unstable();
    if let Stop::Requests(most) = load.stop {
        let before = list.partition_point(|at| *at < warmup) as u64;
        let measured = (list.len() as u64 - before).min(most);
        list.truncate((before + measured) as usize);
        load.stop = Stop::Requests(measured);
    }
    list.shrink_to_fit();
    *instants = Instants::new(list);
    load
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{testing::open_plan, units::Span};

    fn load(time_scale: f64, jitter: Span, warmup: u64, stop: Stop) -> LoadSpec {
        LoadSpec {
            model: LoadModel::Replay { time_scale, jitter, instants: Instants::default() },
            warmup: Span::from_secs(warmup),
            stop,
            ..open_plan(1.0, 1).trial.load
        }
    }

    fn seconds(stamps: &[u64]) -> Vec<Nanos> {
        stamps.iter().map(|stamp| Nanos(stamp * 1_000_000_000)).collect()
    }

    fn list(load: &LoadSpec) -> &[Nanos] {
        let LoadModel::Replay { instants, .. } = &load.model else { panic!("{load:?}") };
        instants.list()
    }

    #[test]
    fn stamps_count_from_the_first_and_are_scaled() {
        let load = replayed(&load(0.5, Span::ZERO, 0, Stop::After(Span::from_secs(10))), seconds(&[100, 104, 104, 119, 120]), 1);
        assert_eq!(list(&load), seconds(&[0, 2, 2]).into_iter().chain([Nanos(9_500_000_000)]).collect::<Vec<_>>());
    }

    #[test]
    fn a_load_without_an_end_ends_with_its_trace() {
        let stamps = seconds(&[0, 1, 2, 3]);
        let whole = replayed(&load(1.0, Span::ZERO, 1, Stop::Requests(u64::MAX)), stamps.clone(), 1);
        assert_eq!((list(&whole).len(), whole.stop), (4, Stop::Requests(3)));
        let two = replayed(&load(1.0, Span::ZERO, 1, Stop::Requests(2)), stamps, 1);
        assert_eq!((list(&two).len(), two.stop), (3, Stop::Requests(2)));
    }

    #[test]
    fn a_jitter_spreads_a_tick_in_order_and_by_the_seed() {
        let stamps = seconds(&[0; 1000]);
        let spread = |seed| replayed(&load(1.0, Span::from_secs(3), 0, Stop::After(Span::from_secs(60))), stamps.clone(), seed);
        let one = spread(1);
        assert!(list(&one).is_sorted() && list(&one).len() == 1000);
        assert!(list(&one).iter().all(|at| at.0 < 3_000_000_000));
        let mean = list(&one).iter().map(|at| at.as_secs_f64()).sum::<f64>() / 1000.0;
        assert!((mean - 1.5).abs() < 0.1, "{mean}");
        assert_eq!(one, spread(1));
        assert_ne!(one, spread(2));
    }

    #[test]
    fn a_long_trace_is_in_memory_once() {
        let stamps = seconds(&(0..1000).collect::<Vec<_>>());
        let place = stamps.as_ptr();
        let load = replayed(&load(0.5, Span::ZERO, 0, Stop::Requests(u64::MAX)), stamps, 1);
        assert_eq!((list(&load).as_ptr(), list(&load).len()), (place, 1000));
    }

    #[test]
    fn what_travels_is_a_number_and_a_digest() {
        let instants = Instants::new(seconds(&[1, 2]));
        let text = serde_json::to_string(&instants).unwrap();
        let come: Instants = serde_json::from_str(&text).unwrap();
        assert_eq!((come.count(), come.list().len(), come == instants), (2, 0, true));
        assert_ne!(instants, Instants::new(seconds(&[1, 3])));
    }
}
