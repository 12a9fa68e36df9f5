//! Reading `servers.service_config`: keys a service knows, and a hint for those it does not.

use serde_json::{Map, Value};

use crate::service::ServiceProblem;

/// A problem for each key that is not among `known`, with the nearest one that is.
pub fn unknown_keys(config: &Map<String, Value>, known: &[&str]) -> Vec<ServiceProblem> {
    let unknown = config.keys().filter(|key| !known.contains(&key.as_str()));
    unknown
        .map(|key| ServiceProblem {
            path: format!("servers.service_config.{key}"),
            what: "an unknown key".into(),
            advice: match hb_core::units::nearest(key, known) {
                Some(near) => format!("did you mean `{near}`?"),
                None if known.is_empty() => "leave it out".into(),
                None => format!("it knows {}", known.join(", ")),
            },
        })
        .collect()
}

/// The text of a plain value, for a command line.
pub fn word(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// A problem when the value under `key` is there and `accepts` refuses it.
pub fn refused(
    config: &Map<String, Value>,
    key: &str,
    accepted: &str,
    accepts: impl Fn(&Value) -> bool,
) -> Option<ServiceProblem> {
    let value = config.get(key).filter(|value| !accepts(value))?;
    Some(ServiceProblem {
        path: format!("servers.service_config.{key}"),
        what: format!("found {value}"),
        advice: format!("write {accepted}"),
    })
}
