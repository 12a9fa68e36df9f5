//! The figures of a part of a trial's requests: those of one stage, or of one server.

use serde::{Deserialize, Serialize};

use super::{Distribution, Percentile, TOO_FEW};
use crate::{
    figures,
    histogram::Histogram,
    record::{Outcome, Record},
    statistics::{Independence, distribution_of_histogram},
    tally::Latency,
};

/// Latencies of the completed requests of a part, from sending, in seconds and to three digits.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct SliceLatencies {
    /// Time to first token.
    pub ttft_seconds: Option<Distribution>,
    /// Time per token after the first.
    pub tpot_seconds: Option<Distribution>,
    /// Whole answers.
    pub e2el_seconds: Option<Distribution>,
}

/// The heads of [`SliceLatencies::cells`].
pub const SLICE_HEADS: [&str; 3] = ["TTFT p50 / p99", "TPOT p50 / p99", "answer p50 / p99"];

impl SliceLatencies {
    /// Medians and 99th percentiles, as cells under [`SLICE_HEADS`].
    #[must_use]
    pub fn cells(&self) -> [String; 3] {
        let pair = |distribution: &Option<Distribution>| {
            let Some(found) = distribution else { return "–".to_owned() };
            let shown = |percentile| found.shown(percentile).map_or(TOO_FEW.to_owned(), figures::latency);
            format!("{} / {}", shown(Percentile::P50), shown(Percentile::P99))
        };
        [pair(&self.ttft_seconds), pair(&self.tpot_seconds), pair(&self.e2el_seconds)]
    }
}

/// Counts of one part.
#[derive(Debug)]
pub(super) struct Slice {
    has_one_answer: bool,
    latencies: [(Latency, Histogram); 3],
}

impl Slice {
    /// Where a request gets several answers by turns, there is no time per token.
    pub(super) fn new(has_one_answer: bool) -> Self {
        let latencies = [Latency::Ttft, Latency::Tpot, Latency::E2el].map(|latency| (latency, Histogram::new()));
        Self { has_one_answer, latencies }
    }

    pub(super) fn take(&mut self, record: &Record) {
        if record.outcome != Outcome::Completed {
            return;
        }
        for (latency, histogram) in &mut self.latencies {
            if let Some(seconds) = latency.of(record).filter(|_| self.has_one_answer || *latency != Latency::Tpot) {
                histogram.record((seconds * 1e9).round() as u64);
            }
        }
    }

    pub(super) fn told(&self) -> SliceLatencies {
        let [ttft_seconds, tpot_seconds, e2el_seconds] =
            [0, 1, 2].map(|place| distribution_of_histogram(&self.latencies[place].1, Independence::Independent));
        SliceLatencies { ttft_seconds, tpot_seconds, e2el_seconds }
    }
}
