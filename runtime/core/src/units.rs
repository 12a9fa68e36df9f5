//! Numbers and names that carry their meaning in their type.

use std::{borrow::Cow, fmt, str::FromStr, time::Duration};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// A length of time as a recipe writes it: `90s`, `2m`, `1h 30m`, `02:00:00`, or bare seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Span(pub Duration);

impl Span {
    /// No time at all.
    pub const ZERO: Self = Self(Duration::ZERO);

    /// No recipe speaks of a longer time, no load lasts longer, and no instant of a trial lies later: a stamp beyond it
    /// is a fault.
    pub const LONGEST: Self = Self::from_secs(8 * 86_400);

    /// So many whole seconds.
    #[must_use]
    pub const fn from_secs(seconds: u64) -> Self {
        Self(Duration::from_secs(seconds))
    }

    /// So many whole milliseconds.
    #[must_use]
    pub const fn from_millis(milliseconds: u64) -> Self {
        Self(Duration::from_millis(milliseconds))
    }

    /// The length in seconds.
    #[must_use]
    pub fn as_secs_f64(self) -> f64 {
        self.0.as_secs_f64()
    }

    /// Whether a recipe's text leaves the unit out, which is read as seconds, with a warning.
    #[must_use]
    pub fn lacks_unit(text: &str) -> bool {
        text.trim().parse::<f64>().is_ok()
    }
}

/// Why a text is not a length of time.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a length of time")]
pub struct NotASpan {
    /// What was written.
    pub text: String,
}

impl FromStr for Span {
    type Err = NotASpan;

    fn from_str(text: &str) -> Result<Self, NotASpan> {
        let refuse = || NotASpan { text: text.to_owned() };
        let trimmed = text.trim();
        let is_days_and_hours = |(days, hours): (&str, &str)| [days, hours].iter().all(|part| part.parse::<u64>().is_ok());
        if trimmed.contains(':') || trimmed.split_once('-').is_some_and(is_days_and_hours) {
            return clock_reading(trimmed).ok_or_else(refuse);
        }
        if let Ok(seconds) = trimmed.parse::<f64>() {
            return Duration::try_from_secs_f64(seconds).map(Self).map_err(|_| refuse());
        }
        if let Ok(duration) = humantime::parse_duration(trimmed) {
            return Ok(Self(duration));
        }
        fraction_with_unit(trimmed).ok_or_else(refuse)
    }
}

/// Reads `1.5s` and `0.5ms`, which humantime does not.
fn fraction_with_unit(text: &str) -> Option<Span> {
    let split = text.find(|c: char| c.is_ascii_alphabetic())?;
    let (number, unit) = text.split_at(split);
    let scale = match unit.trim() {
        "ms" => 1e-3,
        "s" | "sec" | "secs" => 1.0,
        "m" | "min" | "mins" => 60.0,
        "h" | "hr" | "hrs" => 3600.0,
        _ => return None,
    };
    let seconds: f64 = number.trim().parse().ok()?;
    Duration::try_from_secs_f64(seconds * scale).ok().map(Span)
}

/// Reads `h:m:s`, `m:s` and Slurm's `d-h:m:s`, `d-h:m` and `d-h`.
fn clock_reading(text: &str) -> Option<Span> {
    let (days, rest) = match text.split_once('-') {
        Some((days, rest)) => (days.parse::<u64>().ok()?, rest),
        None => (0, text),
    };
    let parts: Vec<u64> = rest.split(':').map(|part| part.parse().ok()).collect::<Option<_>>()?;
    let seconds = match parts.as_slice() {
        [hours, minutes, seconds] => hours.checked_mul(3600)?.checked_add(minutes.checked_mul(60)?)?.checked_add(*seconds)?,
        // Slurm reads what follows days as hours first.
        [hours, minutes] if text.contains('-') => hours.checked_mul(3600)?.checked_add(minutes.checked_mul(60)?)?,
        [hours] if text.contains('-') => hours.checked_mul(3600)?,
        [minutes, seconds] => minutes.checked_mul(60)?.checked_add(*seconds)?,
        _ => return None,
    };
    Some(Span(Duration::from_secs(days.checked_mul(86_400)?.checked_add(seconds)?)))
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        humantime::format_duration(self.0).fmt(f)
    }
}

impl Serialize for Span {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl de::Visitor<'_> for Visitor {
            type Value = Span;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a length of time such as `90s`, `2m`, `1h 30m` or `02:00:00`")
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<Span, E> {
                text.parse().map_err(|_| E::invalid_value(de::Unexpected::Str(text), &self))
            }
            fn visit_u64<E: de::Error>(self, seconds: u64) -> Result<Span, E> {
                Ok(Span::from_secs(seconds))
            }
            fn visit_i64<E: de::Error>(self, seconds: i64) -> Result<Span, E> {
                u64::try_from(seconds).map(Span::from_secs).map_err(|_| E::invalid_value(de::Unexpected::Signed(seconds), &self))
            }
            fn visit_f64<E: de::Error>(self, seconds: f64) -> Result<Span, E> {
                Duration::try_from_secs_f64(seconds)
                    .map(Span)
                    .map_err(|_| E::invalid_value(de::Unexpected::Float(seconds), &self))
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}

impl JsonSchema for Span {
    fn schema_name() -> Cow<'static, str> {
        "Span".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "A length of time: `90s`, `2m`, `1h 30m`, `02:00:00`; a bare number is seconds.",
            "type": ["string", "number"],
            "minimum": 0,
            "x-span": true
        })
    }
}

/// Nanoseconds since the start of a trial (the start of its warm-up) on the sending node's clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Nanos(pub u64);

impl Nanos {
    /// The same instant in seconds.
    #[must_use]
    pub fn as_secs_f64(self) -> f64 {
        self.0 as f64 / 1e9
    }

    /// The instant that lies `seconds` after the trial's start; negative and NaN give the start.
    #[must_use]
    pub fn from_secs_f64(seconds: f64) -> Self {
        Self((seconds * 1e9).round() as u64)
    }

    /// The time from `earlier` to here, zero if it lies after.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

impl From<Duration> for Nanos {
    fn from(duration: Duration) -> Self {
        Self(u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX))
    }
}

macro_rules! name {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize, JsonSchema)]
        #[serde(transparent)]
        pub struct $name(pub String);

        impl $name {
            /// The name as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
        impl From<&str> for $name {
            fn from(text: &str) -> Self {
                Self(text.to_owned())
            }
        }
        impl From<String> for $name {
            fn from(text: String) -> Self {
                Self(text)
            }
        }
    };
}

name! {
    /// A node of the run, unique in it: the host's name, with `-<ordinal>` where several share a host.
    NodeName
}
name! {
    /// A trial's stable, readable name, safe as a folder's name: `concurrency-8.prompt_len-128.r1`.
    TrialId
}

/// `1 trial`, `2 trials`.
#[must_use]
pub fn plural(count: u64, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

/// The word among `known` that was probably meant: at most a third of its letters differ.
#[must_use]
pub fn nearest<'a>(word: &str, known: &[&'a str]) -> Option<&'a str> {
    let scored = known.iter().map(|candidate| (edits(word, candidate), *candidate));
    let (distance, candidate) = scored.min_by_key(|(distance, _)| *distance)?;
    (distance <= word.chars().count().max(candidate.chars().count()).div_ceil(3)).then_some(candidate)
}

/// The edit distance of two words (insert, delete, replace).
fn edits(one: &str, other: &str) -> usize {
    let other: Vec<char> = other.chars().collect();
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (i, letter) in one.chars().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, candidate) in other.iter().enumerate() {
            let replaced = diagonal + usize::from(letter != *candidate);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[other.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_misspelt_word_finds_the_one_that_was_meant() {
        let known = ["clients_per_node", "nodes", "distribution_strategy"];
        assert_eq!(nearest("client_per_node", &known), Some("clients_per_node"));
        assert_eq!(nearest("node", &known), Some("nodes"));
        assert_eq!(nearest("colour", &known), None);
    }

    fn check(text: &str, seconds: Option<f64>) {
        let read = text.parse::<Span>().ok().map(Span::as_secs_f64);
        assert_eq!(read, seconds, "{text:?}");
    }

    #[test]
    fn every_way_to_write_a_length_of_time_is_read() {
        check("90", Some(90.0));
        check("2m", Some(120.0));
        check("1h 30m", Some(5400.0));
        check("02:00:00", Some(7200.0));
        check("1-00:00:00", Some(86_400.0));
        check("1-12:00", Some(129_600.0));
        check("1-12", Some(129_600.0));
        check("05:30", Some(330.0));
        check("0s", Some(0.0));
        check("1.5s", Some(1.5));
        check("500ms", Some(0.5));
    }

    #[test]
    fn what_is_no_length_of_time_is_refused() {
        for text in ["", "-1", "NaN", "inf", "soon", "1:2:3:4", "99999999999999999999:00:00", "2 parsecs"] {
            check(text, None);
        }
    }

    #[test]
    fn a_span_survives_being_written_and_read() {
        for span in [Span::ZERO, Span::from_millis(1), Span::from_secs(7265)] {
            let text = serde_json::to_string(&span).unwrap();
            assert_eq!(serde_json::from_str::<Span>(&text).unwrap(), span);
        }
    }
}
