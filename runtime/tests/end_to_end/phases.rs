//! What may go wrong in any phase, at that very phase: processes are held where the test wants them, so that
//! no phase is over before it is looked at.

use std::{fs, process::Command, time::Duration};

use rustix::process::Signal;
use serde_json::Value;

use crate::support::{AT_MOST, Scene, assert_balanced, kill, until};

/// A run that was told to end has so long.
const SOON: Duration = Duration::from_secs(15);

/// A run of a minute on two nodes, the first of which starts its Dummy only after a while.
const RECIPE: &str = "
scenario: phases
orchestration: {mode: local, node_allocation: {servers: {nodes: 1}, clients: {nodes: 1}}}
workload: {service: dummy, model: dummy, concurrency: 2, warmup: 30s, duration: 60s, prompt_len: 8, gen_tokens: 4}
servers:
  service_config: {ttft: 5ms, tpot: 1ms}
";

/// The one process of this scene whose command line has all of these words.
fn process(scene: &Scene, words: &[&str]) -> i32 {
    let left = scene.left();
    let is_it = |line: &str| words.iter().all(|word| line.contains(word)) && !line.contains("__guard");
    left.iter().find(|(_, line)| is_it(line)).unwrap_or_else(|| panic!("no process of {words:?} in {left:?}")).0
}

/// Holds the client's node before it is told anything of this phase, interrupts the run in it, and sees it end.
fn interrupted_in(phase: &str, further: &[&str]) {
    let scene = Scene::new();
    let delay = ["--local-nodes", "2", "--set", "servers.service_config.start_delay=3s"];
    let mut running = scene.lead(RECIPE, &[&delay, further].concat());
    running.event("the server's process", |event| event["fact"].to_string().contains("server_started"));
    kill(process(&scene, &["--ordinal 1 "]), Signal::STOP);
    running.phase(phase);
    running.signal(Signal::INT);
    let run = running.wait_at_most(SOON).run(130);
    assert_eq!(run.report["run"]["incomplete_reason"], "ended by SIGINT");
    let entered = run.events().into_iter().filter(|event| event["event"] == "phase_entered");
    let entered: Vec<String> = entered.map(|event| event["phase"].as_str().unwrap().to_owned()).collect();
    let at = entered.iter().position(|entered| entered == phase).unwrap();
    assert_eq!(entered[at + 1..], ["teardown", "report"], "nothing comes between: {entered:?}");
    scene.assert_nothing_left(Duration::ZERO);
}

#[test]
fn a_signal_in_monitoring_setup_ends_the_run_with_its_report() {
    interrupted_in("monitoring_setup", &[]);
}

#[test]
fn a_signal_in_client_launch_ends_the_run_with_its_report() {
    interrupted_in("client_launch", &["--set", "monitoring.enabled=false"]);
}

#[test]
fn a_signal_in_teardown_changes_nothing() {
    let scene = Scene::new();
    let mut running = scene.lead(RECIPE, &["--set", "workload.warmup=0s", "--set", "workload.duration=1s"]);
    running.event("the server's process", |event| event["fact"].to_string().contains("server_started"));
    // The trial is over, and its server does not react to being told to end.
    let server = process(&scene, &[" dummy --host"]);
    running.event("the load", |event| event["event"] == "load_started");
    running.event("the trial's end", |event| event["event"] == "trial_finished");
    running.phase("teardown");
    kill(server, Signal::STOP);
    running.signal(Signal::INT);
    let run = running.wait_at_most(SOON).run(0);
    assert_eq!(run.report["run"]["complete"], true);
    assert_balanced(run.trial(), &run.rows());
    scene.assert_nothing_left(Duration::ZERO);
}

#[test]
fn a_server_that_dies_in_warm_up_is_named_and_ends_the_run() {
    let scene = Scene::new();
    let mut running = scene.lead(RECIPE, &[]);
    running.event("the load", |event| event["event"] == "load_started");
    let folder = running.run_dir();
    until("a window on disk", AT_MOST, || {
        let spool = fs::metadata(folder.join("trial/batches.partial")).ok()?;
        (spool.len() > 500).then_some(())
    });
    kill(process(&scene, &[" dummy --host"]), Signal::KILL);
    let run = running.wait_at_most(SOON).run(1);
    assert!(run.complaints().contains("server 0"), "{}", run.complaints());
    assert_eq!(run.report["verdict"]["status"], "INVALID");
    let rows = run.rows();
    assert!(!rows.is_empty() && rows.iter().all(|row| row["phase"] == "warmup"), "all of it was warm-up");
    assert_balanced(run.trial(), &rows);
    assert_eq!(run.trial()["accounting"]["due"], 0);
    scene.assert_nothing_left(Duration::ZERO);
}

#[test]
fn a_server_that_dies_in_teardown_keeps_nobody_waiting() {
    let scene = Scene::new();
    let mut running = scene.lead(RECIPE, &["--set", "workload.warmup=0s"]);
    running.event("the load", |event| event["event"] == "load_started");
    let server = process(&scene, &[" dummy --host"]);
    // It cannot end by itself: that it is killed is what ends it.
    kill(server, Signal::STOP);
    running.signal(Signal::TERM);
    running.phase("teardown");
    kill(server, Signal::KILL);
    let run = running.wait_at_most(SOON).run(143);
    assert_eq!(run.report["run"]["incomplete_reason"], "ended by SIGTERM");
    assert_balanced(run.trial(), &run.rows());
    scene.assert_nothing_left(Duration::ZERO);
}

/// The binary as it would be if it had been built from another commit: the same, but for the name of its build.
fn of_another_build(scene: &Scene) -> std::path::PathBuf {
    let said = scene.says(&["--version"]).stdout;
    let build = said.split_whitespace().last().unwrap().as_bytes();
    let mut other = build.to_vec();
    let last = other.last_mut().unwrap();
    *last = if *last == b'0' { b'1' } else { b'0' };
    let mut binary = fs::read(assert_cmd::cargo::cargo_bin!("hbnode")).unwrap();
    let places: Vec<usize> = memchr::memmem::find_iter(&binary, build).collect();
    assert!(!places.is_empty(), "the binary does not hold the build it names");
    for place in places {
        binary[place..place + build.len()].copy_from_slice(&other);
    }
    scene.program("other-hbnode", binary)
}

#[test]
fn a_node_of_another_build_is_turned_away_and_both_sides_say_so() {
    let scene = Scene::new();
    let other = of_another_build(&scene);
    let mut task = scene.leading(RECIPE, &["--join-timeout", "6"]);
    let slurm = [
        ("SLURM_JOB_ID", "7"),
        ("SLURM_STEP_ID", "0"),
        ("SLURM_PROCID", "0"),
        ("SLURM_NTASKS", "2"),
        ("SLURM_STEP_NUM_TASKS", "2"),
    ];
    task.envs(slurm);
    let mut leader = scene.spawn(task);
    leader.word_after("live page: ");
    let way_in = fs::read_dir(scene.path("results/.hbnode")).unwrap().flatten().next().unwrap().path().join("join.json");
    let mut node = std::process::Command::new(other);
    node.arg("--join-file").arg(way_in).args(["--address", "127.0.0.1", "--wait", "10"]);
    let node = scene.spawn(node).wait_at_most(SOON);
    assert_eq!(node.code, Some(4), "{}", node.stderr);
    assert!(node.stderr.contains("build"), "{}", node.stderr);
    let run = leader.wait_at_most(SOON).run(4);
    assert!(run.complaints().contains("build"), "{}", run.complaints());
    assert_eq!(run.report["trials"], Value::Array(Vec::new()));
    scene.assert_nothing_left(SOON);
}

#[test]
fn no_load_begins_before_the_image_of_the_servers_was_read() {
    let scene = Scene::new();
    let hbnode = scene.hbnode().get_program().to_string_lossy().into_owned();
    let served = scene.program("served", format!("#!/bin/sh\nexec {hbnode} dummy \"$@\"\n"));
    // Nobody can read it to its end before somebody has written it.
    let image = scene.path("image.sif");
    assert!(Command::new("mkfifo").arg(&image).status().unwrap().success());
    scene.program("bin/apptainer", "#!/bin/sh\nuntil [ \"$1\" = \"$IMAGE\" ]; do shift; done\nshift\nexec \"$@\"\n");
    let recipe = format!(
        "
scenario: boxed
orchestration: {{mode: local}}
custom_services:
  boxed:
    command: [{}, --host, '{{host}}', --port, '{{port}}']
    ready: {{path: /health}}
    protocol: openai
artifacts: {{runtime: apptainer, service: {{path: {}}}}}
workload: {{service: boxed, model: dummy, concurrency: 1, warmup: 0s, duration: 1s, calibration: off}}
",
        served.display(),
        image.display()
    );
    let mut command = scene.leading(&recipe, &[]);
    command.env("PATH", format!("{}:/usr/bin:/bin", scene.path("bin").display())).env("IMAGE", &image);
    let mut running = scene.spawn(command);
    let is_told = |event: &Value| {
        event["fact"]["server_progressed"]["what"].as_str().is_some_and(|what| what.contains("load waits until the image"))
    };
    running.event("what is waited for", is_told);
    let events = fs::read_to_string(running.run_dir().join("events.jsonl")).unwrap();
    assert!(events.contains("service_deployment") && !events.contains("client_launch"), "{events}");
    fs::write(&image, "an image").unwrap();
    let run = running.wait().run(0);
    let server = &run.trial()["server"]["0"];
    assert!(server["image_digest"].as_str().is_some_and(|digest| digest.starts_with("sha256:")), "{server}");
    assert_eq!(run.report["warnings"], serde_json::json!([]));
}
