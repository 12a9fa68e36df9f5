//! Names of fields, options and headers whose values are secrets.

/// Parts of such names.
pub const PARTS: [&str; 8] = ["key", "token", "password", "passwd", "secret", "credential", "authorization", "cookie"];

/// Whether what has this name is secret. `max_tokens` is a number of tokens, and `token` is one.
#[must_use]
pub fn names_secret(name: &str) -> bool {
    let name = name.to_lowercase().replace("tokens", "").replace("tokenizer", "");
    PARTS.iter().any(|part| name.contains(part))
}
