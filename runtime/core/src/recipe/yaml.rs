//! From YAML to a tree. It bounds depth, nodes and aliases, so that no text makes it slow or large.

use std::fmt;

use serde::{Deserialize, Deserializer, de};
use serde_json::Number;
use serde_yaml::Spanned;

use super::tree::{Entry, Node, Place, Shape};

/// The deepest nesting that is read. A recipe has 7 levels; an unoptimised build takes 40 KiB of stack for
/// each, and a thread has 2 MiB.
const MOST_LEVELS: usize = 20;

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
            what if what.contains("unknown anchor") => "an alias such as `*name` without its anchor `&name` before it".to_owned(),
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
