//! What other programs rely on: the last line, `report.json`, the files of a run's folder, and that nothing
//! is left when it is over.

use std::{collections::BTreeSet, fs, path::Path, time::Duration};

use serde_json::Value;

use crate::support::{Scene, assert_balanced, holds_port};

const RECIPE: &str = "
scenario: contract
orchestration: {mode: local}
workload:
  service: dummy
  model: dummy
  concurrency: 4
  warmup: 500ms
  duration: 2s
  prompt_len: 16
  gen_tokens: 8
  slo: {ttft_p99: 500ms}
servers:
  service_config: {ttft: 10ms, tpot: 1ms}
metadata: {seed: 7}
";

/// Every key that the contract names; `*` stands for whatever is in a map.
const KEYS: &[&str] = &[
    "schema_version",
    "run.id",
    "run.scenario",
    "run.started_at",
    "run.ended_at",
    "run.hbnode_version",
    "run.complete",
    "run.incomplete_reason",
    "warnings",
    "trials.id",
    "trials.parameters",
    "trials.repetition",
    "trials.phase_seconds",
    "trials.verdict.status",
    "trials.verdict.reasons",
    "trials.accounting.due",
    "trials.accounting.completed",
    "trials.accounting.failed",
    "trials.accounting.timed_out",
    "trials.accounting.cancelled",
    "trials.accounting.dropped",
    "trials.accounting.lost",
    "trials.window.start",
    "trials.window.end",
    "trials.window.seconds",
    "trials.steady",
    "trials.load.requested_rate",
    "trials.load.achieved_rate",
    "trials.load.concurrency_mean",
    "trials.load.concurrency_peak",
    "trials.tokens.input",
    "trials.tokens.output",
    "trials.tokens.source",
    "trials.tokens.requested_output",
    "trials.throughput.requests_per_second",
    "trials.throughput.output_tokens_per_second",
    "trials.throughput.total_tokens_per_second",
    "trials.throughput.goodput_requests_per_second",
    "trials.throughput.makespan_seconds",
    "trials.throughput.error_rate",
    "trials.throughput.tps_user_p50",
    "trials.slo_limits",
    "trials.client.calibration",
    "trials.client.cpu_ratio",
    "trials.client.lag_seconds",
    "trials.client.late_dispatches",
    "trials.client.unread_bytes",
    "trials.client.unread_seconds",
    "trials.client.by_executor",
    "trials.server",
    "trials.resources.nodes",
    "trials.cost",
];

const LATENCIES: &[&str] = &[
    "ttft_seconds",
    "ttft_scheduled_seconds",
    "ttfot_seconds",
    "e2el_seconds",
    "e2el_scheduled_seconds",
    "tpot_seconds",
    "itl_seconds",
    "icl_seconds",
    "dispatch_delay_seconds",
    "queue_delay_seconds",
    "client_delay_seconds",
    "connect_seconds",
];

const STATISTICS: &[&str] = &[
    "count",
    "mean",
    "stddev",
    "min",
    "p1",
    "p5",
    "p10",
    "p25",
    "p50",
    "p75",
    "p90",
    "p95",
    "p99",
    "p99_9",
    "max",
    "ci",
    "adjusted",
    "early_stopping",
];

const ROW: &[&str] = &[
    "index",
    "phase",
    "node",
    "executor",
    "epoch",
    "due",
    "sent",
    "first",
    "last",
    "end",
    "outcome",
    "kind",
    "input_tokens",
    "output_tokens",
    "tokens_source",
    "server",
    "status",
];

const FILES: &[&str] = &[
    "recipe.yaml",
    "recipe.resolved.yaml",
    "manifest.json",
    "report.json",
    "report.html",
    "summary.md",
    "events.jsonl",
    "metrics.csv",
    "logs/stdout.log",
    "logs/stderr.log",
    "logs/aggregated.jsonl",
];

fn has(value: &Value, path: &str) -> bool {
    let (key, rest) = path.split_once('.').map_or((path, None), |(key, rest)| (key, Some(rest)));
    match (value, rest) {
        (Value::Array(items), _) => !items.is_empty() && items.iter().all(|item| has(item, path)),
        (Value::Object(map), None) => map.contains_key(key),
        (Value::Object(map), Some(rest)) => map.get(key).is_some_and(|inner| has(inner, rest)),
        _ => false,
    }
}

fn files_below(folder: &Path) -> Vec<std::path::PathBuf> {
    let entries = fs::read_dir(folder).unwrap().flatten().map(|entry| entry.path());
    entries.flat_map(|path| if path.is_dir() && !path.is_symlink() { files_below(&path) } else { vec![path] }).collect()
}

#[test]
fn a_run_keeps_its_contract_and_leaves_nothing_behind() {
    let scene = Scene::new();
    let mut running = scene.lead(RECIPE, &[]);
    let page: u16 = running.word_after("live page: http://127.0.0.1:").split('/').next().unwrap().parse().unwrap();
    let ended = running.wait();
    assert!([Some(0), Some(3)].contains(&ended.code), "{}", ended.stderr);
    let run = ended.run(ended.code.unwrap());

    assert_eq!(ended.stdout.lines().count(), 1, "stdout has more than the last line: {}", ended.stdout);
    let line = ended.line();
    assert_eq!(line.as_object().unwrap().keys().collect::<BTreeSet<_>>().len(), 3, "{line}");
    assert_eq!(line["verdict"], run.report["verdict"]["status"]);

    let missing: Vec<_> = KEYS.iter().filter(|path| !has(&run.report, path)).collect();
    assert!(missing.is_empty(), "report.json lacks {missing:?}");
    let latency = &run.trial()["latency"];
    for name in LATENCIES {
        assert!(latency.get(name).is_some(), "latency lacks {name}");
        assert!(has(&run.trial()["percentile_source"], name) || latency[name].is_null(), "where do those of {name} come from?");
    }
    for name in ["ttft_seconds", "e2el_seconds", "tpot_seconds"] {
        let missing: Vec<_> = STATISTICS.iter().filter(|key| !has(&latency[name], key)).collect();
        assert!(missing.is_empty(), "latency.{name} lacks {missing:?}");
        for percentile in ["p50", "p90", "p99"] {
            assert_eq!(latency[name]["ci"][percentile].as_array().unwrap().len(), 2, "{name} {percentile}");
        }
    }
    assert_eq!(run.report["run"]["complete"], true);
    for instant in ["started_at", "ended_at"] {
        let text = run.report["run"][instant].as_str().unwrap();
        assert!(text.ends_with('Z') && text.parse::<jiff::Timestamp>().is_ok(), "{instant} is `{text}`");
    }

    let rows = run.rows();
    assert_balanced(run.trial(), &rows);
    assert!(run.trial()["accounting"]["due"].as_u64().unwrap() > 0);
    for key in ROW {
        assert!(rows.iter().all(|row| row.get(key).is_some()), "a row lacks {key}");
    }
    assert!(rows.iter().any(|row| row["phase"] == "warmup"), "the warm-up has its own rows");

    for file in FILES {
        assert!(run.folder.join(file).is_file(), "{file} is missing");
    }
    for file in ["trial.json", "requests.jsonl", "timeseries.csv"] {
        assert!(run.folder.join(run.trial()["id"].as_str().unwrap()).join(file).is_file(), "{file} is missing");
    }
    let latest = fs::canonicalize(run.folder.parent().unwrap().join("latest")).unwrap();
    assert_eq!(latest, fs::canonicalize(&run.folder).unwrap());
    let kept = files_below(&scene.path("results"));
    let named = |text: &str| kept.iter().filter(|path| path.to_string_lossy().contains(text)).collect::<Vec<_>>();
    assert_eq!(named(".partial"), Vec::<&std::path::PathBuf>::new());
    assert_eq!(named("join.json"), Vec::<&std::path::PathBuf>::new());
    let trial: Value =
        serde_json::from_slice(&fs::read(run.folder.join(run.trial()["id"].as_str().unwrap()).join("trial.json")).unwrap())
            .unwrap();
    assert_eq!(&trial, run.trial(), "trial.json is the trial's part of report.json");

    scene.assert_nothing_left(Duration::ZERO);
    assert!(!holds_port(page), "the live page is still served");
}

#[test]
fn a_report_that_is_built_anew_is_the_same() {
    let scene = Scene::new();
    let ended = scene.lead(RECIPE, &["--set", "workload.duration=1s"]).wait();
    let run = ended.run(ended.code.unwrap());
    let path = run.folder.join("report.json");
    let before = fs::read_to_string(&path).unwrap();
    fs::remove_file(run.folder.join("report.html")).unwrap();
    let again = scene.says(&["report", run.folder.to_str().unwrap()]);
    assert_eq!(again.code, Some(0), "{}", again.stderr);
    assert_eq!(fs::read_to_string(&path).unwrap(), before);
    assert!(run.folder.join("report.html").is_file());
}

#[test]
fn a_report_that_is_built_from_the_raw_data_says_the_same_of_its_requests() {
    let scene = Scene::new();
    let ended = scene.lead(RECIPE, &["--set", "workload.duration=1s"]).wait();
    let run = ended.run(ended.code.unwrap());
    for file in ["report.json", "trial/trial.json", "trial/requests.jsonl"] {
        fs::remove_file(run.folder.join(file)).unwrap();
    }
    let again = scene.says(&["report", run.folder.to_str().unwrap()]);
    assert_eq!(again.code, Some(0), "{}", again.stderr);
    let rebuilt = crate::support::Run::read(&run.folder);
    assert_balanced(rebuilt.trial(), &rebuilt.rows());
    assert_eq!(
        (&rebuilt.report["run"]["complete"], &rebuilt.report["run"]["trials_planned"]),
        (&Value::Bool(true), &Value::from(1))
    );
    // What nodes were sampled to use, and how well their clocks were known, stands in no raw file.
    let of_requests = [
        "id",
        "parameters",
        "complete",
        "accounting",
        "other_accounting",
        "window",
        "load",
        "latency",
        "tokens",
        "throughput",
        "slo",
        "server",
        "events",
        "timeline",
    ];
    for key in of_requests {
        assert_eq!(rebuilt.trial()[key], run.trial()[key], "{key}");
    }
}
