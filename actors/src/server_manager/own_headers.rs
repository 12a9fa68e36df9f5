//! The headers of one's own that requests to endpoints carry, the key among them: what is secret in them is read on the node
//! that needs it, and shown nowhere.

use std::{collections::BTreeMap, env, fmt, fs, io, path::PathBuf};

use hb_core::trial::{ApiKeySource, HeaderSource, ServiceSpec};
use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderName, HeaderValue};

/// Headers beside those of the protocol. Neither `Debug` nor any message shows a value.
#[derive(Clone, PartialEq, Eq)]
pub struct OwnHeaders(HeaderMap);

impl fmt::Debug for OwnHeaders {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

/// Why a header cannot be sent.
#[derive(Debug, thiserror::Error)]
pub enum HeaderError {
    /// The variable is not set, or is no text.
    #[error("the variable {name}, which {by} names, is not set on this node")]
    NotSet {
        /// The variable.
        name: String,
        /// The recipe's key.
        by: String,
    },
    /// The file cannot be read.
    #[error("cannot read the file `{path}`, which {by} names: {source}", path = path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// The recipe's key.
        by: String,
        /// What the system said.
        source: io::Error,
    },
    /// It cannot stand in a header.
    #[error("the value from {0} is empty or holds characters that no HTTP header may hold")]
    NoHeader(String),
}

impl OwnHeaders {
    /// Reads what the recipe says; `None` where it says nothing.
    ///
    /// # Errors
    /// Where a value was looked for, and what was wrong there.
    pub fn read(spec: &ServiceSpec) -> Result<Option<Self>, HeaderError> {
        Self::of(spec.api_key.as_ref(), &spec.headers)
    }

    fn of(key: Option<&ApiKeySource>, named: &BTreeMap<String, HeaderSource>) -> Result<Option<Self>, HeaderError> {
        let mut headers = HeaderMap::new();
        if let Some(source) = key {
            let source = match source.clone() {
                ApiKeySource::Env(name) => HeaderSource::Env(name),
                ApiKeySource::File(path) => HeaderSource::File(path),
            };
            headers.insert(AUTHORIZATION, value(&source, "`api_key`", "Bearer ")?);
        }
        for (name, source) in named {
            let by = format!("the header `{name}`");
            let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| HeaderError::NoHeader(by.clone()))?;
            headers.insert(name, value(source, &by, "")?);
        }
        Ok((!headers.is_empty()).then_some(Self(headers)))
    }

    /// All of them.
    #[must_use]
    pub fn map(&self) -> HeaderMap {
        self.0.clone()
    }
}

/// What stands behind `prefix` in a header; `by` is who names its source.
fn value(source: &HeaderSource, by: &str, prefix: &str) -> Result<HeaderValue, HeaderError> {
    let (text, place) = match source {
        HeaderSource::Text(text) => (text.clone(), by.to_owned()),
        HeaderSource::Env(name) => {
            let text = env::var(name).map_err(|_| HeaderError::NotSet { name: name.clone(), by: by.to_owned() })?;
            (text, format!("the variable {name}"))
        }
        HeaderSource::File(path) => {
            let unreadable = |source| HeaderError::Unreadable { path: path.clone(), by: by.to_owned(), source };
            (fs::read_to_string(path).map_err(unreadable)?, format!("the file `{}`", path.display()))
        }
    };
    let text = text.trim();
    let made = HeaderValue::from_str(&format!("{prefix}{text}")).ok().filter(|_| !text.is_empty());
    let mut made = made.ok_or(HeaderError::NoHeader(place))?;
    made.set_sensitive(!matches!(source, HeaderSource::Text(_)));
    Ok(made)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(key: Option<ApiKeySource>, headers: &[(&str, HeaderSource)]) -> Result<Option<OwnHeaders>, HeaderError> {
        let named = headers.iter().map(|(name, source)| ((*name).to_owned(), source.clone())).collect();
        OwnHeaders::of(key.as_ref(), &named)
    }

    #[test]
    fn a_key_and_headers_are_read_from_their_places_without_line_ends_and_secrets_are_shown_nowhere() {
        let [key, tenant] = ["sk-1234\n", "secret-5678\n"].map(|text| {
            let file = tempfile::NamedTempFile::new().unwrap();
            fs::write(file.path(), text).unwrap();
            file
        });
        let headers = [
            ("X-Tenant", HeaderSource::File(tenant.path().into())),
            ("X-Team", HeaderSource::Text("a team".into())),
            ("X-Home", HeaderSource::Env("PATH".into())),
        ];
        let own = read(Some(ApiKeySource::File(key.path().into())), &headers).unwrap().unwrap();
        let map = own.map();
        assert_eq!(
            (&map["authorization"], &map["x-tenant"]),
            (&"Bearer sk-1234".parse().unwrap(), &"secret-5678".parse().unwrap())
        );
        assert_eq!(
            (&map["x-team"], map["x-home"].to_str().unwrap()),
            (&"a team".parse().unwrap(), env::var("PATH").unwrap().trim())
        );
        let shown = format!("{own:?} {map:?}");
        assert!(!shown.contains("1234") && !shown.contains("5678") && shown.contains("x-tenant"), "{shown}");
        assert_eq!(read(None, &[]).unwrap(), None);
    }

    #[test]
    fn a_missing_or_broken_value_says_where_it_was_looked_for_and_by_whom() {
        let said = |api_key, headers: &[_]| read(api_key, headers).unwrap_err().to_string();
        let unset = said(Some(ApiKeySource::Env("HB_NO_SUCH_VARIABLE".into())), &[]);
        assert!(unset.contains("HB_NO_SUCH_VARIABLE, which `api_key` names"), "{unset}");
        let unset = said(None, &[("X-A", HeaderSource::Env("HB_NO_SUCH_VARIABLE".into()))]);
        assert!(unset.contains("HB_NO_SUCH_VARIABLE, which the header `X-A` names"), "{unset}");
        let missing = said(None, &[("X-A", HeaderSource::File("/no/such/key".into()))]);
        assert!(missing.contains("/no/such/key"), "{missing}");
        let file = tempfile::NamedTempFile::new().unwrap();
        for text in ["", "  \n", "two\nlines"] {
            fs::write(file.path(), text).unwrap();
            let broken = read(Some(ApiKeySource::File(file.path().into())), &[]);
            assert!(matches!(broken, Err(HeaderError::NoHeader(_))), "{text:?}");
        }
    }
}
