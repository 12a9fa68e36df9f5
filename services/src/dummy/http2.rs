//! A connection in HTTP/2. Its streams are answered in the connection's own task: what an answer has said is written out
//! before it is broken off.

use std::{
    convert::Infallible,
    future::poll_fn,
    mem,
    pin::{Pin, pin},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    task::Poll,
};

use hyper::{body::Incoming, rt::Executor, server::conn::http2::Builder, service::HttpService};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use super::server::Body;

type Stream = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Streams that have come in and that nobody polls yet.
#[derive(Clone, Default)]
struct Inbox(Arc<Mutex<Vec<Stream>>>);

impl<F: Future<Output = ()> + Send + 'static> Executor<F> for Inbox {
    fn execute(&self, stream: F) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(Box::pin(stream));
    }
}

/// Answers on `stream` until the client goes, or `closing` says that the connection is to be closed without a word.
pub(super) async fn serve<S>(stream: TcpStream, service: S, closing: &AtomicBool)
where
    S: HttpService<Incoming, ResBody = Body, Error = Infallible> + Send,
    S::Future: Send + 'static,
{
    let inbox = Inbox::default();
    let mut connection = pin!(Builder::new(inbox.clone()).serve_connection(TokioIo::new(stream), service));
    let mut streams: Vec<Stream> = Vec::new();
    poll_fn(|cx| {
        loop {
            // The connection first: it writes what the streams have said.
            if connection.as_mut().poll(cx).is_ready() || closing.load(Relaxed) {
                return Poll::Ready(());
            }
            let before = streams.len();
            streams.retain_mut(|stream| stream.as_mut().poll(cx).is_pending());
            let come = mem::take(&mut *inbox.0.lock().unwrap_or_else(PoisonError::into_inner));
            if come.is_empty() && streams.len() == before {
                return Poll::Pending;
            }
            streams.extend(come);
        }
    })
    .await;
}
