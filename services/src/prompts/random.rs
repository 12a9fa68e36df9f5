//! Random numbers that follow from a seed, what they are for, and a number: the same on every node.

use rand_pcg::{Pcg64, rand_core::SeedableRng as _};

/// What random numbers are for; each use has its own sequence.
#[derive(Debug, Clone, Copy)]
pub(super) enum Use {
    PromptLength,
    GenTokens,
    Prefix,
    Text,
    Mark,
    Turns,
}

/// A generator of its own for each seed, use and number. Neighbours are torn apart first, as a generator that is
/// seeded with them alone would begin alike.
pub(super) fn seeded(seed: u64, purpose: Use, number: u64) -> Pcg64 {
    Pcg64::seed_from_u64(mixed(mixed(seed ^ mixed(purpose as u64 + 1)) ^ number))
}

/// The finalizer of SplitMix64, a bijection.
fn mixed(value: u64) -> u64 {
    let value = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

/// A random number as one below `most`.
pub(super) fn below(random: u64, most: u32) -> u32 {
    ((u128::from(random) * u128::from(most)) >> 64) as u32
}
