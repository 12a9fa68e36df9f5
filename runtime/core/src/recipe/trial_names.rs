//! Names of trials: stable, readable, safe as folders, and each of them once.

use std::collections::BTreeSet;

use serde_json::Value;

use super::expand::Point;

/// The longest name of a trial, in bytes, its repetition included.
const LONGEST_ID: usize = 100;

/// The name of a point, with its suite entry's before it.
pub(super) fn name_of(entry: Option<&str>, point: &Point) -> String {
    let swept = point.iter().map(|(path, value)| {
        let field = path.rsplit('.').next().unwrap_or(path);
        format!("{}-{}", safe(field), safe(&shortened(value)))
    });
    let parts: Vec<String> = entry.map(safe).into_iter().chain(swept).collect();
    if parts.is_empty() { "trial".to_owned() } else { parts.join(".") }
}

/// A number of a field that takes fractions is a whole one in most names.
fn shortened(value: &Value) -> String {
    match value.as_f64().filter(|number| value.is_f64() && number.fract() == 0.0 && number.abs() < 1e15) {
        Some(number) => format!("{number:.0}"),
        None => plain(value),
    }
}

/// A value as it stands in a name: `128`, `uniform-64-256`.
pub(super) fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Array(values) => values.iter().map(plain).collect::<Vec<_>>().join("-"),
        Value::Object(map) => map.iter().map(|(key, value)| format!("{key}-{}", plain(value))).collect::<Vec<_>>().join("-"),
        other => other.to_string(),
    }
}

/// Letters, digits, `_`, `-` and dots inside; nothing that a shell or a file system minds.
fn safe(text: &str) -> String {
    let replaced: String =
        text.chars().map(|c| if c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-') { c } else { '-' }).collect();
    let trimmed = replaced.trim_matches(['.', '-']);
    if trimmed.is_empty() { "x".to_owned() } else { trimmed.to_owned() }
}

/// The name, cut where it is too long and told apart where it stands already.
pub(super) fn unique(name: String, names: &mut BTreeSet<String>) -> String {
    let most = LONGEST_ID - ".r4294967295".len();
    let name = match name.len() > most {
        // The hash keeps apart what the cut makes alike; names hold ASCII only.
        true => format!("{}-{:016x}", &name[..most - 17], hash(&[name.as_bytes()])),
        false => name,
    };
    // Names are compared without case, as some file systems do.
    let mut candidate = name.clone();
    let mut number = 2;
    while !names.insert(candidate.to_lowercase()) {
        let end = format!(".n{number}");
        candidate = format!("{}{end}", &name[..name.len().min(most - end.len())]);
        number += 1;
    }
    candidate
}

/// FNV-1a over parts, each closed by a byte that is in no text, and mixed at the end.
pub(super) fn hash(parts: &[&[u8]]) -> u64 {
    let bytes = parts.iter().flat_map(|part| part.iter().copied().chain([0xff]));
    let mut hash = bytes.fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
    hash = (hash ^ (hash >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    hash ^ (hash >> 33)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_whole_number_stands_without_its_fraction() {
        let name = |value| name_of(None, &vec![("target_rps".to_owned(), value)]);
        assert_eq!(name(json!(20.0)), "target_rps-20");
        assert_eq!((name(json!(0.5)), name(json!(20))), ("target_rps-0.5".to_owned(), "target_rps-20".to_owned()));
        assert_eq!(plain(&json!(20.0)), "20.0", "a word for a command line stays as it was written");
    }
}
