//! One trial from its tally and its rows.
//!
//! Latencies are those of requests that were **due** in the measured stage, however late they ended.
//! Rates count what happened within the window by its stamps, of whichever stage. A window that a
//! number of requests ends lasts in a closed loop until the last of them has ended, in an open one
//! until one mean gap after the last is due.

use std::{
    collections::{BTreeMap, BTreeSet},
    num::NonZeroU32,
};

use serde_json::{Value, json};

use super::{
    DatasetKnown, Latencies, LoadFigures, NodeFigures, Resources, Throughput, TimedEvent, TokenFigures, TrialReport, Window,
    client::client,
    drift::Drift,
    evidence::{Figures, evidence},
    gather::Gathered,
    latencies::latencies,
    servers::Servers,
    stages::Stages,
    steady,
    window::planned_window,
};
use crate::{
    batch::Source,
    certainty::Certainty,
    counted::{Counted, Drafted},
    http_version::HttpVersion,
    plan::Plan,
    record::{Record, Stage},
    search,
    tally::{LostRow, TrialTally},
    trial::{LoadModel, LoadSpec, RateStage},
    units::Nanos,
    verdict,
};

/// What is known of a trial besides its requests.
#[derive(Debug, Clone, PartialEq)]
pub struct TrialFrame {
    /// The trial, placed.
    pub plan: Plan,
    /// RFC 3339, UTC: the trial's zero.
    pub started_at: String,
    /// When the load was stopped before its planned end, if it was.
    pub ended_early_at_seconds: Option<f64>,
    /// How sure the figure was that may end the window, where the trial has one.
    pub certainty: Option<Certainty>,
    /// Seconds by phase; their sum is what the trial cost.
    pub phase_seconds: BTreeMap<String, f64>,
    /// Nodes that took part, with what their samples came to ([`super::ReadingSums::fill`]).
    pub nodes: BTreeMap<String, NodeFigures>,
    /// Energy of the GPUs while the trial ran.
    pub energy_joules: Option<f64>,
    /// Energy of the GPUs inside the measured window.
    pub window_joules: Option<f64>,
    /// GPUs whose clock was held down.
    pub gpus_throttled: u32,
    /// What is known of the servers.
    pub server: BTreeMap<String, Value>,
    /// What the servers counted before the load and after it.
    pub counted: Counted,
    /// The client's own error floor, where it was measured.
    pub calibration: Option<Value>,
    /// Its dataset, where that has texts.
    pub dataset: Option<DatasetKnown>,
    /// Names that answers gave and that were not asked for.
    pub other_models: BTreeSet<String>,
    /// What happened. The verdict counts `executor_restarted`, `executor_gave_up` and `node_lost`.
    pub events: Vec<TimedEvent>,
    /// Processes of servers that ended by themselves meanwhile, by their numbers in the plan.
    pub exited: BTreeSet<u32>,
    /// Whether the protocol can make an answer as long as was asked.
    pub can_force_length: bool,
}

/// The report of a trial whose tally is closed. The rows are all that batches brought, in any order,
/// without those that the tally itself gave as lost.
#[must_use]
pub fn trial(
    frame: &TrialFrame,
    tally: &TrialTally,
    rows: impl Iterator<Item = (Source, Record)>,
    lost: &[LostRow],
) -> TrialReport {
    let plan = &frame.plan.trial;
    let (start, planned_end) = planned_window(frame);
    let mut gathered = Gathered::new((start, planned_end), plan, frame.dataset);
    let mut stages = Stages::new(&plan.load, plan.request.has_one_answer());
    let mut drift = Drift::new(plan, start);
    let mut servers = Servers::new(urls(&frame.plan), plan.request.has_one_answer());
    rows.map(|(_, record)| stamped(record, plan.request.stream)).for_each(|record| {
        stages.take(&record);
        drift.take(&record);
        servers.take(&record);
        gathered.take(&record);
    });
    lost.iter().for_each(|row| {
        stages.take(&row.record);
        servers.take(&row.record);
        gathered.take(&row.record);
    });
    let end = if planned_end == Nanos(u64::MAX) { gathered.last_end.max(start) } else { planned_end };
    let window = Window { start: start.as_secs_f64(), end: end.as_secs_f64(), seconds: end.since(start).as_secs_f64() };
    let timeline = tally.timeline();
    let limits = gathered.limit_figures(tally);
    let slo_limits = gathered.slo_figures(&limits);
    let (latency, percentile_source) = latencies(&mut gathered, tally, plan.request.has_one_answer());
    let executors = tally.executors((start, end));
    let client = client(frame, tally, &executors, gathered.sent_twice);
    let steady = steady::seconds(&plan.load.model, &timeline, &window);
    gathered.in_flight.sort();
    let in_flight = |window| gathered.in_flight.within(window);
    let (concurrency_mean, concurrency_peak) = in_flight((start, end));
    let stages = stages.figures(end, in_flight);
    let evidence = evidence(Figures {
        frame,
        tally,
        gathered: &gathered,
        latency: &latency,
        client: &client,
        executors: &executors,
        steady: steady.as_deref(),
        drifts: drift.found(end),
        in_flight: (concurrency_mean, concurrency_peak),
        window: (start, end),
    });
    let has_slo = !plan.slo.limits.is_empty();
    let throughput = throughput(&gathered, &latency, evidence.completed, window.seconds, has_slo);
    let mut other_accounting = gathered.accounting.clone();
    let accounting = other_accounting.remove(&Stage::Measure).unwrap_or_default();
    let other_accounting = other_accounting.into_values().map(|accounting| ("warmup".to_owned(), accounting)).collect();
    let mut report = TrialReport {
        id: plan.id.clone(),
        parameters: plan.parameters.clone(),
        repetition: plan.repetition,
        started_at: frame.started_at.clone(),
        complete: frame.ended_early_at_seconds.is_none(),
        phase_seconds: frame.phase_seconds.clone(),
        verdict: verdict::judge(&evidence),
        accounting,
        other_accounting,
        window,
        steady: steady.as_deref().filter(|_| gathered.has_tokens()).map(steady::part),
        load: LoadFigures { concurrency_mean, concurrency_peak, stages, ..load(&plan.load, &gathered, (start, end)) },
        certainty: frame.certainty.clone(),
        conversations: gathered.conversations.told(),
        dataset: gathered.dataset_figures(),
        probe: None,
        latency,
        tokens: TokenFigures {
            input: gathered.total_input,
            output: gathered.has_tokens().then_some(gathered.total_output),
            uncounted: gathered.uncounted,
            source: gathered.tokens_source(),
            lengths_by: frame.plan.lengths_by(),
            requested_output: gathered.asked_output,
            requested_input: if plan.request.turns.is_some() { 0 } else { gathered.prompts.asked },
            cached: gathered.cached,
            stopped_early: gathered.stopped_early,
            spread: gathered.pieces.spread(),
            ended_in_reasoning: gathered.pieces.ended_in_reasoning,
        },
        cost: cost(frame, throughput.output_tokens_per_second.map(|_| gathered.output_tokens)),
        throughput,
        percentile_source,
        slo: gathered.attainment(),
        slo_limits,
        servers: servers.told(),
        client,
        server: server(frame),
        resources: Resources { nodes: frame.nodes.clone() },
        events: frame.events.clone(),
        timeline,
    };
    if let (Some(spec), Some(place)) = (&plan.search, &plan.place) {
        report.probe = Some(search::judge(spec, place, &report, limits));
    }
    report
}

/// Base URLs of the servers, by ordinal.
fn urls(plan: &Plan) -> Vec<String> {
    plan.shares.first().map(|share| share.servers.clone()).unwrap_or_default()
}

/// An answer in one piece has no first token, whatever rows of old say.
fn stamped(record: Record, is_streamed: bool) -> Record {
    if is_streamed { record } else { Record { first: None, first_output: None, ..record } }
}

/// The load that was asked for, and the rate at which it was sent.
fn load(load: &LoadSpec, gathered: &Gathered<'_>, (start, end): (Nanos, Nanos)) -> LoadFigures {
    let per_second = |count| per_second(count, end.since(start).as_secs_f64());
    let of_clients = load.most_of_clients().map(NonZeroU32::get);
    let (name, requested_rate, requested_concurrency) = match &load.model {
        LoadModel::Closed { .. } => ("closed", None, of_clients),
        LoadModel::ClosedStaged { .. } => ("closed_staged", None, of_clients),
        LoadModel::Open { rate, .. } => ("open", Some(*rate), None),
        LoadModel::Staged { stages, .. } => ("staged", Some(per_second(stages.iter().map(RateStage::expected).sum())), None),
        LoadModel::Replay { instants, .. } => {
            let measured = instants.list().iter().filter(|at| (start..end).contains(at)).count();
            ("replay", Some(per_second(measured as f64)), None)
        }
    };
    LoadFigures {
        model: name.to_owned(),
        together: Some(load.together).filter(|together| together.get() > 1),
        requested_rate,
        requested_concurrency,
        achieved_rate: per_second(gathered.sent as f64),
        ..LoadFigures::default()
    }
}

/// What the window's stamps come to in each of its `seconds`, and what other tools call throughput: from the first sending
/// to the last end, and what one answer gets.
fn throughput(gathered: &Gathered<'_>, latency: &Latencies, completed: u64, seconds: f64, has_slo: bool) -> Throughput {
    let per_second = |count| per_second(count, seconds);
    let makespan_seconds = gathered.first_sent.map_or(0.0, |first| gathered.last_end.since(first).as_secs_f64());
    let inverse = |seconds: f64| (seconds > 0.0).then(|| 1.0 / seconds);
    let (failed, sent) = gathered.errors;
    let has_tokens = gathered.has_tokens();
    let tokens = |rate| has_tokens.then_some(rate);
    Throughput {
        requests_per_second: per_second(gathered.completed as f64),
        output_tokens_per_second: tokens(per_second(gathered.output_tokens)),
        total_tokens_per_second: gathered
            .total_input
            .filter(|_| has_tokens)
            .map(|_| per_second(gathered.output_tokens + gathered.input_tokens as f64)),
        goodput_requests_per_second: has_slo.then(|| per_second(gathered.good_inside as f64)),
        goodput_output_tokens_per_second: (has_slo && has_tokens).then(|| per_second(gathered.good_output)),
        makespan_seconds,
        makespan_output_tokens_per_second: tokens(self::per_second(gathered.total_output as f64, makespan_seconds)),
        makespan_requests_per_second: self::per_second(completed as f64, makespan_seconds),
        tps_user_p50: latency.tpot_seconds.as_ref().and_then(|tpot| inverse(tpot.p50)),
        tps_user_p1: latency.tpot_seconds.as_ref().and_then(|tpot| inverse(tpot.p99)),
        error_rate: if sent == 0 { 0.0 } else { failed as f64 / sent as f64 },
    }
}

fn per_second(count: f64, seconds: f64) -> f64 {
    if seconds > 0.0 { count / seconds } else { 0.0 }
}

/// What is known of the servers, what was spoken with each where not HTTP/1.1 with all, and where they all tell it what
/// requests waited in them, what their prefix caches gave, and what they drafted.
fn server(frame: &TrialFrame) -> BTreeMap<String, Value> {
    let mut server = frame.server.clone();
    if let Some(share) = frame.plan.shares.first().filter(|share| !share.http2.is_empty()) {
        let spoken = |url: &String| if share.http2.contains(url) { HttpVersion::Http2 } else { HttpVersion::Http1 };
        let spoken: BTreeMap<&String, HttpVersion> = share.servers.iter().map(|url| (url, spoken(url))).collect();
        server.insert("http_version".to_owned(), json!(spoken));
    }
    if let Some(queued) = frame.counted.queued().filter(|queued| queued.requests > 0) {
        let mean = queued.seconds / queued.requests as f64;
        server.insert("queue".to_owned(), json!({ "requests": queued.requests, "seconds_mean": mean }));
    }
    if let Some(cache) = frame.counted.prefix_cache() {
        let told = json!({ "queries": cache.queries, "hits": cache.hits, "share": cache.share() });
        server.insert("prefix_cache".to_owned(), told);
    }
    let drafted = frame.counted.drafted();
    if let Some((drafted, length)) = drafted.and_then(|drafted| Some((drafted, drafted.acceptance_length()?))) {
        let Drafted { drafts, tokens, accepted } = drafted;
        let told = json!({ "drafts": drafts, "draft_tokens": tokens, "accepted_tokens": accepted, "acceptance_length": length });
        server.insert("speculation".to_owned(), told);
    }
    server
}

/// What the trial cost. `output_tokens`, if anybody counted them, came inside the measured window, of whichever request; so
/// does the energy that they are compared with.
fn cost(frame: &TrialFrame, output_tokens: Option<f64>) -> BTreeMap<String, f64> {
    let hours = frame.phase_seconds.values().sum::<f64>() / 3600.0;
    let server_nodes: BTreeSet<_> = frame.plan.servers.iter().map(|server| &server.node).collect();
    let gpus = server_nodes.len() as f64 * f64::from(frame.plan.trial.service.gpus);
    let mut cost =
        BTreeMap::from([("node_hours".to_owned(), frame.nodes.len() as f64 * hours), ("gpu_hours".to_owned(), gpus * hours)]);
    if let Some(joules) = frame.energy_joules {
        cost.insert("energy_joules".to_owned(), joules);
    }
    if let Some((joules, output_tokens)) = frame.window_joules.filter(|joules| *joules > 0.0).zip(output_tokens) {
        cost.insert("tokens_per_joule".to_owned(), output_tokens / joules);
    }
    cost
}

#[cfg(test)]
mod tests;
