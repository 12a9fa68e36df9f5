//! One request from its due instant to its row: attempts, deadlines, stamps and the kind of its failure.

use std::{
    future::poll_fn,
    io,
    pin::pin,
    sync::atomic::{AtomicU8, Ordering},
    task::Poll,
    time::Duration,
};

use hb_core::{
    record::{Kind, Outcome, Record, Stage, TokensSource},
    units::Nanos,
};
use hb_services::protocol::{Answer, Progress, Reader};
use hyper::body::Incoming;
use tokio::{
    sync::Notify,
    time::{Instant, Sleep, sleep_until},
};

use super::{connection::Link, drive::Engine, gaps::Gap, ledger::Due, server::Server, supply::Made};

/// The start of a refusal's body that is read.
const REFUSAL_BYTES: usize = 64 * 1024;
/// The time a server has to end the body after the answer's end mark; the connection is dropped then.
const BODY_END_GRACE: Duration = Duration::from_millis(200);
/// Gaps are handed over when there are so many…
const GAPS_HELD: usize = 32;
/// …or the first of them is so old.
const GAPS_HELD_NANOS: u64 = 250_000_000;

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

/// What has been seen of an answer; it survives the attempt that is given up.
struct Seen<'a> {
    due: &'a Due,
    first: Option<Nanos>,
    last: Option<Nanos>,
    over: Option<Nanos>,
    events: u32,
    tokens: u32,
    first_tokens: Option<u32>,
    status: Option<u16>,
    attempts: u8,
    answer: Option<Answer>,
    gaps: Vec<Gap>,
    handed: Nanos,
    uncounted: u64,
}

impl<'a> Seen<'a> {
    fn new(due: &'a Due) -> Self {
        Self {
            due,
            first: None,
            last: None,
            over: None,
            events: 0,
            tokens: 0,
            first_tokens: None,
            status: None,
            attempts: 0,
            answer: None,
            gaps: Vec::with_capacity(GAPS_HELD),
            handed: Nanos(0),
            uncounted: 0,
        }
    }

    fn content(&mut self, at: Nanos, progress: Progress) {
        if progress.is_over && self.over.is_none() {
            self.over = Some(at);
        }
        if progress.events == 0 {
            return;
        }
        let tokens = progress.tokens.unwrap_or(progress.events);
        let gap = match self.last {
            Some(last) => Some(Gap { nanos: at.0.saturating_sub(last.0), tokens, events: progress.events }),
            None => {
                (self.first, self.first_tokens, self.handed) = (Some(at), progress.tokens, at);
                // What came together with the first event came without a gap.
                let more = progress.events - 1;
                (more > 0).then(|| Gap { nanos: 0, tokens: tokens.min(more), events: more })
            }
        };
        self.last = Some(at);
        self.events += progress.events;
        self.tokens += tokens;
        self.uncounted += u64::from(tokens);
        self.gaps.extend(gap.filter(|_| self.due.stage == Stage::Measure));
        if self.gaps.len() >= GAPS_HELD || at.0.saturating_sub(self.handed.0) > GAPS_HELD_NANOS {
            self.hand_over(at);
        }
    }

    fn hand_over(&mut self, at: Nanos) {
        self.handed = at;
        self.due.book().count_tokens(std::mem::take(&mut self.uncounted));
        if !self.gaps.is_empty() {
            self.due.book().gaps(self.due.index, &mut self.gaps);
        }
    }

    fn into_row(mut self, kind: Option<Kind>, asked_tokens: u32, server: u32, now: Nanos) -> Record {
        self.hand_over(now);
        let answer = self.answer.unwrap_or_default();
        let outcome = outcome(kind);
        let counted = (self.events > 0).then_some((self.tokens, TokensSource::Events));
        let (output_tokens, tokens_source) = match answer.output_tokens {
            Some(tokens) => (Some(tokens), answer.source),
            None => (counted.map(|(tokens, _)| tokens), counted.map(|(_, source)| source)),
        };
        Record {
            first: self.first,
            last: self.last,
            end: Some(self.over.unwrap_or(now)),
            outcome,
            kind,
            input_tokens: answer.input_tokens,
            output_tokens,
            cached_tokens: answer.cached_tokens,
            asked_tokens,
            chunks: self.events,
            first_chunk_tokens: answer.first_chunk_tokens.or(self.first_tokens),
            tokens_source,
            server: u16::try_from(server).ok(),
            status: self.status,
            stopped_early: answer.stopped_early,
            attempts: self.attempts,
            ..Record::unsent(self.due.index, self.due.stage, self.due.due, outcome, Kind::Reset)
        }
    }
}

/// The outcome that a kind belongs to.
pub(super) fn outcome(kind: Option<Kind>) -> Outcome {
    match kind {
        None => Outcome::Completed,
        Some(Kind::ConnectTimeout | Kind::FirstByteTimeout | Kind::BetweenChunksTimeout | Kind::TotalTimeout) => {
            Outcome::TimedOut
        }
        Some(Kind::DrainEnded | Kind::Stopped) => Outcome::Cancelled,
        Some(Kind::MaxInFlight | Kind::SenderLate) => Outcome::Dropped,
        Some(Kind::ExecutorLost | Kind::NodeLost) => Outcome::Lost,
        Some(_) => Outcome::Failed,
    }
}

impl Engine {
    /// Sends `due` to server `server` and ends it.
    pub(super) async fn carry_out(&self, due: Due, made: Made, server: u32) -> Option<Kind> {
        let mut seen = Seen::new(&due);
        let ended = self.ending.unless(self.attempts(&mut seen, &made, server)).await;
        let kind = match ended {
            Ok(Ok(kind)) => kind,
            Ok(Err(kind)) | Err(kind) => Some(kind),
        };
        if let Some(message) = seen.answer.as_ref().and_then(|answer| answer.message.as_deref()) {
            tracing::debug!(index = due.index, server, message, "a request failed");
        }
        let row = seen.into_row(kind, made.asked_tokens, server, self.clock.now());
        due.end(row);
        kind
    }

    async fn attempts(&self, seen: &mut Seen<'_>, made: &Made, server: u32) -> Result<Option<Kind>, Kind> {
        let server = &self.prepared.servers[server as usize];
        let mut reader = self.prepared.reader();
        // Where the load ends midway, the reader is dropped with the future.
        let kind = self.attempts_with(seen, made, server, reader.as_mut()).await;
        self.prepared.keep(reader);
        kind
    }

    async fn attempts_with(
        &self,
        seen: &mut Seen<'_>,
        made: &Made,
        server: &Server,
        reader: &mut dyn Reader,
    ) -> Result<Option<Kind>, Kind> {
        let begun = Instant::now();
        loop {
            let mut link = match server.idle() {
                Some(link) => link,
                None => server.connect(begun + self.timeouts.connect.0.min(self.timeouts.total.0), self.clock).await?,
            };
            seen.attempts += 1;
            let (was_used, before) = (link.is_used, link.bytes_read());
            let result = self.exchange(&mut link, seen, server, made, reader, begun).await;
            let is_silent = link.bytes_read() == before;
            match result {
                Err(Kind::Reset) if was_used && is_silent && seen.attempts == 1 => continue,
                Err(Kind::Reset) if was_used && is_silent => return Err(Kind::ReusedConnectionReset),
                Err(kind) => return Err(kind),
                Ok(kind) => {
                    link.is_used = true;
                    server.keep(link);
                    return Ok(kind);
                }
            }
        }
    }

    async fn exchange(
        &self,
        link: &mut Link,
        seen: &mut Seen<'_>,
        server: &Server,
        made: &Made,
        reader: &mut dyn Reader,
        begun: Instant,
    ) -> Result<Option<Kind>, Kind> {
        let sent = Instant::now();
        seen.due.sent(self.clock.now());
        let mut response = pin!(link.send(server.request(made.body.clone())));
        let (first_by, total_by) = (sent + self.timeouts.first_byte.0, begun + self.timeouts.total.0);
        let mut alarm = pin!(sleep_until(first_by.min(total_by)));
        let response = poll_fn(|cx| match link.poll_head(cx, response.as_mut()) {
            Poll::Ready(head) => Poll::Ready(head.map_err(|error| head_kind(&error))),
            Poll::Pending => alarm
                .as_mut()
                .poll(cx)
                .map(|()| Err(if total_by <= first_by { Kind::TotalTimeout } else { Kind::FirstByteTimeout })),
        })
        .await?;
        let status = response.status();
        seen.status = Some(status.as_u16());
        let mut body = response.into_body();
        if !status.is_success() {
            return self.refused(link, seen, &mut body, status.as_u16(), alarm.as_mut()).await;
        }
        let ended = poll_fn(|cx| {
            loop {
                match link.poll_data(cx, &mut body) {
                    Poll::Ready(None) => return Poll::Ready(Ok(())),
                    Poll::Ready(Some(Err(_))) if seen.over.is_some() => return Poll::Ready(Ok(())),
                    Poll::Ready(Some(Err(error))) => return Poll::Ready(Err(body_kind(&error))),
                    Poll::Ready(Some(Ok(data))) => match reader.feed(&data) {
                        Ok(progress) => {
                            let was_over = seen.over.is_some();
                            seen.content(link.read_at(), progress);
                            if progress.is_over && !was_over {
                                alarm.as_mut().reset(Instant::now() + BODY_END_GRACE);
                            }
                        }
                        Err(kind) => return Poll::Ready(Err(kind)),
                    },
                    Poll::Pending => {
                        if alarm.as_mut().poll(cx).is_pending() {
                            return Poll::Pending;
                        }
                        if seen.over.is_some() {
                            return Poll::Ready(Ok(()));
                        }
                        // The alarm is set again only when it rings, so that a token costs no timer.
                        let now = Instant::now();
                        let (by, kind) = match seen.last {
                            Some(last) => (self.clock.instant(last) + self.timeouts.between_chunks.0, Kind::BetweenChunksTimeout),
                            None => (first_by, Kind::FirstByteTimeout),
                        };
                        if now >= total_by {
                            return Poll::Ready(Err(Kind::TotalTimeout));
                        }
                        if now >= by {
                            return Poll::Ready(Err(kind));
                        }
                        alarm.as_mut().reset(by.min(total_by));
                    }
                }
            }
        })
        .await;
        let answer = reader.finish();
        let said = answer.kind;
        seen.answer = Some(answer);
        match ended {
            Ok(()) => Ok(said),
            // What the server itself said comes before the way in which the connection ended.
            Err(_) if matches!(said, Some(Kind::ErrorEvent | Kind::Aborted)) => Err(said.unwrap_or(Kind::ErrorEvent)),
            Err(kind) => Err(kind),
        }
    }

    async fn refused(
        &self,
        link: &mut Link,
        seen: &mut Seen<'_>,
        body: &mut Incoming,
        status: u16,
        mut alarm: std::pin::Pin<&mut Sleep>,
    ) -> Result<Option<Kind>, Kind> {
        let mut start = Vec::new();
        let is_whole = poll_fn(|cx| {
            loop {
                match link.poll_data(cx, body) {
                    Poll::Ready(None) => return Poll::Ready(true),
                    Poll::Ready(Some(Ok(data))) => {
                        let room = REFUSAL_BYTES - start.len();
                        start.extend_from_slice(&data[..data.len().min(room)]);
                        if data.len() > room {
                            return Poll::Ready(false);
                        }
                    }
                    Poll::Ready(Some(Err(_))) => return Poll::Ready(false),
                    Poll::Pending => return alarm.as_mut().poll(cx).map(|()| false),
                }
            }
        })
        .await;
        let (kind, message) = self.prepared.protocol.refusal(status, &start);
        seen.answer = Some(Answer { kind: Some(kind), message, ..Answer::default() });
        if is_whole { Ok(Some(kind)) } else { Err(kind) }
    }
}

fn io_kind(error: &hyper::Error) -> Option<io::ErrorKind> {
    std::error::Error::source(error).and_then(|source| source.downcast_ref::<io::Error>()).map(io::Error::kind)
}

fn head_kind(error: &hyper::Error) -> Kind {
    if error.is_parse() { Kind::Protocol } else { Kind::Reset }
}

fn body_kind(error: &hyper::Error) -> Kind {
    match io_kind(error) {
        Some(io::ErrorKind::ConnectionReset | io::ErrorKind::ConnectionAborted | io::ErrorKind::BrokenPipe) => Kind::ResetMidway,
        Some(io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput) => Kind::Protocol,
        _ => Kind::Truncated,
    }
}
