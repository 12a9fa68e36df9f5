//! The search for the highest load that meets the SLO: the rule of `workload.search`.
//!
//! A search makes *probes*, trials of one load each, one after another. What comes next follows from the spec and the
//! probes so far alone, so that a resumed run goes on where the one before stopped, and a report says the same whoever
//! builds it. It has neither a clock nor memory.
//!
//! ```text
//! SearchSpec ─┐
//!             ├─► next: Step::Probe(load) ─► Trial ─► … ─► TrialReport ─► judge ─► Probe ─┐
//! [Probe] ────┤                                                                           │
//!   ▲         └─► next: Step::Over(ending)                                                │
//!   └─────────────────────────────────────────────────────────────────────────────────────┘
//! ```
//!
//! `capacity` holds the rule for the highest rate or concurrency, `goodput` the one for the best goodput, `judge` what a
//! probe comes to, `answer` what is said of all of them.

mod answer;
mod capacity;
mod goodput;
mod judge;
mod loads;
mod probe;

use std::num::NonZeroU32;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub(crate) use self::judge::judge;
pub use self::{
    answer::{SearchReport, answers},
    judge::{LimitFigure, fewest_answers},
    probe::{Probe, ProbeOutcome, ProbePlace, ProbeReport},
};
use crate::{trial::Stop, units::Span};

/// Below the first miss each load is so many times the one before.
const GROWTH: f64 = 2.0;
/// Probes beyond the bound of a server that does the same twice: what contradictions may cost.
const FOR_CONTRADICTIONS: usize = 6;
/// Loads of a rate are rounded to so many digits, so that they can be read.
const DIGITS: i32 = 4;

/// What a search makes as high as can be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum SearchTarget {
    /// Requests per second, as long as the SLO holds.
    Rate,
    /// Requests in flight, as long as the SLO holds.
    Concurrency,
    /// Answers per second that meet the SLO, whatever the others do.
    Goodput,
}

impl SearchTarget {
    /// What its loads are counted in.
    #[must_use]
    const fn unit(self) -> &'static str {
        match self {
            Self::Rate | Self::Goodput => "requests/s",
            Self::Concurrency => "in flight",
        }
    }

    /// The recipe's key of its loads.
    #[must_use]
    pub const fn key(self) -> &'static str {
        match self {
            Self::Rate | Self::Goodput => "target_rps",
            Self::Concurrency => "concurrency",
        }
    }
}

const fn alone() -> NonZeroU32 {
    NonZeroU32::MIN
}

/// What is searched, and where.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SearchSpec {
    /// What is made as high as can be.
    pub maximize: SearchTarget,
    /// The lowest load tried, and the first.
    pub from: f64,
    /// The highest load tried.
    pub to: f64,
    /// The answer's distance to the next load that misses, as a share of the answer.
    pub precision: f64,
    /// The time that all probes may take together.
    pub budget: Option<Span>,
    /// How many requests are due at each arrival, and whenever a client asks; a load counts those.
    #[serde(default = "alone")]
    pub together: NonZeroU32,
    /// The warm-up of each probe.
    pub warmup: Span,
    /// What ends the window of each probe.
    pub stop: Stop,
}

/// What comes next.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Step {
    /// A probe of this load.
    Probe(f64),
    /// Nothing: the search is over.
    Over(Ending),
}

/// Why a search is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ending {
    /// The answer is known as precisely as was asked.
    Found,
    /// Even the highest load that may be tried meets the SLO.
    HighestMeets,
    /// Not even the lowest load that may be tried meets it.
    LowestMisses,
    /// Above the answer the measurement itself fails: the client, mostly, is the limit.
    Immeasurable,
    /// No probe that did not miss could be judged.
    Unjudged,
    /// The next probe would take more than is left of the budget.
    Budget,
    /// Probes of the same load contradict each other too often.
    Contradictory,
    /// The run ended before the search did.
    Unfinished,
}

impl SearchSpec {
    /// What comes after these probes, which are in the order in which they were made.
    #[must_use]
    pub fn next(&self, probes: &[Probe]) -> Step {
        let step = match self.maximize {
            SearchTarget::Rate | SearchTarget::Concurrency => capacity::step(self, probes),
            SearchTarget::Goodput => goodput::step(self, probes),
        };
        match step {
            Step::Probe(_) if probes.len() >= self.most_probes() => Step::Over(Ending::Contradictory),
            Step::Probe(load) if self.exceeds_budget(load, probes) => Step::Over(Ending::Budget),
            step => step,
        }
    }

    /// Probes that are needed at most where a load gives the same twice.
    #[must_use]
    pub fn usual_probes(&self) -> usize {
        let doublings = (self.to / self.from).ln() / GROWTH.ln();
        let halvings = (GROWTH.ln() / self.precision.ln_1p()).log2().max(0.0);
        // The first load itself, and one more halving for what rounding takes away.
        let to_bracket = doublings.ceil() as usize + 1;
        match self.maximize {
            SearchTarget::Rate | SearchTarget::Concurrency => to_bracket + halvings.ceil() as usize + 1 + 2,
            // There are two sides of a peak, and it is asked again alone.
            SearchTarget::Goodput => to_bracket + 2 * (halvings.ceil() as usize + 1) + 1,
        }
    }

    /// Probes that are made at most.
    #[must_use]
    pub fn most_probes(&self) -> usize {
        self.usual_probes() + FOR_CONTRADICTIONS
    }

    /// What its loads are counted in: `requests/s`, or `× 4 requests/s`.
    #[must_use]
    pub fn unit(&self) -> String {
        self.by(self.maximize.unit())
    }

    /// A unit where each of a load is so many requests.
    fn by(&self, unit: &str) -> String {
        if self.together.get() == 1 { unit.to_owned() } else { format!("× {} {unit}", self.together) }
    }

    /// Requests per second, or requests in flight, that a load is.
    fn requests(&self, load: f64) -> f64 {
        load * f64::from(self.together.get())
    }

    /// Seconds that warm-up and window of a probe take, where that is known before.
    #[must_use]
    pub fn load_seconds(&self, load: f64) -> Option<f64> {
        let window = match (self.stop, self.maximize) {
            (Stop::After(span), _) => span.as_secs_f64(),
            (Stop::Requests(count), SearchTarget::Rate | SearchTarget::Goodput) => count as f64 / self.requests(load),
            (Stop::Requests(_), SearchTarget::Concurrency) => return None,
        };
        Some(self.warmup.as_secs_f64() + window)
    }

    /// Seconds that all probes take at most, where that is known before; the budget bounds it in any case. The lowest load
    /// takes longest.
    #[must_use]
    pub fn most_seconds(&self, beside_each: f64) -> Option<f64> {
        let all = self.load_seconds(self.from).map(|seconds| (seconds + beside_each) * self.most_probes() as f64);
        let budget = self.budget.map(Span::as_secs_f64);
        all.into_iter().chain(budget).reduce(f64::min)
    }

    fn exceeds_budget(&self, load: f64, probes: &[Probe]) -> bool {
        let Some(budget) = self.budget.filter(|_| !probes.is_empty()) else { return false };
        let spent: f64 = probes.iter().map(|probe| probe.seconds).sum();
        let longest = probes.iter().map(|probe| probe.seconds).fold(0.0, f64::max);
        // What a probe takes beside its load: calibration, the beginning and the end.
        let beside = probes.iter().filter_map(|probe| Some(probe.seconds - self.load_seconds(probe.load)?));
        let beside = beside.fold(f64::INFINITY, f64::min).max(0.0);
        let needed = self.load_seconds(load).map_or(longest, |seconds| seconds + beside);
        spent + needed > budget.as_secs_f64()
    }

    /// The load above this one, while no bound is known above it.
    fn above(&self, load: f64) -> f64 {
        self.rounded(load * GROWTH).min(self.to)
    }

    /// Whether there is a load between these two that is worth a probe.
    fn is_wide(&self, low: f64, high: f64) -> bool {
        let is_apart = self.maximize != SearchTarget::Concurrency || high - low > 1.5;
        is_apart && high / low > (1.0 + self.precision) * (1.0 + 1e-9)
    }

    /// The load between two that are wide apart, by equal factors.
    fn between(&self, low: f64, high: f64) -> f64 {
        let middle = (low * high).sqrt();
        let rounded = self.rounded(middle);
        match self.maximize {
            SearchTarget::Concurrency => rounded.clamp(low + 1.0, high - 1.0),
            SearchTarget::Rate | SearchTarget::Goodput if low < rounded && rounded < high => rounded,
            SearchTarget::Rate | SearchTarget::Goodput => middle,
        }
    }

    fn rounded(&self, load: f64) -> f64 {
        if self.maximize == SearchTarget::Concurrency {
            return load.round();
        }
        let power = DIGITS - 1 - load.log10().floor() as i32;
        // Divided by a whole power of ten a decimal is the one that is read again from a text.
        if power >= 0 {
            let scale = 10_f64.powi(power);
            (load * scale).round() / scale
        } else {
            let scale = 10_f64.powi(-power);
            (load / scale).round() * scale
        }
    }
}

#[cfg(test)]
mod tests;
