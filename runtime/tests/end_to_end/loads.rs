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
