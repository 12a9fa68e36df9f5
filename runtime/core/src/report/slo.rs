//! What became of each limit: its figure beside it, whether it was met, and how many requests kept it.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::TrialReport;
use crate::{
    figures,
    search::LimitFigure,
    statistics::{order_statistic_ranks, wilson},
};

/// One limit of `workload.slo`, and what became of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SloFigure {
    /// `ttft_p99` and so on.
    pub name: String,
    /// 0–100.
    pub percentile: f64,
    /// What it must not exceed.
    pub limit_seconds: f64,
    /// The percentile from the instant at which requests were due, those that did not end well endlessly late; `None`
    /// where it lies among these.
    pub value_seconds: Option<f64>,
    /// Whether it was met.
    pub outcome: SloOutcome,
    /// Share of due requests that kept it.
    pub attainment: f64,
    /// Wilson's 95 % interval of that share.
    pub attainment_interval: [f64; 2],
}

/// Whether a limit was met.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SloOutcome {
    /// The percentile lies within it.
    Met,
    /// It does not.
    Missed,
    /// There are too few requests for that percentile.
    TooFew,
}

impl SloFigure {
    /// `kept` of `due` requests kept the limit.
    pub(super) fn of(figure: LimitFigure, kept: u64, due: u64) -> Self {
        let is_sure = order_statistic_ranks(figure.answers, figure.percentile / 100.0).is_some();
        let outcome = match figure.value_seconds {
            _ if !is_sure => SloOutcome::TooFew,
            Some(value) if value <= figure.limit_seconds => SloOutcome::Met,
            _ => SloOutcome::Missed,
        };
        Self {
            name: figure.name,
            percentile: figure.percentile,
            limit_seconds: figure.limit_seconds,
            value_seconds: figure.value_seconds,
            outcome,
            attainment: if due == 0 { 0.0 } else { kept as f64 / due as f64 },
            attainment_interval: wilson(kept, due).unwrap_or_default(),
        }
    }
}

/// `SLO ttft_p99 ≤ 500 ms: met with 312 ms; kept by 99.4 % of due requests (95 % interval 98.7–99.7 %)`.
impl fmt::Display for SloFigure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let limit = figures::seconds(self.limit_seconds);
        let value = self.value_seconds.map_or("∞, among requests that did not end well".to_owned(), figures::seconds);
        let outcome = match self.outcome {
            SloOutcome::Met => format!("met with {value}"),
            SloOutcome::Missed => format!("MISSED with {value}"),
            SloOutcome::TooFew => format!("{} to say (it would be {value})", super::TOO_FEW),
        };
        let kept = kept(self.attainment, self.attainment_interval);
        write!(f, "SLO {} ≤ {limit}: {outcome}; kept by {kept}", self.name)
    }
}

fn kept(share: f64, interval: [f64; 2]) -> String {
    let [low, high] = interval.map(figures::percent);
    format!("{} of due requests (95 % interval {low} – {high})", figures::percent(share))
}

impl TrialReport {
    /// A line for each limit, and one for the goodput; none without limits.
    #[must_use]
    pub fn slo_lines(&self) -> Vec<String> {
        let all = self.slo.get("all").zip(self.throughput.goodput_requests_per_second).map(|(share, goodput)| {
            // The share is of whole requests: their number comes out of it as it went in.
            let good = (share * self.accounting.due as f64).round() as u64;
            let interval = wilson(good, self.accounting.due).unwrap_or_default();
            let tokens = self.throughput.goodput_output_tokens_per_second;
            let tokens = tokens.map(|tokens| format!(", {} answer tokens/s", figures::three_digits(tokens)));
            format!(
                "goodput {} requests/s{}: all limits kept by {}",
                figures::three_digits(goodput),
                tokens.unwrap_or_default(),
                kept(*share, interval)
            )
        });
        self.slo_limits.iter().map(ToString::to_string).chain(all).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn figure(value_seconds: Option<f64>, answers: u64) -> SloFigure {
        let name = "ttft_p99".to_owned();
        let figure = LimitFigure { name, percentile: 99.0, limit_seconds: 0.5, value_seconds, answers, within: 0 };
        SloFigure::of(figure, answers * 99 / 100, answers)
    }

    #[test]
    fn a_limit_is_told_with_its_figure_and_how_many_kept_it() {
        for (value, answers, outcome, words) in [
            (Some(0.312), 400, SloOutcome::Met, "SLO ttft_p99 ≤ 500 ms: met with 312 ms; kept by 99.0 % of due"),
            (Some(0.612), 400, SloOutcome::Missed, "MISSED with 612 ms"),
            (None, 400, SloOutcome::Missed, "MISSED with ∞"),
            (Some(0.312), 100, SloOutcome::TooFew, "too few samples to say (it would be 312 ms)"),
        ] {
            let found = figure(value, answers);
            assert_eq!(found.outcome, outcome);
            assert!(found.to_string().contains(words), "{found}");
            assert!(found.attainment_interval[0] < found.attainment && found.attainment < found.attainment_interval[1]);
        }
    }
}
