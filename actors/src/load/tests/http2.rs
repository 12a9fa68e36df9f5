//! Servers that speak HTTP/2: whatever becomes of an answer has the name that it has in HTTP/1.1.

use h2::{Reason, SendStream, server};
use hb_core::{http_version::HttpVersion, trial::Length};

use super::*;
use crate::load::{
    connection::{Link, Stream},
    server::Server,
    unread::ReceiveQueues,
};

/// What a server does with a request once it has read it.
#[derive(Debug, Clone, Copy)]
enum Manner {
    Answers,
    Refuses,
    /// The stream is reset, before the answer's head.
    Resets(Reason),
    /// Half an answer, then a reset of the stream.
    ResetsMidway(Reason),
    /// Half an answer, then GOAWAY and the end of the connection.
    GoesAwayMidway,
    /// Half an answer, then the end of the connection.
    ClosesMidway,
    /// The end of the connection instead of an answer.
    Closes,
    /// Half an answer, and the proper end of the stream.
    EndsEarly,
    /// Half an answer, then nothing.
    Hangs,
    /// A frame that is none.
    Babbles,
    /// Each connection answers one request, and is closed at the next.
    Once,
    /// The same, with GOAWAY.
    OnceGoingAway,
}

/// The bytes of a whole answer, in two parts.
fn parts() -> [String; 2] {
    [EVENT.to_owned(), format!("{EVENT}{LAST}data: [DONE]\n\n")]
}

async fn speak(mut stream: TcpStream, manner: Manner, requests: Arc<AtomicU64>) {
    if matches!(manner, Manner::Babbles) {
        stream.write_all(&[b'x'; 64]).await.unwrap();
        // A close before all that came was read would be a reset.
        return std::future::pending().await;
    }
    let Ok(mut connection) = server::handshake(stream).await else { return };
    let mut answered = 0;
    // Kept: a stream that is dropped is reset.
    let mut open: Vec<SendStream<bytes::Bytes>> = Vec::new();
    while let Some(Ok((request, mut respond))) = connection.accept().await {
        // A body larger than the window comes only as it is taken; the connection moves only as it is polled.
        let mut body = request.into_body();
        let mut reading = std::pin::pin!(async {
            let mut length = 0;
            while let Some(Ok(data)) = body.data().await {
                length += data.len();
                body.flow_control().release_capacity(data.len()).unwrap();
            }
            length
        });
        let length = std::future::poll_fn(|cx| match reading.as_mut().poll(cx) {
            std::task::Poll::Ready(length) => std::task::Poll::Ready(length),
            std::task::Poll::Pending => connection.poll_closed(cx).map(|_| 0),
        })
        .await;
        assert!(length > 0, "a body was sent");
        requests.fetch_add(1, Ordering::SeqCst);
        let head = |status: u16| hyper::Response::builder().status(status).body(()).unwrap();
        let [first, second] = parts();
        if matches!(manner, Manner::Closes) || (answered > 0 && matches!(manner, Manner::Once)) {
            return;
        }
        if answered > 0 && matches!(manner, Manner::OnceGoingAway) {
            connection.abrupt_shutdown(Reason::NO_ERROR);
            flush(&mut connection).await;
            return;
        }
        if let Manner::Resets(reason) = manner {
            respond.send_reset(reason);
            continue;
        }
        let is_refused = matches!(manner, Manner::Refuses);
        let mut send = respond.send_response(head(if is_refused { 503 } else { 200 }), is_refused).unwrap();
        answered += 1;
        if is_refused {
            continue;
        }
        send.send_data(first.into(), false).unwrap();
        match manner {
            Manner::Answers | Manner::Once | Manner::OnceGoingAway => send.send_data(second.into(), true).unwrap(),
            Manner::EndsEarly => send.send_data("".into(), true).unwrap(),
            Manner::Hangs => open.push(send),
            _ => {
                flush(&mut connection).await;
                match manner {
                    Manner::ResetsMidway(reason) => send.send_reset(reason),
                    Manner::GoesAwayMidway => {
                        connection.abrupt_shutdown(Reason::INTERNAL_ERROR);
                        flush(&mut connection).await;
                        return;
                    }
                    _ => return,
                }
            }
        }
    }
}

/// Writes what there is to write.
async fn flush(connection: &mut server::Connection<TcpStream, bytes::Bytes>) {
    std::future::poll_fn(|cx| {
        let _ = connection.poll_closed(cx);
        std::task::Poll::Ready(())
    })
    .await;
}

async fn speaking(manner: Manner) -> TestServer {
    accepting(move |stream, requests| speak(stream, manner, requests)).await
}

fn http2(clients: u32, requests: u64, url: &str) -> LoadShare {
    LoadShare { http2: [url.to_owned()].into(), ..closed(clients, Stop::Requests(requests), url) }
}

async fn check_manner(manner: Manner, expected: Option<Kind>) {
    let server = speaking(manner).await;
    let rows = driven(http2(1, 3, &server.url)).await;
    for kind in rows.iter().map(|row| row.kind) {
        // A close before all that came was read is a reset to TCP.
        let is_reset_by_close = matches!(manner, Manner::ClosesMidway) && kind == Some(Kind::ResetMidway);
        assert!(kind == expected || is_reset_by_close, "{manner:?}: {kind:?}");
    }
    assert_eq!(rows.len(), 3, "{manner:?}");
    assert!(rows.iter().all(|row| row.attempts == 1), "{manner:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_end_has_the_name_that_it_has_in_http_1() {
    for (manner, expected) in [
        (Manner::Answers, None),
        (Manner::Refuses, Some(Kind::Http(503))),
        (Manner::Resets(Reason::INTERNAL_ERROR), Some(Kind::Reset)),
        (Manner::ResetsMidway(Reason::INTERNAL_ERROR), Some(Kind::ResetMidway)),
        (Manner::ResetsMidway(Reason::CANCEL), Some(Kind::ResetMidway)),
        (Manner::ResetsMidway(Reason::NO_ERROR), Some(Kind::Truncated)),
        (Manner::GoesAwayMidway, Some(Kind::Truncated)),
        (Manner::ClosesMidway, Some(Kind::Truncated)),
        (Manner::Closes, Some(Kind::Reset)),
        (Manner::EndsEarly, Some(Kind::NoEndMark)),
        (Manner::Hangs, Some(Kind::BetweenChunksTimeout)),
        (Manner::Babbles, Some(Kind::Protocol)),
    ] {
        check_manner(manner, expected).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_are_kept_and_each_token_has_its_stamp() {
    let server = speaking(Manner::Answers).await;
    let rows = driven(http2(4, 203, &server.url)).await;
    assert_eq!(Counts::of(&rows), Counts { completed: 203, ..Counts::default() });
    assert_eq!(server.requests.load(Ordering::SeqCst), 203);
    let connections = server.connections.load(Ordering::SeqCst);
    assert!(connections <= 4, "{connections}");
    assert_eq!(rows.iter().filter(|row| row.connect.is_some()).count() as u64, connections);
    assert!(rows.iter().all(|row| row.chunks == 3 && row.sent <= row.first && row.first <= row.last));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_closing_connection_did_not_take_up_is_sent_anew_once() {
    for manner in [Manner::Once, Manner::OnceGoingAway] {
        let server = speaking(manner).await;
        let rows = driven(http2(1, 9, &server.url)).await;
        assert_eq!(Counts::of(&rows).completed, 9, "{manner:?}: {rows:?}");
        assert!(rows.iter().all(|row| row.attempts <= 2) && rows.iter().any(|row| row.attempts == 2), "{manner:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refused_stream_of_a_kept_connection_is_sent_anew_and_another_reset_is_not() {
    for (reason, attempts) in [(Reason::REFUSED_STREAM, 2), (Reason::INTERNAL_ERROR, 1)] {
        let server = speaking(Manner::Resets(reason)).await;
        let stream = TcpStream::connect(server.url.trim_start_matches("http://")).await.unwrap();
        let place = ReceiveQueues::default().enter(&stream);
        let mut link = Link::new(Stream::Plain(stream), place, HttpVersion::Http2).await.unwrap();
        let to =
            Server::new(&server.url, "/v1/completions", None, HttpVersion::Http2, Default::default(), || unreachable!("no TLS"))
                .unwrap();
        let mut response = std::pin::pin!(link.send(to.request("{}".into())));
        let kind = std::future::poll_fn(|cx| link.poll_head(cx, response.as_mut())).await.unwrap_err();
        assert_eq!((kind, link.was_passed_over(0, Instant::now())), (Kind::Reset, attempts == 2), "{reason:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_prompt_that_is_larger_than_the_window_is_sent() {
    let server = speaking(Manner::Answers).await;
    let mut share = http2(2, 6, &server.url);
    share.request.prompt_len = Length::Fixed(60_000);
    let rows = driven(share).await;
    assert_eq!(Counts::of(&rows).completed, 6, "{rows:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_of_http_1_that_is_asked_in_http_2_is_a_matter_of_protocol() {
    let server = server(Answer::Keep(whole())).await;
    let rows = driven(http2(1, 2, &server.url)).await;
    assert!(rows.iter().all(|row| matches!(row.kind, Some(Kind::Protocol | Kind::FirstByteTimeout))), "{rows:?}");
}
