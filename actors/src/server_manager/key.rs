//! The key of an endpoint: read on the node that needs it, shown nowhere.

use std::{env, fmt, fs, io, path::PathBuf};

use hb_core::trial::ApiKeySource;
use reqwest::header::HeaderValue;

/// A key. Neither `Debug` nor any message shows it.
#[derive(Clone, PartialEq, Eq)]
pub struct Key(HeaderValue);

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key(…)")
    }
}

/// Why there is no key.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The variable is not set, or empty.
    #[error("the variable {0}, which `api_key` names, is not set on this node")]
    NotSet(String),
    /// The file cannot be read.
    #[error("cannot read the file `{path}`, which `api_key` names: {source}", path = path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// It cannot stand in a header.
    #[error("the key from {0} is empty or holds characters that no HTTP header may hold")]
    NoHeader(String),
}

impl Key {
    /// Reads a key from where the recipe says.
    ///
    /// # Errors
    /// Where it was looked for, and what was wrong there.
    pub fn read(source: &ApiKeySource) -> Result<Self, KeyError> {
        match source {
            ApiKeySource::Env(name) => {
                let text = env::var(name).map_err(|_| KeyError::NotSet(name.clone()))?;
                Self::of(&text).ok_or_else(|| KeyError::NoHeader(format!("the variable {name}")))
            }
            ApiKeySource::File(path) => {
                let text = fs::read_to_string(path).map_err(|source| KeyError::Unreadable { path: path.clone(), source })?;
                Self::of(&text).ok_or_else(|| KeyError::NoHeader(format!("the file `{}`", path.display())))
            }
        }
    }

    fn of(text: &str) -> Option<Self> {
        let text = text.trim();
        let mut value = HeaderValue::from_str(&format!("Bearer {text}")).ok().filter(|_| !text.is_empty())?;
        value.set_sensitive(true);
        Some(Self(value))
    }

    /// The value of the `Authorization` header.
    #[must_use]
    pub fn header(&self) -> HeaderValue {
        self.0.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_read_from_a_file_without_its_line_end_and_shown_nowhere() {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), "sk-1234\n").unwrap();
        let key = Key::read(&ApiKeySource::File(file.path().into())).unwrap();
        assert_eq!(key.header(), "Bearer sk-1234");
        assert!(!format!("{key:?} {:?}", key.header()).contains("1234"));
    }

    #[test]
    fn a_missing_or_broken_key_says_where_it_was_looked_for() {
        let unset = Key::read(&ApiKeySource::Env("HB_NO_SUCH_VARIABLE".into())).unwrap_err();
        assert!(unset.to_string().contains("HB_NO_SUCH_VARIABLE"));
        let missing = Key::read(&ApiKeySource::File("/no/such/key".into())).unwrap_err();
        assert!(missing.to_string().contains("/no/such/key"));
        let file = tempfile::NamedTempFile::new().unwrap();
        for text in ["", "  \n", "two\nlines"] {
            fs::write(file.path(), text).unwrap();
            assert!(matches!(Key::read(&ApiKeySource::File(file.path().into())), Err(KeyError::NoHeader(_))), "{text:?}");
        }
    }
}
