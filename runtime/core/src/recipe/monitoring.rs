//! What is sampled and pushed: what a recipe writes and what it means.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Recipe, words::PlainText};
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

/// Where figures are pushed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pushgateway {
    /// Its base URL.
    pub url: String,
    /// The time between two pushes.
    pub interval: Span,
}

impl Recipe {
    /// The pause between two samples of a node, or `None` where the recipe turns monitoring off.
    #[must_use]
    pub fn monitor_interval(&self) -> Option<Span> {
        let Some(monitoring) = &self.monitoring else { return Some(Span::from_secs(1)) };
        let shortest = monitoring.metrics.iter().filter_map(|group| group.scrape_interval).min();
        monitoring.enabled.unwrap_or(true).then(|| shortest.unwrap_or(Span::from_secs(1)))
    }

    /// Where figures are pushed, if anywhere.
    #[must_use]
    pub fn pushgateway(&self) -> Option<Pushgateway> {
        let monitoring = self.monitoring.as_ref().filter(|monitoring| monitoring.enabled.unwrap_or(true))?;
        let words = monitoring.pushgateway.as_ref()?;
        let from_node = words.node.as_ref().map(|node| format!("http://{node}:9091"));
        let url = words.url.clone().or(from_node)?;
        Some(Pushgateway { url, interval: words.interval.unwrap_or(Span::from_secs(15)) })
    }
}
