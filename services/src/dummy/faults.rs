//! Which request gets which fault: drawn from the seed and the request's arrival number alone.

use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64Mcg;

use super::config::DummyConfig;

/// What goes wrong with an answer, in the order of [`DummyConfig::rates`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Status 500.
    Error,
    /// The connection is reset half way.
    Reset,
    /// The connection is closed half way.
    Truncate,
    /// The end mark is missing.
    NoEnd,
    /// Silence from half way on.
    Hang,
    /// An error event half way.
    ErrorEvent,
}

/// All of them, with the words that `/metrics` has for them.
pub const FAULTS: [(Fault, &str); 6] = [
    (Fault::Error, "error"),
    (Fault::Reset, "reset"),
    (Fault::Truncate, "truncate"),
    (Fault::NoEnd, "no_end"),
    (Fault::Hang, "hang"),
    (Fault::ErrorEvent, "error_event"),
];

/// The generator of the request that arrived as number `arrival`.
pub fn generator(seed: u64, arrival: u64) -> Pcg64Mcg {
    // An odd factor spreads neighbouring arrivals over all seeds.
    Pcg64Mcg::seed_from_u64(seed ^ arrival.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15))
}

/// The fault of the next request of this generator, if any.
pub fn draw(config: &DummyConfig, random: &mut Pcg64Mcg) -> Option<Fault> {
    let mut left: f64 = random.random();
    for ((fault, _), (_, rate)) in FAULTS.iter().zip(config.rates()) {
        if left < rate {
            return Some(*fault);
        }
        left -= rate;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drawn(config: &DummyConfig) -> Vec<Option<Fault>> {
        (0..20_000).map(|arrival| draw(config, &mut generator(config.seed, arrival))).collect()
    }

    #[test]
    fn the_same_seed_plants_the_same_faults_and_another_seed_others() {
        let config = DummyConfig { error_rate: 0.1, hang_rate: 0.2, ..DummyConfig::default() };
        assert_eq!(drawn(&config), drawn(&config));
        assert_ne!(drawn(&config), drawn(&DummyConfig { seed: 2, ..config }));
    }

    #[test]
    fn faults_come_as_often_as_asked() {
        let config = DummyConfig { error_rate: 0.1, reset_rate: 0.2, error_event_rate: 0.3, ..DummyConfig::default() };
        let drawn = drawn(&config);
        let share = |fault| drawn.iter().filter(|drawn| **drawn == fault).count() as f64 / drawn.len() as f64;
        for (fault, rate) in
            [(Some(Fault::Error), 0.1), (Some(Fault::Reset), 0.2), (Some(Fault::ErrorEvent), 0.3), (Some(Fault::Hang), 0.0)]
        {
            assert!((share(fault) - rate).abs() < 0.02, "{fault:?} {}", share(fault));
        }
        assert!((share(None) - 0.4).abs() < 0.02);
    }

    #[test]
    fn a_rate_of_one_leaves_no_request_alone() {
        let config = DummyConfig { no_end_rate: 1.0, ..DummyConfig::default() };
        assert!(drawn(&config).iter().all(|fault| *fault == Some(Fault::NoEnd)));
    }
}
