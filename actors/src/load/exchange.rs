//! One request on one connection: written, its answer read piece by piece, every deadline kept.

use std::{
    future::poll_fn,
    pin::{Pin, pin},
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use hb_core::{record::Kind, units::Nanos};
use hb_services::protocol::{Answer, Reader};
use http_body_util::Full;
use hyper::{Request, Response, body::Incoming};
use tokio::time::{Instant, Sleep, sleep_until};

use super::{Clock, connection::Link, drive::Engine, seen::Seen};
use crate::body_form::{content_type, encoding};

/// The start of a refusal's body that is read.
const REFUSAL_BYTES: usize = 64 * 1024;
/// The time a server has to end the body after the answer's end mark; the connection is dropped then.
const BODY_END_GRACE: Duration = Duration::from_millis(200);

/// An exchange's deadlines.
#[derive(Debug, Clone, Copy)]
struct Limits {
    first_by: Instant,
    total_by: Instant,
    between: Duration,
}

impl Limits {
    /// The next deadline, and what it means that it has passed.
    fn next(self, last: Option<Instant>) -> (Instant, Kind) {
        let (by, kind) = match last {
            Some(last) => (last + self.between, Kind::BetweenChunksTimeout),
            None => (self.first_by, Kind::FirstByteTimeout),
        };
        if self.total_by <= by { (self.total_by, Kind::TotalTimeout) } else { (by, kind) }
    }
}

/// How an exchange goes on behind the answer's head.
pub(super) enum Begun {
    /// With the answer.
    Answering(Answering),
    /// Not at all: the server refused, and so the answer was.
    Refused(Answer, Option<Link>),
}

impl Engine {
    /// Sends `request` and reads the answer's head. An error leaves a connection that cannot be used again.
    pub(super) async fn begin(
        &self,
        link: &mut Link,
        seen: &mut Seen<'_>,
        request: Request<Full<Bytes>>,
        begun: Instant,
    ) -> Result<Head, Kind> {
        let limits = Limits {
            first_by: Instant::now() + self.timeouts.first_byte.0,
            total_by: begun + self.timeouts.total.0,
            between: self.timeouts.between_chunks.0,
        };
        seen.due.sent(self.clock.now());
        let mut alarm = Box::pin(sleep_until(limits.next(None).0));
        let response = head(link, request, alarm.as_mut(), limits).await?;
        seen.status = Some(response.status().as_u16());
        Ok(Head { response, alarm, limits })
    }

    /// Takes the exchange on behind the answer's head.
    pub(super) async fn go_on(&self, mut link: Link, head: Head) -> Begun {
        let Head { response, mut alarm, limits } = head;
        let status = response.status();
        let (head, mut body) = response.into_parts();
        if status.is_success() {
            let (mut reader, clock) = (self.prepared.reader(), self.clock);
            reader.begin(content_type(&head.headers));
            let encoding = encoding(&head.headers);
            return Begun::Answering(Answering { link, body, reader, encoding, clock, limits, alarm, rings: None });
        }
        let (start, is_whole) = refusal(&mut link, &mut body, alarm.as_mut()).await;
        let (kind, message) = self.prepared.protocol.refusal(status.as_u16(), &start);
        Begun::Refused(Answer { kind: Some(kind), message, ..Answer::default() }, is_whole.then_some(link))
    }
}

/// An answer that is coming: what every read touches, side by side.
pub(super) struct Answering {
    link: Link,
    body: Incoming,
    reader: Box<dyn Reader>,
    /// How the body is encoded, though nobody asked for it.
    encoding: Option<String>,
    clock: Clock,
    limits: Limits,
    alarm: Pin<Box<Sleep>>,
    /// When the alarm rings, if it knows whom to wake.
    rings: Option<Nanos>,
}

impl Answering {
    /// Reads what has come; ready when the answer is over, properly or not.
    pub fn poll(&mut self, cx: &mut Context<'_>, seen: &mut Seen<'_>) -> Poll<Result<(), Kind>> {
        let mut has_read = false;
        loop {
            match self.link.poll_data(cx, &mut self.body) {
                Poll::Ready(None) => return Poll::Ready(Ok(())),
                Poll::Ready(Some(Err(_))) if seen.over.is_some() => return Poll::Ready(Ok(())),
                Poll::Ready(Some(Err(kind))) => return Poll::Ready(Err(kind)),
                Poll::Ready(Some(Ok(data))) => {
                    has_read = true;
                    let progress = self.reader.feed(&data)?;
                    let (was_over, had_content) = (seen.over.is_some(), seen.last.is_some());
                    seen.content(self.read_at(), data.len(), progress);
                    if let Some(last) = seen.last.filter(|_| !had_content) {
                        // From here on silence counts, and it may end earlier than the wait for the first content.
                        self.set_alarm(self.limits.next(Some(self.clock.instant(last))).0);
                    }
                    if progress.is_over && !was_over {
                        self.set_alarm(Instant::now() + BODY_END_GRACE);
                    }
                }
                // A task that was woken by bytes need not ask an alarm that will wake it.
                Poll::Pending if has_read && self.rings.is_some_and(|rings| self.read_at() < rings) => return Poll::Pending,
                Poll::Pending => {
                    if self.alarm.as_mut().poll(cx).is_pending() {
                        self.rings = Some(self.clock.of(self.alarm.deadline().into_std()));
                        return Poll::Pending;
                    }
                    if seen.over.is_some() {
                        return Poll::Ready(Ok(()));
                    }
                    // The alarm is set again only when it rings, so that a token costs no timer.
                    let (by, kind) = self.limits.next(seen.last.map(|last| self.clock.instant(last)));
                    if Instant::now() >= by {
                        return Poll::Ready(Err(kind));
                    }
                    self.set_alarm(by);
                }
            }
        }
    }

    fn read_at(&self) -> Nanos {
        self.clock.of(self.link.read_at())
    }

    fn set_alarm(&mut self, at: Instant) {
        self.alarm.as_mut().reset(at);
        self.rings = None;
    }

    /// What the answer that ended so has come to, and what can serve the next one.
    pub fn finish(mut self, ended: Result<(), Kind>) -> (Answer, Result<Option<Kind>, Kind>, Link, Box<dyn Reader>) {
        let mut answer = self.reader.finish();
        if matches!(ended, Ok(()) | Err(Kind::Malformed)) {
            answer = answer.of_whole_body(self.encoding.as_deref());
        }
        let kind = match (ended, answer.kind) {
            (Ok(()), kind) => Ok(kind),
            // What the server itself said comes before the way in which the connection ended.
            (Err(_), Some(said @ (Kind::ErrorEvent | Kind::Aborted))) => Err(said),
            (Err(kind), said) => {
                // What an answer lacks is no news where it was cut.
                answer.message = answer.message.filter(|_| said == Some(kind) && kind != Kind::Truncated);
                Err(kind)
            }
        };
        (answer, kind, self.link, self.reader)
    }
}

/// The head of an answer, and what goes on behind it.
pub(super) struct Head {
    response: Response<Incoming>,
    alarm: Pin<Box<Sleep>>,
    limits: Limits,
}

/// The answer's head.
async fn head(
    link: &mut Link,
    request: Request<Full<Bytes>>,
    mut alarm: Pin<&mut Sleep>,
    limits: Limits,
) -> Result<Response<Incoming>, Kind> {
    let mut response = pin!(link.send(request));
    poll_fn(|cx| match link.poll_head(cx, response.as_mut()) {
        Poll::Ready(head) => Poll::Ready(head),
        Poll::Pending => alarm.as_mut().poll(cx).map(|()| Err(limits.next(None).1)),
    })
    .await
}

/// The start of a refusal's body, and whether the body has ended properly.
async fn refusal(link: &mut Link, body: &mut Incoming, mut alarm: Pin<&mut Sleep>) -> (Vec<u8>, bool) {
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
    (start, is_whole)
}
