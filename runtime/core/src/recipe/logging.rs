//! Where every process's output goes, as a recipe writes it.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::words::PlainText;
use crate::units::Span;

/// Where every process's output goes.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Logging {
    /// The collector; only `tailer`.
    #[serde(default, rename = "type", skip_serializing_if = "Option::is_none")]
    pub kind: Option<Collector>,
    /// Whether `aggregated.jsonl` is written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub create_jsonl: Option<bool>,
    /// The time between two writes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub flush_interval: Option<Span>,
    /// File names.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outputs: Option<LogOutputs>,
    /// Whether output is collected.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub enabled: Option<bool>,
    /// Whether lines of all nodes are put together.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub aggregation: Option<PlainText>,
    /// The sources to collect.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub categories: Vec<String>,
    /// The lines' format.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub format: Option<String>,
    /// How long logs are kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retention: Option<PlainText>,
}

/// How output is collected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Collector {
    /// Line by line as it is written.
    Tailer,
}

/// Where collected output is written.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LogOutputs {
    /// Standard output.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stdout: Option<PathBuf>,
    /// Standard error.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stderr: Option<PathBuf>,
    /// Both, with node, source and time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub aggregated: Option<PathBuf>,
}
