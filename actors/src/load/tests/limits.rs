//! Every deadline that a request can meet.

use tokio::net::TcpSocket;

use super::*;

/// One request to `share`'s server ends with this kind.
async fn ends(share: LoadShare, expected: Kind) {
    let rows = driven(share).await;
    assert_eq!(rows.iter().map(|row| row.kind).collect::<Vec<_>>(), [Some(expected)]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_without_end_runs_into_the_total_limit() {
    let server = server(Answer::Drip(HEAD.into())).await;
    let mut share = closed(1, Stop::Requests(1), &server.url);
    share.load.timeouts.total = Span::from_millis(200);
    ends(share, Kind::TotalTimeout).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_head_that_does_not_come_runs_into_the_nearer_limit() {
    let server = server(Answer::Hang(String::new())).await;
    let mut share = closed(1, Stop::Requests(1), &server.url);
    share.load.timeouts.total = Span::from_millis(100);
    ends(share, Kind::TotalTimeout).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_takes_no_connection_runs_into_the_connect_limit() {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let listener = socket.listen(1).unwrap();
    let address = listener.local_addr().unwrap();
    // Nobody accepts; a queue of one holds two.
    let _queued = [TcpStream::connect(address).await.unwrap(), TcpStream::connect(address).await.unwrap()];
    let mut share = closed(1, Stop::Requests(1), &format!("http://{address}"));
    share.load.timeouts.connect = Span::from_millis(200);
    ends(share, Kind::ConnectTimeout).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_name_without_address_is_a_failure_to_resolve() {
    // Longer than any label may be, so that no name server is asked.
    ends(closed(1, Stop::Requests(1), &format!("http://{}", "a".repeat(70))), Kind::Resolve).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_in_flight_when_the_drain_ends_is_cancelled() {
    let server = server(Answer::Drip(HEAD.into())).await;
    let mut prepared = Prepared::new(closed(3, Stop::After(Span::from_millis(100)), &server.url), None).unwrap();
    prepared.drain = Duration::from_millis(100);
    let batches = told(prepared, &Ledger::new(source()), Clock::beginning(Instant::now())).await;
    let rows = rows(&batches);
    let ended: Vec<_> = rows.iter().map(|row| (row.outcome, row.kind, row.chunks > 0)).collect();
    assert_eq!(ended, [(Outcome::Cancelled, Some(Kind::DrainEnded), true); 3]);
}
