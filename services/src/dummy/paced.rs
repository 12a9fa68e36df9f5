//! A streamed answer's body: each step is sent at its own absolute instant, so that lateness never adds up.

use std::{
    fmt,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use hyper::body::{Body, Frame};
use rand::RngExt;
use rand_pcg::Pcg64Mcg;
use tokio::time::{Instant, Sleep, sleep_until};

use super::{
    faults::Fault,
    script::Script,
    visit::{Ending, Visit},
};

/// The most bytes handed over at once, so that a long answer without delay does not lie in memory whole.
const MOST_BYTES: usize = 64 * 1024;

/// The timer wakes at the next whole millisecond: half of one late on average, which is made up for.
const TIMER_LATENESS: Duration = Duration::from_micros(500);

/// When the steps of an answer are due.
#[derive(Debug, Clone)]
pub struct Pace {
    /// When the answer had its turn.
    pub start: Instant,
    /// From there to the first step, its jitter included.
    pub first: Duration,
    /// Between two steps.
    pub gap: Duration,
    /// A step lies up to half this share of `gap` before or behind its instant.
    pub jitter: f64,
    /// Draws the jitter.
    pub random: Pcg64Mcg,
}

impl Pace {
    /// When a step is due. Steps never change places: each stays within half a gap of its instant.
    fn due(&mut self, step: u32) -> Instant {
        let due = self.start + (self.first + self.gap * step).saturating_sub(TIMER_LATENESS);
        if self.jitter == 0.0 || step == 0 {
            return due;
        }
        let away: f64 = (self.random.random::<f64>() - 0.5) * self.jitter;
        let shift = self.gap.mul_f64(away.abs());
        if away < 0.0 { due - shift } else { due + shift }
    }
}

/// How a connection is told that an answer is to be broken off.
#[derive(Debug)]
pub struct Breaking {
    /// Whether it speaks HTTP/2.
    pub is_http2: bool,
    /// Whether it is to be reset rather than closed; in HTTP/2, where the stream alone is reset, whether it is to be closed.
    pub is_due: AtomicBool,
}

impl Breaking {
    /// Of a connection on which nothing is broken off yet.
    pub fn of(is_http2: bool) -> Self {
        Self { is_http2, is_due: AtomicBool::new(false) }
    }
}

/// The planted end of a connection.
#[derive(Debug)]
pub struct Planted;

impl fmt::Display for Planted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("planted fault")
    }
}

impl std::error::Error for Planted {}

/// The body.
pub struct Paced {
    script: Script,
    pace: Pace,
    fault: Option<Fault>,
    breaking: Arc<Breaking>,
    visit: Visit,
    sleep: Pin<Box<Sleep>>,
    next: u32,
    /// When step `next` is due.
    due: Instant,
    is_over: bool,
    is_breaking: bool,
}

impl Paced {
    /// A body that plays `script` at `pace`, up to `fault`.
    pub fn new(script: Script, mut pace: Pace, fault: Option<Fault>, breaking: Arc<Breaking>, visit: Visit) -> Self {
        let due = pace.due(0);
        let sleep = Box::pin(sleep_until(due));
        Self { script, pace, fault, breaking, visit, sleep, next: 0, due, is_over: false, is_breaking: false }
    }

    /// A body in one piece of which only the first half is sent, now.
    pub fn half(body: Bytes, fault: Fault, breaking: Arc<Breaking>, visit: Visit) -> Self {
        let now = Instant::now();
        let pace = Pace { start: now, first: Duration::ZERO, gap: Duration::ZERO, jitter: 0.0, random: Pcg64Mcg::new(0) };
        let half = body.slice(..body.len() / 2);
        Self::new(Script::in_one_piece(half), pace, Some(fault), breaking, visit)
    }

    /// The first step that is not sent.
    fn stop(&self) -> u32 {
        match self.fault {
            Some(Fault::Reset | Fault::Truncate | Fault::Hang | Fault::ErrorEvent) => self.script.steps / 2,
            _ => self.script.steps,
        }
    }

    /// Whatever is due now: one step on time, several when late or without delay.
    fn due_bytes(&mut self, now: Instant) -> Option<Bytes> {
        let (from, stop) = (self.next, self.stop());
        let most = u32::try_from(MOST_BYTES / self.script.step.len().max(1)).unwrap_or(u32::MAX).max(1);
        while self.next < stop && self.due <= now && self.next - from < most {
            self.next += 1;
            self.due = self.pace.due(self.next);
        }
        if self.next == from {
            return None;
        }
        let (bytes, tokens) = self.script.between(from, self.next);
        self.visit.sent(tokens);
        Some(bytes)
    }

    /// What ends the body after its last step, if it ends properly.
    fn end(&mut self) -> Bytes {
        self.is_over = true;
        match self.fault {
            Some(Fault::NoEnd) => {
                self.visit.end(Ending::Planted(Fault::NoEnd));
                Bytes::new()
            }
            Some(Fault::ErrorEvent) => {
                self.visit.end(Ending::Planted(Fault::ErrorEvent));
                self.script.error.clone()
            }
            _ => {
                self.visit.end(Ending::Completed);
                self.script.ending.clone()
            }
        }
    }

    /// Hyper writes out what it has when a body says it has nothing now, and drops the connection at an error.
    fn break_off(&mut self, fault: Fault, context: &Context) -> Poll<Option<Result<Frame<Bytes>, Planted>>> {
        if !self.is_breaking {
            self.is_breaking = true;
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        self.visit.end(Ending::Planted(fault));
        self.is_over = true;
        if self.breaking.is_http2 && fault == Fault::Truncate {
            // An error would be told to the client: the connection is to end without a word.
            self.breaking.is_due.store(true, Relaxed);
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        self.breaking.is_due.store(!self.breaking.is_http2 && fault == Fault::Reset, Relaxed);
        Poll::Ready(Some(Err(Planted)))
    }
}

impl Body for Paced {
    type Data = Bytes;
    type Error = Planted;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context) -> Poll<Option<Result<Frame<Bytes>, Planted>>> {
        let this = &mut *self;
        if this.is_over {
            return Poll::Ready(None);
        }
        let sent = this.due_bytes(Instant::now());
        let stop = this.stop();
        let is_cut = matches!(this.fault, Some(Fault::Reset | Fault::Truncate | Fault::Hang));
        // The end goes out with the last step; an answer without a token still takes its time.
        if this.next == stop && !is_cut && (sent.is_some() || this.due <= Instant::now()) {
            let end = this.end();
            return Poll::Ready(joined(sent, &end).map(|bytes| Ok(Frame::data(bytes))));
        }
        if let Some(bytes) = sent {
            return Poll::Ready(Some(Ok(Frame::data(bytes))));
        }
        if this.next == stop && is_cut {
            match this.fault {
                Some(fault @ (Fault::Reset | Fault::Truncate)) => return this.break_off(fault, context),
                _ => {
                    this.visit.end(Ending::Planted(Fault::Hang));
                    return Poll::Pending;
                }
            }
        }
        if this.sleep.deadline() != this.due {
            this.sleep.as_mut().reset(this.due);
        }
        match this.sleep.as_mut().poll(context) {
            Poll::Pending => Poll::Pending,
            // It became due between the two looks at the clock.
            Poll::Ready(()) => {
                context.waker().wake_by_ref();
                Poll::Pending
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.is_over
    }
}

/// Both in one write; nothing at all when there is nothing to write.
fn joined(first: Option<Bytes>, end: &Bytes) -> Option<Bytes> {
    match first {
        Some(first) if end.is_empty() => Some(first),
        Some(first) => Some([&first[..], &end[..]].concat().into()),
        None => (!end.is_empty()).then(|| end.clone()),
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;

    use super::*;

    #[test]
    fn jitter_moves_steps_but_never_past_each_other() {
        let mut pace = Pace {
            start: Instant::now(),
            first: Duration::from_millis(3),
            gap: Duration::from_millis(10),
            jitter: 1.0,
            random: Pcg64Mcg::seed_from_u64(7),
        };
        let due: Vec<_> = (0..1000).map(|step| pace.due(step)).collect();
        assert!(due.is_sorted());
        let exact = |step: u32| pace.start + pace.first + pace.gap * step - TIMER_LATENESS;
        assert!(due.iter().zip(0..).any(|(due, step)| *due != exact(step)));
        for (due, step) in due.iter().zip(0..) {
            let away = due.max(&exact(step)).duration_since(*due.min(&exact(step)));
            assert!(away <= pace.gap / 2, "step {step} is {away:?} away");
        }
    }
}
