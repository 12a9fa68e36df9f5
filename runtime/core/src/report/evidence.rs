//! What a trial's figures tell its verdict.

use std::collections::{BTreeMap, BTreeSet};

use super::{ClientFigures, Distribution, Latencies, Second, TrialFrame, flow::flow, gather::Gathered};
use crate::{
    record::{Kind, Stage, TURNED_AWAY_PAUSE},
    tally::{ExecutorHealth, TrialTally},
    trial::{LoadModel, LoadSpec, Stop},
    units::Nanos,
    verdict::{
        ClosedLoopEvidence, DriftEvidence, OpenLoopEvidence, PrefixCacheEvidence, ServedEvidence, SteadyEvidence, TrialEvidence,
    },
};

/// What there is to tell it from.
pub(super) struct Figures<'a> {
    pub frame: &'a TrialFrame,
    pub tally: &'a TrialTally,
    pub gathered: &'a Gathered<'a>,
    pub latency: &'a Latencies,
    pub client: &'a ClientFigures,
    pub executors: &'a BTreeMap<u32, ExecutorHealth>,
    /// The window's whole seconds, where its load was to stay the same.
    pub steady: Option<&'a [Second]>,
    pub drifts: Vec<DriftEvidence>,
    /// Mean and peak of the requests in flight.
    pub in_flight: (f64, u32),
    pub window: (Nanos, Nanos),
}

/// All that the rules want to know. Every field is named, lest one be forgotten.
pub(super) fn evidence(figures: Figures<'_>) -> TrialEvidence {
    let Figures { frame, tally, gathered, latency, client, executors, steady, drifts, in_flight, window } = figures;
    let trial = &frame.plan.trial;
    let accounting = gathered.accounting.get(&Stage::Measure).cloned().unwrap_or_default();
    let happened = |names: &[&str]| frame.events.iter().filter(|event| names.contains(&event.what.as_str())).count() as u32;
    let median = |distribution: &Option<Distribution>| distribution.as_ref().map(|found| found.p50);
    let bounds = frame.nodes.values().filter_map(|node| node.clock_bound_seconds);
    let is_open = trial.load.model.is_open();
    let has_dataset = trial.load.dataset.is_some();
    let clock_step = executors.values().map(|health| health.clock_step_seconds).fold(0.0, f64::max);
    TrialEvidence {
        // From the batches, while the others are from the rows: a row that is missing unbalances the books.
        due: tally.accounting(Stage::Measure).due,
        completed: accounting.completed,
        failed: accounting.failed_total() + accounting.timed_out,
        without_token: accounting.failed.get(&Kind::NoToken.to_string()).copied().unwrap_or(0),
        without_first_token: gathered.without_first_token,
        at_once: gathered.pieces.at_once(),
        cancelled: accounting.cancelled,
        dropped: accounting.dropped_total(),
        lost: accounting.lost,
        repeated_ends: tally.repeated_indices(),
        open_loop: is_open.then(|| OpenLoopEvidence {
            due: accounting.due,
            sent: gathered.measured_sent,
            held_back: gathered.held_back(),
        }),
        cpu_ratio: client.cpu_ratio,
        lag_mean_seconds: client.lag_seconds.get("mean").copied().unwrap_or(0.0),
        lag_max_seconds: client.lag_seconds.get("max").copied().unwrap_or(0.0),
        unread_seconds: client.unread_seconds,
        tpot_p50_seconds: median(&latency.tpot_seconds),
        ttft_p50_seconds: median(&latency.ttft_seconds),
        e2el_p50_seconds: median(&latency.e2el_seconds),
        executor_restarts: happened(&["executor_restarted", "executor_gave_up"]),
        nodes_lost: happened(&["node_lost"]),
        servers_exited: servers_exited(frame),
        servers_restarted: frame.counted.restarted(),
        can_force_length: frame.can_force_length,
        output_tokens: gathered.total_output,
        has_counted_events: gathered.tokens_source().is_some_and(|source| source != "usage"),
        requested_output_tokens: gathered.asked_counted,
        input_tokens: gathered.total_input.unwrap_or(0),
        prompts: gathered.prompts.compared(&frame.plan),
        cached_tokens: gathered.cached,
        prefix_cache: frame.counted.prefix_cache().map(|counted| PrefixCacheEvidence {
            counted,
            measured_share: gathered.measured_sent as f64 / gathered.attempts.max(1) as f64,
        }),
        dataset: gathered.dataset_figures(),
        // The prompts of a dataset share what they share, and a turn what was said before.
        has_shared_prefix: trial.request.shared_prefix.is_some() || has_dataset || trial.request.turns.is_some(),
        other_model_answers: gathered.other_model,
        other_models: frame.other_models.iter().cloned().collect(),
        // A dataset may ask the same twice.
        has_own_prompts: !has_dataset,
        alike: gathered.likeness.alike(),
        dead_servers: gathered.endpoints.dead(),
        refused_beside_answers: gathered.endpoints.refused_beside_answers(),
        busy_beside_answers: gathered.endpoints.busy_beside_answers(),
        served: served(frame, gathered),
        clock_bound_seconds: bounds.fold(0.0, f64::max),
        clocks_unknown: clocks_unknown(frame),
        clock_step_seconds: frame.nodes.values().filter_map(|node| node.clock_moved_seconds).fold(clock_step, f64::max),
        missing_batches: client.missing_batches,
        gpus_throttled: frame.gpus_throttled,
        is_interrupted: frame.ended_early_at_seconds.is_some(),
        steady: steady.map(thirds),
        drifts,
        send_delay_p99_seconds: send_delay_p99(&trial.load, gathered, in_flight.1),
        flow: flow(&trial.load, gathered, window),
        in_flight_mean: in_flight.0,
        closed_loop: closed_loop(&trial.load, gathered, in_flight.0, window),
    }
}

/// The first and the last third of the window's whole seconds.
fn thirds(seconds: &[Second]) -> SteadyEvidence {
    let length = seconds.len() / 3;
    let thirds = [&seconds[..length], &seconds[seconds.len() - length..]];
    SteadyEvidence {
        completed: thirds.map(|third| third.iter().map(|second| second.completed).sum()),
        output_tokens: thirds.map(|third| third.iter().map(|second| second.output_tokens).sum()),
    }
}

/// Servers that ended by themselves. One of several ranks, or of a cluster's nodes, takes the others along.
fn servers_exited(frame: &TrialFrame) -> u32 {
    let servers = &frame.plan.servers;
    let of = |process: &u32| servers.iter().find(|placed| placed.order.server == *process).map(|placed| placed.order.part.of);
    frame.exited.iter().map(|process| of(process).unwrap_or(*process)).collect::<BTreeSet<_>>().len() as u32
}

/// What a closed loop was to keep in flight: every client is busy but for its pause after each answer. Where a number of
/// requests ends it, its clients end one by one, and nothing is said; nor where each waits for the last of several answers.
fn closed_loop(load: &LoadSpec, gathered: &Gathered<'_>, mean: f64, (start, end): (Nanos, Nanos)) -> Option<ClosedLoopEvidence> {
    let (LoadModel::Closed { concurrency, think }, Stop::After(_)) = (&load.model, load.stop) else { return None };
    if load.together.get() > 1 {
        return None;
    }
    let busy = gathered.in_flight_times.mean()?;
    let share = if think.0.is_zero() { 1.0 } else { busy / (busy + think.as_secs_f64()) };
    let failed = gathered.accounting.get(&Stage::Measure).map(|accounting| &accounting.failed);
    let of_status = |status| failed.and_then(|failed| failed.get(&Kind::Http(status).to_string())).copied().unwrap_or(0);
    let turned_away = of_status(429) + of_status(503);
    // A client that pauses anyhow loses only what is longer.
    let pause = TURNED_AWAY_PAUSE.0.saturating_sub(think.0).as_secs_f64();
    let seconds = end.since(start).as_secs_f64();
    let held_off = if seconds > 0.0 { turned_away as f64 * pause / seconds } else { 0.0 };
    Some(ClosedLoopEvidence { expected: f64::from(concurrency.get()) * share, mean, turned_away, held_off })
}

/// How late an open loop sent. Near `max_in_flight`, of which each node has a part, requests wait for answers and not for
/// the client.
fn send_delay_p99(load: &LoadSpec, gathered: &Gathered<'_>, peak: u32) -> Option<f64> {
    let may_be_held = load.max_in_flight.is_some_and(|most| peak.saturating_mul(2) >= most.get());
    if load.model.is_open() && !may_be_held { gathered.send_delay_p99() } else { None }
}

/// What the servers counted beside what was sent. Several choices for a prompt are counted by some and not by others.
fn served(frame: &TrialFrame, gathered: &Gathered<'_>) -> Option<ServedEvidence> {
    let request = &frame.plan.trial.request;
    let counted = frame.counted.prompts().filter(|_| request.choices() == 1)?;
    Some(ServedEvidence { counted, sent: gathered.attempts * u64::from(request.batch.get()) })
}

/// A node alone has nobody to be aligned with.
fn clocks_unknown(frame: &TrialFrame) -> u32 {
    let clients = || frame.nodes.values().filter(|node| node.roles.iter().any(|role| role == "client"));
    if clients().count() < 2 { 0 } else { clients().filter(|node| node.clock_bound_seconds.is_none()).count() as u32 }
}
