//! Conversations, by real processes: what a Dummy is really asked, and what becomes of it in rows and report.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::support::{Dummy, Relay, Run, Scene, assert_balanced};

/// A run of conversations through a relay before a Dummy with these flags.
fn talked(scene: &Scene, flags: &[&str], load: &str) -> (Run, Relay) {
    let dummy = Dummy::start(scene, flags);
    let relay = Relay::before(dummy.url().strip_prefix("http://").unwrap());
    let url = relay.url();
    let recipe = format!(
        "
scenario: turns
orchestration: {{mode: local}}
servers: {{endpoints: [\"{url}\"]}}
workload:
  service: openai
  model: dummy
  prompt_len: 8
  gen_tokens: 4
{load}
"
    );
    let ended = scene.lead(&recipe, &["--local-nodes", "2"]).wait();
    (ended.run(ended.code.unwrap()), relay)
}

/// The rows of each conversation, in the order of turns.
fn conversations(rows: &[Value]) -> BTreeMap<u64, Vec<&Value>> {
    let mut all: BTreeMap<u64, Vec<&Value>> = BTreeMap::new();
    for row in rows {
        all.entry(row["conversation"].as_u64().unwrap()).or_default().push(row);
    }
    all.values_mut().for_each(|rows| rows.sort_by_key(|row| row["turn"].as_u64()));
    all
}

#[test]
fn every_turn_is_a_request_that_carries_the_answers_before_it() {
    let scene = Scene::new();
    let (run, relay) = talked(&scene, &[], "  api: chat\n  turns: 3\n  concurrency: 4\n  requests: 30\n  sleep_seconds: 5ms");
    let (trial, rows) = (run.trial(), run.rows());
    assert_balanced(trial, &rows);
    assert_eq!((&trial["accounting"]["due"], &trial["accounting"]["completed"]), (&30.into(), &30.into()));
    let conversations = conversations(&rows);
    for rows in conversations.values() {
        let turns: Vec<_> = rows.iter().map(|row| row["turn"].as_u64().unwrap()).collect();
        assert_eq!(turns, (0..rows.len() as u64).collect::<Vec<_>>());
        for pair in rows.windows(2) {
            let (end, due) = (pair[0]["end"].as_f64().unwrap(), pair[1]["due"].as_f64().unwrap());
            assert!(due - end >= 0.005, "the next turn was due {} s after the answer", due - end);
            // Eight words of its own, and the answer's four.
            assert_eq!(pair[1]["input_tokens"].as_u64().unwrap() - pair[0]["input_tokens"].as_u64().unwrap(), 12);
        }
    }
    let whole = conversations.values().filter(|rows| rows.len() == 3).count();
    let figures = &trial["conversations"];
    assert_eq!((&figures["begun"], &figures["whole"]), (&conversations.len().into(), &whole.into()), "{figures:#}");
    assert_eq!((&figures["broken"], &figures["turns_not_due"]), (&0.into(), &0.into()), "{figures:#}");

    // The Dummy's own answers, as another request asked for them, stand in the second turns.
    let bodies = relay.bodies("/v1/chat/completions");
    let second: Vec<_> = bodies.iter().filter(|body| body["messages"].as_array().unwrap().len() == 3).collect();
    assert!(second.len() >= whole, "{} second turns", second.len());
    for body in second {
        let messages = body["messages"].as_array().unwrap();
        let roles: Vec<_> = messages.iter().map(|message| message["role"].as_str().unwrap()).collect();
        assert_eq!(roles, ["user", "assistant", "user"]);
        assert_eq!(messages[1]["content"].as_str().unwrap().split_whitespace().count(), 4, "{messages:?}");
        let first = bodies.iter().filter(|body| body["messages"].as_array().unwrap().as_slice() == &messages[..1]);
        assert_eq!(first.count(), 1, "its first turn was asked once");
    }
}

#[test]
fn a_turn_that_fails_ends_its_conversation_and_the_books_balance() {
    let scene = Scene::new();
    let (run, _relay) = talked(&scene, &["--error-rate", "0.2"], "  turns: 4\n  concurrency: 4\n  requests: 200");
    let (trial, rows) = (run.trial(), run.rows());
    assert_balanced(trial, &rows);
    let failed = rows.iter().filter(|row| row["outcome"] == "failed").count();
    assert!(failed > 0 && trial["accounting"]["due"] == 200, "{:#}", trial["accounting"]);
    for rows in conversations(&rows).values() {
        let (last, before) = rows.split_last().unwrap();
        assert!(before.iter().all(|row| row["outcome"] == "completed"), "{last:#}");
    }
    let left = |row: &&Value| row["turns"].as_u64().unwrap() - row["turn"].as_u64().unwrap() - 1;
    let not_due: u64 = rows.iter().filter(|row| row["outcome"] == "failed").map(|row| left(&row)).sum();
    let figures = &trial["conversations"];
    assert_eq!((&figures["broken"], &figures["turns_not_due"]), (&failed.into(), &not_due.into()), "{figures:#}");
}
