//! Whether several prompts at a time can be had of this load: what beside `workload.batch` contradicts it, and what it
//! means where an operation takes one prompt in a request.

use std::num::NonZeroU32;

use super::{
    super::{OneOrMany, Problem, Recipe, Workload, batch, dataset, expand::workloads},
    clients::of_workload,
    load::{MOST_IN_FLIGHT, is_open_anywhere},
    values,
};
use crate::trial::Api;

pub(super) fn check(recipe: &Recipe, problems: &mut Vec<Problem>) {
    let workload = &recipe.workload;
    let several: Vec<(String, u32)> = written(workload).into_iter().filter(|(_, batch)| *batch > 1).collect();
    if dataset::replays(workload) {
        return problems.extend(several.into_iter().map(replayed));
    }
    let alone = batch::operations(workload, recipe.usual_operation()).into_iter().find(|api| !api.takes_several_prompts());
    for (path, batch) in several {
        if batch > MOST_IN_FLIGHT {
            let problem = Problem::error(path, format!("`{batch}`"), format!("at most {MOST_IN_FLIGHT}"));
            problems.push(problem.advise("the service holds all of them at once"));
        } else if let Some(api) = alone {
            problems.push(sent_together(path, batch, api, is_open_anywhere(workload)));
        }
    }
    in_flight(recipe, problems);
}

/// Each entry of a trace has an instant and a length of its own.
fn replayed((path, batch): (String, u32)) -> Problem {
    let problem = Problem::error(path, format!("`{batch}` beside `request_distribution: trace`"), "1, or another distribution");
    problem.advise("a trace says when each of its entries is due, and with which length; leave batch out")
}

/// What is sent is not what the word says.
fn sent_together(path: String, batch: u32, api: Api, is_open: bool) -> Problem {
    let found = format!("`{batch}`, and {api} takes one prompt in a request");
    let counts = if is_open { "a rate counts how often that happens" } else { "each client has so many in flight" };
    let problem = Problem::warning(path, found, "1, or an operation that takes several");
    problem.advise(format!("{batch} requests of one prompt are sent together instead, each with a row of its own; {counts}"))
}

/// What holds so many requests that each would be a connection, or so few that none are ever together.
fn in_flight(recipe: &Recipe, problems: &mut Vec<Problem>) {
    for (_, workload) in workloads(recipe) {
        let together = batch::most_together(&workload, recipe.usual_operation()).get();
        if together == 1 || together > MOST_IN_FLIGHT {
            continue;
        }
        let before = problems.len();
        let clients = of_workload(recipe, &workload).into_iter().filter(|clients| !clients.is_open);
        for clients in clients.filter(|clients| clients.count.saturating_mul(together) > MOST_IN_FLIGHT) {
            let found = format!("{} with {together} requests each", clients.text());
            let problem = Problem::error(clients.path, found, format!("at most {MOST_IN_FLIGHT} requests in flight"));
            problems.push(problem.advise("each of them is a connection; lower one of both"));
        }
        for (path, most) in values("workload.max_in_flight", &workload.max_in_flight).filter(|(_, most)| most.get() < together) {
            let problem = Problem::warning(path, format!("`{most}`, beside `batch: {together}`"), format!("{together} or more"));
            problems.push(problem.advise("requests that are sent together would wait for each other"));
        }
        // Entries of a suite that have the same fault have it once.
        if problems.len() > before {
            return;
        }
    }
}

/// Every number of prompts with its path.
fn written(workload: &Workload) -> Vec<(String, u32)> {
    let of = |path: &str, field: &Option<OneOrMany<NonZeroU32>>| -> Vec<(String, u32)> {
        values(path, field).map(|(path, batch)| (path, batch.get())).collect()
    };
    let mut all = of("workload.batch", &workload.batch);
    for (index, entry) in workload.benchmark_suite.iter().enumerate() {
        all.extend(of(&format!("workload.benchmark_suite[{index}].batch"), &entry.batch));
    }
    all
}
