//! Connections that the server closes between two requests.

use std::{future::poll_fn, pin::pin};

use hb_core::http_version::HttpVersion;

use super::*;
use crate::load::{
    connection::{Link, Stream},
    server::Server,
    unread::ReceiveQueues,
};

/// The answer to one request on this connection: its status, once its body was read to the end.
async fn asked(link: &mut Link, server: &Server) -> Result<u16, Kind> {
    let mut response = pin!(link.send(server.request("{}".into())));
    let response = poll_fn(|cx| link.poll_head(cx, response.as_mut())).await?;
    let status = response.status().as_u16();
    let mut body = response.into_body();
    while let Some(data) = poll_fn(|cx| link.poll_data(cx, &mut body)).await {
        data?;
    }
    Ok(status)
}

/// The close arrives after the connection was found ready and before the request is written: hyper then ends without
/// ever taking the request up.
#[tokio::test]
async fn a_request_on_a_connection_that_was_just_closed_fails_and_does_not_wait_for_ever() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let server =
        Server::new(&format!("http://{address}"), "/v1/completions", None, HttpVersion::Http1, Default::default(), || {
            unreachable!("no TLS")
        })
        .unwrap();
    let (client, accepted) = tokio::join!(TcpStream::connect(address), listener.accept());
    let mut theirs = accepted.unwrap().0;
    let client = client.unwrap();
    let place = ReceiveQueues::default().enter(&client);
    let mut link = Link::new(Stream::Plain(client), place, HttpVersion::Http1).await.unwrap();
    let answering = async {
        read_request(&mut theirs).await.unwrap();
        theirs.write_all(json("{}").as_bytes()).await.unwrap();
    };
    assert_eq!(tokio::join!(asked(&mut link, &server), answering).0.unwrap(), 200);
    link.is_used = true;
    assert!(link.is_ready());
    drop(theirs);
    // Another connection comes and goes, so the runtime has looked at its sockets since.
    let (other, accepted) = tokio::join!(TcpStream::connect(address), listener.accept());
    drop((other, accepted));
    let result = tokio::time::timeout(Duration::from_secs(10), asked(&mut link, &server)).await;
    assert!(result.expect("it is told that nobody takes the request").is_err());
    assert!(!link.is_ready());
}

/// A load of four clients that starts only after a second, and the rows it comes to.
async fn starting_later(url: &str) -> Vec<Record> {
    let share = closed(4, Stop::Requests(8), url);
    let (ledger, clock) = (Ledger::new(source()), Clock::beginning(Instant::now() + Duration::from_secs(1)));
    rows(&told(Prepared::new(share, None).unwrap(), &ledger, clock).await)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_open_their_connections_before_the_load_starts() {
    let (opened, at_first) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(u64::MAX)));
    let seen = (opened.clone(), at_first.clone());
    let server = accepting(move |mut stream, requests| {
        let (opened, at_first) = seen.clone();
        async move {
            opened.fetch_add(1, Ordering::SeqCst);
            while read_request(&mut stream).await.is_some() {
                at_first.fetch_min(opened.load(Ordering::SeqCst), Ordering::SeqCst);
                requests.fetch_add(1, Ordering::SeqCst);
                stream.write_all(whole().as_bytes()).await.unwrap();
            }
        }
    })
    .await;
    let rows = starting_later(&server.url).await;
    assert_eq!(Counts::of(&rows), Counts { completed: 8, ..Counts::default() });
    assert_eq!((opened.load(Ordering::SeqCst), at_first.load(Ordering::SeqCst)), (4, 4), "all of them before the first request");
    let told = rows.iter().filter(|row| row.connect.is_some()).count();
    assert!((1..=4).contains(&told), "the first request on each tells what it took: {told}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_that_the_server_closes_before_the_load_starts_costs_no_request() {
    let left = Arc::new(AtomicU64::new(4));
    let server = accepting(move |mut stream, requests| {
        let left = left.clone();
        async move {
            // The first ones are closed before anything was asked.
            if left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_ok() {
                return;
            }
            while read_request(&mut stream).await.is_some() {
                requests.fetch_add(1, Ordering::SeqCst);
                stream.write_all(whole().as_bytes()).await.unwrap();
            }
        }
    })
    .await;
    let rows = starting_later(&server.url).await;
    assert_eq!(Counts::of(&rows), Counts { completed: 8, ..Counts::default() });
    assert_eq!(server.requests.load(Ordering::SeqCst), 8);
}
