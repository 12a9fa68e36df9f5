//! Whether to believe a trial: VALID, SUSPECT or INVALID, each with its reasons and figures.
//!
//! A verdict is about the measurement, not about the server: a server that saturates is a finding, a
//! client that could not send what was asked is a fault. Every rule is a function in `rules` with its limit
//! beside it.

mod evidence;
mod rules;

pub use evidence::{
    ClosedLoopEvidence, DeadServer, DriftEvidence, FlowEvidence, OpenLoopEvidence, PrefixCacheEvidence, PromptsEvidence,
    ServedEvidence, SteadyEvidence, TrialEvidence,
};
pub(crate) use rules::{CACHE_HIT, ERRORS_SUSPECT};
use serde::{Deserialize, Serialize};

use crate::figures;

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

impl Reason {
    /// The figure and its limit with as many digits as tell them apart; `None` where they say nothing beside the message:
    /// of what should not be at all, and of what there should be at least one.
    #[must_use]
    pub fn figures(&self) -> Option<String> {
        if self.limit == 0.0 || self.value == 0.0 && self.limit == 1.0 {
            return None;
        }
        let [value, limit] = figures::apart(self.value, self.limit);
        Some(format!("{value} against a limit of {limit}"))
    }
}

impl Verdict {
    /// The verdict that follows from these reasons.
    #[must_use]
    pub fn of(mut reasons: Vec<Reason>) -> Self {
        reasons.sort_by_key(|reason| std::cmp::Reverse(reason.status));
        Self { status: reasons.first().map_or(Status::Valid, |reason| reason.status), reasons }
    }
}

/// The verdict on a trial.
#[must_use]
pub fn judge(evidence: &TrialEvidence) -> Verdict {
    Verdict::of(rules::RULES.iter().filter_map(|rule| rule(evidence)).collect())
}

impl std::fmt::Display for Status {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Valid => "VALID",
            Self::Suspect => "SUSPECT",
            Self::Invalid => "INVALID",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_shows_by_how_much_and_says_nothing_where_that_is_senseless() {
        for (value, limit, expected) in [
            (0.100_3, 0.1, Some("0.1003 against a limit of 0.1")),
            (12.0, 30.0, Some("12 against a limit of 30")),
            (0.0, 1.0, None),
            (3.0, 0.0, None),
        ] {
            let reason = Reason { code: "c".into(), status: Status::Invalid, message: "m".into(), value, limit };
            assert_eq!(reason.figures().as_deref(), expected, "{value} {limit}");
        }
    }
}
