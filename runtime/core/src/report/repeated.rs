//! What repetitions of the same parameters say together.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Distribution, Percentile, TrialReport};
use crate::{
    figures,
    statistics::{TInterval, t_interval},
    units::TrialId,
};

/// Repetitions from which on an interval says whether they agree…
const FEWEST: usize = 3;
/// …which they do where its whole width is below this share of the mean.
const NARROW: f64 = 0.1;

/// The finished repetitions of one set of parameters.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Repeated {
    /// The swept fields and their values.
    pub parameters: BTreeMap<String, Value>,
    /// Its trials.
    pub trials: Vec<TrialId>,
    /// By the name of the figure, such as `ttft_p99_seconds`; one that a repetition lacks is left out.
    pub figures: BTreeMap<String, RepeatedFigure>,
}

/// One figure over repetitions.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct RepeatedFigure {
    /// The mean of the repetitions.
    pub mean: f64,
    /// Student's interval of it, 95 %, from the sample's standard deviation (ddof 1).
    pub interval: [f64; 2],
    /// That deviation over the mean; `None` where the mean is zero.
    pub variation: Option<f64>,
    /// Whether there are three repetitions or more and the interval is narrower than a tenth of the mean.
    pub is_converged: bool,
}

/// The heads of [`Repeated::rows`].
pub const REPEATED_HEADS: [&str; 5] = ["parameters", "figure", "mean", "95 % interval", "variation"];

impl Repeated {
    /// A row for each figure under [`REPEATED_HEADS`].
    #[must_use]
    pub fn rows(&self) -> Vec<[String; 5]> {
        let values: Vec<String> = self.parameters.iter().map(|(name, value)| format!("{name} {}", plain(value))).collect();
        let point = format!("{} ({} repetitions)", values.join(", "), self.trials.len());
        let row = |(name, figure): (&String, &RepeatedFigure)| {
            let shown = |value: f64| {
                if name.ends_with("_seconds") && value >= 0.0 { figures::seconds(value) } else { figures::three_digits(value) }
            };
            let [low, high] = figure.interval.map(|end| shown(end.max(0.0)));
            let variation = figure.variation.map_or("–".to_owned(), figures::percent);
            [
                point.trim_start().to_owned(),
                name.trim_end_matches("_seconds").replace('_', " "),
                shown(figure.mean),
                format!("{low} – {high}"),
                variation,
            ]
        };
        self.figures.iter().map(row).collect()
    }
}

fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// Finished trials that are repetitions of each other, in the order of the first of each; probes of searches are none.
pub(super) fn of(trials: &[TrialReport]) -> Vec<Repeated> {
    let mut points: Vec<(&BTreeMap<String, Value>, Vec<&TrialReport>)> = Vec::new();
    for trial in trials.iter().filter(|trial| trial.complete && trial.probe.is_none()) {
        match points.iter_mut().find(|(parameters, _)| **parameters == trial.parameters) {
            Some((_, repetitions)) => repetitions.push(trial),
            None => points.push((&trial.parameters, vec![trial])),
        }
    }
    points.iter().filter(|(_, repetitions)| repetitions.len() > 1).map(|(_, repetitions)| together(repetitions)).collect()
}

fn together(repetitions: &[&TrialReport]) -> Repeated {
    let mut values: BTreeMap<String, Vec<f64>> = BTreeMap::new();
    for (name, value) in repetitions.iter().flat_map(|trial| figures_of(trial)) {
        values.entry(name).or_default().push(value);
    }
    let whole = values.into_iter().filter(|(_, values)| values.len() == repetitions.len());
    Repeated {
        parameters: repetitions[0].parameters.clone(),
        trials: repetitions.iter().map(|trial| trial.id.clone()).collect(),
        figures: whole.filter_map(|(name, values)| Some((name, figure(&values)?))).collect(),
    }
}

fn figure(values: &[f64]) -> Option<RepeatedFigure> {
    let TInterval { mean, variation, interval } = t_interval(values)?;
    let is_converged = values.len() >= FEWEST && mean != 0.0 && (interval[1] - interval[0]) / mean.abs() < NARROW;
    Some(RepeatedFigure { mean, interval, variation: variation.is_finite().then_some(variation), is_converged })
}

/// The main figures of a trial; percentiles that too few samples allow are none.
fn figures_of(trial: &TrialReport) -> Vec<(String, f64)> {
    let (rates, latency) = (&trial.throughput, &trial.latency);
    let mut found = vec![("requests_per_second".to_owned(), rates.requests_per_second)];
    found.extend(rates.output_tokens_per_second.map(|rate| ("output_tokens_per_second".to_owned(), rate)));
    found.extend(rates.goodput_requests_per_second.map(|goodput| ("goodput_requests_per_second".to_owned(), goodput)));
    let mut add = |name: &str, distribution: &Option<Distribution>| {
        for percentile in [Percentile::P50, Percentile::P99] {
            let shown = distribution.as_ref().and_then(|distribution| distribution.shown(percentile));
            found.extend(shown.map(|seconds| (format!("{name}_{}_seconds", percentile.key()), seconds)));
        }
    };
    add("ttft", &latency.ttft_seconds);
    add("tpot", &latency.tpot_seconds);
    add("e2el", &latency.e2el_seconds);
    if trial.load.is_open() {
        add("ttft_scheduled", &latency.ttft_scheduled_seconds);
        add("e2el_scheduled", &latency.e2el_scheduled_seconds);
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trial(id: &str, rate: f64, p50: f64, count: u64) -> TrialReport {
        let mut trial = TrialReport { id: id.into(), complete: true, ..TrialReport::default() };
        trial.throughput.requests_per_second = rate;
        trial.throughput.output_tokens_per_second = Some(0.0);
        trial.latency.ttft_seconds = Some(Distribution { count, p50, ..Distribution::default() });
        trial
    }

    #[test]
    fn repetitions_are_told_together_with_student_s_interval() {
        let found = of(&[trial("a", 10.0, 0.1, 100), trial("b", 12.0, 0.1, 100), trial("c", 14.0, 0.1, 100)]).remove(0);
        let rate = &found.figures["requests_per_second"];
        assert_eq!((rate.mean, rate.is_converged), (12.0, false));
        assert!((rate.variation.unwrap() - 1.0 / 6.0).abs() < 1e-9 && (rate.interval[1] - 16.968).abs() < 1e-3, "{rate:?}");
        assert!(found.figures["ttft_p50_seconds"].is_converged && !found.figures.contains_key("ttft_p99_seconds"));
        assert_eq!(found.figures["output_tokens_per_second"].variation, None, "of nothing there is no share");
        assert_eq!(found.rows().len(), found.figures.len());
    }

    #[test]
    fn one_trial_and_one_that_was_cut_short_are_no_repetitions() {
        let cut = TrialReport { complete: false, ..trial("b", 1.0, 0.1, 100) };
        assert_eq!(of(&[trial("a", 1.0, 0.1, 100), cut]), []);
        let mut other = trial("b", 1.0, 0.1, 100);
        other.parameters.insert("concurrency".into(), 8.into());
        assert_eq!(of(&[trial("a", 1.0, 0.1, 100), other]), []);
    }
}
