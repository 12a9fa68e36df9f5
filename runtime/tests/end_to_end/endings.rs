//! However a run ends, it ends soon, with what it had, and leaves nothing behind.

use std::{fs, net::TcpListener, path::PathBuf, time::Duration};

use rustix::process::Signal;
use serde_json::Value;

use crate::support::{Dummy, Run, Running, Scene, assert_balanced, kill, until};

/// A run that was told to end has so long.
const SOON: Duration = Duration::from_secs(15);

/// A run of a minute against a Dummy that it starts itself.
const LONG: &str = "
scenario: endings
orchestration: {mode: local}
workload:
  service: dummy
  model: dummy
  concurrency: 4
  warmup: 0s
  duration: 60s
  prompt_len: 16
  gen_tokens: 8
servers:
  service_config: {ttft: 10ms, tpot: 1ms}
";

/// Waits until the node itself shows answers.
fn loaded(running: &mut Running) {
    running.event("the load", |event| event["event"] == "load_started");
    let page = running.word_after("live page: http://");
    let (address, token) = page.split_once("/?token=").unwrap();
    until("answers", SOON, || {
        let live = crate::support::send(address, "GET", "/api/live", Some(token), "").ok()?.json();
        let completed = live["nodes"].as_object()?.values().next()?["requests_total"].as_u64()?;
        (completed > 0).then_some(())
    });
}

fn partials(scene: &Scene) -> Vec<PathBuf> {
    fn below(folder: PathBuf) -> Vec<PathBuf> {
        let entries = fs::read_dir(folder).unwrap().flatten().map(|entry| entry.path());
        entries.flat_map(|path| if path.is_dir() && !path.is_symlink() { below(path) } else { vec![path] }).collect()
    }
    below(scene.path("results")).into_iter().filter(|path| path.to_string_lossy().contains(".partial")).collect()
}

fn ended_by(signal: Signal, name: &str, code: i32) {
    let scene = Scene::new();
    let mut running = scene.lead(LONG, &[]);
    loaded(&mut running);
    running.signal(signal);
    let ended = running.wait_at_most(SOON);
    let run = ended.run(code);
    assert_eq!(run.report["run"]["complete"], false);
    assert_eq!(run.report["run"]["incomplete_reason"], format!("ended by {name}"));
    assert_balanced(run.trial(), &run.rows());
    assert!(run.trial()["accounting"]["completed"].as_u64().unwrap() > 0, "{:#}", run.trial()["accounting"]);
    assert_eq!(partials(&scene), Vec::<PathBuf>::new());
    scene.assert_nothing_left(Duration::ZERO);
}

#[test]
fn sigint_ends_a_run_with_a_partial_report() {
    ended_by(Signal::INT, "SIGINT", 130);
}

#[test]
fn sigterm_ends_a_run_with_a_partial_report() {
    ended_by(Signal::TERM, "SIGTERM", 143);
}

#[test]
fn a_signal_while_servers_are_waited_for_ends_the_run_too() {
    let scene = Scene::new();
    let mut running = scene.lead(LONG, &["--set", "servers.service_config.start_delay=1m"]);
    running.event("the server's process", |event| event["fact"].to_string().contains("server_started"));
    running.signal(Signal::INT);
    let run = running.wait_at_most(SOON).run(130);
    assert_eq!(run.report["trials"], Value::Array(Vec::new()));
    assert_eq!(run.report["verdict"]["status"], "INVALID");
    scene.assert_nothing_left(Duration::ZERO);
}

#[test]
fn a_signal_to_the_process_and_its_group_is_one_asking() {
    let scene = Scene::new();
    let mut running = scene.lead(LONG, &[]);
    loaded(&mut running);
    // Two that differ are both delivered; two alike could be merged on the way.
    running.signal(Signal::TERM);
    running.signal(Signal::INT);
    let ended = running.wait_at_most(SOON);
    assert!(ended.line()["run_dir"].is_string(), "{}", ended.stderr);
    assert!([Some(130), Some(143)].contains(&ended.code), "{}", ended.stderr);
    scene.assert_nothing_left(Duration::ZERO);
}

/// Makes the Dummy of this scene hang.
fn hang_server(scene: &Scene) {
    let server = scene.left().into_iter().find(|(_, line)| line.contains(" dummy --host") && !line.contains("__guard"));
    kill(server.unwrap().0, Signal::STOP);
}

#[test]
fn a_server_that_does_not_react_keeps_nobody_waiting() {
    let scene = Scene::new();
    let mut running = scene.lead(LONG, &[]);
    loaded(&mut running);
    hang_server(&scene);
    running.signal(Signal::TERM);
    let run = running.wait_at_most(SOON).run(143);
    assert_balanced(run.trial(), &run.rows());
    scene.assert_nothing_left(Duration::ZERO);
}

#[test]
fn a_run_that_is_killed_while_its_server_takes_its_time_has_its_report_already() {
    let scene = Scene::new();
    let mut running = scene.lead(LONG, &[]);
    loaded(&mut running);
    hang_server(&scene);
    running.signal(Signal::TERM);
    let folder = running.run_dir();
    until("the report", SOON, || folder.join("report.json").exists().then_some(()));
    let phases = || fs::read_to_string(folder.join("events.jsonl")).unwrap();
    assert!(!phases().contains(r#""phase":"report""#), "its server is still waited for");
    // As Slurm does when the time is over that it gives after SIGTERM.
    running.signal(Signal::KILL);
    assert_eq!(running.wait_at_most(SOON).code, None);
    let run = Run::read(&folder);
    assert_eq!(run.report["run"]["incomplete_reason"], "ended by SIGTERM");
    assert_eq!(run.report["run"]["parts"][0]["ended_because"], "ended by SIGTERM");
    assert!(run.reasons().contains("interrupted"), "{:?}", run.reasons());
    assert_balanced(run.trial(), &run.rows());
    for file in ["manifest.json", "summary.md", "report.html"] {
        assert!(folder.join(file).exists(), "{file}");
    }
    scene.assert_nothing_left(SOON);
    let again = scene.says(&["report", folder.to_str().unwrap()]);
    assert_eq!(again.code, Some(0), "{}", again.stderr);
}

#[test]
fn a_second_signal_ends_at_once_and_the_guardian_ends_the_server() {
    let scene = Scene::new();
    let mut running = scene.lead(LONG, &[]);
    loaded(&mut running);
    // A server that does not react makes teardown take its time.
    hang_server(&scene);
    running.signal(Signal::INT);
    running.word_after("SIGINT: ending the run ");
    // Signals that come together are one asking, so it is asked until it is heard.
    until("the second to be heard", SOON, || {
        running.signal(Signal::INT);
        running.stderr().contains("SIGINT again").then_some(())
    });
    let ended = running.wait_at_most(Duration::from_secs(1));
    assert_eq!(ended.code, Some(130), "{}", ended.stderr);
    assert!(ended.stderr.contains("SIGINT again"), "{}", ended.stderr);
    scene.assert_nothing_left(SOON);
}

#[test]
fn a_port_that_was_asked_for_and_is_taken_is_an_error_that_names_its_owner() {
    let scene = Scene::new();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let ended = scene.lead(LONG, &["--client-port", &port]).wait_at_most(SOON);
    assert_eq!(ended.code, Some(2), "{}", ended.stderr);
    for word in ["--client-port", &port, &format!("process {}", std::process::id())] {
        assert!(ended.stderr.contains(word), "`{word}` is not in: {}", ended.stderr);
    }
    assert_eq!(ended.line(), serde_json::json!({"run_dir": null, "verdict": null, "exit_code": 2}));
    assert!(!scene.path("results").exists(), "nothing has begun");

    let ended = scene.lead(LONG, &["--server-port", &port]).wait_at_most(SOON);
    let run = ended.run(1);
    assert!(run.complaints().contains(&format!("process {}", std::process::id())), "{}", run.complaints());
    scene.assert_nothing_left(Duration::ZERO);
}

#[test]
fn results_that_cannot_be_written_are_an_error_before_the_load() {
    let scene = Scene::new();
    scene.file("results", "a file");
    let ended = scene.lead(LONG, &[]).wait_at_most(SOON);
    assert_eq!(ended.code, Some(2));
    assert!(ended.stderr.contains("results/endings") && ended.stderr.contains("--results"), "{}", ended.stderr);
    assert_eq!(ended.line(), serde_json::json!({"run_dir": null, "verdict": null, "exit_code": 2}));
    scene.assert_nothing_left(Duration::ZERO);
}

/// A folder of this size, if this process may mount one. It is unmounted with this value.
struct Small(PathBuf);

impl Small {
    fn mount(scene: &Scene, size: &str) -> Option<Self> {
        let folder = scene.path("results");
        fs::create_dir(&folder).unwrap();
        let mut mount = std::process::Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", &format!("size={size}"), "tmpfs"]).arg(&folder);
        let is_mounted = mount.output().is_ok_and(|output| output.status.success());
        if !is_mounted {
            println!("SKIPPED: this process may not mount a file system");
        }
        is_mounted.then_some(Self(folder))
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        let _ = std::process::Command::new("umount").arg("-l").arg(&self.0).output();
    }
}

#[test]
fn a_disk_without_room_is_an_error_before_the_load() {
    let scene = Scene::new();
    let Some(_small) = Small::mount(&scene, "1m") else { return };
    let ended = scene.lead(LONG, &[]).wait_at_most(SOON);
    assert_eq!(ended.code, Some(1));
    assert!(ended.stderr.contains("MiB are free"), "{}", ended.stderr);
}

#[test]
fn a_disk_that_fills_up_ends_the_run_with_what_could_be_saved() {
    let scene = Scene::new();
    let Some(small) = Small::mount(&scene, "40m") else { return };
    let mut running = scene.lead(LONG, &["--set", "workload.duration=3s"]);
    loaded(&mut running);
    let filler = small.0.join("filler");
    // Until nothing more goes in: that it fails is the point.
    assert!(fs::write(&filler, vec![0u8; 41 << 20]).is_err());
    let ended = running.wait();
    assert_eq!(ended.code, Some(1), "{}", ended.stderr);
    assert!(ended.stderr.contains("could not be written") || ended.stderr.contains("is incomplete"), "{}", ended.stderr);
    assert!(ended.stderr.contains("report.json"), "it does not say that the report is missing: {}", ended.stderr);
    assert_eq!(ended.line()["exit_code"], 1);
    scene.assert_nothing_left(Duration::ZERO);
}

/// The way in of a run that goes on.
fn join_file(running: &mut Running, scene: &Scene) -> Value {
    running.event("the load", |event| event["event"] == "load_started");
    let folder = scene.path("results/.hbnode");
    let path = fs::read_dir(folder).unwrap().flatten().next().unwrap().path().join("join.json");
    serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap()
}

#[test]
fn who_cannot_join_says_why_and_disturbs_nobody() {
    let (scene, other) = (Scene::new(), Scene::new());
    let dummy = Dummy::start(&scene, &["--ttft=5ms", "--tpot=1ms"]);
    let recipe = LONG.replace("service: dummy", "service: openai").replace("60s", "8s");
    let recipe = recipe.replace("service_config: {ttft: 10ms, tpot: 1ms}", &format!("endpoints: ['{}']", dummy.url()));
    let (mut one, mut two) = (scene.lead(&recipe, &[]), other.lead(&recipe, &[]));
    let (own, foreign) = (join_file(&mut one, &scene), join_file(&mut two, &other));

    let refused = |name: &str, way_in: Option<Value>, said: &[&str]| {
        let path = scene.path(name);
        if let Some(way_in) = way_in {
            fs::write(&path, way_in.to_string()).unwrap();
            fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
        }
        let ended = scene.start(&["--join-file", name, "--wait", "1", "--address", "127.0.0.1"]).wait_at_most(SOON);
        assert_eq!(ended.code, Some(4), "{name}: {}", ended.stderr);
        for word in said {
            assert!(ended.stderr.contains(word), "{name}: `{word}` is not in: {}", ended.stderr);
        }
    };
    let with = |key: &str, value: &Value| {
        let mut changed = own.clone();
        changed[key] = value.clone();
        changed
    };
    refused("none.json", None, &["none.json", "1 s"]);
    refused("garbage.json", Some(Value::from("garbage")), &["garbage.json", "not a join file"]);
    refused("cookie.json", Some(with("cookie", &foreign["cookie"])), &["cookie"]);
    let mut stranger = foreign.clone();
    stranger["address"] = own["address"].clone();
    refused("foreign.json", Some(stranger), &["certificate"]);
    refused("gone.json", Some(with("address", &Value::from("127.0.0.1:1"))), &["127.0.0.1:1"]);

    for running in [one, two] {
        let ended = running.wait();
        let run = ended.run(ended.code.unwrap());
        assert_eq!(run.report["run"]["complete"], true);
        assert_balanced(run.trial(), &run.rows());
        assert_eq!(run.trial()["accounting"]["due"], run.trial()["accounting"]["completed"]);
    }
}
