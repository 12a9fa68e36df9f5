//! The load of a trial in figures, and in words: what was asked for, and each stage of one that changes.

use std::num::NonZeroU32;

use serde::{Deserialize, Serialize};

use super::{StageFigures, TrialReport};
use crate::{figures, units::plural};

/// The unit of a closed loop's stages.
const CLIENTS: &str = "clients";

/// So many levels of stages are written out; of more, the first ones and the last.
const LEVELS: usize = 8;

/// What was asked for and what was sent.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct LoadFigures {
    /// `closed`, `closed_staged`, `open`, `staged` or `replay`.
    pub model: String,
    /// Open loop: requests per second asked for.
    pub requested_rate: Option<f64>,
    /// How many requests are due at one instant, where it is more than one: at each arrival, or whenever a client asks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub together: Option<NonZeroU32>,
    /// Requests per second *sent* in the window.
    pub achieved_rate: f64,
    /// Closed loop: the concurrency asked for; of stages, the most.
    pub requested_concurrency: Option<u32>,
    /// Requests in flight, time-weighted over the window.
    pub concurrency_mean: f64,
    /// The most in flight at one instant.
    pub concurrency_peak: u32,
    /// The parts of a load that changes, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub stages: Vec<StageFigures>,
}

impl LoadFigures {
    /// Whether requests are due by a schedule, so that they may wait before they are sent.
    #[must_use]
    pub fn is_open(&self) -> bool {
        matches!(self.model.as_str(), "open" | "staged" | "replay")
    }

    /// The load in a few words: `60 req/s`, `concurrency 4`, `stages 4→8→1 clients`, `stages 10→80 req/s`; of requests that are
    /// due together `15 × 4 req/s`, `concurrency 2 × 4`, `stages 4→8→1 clients × 4`.
    #[must_use]
    pub fn label(&self) -> String {
        let (together, times) = match self.together {
            Some(together) => (f64::from(together.get()), format!(" × {together}")),
            None => (1.0, String::new()),
        };
        if let Some(levels) = levels(&self.stages, together, &times) {
            return levels;
        }
        match (self.requested_rate, self.requested_concurrency) {
            (Some(rate), _) if self.model == "replay" => format!("replay, {} req/s", figures::short(rate)),
            (Some(rate), _) => format!("{}{times} req/s", figures::short(rate / together)),
            (None, Some(concurrency)) => format!("concurrency {}{times}", figures::short(f64::from(concurrency) / together)),
            (None, None) => self.model.clone(),
        }
    }
}

/// The levels that a load of stages goes through, where so many requests are due together; `None` without stages.
fn levels(stages: &[StageFigures], together: f64, times: &str) -> Option<String> {
    let mut levels: Vec<f64> = stages.iter().filter_map(StageFigures::ends).flat_map(|(from, to, _)| [from, to]).collect();
    levels.dedup();
    let unit = stages.first()?.ends()?.2;
    let is_of_rates = unit != CLIENTS;
    if is_of_rates {
        levels.iter_mut().for_each(|level| *level /= together);
    }
    let mut texts: Vec<String> = levels.into_iter().map(figures::short).collect();
    if texts.len() > LEVELS {
        texts.splice(LEVELS - 2..texts.len() - 1, ["…".to_owned()]);
    }
    let texts = texts.join("→");
    Some(if is_of_rates { format!("stages {texts}{times} {unit}") } else { format!("stages {texts} {unit}{times}") })
}

/// The heads of [`StageFigures::cells`], but for those of its latencies.
pub const STAGE_HEADS: [&str; 8] =
    ["stage", "asked for", "due", "sent", "completed", "in flight, mean", "requests/s", "answer tokens/s"];

impl StageFigures {
    /// Where its load begins and ends, and in what unit.
    fn ends(&self) -> Option<(f64, f64, &'static str)> {
        let of_rate = self.rate_from.zip(self.rate_to).map(|(from, to)| (from, to, "req/s"));
        of_rate.or_else(|| self.concurrency_from.zip(self.concurrency_to).map(|(from, to)| (from, to, CLIENTS)))
    }

    /// The load it asks for: `8 clients`, `10→80 req/s`.
    #[must_use]
    pub fn asked(&self) -> String {
        match self.ends() {
            Some((from, to, CLIENTS)) if from == to && to.fract() == 0.0 => plural(to as u64, "client"),
            Some((from, to, unit)) if from == to => format!("{} {unit}", figures::short(to)),
            Some((from, to, unit)) => format!("{}→{} {unit}", figures::short(from), figures::short(to)),
            None => "–".to_owned(),
        }
    }

    /// The stage as a row under [`STAGE_HEADS`] and [`super::SLICE_HEADS`].
    #[must_use]
    pub fn cells(&self) -> Vec<String> {
        let [due, sent, completed] = [self.due, self.sent, self.completed].map(figures::count);
        let span = format!("{}–{} s", figures::short(self.start), figures::short(self.end));
        let mut rates =
            [self.concurrency_mean, self.requests_per_second, self.output_tokens_per_second].map(figures::three_digits);
        if self.requests_per_second > 0.0 && self.output_tokens_per_second == 0.0 {
            // Every answer has a token, so nobody counted.
            rates[2] = "–".to_owned();
        }
        [span, self.asked(), due, sent, completed].into_iter().chain(rates).chain(self.latency.cells()).collect()
    }
}

/// The trials that have stages.
pub fn staged(trials: &[TrialReport]) -> impl Iterator<Item = &TrialReport> {
    trials.iter().filter(|trial| !trial.load.stages.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rates(ends: &[(f64, f64)]) -> LoadFigures {
        let stage =
            |(from, to): &(f64, f64)| StageFigures { rate_from: Some(*from), rate_to: Some(*to), ..StageFigures::default() };
        LoadFigures {
            model: "staged".to_owned(),
            requested_rate: Some(38.984_255),
            stages: ends.iter().map(stage).collect(),
            ..LoadFigures::default()
        }
    }

    #[test]
    fn a_load_is_a_few_words() {
        let clients = |levels: &[f64]| {
            let stage = |level: &f64| StageFigures {
                concurrency_from: Some(*level),
                concurrency_to: Some(*level),
                ..StageFigures::default()
            };
            let stages = levels.iter().map(stage).collect();
            LoadFigures { model: "closed_staged".to_owned(), requested_concurrency: Some(8), stages, ..LoadFigures::default() }
        };
        let many: Vec<f64> = (1..40).map(f64::from).collect();
        let plain = |rate, concurrency| LoadFigures {
            requested_rate: rate,
            requested_concurrency: concurrency,
            ..LoadFigures::default()
        };
        let by_four = |load| LoadFigures { together: NonZeroU32::new(4), ..load };
        for (load, expected) in [
            (clients(&[4.0, 8.0, 1.0]), "stages 4→8→1 clients"),
            (clients(&many), "stages 1→2→3→4→5→6→…→39 clients"),
            (rates(&[(10.0, 10.0), (10.0, 80.0)]), "stages 10→80 req/s"),
            (plain(Some(100.0 / 3.0), None), "33.33 req/s"),
            (plain(None, Some(4)), "concurrency 4"),
            (by_four(plain(Some(60.0), None)), "15 × 4 req/s"),
            (by_four(plain(None, Some(8))), "concurrency 2 × 4"),
            (by_four(clients(&[4.0, 8.0, 1.0])), "stages 4→8→1 clients × 4"),
            (by_four(rates(&[(10.0, 80.0)])), "stages 2.5→20 × 4 req/s"),
        ] {
            assert_eq!(load.label(), expected);
        }
    }

    #[test]
    fn a_stage_says_what_it_asked_for() {
        assert_eq!(rates(&[(10.0, 80.0)]).stages[0].asked(), "10→80 req/s");
        let one = StageFigures {
            end: 2.5,
            concurrency_from: Some(1.0),
            concurrency_to: Some(1.0),
            due: 1_200,
            ..StageFigures::default()
        };
        assert_eq!(one.cells(), ["0–2.5 s", "1 client", "1,200", "0", "0", "0", "0", "0", "–", "–", "–"]);
    }
}
