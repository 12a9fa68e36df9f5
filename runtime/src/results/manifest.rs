//! `manifest.json`: what made this result, so that somebody else can judge or repeat it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The run's surroundings. Nothing in it is secret; the caller leaves such variables out.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Manifest {
    /// The run.
    pub run: String,
    /// Version of the binary.
    pub hbnode_version: String,
    /// Its build.
    pub build: String,
    /// The words it was started with, without secrets.
    pub command_line: Vec<String>,
    /// The working folder's commit, where it is one.
    pub commit: Option<String>,
    /// `metadata.seed`.
    pub seed: u64,
    /// Seeds by trial.
    pub trial_seeds: BTreeMap<String, u64>,
    /// Nodes: host, address, roles, cores, memory, GPUs, and what they used.
    pub nodes: BTreeMap<String, Value>,
    /// Where servers and executors ran, by trial.
    pub placement: BTreeMap<String, Value>,
    /// Images and their digests.
    pub images: BTreeMap<String, String>,
    /// Variables that bear on the result.
    pub environment: BTreeMap<String, String>,
}
