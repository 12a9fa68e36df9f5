//! One keep-alive connection. hyper's side of it is driven by the task of the request that uses it: no task of its own,
//! so a read wakes one task once and its bytes are handed on in the same poll.
//!
//! ```text
//! Link ─┬ HTTP/1.1: hyper's connection
//!       └ http2:    hyper's connection and the tasks that it would spawn
//!            │
//!          Stamped ── Stream (TCP, or TLS on it)
//! ```

mod http2;
mod stream;
mod troubles;

use std::{
    pin::Pin,
    sync::atomic::Ordering,
    task::{Context, Poll, Waker},
    time::{Duration, Instant},
};

use bytes::Bytes;
use futures_util::future::Either;
use hb_core::{http_version::HttpVersion, record::Kind, units::Nanos};
use http_body_util::Full;
use hyper::{
    Request, Response,
    body::{Body as _, Incoming},
    client::conn::http1,
};
use hyper_util::rt::TokioIo;

pub(super) use self::stream::Stream;
use self::{
    http2::Http2,
    stream::{Stamped, reading},
    troubles::{body_kind, head_trouble},
};
use super::unread::{Answering, Place};

/// What a connection reads at once at most; no answer's head may be longer. Left to itself, hyper comes to hold several
/// times as much for each, which costs memory and cache and saves no read that counts.
const READ_BYTES: usize = 32 * 1024;

/// A close that was under way when a request was written arrives within this time, and twice the connection's own.
const CLOSED_WITHIN: Duration = Duration::from_millis(50);
/// Who keeps state of a connection, on the way or at its end, keeps it for longer than this.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(1);

/// A connection to a server.
pub(super) struct Link {
    spoken: Spoken,
    is_answering: Answering,
    bytes_read: u64,
    read_at: Instant,
    /// How long it took to be opened.
    pub opened_in: Nanos,
    /// Whether it has carried an answer.
    pub is_used: bool,
    /// Whether the server has shown that it took up the request that failed.
    was_taken_up: bool,
    /// Whether the connection was reset, and not closed.
    was_reset: bool,
}

/// What is spoken on it.
enum Spoken {
    Http1(Http1),
    Http2(Http2),
}

/// HTTP/1.1.
struct Http1 {
    sender: http1::SendRequest<Full<Bytes>>,
    /// `None` once it is over. Dropped at once: whoever waits for something that it did not take up, such as a request
    /// that came with the server's close, is told only then.
    connection: Option<Box<http1::Connection<TokioIo<Stamped>, Full<Bytes>>>>,
}

impl Link {
    pub async fn new(stream: Stream, place: Place, version: HttpVersion) -> Result<Self, Kind> {
        let is_answering = place.is_answering.clone();
        let io = TokioIo::new(Stamped { stream, _place: place });
        let spoken = match version {
            HttpVersion::Http1 => {
                let shaking = http1::Builder::new().read_buf_exact_size(Some(READ_BYTES)).handshake(io);
                let (sender, connection) = shaking.await.map_err(|_| Kind::Connect)?;
                Spoken::Http1(Http1 { sender, connection: Some(Box::new(connection)) })
            }
            HttpVersion::Http2 => Spoken::Http2(Http2::new(io).await.map_err(|_| Kind::Connect)?),
        };
        Ok(Self {
            spoken,
            is_answering,
            bytes_read: 0,
            read_at: Instant::now(),
            opened_in: Nanos(0),
            is_used: false,
            was_taken_up: false,
            was_reset: false,
        })
    }

    /// Whether another request can be sent on it; sees a close that has arrived.
    pub fn is_ready(&mut self) -> bool {
        self.turn(&mut Context::from_waker(Waker::noop()));
        match &self.spoken {
            Spoken::Http1(http1) => http1.connection.is_some() && (!self.is_used || http1.sender.is_ready()),
            Spoken::Http2(http2) => http2.is_ready(),
        }
    }

    pub fn send(&mut self, request: Request<Full<Bytes>>) -> impl Future<Output = hyper::Result<Response<Incoming>>> + use<> {
        (self.was_taken_up, self.was_reset) = (false, false);
        self.is_answering.store(true, Ordering::Relaxed);
        match &mut self.spoken {
            Spoken::Http1(http1) => Either::Left(http1.sender.send_request(request)),
            Spoken::Http2(http2) => Either::Right(http2.send(request)),
        }
    }

    /// Its answer has been read.
    pub fn rest(&mut self) {
        self.is_used = true;
        self.is_answering.store(false, Ordering::Relaxed);
    }

    /// The instant of the last read.
    pub fn read_at(&self) -> Instant {
        self.read_at
    }

    pub fn bytes_read(&self) -> u64 {
        self.bytes_read
    }

    /// Whether the request that was sent at this instant, and failed before its answer began, may be sent anew on another
    /// connection: the server has not shown that it took it up. `before` is what had been read when it was sent.
    pub fn was_passed_over(&self, before: u64, sent: Instant) -> bool {
        match self.spoken {
            Spoken::Http1(_) => {
                // A close that was under way when the request was written is an orderly one and arrives at once. A reset
                // without it is the server's word about this request, unless the way was forgotten over a long pause.
                let is_orderly = !self.was_reset || sent.saturating_duration_since(self.read_at) >= FORGOTTEN_AFTER;
                let is_prompt = sent.elapsed() <= CLOSED_WITHIN + 2 * Duration::from_nanos(self.opened_in.0);
                self.bytes_read() == before && is_orderly && is_prompt
            }
            // A server says much that is about the connection alone, and last of all that it closes it.
            Spoken::Http2(_) => !self.was_taken_up,
        }
    }

    /// Does what can be done on the socket now.
    fn turn(&mut self, cx: &mut Context<'_>) {
        let read = reading(|| match &mut self.spoken {
            Spoken::Http1(http1) => {
                if http1.connection.as_mut().is_some_and(|connection| Pin::new(connection).poll(cx).is_ready()) {
                    http1.connection = None;
                }
            }
            Spoken::Http2(http2) => http2.turn(cx),
        });
        self.bytes_read += read.bytes;
        self.read_at = read.at.unwrap_or(self.read_at);
    }

    pub fn poll_head<F>(&mut self, cx: &mut Context<'_>, response: Pin<&mut F>) -> Poll<Result<Response<Incoming>, Kind>>
    where
        F: Future<Output = hyper::Result<Response<Incoming>>>,
    {
        self.turn(cx);
        // Whatever the other side of hyper's channel does, it does in `turn`: no second wake is needed.
        response.poll(&mut Context::from_waker(Waker::noop())).map_err(|error| {
            let trouble = head_trouble(&error);
            (self.was_taken_up, self.was_reset) = (trouble.was_taken_up, trouble.was_reset);
            trouble.kind
        })
    }

    /// The next bytes of the body; `None` at its proper end.
    pub fn poll_data(&mut self, cx: &mut Context<'_>, body: &mut Incoming) -> Poll<Option<Result<Bytes, Kind>>> {
        loop {
            // First the socket: hyper reads nothing more while something that it read waits here to be taken.
            self.turn(cx);
            match Pin::new(&mut *body).poll_frame(&mut Context::from_waker(Waker::noop())) {
                Poll::Pending => return Poll::Pending,
                // To hyper a stream that the server gave up without an error is at its end, too.
                Poll::Ready(None) if matches!(self.spoken, Spoken::Http2(_)) && !body.is_end_stream() => {
                    return Poll::Ready(Some(Err(Kind::Truncated)));
                }
                Poll::Ready(None) => return Poll::Ready(None),
                Poll::Ready(Some(Err(error))) => return Poll::Ready(Some(Err(body_kind(&error)))),
                Poll::Ready(Some(Ok(frame))) => {
                    if let Ok(data) = frame.into_data() {
                        return Poll::Ready(Some(Ok(data)));
                    }
                }
            }
        }
    }
}
