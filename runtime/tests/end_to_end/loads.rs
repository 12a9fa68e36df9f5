//! Loads that change or end by themselves, by real processes against the Dummy.

use serde_json::Value;

use crate::support::{Scene, assert_balanced};

fn recipe(load: &str) -> String {
    format!(
        "
scenario: loads
orchestration: {{mode: local}}
workload:
  service: dummy
  model: dummy
  warmup: 0s
  prompt_len: 8
  gen_tokens: 4
{load}
servers: {{service_config: {{ttft: 30ms, tpot: 5ms}}}}
"
    )
}

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap_or_else(|| panic!("`{value}` is no number"))
}

#[test]
fn all_nodes_together_hold_the_concurrency_of_each_stage() {
    let scene = Scene::new();
    let stages = "  stages: [{duration: 2s, concurrency: 3}, {duration: 2s, concurrency: 9}, {duration: 2s, concurrency: 1, ramp: linear}]";
    let ended = scene.lead(&recipe(stages), &["--local-nodes", "3"]).wait();
    let run = ended.run(ended.code.unwrap());
    assert_eq!(run.report["run"]["complete"], true, "{}", ended.stderr);
    let (trial, rows) = (run.trial(), run.rows());
    assert_balanced(trial, &rows);
    let load = &trial["load"];
    assert_eq!((&load["model"], &load["requested_concurrency"]), (&"closed_staged".into(), &9.into()));
    let stages = load["stages"].as_array().unwrap();
    let asked: Vec<f64> = stages.iter().map(|stage| number(&stage["concurrency_requested"])).collect();
    assert_eq!(asked, [3.0, 9.0, 5.0]);
    // A client that goes while it waits for its answer is still in flight for a moment in the next stage.
    let peaks: Vec<f64> = stages.iter().map(|stage| number(&stage["concurrency_peak"])).collect();
    assert_eq!(peaks, [3.0, 9.0, 9.0]);
    for (stage, asked) in stages.iter().zip(asked) {
        let real = number(&stage["concurrency_mean"]);
        assert!((real / asked - 1.0).abs() < 0.25, "{real} in flight instead of {asked}: {load:#}");
    }
    let mut nodes: Vec<&str> = rows.iter().map(|row| row["node"].as_str().unwrap()).collect();
    nodes.sort_unstable();
    nodes.dedup();
    assert_eq!(nodes.len(), trial["client"]["executors"].as_u64().unwrap() as usize);
    for node in nodes {
        let first = rows.iter().filter(|row| row["node"] == node && number(&row["due"]) < 2.0).count();
        assert!(first > 0, "{node} has no part in the first stage");
    }
}

#[test]
fn events_of_several_tokens_have_a_gap_for_each_token() {
    let scene = Scene::new();
    let text = "
scenario: tokens
orchestration: {mode: local}
workload: {service: dummy, model: dummy, warmup: 0s, prompt_len: 8, gen_tokens: 64, concurrency: 6, requests: 30}
servers: {service_config: {ttft: 5ms, tpot: 5ms, tokens_per_event: 4}}
";
    let ended = scene.lead(text, &[]).wait();
    let run = ended.run(0);
    let latency = &run.trial()["latency"];
    let of = |name: &str, what: &str| number(&latency[name][what]);
    assert_eq!((of("itl_seconds", "count"), of("icl_seconds", "count")), (30.0 * 63.0, 30.0 * 15.0), "{latency:#}");
    // All of the time between the first event and the last one, cut otherwise.
    let (tokens, events) = (of("itl_seconds", "mean") * 63.0, of("icl_seconds", "mean") * 15.0);
    assert!((tokens / events - 1.0).abs() < 0.05, "{latency:#}");
    assert!((of("itl_seconds", "mean") / of("tpot_seconds", "mean") - 1.0).abs() < 0.05, "{latency:#}");
}

#[test]
fn a_load_ends_on_all_nodes_once_its_figure_is_sure() {
    for load in ["  concurrency: 6", "  target_rps: 100"] {
        let scene = Scene::new();
        let rule = format!(
            "{load}\n  stop_when: {{metric: ttft_p50, ci: 30%, min: 2s, max: 40s}}\n  drills: [{{at: 39s, kill: server}}]"
        );
        let ended = scene.lead(&recipe(&rule), &["--local-nodes", "3"]).wait();
        let run = ended.run(ended.code.unwrap());
        assert_eq!(run.report["run"]["complete"], true, "{}", ended.stderr);
        let (trial, rows) = (run.trial(), run.rows());
        assert_balanced(trial, &rows);
        assert_eq!(trial["complete"], true);
        assert!(!run.reasons().contains("interrupted"), "{:?}", run.reasons());
        let certainty = &trial["certainty"];
        assert_eq!((&certainty["metric"], &certainty["is_reached"]), (&"ttft_p50".into(), &true.into()), "{certainty:#}");
        let (at, interval) = (number(&certainty["ended_at_seconds"]), &certainty["interval_seconds"]);
        assert!(number(&interval[0]) < number(&interval[1]) && number(&certainty["half_width"]) <= 0.3, "{certainty:#}");
        assert!((2.0..40.0).contains(&at) && trial["window"]["end"] == certainty["ended_at_seconds"], "{certainty:#}");
        assert!(rows.iter().all(|row| number(&row["due"]) < at && row["outcome"] == "completed"), "{certainty:#}");
        assert!(run.events().iter().any(|event| event["event"] == "sure_enough"));
        let warnings = run.report["warnings"].to_string();
        assert!(warnings.contains("the drill at 39s (kill: server) did not happen"), "{warnings}");
        let shorter: Value = serde_json::from_str(
            &std::fs::read_to_string(run.folder.join(trial["id"].as_str().unwrap()).join("trial.json")).unwrap(),
        )
        .unwrap();
        assert_eq!(shorter["certainty"], *certainty);
        let summary = std::fs::read_to_string(run.folder.join("summary.md")).unwrap();
        assert!(summary.contains("sure enough, the window ends at"), "{summary}");
    }
}

#[test]
fn a_load_whose_figure_never_becomes_sure_lasts_as_long_as_it_may_and_says_so() {
    let scene = Scene::new();
    let rule = "  concurrency: 2\n  stop_when: {metric: e2el_p99, ci: 0.2%, min: 1s, max: 3s}";
    let ended = scene.lead(&recipe(rule), &[]).wait();
    let run = ended.run(ended.code.unwrap());
    let trial = run.trial();
    assert_balanced(trial, &run.rows());
    assert_eq!((&trial["complete"], &trial["certainty"]["is_reached"]), (&true.into(), &false.into()));
    assert_eq!((number(&trial["window"]["seconds"]), &trial["certainty"]["ended_at_seconds"]), (3.0, &Value::Null));
    let warnings = run.report["warnings"].to_string();
    assert!(warnings.contains("e2el_p99") && warnings.contains("in the time it had"), "{warnings}");
}

#[test]
fn four_processes_send_bit_for_bit_what_one_does() {
    let load = "  duration: 4s\n  target_rps: 60\n  request_distribution: gamma\n  burstiness: 0.5";
    let lengths = "  prompt_len: {uniform: [4, 40]}\n  gen_tokens: {uniform: [2, 9]}";
    let text = recipe(load).replace("  prompt_len: 8\n  gen_tokens: 4", lengths);
    let sent = |nodes: &str| {
        let scene = Scene::new();
        let ended = scene.lead(&text, &["--local-nodes", nodes, "--set", "workload.warmup=1s"]).wait();
        let run = ended.run(ended.code.unwrap());
        let rows = run.rows();
        assert_balanced(run.trial(), &rows);
        let executors: std::collections::BTreeSet<&str> = rows.iter().map(|row| row["node"].as_str().unwrap()).collect();
        let told = ["index", "phase", "due", "input_tokens", "asked_tokens", "output_tokens", "outcome"];
        let asked: Vec<String> = rows.iter().map(|row| told.map(|key| row[key].to_string()).join(" ")).collect();
        (executors.len(), asked)
    };
    let ((alone, by_one), (together, by_four)) = (sent("1"), sent("4"));
    assert!(alone == 1 && together >= 3, "{alone} and {together} nodes sent");
    assert!(by_one.len() > 200, "{} requests", by_one.len());
    assert_eq!(by_one, by_four, "index, phase, instant to the last bit, and both lengths of each request");
}
