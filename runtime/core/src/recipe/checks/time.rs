//! Lengths of time: none that is zero where zero means nothing, and all of them inside the job's limit.

use super::{
    super::{Mode, Problem, Recipe, expand},
    values,
};
use crate::{plan::DRAIN_AT_MOST, units::Span};

/// Percentiles of a shorter window say little.
const SHORT: Span = Span::from_secs(5);

pub(super) fn check(recipe: &Recipe, problems: &mut Vec<Problem>) {
    zeros(recipe, problems);
    windows(recipe, problems);
    loads(recipe, problems);
    deadlines(recipe, problems);
    drills(recipe, problems);
    limit(recipe, problems);
}

/// Fields in which no time at all would mean: never, or without pause.
fn zeros(recipe: &Recipe, problems: &mut Vec<Problem>) {
    let timeouts = recipe.workload.timeouts.clone().unwrap_or_default();
    let health = recipe.servers.as_ref().and_then(|servers| servers.health_check.clone()).unwrap_or_default();
    let monitoring = recipe.monitoring.clone().unwrap_or_default();
    let job = recipe.orchestration.job_config.as_ref();
    let mut spans: Vec<(String, Option<Span>)> = vec![
        ("workload.timeouts.connect".into(), timeouts.connect),
        ("workload.timeouts.first_byte".into(), timeouts.first_byte),
        ("workload.timeouts.between_chunks".into(), timeouts.between_chunks),
        ("workload.timeouts.total".into(), timeouts.total),
        ("workload.stop_when.max".into(), recipe.workload.stop_when.as_ref().and_then(|when| when.max)),
        ("servers.health_check.timeout".into(), health.timeout),
        ("servers.health_check.interval".into(), health.interval),
        ("orchestration.job_config.time_limit".into(), job.and_then(|job| job.time_limit)),
        ("monitoring.pushgateway.interval".into(), monitoring.pushgateway.and_then(|gateway| gateway.interval)),
    ];
    for (index, group) in monitoring.metrics.iter().enumerate() {
        spans.push((format!("monitoring.metrics[{index}].scrape_interval"), group.scrape_interval));
    }
    for (name, service) in &recipe.custom_services {
        spans.push((format!("custom_services.{name}.ready.timeout"), service.ready.as_ref().and_then(|ready| ready.timeout)));
    }
    for (name, limit) in recipe.workload.slo.iter().flatten() {
        spans.push((format!("workload.slo.{name}"), Some(*limit)));
    }
    for (index, stage) in recipe.workload.stages.iter().enumerate() {
        spans.push((format!("workload.stages[{index}].duration"), Some(stage.duration)));
    }
    for (path, _) in spans.into_iter().filter(|(_, span)| *span == Some(Span::ZERO)) {
        problems.push(Problem::error(path, "no time at all", "a length of time above zero"));
    }
}

fn windows(recipe: &Recipe, problems: &mut Vec<Problem>) {
    let mut windows: Vec<(String, Span)> = values("workload.duration", &recipe.workload.duration).map(owned).collect();
    for (index, entry) in recipe.workload.benchmark_suite.iter().enumerate() {
        windows.extend(values(&format!("workload.benchmark_suite[{index}].duration"), &entry.duration).map(owned));
    }
    for (path, window) in windows {
        if window == Span::ZERO {
            problems.push(Problem::error(path, "no time at all", "a window above zero"));
        } else if window < SHORT {
            let problem = Problem::warning(path, format!("only {window}"), format!("{SHORT} or more"));
            problems.push(problem.advise("percentiles of so short a window say little"));
        }
    }
}

/// Each length alone is inside the limit by now; a load is several of them, and what a count of requests comes to.
fn loads(recipe: &Recipe, problems: &mut Vec<Problem>) {
    for (name, workload) in expand::workloads(recipe) {
        let (load, longest) = (expand::longest_load(recipe, &workload) + DRAIN_AT_MOST.as_secs_f64(), Span::LONGEST);
        if load > longest.as_secs_f64() {
            let of_entry = name.map(|name| format!(", in the entry `{name}`")).unwrap_or_default();
            let found = format!("a load of {:.0} days{of_entry}", load / 86_400.0);
            let problem = Problem::error("workload", found, format!("warm-up, window and drain of at most {longest} together"));
            problems.push(problem.advise("shorten warm-up or window, ask fewer requests, or raise the rate"));
        }
    }
}

fn owned((path, span): (String, &Span)) -> (String, Span) {
    (path, *span)
}

/// A deadline that another one always comes before.
fn deadlines(recipe: &Recipe, problems: &mut Vec<Problem>) {
    let timeouts = recipe.workload.timeouts.clone().unwrap_or_default();
    let parts = [("connect", timeouts.connect), ("first_byte", timeouts.first_byte), ("between_chunks", timeouts.between_chunks)];
    for (name, part) in parts {
        if let (Some(part), Some(total)) = (part, timeouts.total)
            && part > total
            && total > Span::ZERO
        {
            let found = format!("`{part}`, longer than the total of {total}");
            let problem = Problem::warning(format!("workload.timeouts.{name}"), found, format!("at most {total}"));
            problems.push(problem.advise("the total ends the request first"));
        }
    }
    let health = recipe.servers.as_ref().and_then(|servers| servers.health_check.clone()).unwrap_or_default();
    if let (Some(interval), Some(timeout)) = (health.interval, health.timeout)
        && interval >= timeout
        && timeout > Span::ZERO
    {
        let problem = Problem::warning(
            "servers.health_check.interval",
            format!("`{interval}`, with a timeout of {timeout}"),
            "less than the timeout",
        );
        problems.push(problem.advise("a server would be asked once"));
    }
}

/// A fault that the window is over before.
fn drills(recipe: &Recipe, problems: &mut Vec<Problem>) {
    let windows = expand::windows(recipe);
    let (Some(shortest), Some(longest)) = (windows.iter().min(), windows.iter().max()) else { return };
    for (index, drill) in recipe.workload.drills.iter().enumerate() {
        let path = format!("workload.drills[{index}].at");
        if drill.at >= *longest {
            let problem =
                Problem::error(path, format!("`{}`, after the window of {longest}", drill.at), format!("less than {longest}"));
            problems.push(problem.advise("it is counted from the start of the measured window"));
        } else if drill.at >= *shortest {
            let problem =
                Problem::warning(path, format!("`{}`, after a window of {shortest}", drill.at), format!("less than {shortest}"));
            problems.push(problem.advise("the trials with shorter windows run without it"));
        }
    }
}

/// The job must not end before its load does.
fn limit(recipe: &Recipe, problems: &mut Vec<Problem>) {
    let limit = recipe.orchestration.job_config.as_ref().and_then(|job| job.time_limit);
    let Some(limit) = limit.filter(|limit| *limit > Span::ZERO) else { return };
    let path = "orchestration.job_config.time_limit";
    let load = expand::least_load_time(recipe);
    let shortest = expand::windows(recipe).into_iter().min();
    if let Some(shortest) = shortest.filter(|shortest| *shortest >= limit && recipe.orchestration.mode == Mode::Slurm) {
        let found = format!("`{limit}`, while the shortest trial measures for {shortest}");
        let problem = Problem::error(path, found, format!("more than {load}, with the time that servers need to start"));
        problems.push(problem.advise("no trial could be finished: raise it, or cut workload.duration"));
    } else if load >= limit {
        let found = format!("`{limit}`, while the load alone takes {load}");
        let accepted = format!("more than {load}, with the time that servers need to start");
        let problem = Problem::warning(path, found, accepted);
        problems.push(problem.advise("raise it, or cut trials, repetitions or durations"));
    }
}
