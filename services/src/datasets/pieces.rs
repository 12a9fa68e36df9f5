//! Cuts a file into its entries, one at a time: lines, CSV records, or the elements of a JSON array. However long the
//! file, what is held is one entry, and of that no more than [`LONGEST`].

use std::{
    io::{self, BufRead},
    iter,
    ops::Range,
};

use memchr::{memchr, memchr_iter, memchr2};

/// The most bytes of one entry.
pub(super) const LONGEST: usize = 16 * 1024 * 1024;

/// What is wrong with an entry of so many bytes.
pub(super) fn too_long(length: usize) -> String {
    format!("it has {length} bytes, and an entry may have {LONGEST}")
}

/// What stands between two entries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cut {
    /// A line's end.
    Lines,
    /// A line's end outside of quotes.
    Records,
    /// A comma of the outermost array. The reader begins after the array's `[`.
    Elements,
}

/// Where an entry lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    /// Its first byte.
    pub offset: u64,
    /// Its bytes.
    pub length: usize,
    /// The line its text begins in, from 1.
    pub line: u64,
    /// Whether its end mark was there: the last line of a file may lack it, an array's end may not.
    pub is_closed: bool,
}

/// The entries of a reader, in order.
pub(super) struct Pieces<R> {
    input: R,
    cut: Cut,
    offset: u64,
    line: u64,
    in_quotes: bool,
    is_escaped: bool,
    depth: u32,
    is_over: bool,
    /// The input ended before its array did.
    lacks_end: bool,
}

impl<R: BufRead> Pieces<R> {
    /// Entries from here on, where `offset` bytes and `lines` whole lines of the file lie before.
    pub fn new(input: R, cut: Cut, offset: u64, lines: u64) -> Self {
        Self {
            input,
            cut,
            offset,
            line: lines + 1,
            in_quotes: false,
            is_escaped: false,
            depth: 0,
            is_over: false,
            lacks_end: false,
        }
    }

    /// Reads the next entry into `piece`, cut where it is longer than [`LONGEST`]; the place tells its whole length.
    pub fn next(&mut self, piece: &mut Vec<u8>) -> io::Result<Option<Place>> {
        piece.clear();
        let mut place = Place { offset: self.offset, length: 0, line: self.line, is_closed: false };
        let mut lines = 0;
        while !self.is_over && !place.is_closed {
            let chunk = self.input.fill_buf()?;
            if chunk.is_empty() {
                self.is_over = true;
                self.lacks_end = self.cut == Cut::Elements;
                break;
            }
            let state = (self.in_quotes, self.is_escaped, self.depth);
            let (state, end) = end(self.cut, state, chunk);
            (self.in_quotes, self.is_escaped, self.depth) = state;
            let taken = &chunk[..end.unwrap_or(chunk.len())];
            let room = LONGEST.saturating_sub(piece.len()).min(taken.len());
            piece.extend_from_slice(&taken[..room]);
            place.length += taken.len();
            place.is_closed = end.is_some();
            self.is_over = end.is_some_and(|end| self.cut == Cut::Elements && chunk[end] == b']');
            let used = taken.len() + usize::from(end.is_some());
            lines += memchr_iter(b'\n', &chunk[..used]).count() as u64;
            self.offset += used as u64;
            self.input.consume(used);
        }
        if place.length == 0 && !place.is_closed {
            return Ok(None);
        }
        let blank = piece.iter().take_while(|byte| byte.is_ascii_whitespace()).filter(|byte| **byte == b'\n').count();
        place.line += blank as u64;
        self.line += lines;
        Ok(Some(place))
    }

    /// Whether what was read ends within an entry: in a quote or a bracket, or in an array that nobody closed.
    pub fn is_unbalanced(&self) -> bool {
        self.in_quotes || self.depth > 0 || self.lacks_end
    }
}

/// The pieces of bytes that begin where one does, and end where one does or behind it.
pub(super) fn ranges(cut: Cut, bytes: &[u8]) -> impl Iterator<Item = Range<usize>> {
    let mut next = Some(0);
    iter::from_fn(move || {
        let start = next?;
        // Between two pieces no quote and no bracket is open.
        let (_, end) = end(cut, State::default(), &bytes[start..]);
        next = end.map(|end| start + end + 1);
        Some(start..next.map_or(bytes.len(), |next| next - 1))
    })
}

type State = (bool, bool, u32);

/// Where in this chunk the entry's end mark stands.
fn end(cut: Cut, (mut in_quotes, mut is_escaped, mut depth): State, chunk: &[u8]) -> (State, Option<usize>) {
    let mut at = 0;
    let found = match cut {
        Cut::Lines => memchr(b'\n', chunk),
        Cut::Records => loop {
            let Some(next) = memchr2(b'"', b'\n', &chunk[at..]) else { break None };
            let next = at + next;
            match chunk[next] {
                b'"' => in_quotes = !in_quotes,
                _ if !in_quotes => break Some(next),
                _ => {}
            }
            at = next + 1;
        },
        Cut::Elements => loop {
            let rest = &chunk[at..];
            if is_escaped && !rest.is_empty() {
                (is_escaped, at) = (false, at + 1);
                continue;
            }
            // Most bytes are those of texts.
            let next = if in_quotes { memchr2(b'"', b'\\', rest) } else { rest.iter().position(is_structure) };
            let Some(next) = next else { break None };
            let next = at + next;
            match chunk[next] {
                b'"' => in_quotes = !in_quotes,
                b'\\' => is_escaped = true,
                b',' | b']' | b'}' if depth == 0 => break Some(next),
                b'[' | b'{' => depth += 1,
                b']' | b'}' => depth -= 1,
                _ => {}
            }
            at = next + 1;
        },
    };
    ((in_quotes, is_escaped, depth), found)
}

/// What JSON is built of outside of its texts.
fn is_structure(byte: &u8) -> bool {
    matches!(byte, b'"' | b',' | b'[' | b']' | b'{' | b'}')
}

#[cfg(test)]
mod tests {
    use std::io::{BufReader, Read};

    use super::*;

    fn cut(cut: Cut, text: &str, buffer: usize) -> Vec<(String, u64, u64)> {
        let mut pieces = Pieces::new(BufReader::with_capacity(buffer, text.as_bytes()), cut, 0, 0);
        let (mut piece, mut all) = (Vec::new(), Vec::new());
        while let Some(place) = pieces.next(&mut piece).unwrap() {
            let there = &text[place.offset as usize..place.offset as usize + place.length];
            assert_eq!(there.as_bytes(), piece.as_slice(), "the place is where the piece lies");
            all.push((there.to_owned(), place.offset, place.line));
        }
        all
    }

    #[test]
    fn pieces_are_the_same_however_the_bytes_come() {
        let lines = "one\n\nthree\r\nfour";
        let records = "a,\"x\ny\"\"z\",b\nc,d,e\n";
        let elements = " {\"a\": \"],}\\\"\\\\\"},\n\n {\"b\": [1, {\"c\": 2}]} ] rest";
        for buffer in 1..=64 {
            let texts = |kind, text| cut(kind, text, buffer).into_iter().map(|(text, _, line)| (text, line)).collect::<Vec<_>>();
            let owned = |pairs: &[(&str, u64)]| pairs.iter().map(|(text, line)| ((*text).to_owned(), *line)).collect::<Vec<_>>();
            assert_eq!(texts(Cut::Lines, lines), owned(&[("one", 1), ("", 2), ("three\r", 3), ("four", 4)]));
            assert_eq!(texts(Cut::Records, records), owned(&[("a,\"x\ny\"\"z\",b", 1), ("c,d,e", 3)]));
            let found = texts(Cut::Elements, elements);
            assert_eq!(found, owned(&[(" {\"a\": \"],}\\\"\\\\\"}", 1), ("\n\n {\"b\": [1, {\"c\": 2}]} ", 3)]));
        }
    }

    #[test]
    fn what_is_too_long_is_not_held() {
        let endless = io::repeat(b'x').take(LONGEST as u64 + 7).chain("\nnext\n".as_bytes());
        let mut pieces = Pieces::new(BufReader::new(endless), Cut::Lines, 0, 0);
        let mut piece = Vec::new();
        let place = pieces.next(&mut piece).unwrap().unwrap();
        assert_eq!((place.length, piece.len()), (LONGEST + 7, LONGEST));
        assert_eq!(pieces.next(&mut piece).unwrap().map(|place| (place.line, place.length)), Some((2, 4)));
    }

    #[test]
    fn an_array_that_is_not_closed_is_seen() {
        let mut pieces = Pieces::new("{\"a\": 1}, {\"b\": ".as_bytes(), Cut::Elements, 0, 0);
        let mut piece = Vec::new();
        assert!(pieces.next(&mut piece).unwrap().unwrap().is_closed);
        assert!(!pieces.next(&mut piece).unwrap().unwrap().is_closed);
        assert!(pieces.is_unbalanced());
    }
}
