//! Confidence intervals of 95 %, each for the question it answers.

use statrs::{
    distribution::{ContinuousCDF as _, StudentsT},
    function::beta::beta_reg,
};

/// What an interval leaves out on each side.
const TAIL: f64 = 0.025;
/// What MLPerf leaves out.
const EARLY_STOPPING_TAIL: f64 = 0.01;
/// The normal quantile at 97.5 %.
const NORMAL_975: f64 = 1.959_963_984_540_054;

/// The ranks (from 1) of the sorted samples between which the true quantile lies in 95 of 100 cases,
/// whatever the distribution; `None` with too few samples to say so.
#[must_use]
pub fn order_statistic_ranks(count: u64, quantile: f64) -> Option<(u64, u64)> {
    if count == 0 || !(0.0 < quantile && quantile < 1.0) {
        return None;
    }
    // The number of samples below the quantile is binomial. The lower rank is the largest r with
    // P(X < r) ≤ 2.5 %, the upper one the smallest with P(X ≥ r) ≤ 2.5 %.
    let low = first_rank(count, |rank| binomial_at_most(rank, count, quantile) > TAIL);
    let high = first_rank(count, |rank| binomial_at_most(rank, count, quantile) >= 1.0 - TAIL) + 1;
    (low >= 1 && high <= count).then_some((low, high))
}

/// The first number from 0 to `count` for which a rising condition holds.
fn first_rank(count: u64, holds: impl Fn(u64) -> bool) -> u64 {
    let (mut low, mut high) = (0, count);
    while low < high {
        let middle = low + (high - low) / 2;
        if holds(middle) {
            high = middle;
        } else {
            low = middle + 1;
        }
    }
    low
}

/// P(X ≤ k) of a binomial.
fn binomial_at_most(k: u64, count: u64, chance: f64) -> f64 {
    if k >= count { 1.0 } else { beta_reg((count - k) as f64, k as f64 + 1.0, 1.0 - chance) }
}

/// MLPerf's early stopping: the rank (from 1) of the sorted samples that the true quantile does not exceed in 99 of 100
/// cases; `None` with too few samples to say so (p99 needs 662).
#[must_use]
pub fn early_stopping_rank(count: u64, quantile: f64) -> Option<u64> {
    if count == 0 || !(0.0 < quantile && quantile < 1.0) {
        return None;
    }
    // So many samples may lie above it: the most for which fewer or as many are a case in a hundred.
    let above = first_rank(count, |above| binomial_at_most(above, count, 1.0 - quantile) > EARLY_STOPPING_TAIL).checked_sub(1)?;
    (above >= 1).then(|| count - above + 1)
}

/// Wilson's interval of a share of successes; `None` without trials.
#[must_use]
pub fn wilson(successes: u64, trials: u64) -> Option<[f64; 2]> {
    if trials == 0 {
        return None;
    }
    let (count, share, square) = (trials as f64, successes as f64 / trials as f64, NORMAL_975 * NORMAL_975);
    let centre = (share + square / (2.0 * count)) / (1.0 + square / count);
    let half = NORMAL_975 * (share * (1.0 - share) / count + square / (4.0 * count * count)).sqrt() / (1.0 + square / count);
    Some([(centre - half).max(0.0), (centre + half).min(1.0)])
}

/// A mean over repetitions and its interval.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TInterval {
    /// The mean.
    pub mean: f64,
    /// The sample's standard deviation over the mean.
    pub variation: f64,
    /// Student's interval.
    pub interval: [f64; 2],
}

/// The mean of a figure over repetitions; `None` below two.
#[must_use]
pub fn t_interval(values: &[f64]) -> Option<TInterval> {
    if values.len() < 2 {
        return None;
    }
    let count = values.len() as f64;
    let mean = values.iter().sum::<f64>() / count;
    let stddev = (values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / (count - 1.0)).sqrt();
    let half = StudentsT::new(0.0, 1.0, count - 1.0).ok()?.inverse_cdf(1.0 - TAIL) * stddev / count.sqrt();
    Some(TInterval { mean, variation: stddev / mean, interval: [mean - half, mean + half] })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn near(found: f64, expected: f64) {
        assert!((found - expected).abs() < 1e-3, "{found}, not {expected}");
    }

    #[test]
    fn ranks_are_those_of_the_tables() {
        // The median of 20 lies between the 6th and the 15th sample, of 100 between the 40th and the 61st.
        assert_eq!(order_statistic_ranks(20, 0.5), Some((6, 15)));
        assert_eq!(order_statistic_ranks(100, 0.5), Some((40, 61)));
        assert_eq!(order_statistic_ranks(5, 0.5), None);
        assert_eq!(order_statistic_ranks(0, 0.5), None);
        assert_eq!(order_statistic_ranks(10, 1.0), None);
    }

    #[test]
    fn ranks_cover_what_they_promise_and_not_much_more() {
        for (count, quantile) in [(50, 0.5), (400, 0.9), (1_000, 0.99), (1_000_000, 0.99)] {
            let (low, high) = order_statistic_ranks(count, quantile).unwrap();
            let below = |rank: u64| binomial_at_most(rank - 1, count, quantile);
            assert!(below(high) - below(low) >= 0.95, "{count} {quantile}");
            assert!(below(low + 1) > TAIL && below(high - 1) < 1.0 - TAIL, "{count} {quantile}: not the tightest");
        }
    }

    #[test]
    fn early_stopping_needs_as_many_samples_as_mlperf_says() {
        for (quantile, fewest) in [(0.9, 64), (0.99, 662)] {
            assert_eq!(early_stopping_rank(fewest - 1, quantile), None);
            assert_eq!(early_stopping_rank(fewest, quantile), Some(fewest), "the largest");
        }
        let rank = early_stopping_rank(100_000, 0.99).unwrap();
        assert!((99_000..99_100).contains(&rank), "{rank}");
        assert_eq!((early_stopping_rank(0, 0.9), early_stopping_rank(5, 1.0)), (None, None));
    }

    #[test]
    fn wilson_is_that_of_the_books() {
        let [low, high] = wilson(8, 10).unwrap();
        near(low, 0.4902);
        near(high, 0.9433);
        assert_eq!(wilson(0, 0), None);
        assert_eq!(wilson(0, 10).unwrap()[0], 0.0);
        assert!(wilson(10, 10).unwrap()[1] <= 1.0);
    }

    #[test]
    fn repetitions_give_student_s_interval() {
        let found = t_interval(&[10.0, 12.0, 14.0]).unwrap();
        near(found.mean, 12.0);
        near(found.variation, 2.0 / 12.0);
        near(found.interval[1], 12.0 + 4.3027 * 2.0 / 3f64.sqrt());
        assert_eq!(t_interval(&[1.0]), None);
    }
}
