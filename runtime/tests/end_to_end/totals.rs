//! Our totals against the server's own counters, kind by kind.

use std::collections::BTreeMap;

use crate::support::{Dummy, Run, Scene, assert_balanced};

const FAULTS: &[&str] = &["error", "reset", "truncate", "no_end", "error_event"];

#[test]
fn every_kind_of_end_is_counted_as_the_server_counted_it() {
    check_totals(&[]);
}

#[test]
fn every_kind_of_end_is_counted_in_http_2_as_well() {
    let (run, counters) = check_totals(&["--http2=true"]);
    let trial = run.trial();
    let spoken: Vec<_> = trial["server"]["http_version"].as_object().unwrap().values().collect();
    assert_eq!(spoken, ["2"], "{:#}", trial["server"]);
    // The server's own counts were asked for in its language, too.
    assert_eq!(trial["server"]["queue"]["requests"].as_u64().unwrap() + counters["faults_total{kind=\"error\"}"], 400);
    // Connections are kept: one for each client, one for each that a broken answer took along, and some for questions.
    let broken: u64 = ["reset", "truncate"].iter().map(|kind| counters[&format!("faults_total{{kind=\"{kind}\"}}")]).sum();
    assert!(counters["connections_total"] < 8 + broken + 20, "{counters:#?}");
}

/// 400 requests to a Dummy that plants every fault; its counts.
fn check_totals(further: &[&str]) -> (Run, BTreeMap<String, u64>) {
    let scene = Scene::new();
    let flags: Vec<String> = FAULTS.iter().map(|fault| format!("--{}-rate=0.05", fault.replace('_', "-"))).collect();
    // With this seed the first request, which asks whether the server is ready, is spared.
    let mut flags: Vec<&str> = flags.iter().map(String::as_str).chain(further.iter().copied()).collect();
    flags.extend(["--seed", "3", "--ttft", "5ms", "--tpot", "1ms"]);
    let dummy = Dummy::start(&scene, &flags);
    let recipe = format!(
        "
scenario: totals
orchestration: {{mode: local}}
workload:
  service: openai
  model: dummy
  concurrency: 8
  requests: 400
  warmup: 0s
  prompt_len: 16
  gen_tokens: 8
servers:
  endpoints: ['{}']
metadata: {{seed: 5}}
",
        dummy.url()
    );
    let ended = scene.lead(&recipe, &[]).wait();
    let run = ended.run(ended.code.unwrap());
    let rows = run.rows();
    assert_balanced(run.trial(), &rows);
    let accounting = &run.trial()["accounting"];
    assert_eq!(accounting["due"], 400);

    let counters = dummy.counters();
    let counted = |name: &str| *counters.get(name).unwrap_or_else(|| panic!("no `{name}` in {counters:#?}"));
    let fault = |kind: &str| counted(&format!("faults_total{{kind=\"{kind}\"}}"));
    let failed = |kind: &str| accounting["failed"][kind].as_u64().unwrap_or(0);
    // One request asked whether it is ready.
    assert_eq!(dummy.received(), 400 + 1);
    assert_eq!(counted("requests_completed_total"), accounting["completed"].as_u64().unwrap() + 1);
    assert_eq!(counted("requests_cut_total"), 0);
    assert_eq!(counted("requests_refused_total"), 0);
    for kind in FAULTS {
        assert!(fault(kind) > 0, "{kind} never happened, so nothing is shown: choose another seed");
    }
    assert_eq!(failed("http_500"), fault("error"), "{accounting:#}");
    assert_eq!(failed("reset_midway"), fault("reset"), "{accounting:#}");
    assert_eq!(failed("truncated"), fault("truncate"), "{accounting:#}");
    assert_eq!(failed("no_end_mark"), fault("no_end"), "{accounting:#}");
    assert_eq!(failed("error_event"), fault("error_event"), "{accounting:#}");
    let faults: u64 = FAULTS.iter().map(|kind| fault(kind)).sum();
    assert_eq!(accounting["completed"].as_u64().unwrap() + faults, 400);
    assert!(run.reasons().contains("errors"), "{:?}", run.reasons());
    (run, counters)
}

#[test]
fn the_server_never_sees_more_in_flight_than_was_asked_whatever_fails() {
    let scene = Scene::new();
    let dummy = Dummy::start(&scene, &["--ttft=40ms", "--tpot=2ms"]);
    let recipe = format!(
        "
scenario: peak
orchestration: {{mode: local}}
workload:
  service: openai
  model: dummy
  concurrency: 9
  duration: 5s
  warmup: 0s
  prompt_len: 16
  gen_tokens: 8
  drills: [{{at: 1s, kill: executor}}, {{at: 2s, kill: executor}}]
servers:
  endpoints: ['{}']
",
        dummy.url()
    );
    let ended = scene.lead(&recipe, &["--local-nodes", "3"]).wait();
    let run = ended.run(ended.code.unwrap());
    assert!(run.reasons().contains("executor_restarted"), "{:?}", run.reasons());
    assert_balanced(run.trial(), &run.rows());
    let counters = dummy.counters();
    assert_eq!(counters["requests_in_flight_peak"], 9, "{counters:#?}");
    assert_eq!(counters["requests_in_flight"], 0, "{counters:#?}");
    // The sockets say the same: a connection for each request in flight and life of an executor, and some for questions.
    assert!(counters["connections_total"] < 9 + 2 * 9 + 20, "{counters:#?}");
}

#[test]
fn the_time_in_the_server_s_queue_is_told_as_the_server_tells_it() {
    let scene = Scene::new();
    let dummy = Dummy::start(&scene, &["--ttft=20ms", "--tpot=5ms", "--concurrency=2"]);
    let recipe = format!(
        "
scenario: queue
orchestration: {{mode: local}}
workload: {{service: openai, model: dummy, concurrency: 6, requests: 120, warmup: 0s, prompt_len: 16, gen_tokens: 8}}
servers: {{endpoints: ['{}']}}
",
        dummy.url()
    );
    let ended = scene.lead(&recipe, &[]).wait();
    let run = ended.run(ended.code.unwrap());
    let trial = run.trial();
    assert_balanced(trial, &run.rows());
    let queue = &trial["server"]["queue"];
    assert_eq!(queue["requests"], 120, "{queue}");
    // Two of six are answered at a time: each waits for two others, and its first token comes a third of the way.
    let number = |value: &serde_json::Value| value.as_f64().unwrap();
    let (waited, ttft) = (number(&queue["seconds_mean"]), number(&trial["latency"]["ttft_seconds"]["mean"]));
    let share = waited / ttft;
    assert!(waited < ttft && (0.7..0.97).contains(&share), "{waited} s of a time to first token of {ttft} s");
}

/// A load of three requests of chat at a time against a Dummy of its own: the run and the server's counts.
fn three_at_a_time(scene: &Scene, load: &str) -> (Run, BTreeMap<String, u64>) {
    let dummy = Dummy::start(scene, &["--ttft=40ms", "--tpot=2ms"]);
    let recipe = format!(
        "
scenario: together
orchestration: {{mode: local}}
workload: {{service: openai, model: dummy, api: chat, batch: 3, warmup: 0s, prompt_len: 16, gen_tokens: 8, {load}}}
servers: {{endpoints: ['{}']}}
",
        dummy.url()
    );
    let ended = scene.lead(&recipe, &["--local-nodes", "3"]).wait();
    assert!(ended.stderr.contains("3 requests of one prompt are sent together instead"), "{}", ended.stderr);
    let run = ended.run(ended.code.unwrap());
    assert_balanced(run.trial(), &run.rows());
    (run, dummy.counters())
}

#[test]
fn clients_that_ask_three_at_a_time_have_so_many_in_flight_as_the_server_counts() {
    let scene = Scene::new();
    let (run, counters) = three_at_a_time(&scene, "concurrency: 2, requests: 121");
    let (trial, rows) = (run.trial(), run.rows());
    assert_eq!((&trial["accounting"]["due"], &trial["accounting"]["completed"]), (&121.into(), &121.into()));
    assert_eq!(rows.len(), 121);
    // One request asked whether it is ready.
    assert_eq!(counters["requests_completed_total"], 121 + 1, "{counters:#?}");
    assert_eq!(counters["requests_in_flight_peak"], 6, "{counters:#?}");
    let load = &trial["load"];
    let asked = ["together", "requested_concurrency", "concurrency_peak"].map(|key| load[key].as_u64());
    assert_eq!(asked, [3, 6, 6].map(Some), "{load:#}");
    assert_eq!(trial["latency"]["tpot_seconds"]["count"], 121, "each answer has a stream of its own");
}

#[test]
fn an_arrival_of_three_requests_is_due_at_one_instant_on_all_nodes() {
    let scene = Scene::new();
    let (run, counters) = three_at_a_time(&scene, "target_rps: 25, requests: 150");
    let (trial, rows) = (run.trial(), run.rows());
    assert_eq!((&trial["accounting"]["due"], &trial["accounting"]["completed"]), (&150.into(), &150.into()));
    assert_eq!(counters["requests_completed_total"], 150 + 1, "{counters:#?}");
    assert!(counters["requests_in_flight_peak"] >= 3, "{counters:#?}");
    assert_eq!((&trial["load"]["requested_rate"], &trial["load"]["together"]), (&75.0.into(), &3.into()));
    let mut groups: BTreeMap<u64, Vec<(String, String)>> = BTreeMap::new();
    for row in &rows {
        let of = (row["due"].to_string(), row["node"].to_string());
        groups.entry(row["index"].as_u64().unwrap() / 3).or_default().push(of);
    }
    assert_eq!(groups.len(), 50);
    for group in groups.values() {
        assert!(group.len() == 3 && group.iter().all(|(due, _)| *due == group[0].0), "{group:?}");
    }
    let summary = std::fs::read_to_string(run.folder.join("summary.md")).unwrap();
    assert!(summary.contains("25 × 3 req/s"), "{summary}");
}
