//! Cuts a stream of bytes into lines, however the socket cut it.
//!
//! A line that lies whole in the bytes at hand is handed on in place; only an unfinished tail is
//! copied, into a buffer that is reused.

use hb_core::record::Kind;

/// The longest line that is waited for, in bytes. What is longer is no event of a token stream.
pub const MAX_LINE_BYTES: usize = 4 * 1024 * 1024;

/// The unfinished line between two reads.
#[derive(Debug, Default)]
pub struct Lines {
    tail: Vec<u8>,
}

impl Lines {
    /// Hands each finished line to `take`, without its `\n` or `\r\n`.
    ///
    /// # Errors
    /// [`Kind::Oversize`] for a line without end, or what `take` returns.
    pub fn feed(&mut self, mut bytes: &[u8], mut take: impl FnMut(&[u8]) -> Result<(), Kind>) -> Result<(), Kind> {
        while let Some(end) = memchr::memchr(b'\n', bytes) {
            let (line, rest) = (&bytes[..end], &bytes[end + 1..]);
            // The limit holds for a line that comes in one piece, too, so that the cuts make no difference.
            if line.len() > MAX_LINE_BYTES {
                return Err(Kind::Oversize);
            }
            if self.tail.is_empty() {
                take(without_return(line))?;
            } else {
                self.keep(line)?;
                let taken = take(without_return(&self.tail));
                self.tail.clear();
                taken?;
            }
            bytes = rest;
        }
        self.keep(bytes)
    }

    /// Whether nothing of an unfinished line is kept.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.tail.is_empty()
    }

    /// What came after the last line's end, as a line of its own, and forgets it.
    ///
    /// # Errors
    /// What `take` returns.
    pub fn finish(&mut self, take: impl FnOnce(&[u8]) -> Result<(), Kind>) -> Result<(), Kind> {
        let taken = if self.tail.is_empty() { Ok(()) } else { take(without_return(&self.tail)) };
        self.clear();
        taken
    }

    /// Forgets what is kept, and gives back the memory of an unusually long line.
    pub fn clear(&mut self) {
        self.tail.clear();
        self.tail.shrink_to(64 * 1024);
    }

    fn keep(&mut self, bytes: &[u8]) -> Result<(), Kind> {
        if self.tail.len() + bytes.len() > MAX_LINE_BYTES {
            return Err(Kind::Oversize);
        }
        self.tail.extend_from_slice(bytes);
        Ok(())
    }
}

fn without_return(line: &[u8]) -> &[u8] {
    line.strip_suffix(b"\r").unwrap_or(line)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(pieces: &[&[u8]]) -> Vec<String> {
        let (mut lines, mut seen) = (Lines::default(), Vec::new());
        let mut take = |line: &[u8]| {
            seen.push(String::from_utf8_lossy(line).into_owned());
            Ok(())
        };
        for piece in pieces {
            lines.feed(piece, &mut take).unwrap();
        }
        lines.finish(take).unwrap();
        seen
    }

    #[test]
    fn every_cut_gives_the_same_lines() {
        let text = b"one\r\ntwo\n\nfour\r\n\r\nsix";
        let whole = lines(&[text]);
        assert_eq!(whole, ["one", "two", "", "four", "", "six"]);
        for cut in 0..=text.len() {
            assert_eq!(lines(&[&text[..cut], &text[cut..]]), whole, "cut at {cut}");
        }
    }

    #[test]
    fn a_line_without_end_is_refused_before_it_fills_the_memory() {
        let mut lines = Lines::default();
        let piece = vec![b'x'; 1024 * 1024];
        let results: Vec<_> = (0..5).map(|_| lines.feed(&piece, |_| Ok(()))).collect();
        assert_eq!(results, [Ok(()), Ok(()), Ok(()), Ok(()), Err(Kind::Oversize)]);
    }
}
