//! One request from its due instant to its row: the attempts, and what becomes of the connection.

use hb_core::record::{Kind, Record};
use hb_services::{is_same_model, protocol::Reader};
use tokio::time::Instant;

use super::{drive::Engine, ledger::Due, seen::Seen, server::Server, supply::Made};

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
        let ended = self.ending.unless(self.attempts(&mut seen, &made, server)).await;
        let kind = match ended {
            Ok(Ok(kind)) => kind,
            Ok(Err(kind)) | Err(kind) => Some(kind),
        };
        if let (Some(kind), Some(message)) = (kind, seen.answer.as_mut().and_then(|answer| answer.message.take())) {
            due.book().told(kind, &message, &self.prepared.share.servers[server as usize]);
        }
        if kind == Some(Kind::ClientLimit) {
            due.book().no_connection_left();
        }
        let asked = &self.prepared.share.service.model;
        let model = seen.answer.as_ref().and_then(|answer| answer.model.as_deref());
        let other = model.filter(|answered| !is_same_model(asked, answered));
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

    async fn attempts(&self, seen: &mut Seen<'_>, made: &Made, server: u32) -> Result<Option<Kind>, Kind> {
        let server = &self.prepared.servers[server as usize];
        let mut reader = self.prepared.reader();
        self.prepared.lease.held().await;
        // Where the load or the server ends midway, the reader is dropped with the future.
        let kind = server.ending.unless(self.attempts_with(seen, made, server, reader.as_mut())).await?;
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
            // Where one idle connection was found closed the others may be, too: what is tried again gets a new one.
            let kept = if seen.attempts == 0 { server.idle() } else { None };
            let mut link = match kept {
                Some(link) => link,
                None => {
                    let opening = Instant::now();
                    let by = begun + self.timeouts.connect.0.min(self.timeouts.total.0);
                    let link = server.connect(by, self.clock).await?;
                    seen.connect = Some(opening.elapsed().into());
                    link
                }
            };
            seen.attempts += 1;
            let (was_used, before) = (link.is_used, link.bytes_read());
            let result = self.exchange(&mut link, seen, server.request(made.body.clone()), reader, begun).await;
            match result {
                Err(Kind::Reset) if was_used && link.was_passed_over(before) => continue,
                Err(kind) => return Err(kind),
                Ok(kind) => {
                    link.is_used = true;
                    server.keep(link);
                    return Ok(kind);
                }
            }
        }
    }
}
