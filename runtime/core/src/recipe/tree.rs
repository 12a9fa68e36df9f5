//! A recipe's text as a tree that knows the line of every key and value.
//!
//! A key that stands twice is kept twice, for the check to name.

use serde_json::{Map, Number, Value};

/// The largest recipe that is read.
pub(super) const MOST_BYTES: usize = 1 << 20;

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

    /// The place of the key that `path` ends with, or of the nearest one around it.
    pub fn key_place_of(&self, path: &str) -> Option<Place> {
        let (mut node, mut place) = (self, None);
        for step in steps(path) {
            (node, place) = match (&node.shape, step) {
                (Shape::Map(entries), Step::Key(key)) => match entries.iter().find(|entry| entry.key == key) {
                    Some(entry) => (&entry.value, entry.place),
                    None => break,
                },
                (Shape::List(entries), Step::Index(index)) => match entries.get(index) {
                    Some(entry) => (entry, entry.place),
                    None => break,
                },
                _ => break,
            };
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
