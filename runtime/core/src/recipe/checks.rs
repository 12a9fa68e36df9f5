//! Checks across fields: what each value alone cannot show.

use super::{
    Mode, Problem, Recipe, Strategy,
    expand::{MOST_TRIALS, count, slo_name},
    read::KnownService,
    stages,
};
use crate::{
    trial::ContainerRuntime,
    units::{Span, nearest},
};

/// Everything that does not fit together.
pub(super) fn check(recipe: &Recipe, services: &[KnownService]) -> Vec<Problem> {
    let mut problems = Vec::new();
    names(recipe, &mut problems);
    modes(recipe, &mut problems);
    nodes(recipe, &mut problems);
    resources(recipe, &mut problems);
    service(recipe, services, &mut problems);
    load(recipe, &mut problems);
    problems
}

fn names(recipe: &Recipe, problems: &mut Vec<Problem>) {
    let is_plain = |c: char| c.is_alphanumeric() || matches!(c, ' ' | '.' | '_' | '-');
    let name = &recipe.scenario;
    if name.trim().is_empty() || name.starts_with('.') || name.len() > 100 || !name.chars().all(is_plain) {
        let accepted = "a folder's name: up to 100 letters, digits, `.`, `_` and `-`, not beginning with a dot";
        problems.push(Problem::error("scenario", format!("`{}`", name.escape_debug()), accepted));
    }
    for name in recipe.environment.keys().filter(|name| !is_variable(name)) {
        problems.push(Problem::error(
            format!("environment.{name}"),
            format!("the name `{name}`"),
            "letters, digits and `_`, not beginning with a digit",
        ));
    }
    for (index, bind) in recipe.binds.iter().enumerate() {
        let parts: Vec<&str> = bind.split(':').collect();
        let is_well = matches!(parts.as_slice(), [from, to] | [from, to, "ro" | "rw"] if !from.is_empty() && to.starts_with('/'));
        if !is_well {
            problems.push(Problem::error(
                format!("binds[{index}]"),
                format!("`{bind}`"),
                "`source:/target`, `source:/target:ro` or `source:/target:rw`",
            ));
        }
    }
    let words = [("partition", &recipe.partition), ("qos", &recipe.qos)];
    for (path, word) in words {
        if word.as_ref().is_some_and(|word| word.is_empty() || word.chars().any(|c| c.is_control() || c.is_whitespace())) {
            problems.push(Problem::error(path, "an empty text, or one with white space in it", "one word"));
        }
    }
}

fn is_variable(name: &str) -> bool {
    !name.starts_with(|c: char| c.is_ascii_digit())
        && !name.is_empty()
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

fn modes(recipe: &Recipe, problems: &mut Vec<Problem>) {
    let orchestration = &recipe.orchestration;
    if orchestration.mode == Mode::Slurm {
        let missing = [
            ("partition", recipe.partition.is_none(), "write the partition's name"),
            ("account", recipe.account.is_none(), "write the project's account, or set MLUX_ACCOUNT"),
            ("resources", recipe.resources.is_none(), "say what a node of each role needs"),
            ("orchestration.node_allocation", orchestration.node_allocation.is_none(), "say how many nodes each role gets"),
        ];
        for (path, _, advice) in missing.into_iter().filter(|(_, is_missing, _)| *is_missing) {
            problems.push(Problem::error(path, "nothing; mode slurm requires it", "").advise(advice));
        }
    }
    if orchestration.mode == Mode::Ssh && orchestration.nodes.is_empty() {
        problems.push(Problem::error("orchestration.nodes", "nothing; mode ssh requires it", "a list of host names"));
    }
    if orchestration.mode != Mode::Ssh && !orchestration.nodes.is_empty() {
        problems.push(Problem::error("orchestration.nodes", "a list of nodes", "such a list in mode ssh only"));
    }
}

fn nodes(recipe: &Recipe, problems: &mut Vec<Problem>) {
    let needed = recipe.needs().total();
    if let Some(total) = recipe.orchestration.total_nodes.map(std::num::NonZeroU32::get) {
        let found = format!("`{total}`, while the roles add up to {}", needed);
        let path = "orchestration.total_nodes";
        match total.cmp(&needed) {
            std::cmp::Ordering::Less => problems.push(Problem::error(path, found, format!("at least {}", needed))),
            std::cmp::Ordering::Greater => {
                let problem = Problem::warning(path, found, needed.to_string());
                problems.push(problem.advise("the other nodes stay idle and are paid for"));
            }
            std::cmp::Ordering::Equal => {}
        }
    }
    let Some(clients) = recipe.client_nodes() else { return };
    let path = "orchestration.node_allocation.clients";
    let is_static = clients.distribution_strategy == Some(Strategy::Static);
    match &clients.target_mapping {
        None if is_static => {
            let problem =
                Problem::error(format!("{path}.target_mapping"), "nothing; strategy static requires it", "{client: [servers]}");
            problems.push(problem.advise("write such as `target_mapping: {0: [0], 1: [1]}`"));
        }
        Some(_) if !is_static => {
            problems.push(Problem::error(
                format!("{path}.target_mapping"),
                "a mapping",
                "one with `distribution_strategy: static` only",
            ));
        }
        Some(mapping) => {
            for key in mapping.keys().filter(|key| key.parse::<u32>().is_err()) {
                problems.push(Problem::error(
                    format!("{path}.target_mapping.{key}"),
                    format!("`{key}`"),
                    "a client's ordinal, from 0",
                ));
            }
        }
        None => {}
    }
    let of_workload = recipe.workload.clients_per_node.as_ref();
    if let (Some(each), Some(written)) = (of_workload, clients.clients_per_node)
        && each.values() != [written]
    {
        let problem =
            Problem::warning("workload.clients_per_node", format!("another number than {path} has ({written})"), "one of both");
        problems.push(problem.advise("the workload's wins; leave the other out"));
    }
}

fn resources(recipe: &Recipe, problems: &mut Vec<Problem>) {
    let gpus_of = |role: &Option<super::NodeResources>| role.as_ref().and_then(|role| role.gpus).unwrap_or(0);
    if let Some(resources) = &recipe.resources {
        let is_gpu = recipe.partition.as_ref().is_none_or(|partition| partition.contains("gpu"));
        if gpus_of(&resources.servers) > 0 && !is_gpu {
            let problem =
                Problem::warning("resources.servers.gpus", "GPUs on a partition that is not named gpu", "a GPU partition");
            problems.push(problem.advise("write `partition: gpu`, or `gpus: 0`"));
        }
        for (path, role) in [("resources.clients.gpus", &resources.clients), ("resources.monitors.gpus", &resources.monitors)] {
            if gpus_of(role) > 0 {
                problems.push(Problem::warning(path, "GPUs that nothing uses", "0").advise("only servers use GPUs"));
            }
        }
    }
    let Some(artifacts) = &recipe.artifacts else { return };
    let of_service = artifacts.service.as_ref().and_then(|artifact| artifact.path.as_ref());
    for (path, file) in [("artifacts.service.path", of_service), ("artifacts.container", artifacts.container.as_ref())] {
        let is_image = file.is_none_or(|file| file.extension().is_some_and(|ending| ending == "sif"));
        if recipe.runtime() == ContainerRuntime::Apptainer && !is_image {
            problems.push(
                Problem::error(path, "a path that does not end in `.sif`", "an Apptainer image")
                    .advise("or name another `artifacts.runtime`"),
            );
        }
    }
    if artifacts.python.is_some() {
        problems
            .push(Problem::warning("artifacts.python", "a client image", "").advise("hbnode's clients need none; leave it out"));
    }
}

fn service(recipe: &Recipe, services: &[KnownService], problems: &mut Vec<Problem>) {
    let name = recipe.workload.service.as_str();
    let built_in = services.iter().find(|service| service.name == name);
    let is_custom = recipe.custom_services.contains_key(name);
    let has_endpoints = recipe.servers.as_ref().is_some_and(|servers| !servers.endpoints.is_empty());
    if built_in.is_none() && !is_custom {
        let known: Vec<&str> =
            services.iter().map(|service| service.name).chain(recipe.custom_services.keys().map(String::as_str)).collect();
        let problem = Problem::error("workload.service", format!("`{name}`"), format!("one of {}", known.join(", ")));
        problems.push(match nearest(name, &known) {
            Some(near) => problem.advise(format!("did you mean `{near}`?")),
            None => problem.advise("describe it under `custom_services`"),
        });
    }
    if built_in.is_some_and(|service| !service.is_started) && !has_endpoints {
        let problem = Problem::error("servers.endpoints", format!("nothing; hbnode starts no `{name}`"), "a list of base URLs");
        problems.push(problem.advise("write such as `endpoints: [\"http://host:8000\"]`"));
    }
    if recipe.workload.model.is_none() && name != "dummy" {
        problems.push(Problem::error("workload.model", "nothing; it is required", "the model's name"));
    }
    let Some(servers) = &recipe.servers else { return };
    for (index, url) in servers.endpoints.iter().enumerate() {
        if !url.starts_with("http://") && !url.starts_with("https://") {
            problems.push(Problem::error(
                format!("servers.endpoints[{index}]"),
                format!("`{url}`"),
                "a URL that begins with http:// or https://",
            ));
        }
    }
    if servers.api_key_env.is_some() && servers.api_key_file.is_some() {
        problems.push(Problem::error("servers.api_key_file", "two sources of the key", "api_key_env or api_key_file"));
    }
    let endpoint = servers.health_check.as_ref().and_then(|health| health.endpoint.as_ref());
    if endpoint.is_some_and(|path| !path.starts_with('/')) {
        problems.push(Problem::error(
            "servers.health_check.endpoint",
            "a path without a leading slash",
            "a path such as `/health`",
        ));
    }
}

fn load(recipe: &Recipe, problems: &mut Vec<Problem>) {
    let workload = &recipe.workload;
    let trials = count(recipe);
    if trials > MOST_TRIALS {
        problems.push(Problem::error(
            "workload",
            format!("lists that expand to {trials} trials"),
            format!("at most {MOST_TRIALS} trials"),
        ));
    }
    let path = "workload.duration";
    for duration in workload.duration.iter().flat_map(|field| field.values()) {
        if *duration == Span::ZERO {
            problems.push(Problem::error(path, "no time at all", "a window above zero"));
        } else if *duration < Span::from_secs(5) {
            problems.push(
                Problem::warning(path, format!("only {duration}"), "5s or more")
                    .advise("percentiles of so short a window say little"),
            );
        }
    }
    if workload.duration.is_some() && workload.requests.is_some() {
        problems.push(
            Problem::warning(path, "a duration beside `requests`", "one of both")
                .advise("`requests` ends the window; leave duration out"),
        );
    }
    if workload.duration.is_none()
        && workload.requests.is_none()
        && workload.stages.is_empty()
        && workload.benchmark_suite.is_empty()
    {
        problems.push(Problem::warning(path, "nothing", "a length of time").advise("60s is taken"));
    }
    if workload.target_rps.is_some() && workload.concurrency.is_some() {
        let problem = Problem::error("workload.concurrency", "a concurrency beside `target_rps`", "one of both");
        problems.push(problem.advise("an open loop is bounded by `max_in_flight`"));
    }
    let is_open = workload.target_rps.is_some()
        || !workload.stages.is_empty()
        || workload.benchmark_suite.iter().any(|entry| entry.target_rps.is_some());
    let open_only = [
        ("workload.request_distribution", workload.request_distribution.is_some()),
        ("workload.burstiness", workload.burstiness.is_some()),
        ("workload.max_in_flight", workload.max_in_flight.is_some()),
    ];
    for (path, _) in open_only.into_iter().filter(|(_, is_written)| *is_written && !is_open) {
        problems.push(
            Problem::warning(path, "a word about an open loop", "one beside `target_rps`")
                .advise("without target_rps it has no effect"),
        );
    }
    stages::check(workload, problems);
    for name in workload.slo.iter().flat_map(|slo| slo.keys()).filter(|name| slo_name(name).is_none()) {
        problems.push(Problem::error(
            format!("workload.slo.{name}"),
            format!("`{name}`"),
            "ttft, tpot or e2el with a percentile, such as `ttft_p99`",
        ));
    }
    let gateway = recipe.monitoring.as_ref().and_then(|monitoring| monitoring.pushgateway.as_ref());
    if gateway.is_some_and(|gateway| gateway.url.is_some() == gateway.node.is_some()) {
        problems.push(Problem::error("monitoring.pushgateway", "both or none of url and node", "`url` or `node`"));
    }
}
