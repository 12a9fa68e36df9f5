//! `workload.stop_when`: what a recipe writes, what it means, and what it cannot stand beside.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Problem, Workload, dataset, untimed::untimed, words::PlainText};
use crate::{
    trial::{self, Api},
    units::Span,
};

/// Stop when a figure is known well enough.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct StopWhen {
    /// The figure: a percentile of ttft, ttft_scheduled, tpot, e2el or e2el_scheduled, such as `ttft_p99`.
    pub metric: String,
    /// The half width of its 95 % confidence interval over the figure, such as `5%`. It is looked at once a second, and
    /// must hold twice in a row, the second time with more answers: stopping at the first narrow interval would stop at
    /// a lucky one.
    pub ci: PlainText,
    /// The shortest window; default 30s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min: Option<Span>,
    /// The longest window; default `workload.duration`, or 10m. Where the figure is not sure by then, a warning says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max: Option<Span>,
}

/// The least part of the window where none is written.
const MIN: Span = Span::from_secs(30);
/// The longest window where none is written.
const MAX: Span = Span::from_secs(600);
/// Narrower intervals than this are below what three digits of a live histogram can tell.
const NARROWEST: f64 = 0.002;
/// Wider ones say nothing.
const WIDEST: f64 = 0.5;
/// The latencies of which each request has one; gaps between tokens are not independent of each other.
const METRICS: [&str; 5] = ["ttft", "ttft_scheduled", "tpot", "e2el", "e2el_scheduled"];

/// The longest window of a load that ends when a figure is sure; `None` of any other.
pub(super) fn window(workload: &Workload) -> Option<Span> {
    let when = workload.stop_when.as_ref()?;
    let written = when.max.or_else(|| workload.duration.as_ref()?.first().copied());
    Some(written.unwrap_or(MAX))
}

/// The rule.
pub(super) fn of(workload: &Workload) -> Option<trial::StopWhen> {
    let when = workload.stop_when.as_ref()?;
    let (metric, percentile) = named(&when.metric)?;
    let half_width = half_width(&when.ci)?;
    let min = when.min.unwrap_or(MIN).min(window(workload)?);
    Some(trial::StopWhen { metric: metric.to_owned(), percentile, half_width, min })
}

/// What is wrong with it; `usual` is the service's own operation.
pub(super) fn check(workload: &Workload, usual: Api, problems: &mut Vec<Problem>) {
    let Some(when) = &workload.stop_when else { return };
    let mut error = |path: &str, found: String, accepted: &str, advice: &str| {
        problems.push(Problem::error(format!("workload.{path}"), found, accepted).advise(advice));
    };
    if named(&when.metric).is_none() {
        let accepted = format!("{} with a percentile, such as `ttft_p99`", METRICS.join(", "));
        error("stop_when.metric", format!("`{}`", when.metric), &accepted, "a figure of which each request has one");
    }
    if let Some(untimed) = named(&when.metric).and_then(|(metric, _)| untimed(workload, usual, metric)) {
        let found = format!("`{}` {}", when.metric, untimed.why);
        error("stop_when.metric", found, untimed.accepted, "a figure of which each request has one");
    }
    if half_width(&when.ci).is_none() {
        let advice = "the half width of the 95 % interval, as a share of the figure";
        error("stop_when.ci", format!("`{}`", when.ci.0), "a share from 0.2% to 50%, such as `5%`", advice);
    }
    if let (Some(min), Some(max)) = (when.min, window(workload).filter(|max| when.min > Some(*max))) {
        error("stop_when.min", format!("{min}, longer than the window may be ({max})"), "at most max", "raise max");
    }
    if when.max.is_some() && workload.duration.is_some() {
        error("duration", "a length beside `stop_when.max`".into(), "one of both", "max is the longest window; leave this out");
    }
    let apart = "a figure is sure of one load that ends by time; leave one of both out";
    if workload.requests.is_some() {
        error("requests", "a number of requests beside `stop_when`".into(), "one of both", apart);
    }
    if !workload.stages.is_empty() {
        error("stages", "stages beside `stop_when`".into(), "one of both", apart);
    }
    if dataset::replays(workload) {
        error("request_distribution", "a replayed trace beside `stop_when`".into(), "one of both", apart);
    }
}

/// Metric and percentile of a name such as `ttft_p99`.
fn named(name: &str) -> Option<(&str, f64)> {
    let (metric, percentile) = name.rsplit_once("_p")?;
    let percentile: f64 = percentile.parse().ok()?;
    (METRICS.contains(&metric) && percentile > 0.0 && percentile < 100.0).then_some((metric, percentile))
}

/// `5%`, or 0.05.
fn half_width(text: &PlainText) -> Option<f64> {
    text.share().filter(|share| (NARROWEST..=WIDEST).contains(share))
}

#[cfg(test)]
mod tests {
    use super::{super::OneOrMany, *};

    fn workload(metric: &str, ci: &str, min: Option<u64>, max: Option<u64>) -> Workload {
        let span = |seconds: Option<u64>| seconds.map(Span::from_secs);
        let when = StopWhen { metric: metric.into(), ci: PlainText(ci.into()), min: span(min), max: span(max) };
        Workload { stop_when: Some(when), ..Workload::default() }
    }

    fn paths(workload: &Workload) -> Vec<String> {
        let mut problems = Vec::new();
        check(workload, Api::Completions, &mut problems);
        problems.into_iter().map(|problem| problem.path).collect()
    }

    #[test]
    fn the_rule_has_sensible_defaults() {
        let written = workload("ttft_p99", "5%", None, None);
        let rule = of(&written).unwrap();
        assert_eq!((rule.metric.as_str(), rule.percentile, rule.half_width, rule.min), ("ttft", 99.0, 0.05, MIN));
        assert_eq!((window(&written), paths(&written)), (Some(MAX), vec![]));
        let short = Workload { duration: Some(OneOrMany::One(Span::from_secs(10))), ..workload("e2el_p50", "0.1", None, None) };
        let rule = of(&short).unwrap();
        assert_eq!((rule.min, window(&short), rule.half_width), (Span::from_secs(10), Some(Span::from_secs(10)), 0.1));
        assert_eq!(of(&workload("ttft_scheduled_p99.9", "5 %", None, None)).unwrap().percentile, 99.9);
    }

    #[test]
    fn a_figure_that_no_answer_has_is_refused() {
        let sampling = |n: u64| serde_json::json!({"n": n}).as_object().cloned();
        let entry = |batch: u32| serde_json::from_value(serde_json::json!({"name": "a", "batch": batch})).unwrap();
        for (metrics, written, is_refused) in [
            (["tpot", "tpot"], Workload::default(), false),
            (["tpot", "tpot"], Workload { sampling: sampling(3), ..Workload::default() }, true),
            (["tpot", "tpot"], Workload { sampling: sampling(1), ..Workload::default() }, false),
            (["tpot", "tpot"], Workload { benchmark_suite: vec![entry(1), entry(4)], ..Workload::default() }, true),
            (["tpot", "ttft_scheduled"], Workload { stream: Some(OneOrMany::One(false)), ..Workload::default() }, true),
            (["e2el", "e2el_scheduled"], Workload { stream: Some(OneOrMany::One(false)), ..Workload::default() }, false),
            (["ttft", "e2el"], Workload { sampling: sampling(3), ..Workload::default() }, false),
        ] {
            for metric in metrics {
                let workload =
                    Workload { stop_when: workload(&format!("{metric}_p50"), "5%", None, None).stop_when, ..written.clone() };
                let expected: &[&str] = if is_refused { &["workload.stop_when.metric"] } else { &[] };
                assert_eq!(paths(&workload), expected, "{metric} {written:?}");
            }
        }
    }

    #[test]
    fn what_cannot_be_meant_is_said_with_its_path() {
        for metric in ["ttft", "itl_p99", "ttft_p0", "ttft_p100", "ttft_px", "p99", ""] {
            assert_eq!(paths(&workload(metric, "5%", None, None)), ["workload.stop_when.metric"], "{metric}");
        }
        for ci in ["", "0%", "0", "5", "60%", "-5%", "many", "0.1%", "NaN"] {
            assert_eq!(paths(&workload("ttft_p99", ci, None, None)), ["workload.stop_when.ci"], "{ci}");
        }
        assert_eq!(paths(&workload("ttft_p99", "5%", Some(20), Some(10))), ["workload.stop_when.min"]);
        let both = Workload { duration: Some(OneOrMany::One(Span::from_secs(1))), ..workload("ttft_p99", "5%", None, Some(10)) };
        assert_eq!(paths(&both), ["workload.duration"]);
    }
}
