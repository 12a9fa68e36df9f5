//! JSON values of which only one bit or one number matters, read without keeping them.

use std::fmt;

use serde::{
    Deserialize, Deserializer,
    de::{IgnoredAny, MapAccess, SeqAccess, Visitor},
};

/// Whether a value says anything: not absent, `null`, `false`, `""`, `[]` or `{}`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Filled(pub bool);

/// How many elements a list has; `null` has none to count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Count(pub Option<u32>);

/// A number of tokens, also where it is written as a float; `null` is 0. What is no such number has none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tokens(pub Option<u32>);

impl Default for Tokens {
    fn default() -> Self {
        Self(Some(0))
    }
}

impl<'de> Deserialize<'de> for Tokens {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Look;
        impl<'de> Visitor<'de> for Look {
            type Value = Tokens;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a number of tokens")
            }
            fn visit_unit<E>(self) -> Result<Tokens, E> {
                Ok(Tokens::default())
            }
            fn visit_u64<E>(self, value: u64) -> Result<Tokens, E> {
                Ok(Tokens(u32::try_from(value).ok()))
            }
            fn visit_i64<E>(self, value: i64) -> Result<Tokens, E> {
                Ok(Tokens(u32::try_from(value).ok()))
            }
            fn visit_f64<E>(self, value: f64) -> Result<Tokens, E> {
                let is_count = value.fract() == 0.0 && (0.0..=f64::from(u32::MAX)).contains(&value);
                Ok(Tokens(is_count.then_some(value as u32)))
            }
        }
        deserializer.deserialize_any(Look)
    }
}

impl<'de> Deserialize<'de> for Filled {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Look;
        impl<'de> Visitor<'de> for Look {
            type Value = Filled;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("any value")
            }
            fn visit_unit<E>(self) -> Result<Filled, E> {
                Ok(Filled(false))
            }
            fn visit_bool<E>(self, value: bool) -> Result<Filled, E> {
                Ok(Filled(value))
            }
            fn visit_u64<E>(self, _: u64) -> Result<Filled, E> {
                Ok(Filled(true))
            }
            fn visit_i64<E>(self, _: i64) -> Result<Filled, E> {
                Ok(Filled(true))
            }
            fn visit_f64<E>(self, _: f64) -> Result<Filled, E> {
                Ok(Filled(true))
            }
            fn visit_str<E>(self, text: &str) -> Result<Filled, E> {
                Ok(Filled(!text.is_empty()))
            }
            fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<Filled, A::Error> {
                count(list).map(|length| Filled(length > 0))
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Filled, A::Error> {
                let mut is_filled = false;
                while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {
                    is_filled = true;
                }
                Ok(Filled(is_filled))
            }
        }
        deserializer.deserialize_any(Look)
    }
}

impl<'de> Deserialize<'de> for Count {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Look;
        impl<'de> Visitor<'de> for Look {
            type Value = Count;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list or null")
            }
            fn visit_unit<E>(self) -> Result<Count, E> {
                Ok(Count(None))
            }
            fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<Count, A::Error> {
                count(list).map(|length| Count(Some(length)))
            }
        }
        deserializer.deserialize_any(Look)
    }
}

fn count<'de, A: SeqAccess<'de>>(mut list: A) -> Result<u32, A::Error> {
    let mut length = 0_u32;
    while list.next_element::<IgnoredAny>()?.is_some() {
        length = length.saturating_add(1);
    }
    Ok(length)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_that_says_nothing_is_not_filled() {
        for text in ["null", "false", "\"\"", "[]", "{}"] {
            assert_eq!(serde_json::from_str::<Filled>(text).unwrap(), Filled(false), "{text}");
        }
        for text in ["true", "0", "-1", "0.5", "\" \"", r#""\u00e9\n""#, "[null]", r#"{"a":[1,{"b":2}]}"#] {
            assert_eq!(serde_json::from_str::<Filled>(text).unwrap(), Filled(true), "{text}");
        }
    }

    #[test]
    fn a_number_of_tokens_may_be_written_as_a_float() {
        let none = ["-1", "16.5", "-0.5", "1e20", "4294967296", "100000000000000000000"].map(|text| (text, None));
        let some = [("16", 16), ("16.0", 16), ("1.6e1", 16), ("0", 0), ("null", 0), ("4294967295", u32::MAX)];
        for (text, tokens) in some.map(|(text, tokens)| (text, Some(tokens))).into_iter().chain(none) {
            assert_eq!(serde_json::from_str::<Tokens>(text).unwrap(), Tokens(tokens), "{text}");
        }
        assert!(serde_json::from_str::<Tokens>("\"16\"").is_err());
    }

    #[test]
    fn a_list_is_counted_and_null_is_no_list() {
        for (text, count) in [("null", None), ("[]", Some(0)), ("[401]", Some(1)), ("[1,2,3]", Some(3))] {
            assert_eq!(serde_json::from_str::<Count>(text).unwrap(), Count(count), "{text}");
        }
        assert!(serde_json::from_str::<Count>("\"three\"").is_err());
    }
}
