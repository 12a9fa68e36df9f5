//! A run that was ended or killed goes on in another process: nothing that was finished is repeated, the whole is
//! reported with its parts, and whatever does not fit is refused.

use std::{fs, path::Path};

use rustix::process::Signal;
use serde_json::Value;

use crate::support::{Dummy, Ended, Run, Running, Scene, assert_balanced};

/// Three trials of so many requests each, against a server that runs already.
const REQUESTS: u64 = 120;

fn three_trials(dummy: &Dummy) -> String {
    format!(
        "
scenario: resumed
orchestration: {{mode: local}}
workload:
  service: openai
  model: dummy
  concurrency: [1, 2, 3]
  requests: {REQUESTS}
  warmup: 0s
  prompt_len: 8
  gen_tokens: 4
servers:
  endpoints: ['{}']
",
        dummy.url()
    )
}

/// A run whose second trial has begun.
fn in_its_second_trial(scene: &Scene, recipe: &str) -> Running {
    let mut running = scene.lead(recipe, &[]);
    running.event("the second trial", |event| event["event"] == "trial_begun" && event["number"] == 2);
    running
}

fn resume(scene: &Scene, run_dir: &Path, further: &[&str]) -> Ended {
    scene.says(&[&["--resume", run_dir.to_str().unwrap(), "--json"], further].concat())
}

fn rows(run: &Run, trial: &Value) -> u64 {
    run.rows_of(trial).len() as u64
}

/// A run that `signal` ended in its second trial, and its continuation: what the whole must be.
fn resumed_after(signal: Signal, code: Option<i32>, because: &str) {
    let scene = Scene::new();
    let dummy = Dummy::start(&scene, &["--ttft=15ms", "--tpot=1ms"]);
    let recipe = three_trials(&dummy);
    let mut running = in_its_second_trial(&scene, &recipe);
    let folder = running.run_dir();
    running.signal(signal);
    let ended = running.wait();
    assert_eq!(ended.code, code, "{}", ended.stderr);
    if signal != Signal::KILL {
        let report = Run::read(&folder);
        let advice = format!("left: concurrency-2, concurrency-3; `hbnode --resume {}`", folder.display());
        assert!(report.complaints().contains(&advice), "{}", report.complaints());
    }
    assert_eq!(folder.join("metrics.csv.partial").exists(), signal == Signal::KILL);
    let first = fs::read(folder.join("concurrency-1/trial.json")).unwrap();

    let before = dummy.received();
    let run = resume(&scene, &folder, &[]).run(0);
    let received = dummy.received() - before;

    let trials = run.report["trials"].as_array().unwrap();
    let ids: Vec<&str> = trials.iter().map(|trial| trial["id"].as_str().unwrap()).collect();
    assert_eq!(ids, ["concurrency-1", "concurrency-2", "concurrency-3"]);
    for trial in trials {
        assert_eq!(
            (&trial["complete"], &trial["accounting"]["completed"]),
            (&Value::Bool(true), &Value::from(REQUESTS)),
            "{trial:#}"
        );
        assert_balanced(trial, &run.rows_of(trial));
    }
    assert_eq!(run.report["run"]["complete"], true, "{:#}", run.report["run"]);
    assert_eq!(fs::read(folder.join("concurrency-1/trial.json")).unwrap(), first, "the finished trial is as it was");

    // What one part asks beside its trials, counted by a run of its own.
    let before = dummy.received();
    let alone = scene.lead(&recipe.replace("[1, 2, 3]", "1"), &[]).wait().run(0);
    let beside = dummy.received() - before - rows(&alone, alone.trial());
    let sent: u64 = trials[1..].iter().map(|trial| rows(&run, trial)).sum();
    assert_eq!(received, sent + beside, "requests that nobody asked for came in");

    let parts = run.report["run"]["parts"].as_array().unwrap();
    assert_eq!(parts.len(), 2, "{parts:#?}");
    assert_eq!(parts[0]["ended_because"], because, "{parts:#?}");
    assert_eq!(parts[0]["trials"], serde_json::json!(["concurrency-1"]));
    assert_eq!(parts[1]["trials"], serde_json::json!(["concurrency-2", "concurrency-3"]));
    for part in parts {
        assert_eq!(part["nodes"].as_array().unwrap().len(), 1, "{part}");
        assert!(part["started_at"].as_str() < part["ended_at"].as_str(), "{part}");
    }
    assert_eq!(run.report["run"]["started_at"], parts[0]["started_at"]);
    for file in ["summary.md", "report.html"] {
        let text = fs::read_to_string(folder.join(file)).unwrap();
        assert!(text.contains(because), "{file} does not say why the first part ended");
    }
    let begun = run.events().into_iter().filter(|event| event["event"] == "trial_begun");
    assert_eq!(begun.map(|event| event["number"].as_u64().unwrap()).collect::<Vec<_>>(), [1, 2, 2, 3]);
    assert!(folder.join("parts/1/concurrency-2/plan.json").is_file(), "the unfinished trial is kept aside");
    assert_eq!(folder.join("parts/1/report.json").exists(), signal != Signal::KILL);
    let metrics = fs::read_to_string(folder.join("metrics.csv")).unwrap();
    assert_eq!(metrics.lines().filter(|line| line.starts_with("time,")).count(), 1, "the header stands once");
    assert!(!folder.join("leader.lock").exists() && !folder.join("metrics.csv.partial").exists());
}

#[test]
fn a_run_that_was_ended_goes_on_and_repeats_nothing() {
    resumed_after(Signal::TERM, Some(143), "ended by SIGTERM");
}

#[test]
fn a_run_that_was_killed_goes_on_and_repeats_nothing() {
    resumed_after(Signal::KILL, None, "it was killed");
}

#[test]
fn a_run_that_goes_on_is_left_alone_by_others() {
    let scene = Scene::new();
    let dummy = Dummy::start(&scene, &["--ttft=15ms", "--tpot=1ms"]);
    let mut running = in_its_second_trial(&scene, &three_trials(&dummy));
    let folder = running.run_dir();
    let pid = format!("process {}", running.pid());
    let refused = resume(&scene, &folder, &[]);
    assert_eq!(refused.code, Some(1), "{}", refused.stderr);
    assert!(refused.stderr.contains(&pid) && refused.stderr.contains("is still leading"), "{}", refused.stderr);
    let refused = scene.says(&["report", folder.to_str().unwrap()]);
    assert_eq!(refused.code, Some(1), "{}", refused.stderr);
    assert!(refused.stderr.contains(&pid), "{}", refused.stderr);
    assert!(folder.join("metrics.csv.partial").exists(), "the files of a run that goes on keep their names");
    let run = running.wait().run(0);
    assert_eq!(run.report["trials"].as_array().unwrap().len(), 3);
}

#[test]
fn what_cannot_go_on_is_refused_and_changes_nothing() {
    let scene = Scene::new();
    let dummy = Dummy::start(&scene, &["--ttft=2ms", "--tpot=1ms"]);
    let recipe = three_trials(&dummy).replace("[1, 2, 3]", "2");
    let run = scene.lead(&recipe, &[]).wait().run(0);
    let report = fs::read(run.folder.join("report.json")).unwrap();
    let received = dummy.received();

    let over = resume(&scene, &run.folder, &[]);
    assert_eq!(over.code, Some(0), "{}", over.stderr);
    assert!(over.stderr.contains("nothing to do: every trial"), "{}", over.stderr);
    assert_eq!(over.line()["verdict"], run.report["verdict"]["status"]);

    let other = scene.file("other.yaml", &recipe.replace("gen_tokens: 4", "gen_tokens: 5"));
    let differs = resume(&scene, &run.folder, &["--leader", other.to_str().unwrap()]);
    assert_eq!(differs.code, Some(2), "{}", differs.stderr);
    assert!(differs.stderr.contains("workload.gen_tokens: `4` there, `5` here"), "{}", differs.stderr);

    let no_run = resume(&scene, &scene.path("results"), &[]);
    assert_eq!(no_run.code, Some(2), "{}", no_run.stderr);
    assert!(no_run.stderr.contains("is no run's folder: it has no recipe.yaml"), "{}", no_run.stderr);
    let nowhere = resume(&scene, &scene.path("nowhere"), &[]);
    assert_eq!(nowhere.code, Some(2), "{}", nowhere.stderr);
    assert!(nowhere.stderr.contains("nowhere"), "{}", nowhere.stderr);

    assert_eq!(dummy.received(), received);
    assert_eq!(fs::read(run.folder.join("report.json")).unwrap(), report);
}

#[test]
fn a_run_goes_on_on_other_nodes_and_by_its_recipes_file() {
    let scene = Scene::new();
    let dummy = Dummy::start(&scene, &["--ttft=15ms", "--tpot=1ms"]);
    let recipe = three_trials(&dummy);
    let mut running = in_its_second_trial(&scene, &recipe);
    let folder = running.run_dir();
    running.signal(Signal::INT);
    running.wait().run(130);
    // A later run takes `latest` along, and the resumed one takes it back.
    scene.lead(&recipe.replace("[1, 2, 3]", "1"), &[]).wait().run(0);
    let file = scene.file("again.yaml", &recipe);
    let latest = folder.with_file_name("latest");
    assert_ne!(fs::canonicalize(&latest).unwrap(), folder);
    let run = resume(&scene, &folder, &["--leader", file.to_str().unwrap(), "--local-nodes", "2"]).run(0);
    assert_eq!(run.folder, folder);
    assert_eq!(fs::canonicalize(&latest).unwrap(), folder);
    let trials = run.report["trials"].as_array().unwrap();
    let nodes = |trial: &Value| trial["resources"]["nodes"].as_object().unwrap().len();
    assert_eq!(trials.iter().map(nodes).collect::<Vec<_>>(), [1, 2, 2]);
}

#[test]
fn a_trial_that_would_outlast_the_job_is_not_begun_and_the_rest_goes_on_later() {
    let scene = Scene::new();
    let dummy = Dummy::start(&scene, &["--ttft=15ms", "--tpot=1ms"]);
    let recipe = three_trials(&dummy).replace(&format!("requests: {REQUESTS}"), "duration: [1s, 10m]").replace("[1, 2, 3]", "2");
    let in_a_minute = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs() + 60;
    let mut command = scene.leading(&recipe, &[]);
    command.env("SLURM_JOB_END_TIME", in_a_minute.to_string()).env("HBNODE_END_MARGIN", "5");
    let ended = scene.spawn(command).wait();
    let run = ended.run(143);
    assert!(ended.stderr.contains("no trial is begun that would not be over 5s before"), "{}", ended.stderr);
    let trials = run.report["trials"].as_array().unwrap();
    assert_eq!(trials.len(), 1, "{trials:#?}");
    assert_eq!(trials[0]["complete"], true);
    let reason = run.report["run"]["incomplete_reason"].as_str().unwrap();
    // Ten minutes, and the calibration before them.
    assert!(reason.starts_with("ended by the wall-time limit: duration-10m needs 10m 5s and "), "{reason}");
    let advice = format!("left: duration-10m; `hbnode --resume {}`", run.folder.display());
    assert!(run.complaints().contains(&advice), "{}", run.complaints());

    // The next job is as short: the run ends again, in order, and nothing is measured twice.
    let received = dummy.received();
    let mut command = scene.hbnode();
    command.args(["--json", "--resume"]).arg(&run.folder).env("SLURM_JOB_END_TIME", in_a_minute.to_string());
    let again = scene.spawn(command).wait().run(143);
    assert_eq!(again.report["run"]["parts"].as_array().unwrap().len(), 2);
    assert_eq!(again.report["trials"].as_array().unwrap(), trials);
    assert_eq!(dummy.received(), received);
}

#[test]
fn the_notice_before_the_limit_leads_to_the_report() {
    let scene = Scene::new();
    let dummy = Dummy::start(&scene, &["--ttft=15ms", "--tpot=1ms"]);
    let running = in_its_second_trial(&scene, &three_trials(&dummy));
    running.signal(Signal::USR1);
    let run = running.wait().run(143);
    assert_eq!(run.report["run"]["incomplete_reason"], "ended by SIGUSR1: the wall-time limit is near, or the job was cancelled");
    assert!(run.complaints().contains("left: concurrency-2, concurrency-3"), "{}", run.complaints());
}
