//! The one place where a value becomes a word of a shell or of an `#SBATCH` line.
//!
//! The two read differently. A shell takes everything between single quotes as it stands. `sbatch` knows no
//! escape outside of quotes, and inside of double quotes a backslash before `"` and `\` (seen with Slurm 22.05).

use std::borrow::Cow;

/// A value that no quoting keeps on its line.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what} has a control character in it: `{}`; write it without line breaks and the like", value.escape_debug())]
pub struct QuoteError {
    /// The field or word.
    pub what: String,
    /// What was written.
    pub value: String,
}

/// A word as a POSIX shell must be given it.
///
/// ```
/// assert_eq!(hb_core::launch::shell("it's $HOME"), r"'it'\''s $HOME'");
/// assert_eq!(hb_core::launch::shell("results/a.yaml"), "results/a.yaml");
/// ```
#[must_use]
pub fn shell(word: &str) -> Cow<'_, str> {
    if is_plain(word) { Cow::Borrowed(word) } else { Cow::Owned(format!("'{}'", word.replace('\'', r"'\''"))) }
}

/// A word as an `#SBATCH` line must be given it.
///
/// # Errors
/// A control character: a line break would end the comment, and the rest of the value would be run.
pub fn directive<'a>(what: &str, word: &'a str) -> Result<Cow<'a, str>, QuoteError> {
    if word.chars().any(char::is_control) {
        return Err(QuoteError { what: what.to_owned(), value: word.to_owned() });
    }
    if is_plain(word) {
        return Ok(Cow::Borrowed(word));
    }
    Ok(Cow::Owned(format!("\"{}\"", word.replace('\\', r"\\").replace('"', "\\\""))))
}

/// Whether no reader sees more in a word than its letters.
fn is_plain(word: &str) -> bool {
    !word.is_empty() && word.chars().all(|letter| letter.is_ascii_alphanumeric() || "-_./:=@%+,".contains(letter))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What `sbatch` reads from a word on an `#SBATCH` line.
    fn as_sbatch_reads(text: &str) -> Option<String> {
        let Some(inside) = text.strip_prefix('"') else { return Some(text.to_owned()) };
        let (mut read, mut letters) = (String::new(), inside.chars());
        loop {
            match letters.next()? {
                '\\' => read.push(letters.next()?),
                '"' => return letters.next().is_none().then_some(read),
                letter => read.push(letter),
            }
        }
    }

    /// What a shell reads from single-quoted pieces and escaped quotes.
    fn as_a_shell_reads(text: &str) -> Option<String> {
        let (mut read, mut letters) = (String::new(), text.chars());
        while let Some(letter) = letters.next() {
            match letter {
                '\'' => loop {
                    match letters.next()? {
                        '\'' => break,
                        inside => read.push(inside),
                    }
                },
                '\\' => read.push(letters.next()?),
                plain if is_plain(&plain.to_string()) => read.push(plain),
                _ => return None,
            }
        }
        Some(read)
    }

    proptest! {
        #[test]
        fn a_shell_reads_back_what_was_meant(word in ".*|[ -~\n\t]*|['\"\\\\$`]*") {
            prop_assert_eq!(as_a_shell_reads(&shell(&word)), Some(word));
        }

        #[test]
        fn sbatch_reads_back_what_was_meant_on_one_line(word in "[^\\p{Cc}]*|['\"\\\\$`# ]*") {
            let line = directive("x", &word).unwrap();
            prop_assert_eq!(line.lines().count(), 1);
            prop_assert_eq!(as_sbatch_reads(&line), Some(word.clone()));
        }
    }

    #[test]
    fn a_line_break_never_gets_onto_an_sbatch_line() {
        for word in ["a\nrm -rf ~", "a\rb", "a\0b", "\u{85}"] {
            assert!(directive("qos", word).is_err(), "{word:?}");
        }
    }

    #[test]
    fn an_empty_word_stays_a_word() {
        assert_eq!(shell(""), "''");
        assert_eq!(directive("x", "").unwrap(), "\"\"");
    }
}
