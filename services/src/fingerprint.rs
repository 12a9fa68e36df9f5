//! The beginning of an answer as one number, so that a server which says the same to everybody is seen.
//!
//! Taken over the text's bytes as they stand in the JSON, escapes and all, however the answer was cut. Only the beginning
//! counts, so a token of a long answer costs one comparison.

use memchr::memmem::Finder;

/// Bytes of text that count: some thirty tokens. Chat models begin alike where they have nothing to say.
const BYTES: usize = 128;

/// FNV-1a over the first bytes of an answer's text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Fingerprint {
    hash: u32,
    left: usize,
}

impl Default for Fingerprint {
    fn default() -> Self {
        Self { hash: 0x811c_9dc5, left: BYTES }
    }
}

impl Fingerprint {
    /// The answer goes on with this text.
    pub(crate) fn add(&mut self, text: &[u8]) {
        if self.left == 0 {
            return;
        }
        let text = &text[..text.len().min(self.left)];
        self.left -= text.len();
        self.hash = text.iter().fold(self.hash, |hash, byte| (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193));
    }

    /// The number, if there was any text.
    pub(crate) fn number(self) -> Option<u32> {
        (self.left < BYTES).then_some(self.hash)
    }
}

/// The text of the first of these keys that has one, as it stands in the JSON. A key is given with its quotes.
pub(crate) fn text_of<'a>(json: &'a [u8], keys: &[Finder<'static>]) -> Option<&'a [u8]> {
    let after_key = |key: &Finder<'static>| {
        let ends = key.find_iter(json).map(|at| at + key.needle().len());
        ends.filter_map(|end| text_at(&json[end..])).next()
    };
    keys.iter().find_map(after_key)
}

/// The text that stands here as a key's value.
fn text_at(rest: &[u8]) -> Option<&[u8]> {
    let rest = rest.trim_ascii_start().strip_prefix(b":")?.trim_ascii_start().strip_prefix(b"\"")?;
    let mut end = 0;
    loop {
        end += memchr::memchr2(b'"', b'\\', &rest[end..])?;
        if rest[end] == b'"' {
            return Some(&rest[..end]);
        }
        // The escaped byte may be a quote.
        end += 2;
        if end > rest.len() {
            return None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(json: &str, expected: Option<&str>) {
        let keys = [&br#""content""#[..], br#""text""#].map(Finder::new);
        assert_eq!(text_of(json.as_bytes(), &keys), expected.map(str::as_bytes), "{json}");
    }

    #[test]
    fn the_text_is_found_however_it_is_written() {
        check(r#"{"text":" a"}"#, Some(" a"));
        check(r#"{"text" : "a \" b\\"}"#, Some(r#"a \" b\\"#));
        check(r#"{"delta":{"role":"assistant","content":""}}"#, Some(""));
        check(r#"{"logprobs":{"content":[{"token":"x"}]},"text":"b"}"#, Some("b"));
        check(r#"{"content":null}"#, None);
        check(r#"{"text":"cut \"#, None);
        check(r#"{"text":"cut"#, None);
    }

    #[test]
    fn the_number_is_that_of_the_beginning_however_it_was_cut() {
        let number = |pieces: &[&str]| {
            let mut print = Fingerprint::default();
            pieces.iter().for_each(|piece| print.add(piece.as_bytes()));
            print.number()
        };
        assert_eq!(number(&["one two"]), number(&["one", "", " t", "wo"]));
        assert_ne!(number(&["one two"]), number(&["one too"]));
        assert_eq!(number(&[]), None);
        let long = "x".repeat(BYTES);
        assert_eq!(number(&[&long, "a"]), number(&[&long, "b"]));
        assert_ne!(number(&[&long[1..], "a"]), number(&[&long[1..], "b"]));
    }
}
