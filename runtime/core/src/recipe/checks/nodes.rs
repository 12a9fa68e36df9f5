//! Modes, and whether the nodes, clients and servers fit each other.

use std::{cmp::Ordering, collections::BTreeSet, num::NonZeroU32};

use super::{
    super::{ClientNodes, Mode, OneOrMany, Problem, Recipe, Strategy, defaults::counts_by_node, expand::workloads},
    clients::Clients,
};
use crate::trial::SharesBy;

const CLIENTS: &str = "orchestration.node_allocation.clients";

pub(super) fn check(recipe: &Recipe, problems: &mut Vec<Problem>) {
    modes(recipe, problems);
    named(recipe, problems);
    total(recipe, problems);
    sharing(recipe, problems);
    if let Some(clients) = recipe.client_nodes() {
        strategy(clients, problems);
        two_counts(recipe, clients, problems);
        shares(recipe, clients, problems);
    }
    mapping(recipe, problems);
    idle(recipe, problems);
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

/// The nodes of mode ssh: each a host, none twice, and enough of them.
fn named(recipe: &Recipe, problems: &mut Vec<Problem>) {
    let orchestration = &recipe.orchestration;
    if orchestration.mode != Mode::Ssh || orchestration.nodes.is_empty() {
        return;
    }
    let mut seen = BTreeSet::new();
    for (index, name) in orchestration.nodes.iter().enumerate() {
        let path = format!("orchestration.nodes[{index}]");
        let is_odd = |letter: char| letter.is_whitespace() || letter.is_control();
        if name.is_empty() || name.starts_with('-') || name.contains(is_odd) {
            problems.push(Problem::error(
                path,
                format!("`{}`", name.escape_debug()),
                "a host as ssh takes it: name, user@host, ssh://user@host:port",
            ));
        } else if !seen.insert(name) {
            let problem = Problem::error(path, format!("`{name}` a second time"), "each host once");
            problems.push(problem.advise("two nodes on one host would measure each other"));
        }
    }
    let found = u32::try_from(orchestration.nodes.len()).unwrap_or(u32::MAX);
    let needed = recipe.needs().total();
    let path = "orchestration.nodes";
    match found.cmp(&needed) {
        Ordering::Less => {
            problems.push(Problem::error(
                path,
                format!("{found} hosts, while the roles add up to {needed}"),
                format!("at least {needed}"),
            ));
        }
        Ordering::Greater if recipe.needs().clients.is_some() => {
            let found = format!("{found} hosts, while the roles add up to {needed}");
            problems.push(Problem::warning(path, found, needed.to_string()).advise("the last ones stay idle"));
        }
        Ordering::Greater | Ordering::Equal => {}
    }
    if let Some(total) = orchestration.total_nodes.filter(|total| total.get() != found) {
        let problem =
            Problem::error("orchestration.total_nodes", format!("`{total}`, while {found} hosts are named"), found.to_string());
        problems.push(problem.advise("leave it out in mode ssh"));
    }
}

fn total(recipe: &Recipe, problems: &mut Vec<Problem>) {
    let needed = recipe.needs().total();
    let Some(total) = recipe.orchestration.total_nodes.map(NonZeroU32::get) else { return };
    let found = format!("`{total}`, while the roles add up to {needed}");
    let path = "orchestration.total_nodes";
    match total.cmp(&needed) {
        Ordering::Less => problems.push(Problem::error(path, found, format!("at least {needed}"))),
        Ordering::Greater if recipe.orchestration.node_allocation.is_some() => {
            let problem = Problem::warning(path, found, needed.to_string());
            problems.push(problem.advise("the other nodes stay idle and are paid for"));
        }
        Ordering::Greater | Ordering::Equal => {}
    }
}

fn sharing(recipe: &Recipe, problems: &mut Vec<Problem>) {
    let Some(clients) = recipe.client_nodes().filter(|clients| clients.share_servers) else { return };
    let path = format!("{CLIENTS}.share_servers");
    let needs = recipe.needs();
    if needs.servers == 0 {
        let problem =
            Problem::warning(path, "clients on the servers' nodes, while no servers are started", "share_servers: false");
        return problems.push(problem.advise("leave it out beside servers.endpoints"));
    }
    if clients.nodes.is_some() && needs.clients != Some(needs.servers) {
        let (clients, servers) = (needs.clients.unwrap_or_default(), needs.servers);
        let found = format!("nodes shared by {clients} clients' and {servers} servers' nodes");
        let problem = Problem::warning(path, found, "as many of the one as of the other");
        let (alone, role) = if clients > servers { (clients - servers, "clients") } else { (servers - clients, "servers") };
        problems.push(problem.advise(format!("{alone} nodes hold {role} alone, and are no match for the others")));
    }
}

fn strategy(clients: &ClientNodes, problems: &mut Vec<Problem>) {
    let is_static = clients.distribution_strategy == Some(Strategy::Static);
    let path = format!("{CLIENTS}.target_mapping");
    match &clients.target_mapping {
        None if is_static => {
            let problem = Problem::error(path, "nothing; strategy static requires it", "{client: [servers]}");
            problems.push(problem.advise("write such as `target_mapping: {0: [0], 1: [1]}`"));
        }
        Some(_) if !is_static => {
            problems.push(Problem::error(path, "a mapping", "one with `distribution_strategy: static` only"));
        }
        _ => {}
    }
}

fn two_counts(recipe: &Recipe, clients: &ClientNodes, problems: &mut Vec<Problem>) {
    let of_workload = recipe.workload.clients_per_node.as_ref();
    let path = "workload.clients_per_node";
    if let (Some(each), Some(written)) = (of_workload, clients.clients_per_node)
        && each.values() != [written]
    {
        let problem = Problem::warning(path, format!("another number than {CLIENTS} has ({written})"), "one of both");
        problems.push(problem.advise("the workload's wins; leave the other out"));
    }
}

/// A number of clients on each node leaves nothing that could go by cores.
fn shares(recipe: &Recipe, clients: &ClientNodes, problems: &mut Vec<Problem>) {
    let loads = workloads(recipe);
    let by_node = loads.iter().find(|(_, workload)| counts_by_node(workload));
    if let Some((name, _)) = by_node.filter(|_| clients.shares_by == Some(SharesBy::Cores)) {
        let whose = name.as_ref().map_or_else(String::new, |name| format!(" of `{name}`"));
        let found = format!("`cores`, while nothing says how many clients{whose} there are over all nodes");
        let problem = Problem::error(format!("{CLIENTS}.shares_by"), found, "nodes");
        problems.push(problem.advise("write `concurrency` in place of `clients_per_node`, or leave this out"));
    }
}

/// A static mapping must name every client there is, and no server that is not.
fn mapping(recipe: &Recipe, problems: &mut Vec<Problem>) {
    let Some(mapping) = recipe.client_nodes().and_then(|clients| clients.target_mapping.as_ref()) else { return };
    let path = format!("{CLIENTS}.target_mapping");
    let servers = servers(recipe);
    for (key, targets) in mapping {
        let at = format!("{path}.{key}");
        if key.parse::<u32>().is_err() {
            problems.push(Problem::error(at, format!("`{key}`"), "a client's ordinal, from 0"));
            continue;
        }
        let is_list = matches!(targets, OneOrMany::Many(_));
        for (index, server) in targets.values().iter().enumerate().filter(|(_, server)| **server >= servers) {
            let at = if is_list { format!("{at}[{index}]") } else { at.clone() };
            problems.push(Problem::error(at, format!("server {server}"), ordinals(servers)));
        }
    }
    let Some(clients) = Clients::of(recipe).into_iter().max_by_key(|clients| clients.count) else { return };
    let (count, text) = (clients.count, clients.text());
    let mapped: BTreeSet<u32> = mapping.keys().filter_map(|key| key.parse().ok()).collect();
    let missing: Vec<String> =
        (0..count).filter(|client| !mapped.contains(client)).take(5).map(|client| client.to_string()).collect();
    if !missing.is_empty() {
        let found = format!("nothing about clients {}", missing.join(", "));
        let problem = Problem::error(&path, found, format!("an entry for each client, {}", ordinals(count)));
        problems.push(problem.advise(format!("`{}` makes {text}", clients.path)));
    }
    for key in mapping.keys().filter(|key| key.parse::<u32>().is_ok_and(|client| client >= count)) {
        let problem = Problem::warning(format!("{path}.{key}"), format!("client {key}, which is not there"), ordinals(count));
        problems.push(problem.advise(format!("`{}` makes {text}", clients.path)));
    }
}

/// Servers that nobody asks, and client nodes that send nothing.
fn idle(recipe: &Recipe, problems: &mut Vec<Problem>) {
    let servers = servers(recipe);
    let strategy = recipe.client_nodes().and_then(|clients| clients.distribution_strategy);
    let Some(clients) = Clients::of(recipe).into_iter().min_by_key(|clients| clients.count) else { return };
    let text = clients.text();
    // In an open loop there are no clients: its requests go round the servers, each for itself.
    if strategy.unwrap_or_default() == Strategy::RoundRobin && !clients.is_open && clients.count < servers {
        let accepted = format!("{servers} or more, as round-robin gives each client one server");
        let problem = Problem::warning(clients.path, format!("{text} for {servers} servers"), accepted);
        let advice = "the last servers get no request; raise it, or write `distribution_strategy: all-to-all`";
        problems.push(problem.advise(advice));
    }
    if let Some(nodes) = recipe.needs().clients.filter(|nodes| !clients.is_open && clients.count < *nodes) {
        let problem = Problem::warning(clients.path, format!("{text} for {nodes} client nodes"), format!("{nodes} or more"));
        problems.push(problem.advise("some client nodes, the weakest first, send nothing and are paid for"));
    }
}

/// How many servers there are to ask.
fn servers(recipe: &Recipe) -> u32 {
    let endpoints = recipe.servers.as_ref().map_or(0, |servers| servers.endpoints.len());
    if endpoints > 0 { u32::try_from(endpoints).unwrap_or(u32::MAX) } else { recipe.needs().servers }
}

fn ordinals(count: u32) -> String {
    match count {
        0 | 1 => "0".to_owned(),
        more => format!("0 to {}", more - 1),
    }
}
