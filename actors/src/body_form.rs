//! What the head of an answer says of its body.

use hyper::header::{CONTENT_ENCODING, CONTENT_TYPE, HeaderMap, HeaderName};

/// What the body is called; empty where it has no name.
pub fn content_type(headers: &HeaderMap) -> &str {
    text(headers, CONTENT_TYPE).unwrap_or_default()
}

/// How the body is encoded, if it is. Nobody asks for it.
pub fn encoding(headers: &HeaderMap) -> Option<String> {
    text(headers, CONTENT_ENCODING).filter(|encoding| !encoding.eq_ignore_ascii_case("identity")).map(str::to_owned)
}

fn text(headers: &HeaderMap, name: HeaderName) -> Option<&str> {
    headers.get(name)?.to_str().ok().map(str::trim).filter(|text| !text.is_empty())
}
