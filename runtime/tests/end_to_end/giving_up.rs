//! An executor that fails more often than its supervisor bears, on a node that lives: what `on_node_loss` makes of it.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::{
    node_loss::{Disturbed, OPEN, disturb},
    support::Run,
};

/// The executor of the last node is started again three times, after at most 0.8 s, and then no more.
const FOUR_TIMES: &str = "{at: 1s, kill: executor}, {at: 2s, kill: executor}, {at: 3s, kill: executor}, {at: 5s, kill: executor}";

fn give_up(on_node_loss: &str, load: &str, code: i32) -> (Run, Vec<Value>, Option<(u64, f64)>) {
    let Disturbed { run, rows, handed_on, received } = disturb(on_node_loss, load, FOUR_TIMES, code);
    let events = run.trial()["events"].to_string();
    assert!(events.contains("executor_gave_up") && !events.contains("node_lost"), "{events}");
    assert!(run.reasons().contains("executor_restarted"), "{:?}", run.reasons());
    assert!(run.complaints().contains("failed more often than is borne"), "{}", run.complaints());
    // Besides, one was asked whether the server is ready.
    let sent = rows.iter().filter(|row| !row["sent"].is_null()).count() as u64;
    assert!(received <= sent + 1, "{received} came of {sent}: no request is sent twice");
    (run, rows, handed_on)
}

fn executor(row: &Value) -> u64 {
    row["executor"].as_u64().unwrap()
}

fn due(row: &Value) -> f64 {
    row["due"].as_f64().unwrap()
}

/// Nobody knows of the requests of its gaps: more than 2 % of the window was never sent.
#[test]
fn the_schedule_goes_on_from_the_other_nodes_once_an_executor_gave_up() {
    let (_, rows, handed_on) = give_up("redistribute", OPEN, 3);
    let (gave_up, since) = handed_on.expect("others take over");
    assert!(since > 5.0, "{since}");
    for row in &rows {
        let is_its = row["index"].as_u64().unwrap() % 3 == gave_up;
        assert_eq!(executor(row) == gave_up, is_its && due(row) < since, "{row}");
        assert!(executor(row) == gave_up || row["outcome"] == "completed", "{row}");
    }
    let indices: BTreeSet<u64> = rows.iter().map(|row| row["index"].as_u64().unwrap()).collect();
    assert!(indices.into_iter().eq(0..rows.len() as u64), "the schedule has no hole");
    let taken_over = || rows.iter().filter(|row| executor(row) >= 3);
    let its_node = rows.iter().find(|row| executor(row) == gave_up).unwrap()["node"].clone();
    let heirs: BTreeSet<&str> = taken_over().map(|row| row["node"].as_str().unwrap()).collect();
    assert!(heirs.len() == 2 && its_node.as_str().is_some_and(|node| !heirs.contains(node)), "{heirs:?} of {its_node}");
    assert!(taken_over().any(|row| due(row) > 11.0), "to the end of the window");
}

#[test]
fn what_an_executor_that_gave_up_had_not_asked_is_asked_by_the_others() {
    let (run, rows, handed_on) = give_up("redistribute", "concurrency: 6\n  requests: 2500", 0);
    assert!(handed_on.is_some());
    assert_eq!(rows.len(), 2500);
    assert_eq!(run.report["verdict"]["status"], "SUSPECT", "{}", run.complaints());
}

#[test]
fn where_the_run_only_goes_on_the_rest_of_an_executor_that_gave_up_is_lost() {
    let (_, rows, handed_on) = give_up("continue", OPEN, 3);
    assert_eq!(handed_on, None);
    let lost: Vec<&Value> = rows.iter().filter(|row| row["outcome"] == "lost").collect();
    let gave_up = executor(lost.first().expect("its share is lost"));
    assert!(lost.iter().all(|row| executor(row) == gave_up && row["kind"] == "executor_lost"), "{lost:?}");
    assert!(lost.iter().any(|row| due(row) > 11.0), "to the end of the window");
}

#[test]
fn where_a_loss_ends_the_run_an_executor_that_gives_up_does() {
    let (run, rows, handed_on) = give_up("fail", OPEN, 1);
    assert_eq!(handed_on, None);
    assert!(run.report["run"]["incomplete_reason"].as_str().unwrap().contains("failed more often than is borne"));
    assert!(rows.iter().all(|row| due(row) < 11.0), "nothing is due once the load is ended");
}
