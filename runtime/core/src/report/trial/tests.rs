use proptest::prelude::*;

use super::*;
use crate::{
    batch::{Batch, BatchKey, ClientHealth},
    counted::{PrefixCache, ServerCounts},
    orders::{Duty, Part, ServerOrder},
    plan::PlacedServer,
    record::{Kind, Outcome, TokensSource},
    report::{Report, RunSummary, run, summary_markdown},
    schedule::Schedule,
    tally::Taken,
    testing::{answered, closed_plan, open_plan},
    trial::{SloLimit, Stop},
    units::Span,
    verdict::Status,
};

const MILLISECOND: u64 = 1_000_000;

fn frame(plan: Plan) -> TrialFrame {
    TrialFrame {
        plan,
        started_at: "2026-01-01T00:00:00Z".into(),
        ended_early_at_seconds: None,
        certainty: None,
        phase_seconds: BTreeMap::from([("execution".to_owned(), 36.0)]),
        nodes: BTreeMap::from([("node-0".to_owned(), NodeFigures::default())]),
        energy_joules: Some(80.0),
        window_joules: Some(50.0),
        gpus_throttled: 0,
        server: BTreeMap::new(),
        counted: Counted::default(),
        calibration: None,
        dataset: None,
        other_models: Default::default(),
        events: Vec::new(),
        exited: BTreeSet::new(),
        can_force_length: true,
    }
}

fn source() -> Source {
    Source { trial: "t".into(), node: "node-0".into(), incarnation: 0, executor: 0, epoch: 0 }
}

/// The report of these records, told in one batch.
fn reported(frame: &TrialFrame, records: Vec<Record>) -> TrialReport {
    let mut tally = TrialTally::new(&frame.plan);
    let batch = Batch {
        key: BatchKey { source: source(), seq: 0 },
        span: (Nanos(0), Nanos(11_000 * MILLISECOND)),
        counts: Batch::counted(&records),
        records: records.clone(),
        opened: Vec::new(),
        itl: Vec::new(),
        icl: Vec::new(),
        health: ClientHealth::default(),
        is_last: true,
    };
    assert_eq!(tally.take(&batch), Taken::New);
    let lost = tally.close(frame.ended_early_at_seconds);
    trial(frame, &tally, records.into_iter().map(|record| (source(), record)), &lost)
}

/// One client for ten seconds: a request of 100 ms after another, 11 tokens each.
fn even(count: u64) -> Vec<Record> {
    (0..count).map(|index| answered(index, index * 100 * MILLISECOND, 100 * MILLISECOND, 11)).collect()
}

#[test]
fn a_client_that_waits_for_the_slowest_of_several_is_not_short_of_any() {
    // Two at a time, of which one takes a third of the other's time: 1.33 in flight on average.
    let record = |index: u64| answered(index, index / 2 * 300 * MILLISECOND, (1 + index % 2 * 2) * 100 * MILLISECOND, 11);
    let records: Vec<Record> = (0..66).map(record).collect();
    let mut plan = closed_plan(1, 1);
    plan.trial.load.together = 2.try_into().unwrap();
    let report = reported(&frame(plan), records.clone());
    assert_eq!((report.load.requested_concurrency, report.load.label().as_str()), (Some(2), "concurrency 1 × 2"));
    assert_eq!(report.verdict.reasons, []);
    let asked = reported(&frame(closed_plan(2, 1)), records);
    assert_eq!(asked.verdict.reasons[0].code, "concurrency_short");
}

#[test]
fn an_even_trial_has_the_figures_of_the_textbook() {
    let report = reported(&frame(closed_plan(1, 1)), even(100));
    assert_eq!(report.verdict, verdict::Verdict::default());
    assert_eq!((report.window.start, report.window.end, report.window.seconds), (0.0, 10.0, 10.0));
    assert!((report.load.concurrency_mean - 1.0).abs() < 1e-9);
    assert_eq!((report.load.concurrency_peak, report.load.achieved_rate), (1, 10.0));
    assert_eq!(report.load.requested_concurrency, Some(1));
    // The last request ends with the window and not within it.
    assert!((report.throughput.requests_per_second - 9.9).abs() < 1e-9);
    assert!((report.throughput.output_tokens_per_second.unwrap() - 110.0).abs() < 1e-6);
    assert!((report.throughput.total_tokens_per_second.unwrap() - 1_110.0).abs() < 1e-6);
    let e2el = report.latency.e2el_seconds.unwrap();
    assert!((e2el.p50 - 0.1).abs() < 1e-9 && (e2el.p99 - 0.1).abs() < 1e-9 && e2el.count == 100);
    let tpot = report.latency.tpot_seconds.unwrap();
    assert!((tpot.mean - 0.2 / 3.0 / 10.0).abs() < 1e-6);
    assert_eq!(report.latency.itl_seconds, None);
    assert_eq!(report.percentile_source["e2el_seconds"], "records");
    assert_eq!((report.tokens.output, report.tokens.source.as_deref()), (Some(1_100), Some("usage")));
    assert_eq!(report.cost["node_hours"], 0.01);
    assert_eq!(report.cost["tokens_per_joule"], 22.0);
}

#[test]
fn tokens_that_nobody_counted_are_none_and_no_reason() {
    let mut frame = frame(closed_plan(1, 1));
    frame.plan.trial.request.stream = false;
    frame.can_force_length = true;
    let uncounted = |record: Record| Record { output_tokens: None, tokens_source: None, first_chunk_tokens: None, ..record };
    let report = reported(&frame, even(100).into_iter().map(uncounted).collect());
    assert_eq!(report.verdict, verdict::Verdict::default());
    assert_eq!((report.tokens.output, report.tokens.uncounted, report.tokens.source), (None, 100, None));
    let rates = &report.throughput;
    assert_eq!((rates.output_tokens_per_second, rates.makespan_output_tokens_per_second), (None, None));
    assert_eq!((rates.total_tokens_per_second, report.steady), (None, None));
    assert!(!report.cost.contains_key("tokens_per_joule"));
    // Of some nothing is known: the others' tokens are beside what the others were asked for.
    let mixed = even(100).into_iter().enumerate().map(|(at, record)| if at < 40 { uncounted(record) } else { record });
    let report = reported(&frame, mixed.collect());
    assert_eq!((report.tokens.output, report.tokens.uncounted), (Some(660), 40));
    assert!(report.verdict.reasons.iter().all(|reason| reason.code != "short_outputs"), "{:?}", report.verdict);
}

#[test]
fn a_request_belongs_to_where_it_was_due_and_its_tokens_to_when_they_came() {
    // Due and sent at 9 s, answered from 10 s to 14 s: its latency counts, its tokens lie outside.
    let mut late = answered(0, 9_000 * MILLISECOND, 5_000 * MILLISECOND, 5);
    late.first = Some(Nanos(10_000 * MILLISECOND));
    let report = reported(&frame(closed_plan(1, 1)), vec![late]);
    assert_eq!(report.latency.e2el_seconds.unwrap().count, 1);
    assert_eq!((report.throughput.requests_per_second, report.throughput.output_tokens_per_second), (0.0, Some(0.0)));
    assert!((report.load.concurrency_mean - 0.1).abs() < 1e-9);
    assert_eq!(report.accounting.completed, 1);
}

#[test]
fn attainment_is_over_all_that_was_due() {
    let mut frame = frame(closed_plan(1, 1));
    let limit = |metric: &str, percentile, milliseconds| SloLimit {
        metric: metric.into(),
        percentile,
        limit: Span::from_millis(milliseconds),
    };
    frame.plan.trial.slo.limits = vec![limit("ttft", 99.0, 50), limit("e2el", 99.9, 99)];
    let mut records = even(100);
    records[0].outcome = Outcome::Failed;
    records[0].kind = Some(Kind::Http(500));
    (1..20).for_each(|at| records[at].last = records[at].sent.map(|sent| Nanos(sent.0 + 90 * MILLISECOND)));
    let report = reported(&frame, records);
    assert_eq!(report.slo, BTreeMap::from([("ttft_p99".into(), 0.99), ("e2el_p99_9".into(), 0.19), ("all".into(), 0.19)]));
    assert_eq!(report.throughput.goodput_requests_per_second, Some(1.9));
    assert_eq!(report.accounting.failed["http_500"], 1);
}

#[test]
fn a_number_of_requests_ends_a_closed_window_with_the_last_of_them() {
    let mut frame = frame(closed_plan(1, 1));
    frame.plan.trial.load.stop = Stop::Requests(40);
    let report = reported(&frame, even(40));
    assert_eq!(report.window.seconds, 4.0);
    assert!((report.throughput.output_tokens_per_second.unwrap() - 110.0).abs() < 1e-6);
}

#[test]
fn an_open_loop_that_sends_all_is_valid_and_one_that_does_not_is_invalid() {
    let frame = frame(open_plan(20.0, 1));
    let load = &frame.plan.trial.load;
    let schedule = Schedule::open(20.0, crate::trial::Arrivals::Poisson, load.warmup, load.stop, frame.plan.trial.seed);
    let records: Vec<Record> = schedule
        .shard(0, NonZeroU32::MIN)
        .map(|due| Record { stage: due.stage, ..answered(due.index, due.at.0, 100 * MILLISECOND, 11) })
        .collect();
    let whole = reported(&frame, records.clone());
    assert_eq!(whole.verdict.status, Status::Valid, "{:?}", whole.verdict);
    assert_eq!(whole.other_accounting.keys().collect::<Vec<_>>(), ["warmup"]);
    let dropped = |mut record: Record| {
        if record.index.is_multiple_of(20) {
            record = Record::unsent(record.index, record.stage, record.due, Outcome::Dropped, Kind::SenderLate);
        }
        record
    };
    let starved = reported(&frame, records.into_iter().map(dropped).collect());
    assert_eq!(starved.verdict.reasons[0].code, "achieved_rate");
    assert_eq!(starved.verdict.status, Status::Invalid);
}

#[test]
fn an_open_loop_that_sends_late_is_told_unless_it_opened_connections_or_waited_for_answers() {
    let frame = |max_in_flight| {
        let mut frame = frame(open_plan(100.0, 1));
        frame.plan.trial.load.max_in_flight = max_in_flight;
        frame
    };
    let codes = |connect: Option<Nanos>, max_in_flight| -> Vec<String> {
        let frame = frame(max_in_flight);
        let schedule = Schedule::of(&frame.plan.trial.load, frame.plan.trial.seed).unwrap();
        let late = |index: u64| if index.is_multiple_of(50) { 50 * MILLISECOND } else { 0 };
        let records = schedule.shard(0, NonZeroU32::MIN).map(|due| {
            let sent = answered(due.index, due.at.0 + late(due.index), 40 * MILLISECOND, 11);
            Record { stage: due.stage, due: due.at, connect: connect.filter(|_| late(due.index) > 0), ..sent }
        });
        reported(&frame, records.collect()).verdict.reasons.into_iter().map(|reason| reason.code).collect()
    };
    assert_eq!(codes(None, None), ["late_sends"]);
    assert_eq!(codes(None, NonZeroU32::new(1_000)), ["late_sends"]);
    assert_eq!(codes(None, NonZeroU32::new(4)), Vec::<String>::new());
    assert_eq!(codes(Some(Nanos(45 * MILLISECOND)), None), Vec::<String>::new());
}

#[test]
fn streamed_answers_without_a_first_token_are_told() {
    let codes = |stream| -> Vec<String> {
        let mut frame = frame(closed_plan(1, 1));
        frame.plan.trial.request.stream = stream;
        let mut records = even(100);
        records.iter_mut().step_by(5).for_each(|record| record.first = None);
        reported(&frame, records).verdict.reasons.into_iter().map(|reason| reason.code).collect()
    };
    assert_eq!((codes(true), codes(false)), (vec!["no_first_token".to_owned()], Vec::new()));
}

#[test]
fn what_happened_reaches_the_verdict() {
    let mut frame = frame(closed_plan(1, 1));
    frame.events.push(TimedEvent { at_seconds: 3.0, what: "executor_restarted".into(), message: "m".into() });
    frame.ended_early_at_seconds = Some(5.0);
    let report = reported(&frame, even(50));
    let codes: Vec<&str> = report.verdict.reasons.iter().map(|reason| reason.code.as_str()).collect();
    assert_eq!(codes, ["executor_restarted", "interrupted"]);
    assert_eq!((report.complete, report.window.end), (false, 5.0));
}

#[test]
fn the_client_is_judged_by_its_work_until_the_window_was_cut() {
    let mut frame = frame(closed_plan(1, 1));
    frame.certainty = Some(Certainty { ended_at_seconds: Some(5.0), is_reached: true, ..Certainty::default() });
    let mut tally = TrialTally::new(&frame.plan);
    for (seq, cpu_ratio, lag_seconds) in [(0, 0.9, 0.001), (1, 0.0, 2.0)] {
        let batch = Batch {
            key: BatchKey { source: source(), seq },
            span: (Nanos(seq * 5_000 * MILLISECOND), Nanos((seq + 1) * 5_000 * MILLISECOND)),
            counts: BTreeMap::new(),
            records: Vec::new(),
            opened: Vec::new(),
            itl: Vec::new(),
            icl: Vec::new(),
            health: ClientHealth {
                cpu_ratio,
                lag_max_seconds: lag_seconds,
                lag_mean_seconds: lag_seconds,
                lag_samples: 500,
                ..ClientHealth::default()
            },
            is_last: seq == 1,
        };
        assert_eq!(tally.take(&batch), Taken::New);
    }
    let report = trial(&frame, &tally, std::iter::empty(), &[]);
    assert!((report.client.cpu_ratio - 0.9).abs() < 1e-9, "{:?}", report.client);
    assert!(report.client.lag_seconds.values().all(|seconds| (seconds - 0.001).abs() < 1e-9), "{:?}", report.client);
    assert!(report.verdict.reasons.iter().any(|reason| reason.code == "client_cpu"), "{:?}", report.verdict);
}

#[test]
fn servers_that_ended_are_counted_and_not_their_parts() {
    let mut frame = frame(closed_plan(1, 1));
    let placed = |server: u32, of: u32| PlacedServer {
        node: format!("node-{server}").into(),
        order: ServerOrder {
            server,
            part: Part { duty: if server == of { Duty::Serve } else { Duty::Follow }, of, ..Part::default() },
            service: frame.plan.trial.service.clone(),
            port: 1,
            is_port_fixed: false,
            host: "h".into(),
            request: frame.plan.trial.request.clone(),
            ports: BTreeMap::new(),
            scratch: None,
        },
    };
    // Two servers of two ranks each: 0 with 2, 1 with 3.
    frame.plan.servers = [(0, 0), (1, 1), (2, 0), (3, 1)].map(|(server, of)| placed(server, of)).into();
    for (exited, servers) in [(vec![0, 2], 1.0), (vec![2], 1.0), (vec![2, 3], 2.0), (vec![0, 1, 2, 3], 2.0)] {
        frame.exited = exited.into_iter().collect();
        let reasons = reported(&frame, even(100)).verdict.reasons;
        let found = reasons.iter().find(|reason| reason.code == "server_exited").map(|reason| reason.value);
        assert_eq!(found, Some(servers), "{:?}: {reasons:?}", frame.exited);
    }
}

#[test]
fn a_row_that_is_missing_unbalances_the_books() {
    let frame = frame(closed_plan(1, 1));
    let mut tally = TrialTally::new(&frame.plan);
    let records = even(40);
    let batch = Batch {
        key: BatchKey { source: source(), seq: 0 },
        span: (Nanos(0), Nanos(MILLISECOND)),
        counts: Batch::counted(&records),
        records: records.clone(),
        opened: Vec::new(),
        itl: Vec::new(),
        icl: Vec::new(),
        health: ClientHealth::default(),
        is_last: true,
    };
    assert_eq!(tally.take(&batch), Taken::New);
    let lost = tally.close(None);
    let report = trial(&frame, &tally, records.into_iter().skip(1).map(|record| (source(), record)), &lost);
    assert_eq!((report.verdict.status, report.verdict.reasons[0].code.as_str()), (Status::Invalid, "unbalanced_books"));
}

#[test]
fn tokens_that_two_counted_are_said_to_be_mixed() {
    let mut records = even(40);
    records[3].tokens_source = Some(TokensSource::Events);
    assert_eq!(reported(&frame(closed_plan(1, 1)), records).tokens.source.as_deref(), Some("mixed"));
}

fn any_end() -> impl Strategy<Value = (Outcome, Option<Kind>)> {
    prop_oneof![
        Just((Outcome::Completed, None)),
        Just((Outcome::Failed, Some(Kind::Reset))),
        (400u16..600).prop_map(|status| (Outcome::Failed, Some(Kind::Http(status)))),
        Just((Outcome::TimedOut, Some(Kind::TotalTimeout))),
        Just((Outcome::Cancelled, Some(Kind::DrainEnded))),
        Just((Outcome::Dropped, Some(Kind::MaxInFlight))),
        Just((Outcome::Dropped, Some(Kind::SenderLate))),
        Just((Outcome::Lost, Some(Kind::ExecutorLost))),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn the_parts_sum_to_what_was_due_whatever_happens(ends in prop::collection::vec((any_end(), any::<bool>()), 0..200)) {
        let mut records = even(ends.len() as u64);
        for (record, ((outcome, kind), is_measured)) in records.iter_mut().zip(&ends) {
            (record.outcome, record.kind) = (*outcome, *kind);
            record.stage = if *is_measured { Stage::Measure } else { Stage::Warmup };
        }
        let report = reported(&frame(open_plan(20.0, 1)), records);
        prop_assert!(report.accounting.is_balanced());
        prop_assert!(report.other_accounting.values().all(|accounting| accounting.is_balanced()));
        prop_assert!(!report.verdict.reasons.iter().any(|reason| reason.code == "unbalanced_books"));
        prop_assert!(report.accounting.due + report.other_accounting.values().map(|other| other.due).sum::<u64>() >= ends.len() as u64);
    }
}

#[test]
fn the_summary_reads_like_a_mail() {
    let plan = frame(closed_plan(1, 1));
    let mut broken = even(40);
    broken[0].outcome = Outcome::Failed;
    broken[0].kind = Some(Kind::Http(503));
    let summary = RunSummary {
        id: "20260101-000000".into(),
        scenario: "smoke".into(),
        started_at: "2026-01-01T00:00:00Z".into(),
        ended_at: "2026-01-01T00:01:00Z".into(),
        hbnode_version: "0.1.0".into(),
        complete: true,
        trials_planned: 2,
        ..RunSummary::default()
    };
    let trials = vec![reported(&plan, even(100)), reported(&plan, broken)];
    let report: Report = run(summary, trials, vec!["node-3 has another kernel".into()]);
    insta::assert_snapshot!(summary_markdown(&report));
    let text = serde_json::to_string(&report).unwrap();
    assert_eq!(serde_json::from_str::<Report>(&text).unwrap(), report, "what is written is read back");
}

#[test]
fn a_load_of_stages_is_reported_stage_by_stage() {
    let mut frame = frame(open_plan(20.0, 1));
    let level = |rate: f64| crate::trial::RateStage {
        duration: crate::units::Span::from_secs(5),
        from: rate,
        to: rate,
        slope: crate::trial::Slope::Linear,
    };
    let load = &mut frame.plan.trial.load;
    load.model = LoadModel::Staged { stages: vec![level(10.0), level(40.0)], arrivals: crate::trial::Arrivals::Constant };
    let schedule = Schedule::of(&frame.plan.trial.load, frame.plan.trial.seed).unwrap();
    let records = schedule
        .shard(0, NonZeroU32::MIN)
        .map(|due| Record { stage: due.stage, ..answered(due.index, due.at.0, 100 * MILLISECOND, 11) });
    let report = reported(&frame, records.collect());
    assert_eq!(report.verdict.status, Status::Valid, "{:?}", report.verdict);
    assert_eq!((report.load.model.as_str(), report.load.requested_rate), ("staged", Some(25.0)));
    let figures: Vec<_> = report.load.stages.iter().map(|stage| (stage.start, stage.end, stage.due, stage.completed)).collect();
    assert_eq!(figures, [(1.0, 6.0, 50, 50), (6.0, 11.0, 200, 200)]);
}

#[test]
fn a_clock_that_is_not_known_or_moved_is_told_where_there_are_others() {
    let codes = |known: [Option<f64>; 2], moved: Option<f64>| -> Vec<String> {
        let mut frame = frame(closed_plan(1, 1));
        let node = |bound: Option<f64>| NodeFigures {
            roles: vec!["client".into()],
            clock_bound_seconds: bound,
            clock_moved_seconds: moved,
            ..NodeFigures::default()
        };
        frame.nodes = known.into_iter().enumerate().map(|(at, bound)| (format!("node-{at}"), node(bound))).collect();
        reported(&frame, even(100)).verdict.reasons.into_iter().map(|reason| reason.code).collect()
    };
    assert_eq!(codes([Some(0.001), Some(0.001)], Some(0.002)), Vec::<String>::new());
    assert_eq!(codes([Some(0.001), None], None), ["clock_unknown"]);
    assert_eq!(codes([Some(0.001), Some(0.2)], None), ["clock_doubt"]);
    assert_eq!(codes([Some(0.001), Some(0.001)], Some(0.5)), ["clock_step"]);
    let alone = frame(closed_plan(1, 1));
    assert_eq!(reported(&alone, even(100)).verdict.reasons, []);
}

#[test]
fn what_the_servers_counted_reaches_the_verdict() {
    let counted = |before, after| {
        let counts =
            |prompts| vec![ServerCounts { server: 0, started: Some(1.0), prompts: Some(prompts), ..ServerCounts::default() }];
        let mut frame = frame(closed_plan(1, 1));
        frame.counted = Counted { before: counts(before), after: counts(after) };
        reported(&frame, even(100)).verdict.reasons.into_iter().map(|reason| reason.code).collect::<Vec<_>>()
    };
    assert_eq!(counted(7, 107), Vec::<String>::new());
    assert_eq!(counted(7, 157), ["foreign_load"]);
    assert_eq!(counted(157, 57), ["server_restarted"]);
}

#[test]
fn what_servers_drafted_is_told_with_its_acceptance_length() {
    let reported = |drafts: u64| {
        let counts = |times: u64| {
            let drafted = Some(Drafted { drafts: drafts * times, tokens: 4 * drafts * times, accepted: 3 * drafts * times });
            vec![ServerCounts { drafted, ..ServerCounts::default() }]
        };
        let mut frame = frame(closed_plan(1, 1));
        frame.counted = Counted { before: counts(1), after: counts(3) };
        reported(&frame, even(100)).server.get("speculation").cloned()
    };
    assert_eq!(reported(10), Some(json!({ "drafts": 20, "draft_tokens": 80, "accepted_tokens": 60, "acceptance_length": 4.0 })));
    assert_eq!(reported(0), None);
}

#[test]
fn what_the_prefix_caches_gave_is_told_and_judged() {
    let told = |before: [u64; 2], after: [u64; 2]| {
        let counts = |[queries, hits]: [u64; 2]| {
            vec![ServerCounts { prefix_cache: Some(PrefixCache { queries, hits }), ..ServerCounts::default() }]
        };
        let mut frame = frame(closed_plan(1, 1));
        frame.counted = Counted { before: counts(before), after: counts(after) };
        let report = reported(&frame, even(100));
        let codes: Vec<_> = report.verdict.reasons.into_iter().map(|reason| reason.code).collect();
        (report.server["prefix_cache"].clone(), codes)
    };
    let (cache, codes) = told([1_048, 512], [3_048, 1_012]);
    assert_eq!(cache, serde_json::json!({ "queries": 2_000, "hits": 500, "share": 0.25 }));
    assert_eq!(codes, ["prefix_cache"]);
    assert_eq!(told([1_048, 512], [3_048, 512]).1, Vec::<String>::new());
    assert_eq!(told([7, 0], [7, 0]).0["share"], 0.0, "a cache that is turned off is not asked");
    assert!(!reported(&frame(closed_plan(1, 1)), even(100)).server.contains_key("prefix_cache"));
}

#[test]
fn stages_of_a_closed_loop_are_reported_with_asked_and_real_concurrency() {
    let mut frame = frame(closed_plan(4, 1));
    let stage = |from: f64, to: f64| crate::trial::RateStage {
        duration: crate::units::Span::from_secs(5),
        from,
        to,
        slope: crate::trial::Slope::Linear,
    };
    let load = &mut frame.plan.trial.load;
    load.model = LoadModel::ClosedStaged { stages: vec![stage(1.0, 1.0), stage(1.0, 3.0)], think: crate::units::Span::ZERO };
    load.stop = Stop::After(crate::units::Span::from_secs(10));
    // One client all the time, a second one from the sixth second on, none besides: each asks for a second.
    let second = 1000 * MILLISECOND;
    let asked = (0..10).chain(6..10).enumerate();
    let records = asked.map(|(index, at)| answered(index as u64, at * second, second, 11));
    let report = reported(&frame, records.collect());
    assert_eq!((report.load.model.as_str(), report.load.requested_concurrency), ("closed_staged", Some(3)));
    assert_eq!(report.load.requested_rate, None);
    let [first, last] = report.load.stages.as_slice() else { panic!("two stages") };
    assert_eq!((first.concurrency_requested, first.concurrency_mean, first.concurrency_peak), (Some(1.0), 1.0, 1));
    assert_eq!((last.concurrency_from, last.concurrency_to), (Some(1.0), Some(3.0)));
    assert_eq!((last.concurrency_requested, last.concurrency_mean, last.concurrency_peak), (Some(2.0), 1.8, 2));
    assert_eq!((first.due, last.due, first.rate_from), (5, 9, None));
}
