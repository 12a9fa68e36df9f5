//! One request on one connection: written, its answer read piece by piece, every deadline kept.

use std::{
    future::poll_fn,
    pin::{Pin, pin},
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use hb_core::record::Kind;
use hb_services::protocol::{Answer, Reader};
use http_body_util::Full;
use hyper::{Request, Response, body::Incoming};
use tokio::time::{Instant, Sleep, sleep_until};

use super::{connection::Link, drive::Engine, seen::Seen};

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

impl Engine {
    /// Sends `request` and reads its answer. An error leaves a connection that cannot be used again.
    pub(super) async fn exchange(
        &self,
        link: &mut Link,
        seen: &mut Seen<'_>,
        request: Request<Full<Bytes>>,
        reader: &mut dyn Reader,
        begun: Instant,
    ) -> Result<Option<Kind>, Kind> {
        let limits = Limits {
            first_by: Instant::now() + self.timeouts.first_byte.0,
            total_by: begun + self.timeouts.total.0,
            between: self.timeouts.between_chunks.0,
        };
        seen.due.sent(self.clock.now());
        let mut alarm = pin!(sleep_until(limits.next(None).0));
        let response = head(link, request, alarm.as_mut(), limits).await?;
        let status = response.status();
        seen.status = Some(status.as_u16());
        let mut body = response.into_body();
        if !status.is_success() {
            let (start, is_whole) = refusal(link, &mut body, alarm.as_mut()).await;
            let (kind, message) = self.prepared.protocol.refusal(status.as_u16(), &start);
            seen.answer = Some(Answer { kind: Some(kind), message, ..Answer::default() });
            return if is_whole { Ok(Some(kind)) } else { Err(kind) };
        }
        let ended = poll_fn(|cx| self.poll_body(cx, link, &mut body, reader, seen, alarm.as_mut(), limits)).await;
        let answer = reader.finish();
        let said = answer.kind;
        seen.answer = Some(answer);
        match ended {
            // HTTP says that all of it came, so nobody cut it.
            Ok(()) => Ok(said.map(|kind| if kind == Kind::Truncated { Kind::NoEndMark } else { kind })),
            // What the server itself said comes before the way in which the connection ended.
            Err(_) if matches!(said, Some(Kind::ErrorEvent | Kind::Aborted)) => Err(said.unwrap_or(Kind::ErrorEvent)),
            Err(kind) => Err(kind),
        }
    }

    /// Reads the body as far as it has come.
    #[expect(clippy::too_many_arguments, reason = "the parts of one exchange, each borrowed on its own")]
    fn poll_body(
        &self,
        cx: &mut Context<'_>,
        link: &mut Link,
        body: &mut Incoming,
        reader: &mut dyn Reader,
        seen: &mut Seen<'_>,
        mut alarm: Pin<&mut Sleep>,
        limits: Limits,
    ) -> Poll<Result<(), Kind>> {
        loop {
            match link.poll_data(cx, body) {
                Poll::Ready(None) => return Poll::Ready(Ok(())),
                Poll::Ready(Some(Err(_))) if seen.over.is_some() => return Poll::Ready(Ok(())),
                Poll::Ready(Some(Err(kind))) => return Poll::Ready(Err(kind)),
                Poll::Ready(Some(Ok(data))) => {
                    let progress = reader.feed(&data)?;
                    let (was_over, had_content) = (seen.over.is_some(), seen.last.is_some());
                    seen.content(link.read_at(), progress);
                    if let Some(last) = seen.last.filter(|_| !had_content) {
                        // From here on silence counts, and it may end earlier than the wait for the first content.
                        alarm.as_mut().reset(limits.next(Some(self.clock.instant(last))).0);
                    }
                    if progress.is_over && !was_over {
                        alarm.as_mut().reset(Instant::now() + BODY_END_GRACE);
                    }
                }
                Poll::Pending => {
                    if alarm.as_mut().poll(cx).is_pending() {
                        return Poll::Pending;
                    }
                    if seen.over.is_some() {
                        return Poll::Ready(Ok(()));
                    }
                    // The alarm is set again only when it rings, so that a token costs no timer.
                    let (by, kind) = limits.next(seen.last.map(|last| self.clock.instant(last)));
                    if Instant::now() >= by {
                        return Poll::Ready(Err(kind));
                    }
                    alarm.as_mut().reset(by);
                }
            }
        }
    }
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
