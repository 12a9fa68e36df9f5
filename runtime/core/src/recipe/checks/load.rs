//! Whether the words about the load speak of one load.

use std::num::NonZeroU32;

use super::{
    super::{
        LoadStage, OneOrMany, Problem, Recipe, Workload, dataset,
        defaults::slo_name,
        search as of_search, stages as of_stages, stop_when,
        untimed::{Untimed, untimed},
    },
    batch,
    clients::Clients,
    turns, values,
};
use crate::trial::{Api, Length};

pub(super) fn check(recipe: &Recipe, problems: &mut Vec<Problem>) {
    let workload = &recipe.workload;
    ending(workload, problems);
    bounds(recipe, problems);
    two_loops(workload, problems);
    suite(workload, problems);
    lengths("workload.prompt_len", &workload.prompt_len, "token", problems);
    lengths("workload.gen_tokens", &workload.gen_tokens, "token", problems);
    lengths("workload.turns", &workload.turns, "turn", problems);
    turns::check(workload, problems);
    batch::check(recipe, problems);
    prefix(workload, problems);
    limits(workload, recipe.usual_operation(), problems);
    stages(&workload.stages, problems);
    of_stages::check(workload, problems);
    stop_when::check(workload, recipe.usual_operation(), problems);
    of_search::check(recipe, problems);
    dataset::check(workload, problems);
    if workload.tokenizer.as_ref().is_some_and(String::is_empty) {
        problems.push(Problem::error("workload.tokenizer", "an empty path", "a `tokenizer.json`, or the folder that holds it"));
    }
    pushgateway(recipe, problems);
}

/// Each limit of `slo` is one that an answer can meet; `usual` is the service's own operation.
fn limits(workload: &Workload, usual: Api, problems: &mut Vec<Problem>) {
    for name in workload.slo.iter().flat_map(|slo| slo.keys()) {
        let path = format!("workload.slo.{name}");
        match slo_name(name) {
            None => {
                let accepted = "ttft, tpot or e2el with a percentile, such as `ttft_p99`";
                problems.push(Problem::error(path, format!("`{name}`"), accepted));
            }
            Some((metric, _)) => {
                let problem = |untimed: Untimed| Problem::error(path, format!("`{name}` {}", untimed.why), untimed.accepted);
                problems.extend(untimed(workload, usual, metric).map(problem));
            }
        }
    }
}

fn pushgateway(recipe: &Recipe, problems: &mut Vec<Problem>) {
    let gateway = recipe.monitoring.as_ref().and_then(|monitoring| monitoring.pushgateway.as_ref());
    let Some(gateway) = gateway else { return };
    if gateway.url.is_some() == gateway.node.is_some() {
        problems.push(Problem::error("monitoring.pushgateway", "both or none of url and node", "`url` or `node`"));
    }
    if let Some(url) = gateway.url.as_ref().filter(|url| !url.starts_with("http://") && !url.starts_with("https://")) {
        let accepted = "a URL that begins with http:// or https://";
        problems.push(Problem::error("monitoring.pushgateway.url", format!("`{url}`"), accepted));
    }
}

fn ending(workload: &Workload, problems: &mut Vec<Problem>) {
    let path = "workload.duration";
    if workload.duration.is_some() && workload.requests.is_some() {
        let problem = Problem::warning(path, "a duration beside `requests`", "one of both");
        problems.push(problem.advise("`requests` ends the window; leave duration out"));
    }
    let has_end = workload.stop_when.is_some()
        || workload.duration.is_some()
        || workload.requests.is_some()
        || !workload.stages.is_empty()
        || dataset::replays(workload);
    if !has_end && workload.benchmark_suite.is_empty() {
        problems.push(Problem::warning(path, "nothing", "a length of time").advise("60s is taken"));
    }
}

/// More requests in flight than this no allocation holds: every client is a task and a connection, and has its place in
/// the plan.
pub(super) const MOST_IN_FLIGHT: u32 = 1_000_000;

/// Numbers of clients and requests in flight that nobody can mean.
fn bounds(recipe: &Recipe, problems: &mut Vec<Problem>) {
    fn all(path: &str, field: &Option<OneOrMany<NonZeroU32>>) -> Vec<(String, u32)> {
        values(path, field).map(|(path, value)| (path, value.get())).collect()
    }
    let workload = &recipe.workload;
    let mut written = all("workload.concurrency", &workload.concurrency);
    written.extend(all("workload.max_in_flight", &workload.max_in_flight));
    written.extend(all("workload.clients_per_node", &workload.clients_per_node));
    for (index, stage) in workload.stages.iter().enumerate() {
        written.extend(stage.concurrency.map(|clients| (format!("workload.stages[{index}].concurrency"), clients.get())));
    }
    for (index, entry) in workload.benchmark_suite.iter().enumerate() {
        let path = |name: &str| format!("workload.benchmark_suite[{index}].{name}");
        written.extend(all(&path("concurrency"), &entry.concurrency));
        written.extend(all(&path("num_threads"), &entry.num_threads));
        written.extend(all(&path("clients_per_node"), &entry.clients_per_node));
    }
    let each = recipe.client_nodes().and_then(|clients| clients.clients_per_node);
    written.extend(each.map(|each| ("orchestration.node_allocation.clients.clients_per_node".to_owned(), each.get())));
    let accepted = format!("at most {MOST_IN_FLIGHT}, over all nodes");
    let before = problems.len();
    for (path, value) in written.into_iter().filter(|(_, value)| *value > MOST_IN_FLIGHT) {
        let problem = Problem::error(path, format!("`{value}`"), accepted.clone());
        problems.push(problem.advise("each of them is a connection; write the number that the service is to hold at once"));
    }
    if problems.len() > before {
        return;
    }
    // Each number may do, and all nodes together be too many.
    for clients in Clients::of(recipe).into_iter().filter(|clients| !clients.is_open && clients.count > MOST_IN_FLIGHT) {
        problems.push(Problem::error(clients.path, format!("{} over all nodes", clients.text()), accepted.clone()));
    }
}

/// Words about the one loop beside words about the other.
fn two_loops(workload: &Workload, problems: &mut Vec<Problem>) {
    let is_open = workload.target_rps.is_some();
    if is_open && workload.concurrency.is_some() {
        let problem = Problem::error("workload.concurrency", "a concurrency beside `target_rps`", "one of both");
        problems.push(problem.advise("an open loop is bounded by `max_in_flight`"));
    }
    let closed_only = [
        ("workload.sleep_seconds", workload.sleep_seconds.is_some()),
        ("workload.clients_per_node", workload.clients_per_node.is_some()),
    ];
    for (path, _) in closed_only.into_iter().filter(|(_, is_written)| *is_written && is_open) {
        let problem = Problem::warning(path, "a word about a closed loop, beside `target_rps`", "one of both");
        problems.push(problem.advise("an open loop sends by its schedule; leave this out"));
    }
    let is_open_anywhere = is_open_anywhere(workload);
    let open_only = [
        ("workload.request_distribution", workload.request_distribution.is_some()),
        ("workload.burstiness", workload.burstiness.is_some()),
        ("workload.max_in_flight", workload.max_in_flight.is_some()),
    ];
    for (path, _) in open_only.into_iter().filter(|(_, is_written)| *is_written && !is_open_anywhere) {
        let problem = Problem::warning(path, "a word about an open loop", "one beside `target_rps`");
        problems.push(problem.advise("without target_rps it has no effect"));
    }
    if workload.concurrency.is_some() && workload.clients_per_node.is_some() {
        let problem = Problem::warning("workload.clients_per_node", "a number of clients beside `concurrency`", "one of both");
        problems.push(problem.advise("`concurrency` wins; leave this out"));
    }
}

/// Whether any trial of this workload sends by a schedule.
pub(super) fn is_open_anywhere(workload: &Workload) -> bool {
    workload.target_rps.is_some()
        || of_search::is_open(workload)
        || workload.stages.iter().any(|stage| stage.target_rps.is_some())
        || dataset::replays(workload)
        || workload.benchmark_suite.iter().any(|entry| entry.target_rps.is_some())
}

fn suite(workload: &Workload, problems: &mut Vec<Problem>) {
    for (index, entry) in workload.benchmark_suite.iter().enumerate() {
        let loads = [
            ("target_rps", entry.target_rps.is_some()),
            ("concurrency", entry.concurrency.is_some()),
            ("num_threads", entry.num_threads.is_some()),
            ("clients_per_node", entry.clients_per_node.is_some()),
        ];
        let written: Vec<&str> = loads.into_iter().filter(|(_, is_written)| *is_written).map(|(name, _)| name).collect();
        if let [first, second, ..] = written.as_slice() {
            let path = format!("workload.benchmark_suite[{index}].{second}");
            problems.push(Problem::error(path, format!("`{second}` beside `{first}`"), format!("one of {}", written.join(", "))));
        }
        if entry.duration.is_some() && entry.requests.is_some() {
            let path = format!("workload.benchmark_suite[{index}].duration");
            let problem = Problem::warning(path, "a duration beside `requests`", "one of both");
            problems.push(problem.advise("`requests` ends the window; leave duration out"));
        }
        lengths(&format!("workload.benchmark_suite[{index}].prompt_len"), &entry.prompt_len, "token", problems);
        lengths(&format!("workload.benchmark_suite[{index}].gen_tokens"), &entry.gen_tokens, "token", problems);
    }
}

fn lengths<T: Copy + Into<Length>>(path: &str, field: &Option<OneOrMany<T>>, thing: &str, problems: &mut Vec<Problem>) {
    let one = format!("1 {thing} or more");
    for (path, length) in values(path, field) {
        match (*length).into() {
            Length::Uniform(least, most) if least > most => {
                let problem =
                    Problem::error(format!("{path}.uniform"), format!("`[{least}, {most}]`"), "the smaller number first");
                problems.push(problem.advise(format!("write `uniform: [{most}, {least}]`")));
            }
            Length::Normal(mean, _) if mean < 1.0 => {
                problems.push(Problem::error(format!("{path}.normal[0]"), format!("a mean of {mean}"), one.clone()));
            }
            Length::Lognormal(median, _) if median < 1.0 => {
                problems.push(Problem::error(format!("{path}.lognormal[0]"), format!("a median of {median}"), one.clone()));
            }
            Length::Normal(mean, deviation) if deviation > mean => {
                let found = format!("a deviation of {deviation}, above the mean of {mean}");
                let problem = Problem::warning(format!("{path}.normal[1]"), found, format!("at most {mean}"));
                problems.push(problem.advise(format!("many lengths would be cut at 1 {thing}; a lognormal has no such edge")));
            }
            // The logarithm's deviation, not the deviation in tokens.
            Length::Lognormal(_, sigma) if sigma > 5.0 => {
                let found = format!("a sigma of {sigma}");
                let problem = Problem::warning(format!("{path}.lognormal[1]"), found, "the logarithm's deviation, such as 0.5");
                problems.push(problem.advise(format!("it is no number of {thing}s")));
            }
            _ => {}
        }
    }
}

/// What a group shares must fit into its prompts.
fn prefix(workload: &Workload, problems: &mut Vec<Problem>) {
    let Some(prefix) = &workload.shared_prefix else { return };
    let path = "workload.shared_prefix.tokens";
    if prefix.tokens == 0 {
        return problems.push(Problem::error(path, "`0`", "1 token or more").advise("or leave shared_prefix out"));
    }
    let most = |length: Length| match length {
        Length::Fixed(tokens) | Length::Uniform(_, tokens) => Some(tokens),
        Length::Normal(..) | Length::Lognormal(..) => None,
    };
    let written: Vec<Option<u32>> = values("", &workload.prompt_len).map(|(_, length)| most(length.0)).collect();
    let shortest = if written.is_empty() { Some(128) } else { written.into_iter().flatten().min() };
    if let Some(shortest) = shortest.filter(|shortest| prefix.tokens >= *shortest) {
        let found = format!("`{}`, with prompts of {shortest} tokens", prefix.tokens);
        let problem = Problem::warning(path, found, format!("less than {shortest}"));
        problems.push(problem.advise("whole prompts of a group would be alike; raise prompt_len"));
    }
}

fn stages(stages: &[LoadStage], problems: &mut Vec<Problem>) {
    for (index, stage) in stages.iter().enumerate() {
        let path = format!("workload.stages[{index}]");
        if stage.target_rps.is_some() == stage.concurrency.is_some() {
            problems.push(Problem::error(path, "both or none of target_rps and concurrency", "`target_rps` or `concurrency`"));
        } else if stage.target_rps.is_some_and(|rate| !(rate.is_finite() && rate > 0.0)) {
            problems.push(Problem::error(format!("{path}.target_rps"), "no rate", "a number above 0"));
        }
    }
}
