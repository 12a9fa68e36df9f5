//! From a recipe to its trials: every list becomes points, every default is applied.

use std::{collections::BTreeSet, num::NonZeroU32, time::Duration};

use serde_json::{Map, Value};

use super::{
    Calibration, OneOrMany, Recipe, Workload, batch, dataset,
    defaults::{DURATION, trial},
    search, stages, stop_when,
    suite::overlaid,
    trial_names::{name_of, unique},
};
use crate::{
    calibration,
    trial::{LoadModel, Stop, Trial},
    units::{Span, TrialId},
};

/// Runs whose load lasts longer than this measure the client's error floor unless told otherwise.
const CALIBRATED_FROM: Span = Span::from_secs(60);

/// The most trials that a recipe may expand to.
pub(super) const MOST_TRIALS: u64 = 10_000;

/// The sweepable fields of the workload, in the order in which they are declared and expanded.
pub(super) const SWEEPABLE: [&str; 17] = [
    "model",
    "duration",
    "warmup",
    "clients_per_node",
    "concurrency",
    "requests",
    "sleep_seconds",
    "target_rps",
    "request_distribution",
    "burstiness",
    "max_in_flight",
    "prompt_len",
    "gen_tokens",
    "turns",
    "batch",
    "api",
    "stream",
];

/// One value for each swept field, by path without `workload.`, in order.
pub(super) type Point = Vec<(String, Value)>;

/// The trials of a recipe that was read without errors: each suite entry, each point, each repetition, in that order.
#[must_use]
pub fn trials(recipe: &Recipe) -> Vec<Trial> {
    let is_long = least_load_time(recipe) > CALIBRATED_FROM;
    let mut names = BTreeSet::new();
    let mut trials = Vec::new();
    let config = recipe.servers.as_ref().and_then(|servers| servers.service_config.clone()).unwrap_or_default();
    for (entry, workload) in workloads(recipe) {
        for point in points(&workload, &config) {
            let name = unique(name_of(entry.as_deref(), &point), &mut names);
            let (workload, config) = at_point(&workload, &config, &point);
            for repetition in 1..=recipe.repetitions.map_or(1, NonZeroU32::get) {
                let id = if recipe.repetitions.is_some_and(|all| all.get() > 1) {
                    format!("{name}.r{repetition}")
                } else {
                    name.clone()
                };
                let mut trial = trial(recipe, &workload, config.clone(), &point, TrialId(id), repetition);
                // Another repetition of the same load has the same floor.
                trial.load.calibration = calibration(&workload, &trial, is_long).filter(|_| repetition == 1);
                trials.push(trial);
            }
        }
    }
    trials
}

/// How long the client's error floor is measured before a trial's load: as written, or quickly in a run that is long.
fn calibration(workload: &Workload, trial: &Trial, is_long: bool) -> Option<Span> {
    if matches!(trial.load.model, LoadModel::Replay { .. }) {
        return None;
    }
    match (workload.calibration, trial.load.stop) {
        (Some(Calibration::Off), _) => None,
        (None, _) if !is_long => None,
        (Some(Calibration::Quick) | None, _) => Some(calibration::QUICK),
        (Some(Calibration::Full), Stop::After(window)) => Some(window.min(calibration::FULL_AT_MOST)),
        (Some(Calibration::Full), Stop::Requests(_)) => Some(calibration::FULL_AT_MOST),
    }
}

/// How many trials there would be, without making them.
pub(super) fn count(recipe: &Recipe) -> u64 {
    let config = recipe.servers.as_ref().and_then(|servers| servers.service_config.clone()).unwrap_or_default();
    let each = workloads(recipe).into_iter().map(|(_, workload)| {
        let axes = axes(&workload, &config);
        axes.iter().fold(1_u64, |product, (_, values)| product.saturating_mul(values.len() as u64))
    });
    let repetitions = u64::from(recipe.repetitions.map_or(1, NonZeroU32::get));
    each.fold(0_u64, u64::saturating_add).saturating_mul(repetitions)
}

/// The measured windows of all loads that end by time.
pub(super) fn windows(recipe: &Recipe) -> Vec<Span> {
    let workloads = workloads(recipe);
    let by_time = workloads.iter().filter(|(_, workload)| workload.requests.is_none());
    by_time.flat_map(|(_, workload)| measured(workload)).collect()
}

/// The time that the load of all trials takes at least: what ends by a count of requests adds its warm-up only.
pub(super) fn least_load_time(recipe: &Recipe) -> Span {
    let config = recipe.servers.as_ref().and_then(|servers| servers.service_config.clone()).unwrap_or_default();
    let seconds = workloads(recipe).into_iter().map(|(_, workload)| {
        let mean = |spans: &[Span]| spans.iter().map(|span| span.as_secs_f64()).sum::<f64>() / spans.len().max(1) as f64;
        let warmup = mean(&lengths(workload.warmup.as_ref(), Span::ZERO));
        let window = match workload.requests {
            Some(_) => 0.0,
            None => mean(&measured(&workload)),
        };
        // Every length stands in equally many points, so that the mean times the points is the sum.
        let points: f64 = axes(&workload, &config).iter().map(|(_, values)| values.len() as f64).product();
        // A search that ends with its first load has asked it twice.
        let probes = if workload.search.is_some() { 2.0 } else { 1.0 };
        (warmup + window) * points * probes
    });
    let repetitions = f64::from(recipe.repetitions.map_or(1, NonZeroU32::get));
    let seconds = seconds.sum::<f64>() * repetitions;
    Duration::try_from_secs_f64(seconds.round()).map_or(Span(Duration::MAX), Span)
}

/// Seconds that the longest load of a workload lasts, as far as its recipe tells: of a closed loop that a count of requests
/// ends it is the warm-up.
pub(super) fn longest_load(recipe: &Recipe, workload: &Workload) -> f64 {
    let warmup = lengths(workload.warmup.as_ref(), Span::ZERO).into_iter().max().unwrap_or_default().as_secs_f64();
    let requests = workload.requests.iter().flat_map(OneOrMany::values).map(|count| count.get()).max();
    let slowest = match &workload.search {
        Some(_) => search::lowest_rate(workload),
        None => workload.target_rps.iter().flat_map(OneOrMany::values).copied().reduce(f64::min),
    };
    let together = f64::from(batch::fewest_together(workload, recipe.usual_operation()).get());
    let window = match requests {
        Some(requests) => slowest.map_or(0.0, |rate| requests as f64 / (rate * together)),
        None => measured(workload).into_iter().max().unwrap_or_default().as_secs_f64(),
    };
    warmup + window
}

/// The windows of a load that ends by time. How long a trace is cannot be seen from its recipe.
pub(super) fn measured(workload: &Workload) -> Vec<Span> {
    match &workload.duration {
        _ if workload.stop_when.is_some() => stop_when::window(workload).into_iter().collect(),
        None if !workload.stages.is_empty() => vec![stages::duration(&workload.stages)],
        None if dataset::replays(workload) => Vec::new(),
        written => lengths(written.as_ref(), DURATION),
    }
}

fn lengths(written: Option<&OneOrMany<Span>>, default: Span) -> Vec<Span> {
    written.map_or_else(|| vec![default], |spans| spans.values().to_vec())
}

/// The workload itself, or each entry of the suite laid over it.
pub(super) fn workloads(recipe: &Recipe) -> Vec<(Option<String>, Workload)> {
    let base = Workload { benchmark_suite: Vec::new(), ..recipe.workload.clone() };
    match recipe.workload.benchmark_suite.as_slice() {
        [] => vec![(None, base)],
        entries => entries.iter().map(|entry| (Some(entry.name.0.clone()), overlaid(&base, entry))).collect(),
    }
}

/// The swept fields and their values: the workload's as declared, then the service's as written.
fn axes(workload: &Workload, config: &Map<String, Value>) -> Vec<(String, Vec<Value>)> {
    let written = as_json(workload);
    let of_workload = SWEEPABLE.iter().filter_map(|field| Some(((*field).to_owned(), written.get(*field)?.as_array()?.clone())));
    let mut axes: Vec<_> = of_workload.collect();
    config_axes(config, "servers.service_config", &mut axes);
    axes
}

pub(super) fn config_axes(config: &Map<String, Value>, path: &str, axes: &mut Vec<(String, Vec<Value>)>) {
    for (key, value) in config {
        match value {
            Value::Array(values) if key != "extra_args" => axes.push((format!("{path}.{key}"), values.clone())),
            Value::Object(inner) => config_axes(inner, &format!("{path}.{key}"), axes),
            _ => {}
        }
    }
}

/// The Cartesian product; the last field varies fastest.
fn points(workload: &Workload, config: &Map<String, Value>) -> Vec<Point> {
    let mut points: Vec<Point> = vec![Vec::new()];
    for (path, values) in axes(workload, config) {
        let extended = points.iter().flat_map(|point| {
            values.iter().map(|value| {
                let mut longer = point.clone();
                longer.push((path.clone(), value.clone()));
                longer
            })
        });
        points = extended.collect();
    }
    points
}

/// Workload and service settings with one value in each field.
fn at_point(workload: &Workload, config: &Map<String, Value>, point: &Point) -> (Workload, Map<String, Value>) {
    let mut words = as_json(workload);
    let mut config = config.clone();
    for (path, value) in point {
        match path.strip_prefix("servers.service_config.") {
            Some(inner) => put(&mut config, inner, value.clone()),
            None => drop(words.insert(path.clone(), value.clone())),
        }
    }
    let workload =
        serde_json::from_value(Value::Object(words)).expect("an entry of a list that was read is a value that can be read");
    (workload, config)
}

fn put(config: &mut Map<String, Value>, path: &str, value: Value) {
    match path.split_once('.') {
        Some((key, rest)) => {
            if let Some(Value::Object(inner)) = config.get_mut(key) {
                put(inner, rest, value);
            }
        }
        None => drop(config.insert(path.to_owned(), value)),
    }
}

fn as_json(workload: &Workload) -> Map<String, Value> {
    match serde_json::to_value(workload) {
        Ok(Value::Object(map)) => map,
        other => unreachable!("a workload is written as a block, not as {other:?}"),
    }
}
