//! The open loop's beat: a thread that walks the schedule and hands over each request at its instant.
//!
//! The runtime's own timers ring on whole milliseconds only, which alone would put a millisecond of dispatch delay on
//! every request. A thread that parks until the instant is some 60 µs late, wakes the runtime once for each request and
//! costs nothing while it waits; spinning through the rest would cost a core.

use std::time::Duration;

use hb_core::schedule::Due;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use super::{Clock, LoadError, side_thread::SideThread};

/// The other end of the thread's string.
pub(super) struct Pacer {
    thread: SideThread,
    /// Requests as they become due. It holds those that are due and no other, so the schedule bounds it.
    dues: UnboundedReceiver<Due>,
}

impl Pacer {
    /// Hands over what `schedule` has, each at its instant by `clock`.
    pub fn start(schedule: impl Iterator<Item = Due> + Send + 'static, clock: Clock) -> Result<Self, LoadError> {
        let (sender, dues) = unbounded_channel();
        let thread = SideThread::start("load-pacer", move |pauses| {
            for due in schedule {
                // Asked before the wait and not after it: what has become due meanwhile is handed over.
                while let Some(rest) = until(due, clock) {
                    if pauses.are_over() {
                        return;
                    }
                    pauses.wait(rest);
                }
                if sender.send(due).is_err() {
                    return;
                }
            }
        })?;
        Ok(Self { thread, dues })
    }

    /// The next request, once it is due; `None` after the last one.
    pub async fn due(&mut self) -> Option<Due> {
        self.dues.recv().await
    }

    /// Nothing that lies ahead will become due any more. What is due already is still handed over.
    pub fn stop(&self) {
        self.thread.end();
    }
}

/// The time to `due`; nothing once it is there.
fn until(due: Due, clock: Clock) -> Option<Duration> {
    let due = clock.start + Duration::from_nanos(due.at.0);
    due.checked_duration_since(std::time::Instant::now()).filter(|rest| !rest.is_zero())
}
