//! Output of a process as lines: cut at a length, freed of what is no UTF-8, with the last few kept for messages.

use std::{
    collections::VecDeque,
    sync::{Mutex, PoisonError},
};

/// The longest line that is kept, in bytes; what goes beyond is left out.
pub const MAX_LINE_BYTES: usize = 8 * 1024;

/// How many lines are kept to show how a process ended.
pub const TAIL_LINES: usize = 20;

/// Cuts bytes into lines, however they come. A carriage return ends a line as well: progress bars use it so.
#[derive(Debug, Default)]
pub struct LineCutter {
    /// The line that has not ended, never longer than [`MAX_LINE_BYTES`].
    line: Vec<u8>,
    /// Whether a line has begun, even if it is still empty.
    has_begun: bool,
    /// Whether the last byte was a carriage return, whose line feed ends nothing.
    was_return: bool,
}

impl LineCutter {
    /// Takes the next bytes and gives the lines that end in them.
    pub fn feed(&mut self, bytes: &[u8]) -> Vec<String> {
        let mut lines = Vec::new();
        for byte in bytes {
            match byte {
                b'\n' if self.was_return => {}
                b'\n' | b'\r' => lines.push(self.take()),
                _ => {
                    self.has_begun = true;
                    if self.line.len() < MAX_LINE_BYTES {
                        self.line.push(*byte);
                    }
                }
            }
            self.was_return = *byte == b'\r';
        }
        lines
    }

    /// The last line, if it has no end of its own.
    pub fn finish(&mut self) -> Option<String> {
        self.has_begun.then(|| self.take())
    }

    fn take(&mut self) -> String {
        self.has_begun = false;
        let mut line = String::from_utf8_lossy(&self.line).into_owned();
        self.line.clear();
        // A replaced byte is longer than it was, and a cut may lie inside a character.
        if line.len() > MAX_LINE_BYTES {
            line.truncate(line.floor_char_boundary(MAX_LINE_BYTES));
        }
        line
    }
}

/// The last lines of a process.
#[derive(Debug, Default)]
pub struct Tail(Mutex<VecDeque<String>>);

impl Tail {
    /// Takes up a line and lets go of the oldest one where there are too many.
    pub fn push(&self, line: &str) {
        let mut lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if lines.len() == TAIL_LINES {
            lines.pop_front();
        }
        lines.push_back(line.to_owned());
    }

    /// The lines, oldest first.
    #[must_use]
    pub fn lines(&self) -> Vec<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cut(pieces: &[&[u8]]) -> Vec<String> {
        let mut cutter = LineCutter::default();
        let mut lines: Vec<String> = pieces.iter().flat_map(|piece| cutter.feed(piece)).collect();
        lines.extend(cutter.finish());
        lines
    }

    #[test]
    fn lines_are_the_same_however_the_bytes_are_cut() {
        let bytes = b"one\r\n\ntw\xc3\xb6\r50 %\r100 %\nlast";
        let expected = ["one", "", "tw\u{f6}", "50 %", "100 %", "last"];
        for at in 0..=bytes.len() {
            let (head, rest) = bytes.split_at(at);
            assert_eq!(cut(&[head, rest]), expected, "cut at {at}");
        }
    }

    #[test]
    fn a_long_line_is_cut_and_the_next_one_is_whole() {
        let long = [b"x".repeat(3 * MAX_LINE_BYTES), b"\nnext\n".to_vec()].concat();
        assert_eq!(cut(&[&long]), ["x".repeat(MAX_LINE_BYTES), "next".into()]);
    }

    #[test]
    fn what_is_no_utf8_is_replaced_within_the_limit() {
        assert_eq!(cut(&[b"a\xff\xfeb\n"]), ["a\u{fffd}\u{fffd}b"]);
        let line = cut(&[&b"\xff".repeat(MAX_LINE_BYTES)]).remove(0);
        assert!(line.len() <= MAX_LINE_BYTES && line.chars().all(|letter| letter == '\u{fffd}'));
    }

    #[test]
    fn nothing_gives_no_line() {
        assert!(cut(&[b""]).is_empty());
        assert_eq!(cut(&[b"\n"]), [""]);
    }

    #[test]
    fn the_tail_keeps_the_newest_lines() {
        let tail = Tail::default();
        (0..TAIL_LINES + 5).for_each(|number| tail.push(&number.to_string()));
        assert_eq!(tail.lines().len(), TAIL_LINES);
        assert_eq!((tail.lines()[0].as_str(), tail.lines()[TAIL_LINES - 1].as_str()), ("5", "24"));
    }
}
