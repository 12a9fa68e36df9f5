//! HTTP/2 within the task of the request. hyper wants an executor for its own parts (the frames' coming and going, a
//! body that waits for its window, an answer that is awaited): this one keeps them here, and they are polled in turn.

use std::{
    mem,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::Context,
};

use bytes::Bytes;
use http_body_util::Full;
use hyper::{
    Request, Response,
    body::Incoming,
    client::conn::http2::{self, SendRequest},
    rt::Executor,
};
use hyper_util::rt::TokioIo;

use super::stream::Stamped;

type Part = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Parts that hyper wants to run and that nobody polls yet. It is emptied wherever something may have come in: parts
/// hold it themselves.
#[derive(Clone, Default)]
struct Inbox(Arc<Mutex<Vec<Part>>>);

impl Inbox {
    fn take(&self) -> Vec<Part> {
        mem::take(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl<F: Future<Output = ()> + Send + 'static> Executor<F> for Inbox {
    fn execute(&self, part: F) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(Box::pin(part));
    }
}

type Connection = http2::Connection<TokioIo<Stamped>, Full<Bytes>, Inbox>;

/// A connection of which one request at a time makes use.
pub(super) struct Http2 {
    sender: SendRequest<Full<Bytes>>,
    /// `None` once it is over.
    connection: Option<Box<Connection>>,
    parts: Vec<Part>,
    inbox: Inbox,
}

impl Http2 {
    pub async fn new(io: TokioIo<Stamped>) -> hyper::Result<Self> {
        let inbox = Inbox::default();
        let (sender, connection) = http2::handshake(inbox.clone(), io).await?;
        Ok(Self { sender, connection: Some(Box::new(connection)), parts: inbox.take(), inbox })
    }

    /// Whether another request can be sent on it.
    pub fn is_ready(&self) -> bool {
        self.connection.is_some() && self.sender.is_ready()
    }

    pub fn send(&mut self, request: Request<Full<Bytes>>) -> impl Future<Output = hyper::Result<Response<Incoming>>> + use<> {
        self.sender.send_request(request)
    }

    /// Does what can be done on the socket now.
    pub fn turn(&mut self, cx: &mut Context<'_>) {
        loop {
            if self.connection.as_mut().is_some_and(|connection| Pin::new(connection).poll(cx).is_ready()) {
                self.connection = None;
            }
            let before = self.parts.len();
            self.parts.retain_mut(|part| part.as_mut().poll(cx).is_pending());
            let come = self.inbox.take();
            // Who waits for a part that has ended is told of it only when polled again.
            if come.is_empty() && self.parts.len() == before {
                return;
            }
            self.parts.extend(come);
        }
    }
}
