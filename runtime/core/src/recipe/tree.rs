//! A recipe's text as a tree that knows the line of every key and value.
//!
//! All use of the YAML crate lies here. It bounds depth, nodes and aliases, so that no text makes
//! it slow or large; a key that stands twice is kept twice, for the check to name.

use std::fmt;

use serde::{Deserialize, Deserializer, de};
use serde_json::{Map, Number, Value};
use serde_yaml::Spanned;

/// The largest recipe that is read.
pub(super) const MOST_BYTES: usize = 1 << 20;

/// The deepest nesting that is read. A recipe has 7 levels; an unoptimised build takes 40 KiB of stack for
/// each, and a thread has 2 MiB.
const MOST_LEVELS: usize = 20;

/// A value and where it stands.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Node {
    /// What it is.
    pub shape: Shape,
    /// Where it begins; `None` where it came from the command line.
    pub place: Option<Place>,
}

/// A line and a column, both counted from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    /// The line.
    pub line: u32,
    /// The column.
    pub column: u32,
}

/// What a value is.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Shape {
    Null,
    Bool(bool),
    Number(Number),
    Text(String),
    List(Vec<Node>),
    Map(Vec<Entry>),
}

/// A key, where it stands, and its value.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Entry {
    pub key: String,
    pub place: Option<Place>,
    pub value: Node,
}

/// Why a text is not YAML that we read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what}")]
pub(super) struct NotYaml {
    pub what: String,
    pub place: Option<Place>,
}

/// Reads a text.
pub(super) fn parse(text: &str) -> Result<Node, NotYaml> {
    let options = serde_yaml::options! {
        duplicate_keys: serde_yaml::options::DuplicateKeyPolicy::PassThrough,
        strict_booleans: true,
        non_finite_float_policy: serde_yaml::options::NonFiniteFloatPolicy::AsString,
        budget: serde_yaml::budget! { max_depth: MOST_LEVELS, max_nodes: 100_000, max_aliases: 1_000 },
    };
    serde_yaml::from_str_with_options::<Node>(text, options).map_err(|error| {
        let what = error.without_snippet().to_string();
        let what = what.lines().next().unwrap_or_default();
        // The place is told apart from the words.
        let what = what.split(" at line ").next().unwrap_or_default();
        let what = match what {
            what if what.contains("Depth") || what.contains("recursion limit") => {
                format!("more than {MOST_LEVELS} levels of blocks and lists")
            }
            what if what.starts_with("budget breached") || what.contains("alias") => {
                format!("a text that grows too large ({what})")
            }
            what => what.to_owned(),
        };
        NotYaml { what, place: error.location().and_then(Place::of) }
    })
}

impl Place {
    fn of(location: serde_yaml::Location) -> Option<Self> {
        let line = u32::try_from(location.line()).ok().filter(|line| *line > 0)?;
        Some(Self { line, column: u32::try_from(location.column()).ok()?.max(1) })
    }
}

impl Node {
    /// The tree as JSON; of a key that stands twice, the first value.
    pub fn to_json(&self) -> Value {
        match &self.shape {
            Shape::Null => Value::Null,
            Shape::Bool(value) => Value::Bool(*value),
            Shape::Number(number) => Value::Number(number.clone()),
            Shape::Text(text) => Value::String(text.clone()),
            Shape::List(entries) => entries.iter().map(Self::to_json).collect(),
            Shape::Map(entries) => {
                let mut map = Map::new();
                for entry in entries {
                    map.entry(entry.key.clone()).or_insert_with(|| entry.value.to_json());
                }
                Value::Object(map)
            }
        }
    }

    /// The value of a key of this block.
    pub fn get(&self, key: &str) -> Option<&Self> {
        let Shape::Map(entries) = &self.shape else { return None };
        entries.iter().find(|entry| entry.key == key).map(|entry| &entry.value)
    }

    /// The place of the value at `path` (`workload.concurrency[1]`), or of the nearest block around it.
    pub fn place_of(&self, path: &str) -> Option<Place> {
        let mut node = self;
        let mut place = None;
        for step in steps(path) {
            match (&node.shape, step) {
                (Shape::Map(entries), Step::Key(key)) => {
                    let Some(entry) = entries.iter().find(|entry| entry.key == key) else { break };
                    // A block is pointed at by its key, a plain value by itself.
                    place = if matches!(entry.value.shape, Shape::Map(_)) { entry.place } else { entry.value.place };
                    node = &entry.value;
                }
                (Shape::List(entries), Step::Index(index)) => {
                    let Some(entry) = entries.get(index) else { break };
                    place = entry.place;
                    node = entry;
                }
                _ => break,
            }
        }
        place
    }

    /// Puts a value at `path`, making the blocks on the way.
    ///
    /// Says at which part of the path there is no block or list to go into.
    pub fn set(&mut self, path: &str, value: Self) -> Result<(), String> {
        let mut node = self;
        let mut so_far = String::new();
        for step in steps(path) {
            if matches!(node.shape, Shape::Null) {
                node.shape = Shape::Map(Vec::new());
            }
            match (&mut node.shape, step) {
                (Shape::Map(entries), Step::Key(key)) => {
                    let index = entries.iter().position(|entry| entry.key == key).unwrap_or_else(|| {
                        let empty = Self { shape: Shape::Null, place: None };
                        entries.push(Entry { key: key.to_owned(), place: None, value: empty });
                        entries.len() - 1
                    });
                    node = &mut entries[index].value;
                }
                (Shape::List(entries), Step::Index(index)) => {
                    let count = entries.len();
                    node = entries.get_mut(index).ok_or_else(|| format!("`{so_far}` has {count} entries, counted from 0"))?;
                }
                (_, Step::Key(_)) => return Err(format!("`{so_far}` is no block")),
                (_, Step::Index(_)) => return Err(format!("`{so_far}` is no list")),
            }
            match step {
                Step::Key(key) if so_far.is_empty() => key.clone_into(&mut so_far),
                Step::Key(key) => so_far = format!("{so_far}.{key}"),
                Step::Index(index) => so_far = format!("{so_far}[{index}]"),
            }
        }
        *node = value.without_places();
        Ok(())
    }

    fn without_places(mut self) -> Self {
        self.place = None;
        match &mut self.shape {
            Shape::List(entries) => entries.iter_mut().for_each(|entry| *entry = entry.clone().without_places()),
            Shape::Map(entries) => entries.iter_mut().for_each(|entry| {
                entry.place = None;
                entry.value = entry.value.clone().without_places();
            }),
            _ => {}
        }
        self
    }
}

#[derive(Clone, Copy)]
enum Step<'a> {
    Key(&'a str),
    Index(usize),
}

fn steps(path: &str) -> impl Iterator<Item = Step<'_>> {
    let parts = path.split(['.', '[']).filter(|part| !part.is_empty());
    parts.map(|part| match part.strip_suffix(']').and_then(|digits| digits.parse().ok()) {
        Some(index) => Step::Index(index),
        None => Step::Key(part),
    })
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let spanned = Spanned::<Shape>::deserialize(deserializer)?;
        Ok(Self { place: Place::of(spanned.referenced), shape: spanned.value })
    }
}

impl<'de> Deserialize<'de> for Shape {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl<'de> de::Visitor<'de> for Visitor {
            type Value = Shape;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a value, a list or a block")
            }
            fn visit_unit<E: de::Error>(self) -> Result<Shape, E> {
                Ok(Shape::Null)
            }
            fn visit_none<E: de::Error>(self) -> Result<Shape, E> {
                Ok(Shape::Null)
            }
            fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Shape, D::Error> {
                Shape::deserialize(deserializer)
            }
            fn visit_bool<E: de::Error>(self, value: bool) -> Result<Shape, E> {
                Ok(Shape::Bool(value))
            }
            fn visit_u64<E: de::Error>(self, value: u64) -> Result<Shape, E> {
                Ok(Shape::Number(value.into()))
            }
            fn visit_i64<E: de::Error>(self, value: i64) -> Result<Shape, E> {
                Ok(Shape::Number(value.into()))
            }
            fn visit_i128<E: de::Error>(self, value: i128) -> Result<Shape, E> {
                self.visit_f64(value as f64)
            }
            fn visit_u128<E: de::Error>(self, value: u128) -> Result<Shape, E> {
                self.visit_f64(value as f64)
            }
            fn visit_f64<E: de::Error>(self, value: f64) -> Result<Shape, E> {
                // What is not finite is no number of ours; as text it meets the field's own message.
                Ok(Number::from_f64(value).map_or_else(|| Shape::Text(value.to_string()), Shape::Number))
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<Shape, E> {
                Ok(Shape::Text(text.to_owned()))
            }
            fn visit_seq<A: de::SeqAccess<'de>>(self, mut access: A) -> Result<Shape, A::Error> {
                let mut entries = Vec::new();
                while let Some(entry) = access.next_element::<Node>()? {
                    entries.push(entry);
                }
                Ok(Shape::List(entries))
            }
            fn visit_map<A: de::MapAccess<'de>>(self, mut access: A) -> Result<Shape, A::Error> {
                let mut entries = Vec::new();
                while let Some((key, value)) = access.next_entry::<Spanned<String>, Node>()? {
                    entries.push(Entry { place: Place::of(key.referenced), key: key.value, value });
                }
                Ok(Shape::Map(entries))
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}
