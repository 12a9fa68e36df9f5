//! `workload.search`: what a recipe writes, what it means, and what it cannot stand beside.

use std::num::NonZeroU32;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    Problem, Recipe, Workload, batch, dataset,
    defaults::{DURATION, slo_name},
    expand::{measured, workloads},
    words::PlainText,
};
use crate::{
    search::{SearchSpec, SearchTarget, fewest_answers},
    trial::{Arrivals, LoadModel, LoadSpec},
    units::Span,
};

/// The highest load that meets `slo`: trials of one load each, made one after another until the answer is known.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Search {
    /// What is made as high as can be.
    pub maximize: SearchTarget,
    /// The lowest load tried, and the first: requests per second, or requests in flight; default 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<f64>,
    /// The highest load tried; default 1024 times `from`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<f64>,
    /// How near the answer must be to the next load that misses, as a share of it; default 5%.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub precision: Option<PlainText>,
    /// The time that its probes may take: one that would not be over by then is not begun; left out, as long as they take.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub budget: Option<Span>,
}

/// The lowest load where none is written.
const FROM: f64 = 1.0;
/// The highest, as a multiple of the lowest.
const RANGE: f64 = 1024.0;
/// The precision where none is written.
const PRECISION: f64 = 0.05;
/// Nearer than this two loads give the same within what chance does.
const FINEST: f64 = 0.005;
/// Doubling alone is as precise.
const COARSEST: f64 = 1.0;
/// No load is higher than this.
const HIGHEST: f64 = 1e6;

/// Whether its probes are open loops.
pub(super) fn is_open(workload: &Workload) -> bool {
    workload.search.as_ref().is_some_and(|search| search.maximize != SearchTarget::Concurrency)
}

/// The rate of its slowest probe; `None` of a search over concurrencies.
pub(super) fn lowest_rate(workload: &Workload) -> Option<f64> {
    let search = workload.search.as_ref().filter(|_| is_open(workload))?;
    Some(range(search).0)
}

/// The load of its first probe; `None` of a workload that searches nothing.
pub(super) fn first_load(workload: &Workload, arrivals: Arrivals) -> Option<LoadModel> {
    let search = workload.search.as_ref()?;
    let (from, _) = range(search);
    Some(match search.maximize {
        SearchTarget::Concurrency => {
            let think = workload.sleep_seconds.as_ref().and_then(|spans| spans.first().copied()).unwrap_or(Span::ZERO);
            LoadModel::Closed { concurrency: NonZeroU32::new(from as u32).unwrap_or(NonZeroU32::MIN), think }
        }
        SearchTarget::Rate | SearchTarget::Goodput => LoadModel::Open { rate: from, arrivals },
    })
}

/// What is searched, where each probe has this load.
pub(super) fn of(workload: &Workload, load: &LoadSpec) -> Option<SearchSpec> {
    let search = workload.search.as_ref()?;
    let (from, to) = range(search);
    let precision = search.precision.as_ref().map_or(Some(PRECISION), |text| text.share())?;
    let LoadSpec { together, warmup, stop, .. } = load;
    Some(SearchSpec {
        maximize: search.maximize,
        from,
        to,
        precision,
        budget: search.budget,
        together: *together,
        warmup: *warmup,
        stop: *stop,
    })
}

fn range(search: &Search) -> (f64, f64) {
    let from = search.from.unwrap_or(FROM);
    (from, search.to.unwrap_or(from * RANGE))
}

/// What is wrong with it.
pub(super) fn check(recipe: &Recipe, problems: &mut Vec<Problem>) {
    let Some(search) = &recipe.workload.search else { return };
    if recipe.workload.slo.as_ref().is_none_or(|slo| slo.is_empty()) {
        let problem =
            Problem::error("workload.search", "a search without `slo`", "limits beside it, such as `slo: {ttft_p99: 500ms}`");
        problems.push(problem.advise("it looks for the highest load that meets them; write workload.slo"));
    }
    let has_values = values(search, problems);
    strangers(&recipe.workload, problems);
    suite(recipe, problems);
    if !has_values {
        return;
    }
    for (_, workload) in workloads(recipe) {
        let before = problems.len();
        budget(search, &workload, problems);
        let together = batch::fewest_together(&workload, recipe.usual_operation());
        samples(search, &workload, together, problems);
        // Entries of a suite that have the same fault have it once.
        if problems.len() > before {
            break;
        }
    }
}

/// Whether every number of it can be meant.
fn values(search: &Search, problems: &mut Vec<Problem>) -> bool {
    let before = problems.len();
    let mut error = |key: &str, found: String, accepted: &str, advice: &str| {
        problems.push(Problem::error(format!("workload.search.{key}"), found, accepted).advise(advice));
    };
    let is_load = |load: f64| match search.maximize {
        SearchTarget::Concurrency => load >= 1.0 && load.fract() == 0.0 && load <= HIGHEST,
        SearchTarget::Rate | SearchTarget::Goodput => load > 0.0 && load <= HIGHEST,
    };
    let (accepted, advice) = match search.maximize {
        SearchTarget::Concurrency => ("a whole number from 1 to 1000000", "it counts requests in flight"),
        SearchTarget::Rate | SearchTarget::Goodput => ("a number above 0, at most 1000000", "it counts requests per second"),
    };
    for (key, load) in [("from", search.from), ("to", search.to)] {
        if let Some(load) = load.filter(|load| !is_load(*load)) {
            error(key, format!("`{load}`"), accepted, advice);
        }
    }
    let (from, to) = range(search);
    if is_load(from) && is_load(to) && from >= to {
        let found = format!("`{to}`, not above `from` ({from})");
        error("to", found, "a higher load than `from`", "the search goes from the lowest load to the highest");
    }
    let precision = search.precision.as_ref().map(|text| (text, text.share()));
    if let Some((text, _)) = precision.filter(|(_, share)| !share.is_some_and(|share| (FINEST..=COARSEST).contains(&share))) {
        let advice = "how far above the answer the next load that misses may lie; none at all is never reached";
        error("precision", format!("`{}`", text.0), "a share from 0.5% to 100%, such as `5%`", advice);
    }
    if search.budget == Some(Span::ZERO) {
        error("budget", "no time at all".into(), "a length of time above zero", "or leave it out");
    }
    problems.len() == before
}

/// Words beside the search that set the load, which it sets itself.
fn strangers(workload: &Workload, problems: &mut Vec<Problem>) {
    let is_concurrency = !is_open(workload);
    let written = [
        ("target_rps", workload.target_rps.is_some()),
        ("concurrency", workload.concurrency.is_some()),
        ("clients_per_node", workload.clients_per_node.is_some()),
        ("stages", !workload.stages.is_empty()),
        ("request_distribution", dataset::replays(workload)),
        ("sleep_seconds", workload.sleep_seconds.is_some() && !is_concurrency),
        ("max_in_flight", workload.max_in_flight.is_some() && is_concurrency),
        ("drills", !workload.drills.is_empty()),
    ];
    for (key, _) in written.into_iter().filter(|(_, is_written)| *is_written) {
        let (found, advice) = match key {
            "request_distribution" => {
                ("a trace that is replayed, beside `search`", "a trace has its own instants; use constant, poisson or burst")
            }
            "drills" => {
                ("drills beside `search`", "a probe in which something is killed says nothing of the load; leave one of both out")
            }
            "sleep_seconds" => {
                ("a pause of a closed loop, beside a search over rates", "use `maximize: concurrency`, or leave this out")
            }
            "max_in_flight" => {
                ("a bound of an open loop, beside a search over concurrency", "use `maximize: rate`, or leave this out")
            }
            _ => ("a load beside `search`, which sets it", "write `search.from` and `search.to` instead, and leave this out"),
        };
        problems.push(Problem::error(format!("workload.{key}"), found, "one of both").advise(advice));
    }
}

fn suite(recipe: &Recipe, problems: &mut Vec<Problem>) {
    for (index, entry) in recipe.workload.benchmark_suite.iter().enumerate() {
        let loads = [
            ("target_rps", entry.target_rps.is_some()),
            ("concurrency", entry.concurrency.is_some()),
            ("num_threads", entry.num_threads.is_some()),
            ("clients_per_node", entry.clients_per_node.is_some()),
        ];
        for (key, _) in loads.into_iter().filter(|(_, is_written)| *is_written) {
            let path = format!("workload.benchmark_suite[{index}].{key}");
            let problem = Problem::error(path, "a load beside `workload.search`, which sets it", "one of both");
            problems.push(problem.advise("an entry may change lengths and windows; its load is searched"));
        }
    }
}

fn budget(search: &Search, workload: &Workload, problems: &mut Vec<Problem>) {
    let Some(budget) = search.budget else { return };
    let longest = longest(workload.warmup.as_ref()).unwrap_or(Span::ZERO).0.saturating_add(window(workload).0);
    if workload.requests.is_none() && budget.0 < longest {
        let (path, longest) = ("workload.search.budget", Span(longest));
        let problem = Problem::error(path, format!("`{budget}`, while one probe takes {longest}"), format!("{longest} or more"));
        problems.push(problem.advise("some ten probes are usual; `hbnode plan` shows how many there may be"));
    }
}

/// Whether the windows hold enough answers to judge the SLO by, where each arrival is so many requests.
fn samples(search: &Search, workload: &Workload, together: NonZeroU32, problems: &mut Vec<Problem>) {
    let named = workload.slo.iter().flatten().filter_map(|(name, _)| Some((name, slo_name(name)?.1)));
    let Some((name, percentile)) = named.max_by(|one, other| one.1.total_cmp(&other.1)) else { return };
    // Of goodput any number of answers tells something.
    if search.maximize == SearchTarget::Goodput {
        return;
    }
    let needed = fewest_answers(percentile);
    let fewest = workload.requests.as_ref().and_then(|requests| requests.values().iter().map(|count| count.get()).min());
    if let Some(fewest) = fewest {
        if fewest < needed {
            let problem =
                Problem::error("workload.requests", format!("`{fewest}`, while {name} is judged"), format!("{needed} or more"));
            problems.push(problem.advise("fewer answers give that percentile no confidence interval: no probe could be judged"));
        }
        return;
    }
    if search.maximize == SearchTarget::Concurrency {
        return;
    }
    let ((from, to), seconds) = (range(search), window(workload).as_secs_f64());
    let held = |rate: f64| rate * f64::from(together.get()) * seconds;
    let least = needed as f64 / held(1.0);
    if held(to) < needed as f64 {
        let found = format!("`{to}`: a window of {seconds} s holds {:.0} requests at most, and {name} is judged", held(to));
        let problem = Problem::error("workload.search.to", found, format!("{least:.3} or more"));
        problems.push(problem.advise(format!("raise duration, or write `requests: {needed}` instead of it")));
    } else if held(from) < needed as f64 {
        let found =
            format!("`{from}`: a window of {seconds} s holds some {:.0} requests then, and {name} needs {needed}", held(from));
        let problem = Problem::warning("workload.search.from", found, format!("{least:.3} or more"));
        problems.push(problem.advise(format!("lower rates cannot be judged; or write `requests: {needed}` instead of duration")));
    }
}

fn window(workload: &Workload) -> Span {
    measured(workload).into_iter().max().unwrap_or(DURATION)
}

fn longest(spans: Option<&super::OneOrMany<Span>>) -> Option<Span> {
    spans?.values().iter().copied().max()
}
