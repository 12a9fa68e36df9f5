//! What a node answers over HTTP, who may ask, and what an idle node does when it is told to.

use std::{net::TcpListener, time::Duration};

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::support::{Dummy, Scene, get, post, send, until};

const LIMIT: Duration = Duration::from_secs(15);

/// A port that was free a moment ago.
fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

const RECIPE: &str = "
scenario: endpoints
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
monitoring: {enabled: true}
";

#[test]
fn figures_are_open_and_everything_else_needs_the_token() {
    let scene = Scene::new();
    let port = free_port().to_string();
    let mut running = scene.lead(RECIPE, &["--client-port", &port]);
    running.event("the load", |event| event["event"] == "load_started");
    let node = format!("127.0.0.1:{port}");
    assert_eq!(get(&node, "/health").json()["status"], "healthy");
    let requests = || get(&node, "/status").json()["requests_total"].as_u64().unwrap();
    let before = until("the first answers", LIMIT, || Some(requests()).filter(|count| *count > 0));
    until("more answers", LIMIT, || (requests() > before).then_some(()));
    assert_eq!(get(&node, "/status").json()["status"], "running");
    assert!(get(&node, "/metrics").json().is_object());
    let exposition = get(&node, "/metrics/prometheus");
    assert_eq!(exposition.status, 200);
    assert!(exposition.body.lines().any(|line| line.starts_with("dummy_")), "{}", exposition.body);

    for path in ["/start", "/stop"] {
        for token in [None, Some("guessed")] {
            assert_eq!(post(&node, path, token, "{}").status, 401, "{path} {token:?}");
        }
        assert_eq!(get(&node, path).status, 401, "{path}");
    }

    let page = running.word_after("live page: http://");
    let (leader, token) = page.split_once("/?token=").unwrap();
    for path in ["/", "/api/live", "/api/logs", "/api/events"] {
        assert_eq!(get(leader, path).status, 401, "{path}");
        assert_eq!(get(leader, &format!("{path}?token=guessed")).status, 401, "{path}");
    }
    assert!(get(leader, &format!("/?token={token}")).body.contains("endpoints"));
    let live = || send(leader, "GET", "/api/live", Some(token), "").unwrap().json();
    let first = live();
    until("another live view", LIMIT, || (live() != first).then_some(()));

    let refused = post(&node, "/start", Some(token), &json!({"server_url": "http://127.0.0.1:1", "model": "m"}).to_string());
    assert_eq!(refused.status, 409);
    assert!(refused.body.contains("has a part in trial `trial`"), "{}", refused.body);
    assert_eq!(post(&node, "/stop", Some(token), "").status, 409, "a run is stopped where it is led");
    running.signal(Signal::INT);
    running.wait_at_most(LIMIT).run(130);
    assert!(send(&node, "GET", "/health", None, "").is_err(), "the node's port is still served");
}

#[test]
fn an_idle_node_runs_a_workload_of_its_own() {
    let scene = Scene::new();
    let dummy = Dummy::start(&scene, &["--ttft=5ms", "--tpot=1ms"]);
    let port = free_port().to_string();
    // Its own server is not ready for a minute, so the node has nothing to do.
    let mut running = scene.lead(RECIPE, &["--client-port", &port, "--set", "servers.service_config.start_delay=1m"]);
    running.phase("service_deployment");
    let page = running.word_after("live page: http://");
    let (_, token) = page.split_once("/?token=").unwrap();
    let node = format!("127.0.0.1:{port}");
    let ask = |path: &str, body: &Value| post(&node, path, Some(token), &body.to_string());

    assert_eq!(ask("/stop", &Value::Null).status, 409, "nothing runs");
    assert_eq!(ask("/start", &json!({"model": "m"})).status, 422, "no server is named");
    assert_eq!(post(&node, "/start", Some(token), "{").status, 400, "no JSON");
    let work = json!({"server_url": dummy.url(), "service": "openai", "model": "m", "duration": 30, "clients_per_node": 2});
    let started = ask("/start", &work);
    assert_eq!((started.status, &started.json()["status"]), (200, &json!("started")), "{}", started.body);
    assert_eq!(ask("/start", &work).status, 409, "one at a time, also before the first figures");
    until("answers", LIMIT, || get(&node, "/status").json()["requests_total"].as_u64().filter(|count| *count > 0));
    let stopped = ask("/stop", &Value::Null);
    assert_eq!((stopped.status, &stopped.json()["status"]), (200, &json!("stopped")), "{}", stopped.body);
    assert!(stopped.json()["metrics"].is_object(), "{}", stopped.body);
    assert!(dummy.received() > 0);
    let again = ask("/start", &work);
    assert_eq!(again.status, 200, "a node that was stopped is idle again: {}", again.body);

    running.signal(Signal::TERM);
    running.wait_at_most(LIMIT).run(143);
    scene.left().iter().for_each(|(_, line)| assert!(line.contains("dummy --port"), "{line}"));
}

#[test]
fn a_run_whose_node_is_busy_with_a_load_of_its_own_ends_and_says_so() {
    let scene = Scene::new();
    let dummy = Dummy::start(&scene, &["--ttft=5ms", "--tpot=1ms"]);
    let port = free_port().to_string();
    let mut running = scene.lead(RECIPE, &["--client-port", &port, "--set", "servers.service_config.start_delay=3s"]);
    running.phase("service_deployment");
    let page = running.word_after("live page: http://");
    let (_, token) = page.split_once("/?token=").unwrap();
    let work = json!({"server_url": dummy.url(), "service": "openai", "model": "m", "duration": 30}).to_string();
    let started = post(&format!("127.0.0.1:{port}"), "/start", Some(token), &work);
    assert_eq!(started.status, 200, "{}", started.body);
    let run = running.wait_at_most(LIMIT).run(1);
    assert!(run.complaints().contains("a load that `POST /start` began on this node is not over"), "{}", run.complaints());
    let told = |event: &Value| event["event"] == "node_told" && event["fact"].to_string().contains("solo-");
    assert!(!run.events().iter().any(told), "the node's own load is none of the run's business");
}

#[test]
fn a_node_without_a_leader_runs_loads_of_its_own_and_keeps_none_of_their_windows() {
    let scene = Scene::new();
    let dummy = Dummy::start(&scene, &["--ttft=5ms", "--tpot=1ms"]);
    let port = free_port().to_string();
    let mut running = scene.start(&["--standalone", "--address", "127.0.0.1", "--client-port", &port]);
    let token = running.word_after("the token of /start and /stop: ");
    let node = format!("127.0.0.1:{port}");
    assert_eq!(get(&node, "/metrics").json()["_requests_total"], Value::Null, "before a load it knows no service");
    let requests = || get(&node, "/status").json()["requests_total"].as_u64().unwrap();
    let work =
        json!({"server_url": dummy.url(), "service": "openai", "model": "m", "duration": 30, "concurrency": 2}).to_string();
    for _ in 0..2 {
        assert_eq!(post(&node, "/start", None, &work).status, 401);
        let started = post(&node, "/start", Some(&token), &work);
        assert_eq!(started.status, 200, "{}", started.body);
        let before = dummy.received();
        until("answers", LIMIT, || (dummy.received() > before + 9 && requests() > 0).then_some(()));
        assert_eq!(get(&node, "/metrics").json()["openai_threads"], 2.0);
        let stopped = post(&node, "/stop", Some(&token), "");
        assert_eq!(stopped.status, 200, "{}", stopped.body);
        assert!(stopped.json()["metrics"]["openai_requests_total"].as_f64().is_some_and(|count| count > 0.0), "{}", stopped.body);
    }
    until("a sample of the machine", LIMIT, || {
        get(&node, "/metrics/prometheus").body.contains("hbnode_cpu_usage_ratio").then_some(())
    });
    running.signal(Signal::TERM);
    assert_eq!(running.wait_at_most(LIMIT).code, Some(143));
    assert!(send(&node, "GET", "/health", None, "").is_err(), "the node's port is still served");
}
