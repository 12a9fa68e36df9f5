//! Who may ask, how long an answer may take, and what every answer says to browsers.

use std::fmt;

use axum::{
    extract::{Query, Request},
    http::{HeaderMap, HeaderValue, StatusCode, header},
    middleware::Next,
    response::{IntoResponse, Response},
};
use serde::Deserialize;

use super::ANSWER_TIMEOUT;

/// The job's token. It is in no log: its `Debug` hides it.
#[derive(Clone)]
pub struct Token(String);

impl Token {
    /// The token with this text; an empty one lets nobody in.
    #[must_use]
    pub fn new(text: String) -> Self {
        Self(text)
    }

    /// Whether a request's header, or its `?token=` where a browser cannot set one, carries it.
    pub(super) fn is_carried(&self, headers: &HeaderMap, query: Option<&str>) -> bool {
        let bearer = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok()?.strip_prefix("Bearer "));
        bearer.or(query).is_some_and(|given| self.is(given))
    }

    /// Compares without telling by its time how much of the text was right.
    fn is(&self, given: &str) -> bool {
        let (own, given) = (self.0.as_bytes(), given.as_bytes());
        let differing = own.iter().zip(given).fold(0_u8, |differing, (one, other)| differing | (one ^ other));
        !own.is_empty() && own.len() == given.len() && std::hint::black_box(differing) == 0
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(…)")
    }
}

/// `?token=`.
#[derive(Deserialize)]
struct Asked {
    token: Option<String>,
}

/// Lets a request pass only with the token; `with_query` where a browser asks.
pub(super) async fn admit(token: Token, with_query: bool, request: Request, next: Next) -> Response {
    let asked = Query::<Asked>::try_from_uri(request.uri()).ok().and_then(|Query(asked)| asked.token);
    if token.is_carried(request.headers(), asked.as_deref().filter(|_| with_query)) {
        return next.run(request).await;
    }
    let challenge = [(header::WWW_AUTHENTICATE, "Bearer")];
    (StatusCode::UNAUTHORIZED, challenge, "this needs the job's token\n").into_response()
}

/// Bounds the time of an answer and adds the headers.
pub(super) async fn bound(request: Request, next: Next) -> Response {
    let answered = tokio::time::timeout(ANSWER_TIMEOUT, next.run(request)).await;
    let mut response = answered.unwrap_or_else(|_| StatusCode::GATEWAY_TIMEOUT.into_response());
    for (name, value) in [
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::X_FRAME_OPTIONS, "DENY"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::CACHE_CONTROL, "no-store"),
        (
            header::CONTENT_SECURITY_POLICY,
            "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; connect-src 'self'; img-src data:; frame-ancestors 'none'; base-uri 'none'; form-action 'none'",
        ),
    ] {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response
}
