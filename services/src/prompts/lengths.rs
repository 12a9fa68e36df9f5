//! Lengths of a distribution.

use hb_core::trial::Length;
use rand_distr::{Distribution as _, LogNormal, Normal};
use rand_pcg::{Pcg64, rand_core::Rng as _};

/// Drawn lengths lie within so many standard deviations: no single draw may fill the memory.
const DEVIATIONS: f64 = 4.0;

/// A length of this distribution, at least one token.
pub(super) fn draw(length: Length, random: &mut Pcg64) -> u32 {
    // A float becomes an integer by saturation. What makes no distribution was refused by the recipe's check; its
    // middle stands in for it here.
    let drawn = match length {
        Length::Fixed(tokens) => tokens,
        Length::Uniform(one, other) => {
            let (low, high) = (one.min(other), one.max(other));
            let span = u128::from(high - low) + 1;
            low + ((u128::from(random.next_u64()) * span) >> 64) as u32
        }
        Length::Normal(mean, deviation) => {
            let drawn = Normal::new(mean, deviation).map_or(mean, |normal| normal.sample(random));
            drawn.max(mean - DEVIATIONS * deviation).min(mean + DEVIATIONS * deviation).round() as u32
        }
        Length::Lognormal(median, deviation) => {
            let spread = (DEVIATIONS * deviation).exp();
            let drawn = LogNormal::new(median.ln(), deviation).map_or(median, |lognormal| lognormal.sample(random));
            drawn.max(median / spread).min(median * spread).round() as u32
        }
    };
    drawn.max(1)
}
