//! The rate that gives the highest goodput.
//!
//! Goodput rises with the rate until the server is busy, and falls beyond that as answers come too late. So:
//!
//! 1. From the lowest rate upwards, each one twice the one before, until one gives less than the best so far, cannot be
//!    measured, or is the highest.
//! 2. Then the rate halfway by factors on the wider side of the best so far, until its neighbours on both sides are as
//!    near as was asked.
//! 3. The best is probed a second time; a rate that was probed twice gives the mean of both, and the search goes on where
//!    another one is the best then.

use super::{
    Ending, Probe, ProbeOutcome, SearchSpec, Step,
    loads::{Load, by_load},
};

/// The goodput of a rate, over its probes that can be believed; `None` where there is none.
pub(super) fn of(load: &Load<'_>) -> Option<f64> {
    let believed = load.probes.iter().filter(|probe| probe.outcome != ProbeOutcome::Invalid);
    let goodputs: Vec<f64> = believed.map(|probe| probe.goodput_requests_per_second).collect();
    let count = goodputs.len() as f64;
    (!goodputs.is_empty()).then(|| goodputs.iter().sum::<f64>() / count)
}

/// Which of these loads gives the highest goodput, and how much; of equal ones the lowest.
pub(super) fn best(loads: &[Load<'_>]) -> Option<(usize, f64)> {
    let known = loads.iter().enumerate().filter_map(|(place, load)| Some((place, of(load)?)));
    known.reduce(|best, other| if other.1 > best.1 { other } else { best })
}

pub(super) fn step(spec: &SearchSpec, probes: &[Probe]) -> Step {
    let loads = by_load(probes);
    let Some((place, goodput)) = best(&loads) else {
        // Of what is the lowest load nothing is known: it is asked twice, and then given up.
        return if loads.iter().all(|load| load.times() < 2) { Step::Probe(spec.from) } else { Step::Over(Ending::Unjudged) };
    };
    let load = &loads[place];
    if goodput <= 0.0 {
        // More load makes no answer better.
        return if loads[0].times() < 2 { Step::Probe(spec.from) } else { Step::Over(Ending::LowestMisses) };
    }
    let below = place.checked_sub(1).map(|below| loads[below].value);
    let above = loads.get(place + 1);
    if above.is_none() && load.value < spec.to {
        return Step::Probe(spec.above(load.value));
    }
    let sides = [below.map(|below| (below, load.value)), above.map(|above| (load.value, above.value))];
    let wide = sides.into_iter().flatten().filter(|(low, high)| spec.is_wide(*low, *high));
    if let Some((low, high)) = wide.max_by(|one, other| (one.1 / one.0).total_cmp(&(other.1 / other.0))) {
        return Step::Probe(spec.between(low, high));
    }
    if load.times() < 2 {
        return Step::Probe(load.value);
    }
    Step::Over(match above.map(Load::outcome) {
        None => Ending::HighestMeets,
        Some(ProbeOutcome::Invalid) => Ending::Immeasurable,
        Some(_) => Ending::Found,
    })
}
