//! When a figure is known well enough for the load to end: the rule of `workload.stop_when`.
//!
//! Once a second the percentile's confidence interval of 95 % is taken from the answers so far, by order statistics as
//! the report does. Its half width over the figure must be within the limit **twice in a row**, the second time with
//! more answers than the first: whoever looks every second and stops at the first narrow interval stops at a lucky one.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{
    histogram::Histogram,
    statistics::order_statistic_ranks,
    tally::{Latency, TrialTally},
    trial::{LoadSpec, Stop, StopWhen},
};

/// So many looks in a row must find the figure sure enough.
const LOOKS: u32 = 2;

/// How well a figure was known when the load ended.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Certainty {
    /// The figure, such as `ttft_p99`.
    pub metric: String,
    /// The half width that was asked for, as a share of the figure.
    pub half_width_limit: f64,
    /// Whether the figure became that sure; if not, the window lasted as long as it may.
    pub is_reached: bool,
    /// When it was looked at last, seconds since the trial's start.
    pub looked_at_seconds: f64,
    /// Where the window was ended for it, seconds since the trial's start.
    pub ended_at_seconds: Option<f64>,
    /// Answers at that look.
    pub answers: u64,
    /// The figure then, seconds.
    pub value_seconds: Option<f64>,
    /// Its confidence interval of 95 %, seconds.
    pub interval_seconds: Option<[f64; 2]>,
    /// The interval's half width, as a share of the figure.
    pub half_width: Option<f64>,
}

impl fmt::Display for Certainty {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { metric, answers, .. } = self;
        let asked = self.half_width_limit * 100.0;
        match (self.value_seconds, self.interval_seconds, self.half_width) {
            (Some(value), Some([low, high]), Some(half)) => {
                let [value, low, high] = [value, low, high].map(|seconds| seconds * 1e3);
                let known =
                    format!("{metric} is {value:.1} ms, {low:.1} to {high:.1} ms (±{:.1} %), by {answers} answers", half * 100.0);
                match self.ended_at_seconds {
                    Some(at) => write!(f, "{known}: sure enough, the window ends at {at:.1} s"),
                    None => write!(f, "{known}: not as sure as ±{asked:.1} % in the time it had"),
                }
            }
            _ => {
                write!(f, "{metric} has no confidence interval by {answers} answers, let alone ±{asked:.1} %, in the time it had")
            }
        }
    }
}

/// Looks at a trial's tally once a second.
#[derive(Debug, Clone)]
pub struct Watch {
    when: StopWhen,
    latency: Latency,
    warmup_seconds: f64,
    /// When the window ends at the latest.
    end_seconds: f64,
    second: Option<u64>,
    narrow_in_a_row: u32,
    last: Certainty,
}

impl Watch {
    /// What watches this load; `None` where nothing but its end ends it.
    #[must_use]
    pub fn over(load: &LoadSpec) -> Option<Self> {
        let when = load.stop_when.clone()?;
        let latency = Latency::ALL.into_iter().find(|latency| latency.name() == when.metric)?;
        let last = Certainty {
            metric: format!("{}_p{}", when.metric, when.percentile),
            half_width_limit: when.half_width,
            ..Certainty::default()
        };
        let warmup_seconds = load.warmup.as_secs_f64();
        let end_seconds = match load.stop {
            Stop::After(window) => warmup_seconds + window.as_secs_f64(),
            Stop::Requests(_) => f64::INFINITY,
        };
        Some(Self { when, latency, warmup_seconds, end_seconds, second: None, narrow_in_a_row: 0, last })
    }

    /// Looks, unless it did so in this second already or knows enough; whether the figure has just become sure.
    /// `now_seconds` counts from the trial's start, and the window is to end `ahead_seconds` later.
    pub fn look(&mut self, now_seconds: f64, ahead_seconds: f64, tally: &TrialTally) -> bool {
        let second = now_seconds.max(0.0) as u64;
        let is_time =
            now_seconds >= self.warmup_seconds + self.when.min.as_secs_f64() && now_seconds + ahead_seconds < self.end_seconds;
        if self.last.is_reached || !is_time || self.second.is_some_and(|looked_at| looked_at >= second) {
            return false;
        }
        self.second = Some(second);
        self.at(now_seconds, tally.latency(self.latency));
        if self.narrow_in_a_row < LOOKS {
            return false;
        }
        self.last.is_reached = true;
        self.last.ended_at_seconds = Some(to_milliseconds(now_seconds + ahead_seconds));
        true
    }

    fn at(&mut self, now_seconds: f64, answers: &Histogram) {
        let before = self.last.answers;
        let quantile = self.when.percentile / 100.0;
        let count = answers.count();
        let interval = order_statistic_ranks(count, quantile).and_then(|(low, high)| {
            let at = |rank: u64| answers.quantile(rank as f64 / count as f64);
            Some([at(low)?, at(high)?])
        });
        let value = answers.quantile(quantile).filter(|value| *value > 0.0);
        let half_width = interval.zip(value).map(|([low, high], value)| (high - low) / 2.0 / value);
        self.last.looked_at_seconds = to_milliseconds(now_seconds);
        self.last.answers = count;
        (self.last.value_seconds, self.last.interval_seconds, self.last.half_width) = (value, interval, half_width);
        let is_narrow = half_width.is_some_and(|half| half <= self.when.half_width);
        self.narrow_in_a_row = match self.narrow_in_a_row {
            _ if !is_narrow => 0,
            // The same answers again say nothing new.
            held if held > 0 && count <= before => held,
            held => held + 1,
        };
    }

    /// How sure the figure was at the last look.
    #[must_use]
    pub fn certainty(&self) -> &Certainty {
        &self.last
    }
}

/// Reports and orders then name the very same instant.
fn to_milliseconds(seconds: f64) -> f64 {
    (seconds * 1e3).round() / 1e3
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        batch::{Batch, BatchKey, ClientHealth, Source},
        tally::Taken,
        testing::{answered, closed_plan},
        units::{Nanos, Span},
    };

    fn watch(half_width: f64, min: u64) -> Watch {
        let when = StopWhen { metric: "ttft".into(), percentile: 50.0, half_width, min: Span::from_secs(min) };
        let load = LoadSpec { stop_when: Some(when), warmup: Span::from_secs(2), ..closed_plan(1, 1).trial.load };
        Watch::over(&load).unwrap()
    }

    /// A tally of so many answers, whose times to first token lie between 100 and 200 ms.
    fn tally(answers: u64) -> TrialTally {
        let mut tally = TrialTally::new(&closed_plan(1, 1));
        let record = |index: u64| answered(index, index, 300_000_000 + index % 100 * 3_000_000, 2);
        let records: Vec<_> = (0..answers).map(record).collect();
        for (seq, records) in records.chunks(200).enumerate() {
            let source = Source { trial: "t".into(), node: "node-0".into(), incarnation: 0, executor: 0, epoch: 0 };
            let batch = Batch {
                key: BatchKey { source, seq: seq as u64 },
                span: (Nanos(0), Nanos(1_000_000_000)),
                counts: Batch::counted(records),
                records: records.to_vec(),
                opened: Vec::new(),
                itl: Vec::new(),
                icl: Vec::new(),
                health: ClientHealth::default(),
                is_last: false,
            };
            assert_eq!(tally.take(&batch), Taken::New);
        }
        tally
    }

    #[test]
    fn one_narrow_interval_is_luck_and_two_on_the_same_answers_are_one() {
        let mut watch = watch(0.05, 3);
        let (few, many, more) = (tally(50), tally(1_000), tally(1_100));
        assert!(!watch.look(4.9, 0.3, &many), "the least time is not over");
        assert!(!watch.look(5.0, 0.3, &few));
        assert!(!watch.look(6.0, 0.3, &many), "the first time");
        assert!(!watch.look(6.5, 0.3, &more), "this second was looked at");
        assert!(!watch.look(7.0, 0.3, &many), "nothing new was told");
        assert!(!watch.look(8.0, 0.3, &few), "wide again");
        assert!(!watch.look(9.0, 0.3, &many) && !watch.certainty().is_reached);
        assert!(watch.look(10.0, 0.3, &more));
        let found = watch.certainty().clone();
        assert_eq!((found.is_reached, found.answers, found.ended_at_seconds), (true, 1_100, Some(10.3)));
        let ([low, high], value) = (found.interval_seconds.unwrap(), found.value_seconds.unwrap());
        assert!(low <= value && value <= high && found.half_width.unwrap() <= 0.05, "{found:?}");
        assert!(!watch.look(11.0, 0.3, &few), "it is said once");
        assert_eq!(*watch.certainty(), found);
    }

    #[test]
    fn what_never_becomes_sure_says_how_sure_it_was() {
        let mut watch = watch(0.001, 0);
        assert!(!watch.look(2.0, 0.3, &tally(3)));
        assert_eq!(watch.certainty().interval_seconds, None);
        assert!(watch.certainty().to_string().contains("no confidence interval by 3 answers"), "{}", watch.certainty());
        assert!(!watch.look(3.0, 0.3, &tally(1_000)));
        assert!(watch.certainty().to_string().ends_with("not as sure as ±0.1 % in the time it had"), "{}", watch.certainty());
    }

    #[test]
    fn a_load_without_the_rule_is_not_watched() {
        assert!(Watch::over(&closed_plan(1, 1).trial.load).is_none());
    }
}
