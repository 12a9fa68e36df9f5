//! The end of a load or of a server, told to every request at once.

use std::{
    future::poll_fn,
    pin::pin,
    sync::atomic::{AtomicU8, Ordering},
    task::Poll,
};

use hb_core::record::Kind;
use tokio::sync::Notify;

/// Tells every request at once that the load, or its server, is at its end.
#[derive(Debug, Default)]
pub(super) struct Ending {
    state: AtomicU8,
    notify: Notify,
}

impl Ending {
    pub fn set(&self, kind: Kind) {
        let state = match kind {
            Kind::Stopped => 2,
            Kind::ServerLost => 3,
            _ => 1,
        };
        self.state.store(state, Ordering::Release);
        self.notify.notify_waiters();
    }

    /// Why it ended, if it did.
    pub fn kind(&self) -> Option<Kind> {
        match self.state.load(Ordering::Acquire) {
            0 => None,
            1 => Some(Kind::DrainEnded),
            2 => Some(Kind::Stopped),
            _ => Some(Kind::ServerLost),
        }
    }

    /// Runs `future` until then. The notice is registered once: a task's waker stays the same, and a poll per
    /// token would take the notice's lock.
    pub async fn unless<F: Future>(&self, future: F) -> Result<F::Output, Kind> {
        let mut future = pin!(future);
        let mut notice = pin!(self.notify.notified());
        let mut is_registered = false;
        poll_fn(|cx| {
            if !is_registered {
                is_registered = notice.as_mut().poll(cx).is_pending();
            }
            match self.kind() {
                Some(kind) => Poll::Ready(Err(kind)),
                None => future.as_mut().poll(cx).map(Ok),
            }
        })
        .await
    }
}
