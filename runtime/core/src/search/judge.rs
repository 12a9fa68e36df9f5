//! Whether a probe's load meets the SLO, by its report.
//!
//! In this order: a measurement that is INVALID says nothing of the server; more than 1 % of requests that did not end
//! well are a miss; so is a load of which more and more waits in the servers; so is a limit whose percentile lies above
//! it, over all requests that were due, those that never ended well counting as endlessly late; a percentile of too few
//! answers to have a confidence interval of 95 % is not met, unless so many exceed the limit that chance does not explain
//! it.

use serde::{Deserialize, Serialize};

use super::{Probe, ProbeOutcome, ProbePlace, ProbeReport, SearchSpec, SearchTarget, answer::shown};
use crate::{
    phases::Phase,
    report::TrialReport,
    statistics::{order_statistic_ranks, wilson},
    verdict::{self, Reason, Status},
};

/// Reasons of an INVALID trial that are findings about the server: it did not answer as it should.
const FINDINGS: [&str; 3] = ["errors", "nothing_completed", "zero_tokens"];
/// Those that say that the client could not send what it should.
const OF_CLIENT: [&str; 2] = ["achieved_rate", "client_cpu"];
/// Phases whose time a probe itself takes.
const OWN_PHASES: [Phase; 2] = [Phase::ClientLaunch, Phase::Execution];
/// No percentile needs more answers than this to be judged, or it is given up to count.
const MOST_ANSWERS: u64 = 10_000_000;

/// One limit of the SLO beside the figure that a load gave.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LimitFigure {
    /// Such as `ttft_p99`.
    pub name: String,
    /// The percentile, such as 99.
    pub percentile: f64,
    /// What it must not exceed, seconds.
    pub limit_seconds: f64,
    /// What it is, seconds; `None` where it lies among requests that never ended well.
    pub value_seconds: Option<f64>,
    /// Requests that it is taken from.
    pub answers: u64,
    /// Those of them that kept the limit.
    pub within: u64,
}

impl LimitFigure {
    /// Whether the limit holds.
    #[must_use]
    pub fn outcome(&self) -> ProbeOutcome {
        let quantile = self.percentile / 100.0;
        let has_interval = order_statistic_ranks(self.answers, quantile).is_some();
        let is_within = self.value_seconds.is_some_and(|value| value <= self.limit_seconds);
        let is_beyond_chance = wilson(self.within, self.answers).is_some_and(|[_, high]| high < quantile);
        match (has_interval, is_within) {
            (true, true) => ProbeOutcome::Met,
            (true, false) => ProbeOutcome::Missed,
            (false, false) if is_beyond_chance => ProbeOutcome::Missed,
            (false, _) => ProbeOutcome::TooFew,
        }
    }

    /// Whether the percentile's confidence interval of 95 % lies on one side of the limit.
    #[must_use]
    pub fn is_sure(&self) -> bool {
        let ranks = order_statistic_ranks(self.answers, self.percentile / 100.0);
        ranks.is_some_and(|(low, high)| self.within >= high || self.within < low)
    }

    /// `ttft_p99 is 612 ms`.
    fn said(&self) -> String {
        match self.value_seconds {
            Some(value) => format!("{} is {}", self.name, shown(value)),
            None => format!("{} lies among requests that did not end well", self.name),
        }
    }
}

/// The fewest answers by which a percentile, such as 99, can be judged.
#[must_use]
pub fn fewest_answers(percentile: f64) -> u64 {
    let can_be_judged = |answers: u64| order_statistic_ranks(answers, percentile / 100.0).is_some();
    let (mut low, mut high) = (0, 1);
    while high < MOST_ANSWERS && !can_be_judged(high) {
        (low, high) = (high, high * 2);
    }
    while low + 1 < high {
        let middle = low + (high - low) / 2;
        if can_be_judged(middle) { high = middle } else { low = middle }
    }
    high
}

/// What the trial of this report came to as a probe.
pub(crate) fn judge(spec: &SearchSpec, place: &ProbePlace, report: &TrialReport, limits: Vec<LimitFigure>) -> ProbeReport {
    let (outcome, why) = judged(report, &limits);
    let seconds = OWN_PHASES.iter().filter_map(|phase| report.phase_seconds.get(phase.name())).sum();
    let result = Probe {
        trial: report.id.clone(),
        number: place.number,
        load: place.load,
        outcome,
        why,
        limits,
        goodput_requests_per_second: goodput(spec, place, report),
        seconds,
    };
    ProbeReport { search: place.search.clone(), spec: spec.clone(), result }
}

/// The load was more than the servers served.
fn backlog(report: &TrialReport) -> Option<&Reason> {
    report.verdict.reasons.iter().find(|reason| reason.code == "backlog")
}

/// Answers per second that met every limit. Of a rate it is the share of its requests that did, so that the number of
/// requests that chance put into the window does not count; but not of one that the servers cannot serve.
fn goodput(spec: &SearchSpec, place: &ProbePlace, report: &TrialReport) -> f64 {
    match spec.maximize {
        SearchTarget::Rate | SearchTarget::Goodput if backlog(report).is_none() => {
            spec.requests(place.load) * report.slo.get("all").copied().unwrap_or(0.0)
        }
        _ => report.throughput.goodput_requests_per_second.unwrap_or(0.0),
    }
}

fn judged(report: &TrialReport, limits: &[LimitFigure]) -> (ProbeOutcome, String) {
    let invalid = report.verdict.reasons.iter().filter(|reason| reason.status == Status::Invalid);
    let mut fatal = invalid.filter(|reason| !FINDINGS.contains(&reason.code.as_str()));
    if let Some(reason) = fatal.next() {
        let whose = if OF_CLIENT.contains(&reason.code.as_str()) { "the client, not the server, is the limit: " } else { "" };
        return (ProbeOutcome::Invalid, format!("{whose}{}", reason.message));
    }
    let accounting = &report.accounting;
    let bad =
        accounting.failed_total() + accounting.timed_out + accounting.cancelled + accounting.dropped_total() + accounting.lost;
    let share = bad as f64 / accounting.due.max(1) as f64;
    if share > verdict::ERRORS_SUSPECT || accounting.completed == 0 {
        return (ProbeOutcome::Missed, format!("{:.1} % of the requests did not end well", share * 100.0));
    }
    if let Some(reason) = backlog(report) {
        return (ProbeOutcome::Missed, reason.message.clone());
    }
    let of = |outcome: ProbeOutcome| limits.iter().filter(move |limit| limit.outcome() == outcome);
    let missed: Vec<String> = of(ProbeOutcome::Missed).map(LimitFigure::said).collect();
    if !missed.is_empty() {
        return (ProbeOutcome::Missed, missed.join(" and "));
    }
    if let Some(few) = of(ProbeOutcome::TooFew).max_by(|one, other| one.percentile.total_cmp(&other.percentile)) {
        let (answers, needed) = (few.answers, fewest_answers(few.percentile));
        return (ProbeOutcome::TooFew, format!("{answers} answers are too few to judge {}: it needs {needed}", few.name));
    }
    let met: Vec<String> = limits.iter().map(LimitFigure::said).collect();
    (ProbeOutcome::Met, met.join(" and "))
}
