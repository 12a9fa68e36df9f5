//! An answer that is one JSON text: collected up to a limit, read at its end.

use hb_core::record::Kind;

use crate::{
    kept::{Kept, text_in},
    protocol::{Answer, Progress, Reader},
};

/// The longest answer that is collected, in bytes.
pub const MAX_BODY_BYTES: usize = 32 * 1024 * 1024;

/// Collects the body and reads it with `read` once it has ended.
pub struct Whole {
    body: Vec<u8>,
    failed: Option<Kind>,
    read: fn(&[u8]) -> Answer,
    text: Kept,
}

impl Whole {
    /// A reader whose body means what `read` makes of it.
    pub fn new(read: fn(&[u8]) -> Answer) -> Self {
        Self { body: Vec::new(), failed: None, read, text: Kept::default() }
    }

    /// The same, which keeps the answer's text, if it is wanted.
    pub fn keeping_text(self, is_wanted: bool) -> Self {
        Self { text: Kept::wanted(is_wanted), ..self }
    }
}

impl Reader for Whole {
    fn feed(&mut self, bytes: &[u8]) -> Result<Progress, Kind> {
        if self.body.len() + bytes.len() > MAX_BODY_BYTES {
            self.failed = Some(Kind::Oversize);
            return Err(Kind::Oversize);
        }
        // The answer came when its first bytes did; how many tokens they hold is told at its end, if at all.
        let events = u32::from(self.body.is_empty() && !bytes.is_empty());
        self.body.extend_from_slice(bytes);
        Ok(Progress { events, tokens: Some(0), ..Progress::default() })
    }

    fn finish(&mut self) -> Answer {
        let answer = match self.failed.take() {
            Some(kind) => Answer { kind: Some(kind), ..Answer::default() },
            None => {
                let is_short = self.text.add(|| text_in(&self.body)).is_ok();
                debug_assert!(is_short, "a text is shorter than the body it stands in");
                Answer { text: self.text.take(), ..(self.read)(&self.body) }
            }
        };
        self.body.clear();
        self.body.shrink_to(256 * 1024);
        answer
    }
}

/// Cuts what a server says at 200 characters on one line, for a row or a warning.
pub fn message(text: &str) -> Option<String> {
    let cut: String = text.chars().take(200).map(|letter| if letter.is_control() { ' ' } else { letter }).collect();
    (!cut.is_empty()).then_some(cut)
}

/// Whether bytes are the beginning of a JSON text rather than something else; a character may be cut, too.
pub fn could_go_on(bytes: &[u8]) -> bool {
    let valid = match std::str::from_utf8(bytes) {
        Ok(text) => text,
        Err(error) if error.error_len().is_none() => std::str::from_utf8(&bytes[..error.valid_up_to()]).unwrap_or_default(),
        Err(_) => return false,
    };
    serde_json::from_str::<serde::de::IgnoredAny>(valid).is_err_and(|error| error.is_eof())
}
