//! Values that a recipe may write in more than one way.

use std::{borrow::Cow, collections::BTreeMap, fmt};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::trial::Length;

/// A token count: a number, or a distribution such as `{uniform: [64, 256]}`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TokenCount(pub Length);

impl From<TokenCount> for Length {
    fn from(TokenCount(length): TokenCount) -> Self {
        length
    }
}

impl Serialize for TokenCount {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Length::Fixed(tokens) => serializer.serialize_u32(tokens),
            distribution => distribution.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for TokenCount {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl<'de> de::Visitor<'de> for Visitor {
            type Value = TokenCount;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a number of tokens, or one of {uniform: [a, b]}, {normal: [mean, sd]}, {lognormal: [median, sigma]}")
            }
            fn visit_u64<E: de::Error>(self, tokens: u64) -> Result<TokenCount, E> {
                let tokens = u32::try_from(tokens).map_err(|_| E::invalid_value(de::Unexpected::Unsigned(tokens), &self))?;
                Ok(TokenCount(Length::Fixed(tokens)))
            }
            fn visit_map<A: de::MapAccess<'de>>(self, mut map: A) -> Result<TokenCount, A::Error> {
                let Some(kind) = map.next_key::<String>()? else {
                    return Err(de::Error::invalid_length(0, &self));
                };
                let length = match kind.as_str() {
                    "uniform" => map.next_value::<(u32, u32)>().map(|(a, b)| Length::Uniform(a, b)),
                    "normal" => map.next_value::<(f64, f64)>().map(|(mean, sd)| Length::Normal(mean, sd)),
                    "lognormal" => map.next_value::<(f64, f64)>().map(|(median, sigma)| Length::Lognormal(median, sigma)),
                    other => Err(de::Error::unknown_variant(other, &["uniform", "normal", "lognormal"])),
                }?;
                match map.next_key::<String>()? {
                    Some(_) => Err(de::Error::invalid_length(2, &self)),
                    None => Ok(TokenCount(length)),
                }
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}

impl JsonSchema for TokenCount {
    fn schema_name() -> Cow<'static, str> {
        "TokenCount".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        count_schema("tokens", 10_000_000)
    }
}

/// A number of turns: a number, or a distribution such as `{uniform: [2, 8]}`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct TurnCount(pub TokenCount);

impl From<TurnCount> for Length {
    fn from(TurnCount(count): TurnCount) -> Self {
        count.0
    }
}

impl JsonSchema for TurnCount {
    fn schema_name() -> Cow<'static, str> {
        "TurnCount".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        count_schema("turns", MOST_TURNS)
    }
}

/// The most turns of a conversation: each carries all before it.
const MOST_TURNS: u32 = 1_000;

/// A number of things from 1 to `most`, or a distribution of it.
fn count_schema(things: &str, most: u32) -> Schema {
    let pair = |kind: &str, minimum: f64| json_schema!({ "type": kind, "minimum": minimum, "maximum": most });
    let two = |items: Schema| json_schema!({ "type": "array", "items": items, "minItems": 2, "maxItems": 2 });
    json_schema!({
        "description": format!("A number of {things}, or one of {{uniform: [a, b]}}, {{normal: [mean, sd]}}, {{lognormal: [median, sigma]}}."),
        "anyOf": [
            { "type": "integer", "minimum": 1, "maximum": most },
            {
                "type": "object",
                "additionalProperties": false,
                "minProperties": 1,
                "maxProperties": 1,
                "properties": {
                    "uniform": two(pair("integer", 1.0)),
                    "normal": two(pair("number", 0.0)),
                    "lognormal": two(pair("number", 0.0)),
                },
            },
        ],
    })
}

/// A text, which a recipe may also write as a number or as `true` and `false`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct PlainText(pub String);

impl PlainText {
    /// A share, written as `5%` or as 0.05.
    pub(super) fn share(&self) -> Option<f64> {
        let text = self.0.trim();
        match text.strip_suffix('%') {
            Some(percent) => Some(percent.trim().parse::<f64>().ok()? / 100.0),
            None => text.parse().ok(),
        }
    }
}

impl fmt::Display for PlainText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for PlainText {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl de::Visitor<'_> for Visitor {
            type Value = PlainText;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a text or a number")
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<PlainText, E> {
                Ok(PlainText(text.to_owned()))
            }
            fn visit_bool<E: de::Error>(self, value: bool) -> Result<PlainText, E> {
                Ok(PlainText(value.to_string()))
            }
            fn visit_u64<E: de::Error>(self, value: u64) -> Result<PlainText, E> {
                Ok(PlainText(value.to_string()))
            }
            fn visit_i64<E: de::Error>(self, value: i64) -> Result<PlainText, E> {
                Ok(PlainText(value.to_string()))
            }
            fn visit_f64<E: de::Error>(self, value: f64) -> Result<PlainText, E> {
                Ok(PlainText(value.to_string()))
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}

impl JsonSchema for PlainText {
    fn schema_name() -> Cow<'static, str> {
        "PlainText".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "description": "A text or a number.", "type": ["string", "number", "boolean"] })
    }
}

/// Variables by name.
pub type Variables = BTreeMap<String, PlainText>;
