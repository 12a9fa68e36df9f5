//! Headers of one's own: names that HTTP has, none of the load's own, and no secret in the recipe's text.

use std::collections::BTreeSet;

use super::{
    super::{Problem, Recipe},
    names::is_variable,
};
use crate::{secret_names::names_secret, trial::HeaderSource};

/// Headers that a request already has, or that would change what is measured, and why.
const OWNED: [(&str, &str); 14] = [
    ("host", "the endpoint's URL says it"),
    ("content-length", "the load itself says where a body ends"),
    ("transfer-encoding", "the load itself says where a body ends"),
    ("trailer", "the load itself says where a body ends"),
    ("content-type", "bodies are JSON"),
    ("content-encoding", "bodies are sent as they stand"),
    ("accept-encoding", "tokens are stamped as their bytes come, and packed ones come together"),
    ("connection", "connections are kept, and their opening is measured"),
    ("keep-alive", "connections are kept, and their opening is measured"),
    ("proxy-connection", "connections are kept, and their opening is measured"),
    ("te", "connections are kept, and their opening is measured"),
    ("upgrade", "the version of HTTP is found out before the load"),
    ("http2-settings", "the version of HTTP is found out before the load"),
    ("expect", "a server that is asked first answers later"),
];

pub(super) fn check(recipe: &Recipe, problems: &mut Vec<Problem>) {
    let Some(servers) = &recipe.servers else { return };
    let has_key = servers.api_key_env.is_some() || servers.api_key_file.is_some();
    let mut seen = BTreeSet::new();
    for (name, words) in &servers.headers {
        let path = format!("servers.headers.{name}");
        let lower = name.to_lowercase();
        if !is_name(name) {
            let accepted = "letters, digits and `-`, such as X-Tenant";
            problems.push(Problem::error(path, format!("the name `{name}`"), accepted));
        } else if let Some((_, why)) = OWNED.iter().find(|(owned, _)| *owned == lower) {
            let problem = Problem::error(path, format!("the header `{name}`"), "a header that the load does not make itself");
            problems.push(problem.advise(format!("{why}; leave it out")));
        } else if !seen.insert(lower.clone()) {
            let problem = Problem::error(path, format!("`{name}` a second time"), "each header once");
            problems.push(problem.advise("capital and small letters make no other header"));
        } else if lower == "authorization" && has_key {
            let problem = Problem::error(path, "a header beside the endpoints' key", "this or servers.api_key_env and its like");
            problems.push(problem.advise("the key goes as `Authorization: Bearer …`"));
        } else {
            value(path, name, &words.0, problems);
        }
    }
    if !servers.headers.is_empty() && !recipe.has_endpoints() {
        let problem = Problem::warning("servers.headers", "headers without servers.endpoints", "some beside servers.endpoints");
        problems.push(problem.advise("servers that hbnode starts are asked whether they are ready without them"));
    }
}

fn value(path: String, name: &str, source: &HeaderSource, problems: &mut Vec<Problem>) {
    match source {
        HeaderSource::Text(_) if names_secret(name) => {
            let problem = Problem::error(path, "a value in the recipe's own text", "`{env: NAME}` or `{file: PATH}`");
            problems.push(problem.advise("by its name it is a secret, and recipes are kept beside results"));
        }
        HeaderSource::Text(text) if text.trim().is_empty() || !text.bytes().all(|byte| (b' '..=b'~').contains(&byte)) => {
            let problem = Problem::error(path, format!("the value `{text}`"), "a text of ASCII characters");
            problems.push(problem.advise("HTTP has no others in headers, and an empty one says nothing"));
        }
        HeaderSource::Env(variable) if !is_variable(variable) => {
            let accepted = "a variable's name, such as GATEWAY_TOKEN";
            let problem = Problem::error(format!("{path}.env"), format!("`{variable}`"), accepted);
            problems.push(problem.advise("the secret itself belongs into the variable, never into a recipe"));
        }
        HeaderSource::Text(_) | HeaderSource::Env(_) | HeaderSource::File(_) => {}
    }
}

/// Whether HTTP allows a header of this name (RFC 9110, 5.6.2).
fn is_name(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte))
}
