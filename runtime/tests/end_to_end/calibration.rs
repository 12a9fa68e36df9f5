//! The client's own error floor, measured with a Dummy of the node's own before the load.

use std::time::Duration;

use rustix::process::Signal;
use serde_json::Value;

use crate::support::{Dummy, Scene, until};

fn recipe(dummy: &Dummy, further: &str) -> String {
    format!(
        "
scenario: calibration
orchestration: {{mode: local}}
workload:
  service: openai
  model: dummy
  concurrency: 6
  warmup: 0s
  duration: 1s
  prompt_len: 16
  gen_tokens: 8
  {further}
servers:
  endpoints: ['{}']
",
        dummy.url()
    )
}

#[test]
fn the_floor_of_every_executor_is_measured_once_and_stands_beside_each_repetition() {
    let scene = Scene::new();
    let dummy = Dummy::start(&scene, &["--ttft=5ms", "--tpot=1ms"]);
    let recipe = recipe(&dummy, "calibration: quick") + "repetitions: 2\n";
    let ended = scene.lead(&recipe, &["--local-nodes", "2"]).wait();
    let run = ended.run(ended.code.unwrap());
    let trials = run.report["trials"].as_array().unwrap();
    let floors: Vec<&Value> = trials.iter().map(|trial| &trial["client"]["calibration"]).collect();
    let [first, second] = floors[..] else { panic!("{} trials", floors.len()) };
    assert_eq!(first["executors"], 2, "{first}");
    assert_eq!(first["due"], first["completed"], "{first}");
    // Six clients, each asking again 50 ms + 7 × 10 ms after it asked, for three seconds.
    assert!((60..=150).contains(&first["due"].as_u64().unwrap()), "{first}");
    for name in ["ttft_error_seconds_p50", "ttft_error_seconds_p99", "tpot_error_seconds_p50", "tpot_error_seconds_p99"] {
        assert!(first[name].as_f64().is_some(), "{name} in {first}");
    }
    assert_eq!(first, second, "another repetition has the same floor");
    // The server under test saw nothing of it.
    let sent: usize = trials.iter().map(|trial| run.rows_of(trial).len()).sum();
    assert_eq!(dummy.received(), sent as u64 + 1);
    let calibrated = |event: &&Value| event["fact"]["calibrated"].is_object();
    assert_eq!(run.events().iter().filter(calibrated).count(), 2);
}

#[test]
fn a_run_that_ends_while_it_calibrates_leaves_nothing() {
    let scene = Scene::new();
    let dummy = Dummy::start(&scene, &["--ttft=5ms"]);
    let mut running = scene.lead(&recipe(&dummy, "calibration: quick"), &[]);
    running.phase("client_launch");
    let of_calibration = |line: &str| line.contains("dummy --host 127.0.0.1 --port 0 --ttft 50ms --tpot 10ms");
    until("the Dummy of the calibration", Duration::from_secs(15), || {
        scene.left().iter().any(|(_, line)| of_calibration(line)).then_some(())
    });
    running.signal(Signal::INT);
    running.wait().line();
    drop(dummy);
    scene.assert_nothing_left(Duration::from_secs(5));
}

#[test]
fn a_plan_tells_what_calibrations_add() {
    let scene = Scene::new();
    let dummy = Dummy::start(&scene, &[]);
    let drawn = |further: &str, sets: &[&str]| {
        let path = scene.file("drawn.yaml", &recipe(&dummy, further));
        let ended = scene.says(&[&["plan", path.to_str().unwrap(), "--json"], sets].concat());
        let drawing: Value = serde_json::from_str(&ended.stdout).unwrap();
        (drawing["expected_seconds"].as_f64().unwrap(), drawing["trials"][0]["calibration_seconds"].as_f64().unwrap())
    };
    assert_eq!(drawn("calibration: off", &[]), (1.0, 0.0));
    assert_eq!(drawn("calibration: quick", &[]), (6.0, 5.0));
    assert_eq!(drawn("calibration: full", &[]), (4.0, 3.0));
    assert_eq!(drawn("timeouts: {}", &[]), (1.0, 0.0), "a short run is not calibrated unless told");
    assert_eq!(drawn("timeouts: {}", &["--set", "workload.duration=61s"]), (66.0, 5.0), "a long one is");
    assert_eq!(drawn("calibration: off", &["--set", "workload.duration=61s"]), (61.0, 0.0));
}
