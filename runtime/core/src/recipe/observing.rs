//! What is watched, kept and told about a run, as a recipe writes it.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::words::PlainText;
use crate::{orders::Role, units::Span};

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

/// What is sampled.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Monitoring {
    /// Whether nodes are sampled; default true.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub enabled: Option<bool>,
    /// Groups of metrics.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub metrics: Vec<MetricGroup>,
    /// How long samples are kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retention: Option<PlainText>,
    /// Where figures are pushed; left out, nothing is pushed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pushgateway: Option<PushgatewayWords>,
    /// Own metrics.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub custom: Vec<CustomMetric>,
    /// Whether the old metric names stand beside the new ones; default true.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub legacy_names: Option<bool>,
}

/// A group of metrics.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MetricGroup {
    /// The probe.
    #[serde(rename = "type")]
    pub kind: String,
    /// The pause between two samples.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scrape_interval: Option<Span>,
    /// The roles or nodes it samples.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub targets: Vec<String>,
}

/// A Pushgateway.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PushgatewayWords {
    /// Its base URL.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// Its host, where it listens on port 9091.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<String>,
    /// The time between two pushes; default 15s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interval: Option<Span>,
}

/// A metric of the recipe's own.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CustomMetric {
    /// Its name.
    pub name: String,
    /// The command whose output is the value.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub command: Vec<String>,
    /// The URL whose answer is the value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// The roles that sample it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub roles: Vec<RoleName>,
    /// The pause between two samples.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interval: Option<Span>,
}

/// A role by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum RoleName {
    /// Server nodes.
    Server,
    /// Client nodes.
    Client,
    /// Monitor nodes.
    Monitor,
}

impl From<RoleName> for Role {
    fn from(name: RoleName) -> Self {
        match name {
            RoleName::Server => Self::Server,
            RoleName::Client => Self::Client,
            RoleName::Monitor => Self::Monitor,
        }
    }
}

/// What is written about the run.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Reporting {
    /// The formats that are wanted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub formats: Vec<ReportFormat>,
    /// The parts that are wanted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub include: Vec<String>,
    /// The folder that replaces `results`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output_directory: Option<PathBuf>,
}

/// A format of the report.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ReportFormat {
    /// Printed from the page by a browser.
    Pdf,
    /// `report.json`.
    Json,
    /// `metrics.csv`.
    Csv,
    /// `report.html`.
    Html,
}

/// What belongs to the run and changes nothing in it, the seed excepted.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Metadata {
    /// Seeds everything that is drawn; default 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seed: Option<u64>,
    /// The commit of what is measured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub git_commit: Option<PlainText>,
    /// Free words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub notes: Option<PlainText>,
    /// Words to find the run by.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<PlainText>,
}

/// Prices for the report.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Cost {
    /// One node for an hour.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0.0))]
    pub node_hour: Option<f64>,
    /// One GPU for an hour.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0.0))]
    pub gpu_hour: Option<f64>,
    /// A kilowatt-hour.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0.0))]
    pub kwh: Option<f64>,
    /// The currency, such as `EUR`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub currency: Option<String>,
}
