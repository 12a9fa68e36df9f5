//! Several trials in one run, runs without a recipe, and the old options.

use std::{collections::BTreeSet, fs, net::TcpListener};

use serde_json::Value;

use crate::support::{Dummy, Relay, Scene, assert_balanced};

fn sweep(config: &str, load: &str) -> String {
    format!(
        "
scenario: sweep
orchestration: {{mode: local}}
workload:
  service: dummy
  model: dummy
  warmup: 0s
  duration: 1s
  prompt_len: 8
  gen_tokens: 4
  {load}
servers: {{service_config: {{{config}}}}}
"
    )
}

/// The processes that served each trial of this run, in order.
fn servers(config: &str, load: &str) -> Vec<u64> {
    let scene = Scene::new();
    let ended = scene.lead(&sweep(config, load), &[]).wait();
    let run = ended.run(ended.code.unwrap());
    let trials = run.report["trials"].as_array().unwrap();
    let ids: BTreeSet<&str> = trials.iter().map(|trial| trial["id"].as_str().unwrap()).collect();
    assert_eq!(ids.len(), trials.len(), "two trials have one name");
    for trial in trials {
        assert_balanced(trial, &run.rows_of(trial));
        assert!(trial["accounting"]["completed"].as_u64().unwrap() > 0, "{}: {}", trial["id"], trial["accounting"]);
    }
    trials.iter().map(|trial| trial["server"]["0"]["pid"].as_u64().unwrap()).collect()
}

#[test]
fn servers_stay_between_trials_that_do_not_change_them() {
    let pids = servers("ttft: 5ms, tpot: 1ms", "concurrency: [1, 2]");
    assert_eq!((pids.len(), pids[0]), (2, pids[1]));
}

#[test]
fn servers_are_started_anew_where_a_trial_changes_them() {
    let pids = servers("ttft: [5ms, 10ms], tpot: 1ms", "concurrency: 2");
    assert_eq!(pids.len(), 2);
    assert_ne!(pids[0], pids[1]);
}

#[test]
fn a_finished_trial_is_kept_when_a_later_one_fails() {
    let scene = Scene::new();
    let recipe = sweep("ttft: 5ms, tpot: 1ms", "concurrency: [1, 2]");
    let mut running = scene.lead(&recipe, &["--set", "workload.duration=3s"]);
    running.event("the first trial's end", |event| event["event"] == "trial_finished");
    let folder = running.run_dir();
    let finished = fs::read_dir(&folder).unwrap().flatten().filter(|entry| entry.path().join("trial.json").is_file()).count();
    assert_eq!(finished, 1, "a finished trial is durable before the next one begins");
    running.event("the second load", |event| event["event"] == "trial_begun" && event["number"] == 2);
    let server = scene.left().into_iter().find(|(_, line)| line.contains(" dummy --host") && !line.contains("__guard")).unwrap();
    crate::support::kill(server.0, rustix::process::Signal::KILL);
    let run = running.wait().run(1);
    let complete: Vec<&Value> = run.report["trials"].as_array().unwrap().iter().map(|trial| &trial["complete"]).collect();
    assert_eq!(complete.first(), Some(&&Value::Bool(true)));
    assert!(complete[1..].iter().all(|complete| **complete == false), "{complete:?}");
    assert!(run.complaints().contains("ended by itself"), "{}", run.complaints());
}

#[test]
fn a_server_that_runs_already_is_measured_without_a_recipe() {
    let scene = Scene::new();
    let dummy = Dummy::start(&scene, &["--model=dummy", "--ttft=5ms", "--tpot=1ms"]);
    let results = scene.path("results");
    let words = ["--model", "dummy", "--concurrency", "2,4", "--duration", "1s", "--warmup", "0s", "--json", "--results"];
    let url = dummy.url();
    let ended = scene.says(&[&["bench", &url], &words[..], &[results.to_str().unwrap()]].concat());
    let run = ended.run(ended.code.unwrap());
    let levels: Vec<&Value> =
        run.report["trials"].as_array().unwrap().iter().map(|trial| &trial["parameters"]["concurrency"]).collect();
    assert_eq!(levels, [2, 4]);
    let recipe = run.folder.join("recipe.yaml");
    let stranger = scene.says(&["bench", &url, "--model", "m", "--json"]);
    let other = stranger.run(1);
    assert!(other.complaints().contains("no model `m`; it lists `dummy`"), "{}", other.complaints());
    let again = scene.says(&["validate", recipe.to_str().unwrap()]);
    assert_eq!(again.code, Some(0), "the recipe it amounts to lies beside the results: {}", again.stderr);
}

/// The cache of a server that outlives a run may hold what the run before sent.
#[test]
fn two_runs_send_no_common_prompt_unless_they_are_to_have_the_same_seed() {
    let scene = Scene::new();
    let dummy = Dummy::start(&scene, &["--ttft=1ms", "--tpot=0s"]);
    let results = scene.path("results");
    let sent = |words: &[&str]| {
        let relay = Relay::before(&dummy.address);
        let own = ["--requests", "40", "--concurrency", "2", "--warmup", "0s", "--json", "--results", results.to_str().unwrap()];
        let ended = scene.says(&[&["bench", &relay.url(), "--model", "dummy"], &own[..], words].concat());
        let run = ended.run(0);
        let manifest: Value = serde_json::from_slice(&fs::read(run.folder.join("manifest.json")).unwrap()).unwrap();
        let resolved = fs::read_to_string(run.folder.join("recipe.resolved.yaml")).unwrap();
        assert!(resolved.contains(&format!("seed: {}\n", manifest["seed"])), "{resolved}");
        let bodies = relay.bodies("/v1/completions");
        // The first completion, which is shorter, asks with a prompt that is the same in every run.
        let load = bodies.iter().filter(|body| body["max_tokens"] == 64);
        let prompts: BTreeSet<String> = load.map(|body| body["prompt"].to_string()).collect();
        assert_eq!(prompts.len(), 40, "{bodies:?}");
        (prompts, manifest["seed"].to_string())
    };
    let ((one, seed), (other, _)) = (sent(&[]), sent(&[]));
    assert!(one.is_disjoint(&other), "{:?}", one.intersection(&other));
    assert_eq!(sent(&["--seed", &seed]), (one, seed), "a seed that is said repeats the run");
}

#[test]
fn a_rate_and_a_count_of_requests_are_measured_without_a_recipe() {
    let scene = Scene::new();
    let dummy = Dummy::start(&scene, &["--ttft=5ms", "--tpot=1ms"]);
    let results = scene.path("results");
    let words = ["--model", "dummy", "--rate", "40,80", "--requests", "40", "--warmup", "0s", "--json", "--results"];
    let ended = scene.says(&[&["bench", &dummy.url()], &words[..], &[results.to_str().unwrap()]].concat());
    let run = ended.run(ended.code.unwrap());
    let due: Vec<&Value> = run.report["trials"].as_array().unwrap().iter().map(|trial| &trial["accounting"]["due"]).collect();
    assert_eq!(due, [40, 40]);
    assert_eq!(run.report["trials"][1]["parameters"]["target_rps"], 80.0);
}

#[test]
fn the_old_options_still_do_what_they_did() {
    let scene = Scene::new();
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port().to_string();
    let recipe = scene.file("old.yaml", &sweep("ttft: 5ms, tpot: 1ms", "concurrency: 2"));
    let (results, copy) = (scene.path("results"), scene.path("copy.csv"));
    let words = ["--server-port", &port, "--timeout", "60", "--enable-monitoring", "--monitor-interval", "1", "--json"];
    let paths = ["--workload-config-file", recipe.to_str().unwrap(), "--results", results.to_str().unwrap()];
    let ended = scene.says(&[&paths[..], &words[..], &["--monitor-output", copy.to_str().unwrap()]].concat());
    let run = ended.run(ended.code.unwrap());
    assert!(run.trial()["server"]["0"]["url"].as_str().unwrap().ends_with(&port), "{}", run.trial()["server"]);
    let (own, copied) = (fs::read_to_string(run.folder.join("metrics.csv")).unwrap(), fs::read_to_string(copy).unwrap());
    assert!(own.lines().count() > 1, "no sample in {own}");
    assert_eq!(own, copied);
}

#[test]
fn a_default_port_that_is_taken_moves_and_is_told() {
    let scene = Scene::new();
    // Somebody may have it already, who will do as well.
    let _taken = TcpListener::bind("127.0.0.1:6000");
    let ended = scene.lead(&sweep("ttft: 5ms, tpot: 1ms", "concurrency: 2"), &[]).wait();
    ended.run(ended.code.unwrap());
    assert!(ended.stderr.contains("port 6000 is taken: this node's endpoints are at port "), "{}", ended.stderr);
}
