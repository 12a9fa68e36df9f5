//! Who talks to whom: read from the rows, and from the servers' own counters.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::support::{Dummy, Run, Scene, assert_balanced};

const CLIENTS: u64 = 4;

/// Two servers, asked by four clients that are distributed so.
fn asked(allocation: &str, load: &str) -> (Run, Vec<Value>) {
    let scene = Scene::new();
    let dummies = [Dummy::start(&scene, &["--ttft=2ms", "--tpot=1ms"]), Dummy::start(&scene, &["--ttft=2ms", "--tpot=1ms"])];
    let recipe = format!(
        "
scenario: distribution
orchestration:
  mode: local
  node_allocation: {{clients: {{nodes: 1, {allocation}}}}}
workload:
  service: openai
  model: dummy
  warmup: 0s
  prompt_len: 8
  gen_tokens: 4
  {load}
servers:
  endpoints: ['{}', '{}']
metadata: {{seed: 11}}
",
        dummies[0].url(),
        dummies[1].url()
    );
    let ended = scene.lead(&recipe, &[]).wait();
    let run = ended.run(ended.code.unwrap());
    let rows = run.rows();
    assert_balanced(run.trial(), &rows);
    for (server, dummy) in dummies.iter().enumerate() {
        // One request asked whether it is ready.
        let sent = rows.iter().filter(|row| row["server"] == server && !row["sent"].is_null()).count() as u64;
        assert_eq!(dummy.received(), sent + 1, "server {server} saw something else than the rows say");
    }
    (run, rows)
}

fn closed(allocation: &str) -> Vec<Value> {
    asked(allocation, &format!("concurrency: {CLIENTS}\n  requests: 200")).1
}

fn at(rows: &[Value], server: u64) -> usize {
    rows.iter().filter(|row| row["server"] == server).count()
}

/// How many requests to each server are in flight at most, from the rows.
fn peak(rows: &[Value], server: u64) -> i64 {
    let time = |row: &Value, key: &str| row[key].as_f64().unwrap();
    let mine = rows.iter().filter(|row| row["server"] == server && !row["sent"].is_null());
    let mut changes: Vec<(f64, i64)> = mine.flat_map(|row| [(time(row, "sent"), 1), (time(row, "end"), -1)]).collect();
    // Where one ends and the next begins at one instant, it ends first.
    changes.sort_by(|one, other| one.partial_cmp(other).unwrap());
    changes.iter().scan(0, |in_flight, (_, change)| Some(*in_flight + change).inspect(|now| *in_flight = *now)).max().unwrap()
}

#[test]
fn round_robin_keeps_each_client_at_one_server() {
    let rows = closed("distribution_strategy: round-robin");
    // Clients 0 and 2 stay at server 0, clients 1 and 3 at server 1: neither ever has more than two.
    assert_eq!((peak(&rows, 0), peak(&rows, 1)), (2, 2));
}

#[test]
fn random_asks_both_and_the_seed_decides_which() {
    let by_index = |rows: Vec<Value>| -> BTreeMap<u64, u64> {
        rows.iter().map(|row| (row["index"].as_u64().unwrap(), row["server"].as_u64().unwrap())).collect()
    };
    let (first, again) = (closed("distribution_strategy: random"), closed("distribution_strategy: random"));
    assert!(at(&first, 0) > 50 && at(&first, 1) > 50, "{} to {}", at(&first, 0), at(&first, 1));
    assert_eq!(by_index(first), by_index(again));
}

#[test]
fn all_to_all_takes_every_client_over_every_server() {
    let rows = closed("distribution_strategy: all-to-all");
    // Each client asks both in turn, so that they differ by one request per client at most.
    assert!(at(&rows, 0).abs_diff(at(&rows, 1)) <= CLIENTS as usize, "{} to {}", at(&rows, 0), at(&rows, 1));
    assert!(peak(&rows, 0) <= CLIENTS as i64);
}

#[test]
fn a_static_mapping_is_followed_to_the_letter() {
    let rows = closed("distribution_strategy: static, target_mapping: {'0': [1], '1': [1], '2': [1], '3': [0]}");
    assert_eq!((peak(&rows, 1), peak(&rows, 0)), (3, 1));
    let only_one = closed("distribution_strategy: static, target_mapping: {'0': [1], '1': [1], '2': [1], '3': [1]}");
    assert_eq!((at(&only_one, 0), at(&only_one, 1)), (0, 200));
}

#[test]
fn in_an_open_loop_each_request_stands_for_a_client() {
    let load = "target_rps: 200\n  request_distribution: constant\n  duration: 1s\n  clients_per_node: 4";
    let (_, rows) = asked("distribution_strategy: round-robin", load);
    let indices = |server: u64| -> BTreeSet<u64> {
        rows.iter().filter(|row| row["server"] == server).map(|row| row["index"].as_u64().unwrap() % 2).collect()
    };
    assert_eq!((indices(0), indices(1)), (BTreeSet::from([0]), BTreeSet::from([1])));
    assert_eq!(at(&rows, 0), at(&rows, 1));
}
