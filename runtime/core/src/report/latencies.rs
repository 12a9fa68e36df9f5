//! Every latency of a trial: from its samples where all are here, and else from its histogram.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::gather::Gathered;
use crate::{
    statistics::{self, Independence, WITH_INTERVAL, among_answered, distribution, distribution_of_histogram, percentile},
    tally::{Latency, TrialTally},
};

/// Latencies, each in seconds; `None` where nothing was measured.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Latencies {
    /// Sending to first token.
    pub ttft_seconds: Option<Distribution>,
    /// Due to first token.
    pub ttft_scheduled_seconds: Option<Distribution>,
    /// Sending to first token that is no reasoning, of answers that begin with reasoning.
    pub ttfot_seconds: Option<Distribution>,
    /// Sending to last token.
    pub e2el_seconds: Option<Distribution>,
    /// Due to last token.
    pub e2el_scheduled_seconds: Option<Distribution>,
    /// Time per token after the first.
    pub tpot_seconds: Option<Distribution>,
    /// Gap between tokens, every token.
    pub itl_seconds: Option<Distribution>,
    /// Gap between events with content.
    pub icl_seconds: Option<Distribution>,
    /// Due to sending.
    pub dispatch_delay_seconds: Option<Distribution>,
    /// Of this what `max_in_flight` took, where a load has one.
    #[serde(default)]
    pub queue_delay_seconds: Option<Distribution>,
    /// And the rest, the client's own.
    #[serde(default)]
    pub client_delay_seconds: Option<Distribution>,
    /// Opening a connection, of requests that opened one.
    pub connect_seconds: Option<Distribution>,
}

/// A distribution.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the names are the definitions; percentiles by linear interpolation")]
pub struct Distribution {
    pub count: u64,
    pub mean: f64,
    pub stddev: f64,
    pub min: f64,
    pub p1: f64,
    pub p5: f64,
    pub p10: f64,
    pub p25: f64,
    pub p50: f64,
    pub p75: f64,
    pub p90: f64,
    pub p95: f64,
    pub p99: f64,
    pub p99_9: f64,
    pub max: f64,
    /// 95 % confidence intervals of percentiles by order statistics: `p50`, `p90`, `p95`, `p99`; one that too few
    /// samples allow is left out.
    pub ci: BTreeMap<String, [f64; 2]>,
    /// The same percentiles over all requests that were due, those that did not complete endlessly late: `None` where one lies
    /// among these. Empty where that has no sense.
    #[serde(default)]
    pub adjusted: BTreeMap<String, Option<f64>>,
    /// MLPerf's early stopping: what `p50`, `p90`, `p95` and `p99` do not exceed, 99 % sure; one that too few samples allow is left out.
    #[serde(default)]
    pub early_stopping: BTreeMap<String, f64>,
}

/// Every latency's distribution, and where its percentiles come from.
pub(super) fn latencies(
    gathered: &mut Gathered<'_>,
    tally: &TrialTally,
    has_one_answer: bool,
) -> (Latencies, BTreeMap<String, String>) {
    let mut sources = BTreeMap::new();
    let endless = gathered.endless();
    let adjusted = |answered: usize, at: &dyn Fn(f64) -> Option<f64>| -> BTreeMap<String, Option<f64>> {
        let value = |quantile| among_answered(quantile, answered as u64, endless).and_then(at);
        WITH_INTERVAL.iter().map(|(name, quantile)| ((*name).to_owned(), value(*quantile))).collect()
    };
    let mut of = |latency: Latency| -> Option<Distribution> {
        let is_gap = matches!(latency, Latency::Itl | Latency::Icl);
        if !has_one_answer && (is_gap || latency == Latency::Tpot) {
            return None;
        }
        let samples = if is_gap { None } else { gathered.samples(latency) };
        let independence = if is_gap { Independence::Pooled } else { Independence::Independent };
        let (found, source) = match samples {
            Some(mut samples) => {
                statistics::sort(&mut samples);
                let adjusted = adjusted(samples.len(), &|among| percentile(&samples, among));
                (distribution(samples).map(|found| Distribution { adjusted, ..found }), "records")
            }
            None => {
                let histogram = tally.latency(latency);
                let adjusted = adjusted(histogram.count() as usize, &|among| histogram.quantile(among));
                let found = distribution_of_histogram(histogram, independence);
                (found.map(|found| Distribution { adjusted, ..found }), "histogram")
            }
        };
        let found =
            found.map(|found| if has_adjusted(latency) { found } else { Distribution { adjusted: BTreeMap::new(), ..found } });
        found.inspect(|_| _ = sources.insert(format!("{}_seconds", latency.name()), source.to_owned()))
    };
    let latencies = Latencies {
        ttft_seconds: of(Latency::Ttft),
        ttft_scheduled_seconds: of(Latency::TtftScheduled),
        ttfot_seconds: of(Latency::Ttfot),
        e2el_seconds: of(Latency::E2el),
        e2el_scheduled_seconds: of(Latency::E2elScheduled),
        tpot_seconds: of(Latency::Tpot),
        itl_seconds: of(Latency::Itl),
        icl_seconds: of(Latency::Icl),
        dispatch_delay_seconds: of(Latency::DispatchDelay),
        queue_delay_seconds: of(Latency::QueueDelay),
        client_delay_seconds: of(Latency::ClientDelay),
        connect_seconds: of(Latency::Connect),
    };
    (latencies, sources)
}

/// Latencies that every request was to have one of.
fn has_adjusted(latency: Latency) -> bool {
    use Latency::{E2el, E2elScheduled, Tpot, Ttft, TtftScheduled};
    matches!(latency, Ttft | TtftScheduled | E2el | E2elScheduled | Tpot)
}
