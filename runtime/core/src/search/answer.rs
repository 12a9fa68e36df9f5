//! What a search says: its answer in a sentence, the bounds that it rests on, its probes.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{
    Ending, LimitFigure, Probe, ProbeOutcome, SearchSpec, SearchTarget, Step, capacity, goodput,
    loads::{Load, by_load},
};
use crate::{
    report::TrialReport,
    trial::Stop,
    units::{Span, TrialId},
    verdict::{Reason, Status},
};

/// A search and what it came to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SearchReport {
    /// The search's name; its probes' names begin with it.
    pub id: TrialId,
    /// The swept fields and their values here, without the load.
    pub parameters: BTreeMap<String, Value>,
    /// Counts from 1.
    pub repetition: u32,
    /// What is searched.
    pub spec: SearchSpec,
    /// Why it is over.
    pub ending: Ending,
    /// The load found: the highest that meets the SLO, or the rate of the highest goodput. `None` where none was.
    pub answer: Option<f64>,
    /// The lowest load above it that does not meet the SLO, or that cannot be measured.
    pub beyond: Option<f64>,
    /// Whether the answer was probed a second time, with the same result.
    pub is_confirmed: bool,
    /// All of that in a sentence.
    pub sentence: String,
    /// Its probes, in the order in which they were made.
    pub probes: Vec<Probe>,
}

/// The searches of which these trials hold probes, in the order of their first probes. A probe that was cut short says
/// nothing.
#[must_use]
pub fn answers(trials: &[TrialReport]) -> Vec<SearchReport> {
    let mut searches: Vec<SearchReport> = Vec::new();
    for trial in trials.iter().filter(|trial| trial.complete) {
        let Some(probe) = &trial.probe else { continue };
        match searches.iter_mut().find(|search| search.id == probe.search) {
            Some(search) => search.probes.push(probe.result.clone()),
            None => searches.push(begun(trial, probe.search.clone(), &probe.spec, probe.result.clone())),
        }
    }
    searches.iter_mut().for_each(SearchReport::conclude);
    searches
}

fn begun(trial: &TrialReport, id: TrialId, spec: &SearchSpec, first: Probe) -> SearchReport {
    let mut parameters = trial.parameters.clone();
    parameters.remove(spec.maximize.key());
    SearchReport {
        id,
        parameters,
        repetition: trial.repetition,
        spec: spec.clone(),
        ending: Ending::Unfinished,
        answer: None,
        beyond: None,
        is_confirmed: false,
        sentence: String::new(),
        probes: vec![first],
    }
}

impl SearchReport {
    /// Whether nothing of it is left to do.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.ending != Ending::Unfinished
    }

    /// The probes that the answer rests on.
    pub fn winners(&self) -> impl Iterator<Item = &Probe> {
        let is_of_answer = |probe: &&Probe| self.answer.is_some_and(|answer| (answer - probe.load).abs() <= 1e-9 * answer);
        let is_good = match self.spec.maximize {
            SearchTarget::Goodput => |probe: &&Probe| probe.outcome != ProbeOutcome::Invalid,
            SearchTarget::Rate | SearchTarget::Concurrency => |probe: &&Probe| probe.outcome == ProbeOutcome::Met,
        };
        self.probes.iter().filter(is_of_answer).filter(is_good)
    }

    /// What the search adds to the run's verdict. Probes that missed are findings; those of the answer count.
    #[must_use]
    pub fn reasons(&self, trials: &[TrialReport]) -> Vec<Reason> {
        let told = |code: &str, status: Status| Reason {
            code: code.to_owned(),
            status,
            message: format!("{}: {}", self.id, self.sentence),
            value: self.probes.len() as f64,
            limit: self.spec.most_probes() as f64,
        };
        let own = match self.ending {
            Ending::Unjudged => Some(told("search_unjudged", Status::Invalid)),
            Ending::Contradictory => Some(told("search_contradictory", Status::Suspect)),
            Ending::Unfinished => Some(told("search_unfinished", Status::Suspect)),
            Ending::Found | Ending::HighestMeets | Ending::LowestMisses | Ending::Immeasurable | Ending::Budget => None,
        };
        let winners = self.winners().filter_map(|probe| trials.iter().find(|trial| trial.id == probe.trial));
        let reasons = winners.flat_map(|trial| {
            let named = |reason: &Reason| Reason { message: format!("{}: {}", trial.id, reason.message), ..reason.clone() };
            trial.verdict.reasons.iter().map(named)
        });
        own.into_iter().chain(reasons).collect()
    }

    fn conclude(&mut self) {
        self.ending = match self.spec.next(&self.probes) {
            Step::Over(ending) => ending,
            Step::Probe(_) => Ending::Unfinished,
        };
        match self.spec.maximize {
            SearchTarget::Rate | SearchTarget::Concurrency => self.conclude_capacity(),
            SearchTarget::Goodput => self.conclude_goodput(),
        }
    }

    fn conclude_capacity(&mut self) {
        let bracket = capacity::bracket(&self.probes);
        let answer = bracket.met.as_ref().map(|load| load.value);
        let beyond = bracket.high.as_ref().map(|load| load.value);
        let is_confirmed = bracket.met.as_ref().is_some_and(|load| load.times() > 1);
        let sentence = self.capacity_sentence(&bracket);
        (self.answer, self.beyond, self.is_confirmed, self.sentence) = (answer, beyond, is_confirmed, sentence);
    }

    fn capacity_sentence(&self, bracket: &capacity::Bracket<'_>) -> String {
        let deciding = |load: &Option<Load<'_>>| load.as_ref().and_then(|load| load.deciding().cloned());
        let (met, high, low) = (deciding(&bracket.met), deciding(&bracket.high), deciding(&bracket.low));
        let beyond = high.as_ref().map(|high| match high.outcome {
            ProbeOutcome::Invalid => format!("{} cannot be measured: {}", number(high.load), high.why),
            _ => format!("{} {}: {}", number(high.load), verb(high.load, "misses it", "miss it"), high.why),
        });
        let few = low.as_ref().filter(|low| low.outcome == ProbeOutcome::TooFew).map(|low| {
            let load = number(low.load);
            format!("at {load}, {}; lengthen `duration`, or write `requests`", low.why)
        });
        let slo = slo(&self.probes);
        let found = met.as_ref().map(|met| format!("{} {} {slo}", self.load(met.load), verb(met.load, "meets", "meet")));
        let all = match (found, self.ending) {
            (Some(found), Ending::HighestMeets) => {
                let why = met.map(|met| met.why).unwrap_or_default();
                let most =
                    if few.is_some() { String::new() } else { ", the most that the search may try; raise `to`".to_owned() };
                vec![format!("{found}: {why}{most}")]
            }
            (Some(found), _) => vec![found],
            (None, Ending::LowestMisses) => {
                let lowest = self.load(self.spec.from);
                let why = high.as_ref().map(|high| high.why.clone()).unwrap_or_default();
                let verb = verb(self.spec.from, "misses", "miss");
                return format!("even {lowest} {verb} {slo}: {why}; lower `from`, or loosen the SLO");
            }
            (None, _) => vec![format!("no load was found that meets {slo}")],
        };
        let mut parts: Vec<String> = all.into_iter().chain(few).chain(beyond).collect();
        parts.extend(self.remark());
        parts.join("; ")
    }

    fn conclude_goodput(&mut self) {
        let loads = by_load(&self.probes);
        let best = goodput::best(&loads).filter(|(_, goodput)| *goodput > 0.0);
        let above = best.and_then(|(place, _)| loads.get(place + 1)).or(loads.first().filter(|_| best.is_none()));
        let beyond = above.map(|load| load.value);
        let slo = slo(&self.probes);
        let mut parts = match best {
            Some((place, goodput)) => {
                let load = self.load(loads[place].value);
                let verb = verb(loads[place].value, "gives", "give");
                vec![format!("{load} {verb} the highest goodput: {} answers/s that meet {slo}", digits(goodput))]
            }
            None if self.ending == Ending::Unjudged => {
                let why = above.and_then(|load| load.deciding()).map(|probe| probe.why.clone()).unwrap_or_default();
                vec![format!("no goodput could be measured: {why}")]
            }
            None => vec![format!("no answer met {slo}, even at {}; lower `from`, or loosen the SLO", self.load(self.spec.from))],
        };
        if let (Some(_), Some(above)) = (best, above) {
            let load = number(above.value);
            parts.push(match (goodput::of(above), above.deciding()) {
                (Some(goodput), _) => format!("{load} {} {}", verb(above.value, "gives", "give"), digits(goodput)),
                (None, Some(probe)) => format!("{load} cannot be measured: {}", probe.why),
                (None, None) => String::new(),
            });
        }
        if best.is_some() && self.ending == Ending::HighestMeets {
            parts.push("it is the highest rate that the search may try; raise `to`".to_owned());
        }
        parts.extend(self.remark());
        let is_confirmed = best.is_some_and(|(place, _)| loads[place].times() > 1);
        let (answer, sentence) = (best.map(|(place, _)| loads[place].value), parts.join("; "));
        (self.answer, self.beyond, self.is_confirmed, self.sentence) = (answer, beyond, is_confirmed, sentence);
    }

    /// What a reader must know of an end that is not the usual one.
    fn remark(&self) -> Option<String> {
        Some(match self.ending {
            Ending::Budget => {
                let budget = self.spec.budget.unwrap_or_default();
                format!("the budget of {budget} was used up before that was as sure as asked{}", self.between())
            }
            Ending::Contradictory => {
                format!("its probes contradict each other: the server is not the same twice{}", self.between())
            }
            Ending::Unfinished => format!("the run ended before the search did{}", self.between()),
            Ending::Found | Ending::HighestMeets | Ending::LowestMisses | Ending::Immeasurable | Ending::Unjudged => return None,
        })
    }

    fn between(&self) -> String {
        if self.spec.maximize == SearchTarget::Goodput {
            return String::new();
        }
        let bracket = capacity::bracket(&self.probes);
        let value = |load: &Option<Load<'_>>| load.as_ref().map(|load| number(load.value));
        let bounds = match (value(&bracket.met), value(&bracket.high)) {
            (Some(low), Some(high)) => format!(": the truth lies between {low} and {high}"),
            (Some(low), None) => format!(": the truth is {low} or more"),
            (None, Some(high)) => format!(": the truth is less than {high}"),
            (None, None) => String::new(),
        };
        let undecided = by_load(&self.probes).into_iter().find(Load::is_undecided);
        let undecided = undecided.map(|load| format!(", and {} met and missed it as often", number(load.value)));
        bounds + &undecided.unwrap_or_default()
    }

    /// A load with its unit.
    #[must_use]
    pub fn load(&self, load: f64) -> String {
        let unit = match self.spec.maximize {
            SearchTarget::Rate | SearchTarget::Goodput => "requests/s",
            SearchTarget::Concurrency if self.spec.requests(load) == 1.0 => "request in flight",
            SearchTarget::Concurrency => "requests in flight",
        };
        format!("{} {}", number(load), self.spec.by(unit))
    }
}

/// What was asked for, in words.
impl std::fmt::Display for SearchSpec {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { maximize, from, to, precision, budget, warmup, stop, .. } = self;
        let what = match maximize {
            SearchTarget::Rate => "the highest rate that meets the SLO",
            SearchTarget::Concurrency => "the highest concurrency that meets the SLO",
            SearchTarget::Goodput => "the rate of the highest goodput",
        };
        let each = match stop {
            Stop::After(window) => format!("{window}"),
            Stop::Requests(count) => format!("{count} requests"),
        };
        let warmup = if *warmup == Span::ZERO { String::new() } else { format!("{warmup} of warm-up and ") };
        let unit = self.unit();
        let (precision, usual, most) = (precision * 100.0, self.usual_probes(), self.most_probes());
        write!(
            f,
            "{what}, from {from} to {to} {unit}, to {precision} %: at most {usual} probes of {warmup}{each}, {most} where they contradict each other"
        )?;
        match budget {
            Some(budget) => write!(f, "; budget {budget}"),
            None => Ok(()),
        }
    }
}

/// `ttft_p99 ≤ 500 ms and tpot_p99 ≤ 50 ms`.
fn slo(probes: &[Probe]) -> String {
    let limit = |limit: &LimitFigure| format!("{} ≤ {}", limit.name, shown(limit.limit_seconds));
    let limits = probes.first().map(|probe| probe.limits.iter().map(limit).collect::<Vec<_>>());
    limits.unwrap_or_default().join(" and ")
}

fn verb<'a>(load: f64, one: &'a str, many: &'a str) -> &'a str {
    if load == 1.0 { one } else { many }
}

/// A load as a person writes it.
fn number(load: f64) -> String {
    format!("{load}")
}

/// A length of time with three digits that matter.
pub(super) fn shown(seconds: f64) -> String {
    match seconds {
        seconds if seconds < 0.001 => format!("{} µs", digits(seconds * 1e6)),
        seconds if seconds < 1.0 => format!("{} ms", digits(seconds * 1e3)),
        seconds => format!("{} s", digits(seconds)),
    }
}

/// Three digits that matter, without zeros that say nothing.
fn digits(value: f64) -> String {
    let decimals = if value >= 100.0 { 0 } else { 2 - value.max(1e-6).log10().floor().clamp(-6.0, 2.0) as i32 };
    let text = format!("{value:.*}", decimals.max(0) as usize);
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
}
