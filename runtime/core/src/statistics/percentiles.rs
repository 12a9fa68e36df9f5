//! From samples or a histogram to a [`Distribution`].

use std::collections::BTreeMap;

use super::{early_stopping_rank, order_statistic_ranks};
use crate::{histogram::Histogram, report::Distribution};

/// The percentiles that carry a confidence interval.
pub const WITH_INTERVAL: [(&str, f64); 4] = [("p50", 0.50), ("p90", 0.90), ("p95", 0.95), ("p99", 0.99)];

/// Whether samples say anything about each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Independence {
    /// One per request.
    Independent,
    /// Many per request, such as the gaps between its tokens: an interval from their number would be far too narrow.
    Pooled,
}

/// Puts samples in order.
pub fn sort(samples: &mut [f64]) {
    samples.sort_unstable_by(f64::total_cmp);
}

/// The percentile at `quantile` (0–1) of sorted samples, between two of them by linear interpolation.
#[must_use]
pub fn percentile(sorted: &[f64], quantile: f64) -> Option<f64> {
    let last = sorted.len().checked_sub(1)?;
    let place = quantile.clamp(0.0, 1.0) * last as f64;
    let (below, share) = (place.floor() as usize, place.fract());
    let (low, high) = (sorted[below], sorted[(below + 1).min(last)]);
    Some(low + (high - low) * share)
}

/// All there is to say about these samples; `None` without any.
#[must_use]
pub fn distribution(mut samples: Vec<f64>) -> Option<Distribution> {
    sort(&mut samples);
    let (&min, &max) = (samples.first()?, samples.last()?);
    let count = samples.len() as f64;
    let mean = samples.iter().sum::<f64>() / count;
    let variance = samples.iter().map(|sample| (sample - mean).powi(2)).sum::<f64>() / count;
    let at = |quantile| percentile(&samples, quantile).unwrap_or(max);
    let interval = |quantile| {
        let (low, high) = order_statistic_ranks(samples.len() as u64, quantile)?;
        Some([samples[low as usize - 1], samples[high as usize - 1]])
    };
    let numbers = Numbers { count: samples.len() as u64, mean, stddev: variance.sqrt(), min, max };
    let bound = |quantile| Some(samples[early_stopping_rank(samples.len() as u64, quantile)? as usize - 1]);
    Some(numbers.filled(at, interval, bound))
}

/// The same from a histogram, to its three digits.
#[must_use]
pub fn distribution_of_histogram(histogram: &Histogram, independence: Independence) -> Option<Distribution> {
    let [mean, stddev, min, max] = histogram.moments()?;
    let count = histogram.count();
    let at = |quantile| histogram.quantile(quantile).unwrap_or(max);
    let interval = |quantile| {
        if independence == Independence::Pooled {
            return None;
        }
        let (low, high) = order_statistic_ranks(count, quantile)?;
        Some([low, high].map(|rank| at(rank as f64 / count as f64)))
    };
    let bound = |quantile| {
        let rank = early_stopping_rank(count, quantile).filter(|_| independence == Independence::Independent)?;
        Some(at(rank as f64 / count as f64))
    };
    Some(Numbers { count, mean, stddev, min, max }.filled(at, interval, bound))
}

/// The place (0–1) among `answered` samples of what stands at `quantile` once `endless` ones are put behind them; `None`
/// where that lies among the latter.
#[must_use]
pub fn among_answered(quantile: f64, answered: u64, endless: u64) -> Option<f64> {
    let place = quantile * (answered + endless).saturating_sub(1) as f64;
    let among = place / answered.saturating_sub(1).max(1) as f64;
    (answered > 0 && among <= 1.0).then_some(among)
}

/// What both ways to a distribution have in hand.
struct Numbers {
    count: u64,
    mean: f64,
    stddev: f64,
    min: f64,
    max: f64,
}

impl Numbers {
    fn filled(
        self,
        at: impl Fn(f64) -> f64,
        interval: impl Fn(f64) -> Option<[f64; 2]>,
        bound: impl Fn(f64) -> Option<f64>,
    ) -> Distribution {
        let early_stopping =
            WITH_INTERVAL.iter().filter_map(|(name, quantile)| Some(((*name).to_owned(), bound(*quantile)?))).collect();
        let ci: BTreeMap<String, [f64; 2]> =
            WITH_INTERVAL.iter().filter_map(|(name, quantile)| Some(((*name).to_owned(), interval(*quantile)?))).collect();
        Distribution {
            count: self.count,
            mean: self.mean,
            stddev: self.stddev,
            min: self.min,
            p1: at(0.01),
            p5: at(0.05),
            p10: at(0.10),
            p25: at(0.25),
            p50: at(0.50),
            p75: at(0.75),
            p90: at(0.90),
            p95: at(0.95),
            p99: at(0.99),
            p99_9: at(0.999),
            max: self.max,
            ci,
            adjusted: BTreeMap::new(),
            early_stopping,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn check(samples: &[f64], quantile: f64, expected: f64) {
        let found = percentile(samples, quantile).unwrap();
        assert!((found - expected).abs() < 1e-12, "{found} for {quantile}, not {expected}");
    }

    #[test]
    fn percentiles_are_those_of_numpy() {
        // numpy.percentile([1, 2, 3, 4], [25, 50, 90, 99]) and the ends.
        let samples = [1.0, 2.0, 3.0, 4.0];
        let expected = [(0.25, 1.75), (0.5, 2.5), (0.9, 3.7), (0.99, 3.97), (0.0, 1.0), (1.0, 4.0)];
        expected.iter().for_each(|(quantile, value)| check(&samples, *quantile, *value));
        check(&[7.0], 0.99, 7.0);
        assert_eq!(percentile(&[], 0.5), None);
    }

    #[test]
    fn spread_is_the_population_s() {
        let all = distribution(vec![2.0, 4.0, 4.0, 4.0, 5.0, 5.0, 7.0, 9.0]).unwrap();
        assert_eq!((all.count, all.mean, all.stddev, all.min, all.max), (8, 5.0, 2.0, 2.0, 9.0));
        assert_eq!(distribution(Vec::new()), None);
    }

    #[test]
    fn too_few_samples_have_no_interval() {
        let intervals =
            |n: u32| -> Vec<String> { distribution((0..n).map(f64::from).collect()).unwrap().ci.into_keys().collect() };
        assert!(intervals(5).is_empty());
        assert_eq!(intervals(6), ["p50"]);
        assert_eq!(intervals(100), ["p50", "p90", "p95"]);
        assert_eq!(intervals(368), ["p50", "p90", "p95", "p99"]);
        assert_eq!(intervals(367), ["p50", "p90", "p95"]);
    }

    #[test]
    fn pooled_gaps_have_no_interval() {
        let mut histogram = Histogram::new();
        (1..=10_000).for_each(|n| histogram.record(n * 10_000));
        let pooled = distribution_of_histogram(&histogram, Independence::Pooled).unwrap();
        assert!(pooled.ci.is_empty() && pooled.early_stopping.is_empty());
        assert_eq!(distribution_of_histogram(&histogram, Independence::Independent).unwrap().ci.len(), 4);
    }

    proptest! {
        #[test]
        fn a_histogram_and_its_samples_agree(values in prop::collection::vec(1_000_000u64..10_000_000_000, 500..600)) {
            let mut histogram = Histogram::new();
            values.iter().for_each(|value| histogram.record(*value));
            let rough = distribution_of_histogram(&histogram, Independence::Independent).unwrap();
            let mut sorted: Vec<f64> = values.iter().map(|value| *value as f64 / 1e9).collect();
            sort(&mut sorted);
            // The histogram gives a sample and no interpolation: one rank up or down, and its digits.
            let (below, above) = (sorted[sorted.len() / 2 - 2] * 0.999, sorted[sorted.len() / 2 + 2] * 1.001);
            prop_assert!((below..=above).contains(&rough.p50));
            prop_assert_eq!(rough.count, values.len() as u64);
        }
    }
}
