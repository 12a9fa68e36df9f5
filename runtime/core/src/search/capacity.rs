//! The highest load that meets the SLO.
//!
//! 1. From the lowest load upwards, each one twice the one before, until one misses or the highest is reached: the server
//!    is not driven far beyond what it carries, and what it queued then does not reach into the next probe.
//! 2. Then the load halfway by factors between the highest that met and the lowest that missed, until the two are as near
//!    as was asked.
//! 3. Both of them are probed a second time, with other prompts and instants. Where that contradicts the first, a third
//!    one decides, and the search goes on from what then stands.
//!
//! A probe with too few answers to be judged counts as none that misses: more load brings more answers. One that is
//! INVALID counts as one that misses: beyond it nothing can be learned of the server.

use super::{
    Ending, Probe, ProbeOutcome, SearchSpec, Step,
    loads::{Load, by_load},
};

/// The two loads between which the answer lies.
pub(super) struct Bracket<'a> {
    /// The highest load below `high` that is not too much.
    pub low: Option<Load<'a>>,
    /// The lowest load that is too much.
    pub high: Option<Load<'a>>,
    /// The highest load below `high` that met the SLO: `low` itself, unless that had too few answers.
    pub met: Option<Load<'a>>,
}

pub(super) fn bracket(probes: &[Probe]) -> Bracket<'_> {
    let mut bracket = Bracket { low: None, high: None, met: None };
    for load in by_load(probes) {
        if load.is_too_much() {
            bracket.high = Some(load);
            break;
        }
        // One that was cut short before a third probe decided is no answer.
        if load.outcome() == ProbeOutcome::Met && !load.is_undecided() {
            bracket.met = Some(Load { value: load.value, probes: load.probes.clone() });
        }
        bracket.low = Some(load);
    }
    bracket
}

pub(super) fn step(spec: &SearchSpec, probes: &[Probe]) -> Step {
    if let Some(undecided) = by_load(probes).into_iter().find(Load::is_undecided) {
        return Step::Probe(undecided.value);
    }
    let Bracket { low, high, met } = bracket(probes);
    let again = [&low, &high].into_iter().flatten().find(|load| load.wants_second()).map(|load| Step::Probe(load.value));
    let is_invalid = high.as_ref().is_some_and(|high| high.outcome() == ProbeOutcome::Invalid);
    match (&low, &high) {
        (None, None) => Step::Probe(spec.from),
        (Some(low), None) if low.value < spec.to => Step::Probe(spec.above(low.value)),
        (Some(low), Some(high)) if spec.is_wide(low.value, high.value) => Step::Probe(spec.between(low.value, high.value)),
        _ => again.unwrap_or(Step::Over(match (met, high) {
            (Some(_), None) => Ending::HighestMeets,
            (Some(_), Some(_)) if is_invalid => Ending::Immeasurable,
            (Some(_), Some(_)) => Ending::Found,
            (None, Some(_)) if low.is_none() && !is_invalid => Ending::LowestMisses,
            (None, _) => Ending::Unjudged,
        })),
    }
}
