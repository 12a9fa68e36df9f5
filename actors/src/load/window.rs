//! Where the measured window ends: as planned, or before that, once the leader says so.

use std::sync::atomic::{AtomicU64, Ordering};

use hb_core::{
    trial::{LoadSpec, Stop},
    units::Nanos,
};
use tokio::sync::Notify;

use super::Clock;

/// The end of a window.
#[derive(Debug)]
pub(super) struct Window {
    end: AtomicU64,
    is_cut: Notify,
}

impl Window {
    /// The planned one.
    pub fn of(load: &LoadSpec) -> Self {
        let end = match load.stop {
            Stop::After(span) => Nanos::from(load.warmup.0.saturating_add(span.0)),
            Stop::Requests(_) => Nanos(u64::MAX),
        };
        Self { end: AtomicU64::new(end.0), is_cut: Notify::new() }
    }

    /// When nothing new is due any more; the end of time where only the number of requests can say.
    pub fn end(&self) -> Nanos {
        Nanos(self.end.load(Ordering::Acquire))
    }

    /// It ends here, if it would last longer.
    pub fn end_at(&self, at: Nanos) {
        if self.end.fetch_min(at.0, Ordering::AcqRel) > at.0 {
            self.is_cut.notify_waiters();
        }
    }

    /// Comes back when it is over, however often its end comes nearer meanwhile.
    pub async fn passed(&self, clock: Clock) {
        loop {
            // Asked for before the end is read, so that no change between the two is missed.
            let cut = self.is_cut.notified();
            match self.end() {
                Nanos(u64::MAX) => cut.await,
                end => tokio::select! {
                    () = tokio::time::sleep_until(clock.instant(end)) => return,
                    () = cut => {}
                },
            }
        }
    }
}
