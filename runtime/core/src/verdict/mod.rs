//! Whether to believe a trial: VALID, SUSPECT or INVALID, each with its reasons and figures.

use serde::{Deserialize, Serialize};

/// How far a result can be believed; the greater, the worse.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Status {
    /// Nothing was found that makes the figures doubtful.
    #[default]
    Valid,
    /// A reason to look closer.
    Suspect,
    /// Do not use the figures.
    Invalid,
}

/// A reason, with the figure and the limit that it crossed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Reason {
    /// Stable: `achieved_rate`, `executor_restarted`, `node_lost`….
    pub code: String,
    /// How bad this one is.
    pub status: Status,
    /// A sentence for people.
    pub message: String,
    /// The figure.
    pub value: f64,
    /// The limit it crossed.
    pub limit: f64,
}

/// The verdict on a trial or a run.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Verdict {
    /// The worst of its reasons.
    pub status: Status,
    /// Worst first.
    pub reasons: Vec<Reason>,
}
