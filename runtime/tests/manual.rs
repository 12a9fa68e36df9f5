//! The manual says what the code does: every recipe key, every figure of the report, every verdict.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod manual {
    pub mod recipe_page;
}

use std::{
    collections::BTreeSet,
    fs,
    num::NonZeroU32,
    path::{Path, PathBuf},
};

use hb_core::{
    counting::LengthsBy,
    record::{Kind, Outcome, Record, Stage, Turn},
    report::{
        DatasetFigures, Distribution, NodeFigures, Report, Second, ServerFigures, SloFigure, SloOutcome, SpreadFigures,
        StageFigures, TimedEvent, TrialReport,
    },
    row::Row,
    search::{LimitFigure, Probe, ProbeOutcome, ProbeReport, SearchSpec, SearchTarget},
    trial::Stop,
    units::{Nanos, Span},
    verdict::{
        ClosedLoopEvidence, DeadServer, DriftEvidence, FlowEvidence, OpenLoopEvidence, PromptsEvidence, Reason, ServedEvidence,
        Status, SteadyEvidence, TrialEvidence, judge,
    },
};
use serde_json::Value;

fn page(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the package lies one below the root").join("docs").join(name)
}

fn read(name: &str) -> String {
    fs::read_to_string(page(name)).unwrap()
}

#[test]
fn the_recipe_page_is_that_of_the_schema() {
    let text = manual::recipe_page::text(&hb_core::recipe::schema());
    if std::env::var_os("UPDATE_DOCS").is_some() {
        fs::write(page("recipe.md"), &text).unwrap();
    }
    let stale = "docs/recipe.md is stale; run this test with UPDATE_DOCS=1";
    assert!(fs::read_to_string(page("recipe.md")).is_ok_and(|there| there == text), "{stale}");
}

#[test]
fn every_row_of_the_recipe_page_s_tables_is_one_line() {
    let text = manual::recipe_page::text(&hb_core::recipe::schema());
    let broken: Vec<&str> = text.lines().filter(|line| line.starts_with('|') && !line.ends_with('|')).collect();
    assert!(broken.is_empty(), "{broken:#?}");
}

/// A report with something in every list, so that every key is there.
fn report() -> Report {
    let distribution = || Some(Distribution::default());
    let mut trial =
        TrialReport { events: vec![TimedEvent::default()], timeline: vec![Second::default()], ..TrialReport::default() };
    trial.verdict.reasons.push(Reason {
        code: String::new(),
        status: Status::Valid,
        message: String::new(),
        value: 0.0,
        limit: 0.0,
    });
    trial.steady = Some(hb_core::report::SteadyWindow::default());
    trial.resources.nodes.insert("NODE".into(), NodeFigures::default());
    let latency = &mut trial.latency;
    for figure in [
        &mut latency.ttft_seconds,
        &mut latency.ttft_scheduled_seconds,
        &mut latency.ttfot_seconds,
        &mut latency.e2el_seconds,
        &mut latency.e2el_scheduled_seconds,
        &mut latency.tpot_seconds,
        &mut latency.itl_seconds,
        &mut latency.icl_seconds,
        &mut latency.dispatch_delay_seconds,
        &mut latency.queue_delay_seconds,
        &mut latency.client_delay_seconds,
        &mut latency.connect_seconds,
    ] {
        *figure = distribution();
    }
    trial.load.stages = vec![StageFigures {
        rate_from: Some(1.0),
        rate_to: Some(1.0),
        requested: Some(1.0),
        concurrency_from: Some(1.0),
        concurrency_to: Some(1.0),
        concurrency_requested: Some(1.0),
        ..StageFigures::default()
    }];
    trial.servers = vec![ServerFigures::default()];
    trial.tokens.spread = Some(SpreadFigures::default());
    trial.dataset = Some(DatasetFigures::default());
    trial.slo_limits = vec![SloFigure {
        name: String::new(),
        percentile: 99.0,
        limit_seconds: 1.0,
        value_seconds: None,
        outcome: SloOutcome::Met,
        attainment: 1.0,
        attainment_interval: [0.0, 1.0],
    }];
    trial.complete = true;
    let repeated = trial.clone();
    let probe = TrialReport { complete: true, probe: Some(probe(ProbeOutcome::Met)), ..TrialReport::default() };
    hb_core::report::run(hb_core::report::RunSummary::default(), vec![trial, repeated, probe], vec![String::new()])
}

/// A probe of a search over two loads.
fn probe(outcome: ProbeOutcome) -> ProbeReport {
    let limit = LimitFigure {
        name: String::new(),
        percentile: 99.0,
        limit_seconds: 1.0,
        value_seconds: Some(0.5),
        answers: 1,
        within: 1,
    };
    let result = Probe {
        trial: "t".into(),
        number: 1,
        load: 1.0,
        outcome,
        why: String::new(),
        limits: vec![limit],
        goodput_requests_per_second: 0.0,
        seconds: 1.0,
    };
    let spec = SearchSpec {
        maximize: SearchTarget::Rate,
        from: 1.0,
        to: 2.0,
        precision: 0.5,
        budget: Some(Span::from_secs(60)),
        together: NonZeroU32::MIN,
        warmup: Span::ZERO,
        stop: Stop::After(Span::from_secs(1)),
    };
    ProbeReport { search: "s".into(), spec, result }
}

/// The reasons of runs whose searches found nothing.
fn searches_that_failed() -> Vec<Reason> {
    let run = |outcomes: &[ProbeOutcome]| {
        let trial =
            |outcome: &ProbeOutcome| TrialReport { complete: true, probe: Some(probe(*outcome)), ..TrialReport::default() };
        let trials = outcomes.iter().map(trial).collect();
        hb_core::report::run(hb_core::report::RunSummary::default(), trials, Vec::new()).verdict.reasons
    };
    let contradicting = [[ProbeOutcome::Met, ProbeOutcome::Missed]; 40].concat();
    [run(&[ProbeOutcome::Met]), run(&[ProbeOutcome::Invalid; 2]), run(&contradicting)].concat()
}

/// The names of all fields below a value; those of a map whose keys are data are left out.
fn keys(value: &Value, found: &mut BTreeSet<String>) {
    match value {
        Value::Object(fields) => fields.iter().for_each(|(name, field)| {
            if name != "NODE" {
                found.insert(name.clone());
            }
            keys(field, found);
        }),
        Value::Array(all) => all.iter().for_each(|value| keys(value, found)),
        _ => {}
    }
}

fn check_words(words: impl IntoIterator<Item = String>, text: &str) {
    // `verdict{status, reasons[]}` names three.
    let coded: BTreeSet<&str> = text
        .split('`')
        .skip(1)
        .step_by(2)
        .flat_map(|code| code.split(|letter: char| !(letter.is_alphanumeric() || letter == '_')))
        .collect();
    let missing: Vec<String> = words.into_iter().filter(|word| !coded.contains(word.as_str())).collect();
    assert!(missing.is_empty(), "the page does not define {missing:?}");
}

#[test]
fn the_report_page_defines_every_key_of_a_report_and_a_row() {
    let mut names = BTreeSet::new();
    keys(&serde_json::to_value(report()).unwrap(), &mut names);
    assert!(names.len() > 80, "only {names:?}");
    let record = Record {
        connect: Some(Nanos(1)),
        first_output: Some(Nanos(1)),
        ended_in_reasoning: true,
        hidden_reasoning_tokens: Some(1),
        held: Some(Nanos(1)),
        turn: Some(Turn { conversation: 0, turn: 0, of: 1 }),
        ..Record::unsent(0, Stage::Measure, Nanos(0), Outcome::Dropped, Kind::MaxInFlight)
    };
    let source = hb_core::batch::Source { trial: "t".into(), node: "n".into(), incarnation: 1, executor: 0, epoch: 0 };
    keys(&serde_json::to_value(Row::of(&source, &record)).unwrap(), &mut names);
    check_words(names, &read("report.md"));
}

#[test]
fn the_report_page_names_every_kind_of_failure() {
    check_words(Kind::all().map(|kind| kind.to_string()), &read("report.md"));
}

/// Trials with everything wrong that can be: together they give every reason.
fn broken() -> Vec<TrialEvidence> {
    let all_at_once = TrialEvidence {
        due: 100,
        completed: 10,
        failed: 50,
        repeated_ends: 1,
        open_loop: Some(OpenLoopEvidence { due: 100, sent: 10, held_back: 0 }),
        without_first_token: 8,
        at_once: (10, 10),
        cpu_ratio: 1.0,
        lag_mean_seconds: 10.0,
        lag_max_seconds: 10.0,
        unread_seconds: Some(1.0),
        tpot_p50_seconds: Some(0.01),
        ttft_p50_seconds: Some(0.02),
        executor_restarts: 1,
        nodes_lost: 1,
        servers_exited: 1,
        servers_restarted: 1,
        can_force_length: true,
        output_tokens: 10,
        requested_output_tokens: 100,
        input_tokens: 10,
        prompts: Some(PromptsEvidence {
            prompts: 1,
            asked: 100,
            served: 10,
            shortest: 100,
            lengths_by: LengthsBy::Words,
            overhead: 0,
            learned_with: None,
        }),
        cached_tokens: Some(10),
        steady: Some(SteadyEvidence { completed: [1_000, 10], output_tokens: [10_000.0, 100.0] }),
        drifts: vec![DriftEvidence { latency: "ttft".into(), seconds: [0.1, 0.3], at_seconds: 5.0 }],
        dataset: Some(DatasetFigures { entries: 1, most_often: 2, requests: 100, repeated: 99, ..DatasetFigures::default() }),
        other_model_answers: 1,
        other_models: vec!["other".into()],
        has_own_prompts: true,
        alike: (100, 100),
        dead_servers: vec![DeadServer { server: 0, since_second: 0, failed: 50 }],
        refused_beside_answers: 10,
        served: Some(ServedEvidence { counted: 200, sent: 100 }),
        closed_loop: Some(ClosedLoopEvidence { expected: 10.0, mean: 1.0, ..ClosedLoopEvidence::default() }),
        clock_bound_seconds: 1.0,
        clocks_unknown: 1,
        clock_step_seconds: 1.0,
        missing_batches: 1,
        gpus_throttled: 1,
        is_interrupted: true,
        ..TrialEvidence::default()
    };
    let silent = TrialEvidence { due: 1, failed: 1, ..TrialEvidence::default() };
    let empty = TrialEvidence { due: 50, failed: 50, without_token: 50, ..TrialEvidence::default() };
    // Books that balance, of a load that was held back and of servers that somebody else asks, too.
    let whole = TrialEvidence {
        due: 100,
        completed: 50,
        dropped: 50,
        open_loop: Some(OpenLoopEvidence { due: 100, sent: 50, held_back: 50 }),
        served: Some(ServedEvidence { counted: 200, sent: 100 }),
        ..TrialEvidence::default()
    };
    let late = TrialEvidence { due: 50, completed: 50, send_delay_p99_seconds: Some(1.0), ..TrialEvidence::default() };
    let flow = |ended, in_flight| TrialEvidence {
        due: 50,
        completed: 50,
        flow: Some(FlowEvidence {
            is_open: true,
            ended,
            expected: 50.0,
            noise: 1.0,
            dispersion: 1.0,
            in_flight,
            answer_seconds: 1.0,
            window_seconds: 4.0,
        }),
        ..TrialEvidence::default()
    };
    let (short, piling) = (flow(30, [9.0; 3]), flow(50, [9.0, 50.0, 90.0]));
    vec![all_at_once, silent, empty, whole, late, short, piling, TrialEvidence::default()]
}

#[test]
fn the_report_page_has_every_reason_with_its_status() {
    let text = read("report.md");
    let mut seen = BTreeSet::new();
    let mut whole_run = hb_core::report::run(hb_core::report::RunSummary::default(), Vec::new(), Vec::new()).verdict.reasons;
    whole_run.extend(searches_that_failed());
    for reason in broken().iter().flat_map(|evidence| judge(evidence).reasons).chain(whole_run) {
        let row = text.lines().find(|line| line.starts_with(&format!("| `{}` |", reason.code)));
        let row = row.unwrap_or_else(|| panic!("docs/report.md has no row for `{}`", reason.code));
        let status = row.split('|').nth(2).unwrap();
        assert!(status.contains(&reason.status.to_string()), "`{}` is {} and the page says{status}", reason.code, reason.status);
        seen.insert(reason.code);
    }
    let rows =
        text.lines().skip_while(|line| *line != "| code | status | when |").skip(2).take_while(|line| line.starts_with('|'));
    let written: BTreeSet<String> = rows.map(|row| row.split('`').nth(1).unwrap().to_owned()).collect();
    assert_eq!(written, seen, "the page's codes and those that the rules give");
}

#[test]
fn the_service_page_s_example_is_the_one_that_compiles() {
    let source = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/add_a_service.rs")).unwrap();
    let (_, rest) = source.split_once("// The manual's example begins.\n").unwrap();
    let (example, _) = rest.split_once("// The manual's example ends.\n").unwrap();
    assert!(read("add-a-service.md").contains(&format!("```rust\n{}\n```", example.trim())), "docs/add-a-service.md differs");
}

#[test]
fn the_service_page_s_block_is_a_recipe() {
    let text = read("add-a-service.md");
    let (_, rest) = text.split_once("```yaml\n").unwrap();
    let (recipe, _) = rest.split_once("```").unwrap();
    let known: Vec<_> = hb_services::SERVICES
        .iter()
        .map(|service| hb_core::recipe::KnownService {
            name: service.name(),
            default_api: service.default_api(),
            is_started: service.is_started(),
        })
        .collect();
    let reading = hb_core::recipe::read(recipe.as_bytes(), &[], &known);
    assert_eq!(reading.problems, [], "{}", hb_core::recipe::show(&reading.problems, recipe, "add-a-service.md"));
    let trial = hb_core::recipe::trials(&reading.recipe.unwrap()).remove(0);
    let problems = hb_services::resolve(&trial.service).unwrap().check(&trial.service);
    assert_eq!(problems, []);
}
