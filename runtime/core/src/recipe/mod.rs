//! The recipe: what was written, held to what can be meant, and expanded into trials.
//!
//! ```text
//! text ─► tree (lines) ─► shape (schema) ─► Recipe ─► checks (across fields) ─► trials
//! ```
//!
//! [`read()`] collects every problem on that way; [`trials`] applies every default.

mod batch;
mod block;
mod checks;
mod dataset;
mod defaults;
#[cfg(test)]
mod every_key;
mod expand;
mod logging;
mod monitoring;
mod needs;
mod one_or_many;
mod orchestration;
mod problem;
mod read;
mod reporting;
mod rules;
mod search;
mod seed;
mod servers;
mod shape;
mod show;
mod stages;
mod stop_when;
mod suite;
mod tree;
mod trial_names;
mod unsupported;
mod untimed;
mod words;
mod workload;
mod yaml;

use std::{collections::BTreeMap, num::NonZeroU32};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

pub use self::{
    block::from_workload_block,
    dataset::*,
    expand::trials,
    logging::*,
    monitoring::*,
    one_or_many::OneOrMany,
    orchestration::*,
    problem::{Problem, Severity},
    read::{KnownService, Reading, key_place, names_account, read},
    reporting::*,
    search::Search,
    servers::*,
    show::show,
    stages::{LoadStage, Ramp},
    stop_when::StopWhen,
    suite::SuiteEntry,
    unsupported::unsupported_keys,
    words::{PlainText, TokenCount, Variables},
    workload::*,
};
use crate::trial::Api;

/// A benchmark: what is measured, how, where and how often.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(title = "hbnode recipe")]
pub struct Recipe {
    /// The experiment's name, which is also its results folder's.
    pub scenario: String,
    /// The Slurm partition.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub partition: Option<String>,
    /// The project that pays.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub account: Option<PlainText>,
    /// The quality of service.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub qos: Option<String>,
    /// Modules that the job loads.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub modules: Vec<String>,
    /// How often each trial is run; default 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub repetitions: Option<NonZeroU32>,
    /// Where the run happens, on how many nodes, and what each is for.
    pub orchestration: Orchestration,
    /// What one node of each role needs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resources: Option<Resources>,
    /// The load.
    pub workload: Workload,
    /// The servers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub servers: Option<Servers>,
    /// Images and executables.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artifacts: Option<Artifacts>,
    /// Folders that servers see: `source:target[:ro|rw]`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub binds: Vec<String>,
    /// Variables for the servers.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub environment: Variables,
    /// Services described without Rust, by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub custom_services: BTreeMap<String, CustomServiceWords>,
    /// Where every process's output goes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub logging: Option<Logging>,
    /// What is sampled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub monitoring: Option<Monitoring>,
    /// What is written about the run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reporting: Option<Reporting>,
    /// Prices for the report.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cost: Option<Cost>,
    /// Seed, commit, notes, tags.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metadata: Option<Metadata>,
    /// What the service's own table says its operation is; set by [`read()`].
    #[serde(skip)]
    #[schemars(skip)]
    default_api: Option<Api>,
}

/// The JSON Schema of a recipe.
#[must_use]
pub fn schema() -> serde_json::Value {
    schemars::schema_for!(Recipe).to_value()
}

/// The schema as `schemas/recipe-format.yaml` holds it.
#[must_use]
pub fn schema_text() -> String {
    let yaml = serde_yaml::to_string(&schema()).expect("a schema is plain data");
    format!("# Generated from the types by `hbnode schema`.\n{yaml}")
}

/// A recipe as it was understood, with what was set from the command line: what `recipe.resolved.yaml` holds.
#[must_use]
pub fn resolved_text(recipe: &Recipe) -> String {
    serde_yaml::to_string(recipe).expect("a recipe is plain data")
}

fn rate_schema(_: &mut SchemaGenerator) -> Schema {
    positive(1_000_000)
}

fn burstiness_schema(_: &mut SchemaGenerator) -> Schema {
    positive(1_000)
}

/// A number above zero, or a list of them.
fn positive(most: u32) -> Schema {
    let one = json_schema!({ "type": "number", "exclusiveMinimum": 0, "maximum": most });
    json_schema!({ "anyOf": [one, { "type": "array", "items": one, "minItems": 1, "maxItems": 1000 }] })
}
