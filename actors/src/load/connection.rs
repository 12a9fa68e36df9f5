//! One keep-alive connection. hyper's side of it is driven by the task of the request that uses it: no task of its own,
//! so a read wakes one task once and its bytes are handed on in the same poll.

use std::{
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll, Waker},
};

use bytes::Bytes;
use hb_core::{record::Kind, units::Nanos};
use http_body_util::Full;
use hyper::{
    Request, Response,
    body::{Body as _, Incoming},
    client::conn::http1::{self, Connection, SendRequest},
};
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};
use tokio_rustls::client::TlsStream;

use super::Clock;

/// When bytes were last read, and how many there were.
#[derive(Debug, Default)]
struct Reads {
    at: AtomicU64,
    bytes: AtomicU64,
}

/// The bytes' way.
pub(super) enum Stream {
    Plain(TcpStream),
    /// Boxed: its state is some hundreds of bytes that plain connections need not carry.
    Tls(Box<TlsStream<TcpStream>>),
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_read(cx, buf),
            Self::Tls(stream) => Pin::new(stream).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write(cx, buf),
            Self::Tls(stream) => Pin::new(stream).poll_write(cx, buf),
        }
    }
    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Self::Tls(stream) => Pin::new(stream).poll_flush(cx),
        }
    }
    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
    fn poll_write_vectored(self: Pin<&mut Self>, cx: &mut Context<'_>, bufs: &[io::IoSlice<'_>]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
            Self::Tls(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
        }
    }
    fn is_write_vectored(&self) -> bool {
        match self {
            Self::Plain(stream) => stream.is_write_vectored(),
            Self::Tls(stream) => stream.is_write_vectored(),
        }
    }
}

/// A stream that stamps what it reads.
struct Stamped {
    stream: Stream,
    clock: Clock,
    reads: Arc<Reads>,
}

impl AsyncRead for Stamped {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let polled = Pin::new(&mut self.stream).poll_read(cx, buf);
        let read = buf.filled().len() - before;
        if read > 0 {
            self.reads.at.store(self.clock.now().0, Ordering::Relaxed);
            self.reads.bytes.fetch_add(read as u64, Ordering::Relaxed);
        }
        polled
    }
}

impl AsyncWrite for Stamped {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
    fn poll_write_vectored(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bufs: &[io::IoSlice<'_>]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }
    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

/// A connection to a server.
pub(super) struct Link {
    sender: SendRequest<Full<Bytes>>,
    /// `None` once it is over. Dropped at once: whoever waits for something that it did not take up, such as a request
    /// that came with the server's close, is told only then.
    connection: Option<Box<Connection<TokioIo<Stamped>, Full<Bytes>>>>,
    reads: Arc<Reads>,
    /// Whether it has carried an answer.
    pub is_used: bool,
}

impl Link {
    pub async fn new(stream: Stream, clock: Clock) -> Result<Self, Kind> {
        let reads = Arc::new(Reads::default());
        let stream = Stamped { stream, clock, reads: reads.clone() };
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(|_| Kind::Connect)?;
        Ok(Self { sender, connection: Some(Box::new(connection)), reads, is_used: false })
    }

    /// Whether another request can be sent on it; sees a close that has arrived.
    pub fn is_ready(&mut self) -> bool {
        self.turn(&mut Context::from_waker(Waker::noop()));
        self.connection.is_some() && (!self.is_used || self.sender.is_ready())
    }

    pub fn send(&mut self, request: Request<Full<Bytes>>) -> impl Future<Output = hyper::Result<Response<Incoming>>> + use<> {
        self.sender.send_request(request)
    }

    /// The instant of the last read.
    pub fn read_at(&self) -> Nanos {
        Nanos(self.reads.at.load(Ordering::Relaxed))
    }

    pub fn bytes_read(&self) -> u64 {
        self.reads.bytes.load(Ordering::Relaxed)
    }

    /// Does what can be done on the socket now.
    fn turn(&mut self, cx: &mut Context<'_>) {
        if self.connection.as_mut().is_some_and(|connection| Pin::new(connection).poll(cx).is_ready()) {
            self.connection = None;
        }
    }

    pub fn poll_head<F>(&mut self, cx: &mut Context<'_>, response: Pin<&mut F>) -> Poll<F::Output>
    where
        F: Future<Output = hyper::Result<Response<Incoming>>>,
    {
        self.turn(cx);
        // Whatever the other side of hyper's channel does, it does in `turn`: no second wake is needed.
        response.poll(&mut Context::from_waker(Waker::noop()))
    }

    /// The next bytes of the body; `None` at its proper end.
    pub fn poll_data(&mut self, cx: &mut Context<'_>, body: &mut Incoming) -> Poll<Option<hyper::Result<Bytes>>> {
        let mut quiet = Context::from_waker(Waker::noop());
        loop {
            let mut polled = Pin::new(&mut *body).poll_frame(&mut quiet);
            if polled.is_pending() {
                self.turn(cx);
                polled = Pin::new(&mut *body).poll_frame(&mut quiet);
            }
            match polled {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(None) => return Poll::Ready(None),
                Poll::Ready(Some(Err(error))) => return Poll::Ready(Some(Err(error))),
                Poll::Ready(Some(Ok(frame))) => {
                    if let Ok(data) = frame.into_data() {
                        return Poll::Ready(Some(Ok(data)));
                    }
                }
            }
        }
    }
}
