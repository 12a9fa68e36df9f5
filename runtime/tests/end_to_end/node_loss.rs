//! A node that is killed while load runs, and what `on_node_loss` makes of it: the run fails, goes on with less, or the
//! nodes that are left do what the lost one left undone.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use rustix::process::Signal;
use serde_json::Value;

use crate::{
    cluster,
    support::{Dummy, Run, Scene, assert_balanced, kill},
};

const LIMIT: Duration = Duration::from_secs(40);

fn recipe(on_node_loss: &str, load: &str, servers: &str) -> String {
    cluster::recipe(load, servers).replace("{mode: local}", &format!("{{mode: local, on_node_loss: {on_node_loss}}}"))
}

/// A load on three client nodes whose last one is killed a second after its start.
fn lose_a_client(on_node_loss: &str, load: &str, code: i32) -> (Run, Vec<Value>, Option<(u64, f64)>) {
    let Disturbed { run, rows, handed_on, .. } = disturb(on_node_loss, load, "{at: 1s, kill: node}", code);
    assert!(run.reasons().contains("node_lost"), "{:?}", run.reasons());
    (run, rows, handed_on)
}

/// What a load with drills came to.
pub(crate) struct Disturbed {
    pub run: Run,
    pub rows: Vec<Value>,
    /// The lost executor, and from when on others do what it left.
    pub handed_on: Option<(u64, f64)>,
    /// Requests that reached the server.
    pub received: u64,
}

/// Lines of the file of prompts that a load with drills may ask with.
const PROMPTS: u64 = 100_000;

/// A load with these drills on three client nodes.
pub(crate) fn disturb(on_node_loss: &str, load: &str, drills: &str, code: i32) -> Disturbed {
    let scene = Scene::new();
    let dummy = Dummy::start(&scene, &["--ttft=20ms", "--tpot=2ms"]);
    let prompts: String = (0..PROMPTS).map(|line| format!("prompt {line}\n")).collect();
    scene.file("prompts.txt", &prompts);
    let load = format!("{load}\n  drills: [{drills}]");
    let recipe = recipe(on_node_loss, &load, &format!("endpoints: ['{}']", dummy.url()));
    let run = scene.lead(&recipe, &["--local-nodes", "3"]).wait_at_most(LIMIT).run(code);
    let rows = run.rows();
    assert_balanced(run.trial(), &rows);
    let indices: BTreeSet<u64> = rows.iter().map(|row| row["index"].as_u64().unwrap()).collect();
    assert_eq!(indices.len(), rows.len(), "no request is counted twice");
    let received = dummy.received();
    drop(dummy);
    scene.assert_nothing_left(Duration::ZERO);
    Disturbed { handed_on: handed_on(&run), run, rows, received }
}

/// What was told of the taking over: the lost executor, and from when on others do what it left.
fn handed_on(run: &Run) -> Option<(u64, f64)> {
    let event = run.events().into_iter().find(|event| event["event"] == "load_handed_on")?;
    Some((event["left_by"][0].as_u64().unwrap(), event["since_seconds"].as_f64().unwrap()))
}

pub(crate) const OPEN: &str = "target_rps: 60\n  request_distribution: poisson\n  duration: 12s";

#[test]
fn an_open_loop_keeps_its_schedule_where_others_take_over_what_a_lost_node_left() {
    let (run, rows, handed_on) = lose_a_client("redistribute", OPEN, 3);
    let (lost_executor, since) = handed_on.expect("others take over");
    let events = run.trial()["events"].to_string();
    assert!(events.contains("load_handed_on") && events.contains("node_lost"), "{events}");
    let executor = |row: &Value| row["executor"].as_u64().unwrap();
    // The schedule is what one node alone sends.
    let alone = {
        let scene = Scene::new();
        let dummy = Dummy::start(&scene, &["--ttft=20ms", "--tpot=2ms"]);
        let recipe = recipe("redistribute", OPEN, &format!("endpoints: ['{}']", dummy.url()));
        scene.lead(&recipe, &[]).wait_at_most(LIMIT).run(0).rows()
    };
    let due = |rows: &[Value]| -> BTreeMap<u64, u64> {
        rows.iter().map(|row| (row["index"].as_u64().unwrap(), row["due"].as_f64().unwrap().to_bits())).collect()
    };
    assert_eq!(due(&rows), due(&alone), "the same requests at the same instants");
    for row in rows.iter().filter(|row| row["index"].as_u64().unwrap() % 3 == lost_executor) {
        let is_before = row["due"].as_f64().unwrap() < since;
        assert_eq!(executor(row) == lost_executor, is_before, "{row}");
        assert!(is_before || row["outcome"] == "completed", "{row}");
    }
    assert!(rows.iter().all(|row| row["outcome"] != "lost" || executor(row) == lost_executor));
    let heirs: BTreeSet<&str> = rows.iter().filter(|row| executor(row) >= 3).map(|row| row["node"].as_str().unwrap()).collect();
    assert_eq!(heirs.len(), 2, "both that are left have a part: {heirs:?}");
    // A third of the schedule is missing for the seconds in which the loss was not seen.
    assert!(run.reasons().contains("achieved_rate"), "{:?}", run.reasons());
}

#[test]
fn the_clients_of_a_lost_node_move_to_the_others() {
    let load = "concurrency: 6\n  duration: 12s\n  dataset: prompts.txt";
    let (run, rows, handed_on) = lose_a_client("redistribute", load, 0);
    assert_eq!(run.report["verdict"]["status"], "SUSPECT", "{}", run.complaints());
    let (_, since) = handed_on.expect("others take over");
    let in_flight_at = |at: f64| {
        let is_there =
            |row: &&Value| row["sent"].as_f64().is_some_and(|sent| sent <= at) && row["end"].as_f64().is_some_and(|end| end > at);
        rows.iter().filter(is_there).count()
    };
    let samples = |from: f64, to: f64| {
        let at = (0..100).map(|step| from + (to - from) * f64::from(step) / 100.0);
        at.map(in_flight_at).sum::<usize>() as f64 / 100.0
    };
    let (gap, after) = (samples(since - 3.0, since - 0.5), samples(since + 0.5, 11.5));
    assert!(gap < 4.5 && after > 5.0, "{gap} in flight before others took over, and {after} afterwards");
    // Who takes over asks with numbers far behind, and so with entries that nobody has asked with.
    let entries: BTreeSet<u64> = rows.iter().map(|row| row["index"].as_u64().unwrap() % PROMPTS).collect();
    let dataset = &run.trial()["dataset"];
    assert_eq!((entries.len(), &dataset["repeated"], &dataset["most_often"]), (rows.len(), &0.into(), &1.into()), "{dataset}");
}

#[test]
fn a_number_of_requests_is_asked_whoever_is_lost() {
    let (_, rows, handed_on) = lose_a_client("redistribute", "concurrency: 6\n  requests: 1500", 0);
    assert!(handed_on.is_some());
    assert_eq!(rows.len(), 1500);
}

#[test]
fn where_the_run_only_goes_on_nobody_does_what_a_lost_node_left() {
    let (_, rows, handed_on) = lose_a_client("continue", OPEN, 3);
    assert_eq!(handed_on, None);
    let lost: Vec<u64> = rows.iter().filter(|row| row["outcome"] == "lost").map(|row| row["index"].as_u64().unwrap()).collect();
    let lost_executor = lost.first().expect("its share is lost") % 3;
    assert!(lost.iter().all(|index| index % 3 == lost_executor));
    let due: Vec<f64> = rows.iter().filter(|row| row["outcome"] == "lost").map(|row| row["due"].as_f64().unwrap()).collect();
    assert!(due.iter().any(|due| *due > 11.0), "to the end of the window");
}

#[test]
fn where_a_lost_node_ends_the_run_it_ends_with_its_report() {
    let (run, rows, handed_on) = lose_a_client("fail", OPEN, 1);
    assert_eq!(handed_on, None);
    assert!(run.complaints().contains("was lost"), "{}", run.complaints());
    assert!(rows.iter().all(|row| row["due"].as_f64().unwrap() < 11.0), "nothing is due once the load is ended");
}

/// A run that goes on ends well, or its result is INVALID: how many requests fail meanwhile is a matter of pace.
const GOES_ON: &[i32] = &[0, 3];

/// Two servers and two clients; the first server's node is killed when load runs.
fn lose_a_server(on_node_loss: &str, codes: &[i32]) -> (Run, Vec<Value>) {
    let scene = Scene::new();
    let recipe = recipe(on_node_loss, "concurrency: 6\n  duration: 12s", "service_config: {ttft: 20ms, tpot: 2ms}");
    let allocation = "node_allocation: {servers: {nodes: 2}, clients: {nodes: 2}}";
    let recipe = recipe.replace("mode: local,", &format!("mode: local, {allocation},"));
    let mut running = scene.lead(&recipe, &["--local-nodes", "4"]);
    running.event("the load", |event| event["event"] == "load_started");
    let is_it = |line: &str| line.contains("--ordinal 0 ");
    let (node, _) = scene.left().into_iter().find(|(_, line)| is_it(line)).expect("a node 0");
    kill(node, Signal::KILL);
    let ended = running.wait_at_most(LIMIT);
    let code = ended.code.unwrap();
    assert!(codes.contains(&code), "{code}: {}", ended.stderr);
    let run = ended.run(code);
    let rows = run.rows();
    assert_balanced(run.trial(), &rows);
    assert!(run.reasons().contains("node_lost"), "{:?}", run.reasons());
    scene.assert_nothing_left(Duration::from_secs(10));
    (run, rows)
}

#[test]
fn the_clients_of_a_lost_server_ask_the_one_that_is_left() {
    let (run, rows) = lose_a_server("redistribute", GOES_ON);
    assert!(run.complaints().contains("ask the servers that are left"), "{}", run.complaints());
    let last = |server: u64| {
        let to_it = rows.iter().filter(|row| row["server"] == server);
        to_it.filter_map(|row| row["sent"].as_f64()).fold(0.0, f64::max)
    };
    assert!(last(1) > 11.0 && last(0) < 10.0, "server 0 until {}, server 1 until {}", last(0), last(1));
    let late: Vec<&Value> = rows.iter().filter(|row| row["sent"].as_f64().is_some_and(|sent| sent > 10.0)).collect();
    assert!(late.iter().all(|row| row["outcome"] != "failed"), "those that moved are answered");
}

#[test]
fn where_the_run_only_goes_on_clients_of_a_lost_server_go_on_asking_it() {
    let (_, rows) = lose_a_server("continue", GOES_ON);
    // Nothing is said of how: its port may be somebody else's by then, who answers.
    assert!(rows.iter().any(|row| row["due"].as_f64().unwrap() > 10.0 && row["server"] == 0));
}

#[test]
fn a_lost_server_ends_the_run_where_it_is_to() {
    let (run, _) = lose_a_server("fail", &[1]);
    assert!(run.complaints().contains("was lost"), "{}", run.complaints());
}
