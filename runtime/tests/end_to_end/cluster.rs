//! Several node processes on this machine: they send what one would, and whoever dies is named, written off
//! and gone.

use std::{collections::BTreeSet, time::Duration};

use rustix::process::{Pid, Signal, WaitOptions, getpid, set_child_subreaper, waitpid};
use serde_json::Value;

use crate::support::{Dummy, Run, Running, Scene, assert_balanced, kill, until};

const LIMIT: Duration = Duration::from_secs(25);

/// A load on servers of this machine.
pub(crate) fn recipe(load: &str, servers: &str) -> String {
    let service = if servers.starts_with("endpoints") { "openai" } else { "dummy" };
    format!(
        "
scenario: cluster
orchestration: {{mode: local}}
workload:
  service: {service}
  model: dummy
  warmup: 0s
  prompt_len: 8
  gen_tokens: 8
  {load}
servers:
  {servers}
metadata: {{seed: 3}}
"
    )
}

fn endpoint(dummy: &Dummy) -> String {
    format!("endpoints: ['{}']", dummy.url())
}

/// The most requests that were in flight at once, from the rows. A lost one ends when its loss was seen.
fn most_in_flight(rows: &[Value]) -> i64 {
    let mut changes: Vec<(f64, i64)> = Vec::new();
    for row in rows {
        if let (Some(sent), Some(end)) = (row["sent"].as_f64(), row["end"].as_f64()) {
            changes.extend([(sent, 1), (end, -1)]);
        }
    }
    changes.sort_by(|one, other| one.partial_cmp(other).unwrap());
    changes.iter().scan(0, |now, (_, change)| Some(*now + change).inspect(|in_flight| *now = *in_flight)).max().unwrap_or(0)
}

/// The process of the node with this ordinal.
fn worker(scene: &Scene, ordinal: u32) -> i32 {
    let is_it = |line: &str| line.contains(&format!("--ordinal {ordinal} "));
    scene.left().into_iter().find(|(_, line)| is_it(line)).unwrap_or_else(|| panic!("no node {ordinal}: {:?}", scene.left())).0
}

/// Waits until the load runs.
fn loaded(running: &mut Running, dummy: &Dummy) {
    running.event("the load", |event| event["event"] == "load_started");
    let ready = dummy.received();
    until("requests", LIMIT, || (dummy.received() > ready + 20).then_some(()));
}

fn lost(run: &Run) -> u64 {
    run.trial()["accounting"]["lost"].as_u64().unwrap()
}

#[test]
fn three_nodes_send_what_one_would() {
    let scene = Scene::new();
    let dummy = Dummy::start(&scene, &["--ttft=2ms", "--tpot=1ms"]);
    let load = "target_rps: 150\n  request_distribution: poisson\n  duration: 2s";
    let due = |further: &[&str]| {
        let ended = scene.lead(&recipe(load, &endpoint(&dummy)), further).wait();
        let run = ended.run(ended.code.unwrap());
        let rows = run.rows();
        assert_balanced(run.trial(), &rows);
        let due: BTreeSet<(u64, u64)> =
            rows.iter().map(|row| (row["index"].as_u64().unwrap(), row["due"].as_f64().unwrap().to_bits())).collect();
        let nodes: BTreeSet<String> = rows.iter().map(|row| row["node"].to_string()).collect();
        (due, nodes.len())
    };
    let (one, three) = (due(&[]), due(&["--local-nodes", "3"]));
    assert_eq!((one.1, three.1), (1, 3));
    assert!(one.0.len() > 200, "{}", one.0.len());
    assert_eq!(one.0, three.0);
}

#[test]
fn an_executor_that_fails_takes_its_share_up_again_and_never_doubles_it() {
    let scene = Scene::new();
    let dummy = Dummy::start(&scene, &["--ttft=50ms", "--tpot=5ms"]);
    let load = "concurrency: 8\n  duration: 4s\n  drills: [{at: 1500ms, kill: executor}]";
    let ended = scene.lead(&recipe(load, &endpoint(&dummy)), &[]).wait();
    let run = ended.run(0);
    assert_eq!(run.report["verdict"]["status"], "SUSPECT", "{}", run.complaints());
    assert!(run.reasons().contains("executor_restarted"), "{:?}", run.reasons());
    let rows = run.rows();
    assert_balanced(run.trial(), &rows);
    assert!((1..=8).contains(&lost(&run)), "{} lost", lost(&run));
    let epochs: BTreeSet<u64> = rows.iter().map(|row| row["epoch"].as_u64().unwrap()).collect();
    assert_eq!(epochs, BTreeSet::from([0, 1]));
    assert!(most_in_flight(&rows) <= 8, "{} in flight", most_in_flight(&rows));
    // The server saw every request that was sent, and the one that asked whether it is ready.
    let sent = rows.iter().filter(|row| !row["sent"].is_null()).count() as u64;
    assert_eq!(dummy.received(), sent + 1);
}

#[test]
fn an_executor_that_fails_too_often_ends_the_run_with_its_report() {
    let scene = Scene::new();
    let dummy = Dummy::start(&scene, &["--ttft=50ms", "--tpot=5ms"]);
    let drills: Vec<String> = (1..=6).map(|at| format!("{{at: {at}s, kill: executor}}")).collect();
    let load = format!("concurrency: 4\n  duration: 20s\n  drills: [{}]", drills.join(", "));
    let run = scene.lead(&recipe(&load, &endpoint(&dummy)), &[]).wait_at_most(LIMIT).run(1);
    assert!(run.complaints().contains("more often than is borne"), "{}", run.complaints());
    assert_balanced(run.trial(), &run.rows());
    assert!(lost(&run) >= 4, "{} lost", lost(&run));
}

#[test]
fn a_server_that_is_killed_is_named_and_ends_the_run() {
    let scene = Scene::new();
    let load = "concurrency: 4\n  duration: 30s\n  drills: [{at: 1s, kill: server}]";
    let ended = scene.lead(&recipe(load, "service_config: {ttft: 20ms, tpot: 2ms}"), &[]).wait_at_most(LIMIT);
    let run = ended.run(1);
    assert!(run.complaints().contains("server 0"), "{}", run.complaints());
    assert!(run.reasons().contains("server_exited"), "{:?}", run.reasons());
    assert_balanced(run.trial(), &run.rows());
    scene.assert_nothing_left(Duration::ZERO);
}

#[test]
fn a_node_that_is_killed_is_named_and_the_others_go_on() {
    let scene = Scene::new();
    let dummy = Dummy::start(&scene, &["--ttft=20ms", "--tpot=2ms"]);
    let load = "concurrency: 6\n  duration: 4s\n  drills: [{at: 1500ms, kill: node}]";
    let ended = scene.lead(&recipe(load, &endpoint(&dummy)), &["--local-nodes", "3"]).wait();
    let run = ended.run(ended.code.unwrap());
    let gone: Vec<Value> = run.events().into_iter().filter(|event| event["event"] == "node_lost").collect();
    assert_eq!(gone.len(), 1, "{gone:?}");
    assert!(run.complaints().contains(gone[0]["node"].as_str().unwrap()), "{}", run.complaints());
    assert!(run.reasons().contains("node_lost"), "{:?}", run.reasons());
    assert_balanced(run.trial(), &run.rows());
    assert!(lost(&run) >= 1);
    drop(dummy);
    scene.assert_nothing_left(Duration::ZERO);
}

#[test]
fn a_killed_worker_with_a_server_ends_the_run_and_its_server_ends_with_it() {
    let scene = Scene::new();
    let load = "concurrency: 4\n  duration: 30s";
    let servers = "service_config: {ttft: 20ms, tpot: 2ms}";
    let allocation = "orchestration: {mode: local, node_allocation: {servers: {nodes: 1}, clients: {nodes: 2}}}";
    let recipe = recipe(load, servers).replace("orchestration: {mode: local}", allocation);
    let mut running = scene.lead(&recipe, &["--local-nodes", "3"]);
    running.event("the load", |event| event["event"] == "load_started");
    kill(worker(&scene, 0), Signal::KILL);
    let run = running.wait_at_most(LIMIT).run(1);
    assert!(run.complaints().contains("was lost"), "{}", run.complaints());
    assert_balanced(run.trial(), &run.rows());
    scene.assert_nothing_left(Duration::from_secs(10));
}

#[test]
fn workers_of_a_killed_leader_end_by_themselves_and_their_servers_with_them() {
    // Whose parent is gone becomes a child of this process, which can then see how it ended.
    set_child_subreaper(Some(getpid())).unwrap();
    let scene = Scene::new();
    let mut running =
        scene.lead(&recipe("concurrency: 4\n  duration: 60s", "service_config: {ttft: 20ms}"), &["--local-nodes", "2"]);
    running.event("the load", |event| event["event"] == "load_started");
    let workers = [worker(&scene, 0), worker(&scene, 1)];
    let folder = running.run_dir();
    until("a window on disk", LIMIT, || {
        let spool = std::fs::metadata(folder.join("trial/batches.partial")).ok()?;
        (spool.len() > 1000).then_some(())
    });
    running.signal(Signal::KILL);
    running.wait_at_most(LIMIT);
    for pid in workers {
        let status = until("the end of a worker", LIMIT, || {
            let pid = Pid::from_raw(pid).unwrap();
            // Not ours yet while its parent is being buried.
            waitpid(Some(pid), WaitOptions::NOHANG).ok().flatten()
        });
        assert_eq!(status.1.exit_status(), Some(4), "{status:?}");
    }
    scene.assert_nothing_left(Duration::from_secs(10));

    // What it had written down until then is a report.
    let folder = std::fs::canonicalize(scene.path("results/cluster/latest")).unwrap();
    let rebuilt = scene.says(&["report", folder.to_str().unwrap()]);
    assert_eq!(rebuilt.code, Some(0), "{}", rebuilt.stderr);
    let run = Run::read(&folder);
    assert_eq!(run.report["run"]["complete"], false);
    assert!(run.trial()["accounting"]["completed"].as_u64().unwrap() > 0, "{:#}", run.trial()["accounting"]);
    assert_balanced(run.trial(), &run.rows());
}

#[test]
fn a_worker_that_hangs_is_noticed_and_written_off() {
    let scene = Scene::new();
    let dummy = Dummy::start(&scene, &["--ttft=20ms", "--tpot=2ms"]);
    let mut running = scene.lead(&recipe("concurrency: 6\n  duration: 5s", &endpoint(&dummy)), &["--local-nodes", "3"]);
    loaded(&mut running, &dummy);
    kill(worker(&scene, 1), Signal::STOP);
    let ended = running.wait();
    let run = ended.run(ended.code.unwrap());
    let gone: Vec<Value> = run.events().into_iter().filter(|event| event["event"] == "node_lost").collect();
    assert_eq!(gone.len(), 1, "{}", run.complaints());
    assert!(run.reasons().contains("node_lost"), "{:?}", run.reasons());
    assert_balanced(run.trial(), &run.rows());
    drop(dummy);
    scene.assert_nothing_left(Duration::ZERO);
}
