//! Against gateways on loopback: a well one, one that refuses, one that hangs, one that is not there.

use std::sync::{Arc, Mutex};

use axum::{Router, extract::Request, http::StatusCode};
use tokio::{net::TcpListener, sync::Notify};

use super::*;

type Seen = Arc<Mutex<Vec<String>>>;

/// A gateway that answers so, notes what it is asked, and says when it was asked.
async fn gateway(status: u16) -> (String, Seen, Arc<Notify>) {
    let (seen, asked) = (Seen::default(), Arc::new(Notify::new()));
    let (note, tell) = (seen.clone(), asked.clone());
    let answer = move |request: Request| {
        note.lock().unwrap().push(format!("{} {}", request.method(), request.uri()));
        tell.notify_one();
        std::future::ready((StatusCode::from_u16(status).unwrap(), "pushed metrics are odd"))
    };
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async { axum::serve(listener, Router::new().fallback(answer)).await });
    (url, seen, asked)
}

fn start(url: &str, deadline: Duration) -> Pusher {
    let view =
        |name: &str| (name.to_owned(), NodeView { node: name.to_owned(), service: "ollama".to_owned(), ..NodeView::default() });
    let nodes = watch::channel(BTreeMap::from([view("n0"), view("n1")])).1;
    let pushing = Pushing { url: url.to_owned(), run: "r1".to_owned(), interval: Duration::from_millis(10), deadline };
    Pusher::start(pushing, nodes).unwrap()
}

#[tokio::test]
async fn every_node_has_a_group_and_none_is_left_behind() {
    let (url, seen, asked) = gateway(200).await;
    let pusher = start(&url, Duration::from_secs(5));
    while seen.lock().unwrap().len() < 3 {
        asked.notified().await;
    }
    assert_eq!(pusher.end().await, None);
    let seen = seen.lock().unwrap().clone();
    for node in ["n0", "n1"] {
        let path = format!("/metrics/job/hbnode/run/r1/instance/{node}");
        assert!(seen.contains(&format!("PUT {path}")), "{seen:?}");
        assert_eq!(seen.iter().filter(|line| **line == format!("DELETE {path}")).count(), 1, "{seen:?}");
    }
    assert!(seen.iter().rev().take(2).all(|line| line.starts_with("DELETE")), "{seen:?}");
}

#[tokio::test]
async fn a_gateway_that_refuses_is_told_of_once() {
    let (url, seen, asked) = gateway(400).await;
    let pusher = start(&url, Duration::from_secs(5));
    while seen.lock().unwrap().is_empty() {
        asked.notified().await;
    }
    let sentence = pusher.end().await.unwrap();
    assert!(sentence.contains("400 Bad Request: pushed metrics are odd") && sentence.contains("instance/n0"), "{sentence}");
}

#[tokio::test]
async fn a_gateway_that_hangs_holds_nobody_longer_than_the_deadline() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let pusher = start(&url, Duration::from_millis(50));
    let held = listener.accept().await.unwrap();
    let sentence = pusher.end().await.unwrap();
    assert!(sentence.contains("no answer within 0.05 s"), "{sentence}");
    drop(held);
}

#[tokio::test]
async fn a_gateway_that_is_not_there_is_a_sentence() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let client = Client::builder().no_proxy().build().unwrap();
    let cause = ask(&client, Method::PUT, &group(&url, "r", "n"), String::new()).await.unwrap_err();
    assert!(cause.contains("refused"), "{cause}");
}

#[test]
fn a_name_that_no_path_can_hold_is_written_in_base64() {
    assert_eq!(group("http://g/", "a/b", ""), "http://g/metrics/job/hbnode/run@base64/YS9i/instance@base64/=");
    for (plain, coded) in [("f", "Zg"), ("fo", "Zm8"), ("foo", "Zm9v"), ("??>", "Pz8-")] {
        assert_eq!(base64_url(plain.as_bytes()), coded);
    }
}
