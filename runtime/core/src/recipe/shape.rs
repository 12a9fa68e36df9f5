//! Holds a tree to the schema of the types: unknown and repeated keys, missing ones, wrong kinds, ranges.
//!
//! Every problem is collected, and what is wrong is cut out of the tree, so that what is left can
//! still be read and checked across fields.

use std::collections::BTreeMap;

use serde_json::Value;

use super::{
    problem::Problem,
    read::MOST_PROBLEMS,
    rules::{LIST, Rules, SPAN, join, one_of},
    tree::{Entry, Node, Place, Shape},
};
use crate::units::{Span, nearest};

/// The block in which a key with `null` says something: that a field is not to stand in a request.
const NULL_MEANS: &str = "workload.sampling";
/// No scheduler gives a job longer.
const LONGEST_JOB: Span = Span::from_secs(366 * 86_400);

/// Walks a tree along the schema.
pub(super) struct Walk<'a> {
    rules: Rules<'a>,
    pub problems: Vec<Problem>,
}

impl<'a> Walk<'a> {
    pub fn new(root: &'a Value) -> Self {
        Self { rules: Rules { root }, problems: Vec::new() }
    }

    /// Checks the whole tree.
    pub fn check(&mut self, tree: &mut Node) -> bool {
        self.value(tree, self.rules.root, "", None)
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
            let accepted = self.rules.accepted(schema);
            let advice = match &node.shape {
                Shape::Text(text) if accepted.starts_with(LIST) => Some(format!("write it as a list: `[{text}]`")),
                Shape::Text(text) if text.parse().is_ok_and(f64::is_finite) => Some("write it without quotes".to_owned()),
                Shape::Number(_) | Shape::Bool(_) if accepted == "a text" => Some("put it in quotes".to_owned()),
                _ => None,
            };
            let problem = Problem { advice, ..Problem::error(path, found(node), accepted) };
            self.report(problem, place);
            return false;
        };
        if let Some(words) = self.rules.words(schema) {
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
                    self.report(Problem::error(path, found(node), self.rules.accepted(schema)), place);
                }
                is_inside
            }
            Shape::Text(text) => {
                let is_long_enough = !text.trim().is_empty() || schema.get("minLength").is_none();
                if !is_long_enough {
                    self.report(Problem::error(path, "an empty text", self.rules.accepted(schema)), place);
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
        let longest = if path == "orchestration.job_config.time_limit" { LONGEST_JOB } else { Span::LONGEST };
        if span > longest {
            self.report(Problem::error(path, found(node), format!("at most {longest}")), place);
            return false;
        }
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
            let each = schema.get("items").map(|items| self.rules.accepted(items)).filter(|_| least == most);
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
        let is_empty = |entry: &Entry| matches!(entry.value.shape, Shape::Null) && path != NULL_MEANS;
        let empty: Vec<(String, Option<Place>)> =
            entries.iter().filter(|entry| is_empty(entry)).map(|entry| (entry.key.clone(), entry.place)).collect();
        entries.retain(|entry| !is_empty(entry));
        let properties = schema.get("properties").and_then(Value::as_object);
        let rest = schema.get("additionalProperties");
        let known: Vec<&str> = properties.iter().flat_map(|map| map.keys().map(String::as_str)).collect();
        let written: Vec<(String, Option<Place>)> = entries.iter().map(|entry| (entry.key.clone(), entry.place)).collect();
        let mut firsts: BTreeMap<&str, usize> = BTreeMap::new();
        for (index, (key, _)) in written.iter().enumerate() {
            firsts.entry(key).or_insert(index);
        }
        let mut index = 0;
        entries.retain_mut(|entry| {
            let path = join(path, &entry.key);
            let first = Some(firsts[entry.key.as_str()]).filter(|first| *first < index);
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
            if !firsts.contains_key(key) {
                let field = properties.and_then(|map| map.get(key)).unwrap_or(&Value::Null);
                // What lacks at the top level has no line of its own.
                let of_block = place.filter(|_| !path.is_empty());
                let place = empty.iter().find(|(empty, _)| empty == key).map_or(of_block, |(_, place)| *place);
                self.report(Problem::error(join(path, key), "nothing; it is required", self.rules.accepted(field)), place);
            }
            if entries.iter().any(|entry| entry.key == key) {
                continue;
            }
            // The block is of no use without it, and what else is wrong in it should be told as well.
            let field = properties.and_then(|map| map.get(key)).and_then(|field| self.rules.stand_in(field));
            match field {
                Some(value) => entries.push(Entry { key: key.to_owned(), place: None, value }),
                None => is_whole = false,
            }
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
        if self.problems.len() >= MOST_PROBLEMS {
            // Nobody will be shown it, and the search takes time.
            return problem;
        }
        match (self.rules.elsewhere(self.rules.root, key, "", 0), nearest(key, known)) {
            // The very key in another place says more than one that resembles it here.
            (Some(place), Some(near)) => problem.advise(format!("it belongs to `{place}`; or did you mean `{near}`?")),
            (Some(place), None) => problem.advise(format!("it belongs to `{place}`")),
            (None, Some(near)) => problem.advise(format!("did you mean `{near}`?")),
            (None, None) => problem,
        }
    }

    /// The part of a schema that speaks of values of this kind; turns `yes` and `no` into what they mean.
    fn branch(&self, node: &mut Node, schema: &'a Value) -> Option<&'a Value> {
        let schema = self.rules.resolved(schema);
        if let Some(options) = schema.get("anyOf").and_then(Value::as_array) {
            return options.iter().find_map(|option| self.branch(node, option));
        }
        if self.rules.words(schema).is_some() {
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
