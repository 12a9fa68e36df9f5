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
    ClientFigures, DatasetKnown, Distribution, Latencies, LoadFigures, NodeFigures, Resources, Second, Throughput, TimedEvent,
    TokenFigures, TrialReport, Window, drift::Drift, gather::Gathered, servers::Servers, stages::Stages, steady,
};
use crate::{
    batch::Source,
    certainty::Certainty,
    counted::Counted,
    counting::LengthsBy,
    http_version::HttpVersion,
    plan::Plan,
    record::{Kind, Record, Stage},
    schedule::Schedule,
    search,
    statistics::{self, Independence, WITH_INTERVAL, among_answered, distribution, distribution_of_histogram, percentile},
    tally::{ExecutorHealth, Latency, LostRow, TrialTally},
    trial::{Api, LoadModel, LoadSpec, RateStage, RequestSpec, Stop},
    units::Nanos,
    verdict::{self, ClosedLoopEvidence, OpenLoopEvidence, PrefixCacheEvidence, ServedEvidence, SteadyEvidence, TrialEvidence},
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
    let mut stages = Stages::new(&plan.load, has_one_answer(&plan.request));
    let mut drift = Drift::new(plan, start);
    let mut servers = Servers::new(urls(&frame.plan), has_one_answer(&plan.request));
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
    let (latency, percentile_source) = latencies(&mut gathered, tally, has_one_answer(&plan.request));
    let executors = tally.executors((start, end));
    let client = client(frame, tally, &executors, gathered.sent_twice);
    let steady = steady::seconds(&plan.load.model, &timeline, &window);
    gathered.in_flight.sort();
    let in_flight = |window| gathered.in_flight.within(window);
    let (concurrency_mean, concurrency_peak) = in_flight((start, end));
    let stages = stages.figures(end, in_flight);
    let evidence = TrialEvidence {
        steady: steady.as_deref().map(thirds),
        drifts: drift.found(end),
        send_delay_p99_seconds: send_delay_p99(&plan.load, &gathered, concurrency_peak),
        closed_loop: closed_loop(&plan.load, &gathered, concurrency_mean),
        ..evidence(frame, tally, &gathered, &latency, &client, &executors)
    };

    let mut other_accounting = gathered.accounting.clone();
    let accounting = other_accounting.remove(&Stage::Measure).unwrap_or_default();
    let other_accounting = other_accounting.into_values().map(|accounting| ("warmup".to_owned(), accounting)).collect();
    let per_second = |count: f64| if window.seconds > 0.0 { count / window.seconds } else { 0.0 };
    let (model, requested_rate, requested_concurrency) = match &plan.load.model {
        LoadModel::Closed { concurrency, .. } => ("closed", None, Some(concurrency.get())),
        model @ LoadModel::ClosedStaged { .. } => ("closed_staged", None, model.clients().map(NonZeroU32::get)),
        LoadModel::Open { rate, .. } => ("open", Some(*rate), None),
        LoadModel::Staged { stages, .. } => ("staged", Some(per_second(stages.iter().map(RateStage::expected).sum())), None),
        LoadModel::Replay { instants, .. } => {
            let measured = instants.list().iter().filter(|at| (start..end).contains(at)).count();
            ("replay", Some(per_second(measured as f64)), None)
        }
    };
    let over_makespan = over_makespan(&gathered, &latency, evidence.completed);
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
        steady: steady.as_deref().map(steady::part),
        load: LoadFigures {
            model: model.to_owned(),
            requested_rate,
            achieved_rate: per_second(gathered.sent as f64),
            requested_concurrency,
            concurrency_mean,
            concurrency_peak,
            stages,
        },
        certainty: frame.certainty.clone(),
        conversations: gathered.conversations.told(),
        dataset: gathered.dataset,
        probe: None,
        latency,
        tokens: TokenFigures {
            input: gathered.total_input,
            output: gathered.total_output,
            source: gathered.tokens_source(),
            lengths_by: lengths_by(&frame.plan),
            requested_output: gathered.asked_output,
            requested_input: if plan.request.turns.is_some() { 0 } else { gathered.prompts.asked },
            cached: gathered.cached,
            stopped_early: gathered.stopped_early,
        },
        throughput: Throughput {
            requests_per_second: per_second(gathered.completed as f64),
            output_tokens_per_second: per_second(gathered.output_tokens),
            total_tokens_per_second: gathered
                .total_input
                .map(|_| per_second(gathered.output_tokens + gathered.input_tokens as f64)),
            goodput_requests_per_second: (!plan.slo.limits.is_empty()).then(|| per_second(gathered.good as f64)),
            goodput_output_tokens_per_second: (!plan.slo.limits.is_empty()).then(|| per_second(gathered.good_output as f64)),
            ..over_makespan
        },
        percentile_source,
        slo: gathered.attainment(),
        slo_limits,
        servers: servers.told(),
        client,
        server: server(frame),
        cost: cost(frame, gathered.output_tokens),
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

/// What other tools call throughput, from the first sending to the last end, and what one answer gets.
fn over_makespan(gathered: &Gathered<'_>, latency: &Latencies, completed: u64) -> Throughput {
    let makespan_seconds = gathered.first_sent.map_or(0.0, |first| gathered.last_end.since(first).as_secs_f64());
    let over = |count: u64| if makespan_seconds > 0.0 { count as f64 / makespan_seconds } else { 0.0 };
    let inverse = |seconds: f64| (seconds > 0.0).then(|| 1.0 / seconds);
    let (failed, sent) = gathered.errors;
    Throughput {
        makespan_seconds,
        makespan_output_tokens_per_second: over(gathered.total_output),
        makespan_requests_per_second: over(completed),
        tps_user_p50: latency.tpot_seconds.as_ref().and_then(|tpot| inverse(tpot.p50)),
        tps_user_p1: latency.tpot_seconds.as_ref().and_then(|tpot| inverse(tpot.p99)),
        error_rate: if sent == 0 { 0.0 } else { failed as f64 / sent as f64 },
        ..Throughput::default()
    }
}

/// Where the measured stage lies; it ends at the end of time where only its requests can say.
fn planned_window(frame: &TrialFrame) -> (Nanos, Nanos) {
    let trial = &frame.plan.trial;
    let start = Nanos::from(trial.load.warmup.0);
    let end = match (trial.load.stop, &trial.load.model) {
        (Stop::After(span), _) => Nanos(start.0.saturating_add(Nanos::from(span.0).0)),
        (Stop::Requests(_), LoadModel::Closed { .. } | LoadModel::ClosedStaged { .. }) => Nanos(u64::MAX),
        (Stop::Requests(count), model) => {
            let schedule = Schedule::of(&trial.load, trial.seed).into_iter();
            let last = schedule.flat_map(|schedule| schedule.shard(0, NonZeroU32::MIN)).last();
            let last = last.map_or(start, |due| due.at.max(start));
            let gap = match model {
                LoadModel::Open { rate, .. } => 1.0 / rate,
                _ => last.since(start).as_secs_f64() / count.max(1) as f64,
            };
            Nanos(last.0.saturating_add(Nanos::from_secs_f64(gap).0))
        }
    };
    let early = frame.ended_early_at_seconds.map_or(Nanos(u64::MAX), Nanos::from_secs_f64);
    let sure = frame.certainty.as_ref().and_then(|certainty| certainty.ended_at_seconds);
    let sure = sure.map_or(Nanos(u64::MAX), Nanos::from_secs_f64);
    (start, end.min(early).min(sure).max(start))
}

/// Whether a request gets one answer: several, of a batch or of several choices, come in one stream by turns, and the time
/// from one token to the next says nothing of any of them.
fn has_one_answer(request: &RequestSpec) -> bool {
    request.batch.get() == 1 && !has_choices(request)
}

fn has_choices(request: &RequestSpec) -> bool {
    request.sampling.get("n").and_then(Value::as_u64).is_some_and(|n| n > 1)
}

/// Every latency's distribution, and where its percentiles come from.
fn latencies(gathered: &mut Gathered<'_>, tally: &TrialTally, has_one_answer: bool) -> (Latencies, BTreeMap<String, String>) {
    let mut sources = BTreeMap::new();
    let endless = gathered.endless();
    let adjusted = |answered: usize, at: &dyn Fn(f64) -> Option<f64>| -> BTreeMap<String, Option<f64>> {
        let value = |quantile| among_answered(quantile, answered as u64, endless).and_then(at);
        WITH_INTERVAL.iter().map(|(name, quantile)| ((*name).to_owned(), value(*quantile))).collect()
    };
    let mut of = |latency: Latency| -> Option<Distribution> {
        let is_gap = matches!(latency, Latency::Itl | Latency::Icl);
        if !has_one_answer && (is_gap || latency == Latency::Tpot) {
            return None;
        }
        let samples = if is_gap { None } else { gathered.samples(latency) };
        let independence = if is_gap { Independence::Pooled } else { Independence::Independent };
        let (found, source) = match samples {
            Some(mut samples) => {
                statistics::sort(&mut samples);
                let adjusted = adjusted(samples.len(), &|among| percentile(&samples, among));
                (distribution(samples).map(|found| Distribution { adjusted, ..found }), "records")
            }
            None => {
                let histogram = tally.latency(latency);
                let adjusted = adjusted(histogram.count() as usize, &|among| histogram.quantile(among));
                let found = distribution_of_histogram(histogram, independence);
                (found.map(|found| Distribution { adjusted, ..found }), "histogram")
            }
        };
        let found =
            found.map(|found| if has_adjusted(latency) { found } else { Distribution { adjusted: BTreeMap::new(), ..found } });
        found.inspect(|_| _ = sources.insert(format!("{}_seconds", latency.name()), source.to_owned()))
    };
    let latencies = Latencies {
        ttft_seconds: of(Latency::Ttft),
        ttft_scheduled_seconds: of(Latency::TtftScheduled),
        ttfot_seconds: of(Latency::Ttfot),
        e2el_seconds: of(Latency::E2el),
        e2el_scheduled_seconds: of(Latency::E2elScheduled),
        tpot_seconds: of(Latency::Tpot),
        itl_seconds: of(Latency::Itl),
        icl_seconds: of(Latency::Icl),
        dispatch_delay_seconds: of(Latency::DispatchDelay),
        connect_seconds: of(Latency::Connect),
    };
    (latencies, sources)
}

/// Latencies that every request was to have one of.
fn has_adjusted(latency: Latency) -> bool {
    use Latency::{E2el, E2elScheduled, Tpot, Ttft, TtftScheduled};
    matches!(latency, Ttft | TtftScheduled | E2el | E2elScheduled | Tpot)
}

fn client(frame: &TrialFrame, tally: &TrialTally, executors: &BTreeMap<u32, ExecutorHealth>, sent_twice: u64) -> ClientFigures {
    let most = |figure: fn(&ExecutorHealth) -> f64| executors.values().map(figure).fold(0.0, f64::max);
    let lag = [("mean", most(|health| health.lag_mean_seconds)), ("max", most(|health| health.lag_max_seconds))];
    ClientFigures {
        calibration: frame.calibration.clone(),
        cpu_ratio: most(|health| health.cpu_ratio),
        lag_seconds: lag.into_iter().map(|(name, seconds)| (name.to_owned(), seconds)).collect(),
        executors: executors.values().filter(|health| health.requests > 0).count() as u32,
        missing_batches: tally.missing_batches(),
        sent_twice,
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

fn evidence(
    frame: &TrialFrame,
    tally: &TrialTally,
    gathered: &Gathered<'_>,
    latency: &Latencies,
    client: &ClientFigures,
    executors: &BTreeMap<u32, ExecutorHealth>,
) -> TrialEvidence {
    let trial = &frame.plan.trial;
    let accounting = gathered.accounting.get(&Stage::Measure).cloned().unwrap_or_default();
    let happened = |names: &[&str]| frame.events.iter().filter(|event| names.contains(&event.what.as_str())).count() as u32;
    let median = |distribution: &Option<Distribution>| distribution.as_ref().map(|found| found.p50);
    let bounds = frame.nodes.values().filter_map(|node| node.clock_bound_seconds);
    // A chat template adds any number of tokens.
    let is_counted = trial.request.api == Api::Completions;
    let (counted_input, requested) = if is_counted { gathered.prompts.compared() } else { (0, 0) };
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
        requested_output_tokens: gathered.asked_output,
        input_tokens: if requested > 0 { counted_input } else { gathered.total_input.unwrap_or(0) },
        requested_input_tokens: requested,
        cached_tokens: gathered.cached,
        prefix_cache: frame.counted.prefix_cache().map(|counted| PrefixCacheEvidence {
            counted,
            measured_share: gathered.measured_sent as f64 / gathered.attempts.max(1) as f64,
        }),
        dataset: gathered.dataset,
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
        ..TrialEvidence::default()
    }
}

/// Servers that ended by themselves. One of several ranks, or of a cluster's nodes, takes the others along.
fn servers_exited(frame: &TrialFrame) -> u32 {
    let servers = &frame.plan.servers;
    let of = |process: &u32| servers.iter().find(|placed| placed.order.server == *process).map(|placed| placed.order.part.of);
    frame.exited.iter().map(|process| of(process).unwrap_or(*process)).collect::<BTreeSet<_>>().len() as u32
}

/// What a closed loop was to keep in flight: every client is busy but for its pause after each answer. Where a number of
/// requests ends it, its clients end one by one, and nothing is said.
fn closed_loop(load: &LoadSpec, gathered: &Gathered<'_>, mean: f64) -> Option<ClosedLoopEvidence> {
    let (LoadModel::Closed { concurrency, think }, Stop::After(_)) = (&load.model, load.stop) else { return None };
    let (nanos, requests) = gathered.busy;
    let busy = if requests == 0 { return None } else { nanos as f64 / 1e9 / requests as f64 };
    let share = if think.0.is_zero() { 1.0 } else { busy / (busy + think.as_secs_f64()) };
    Some(ClosedLoopEvidence { expected: f64::from(concurrency.get()) * share, mean })
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
    let counted = frame.counted.prompts().filter(|_| !has_choices(request))?;
    Some(ServedEvidence { counted, sent: gathered.attempts * u64::from(request.batch.get()) })
}

/// What is known of the servers, what was spoken with each where not HTTP/1.1 with all, and where they all tell it what
/// requests waited in them and what their prefix caches gave.
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
    server
}

/// A node alone has nobody to be aligned with.
fn clocks_unknown(frame: &TrialFrame) -> u32 {
    let clients = || frame.nodes.values().filter(|node| node.roles.iter().any(|role| role == "client"));
    if clients().count() < 2 { 0 } else { clients().filter(|node| node.clock_bound_seconds.is_none()).count() as u32 }
}

/// What the plan's prompts get their length by.
fn lengths_by(plan: &Plan) -> LengthsBy {
    let counting = plan.shares.iter().find_map(|share| share.counting.as_ref());
    counting.map_or(LengthsBy::Words, |counting| counting.lengths_by(&plan.trial.request))
}

/// What the trial cost. `output_tokens` came inside the measured window, of whichever request; so does the energy that they
/// are compared with.
fn cost(frame: &TrialFrame, output_tokens: f64) -> BTreeMap<String, f64> {
    let hours = frame.phase_seconds.values().sum::<f64>() / 3600.0;
    let server_nodes: BTreeSet<_> = frame.plan.servers.iter().map(|server| &server.node).collect();
    let gpus = server_nodes.len() as f64 * f64::from(frame.plan.trial.service.gpus);
    let mut cost =
        BTreeMap::from([("node_hours".to_owned(), frame.nodes.len() as f64 * hours), ("gpu_hours".to_owned(), gpus * hours)]);
    if let Some(joules) = frame.energy_joules {
        cost.insert("energy_joules".to_owned(), joules);
    }
    if let Some(joules) = frame.window_joules.filter(|joules| *joules > 0.0) {
        cost.insert("tokens_per_joule".to_owned(), output_tokens / joules);
    }
    cost
}

#[cfg(test)]
mod tests;
