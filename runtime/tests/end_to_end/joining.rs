//! How a cluster forms where every task of a step gets the same command line, and what it says when it does not.

use std::{io::Write as _, net::TcpStream, process::Command, time::Duration};

use rustix::process::Signal;

use crate::support::{Dummy, Scene, assert_balanced, until};

const LIMIT: Duration = Duration::from_secs(20);

const RECIPE: &str = "
scenario: joining
partition: cpu
account: p1
orchestration:
  mode: slurm
  total_nodes: 2
  node_allocation: {servers: {nodes: 1}, clients: {nodes: 1}}
  job_config: {time_limit: '00:10:00'}
resources:
  servers: {gpus: 0, cpus_per_task: 1, mem_gb: 1}
  clients: {gpus: 0, cpus_per_task: 1, mem_gb: 1}
workload: {service: dummy, model: dummy, concurrency: 2, warmup: 0s, duration: 60s, prompt_len: 8, gen_tokens: 4}
artifacts: {runtime: bare}
";

/// A task of a step of two, as Slurm starts it.
fn task(scene: &Scene, rank: &str, further: &[&str]) -> Command {
    let mut command = scene.leading(RECIPE, further);
    let variables = [("JOB_ID", "7"), ("STEP_ID", "0"), ("PROCID", rank), ("NTASKS", "2"), ("STEP_NUM_TASKS", "2")];
    command.envs(variables.map(|(name, value)| (format!("SLURM_{name}"), value)));
    command
}

#[test]
fn nodes_that_do_not_come_are_counted_and_the_run_ends() {
    let scene = Scene::new();
    let ended = scene.spawn(task(&scene, "0", &["--join-timeout", "2"])).wait_at_most(LIMIT);
    let run = ended.run(4);
    assert!(run.complaints().contains("1 of 2 nodes joined"), "{}", run.complaints());
    assert_eq!(run.report["trials"], serde_json::json!([]));
    scene.assert_nothing_left(Duration::ZERO);
}

#[test]
fn a_signal_while_nodes_are_waited_for_ends_the_run() {
    let scene = Scene::new();
    let mut running = scene.spawn(task(&scene, "0", &[]));
    running.phase("initialization");
    running.word_after("live page: ");
    running.signal(Signal::INT);
    running.wait_at_most(LIMIT).run(130);
    scene.assert_nothing_left(Duration::ZERO);
}

#[test]
fn two_tasks_on_one_host_are_refused_with_advice() {
    let scene = Scene::new();
    let (leader, node) = (scene.spawn(task(&scene, "0", &[])), scene.spawn(task(&scene, "1", &["--wait", "15"])));
    let ended = leader.wait_at_most(LIMIT);
    let run = ended.run(4);
    assert!(run.complaints().contains("--ntasks-per-node=1"), "{}", run.complaints());
    let node = node.wait_at_most(LIMIT);
    assert_eq!(node.stdout, "", "only rank 0 has a voice on stdout");
    scene.assert_nothing_left(LIMIT);
}

/// A leader that refuses with `further` words, and a node that waits for it: what the leader says and how both end.
fn gives_up(scene: &Scene, further: &[&str], of_node: &[&str], reason: &str, code: i32) {
    let node = scene.spawn(task(scene, "1", of_node));
    let leader = scene.spawn(task(scene, "0", further)).wait_at_most(LIMIT);
    assert_eq!(leader.code, Some(code), "{}", leader.stderr);
    assert_eq!(leader.stderr.matches(reason).count(), 1, "{}", leader.stderr);
    let node = node.wait_at_most(LIMIT);
    assert_eq!(node.code, Some(code), "{}", node.stderr);
    let told = usize::from(of_node.is_empty());
    assert_eq!(node.stderr.matches(reason).count(), told, "{}", node.stderr);
    assert_eq!(node.stderr.matches("the leader ended before the run began").count(), told, "{}", node.stderr);
    assert!(!scene.path("results/.hbnode").exists(), "the mark is gone");
    scene.assert_nothing_left(Duration::ZERO);
}

#[test]
fn a_leader_that_refuses_ends_the_nodes_that_wait_for_it() {
    let taken = std::net::TcpListener::bind("0.0.0.0:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    gives_up(&Scene::new(), &["--client-port", &port], &[], "cannot listen (--client-port)", 2);
    gives_up(&Scene::new(), &["--set", "workload.duration=soon"], &[], "workload.duration: found", 2);
    gives_up(
        &Scene::new(),
        &["--set", "orchestration.node_allocation.clients.nodes=2", "--set", "orchestration.total_nodes=3"],
        &[],
        "the recipe needs 3 nodes",
        4,
    );
}

#[test]
fn what_every_task_refuses_is_said_once() {
    let wrong = ["--set", "workload.duration=soon"];
    gives_up(&Scene::new(), &wrong, &wrong, "workload.duration: found", 2);
}

#[test]
fn a_mark_that_cannot_be_left_is_replaced_by_a_signal_to_the_step() {
    let scene = Scene::new();
    scene.file("results", "a file, where a folder is needed");
    let called = scene.path("called");
    scene.program("bin/scancel", format!("#!/bin/sh\necho \"$@\" >'{}'\n", called.display()));
    let mut leader = task(&scene, "0", &[]);
    leader.env("PATH", scene.path("bin"));
    let leader = scene.spawn(leader).wait_at_most(LIMIT);
    assert_eq!(leader.code, Some(2), "{}", leader.stderr);
    let told = until("scancel", LIMIT, || std::fs::read_to_string(&called).ok().filter(|text| text.ends_with('\n')));
    assert_eq!(told, "--signal=TERM 7.0\n");
}

#[test]
fn a_task_that_alone_cannot_be_a_node_says_so() {
    let scene = Scene::new();
    let mut leader = scene.spawn(task(&scene, "0", &["--join-timeout", "15"]));
    leader.word_after("live page: ");
    let node = scene.spawn(task(&scene, "1", &["--set", "workload.duration=soon"])).wait_at_most(LIMIT);
    assert_eq!(node.code, Some(2), "{}", node.stderr);
    assert!(
        node.stderr.contains("of rank 1, cannot be a node") && node.stderr.contains("workload.duration: found"),
        "{}",
        node.stderr
    );
    leader.signal(Signal::INT);
    leader.wait_at_most(LIMIT);
}

#[test]
fn a_crowd_that_is_too_small_is_refused_with_advice() {
    let scene = Scene::new();
    let sets = ["orchestration.mode=local", "orchestration.total_nodes=3", "orchestration.node_allocation.clients.nodes=2"];
    let mut words: Vec<&str> = sets.iter().flat_map(|set| ["--set", set]).collect();
    words.extend(["--local-nodes", "2"]);
    let ended = scene.lead(RECIPE, &words).wait_at_most(LIMIT);
    assert_eq!(ended.code, Some(4));
    assert!(ended.stderr.contains("--local-nodes 3"), "{}", ended.stderr);
}

#[test]
fn strangers_at_the_door_disturb_nobody() {
    let scene = Scene::new();
    let dummy = Dummy::start(&scene, &["--ttft=5ms", "--tpot=1ms"]);
    let recipe = format!(
        "
scenario: strangers
orchestration: {{mode: local}}
workload: {{service: openai, model: dummy, concurrency: 2, warmup: 0s, duration: 4s, prompt_len: 8, gen_tokens: 4}}
servers: {{endpoints: ['{}']}}
",
        dummy.url()
    );
    let mut running = scene.lead(&recipe, &["--local-nodes", "2"]);
    running.event("the load", |event| event["event"] == "load_started");
    let state = std::fs::read_dir(scene.path("results/.hbnode")).unwrap().flatten().next().unwrap().path();
    let way_in: serde_json::Value = serde_json::from_slice(&std::fs::read(state.join("join.json")).unwrap()).unwrap();
    let door = way_in["address"].as_str().unwrap();
    // Silent ones are kept open until the run is over; the leader may turn any of them away.
    let mut silent = Vec::new();
    for number in 0..1000 {
        let Ok(mut stranger) = TcpStream::connect(door) else { continue };
        if number % 2 == 0 {
            let _ = stranger.write_all(&[number as u8; 4096]);
        }
        silent.push(stranger);
    }
    assert!(silent.len() > 100, "only {} got as far as the door", silent.len());
    let ended = running.wait();
    let run = ended.run(ended.code.unwrap());
    assert_eq!(run.report["run"]["complete"], true, "{}", run.complaints());
    assert_balanced(run.trial(), &run.rows());
    assert_eq!(run.trial()["accounting"]["due"], run.trial()["accounting"]["completed"]);
    assert!(run.report["warnings"].to_string().contains("was refused"), "{}", run.complaints());
}
