//! Holds a tree to the schema of the types: unknown and repeated keys, missing ones, wrong kinds, ranges.
//!
//! Every problem is collected, and what is wrong is cut out of the tree, so that what is left can
//! still be read and checked across fields.

use serde_json::Value;

use super::{
    problem::Problem,
    tree::{Entry, Node, Place, Shape},
};
use crate::units::{Span, nearest};

/// Walks a tree along the schema.
pub(super) struct Walk<'a> {
    root: &'a Value,
    pub problems: Vec<Problem>,
}

impl<'a> Walk<'a> {
    pub fn new(root: &'a Value) -> Self {
        Self { root, problems: Vec::new() }
    }

    /// Checks the whole tree.
    pub fn check(&mut self, tree: &mut Node) -> bool {
        self.value(tree, self.root, "", None)
    }

    fn report(&mut self, mut problem: Problem, place: Option<Place>) {
        problem.line = place.map(|place| place.line);
        problem.column = place.map(|place| place.column);
        self.problems.push(problem);
    }

    /// Whether the value may stay.
    fn value(&mut self, node: &mut Node, schema: &'a Value, path: &str, around: Option<Place>) -> bool {
        let place = node.place.or(around);
        let Some(schema) = self.branch(node, schema) else {
            let problem = Problem::error(path, found(node), self.accepted(schema));
            let problem = match (&node.shape, self.accepted(schema).as_str()) {
                (Shape::Number(_) | Shape::Bool(_), "a text") => problem.advise("put it in quotes"),
                (Shape::Text(text), _) if text.parse().is_ok_and(f64::is_finite) => problem.advise("write it without quotes"),
                _ => problem,
            };
            self.report(problem, place);
            return false;
        };
        if let Some(words) = self.words(schema) {
            return self.word(node, &words, path, place);
        }
        if schema.get("x-span").is_some() {
            return self.span(node, path, place);
        }
        match &mut node.shape {
            Shape::Number(number) => {
                let value = number.as_f64().unwrap_or(f64::NAN);
                let limit = |key: &str| schema.get(key).and_then(Value::as_f64);
                let is_inside = limit("minimum").is_none_or(|least| value >= least)
                    && limit("maximum").is_none_or(|most| value <= most)
                    && limit("exclusiveMinimum").is_none_or(|bound| value > bound);
                if !is_inside {
                    self.report(Problem::error(path, found(node), self.accepted(schema)), place);
                }
                is_inside
            }
            Shape::Text(text) => {
                let is_long_enough = !text.trim().is_empty() || schema.get("minLength").is_none();
                if !is_long_enough {
                    self.report(Problem::error(path, "an empty text", self.accepted(schema)), place);
                }
                is_long_enough
            }
            Shape::List(entries) => self.list(entries, schema, path, place),
            Shape::Map(entries) => self.block(entries, schema, path, place),
            Shape::Null | Shape::Bool(_) => true,
        }
    }

    fn word(&mut self, node: &Node, words: &[&str], path: &str, place: Option<Place>) -> bool {
        let Shape::Text(text) = &node.shape else {
            self.report(Problem::error(path, found(node), one_of(words)), place);
            return false;
        };
        if words.contains(&text.as_str()) {
            return true;
        }
        let problem = Problem::error(path, found(node), one_of(words));
        let near = nearest(&text.to_lowercase().replace('_', "-"), words).or_else(|| nearest(text, words));
        let problem = match near {
            Some(near) => problem.advise(format!("did you mean `{near}`?")),
            None => problem,
        };
        self.report(problem, place);
        false
    }

    fn span(&mut self, node: &Node, path: &str, place: Option<Place>) -> bool {
        let text = match &node.shape {
            Shape::Number(number) => number.to_string(),
            Shape::Text(text) => text.clone(),
            _ => String::new(),
        };
        let Ok(span) = text.parse::<Span>() else {
            self.report(Problem::error(path, found(node), SPAN), place);
            return false;
        };
        // Their names or the reference's own examples say that these are seconds.
        let is_in_seconds = path.contains("sleep_seconds") || path.starts_with("servers.health_check.");
        if Span::lacks_unit(&text) && !is_in_seconds && span != Span::ZERO {
            let problem = Problem::warning(path, format!("{}, which has no unit", found(node)), SPAN);
            self.report(problem.advise(format!("it is read as seconds; write `{}s`", text.trim())), place);
        }
        true
    }

    fn list(&mut self, entries: &mut Vec<Node>, schema: &'a Value, path: &str, place: Option<Place>) -> bool {
        let count = entries.len() as u64;
        let limit = |key: &str| schema.get(key).and_then(Value::as_u64);
        let (least, most) = (limit("minItems").unwrap_or(0), limit("maxItems").unwrap_or(10_000));
        if count < least || count > most {
            let found = if count == 0 { "an empty list".to_owned() } else { format!("a list of {count}") };
            let each = schema.get("items").map(|items| self.accepted(items)).filter(|_| least == most);
            let accepted = match each {
                Some(each) => format!("a list of {least}, each {each}"),
                None => format!("a list of {least} to {most} entries"),
            };
            self.report(Problem::error(path, found, accepted), place);
            return false;
        }
        let Some(items) = schema.get("items") else { return true };
        let mut index = 0;
        let mut is_whole = true;
        entries.retain_mut(|entry| {
            let may_stay = self.value(entry, items, &format!("{path}[{index}]"), place);
            index += 1;
            is_whole &= may_stay;
            may_stay
        });
        is_whole || entries.len() as u64 >= least.max(1)
    }

    fn block(&mut self, entries: &mut Vec<Entry>, schema: &'a Value, path: &str, place: Option<Place>) -> bool {
        let is_empty = |entry: &Entry| matches!(entry.value.shape, Shape::Null);
        let empty: Vec<(String, Option<Place>)> =
            entries.iter().filter(|entry| is_empty(entry)).map(|entry| (entry.key.clone(), entry.place)).collect();
        entries.retain(|entry| !is_empty(entry));
        let properties = schema.get("properties").and_then(Value::as_object);
        let rest = schema.get("additionalProperties");
        let known: Vec<&str> = properties.iter().flat_map(|map| map.keys().map(String::as_str)).collect();
        let written: Vec<(String, Option<Place>)> = entries.iter().map(|entry| (entry.key.clone(), entry.place)).collect();
        let mut index = 0;
        entries.retain_mut(|entry| {
            let path = join(path, &entry.key);
            let first = written.iter().position(|(key, _)| *key == entry.key).filter(|first| *first < index);
            index += 1;
            if let Some((_, at)) = first.map(|first| &written[first]) {
                let line = at.map_or_else(|| "above".to_owned(), |place| format!("in line {}", place.line));
                self.report(
                    Problem::error(path, format!("the key twice; it already stands {line}"), "each key once"),
                    entry.place,
                );
                return false;
            }
            match properties.and_then(|map| map.get(&entry.key)).or(rest) {
                Some(Value::Bool(false)) => {
                    let problem = self.unknown(&path, &entry.key, &known);
                    self.report(problem, entry.place);
                    false
                }
                // An open block takes anything.
                None | Some(Value::Bool(true)) => true,
                Some(schema) => self.value(&mut entry.value, schema, &path, entry.place),
            }
        });
        let required = schema.get("required").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str);
        let mut is_whole = true;
        for key in required {
            if !written.iter().any(|(written, _)| written == key) {
                let field = properties.and_then(|map| map.get(key)).unwrap_or(&Value::Null);
                // What lacks at the top level has no line of its own.
                let of_block = place.filter(|_| !path.is_empty());
                let place = empty.iter().find(|(empty, _)| empty == key).map_or(of_block, |(_, place)| *place);
                self.report(Problem::error(join(path, key), "nothing; it is required", self.accepted(field)), place);
            }
            is_whole &= entries.iter().any(|entry| entry.key == key);
        }
        let limit = |key: &str| schema.get(key).and_then(Value::as_u64);
        let count = written.len() as u64;
        if limit("minProperties").is_some_and(|least| count < least) || limit("maxProperties").is_some_and(|most| count > most) {
            self.report(Problem::error(path, format!("{count} keys"), format!("exactly one of {}", known.join(", "))), place);
            return false;
        }
        is_whole
    }

    fn unknown(&self, path: &str, key: &str, known: &[&str]) -> Problem {
        let problem = Problem::error(path, "an unknown key", format!("one of the keys {}", known.join(", ")));
        if let Some(near) = nearest(key, known) {
            return problem.advise(format!("did you mean `{near}`?"));
        }
        match self.elsewhere(self.root, key, "", 0) {
            Some(place) => problem.advise(format!("it belongs to `{place}`")),
            None => problem,
        }
    }

    /// The block that has a key of this name.
    fn elsewhere(&self, schema: &'a Value, key: &str, path: &str, depth: u8) -> Option<String> {
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

    fn resolved(&self, schema: &'a Value) -> &'a Value {
        let Some(target) = schema.get("$ref").and_then(Value::as_str) else { return schema };
        let found = target.strip_prefix('#').and_then(|pointer| self.root.pointer(pointer));
        found.map_or(schema, |schema| self.resolved(schema))
    }

    /// The part of a schema that speaks of values of this kind; turns `yes` and `no` into what they mean.
    fn branch(&self, node: &mut Node, schema: &'a Value) -> Option<&'a Value> {
        let schema = self.resolved(schema);
        if let Some(options) = schema.get("anyOf").and_then(Value::as_array) {
            return options.iter().find_map(|option| self.branch(node, option));
        }
        if self.words(schema).is_some() {
            // A word that is not among them has a better message of its own.
            return (!matches!(node.shape, Shape::List(_) | Shape::Map(_))).then_some(schema);
        }
        let kinds: Vec<&str> = match schema.get("type") {
            Some(Value::String(kind)) => vec![kind],
            Some(Value::Array(kinds)) => kinds.iter().filter_map(Value::as_str).collect(),
            _ => return Some(schema),
        };
        let is_boolean = kinds.contains(&"boolean") && !kinds.contains(&"string");
        if let (true, Shape::Text(text)) = (is_boolean, &node.shape) {
            match text.to_lowercase().as_str() {
                "yes" | "on" | "true" => node.shape = Shape::Bool(true),
                "no" | "off" | "false" => node.shape = Shape::Bool(false),
                _ => {}
            }
        }
        let fits = match &node.shape {
            Shape::Null => kinds.contains(&"null"),
            Shape::Bool(_) => kinds.contains(&"boolean"),
            Shape::Number(number) => kinds.contains(&"number") || (kinds.contains(&"integer") && !number.is_f64()),
            Shape::Text(_) => kinds.contains(&"string"),
            Shape::List(_) => kinds.contains(&"array"),
            Shape::Map(_) => kinds.contains(&"object"),
        };
        fits.then_some(schema)
    }

    /// The words of a closed family.
    fn words(&self, schema: &'a Value) -> Option<Vec<&'a str>> {
        if let Some(words) = schema.get("enum").and_then(Value::as_array) {
            return Some(words.iter().filter_map(Value::as_str).collect());
        }
        let options = schema.get("oneOf").and_then(Value::as_array)?;
        options.iter().map(|option| option.get("const").and_then(Value::as_str)).collect()
    }

    /// What a schema accepts, for a person.
    fn accepted(&self, schema: &'a Value) -> String {
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
                [one, list] if *list == format!("a list of such ({one})") => format!("{one}, or a list of such values"),
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

    fn accepted_kind(&self, kind: &str, schema: &'a Value) -> String {
        match kind {
            "integer" => format!("a whole number{}", range(schema)),
            "number" => format!("a number{}", range(schema)),
            "boolean" => "true or false".to_owned(),
            "string" => "a text".to_owned(),
            "array" => match schema.get("items").map(|items| self.accepted(items)) {
                Some(items) if !items.is_empty() => format!("a list of such ({items})"),
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

const SPAN: &str = "a length of time such as `90s`, `2m`, `1h 30m` or `02:00:00`";

fn one_of(words: &[&str]) -> String {
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

fn join(path: &str, key: &str) -> String {
    if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") }
}

/// What stands there, for a person.
fn found(node: &Node) -> String {
    match &node.shape {
        Shape::Null => "nothing".to_owned(),
        Shape::Bool(value) => format!("`{value}`"),
        Shape::Number(number) => format!("`{number}`"),
        Shape::Text(text) if text.chars().count() > 60 => format!("the text `{}…`", text.chars().take(57).collect::<String>()),
        Shape::Text(text) => format!("the text `{text}`"),
        Shape::List(_) => "a list".to_owned(),
        Shape::Map(_) => "a block".to_owned(),
    }
}
