//! What is sampled and pushed, as a recipe writes it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::words::PlainText;
use crate::units::Span;

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
