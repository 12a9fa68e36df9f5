//! A model on its way: the answer of a pull, line by line.

use hb_services::service::{PullLine, Service};

use super::Trouble;

/// The longest line of a pull, in bytes.
const MAX_PULL_LINE_BYTES: usize = 64 * 1024;

/// A pull under way.
pub(super) struct Pulling<'a> {
    service: &'a dyn Service,
    progress: &'a (dyn Fn(String) + Send + Sync),
    /// The line that has not ended.
    waiting: Vec<u8>,
    /// What was told last.
    said: String,
}

impl<'a> Pulling<'a> {
    pub(super) fn new(service: &'a dyn Service, progress: &'a (dyn Fn(String) + Send + Sync)) -> Self {
        Self { service, progress, waiting: Vec::new(), said: String::new() }
    }

    /// Takes the next bytes; gives whether the model is there.
    pub(super) fn feed(&mut self, bytes: &[u8]) -> Result<bool, Trouble> {
        for byte in bytes {
            if *byte != b'\n' {
                self.waiting.push(*byte);
                if self.waiting.len() > MAX_PULL_LINE_BYTES {
                    return Err(Trouble::Final(format!("the pull answers with a line beyond {MAX_PULL_LINE_BYTES} bytes")));
                }
                continue;
            }
            let line = std::mem::take(&mut self.waiting);
            if line.trim_ascii().is_empty() {
                continue;
            }
            match self.service.pull_line(&line) {
                PullLine::Done => return Ok(true),
                PullLine::Failed(why) => return Err(Trouble::Final(why)),
                PullLine::Progress(what) if what != self.said => {
                    (self.progress)(what.clone());
                    self.said = what;
                }
                PullLine::Progress(_) => {}
            }
        }
        Ok(false)
    }
}
