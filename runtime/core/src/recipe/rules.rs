//! What the schema says: which words, numbers and blocks a field takes, told to a person.

use serde_json::Value;

use super::tree::{Entry, Node, Shape};

/// The schema of the types.
#[derive(Clone, Copy)]
pub(super) struct Rules<'a> {
    pub root: &'a Value,
}

impl<'a> Rules<'a> {
    /// The block that has a key of this name.
    pub fn elsewhere(self, schema: &'a Value, key: &str, path: &str, depth: u8) -> Option<String> {
        let schema = self.resolved(schema);
        let options = schema.get("anyOf").and_then(Value::as_array).into_iter().flatten();
        let properties = schema.get("properties").and_then(Value::as_object);
        if properties.is_some_and(|map| map.contains_key(key)) {
            return Some(if path.is_empty() { "the top level".to_owned() } else { path.to_owned() });
        }
        if depth > 5 {
            return None;
        }
        let inner = properties.into_iter().flatten().map(|(name, schema)| (schema, join(path, name)));
        let branches = options.map(|schema| (schema, path.to_owned()));
        inner.chain(branches).find_map(|(schema, path)| self.elsewhere(schema, key, &path, depth + 1))
    }

    /// What a reference leads to.
    pub fn resolved(self, schema: &'a Value) -> &'a Value {
        let Some(target) = schema.get("$ref").and_then(Value::as_str) else { return schema };
        let found = target.strip_prefix('#').and_then(|pointer| self.root.pointer(pointer));
        found.map_or(schema, |schema| self.resolved(schema))
    }

    /// The words of a closed family.
    pub fn words(self, schema: &'a Value) -> Option<Vec<&'a str>> {
        if let Some(words) = schema.get("enum").and_then(Value::as_array) {
            return Some(words.iter().filter_map(Value::as_str).collect());
        }
        let options = schema.get("oneOf").and_then(Value::as_array)?;
        options.iter().map(|option| option.get("const").and_then(Value::as_str)).collect()
    }

    /// Some value that a required field takes, so that the rest of its block can be read and checked; of words
    /// the last, which for the mode is the one that requires nothing else.
    pub fn stand_in(self, schema: &'a Value) -> Option<Node> {
        let schema = self.resolved(schema);
        if let Some(options) = schema.get("anyOf").and_then(Value::as_array) {
            return options.iter().find_map(|option| self.stand_in(option));
        }
        let shape = match (self.words(schema), schema.get("type").and_then(Value::as_str)) {
            (Some(words), _) => Shape::Text((*words.last()?).to_owned()),
            _ if schema.get("x-span").is_some() => Shape::Text("60s".to_owned()),
            (None, Some("string")) => Shape::Text("x".to_owned()),
            (None, Some("integer")) => Shape::Number(1.into()),
            (None, Some("object")) => {
                let required = schema.get("required").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str);
                let entry = |key: &str| {
                    let value = self.stand_in(schema.get("properties")?.get(key)?)?;
                    Some(Entry { key: key.to_owned(), place: None, value })
                };
                Shape::Map(required.map(entry).collect::<Option<_>>()?)
            }
            _ => return None,
        };
        Some(Node { shape, place: None })
    }

    /// What a schema accepts, for a person.
    pub fn accepted(self, schema: &'a Value) -> String {
        let schema = self.resolved(schema);
        if schema.get("x-span").is_some() {
            return SPAN.to_owned();
        }
        if let Some(words) = self.words(schema) {
            return one_of(&words);
        }
        if let Some(options) = schema.get("anyOf").and_then(Value::as_array) {
            let texts: Vec<String> = options.iter().map(|option| self.accepted(option)).filter(|text| !text.is_empty()).collect();
            return match texts.as_slice() {
                // A sweep: its entries were just described.
                [one, list] if *list == format!("{LIST} {one}") => format!("{one}, or a list of such values"),
                _ => texts.join(", or "),
            };
        }
        let kinds: Vec<&str> = match schema.get("type") {
            Some(Value::String(kind)) => vec![kind],
            Some(Value::Array(kinds)) => kinds.iter().filter_map(Value::as_str).collect(),
            _ => vec![],
        };
        if kinds == ["string", "number", "boolean"] {
            return "a text or a number".to_owned();
        }
        let texts = kinds.iter().filter(|kind| **kind != "null").map(|kind| self.accepted_kind(kind, schema));
        texts.filter(|text| !text.is_empty()).collect::<Vec<_>>().join(" or ")
    }

    fn accepted_kind(self, kind: &str, schema: &'a Value) -> String {
        match kind {
            "integer" => format!("a whole number{}", range(schema)),
            "number" => format!("a number{}", range(schema)),
            "boolean" => "true or false".to_owned(),
            "string" => "a text".to_owned(),
            "array" => match schema.get("items").map(|items| self.accepted(items)) {
                Some(items) if !items.is_empty() => format!("{LIST} {items}"),
                _ => "a list".to_owned(),
            },
            "object" => match schema.get("properties").and_then(Value::as_object) {
                Some(properties) => {
                    let some: Vec<&str> = properties.keys().take(6).map(String::as_str).collect();
                    let more = if properties.len() > some.len() { ", …" } else { "" };
                    format!("a block with keys out of {}{more}", some.join(", "))
                }
                None => "a block".to_owned(),
            },
            _ => String::new(),
        }
    }
}

/// How a list is described, before what its entries are.
pub(super) const LIST: &str = "a list, each entry";

/// What a length of time looks like.
pub(super) const SPAN: &str = "a length of time such as `90s`, `2m`, `1h 30m` or `02:00:00`";

/// The words of a family.
pub(super) fn one_of(words: &[&str]) -> String {
    format!("one of {}", words.join(", "))
}

fn range(schema: &Value) -> String {
    // `1.0` is how a schema may write `1`.
    let number = |key: &str| schema.get(key).and_then(Value::as_f64);
    let above = number("exclusiveMinimum").map(|bound| format!(" above {bound}"));
    let least = number("minimum").map(|least| format!(" from {least}"));
    // The largest number that a type holds is no limit a person wants to hear of.
    let most = schema.get("maximum").filter(|most| most.as_u64().is_none_or(|most| most < u64::from(u32::MAX)));
    format!("{}{}", above.or(least).unwrap_or_default(), most.map(|most| format!(" to {most}")).unwrap_or_default())
}

/// A path and a key below it.
pub(super) fn join(path: &str, key: &str) -> String {
    if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") }
}
