//! One request from its due instant to its row: the attempts, and what becomes of the connection.

use std::future::poll_fn;

use hb_core::record::{Kind, Record};
use hb_services::is_same_model;
use tokio::time::Instant;

use super::{drive::Engine, exchange::Begun, ledger::Due, seen::Seen, server::Server, supply::Made};

/// How a request ended, for whoever asks the next one.
pub(super) struct Ended {
    /// Why it did not complete.
    pub kind: Option<Kind>,
    /// The answer's text, where it was kept.
    pub text: Option<String>,
}

impl Engine {
    /// Sends `due` to server `server` and ends it.
    pub(super) async fn carry_out(&self, due: Due, made: Made, server: u32) -> Ended {
        let mut seen = Seen::new(&due);
        let ended = self.asked(&mut seen, &made, &self.prepared.servers[server as usize]).await;
        let kind = ended.unwrap_or_else(Some);
        if let (Some(kind), Some(message)) = (kind, seen.answer.as_mut().and_then(|answer| answer.message.take())) {
            due.book().told(kind, &message, &self.prepared.share.servers[server as usize]);
        }
        if kind == Some(Kind::ClientLimit) {
            due.book().no_connection_left();
        }
        let service = &self.prepared.share.service;
        let asked = &service.model;
        let model = seen.answer.as_ref().and_then(|answer| answer.model.as_deref());
        let mut meant = [asked].into_iter().chain(&service.answers_as);
        let other = model.filter(|answered| !meant.any(|meant| is_same_model(meant, answered)));
        if let Some(answered) = other {
            due.book().other_model(asked, answered, &self.prepared.share.servers[server as usize]);
        }
        let is_other_model = other.is_some();
        let text = seen.answer.as_mut().and_then(|answer| answer.text.take());
        let asked_input_tokens = made.asked_input_tokens;
        let row =
            Record { is_other_model, asked_input_tokens, ..seen.into_row(kind, made.asked_tokens, server, self.clock.now()) };
        // An answer in one piece has no first token.
        let is_streamed = self.prepared.share.request.stream;
        let row = if is_streamed { row } else { Record { first: None, first_output: None, ..row } };
        due.end(row);
        Ended { kind, text }
    }

    /// Sends it and reads the answer, unless load or server end before.
    async fn asked(&self, seen: &mut Seen<'_>, made: &Made, server: &Server) -> Result<Option<Kind>, Kind> {
        // On the heap, as its kilobytes would lie between the few bytes that every read of an answer touches.
        let begun = Box::pin(self.begun(seen, made, server));
        let mut answering = match self.ending.unless(server.ending.unless(begun)).await??? {
            Begun::Answering(answering) => answering,
            Begun::Refused(answer, link) => {
                link.into_iter().for_each(|link| server.keep(link));
                let kind = answer.kind;
                seen.answer = Some(answer);
                return Ok(kind);
            }
        };
        let ended = self.ending.unless(server.ending.unless(poll_fn(|cx| answering.poll(cx, seen)))).await??;
        let (answer, kind, link, reader) = answering.finish(ended);
        seen.answer = Some(answer);
        self.prepared.keep(reader);
        if kind.is_ok() {
            server.keep(link);
        }
        kind
    }

    /// Sends it, once more where a kept connection was closed before it was taken up.
    async fn begun(&self, seen: &mut Seen<'_>, made: &Made, server: &Server) -> Result<Begun, Kind> {
        self.prepared.lease.held().await;
        let begun = Instant::now();
        loop {
            // Where one idle connection was found closed the others may be, too: what is tried again gets a new one.
            let kept = if seen.attempts == 0 { server.idle() } else { None };
            let was_kept = kept.is_some();
            let mut link = match kept {
                Some(link) => link,
                None => server.connect(begun + self.timeouts.connect.0.min(self.timeouts.total.0)).await?,
            };
            if !link.is_used {
                seen.connect = Some(link.opened_in);
            }
            seen.attempts += 1;
            let (before, sent) = (link.bytes_read(), std::time::Instant::now());
            match self.begin(&mut link, seen, server.request(made.body.clone()), begun).await {
                Err(Kind::Reset) if was_kept && link.was_passed_over(before, sent) => {}
                Err(kind) => return Err(kind),
                Ok(head) => return Ok(self.go_on(link, head).await),
            }
        }
    }
}
