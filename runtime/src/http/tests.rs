//! The routes over a real socket on loopback.

use std::sync::Mutex;

use hb_core::{
    events::{Happened, RunEvent},
    tally::Live,
};
use serde_json::{Value, json};
use tokio::sync::{broadcast, oneshot, watch};

use super::{node::Answer, *};

#[derive(Default)]
struct Recording {
    is_busy: Mutex<bool>,
}

impl Control for Recording {
    fn start(&self, workload: Value) -> Answer {
        let was_busy = std::mem::replace(&mut *self.is_busy.lock().unwrap(), true);
        let refusal = Refusal::Busy("trial `t` runs here".to_owned());
        Box::pin(std::future::ready(if was_busy { Err(refusal) } else { Ok(json!({ "started": workload })) }))
    }

    fn stop(&self) -> Answer {
        *self.is_busy.lock().unwrap() = false;
        Box::pin(std::future::ready(Ok(json!({ "report": 1 }))))
    }
}

/// A leader that serves; it ends when the sender is dropped.
async fn served() -> (String, oneshot::Sender<()>, broadcast::Sender<(u64, RunEvent)>) {
    let view = NodeView { node: "n0".to_owned(), service: "ollama".to_owned(), ..NodeView::default() };
    let token = Token::new("secret".to_owned());
    let node = node_routes(watch::channel(view).1, token.clone(), Arc::new(Recording::default()));
    let (events, _) = broadcast::channel(8);
    let past = vec![(0, RunEvent { unix_nanos: 1, trial: None, happened: Happened::Warned { what: "first".to_owned() } })];
    let leader = LeaderView {
        scenario: "<b>bold</b>".to_owned(),
        run: "r".to_owned(),
        live: watch::channel(Live { in_flight: 7, ..Live::default() }).1,
        past: watch::channel(Arc::new(past)).1,
        logs: watch::channel(Arc::default()).1,
        events: events.clone(),
    };
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    let (end, ended) = oneshot::channel::<()>();
    let routes = node.merge(leader_routes(Arc::new(leader), token));
    tokio::spawn(serve(listener, routes, async { _ = ended.await }));
    (base, end, events)
}

fn client() -> reqwest::Client {
    reqwest::Client::builder().no_proxy().build().unwrap()
}

async fn status(request: reqwest::RequestBuilder) -> u16 {
    request.send().await.unwrap().status().as_u16()
}

#[tokio::test]
async fn a_nodes_own_figures_are_open_and_orders_are_not() {
    let (base, _end, _) = served().await;
    let http = client();
    for path in ["/health", "/status", "/metrics", "/metrics/prometheus"] {
        let answer = http.get(format!("{base}{path}")).send().await.unwrap();
        assert_eq!(
            (answer.status().as_u16(), &answer.headers()["x-content-type-options"]),
            (200, &"nosniff".parse().unwrap()),
            "{path}"
        );
    }
    let text = http.get(format!("{base}/metrics/prometheus")).send().await.unwrap().text().await.unwrap();
    assert!(text.contains("ollama_requests_total") && text.ends_with('\n'), "{text}");
    let start = || http.post(format!("{base}/start")).json(&json!({ "duration": 5 }));
    assert_eq!(status(start()).await, 401);
    for wrong in ["", "secre", "secret2", "Secret"] {
        assert_eq!(status(start().bearer_auth(wrong)).await, 401, "{wrong:?}");
    }
    assert_eq!(status(http.post(format!("{base}/start?token=secret")).json(&json!({}))).await, 401, "a link must not start work");
    assert_eq!(status(start().bearer_auth("secret")).await, 200);
    let busy = start().bearer_auth("secret").send().await.unwrap();
    assert_eq!(busy.status().as_u16(), 409);
    assert_eq!(busy.json::<Value>().await.unwrap()["error"], "trial `t` runs here");
    assert_eq!(status(http.post(format!("{base}/stop")).bearer_auth("secret")).await, 200);
    assert_eq!(status(http.post(format!("{base}/start")).bearer_auth("secret").body("{")).await, 400);
    assert_eq!(status(http.post(format!("{base}/start")).bearer_auth("secret").body("{}")).await, 200, "JSON by another name");
}

#[tokio::test]
async fn a_body_over_the_limit_is_refused() {
    let (base, _end, _) = served().await;
    let long = json!({ "text": "x".repeat(MAX_BODY_BYTES) });
    assert_eq!(status(client().post(format!("{base}/start")).bearer_auth("secret").json(&long)).await, 413);
}

#[tokio::test]
async fn the_leaders_pages_need_the_token_in_either_place() {
    let (base, _end, events) = served().await;
    let http = client();
    for path in ["/", "/api/live", "/api/events", "/api/logs"] {
        assert_eq!(status(http.get(format!("{base}{path}"))).await, 401, "{path}");
        assert_eq!(status(http.get(format!("{base}{path}?token=secret"))).await, 200, "{path}");
        assert_eq!(status(http.get(format!("{base}{path}")).bearer_auth("secret")).await, 200, "{path}");
    }
    let page = http.get(format!("{base}/?token=secret")).send().await.unwrap().text().await.unwrap();
    assert!(page.contains("&lt;b&gt;bold") && !page.contains("<b>bold"));
    let live: Value = http.get(format!("{base}/api/live?token=secret")).send().await.unwrap().json().await.unwrap();
    assert_eq!(live["in_flight"], 7);
    let mut stream = http.get(format!("{base}/api/events?token=secret")).send().await.unwrap();
    // It happened at the same moment as the first.
    let second = RunEvent { unix_nanos: 1, trial: None, happened: Happened::Warned { what: "second".to_owned() } };
    events.send((1, second)).unwrap();
    let mut told = String::new();
    while !told.contains("second") {
        told.push_str(std::str::from_utf8(&stream.chunk().await.unwrap().unwrap()).unwrap());
    }
    assert!(told.contains("first"), "{told}");
}
