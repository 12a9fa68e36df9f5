//! One request's stay in the server: it is counted into exactly one ending, however it ends.

use std::sync::{Arc, atomic::Ordering::Relaxed};

use tokio::sync::OwnedSemaphorePermit;

use super::{counters::Counters, faults::Fault};

/// How a stay ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// The whole answer was sent.
    Completed,
    /// The request was no use.
    Refused,
    /// A planted fault was played.
    Planted(Fault),
}

/// Counts a request when it is dropped: as `cut` unless it has been told of another ending.
pub struct Visit {
    counters: Arc<Counters>,
    ending: Option<Ending>,
    is_in_flight: bool,
    turn: Option<OwnedSemaphorePermit>,
    is_running: bool,
}

impl Visit {
    /// A request that has just come in.
    pub fn new(counters: Arc<Counters>) -> Self {
        Self { counters, ending: None, is_in_flight: true, turn: None, is_running: false }
    }

    /// It is now being answered, and gives its turn to the next when it ends.
    pub fn run(&mut self, turn: Option<OwnedSemaphorePermit>) {
        self.counters.running.fetch_add(1, Relaxed);
        (self.turn, self.is_running) = (turn, true);
    }

    /// Tokens were handed to the socket.
    pub fn sent(&self, tokens: u64) {
        self.counters.tokens.fetch_add(tokens, Relaxed);
    }

    /// It has ended; only the first ending counts, and it counts now.
    pub fn end(&mut self, ending: Ending) {
        if self.ending.replace(ending).is_some() {
            return;
        }
        match ending {
            Ending::Completed => _ = self.counters.completed.fetch_add(1, Relaxed),
            Ending::Refused => _ = self.counters.refused.fetch_add(1, Relaxed),
            Ending::Planted(fault) => self.counters.fault(fault),
        }
        // Counted before the last bytes are written: the client may ask anew before this is dropped. Who is left hanging
        // stays in flight until the client goes.
        if ending != Ending::Planted(Fault::Hang) {
            self.leave();
        }
    }

    fn leave(&mut self) {
        if std::mem::take(&mut self.is_in_flight) {
            self.counters.left();
        }
    }
}

impl Drop for Visit {
    fn drop(&mut self) {
        self.leave();
        if self.ending.is_none() {
            self.counters.cut.fetch_add(1, Relaxed);
        }
        if self.is_running {
            self.counters.running.fetch_sub(1, Relaxed);
        }
    }
}

/// Counts a request that waits for its turn, until it has it or goes away.
pub struct Waiting<'a>(&'a Counters);

impl<'a> Waiting<'a> {
    /// One more waits.
    pub fn new(counters: &'a Counters) -> Self {
        counters.waiting.fetch_add(1, Relaxed);
        Self(counters)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Relaxed);
    }
}
