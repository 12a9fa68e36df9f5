//! Where prompts come from.

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize, de};

use crate::units::Span;

/// Where prompts come from.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
#[serde(untagged)]
pub enum Dataset {
    /// A file.
    Path(String),
    /// A file and how it is read.
    Described(DatasetFile),
}

impl<'de> Deserialize<'de> for Dataset {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl<'de> de::Visitor<'de> for Visitor {
            type Value = Dataset;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a path, or {path, format, time_scale, skip, limit, jitter, on_bad_line}")
            }
            fn visit_str<E: de::Error>(self, path: &str) -> Result<Dataset, E> {
                Ok(Dataset::Path(path.to_owned()))
            }
            fn visit_map<A: de::MapAccess<'de>>(self, map: A) -> Result<Dataset, A::Error> {
                DatasetFile::deserialize(de::value::MapAccessDeserializer::new(map)).map(Dataset::Described)
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}

/// A file of prompts and how it is read.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DatasetFile {
    /// The file.
    pub path: String,
    /// Its format, if its first lines do not tell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub format: Option<String>,
    /// Factor on its time stamps.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time_scale: Option<f64>,
    /// Entries to leave out at its start.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub skip: Option<u64>,
    /// Entries to use at most.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u64>,
    /// Random shift of its time stamps.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jitter: Option<Span>,
    /// What a line that cannot be read does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_bad_line: Option<BadLine>,
}

/// What a line that cannot be read does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum BadLine {
    /// Ends the run before it starts.
    Fail,
    /// Is counted and left out.
    Skip,
}
