//! Which percentiles are shown, and when there are too few samples for one: the same rule in every text and page.

use super::Distribution;
use crate::figures;
use crate::statistics::order_statistic_ranks;

/// What stands in place of a percentile that too few samples allow.
pub const TOO_FEW: &str = "too few samples";
/// What a percentile beside another one means.
pub const ADJUSTED: &str = "in brackets: over all that was due, what did not complete counted as endlessly late";

/// A percentile that people are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names are the definitions")]
pub enum Percentile {
    P50,
    P90,
    P95,
    P99,
    P99_9,
}

impl Percentile {
    /// The share of samples below it, 0–1.
    #[must_use]
    pub const fn quantile(self) -> f64 {
        match self {
            Self::P50 => 0.5,
            Self::P90 => 0.9,
            Self::P95 => 0.95,
            Self::P99 => 0.99,
            Self::P99_9 => 0.999,
        }
    }

    /// The key of its confidence interval in a report, where it has one.
    #[must_use]
    pub const fn key(self) -> &'static str {
        match self {
            Self::P50 => "p50",
            Self::P90 => "p90",
            Self::P95 => "p95",
            Self::P99 => "p99",
            Self::P99_9 => "p99_9",
        }
    }
}

impl Distribution {
    /// A percentile in seconds, whatever it is worth.
    #[must_use]
    pub const fn at(&self, percentile: Percentile) -> f64 {
        match percentile {
            Percentile::P50 => self.p50,
            Percentile::P90 => self.p90,
            Percentile::P95 => self.p95,
            Percentile::P99 => self.p99,
            Percentile::P99_9 => self.p99_9,
        }
    }

    /// The percentile over all requests that were due, where that is another one: `∞` among those that did not complete. Of the median it
    /// is seldom more than noise, and not shown.
    #[must_use]
    pub fn adjusted_beside(&self, percentile: Percentile) -> Option<String> {
        if percentile == Percentile::P50 {
            return None;
        }
        let value = self.at(percentile);
        let adjusted = self.adjusted.get(percentile.key())?.map_or(f64::INFINITY, |adjusted| adjusted);
        let shown = |seconds: f64| if seconds.is_finite() { figures::latency(seconds) } else { "∞".to_owned() };
        self.shown(percentile).map(|_| shown(adjusted)).filter(|adjusted| *adjusted != shown(value))
    }

    /// A percentile in seconds; `None` where too few samples allow one, which is where not even a 95 % confidence interval
    /// by order statistics exists: p50 needs 6, p99 needs 368, p99.9 needs 3,688.
    #[must_use]
    pub fn shown(&self, percentile: Percentile) -> Option<f64> {
        order_statistic_ranks(self.count, percentile.quantile()).map(|_| self.at(percentile))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::statistics::distribution;

    #[test]
    fn a_percentile_is_shown_exactly_where_it_has_an_interval() {
        for count in [1, 5, 6, 35, 36, 82, 367, 368, 5_000] {
            let found = distribution((0..count).map(f64::from).collect()).unwrap();
            for percentile in [Percentile::P50, Percentile::P90, Percentile::P99] {
                assert_eq!(found.shown(percentile).is_some(), found.ci.contains_key(percentile.key()), "{count} {percentile:?}");
            }
        }
    }

    #[test]
    fn a_thousandth_needs_thousands() {
        let of = |count| Distribution { count, ..Distribution::default() };
        let fewest = (1..5_000).find(|count| of(*count).shown(Percentile::P99_9).is_some());
        assert_eq!(fewest, Some(3_688));
    }
}
