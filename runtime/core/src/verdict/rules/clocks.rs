//! Whether the nodes' clocks can be laid side by side.

use super::{none_allowed, reason};
use crate::{
    units::plural,
    verdict::{Reason, Status, TrialEvidence},
};

/// Bound of the clocks by which the nodes' windows are aligned.
const CLOCK_BOUND_SECONDS: f64 = 0.05;
/// A node's clock may be set by so much at once before it is a step: slewing moves it by half a millisecond a second.
const CLOCK_STEP_SECONDS: f64 = 0.01;

pub(super) fn clock_doubt(evidence: &TrialEvidence) -> Option<Reason> {
    if evidence.clock_bound_seconds <= CLOCK_BOUND_SECONDS {
        return None;
    }
    let message = format!("the nodes' clocks are aligned to {:.0} ms only", evidence.clock_bound_seconds * 1e3);
    reason("clock_doubt", Status::Suspect, evidence.clock_bound_seconds, CLOCK_BOUND_SECONDS, message)
}

pub(super) fn clock_unknown(evidence: &TrialEvidence) -> Option<Reason> {
    let count = evidence.clocks_unknown;
    let nodes = plural(count.into(), "node");
    let message = format!("the clock of {nodes} is not known: its seconds may stand beside wrong ones of others");
    none_allowed("clock_unknown", Status::Suspect, count.into(), message)
}

/// No latency is touched, because those are of monotonic clocks; what is aligned by wall clocks is.
pub(super) fn clock_step(evidence: &TrialEvidence) -> Option<Reason> {
    let value = evidence.clock_step_seconds;
    if value <= CLOCK_STEP_SECONDS {
        return None;
    }
    let message = format!("a node's clock was set while load ran, by {:.0} ms at once", value * 1e3);
    reason("clock_step", Status::Suspect, value, CLOCK_STEP_SECONDS, message)
}

#[cfg(test)]
mod tests {
    use super::{super::tests::check, Status::Suspect};

    #[test]
    fn clocks_that_are_far_apart_are_suspect() {
        check("clock_doubt", Suspect, |e| e.clock_bound_seconds = 0.051, |e| e.clock_bound_seconds = 0.05);
        check("clock_unknown", Suspect, |e| e.clocks_unknown = 1, |_| {});
        check("clock_step", Suspect, |e| e.clock_step_seconds = 0.011, |e| e.clock_step_seconds = 0.01);
    }
}
