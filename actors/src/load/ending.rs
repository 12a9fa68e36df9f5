//! The end of a load, told to every request at once.

use std::{
    future::poll_fn,
    pin::pin,
    sync::atomic::{AtomicU8, Ordering},
    task::Poll,
};

use hb_core::record::Kind;
use tokio::sync::Notify;

/// Tells every request at once that the load ends.
#[derive(Debug, Default)]
pub(super) struct Ending {
    state: AtomicU8,
    notify: Notify,
}

impl Ending {
    pub fn set(&self, kind: Kind) {
        self.state.store(if kind == Kind::Stopped { 2 } else { 1 }, Ordering::Release);
        self.notify.notify_waiters();
    }

    /// Why it ended, if it did.
    pub fn kind(&self) -> Option<Kind> {
        match self.state.load(Ordering::Acquire) {
            0 => None,
            1 => Some(Kind::DrainEnded),
            _ => Some(Kind::Stopped),
        }
    }

    /// Runs `future` until the load ends. The notice is registered once: a task's waker stays the same, and a poll per
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
