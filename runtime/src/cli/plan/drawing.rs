//! What a recipe would run, as a value: nodes, trials, servers with their commands, shares with their first instants.

use std::{collections::BTreeMap, num::NonZeroU32};

use hb_core::{
    orders::{Duty, LoadShare, Meeting, Part, Role, ServerOrder},
    plan::{Allocation, Candidate, PlacedServer, Plan, Seat},
    recipe::{Mode, Recipe},
    schedule::{Numbers, Schedule},
    trial::{LoadModel, RateStage, SharesBy, Slope, StopWhen, Trial},
    units::Span,
};
use hb_services::{
    runtime::{Accelerator, wrap},
    service::{CommandLine, Service},
};
use serde::Serialize;
use serde_json::Value;

use crate::lead::{seed, ssh_nodes};

/// Nothing is known of nodes that are not there yet.
const UNKNOWN_CORES: u32 = 0;
/// Due instants that are shown of each schedule.
const SHOWN_ARRIVALS: usize = 5;

#[derive(Serialize)]
pub struct Drawing {
    pub scenario: String,
    pub nodes: Vec<Node>,
    pub expected_seconds: Option<f64>,
    /// Whether each run draws a seed of its own: what follows from the seed here is then one that it might draw.
    pub is_seed_drawn: bool,
    /// Whether client nodes may differ, whose shares go by cores that nobody knows yet: they are drawn as equal.
    pub are_clients_drawn_equal: bool,
    pub trials: Vec<DrawnTrial>,
}

#[derive(Serialize)]
pub struct Node {
    pub node: String,
    pub roles: Vec<Role>,
    /// How the leader starts it, in mode ssh.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub command: Option<Vec<String>>,
}

#[derive(Serialize)]
pub struct DrawnTrial {
    pub id: String,
    pub parameters: BTreeMap<String, Value>,
    pub repetition: u32,
    pub seed: u64,
    pub load_seconds: Option<f64>,
    /// What measuring the client's own error floor adds; 0 where it is not measured.
    pub calibration_seconds: f64,
    pub restarts_servers: bool,
    /// What may end the load before that, in words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ends_when: Option<String>,
    /// The search that it is, in words; its load is the first probe's then, and `load_seconds` that of one probe.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub search: Option<DrawnSearch>,
    /// How many requests are due at one instant, where it is more than one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub together: Option<NonZeroU32>,
    /// The stretches of a load that changes, in words.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub stages: Vec<String>,
    pub servers: Vec<DrawnServer>,
    pub shares: Vec<DrawnShare>,
}

#[derive(Serialize)]
pub struct DrawnSearch {
    /// What is searched, and how many probes there are at most.
    pub says: String,
    pub most_probes: usize,
    /// Seconds that all probes take at most, calibration included; nothing where that depends on the server.
    pub most_seconds: Option<f64>,
}

#[derive(Serialize)]
pub struct DrawnServer {
    pub server: u32,
    pub name: String,
    pub node: String,
    pub port: Option<u16>,
    pub command: Vec<String>,
    pub environment: Vec<String>,
}

#[derive(Serialize)]
pub struct DrawnShare {
    pub executor: u32,
    pub node: String,
    pub clients: usize,
    pub max_in_flight: Option<u32>,
    /// The first due instants of its schedule, seconds since the trial's start; empty in a closed loop.
    pub first_due_seconds: Vec<f64>,
}

/// Draws a recipe on nodes that need not be there.
///
/// # Errors
/// A sentence: the nodes, a service or a plan that cannot be.
pub fn draw(recipe: &Recipe, trials: &[Trial]) -> Result<Drawing, String> {
    let needs = recipe.needs();
    // In mode ssh nodes have names, and the leader is none of them.
    let named = &recipe.orchestration.nodes;
    let name = |ordinal: u32| named.get(ordinal as usize).cloned().unwrap_or_else(|| format!("node{ordinal:03}"));
    let candidate = |ordinal: u32| Candidate {
        ordinal: Some(ordinal),
        is_leader: ordinal == 0 && named.is_empty(),
        host: name(ordinal),
        address: name(ordinal),
        cores: UNKNOWN_CORES,
    };
    let count = u32::try_from(named.len()).unwrap_or(u32::MAX).max(needs.total()).max(1);
    let candidates: Vec<Candidate> = (0..count).map(candidate).collect();
    let allocation = Allocation::of(&candidates, &needs).map_err(|error| error.to_string())?;
    let mut before: Option<&Trial> = None;
    let mut drawn = Vec::new();
    for trial in trials {
        let service = hb_services::resolve(&trial.service).map_err(|problem| problem.to_string())?;
        let plan = Plan::of(trial, &allocation, service.default_port()).map_err(|error| format!("{}: {error}", trial.id))?;
        let restarts_servers = !plan.servers.is_empty() && before.is_none_or(|before| before.service != trial.service);
        before = Some(trial);
        drawn.push(draw_trial(&plan, restarts_servers)?);
    }
    let expected = |trial: &DrawnTrial| match &trial.search {
        Some(search) => search.most_seconds,
        None => trial.load_seconds.map(|load| load + trial.calibration_seconds),
    };
    let expected_seconds = drawn.iter().map(expected).sum();
    let is_over_ssh = recipe.orchestration.mode == Mode::Ssh;
    let node = |seat: &Seat| Node {
        node: seat.node.to_string(),
        roles: seat.roles.clone(),
        command: is_over_ssh.then(|| ssh_nodes::shown(&seat.host, seat.ordinal as usize, recipe)),
    };
    let nodes = allocation.seats.iter().map(node).collect();
    Ok(Drawing {
        scenario: recipe.scenario.clone(),
        nodes,
        expected_seconds,
        is_seed_drawn: seed::is_drawn(recipe),
        are_clients_drawn_equal: recipe.orchestration.mode != Mode::Local
            && trials.iter().zip(&drawn).any(|(trial, drawn)| trial.load.shares_by == SharesBy::Cores && drawn.shares.len() > 1),
        trials: drawn,
    })
}

fn draw_trial(plan: &Plan, restarts_servers: bool) -> Result<DrawnTrial, String> {
    let trial = &plan.trial;
    let servers: Result<Vec<DrawnServer>, String> = plan.servers.iter().map(|placed| draw_server(plan, placed)).collect();
    let share = |share: &LoadShare| DrawnShare {
        executor: share.executor,
        node: share.node.to_string(),
        clients: share.clients.len(),
        max_in_flight: share.max_in_flight,
        first_due_seconds: first_due(trial, &share.numbers),
    };
    Ok(DrawnTrial {
        id: trial.id.to_string(),
        parameters: trial.parameters.clone(),
        repetition: trial.repetition,
        seed: trial.seed,
        load_seconds: plan.load_time().map(Span::as_secs_f64),
        calibration_seconds: plan.calibration().as_secs_f64(),
        restarts_servers,
        ends_when: trial.load.stop_when.as_ref().map(|when| {
            let StopWhen { metric, percentile, half_width, min } = when;
            format!("{metric}_p{percentile} is sure to ±{} %, not before {min}", half_width * 100.0)
        }),
        search: trial.search.as_ref().map(|spec| DrawnSearch {
            says: spec.to_string(),
            most_probes: spec.most_probes(),
            most_seconds: spec.most_seconds(plan.calibration().as_secs_f64()),
        }),
        together: Some(trial.load.together).filter(|together| together.get() > 1),
        stages: stages(&trial.load.model),
        servers: servers?,
        shares: plan.shares.iter().map(share).collect(),
    })
}

fn draw_server(plan: &Plan, placed: &PlacedServer) -> Result<DrawnServer, String> {
    let spec = &placed.order.service;
    let service = hb_services::resolve(spec);
    let inside = service.and_then(|service| service.command(&met(plan, &placed.order, &*service)));
    // Which GPUs a node has is known there alone: the words are those of a node with NVIDIA's where GPUs are asked for.
    let accelerator = if spec.gpus > 0 { Accelerator::Nvidia } else { Accelerator::None };
    let wrapped = inside.and_then(|command| wrap(command, spec, accelerator, &BTreeMap::new()));
    let line = wrapped.map_err(|problem| problem.to_string())?;
    let CommandLine { program, args, env } = line;
    Ok(DrawnServer {
        server: placed.order.server,
        name: placed.order.name(),
        node: placed.node.to_string(),
        port: (placed.order.part.duty == Duty::Serve).then_some(placed.order.port),
        command: std::iter::once(program.display().to_string()).chain(args).collect(),
        environment: env.into_keys().collect(),
    })
}

fn stages(model: &LoadModel) -> Vec<String> {
    let (stages, one, many) = match model {
        LoadModel::Staged { stages, .. } => (stages, "request/s", "requests/s"),
        LoadModel::ClosedStaged { stages, .. } => (stages, "client", "clients"),
        LoadModel::Closed { .. } | LoadModel::Open { .. } | LoadModel::Replay { .. } => return Vec::new(),
    };
    let told = |stage: &RateStage| {
        let unit = if stage.to == 1.0 { one } else { many };
        match stage.slope {
            Slope::Linear if stage.from == stage.to => format!("{} at {} {unit}", stage.duration, stage.to),
            Slope::Linear => format!("{} from {} to {} {unit}", stage.duration, stage.from, stage.to),
            Slope::Exponential => format!("{} from {} to {} {unit} by equal factors", stage.duration, stage.from, stage.to),
        }
    };
    stages.iter().map(told).collect()
}

/// The order as it will stand where every port that is wanted is free.
fn met(plan: &Plan, order: &ServerOrder, service: &dyn Service) -> ServerOrder {
    let ports = |order: &ServerOrder| service.ports(order).iter().map(|wish| (wish.name.to_owned(), wish.port)).collect();
    let met_first = |other: &&PlacedServer| {
        let part = &other.order.part;
        part.of == order.part.of && part.rank == 0 && (part.duty == Duty::HeadCluster || order.part.duty == Duty::Follow)
    };
    let first = plan.servers.iter().find(met_first).map(|first| &first.order);
    let meeting = first.map(|first| Meeting { host: first.host.clone(), ports: ports(first) });
    ServerOrder { part: Part { meeting, ..order.part.clone() }, ports: ports(order), ..order.clone() }
}

fn first_due(trial: &Trial, numbers: &Numbers) -> Vec<f64> {
    let Some(schedule) = Schedule::of(&trial.load, trial.seed) else { return Vec::new() };
    schedule.of_numbers(numbers).take(SHOWN_ARRIVALS).map(|due| due.at.as_secs_f64()).collect()
}
