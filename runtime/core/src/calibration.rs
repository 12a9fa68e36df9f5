//! The client's own error floor: what it measures of a server whose timing is exactly known.

use std::num::NonZeroU32;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::{
    record::{Outcome, Record},
    statistics::{order_statistic_ranks, percentile, sort},
    trial::{Length, LoadModel, LoadSpec, RateStage, RequestSpec, Stop},
    units::{Span, plural},
};

/// From a request's arrival at the known server to its first token.
pub const TTFT: Span = Span::from_millis(50);
/// Between two of its tokens.
pub const TPOT: Span = Span::from_millis(10);
/// The longest answer that is asked of it: it takes 0.4 s, so that many of them fit into a calibration.
const MOST_TOKENS: u32 = 36;
/// The load of a quick calibration lasts so long. With the known server's start and the drain it is below 5 s.
pub const QUICK: Span = Span::from_secs(3);
/// A full one lasts as long as the measured window, but no longer than this.
pub const FULL_AT_MOST: Span = Span::from_secs(60);
/// What a calibration takes beside its load at most: the known server's start and the drain.
pub const BESIDE: Span = Span::from_secs(2);

/// What one executor measured of the known server.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct Floor {
    /// Requests that were due.
    pub due: u64,
    /// Requests that completed.
    pub completed: u64,
    /// Requests sent per second.
    pub achieved_rate: f64,
    /// How far the time to the first token was off, longer or shorter, median.
    pub ttft_error_p50: f64,
    /// The 99th percentile of it.
    pub ttft_error_p99: f64,
    /// How far the time per token was off, median.
    pub tpot_error_p50: f64,
    /// The 99th percentile of it.
    pub tpot_error_p99: f64,
}

impl Floor {
    /// What these records of a load of so many seconds say; `None` where nothing was measured.
    #[must_use]
    pub fn of(records: &[Record], seconds: f64) -> Option<Self> {
        let completed = || records.iter().filter(|record| record.outcome == Outcome::Completed);
        let errors = |of: fn(&Record) -> Option<f64>, truth: Span| -> Vec<f64> {
            let mut errors: Vec<f64> =
                completed().filter_map(of).map(|measured| (measured - truth.as_secs_f64()).abs()).collect();
            sort(&mut errors);
            errors
        };
        let (ttft, tpot) = (errors(Record::ttft, TTFT), errors(Record::tpot, TPOT));
        let at = |sorted: &[f64], quantile: f64| percentile(sorted, quantile).unwrap_or(0.0);
        (!ttft.is_empty() && seconds > 0.0).then(|| Self {
            due: records.len() as u64,
            completed: completed().count() as u64,
            achieved_rate: records.iter().filter(|record| record.sent.is_some()).count() as f64 / seconds,
            ttft_error_p50: at(&ttft, 0.5),
            ttft_error_p99: at(&ttft, 0.99),
            tpot_error_p50: at(&tpot, 0.5),
            tpot_error_p99: at(&tpot, 0.99),
        })
    }

    /// Several executors' floors for a report: sums of what is counted, and the worst of what is off. `None` of none.
    #[must_use]
    pub fn told(floors: &[Self]) -> Option<Value> {
        let worst = |of: fn(&Self) -> f64| floors.iter().map(of).fold(0.0, f64::max);
        (!floors.is_empty()).then(|| {
            json!({
                "executors": floors.len(),
                "due": floors.iter().map(|floor| floor.due).sum::<u64>(),
                "completed": floors.iter().map(|floor| floor.completed).sum::<u64>(),
                "achieved_rate": floors.iter().map(|floor| floor.achieved_rate).sum::<f64>(),
                "ttft_error_seconds_p50": worst(|floor| floor.ttft_error_p50),
                "ttft_error_seconds_p99": worst(|floor| floor.ttft_error_p99),
                "tpot_error_seconds_p50": worst(|floor| floor.tpot_error_p50),
                "tpot_error_seconds_p99": worst(|floor| floor.tpot_error_p99),
            })
        })
    }
}

/// What the 99th percentile of so many answers is worth, in words.
#[must_use]
pub fn worth(answers: u64) -> String {
    match order_statistic_ranks(answers, 0.99) {
        Some(_) => "p99".to_owned(),
        None => format!("p99 of {}, too few to be sure", plural(answers, "answer")),
    }
}

/// The load of a calibration: the asked one, for so long, without warm-up, drills or a file; of stages, the highest rate.
/// `None` of a trace, whose instants a node need not know.
#[must_use]
pub fn load(asked: &LoadSpec, lasting: Span) -> Option<LoadSpec> {
    let highest = |stages: &[RateStage]| stages.iter().flat_map(|stage| [stage.from, stage.to]).fold(0.0, f64::max);
    let model = match &asked.model {
        LoadModel::Staged { stages, arrivals } => LoadModel::Open { rate: highest(stages), arrivals: *arrivals },
        LoadModel::ClosedStaged { stages, think } => {
            LoadModel::Closed { concurrency: NonZeroU32::new(highest(stages).ceil() as u32)?, think: *think }
        }
        LoadModel::Replay { .. } => return None,
        other => other.clone(),
    };
    Some(LoadSpec {
        model,
        warmup: Span::ZERO,
        stop: Stop::After(lasting),
        stop_when: None,
        dataset: None,
        drills: Vec::new(),
        calibration: None,
        ..asked.clone()
    })
}

/// What its requests ask for: streamed answers that are short enough to end.
#[must_use]
pub fn request(asked: &RequestSpec) -> RequestSpec {
    let tokens = match asked.gen_tokens {
        Length::Fixed(tokens) => tokens,
        _ => MOST_TOKENS,
    };
    RequestSpec { stream: true, gen_tokens: Length::Fixed(tokens.clamp(2, MOST_TOKENS)), ..asked.clone() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{answered, closed_plan, open_plan};

    const MILLISECOND: u64 = 1_000_000;

    #[test]
    fn the_floor_is_what_the_client_adds() {
        // The first token after a third of 165 ms, ten more until its end: 5 ms and 1 ms too late.
        let mut records: Vec<Record> =
            (0..100).map(|index| answered(index, index * MILLISECOND, 165 * MILLISECOND, 11)).collect();
        let floor = Floor::of(&records, 2.0).unwrap();
        assert_eq!((floor.due, floor.completed, floor.achieved_rate), (100, 100, 50.0));
        assert!((floor.ttft_error_p50 - 0.005).abs() < 1e-9 && (floor.tpot_error_p99 - 0.001).abs() < 1e-9, "{floor:?}");
        records.iter_mut().for_each(|record| record.outcome = Outcome::Failed);
        assert_eq!(Floor::of(&records, 2.0), None);
    }

    #[test]
    fn few_answers_say_how_few_they_are() {
        for (answers, words) in
            [(16, "p99 of 16 answers, too few to be sure"), (367, "p99 of 367 answers, too few to be sure"), (368, "p99")]
        {
            assert_eq!(worth(answers), words);
        }
    }

    #[test]
    fn of_several_executors_the_worst_counts_and_rates_add_up() {
        let floor = |error, rate| Floor { due: 5, completed: 4, achieved_rate: rate, ttft_error_p99: error, ..Floor::default() };
        let told = Floor::told(&[floor(0.001, 10.0), floor(0.003, 20.0)]).unwrap();
        assert_eq!(
            (&told["ttft_error_seconds_p99"], &told["achieved_rate"], &told["due"]),
            (&json!(0.003), &json!(30.0), &json!(10))
        );
        assert_eq!(Floor::told(&[]), None);
    }

    #[test]
    fn a_calibration_has_the_asked_load_and_nothing_that_takes_long() {
        let asked = closed_plan(8, 1).trial;
        let load = load(&asked.load, QUICK).unwrap();
        assert_eq!((&load.model, load.stop, load.warmup), (&asked.load.model, Stop::After(QUICK), Span::ZERO));
        let long = RequestSpec { stream: false, gen_tokens: Length::Fixed(4_000), ..asked.request };
        assert_eq!((request(&long).stream, request(&long).gen_tokens), (true, Length::Fixed(MOST_TOKENS)));
        let mut staged = open_plan(5.0, 1).trial.load;
        let stage = |from, to| RateStage { duration: Span::from_secs(60), from, to, slope: crate::trial::Slope::Linear };
        staged.model =
            LoadModel::Staged { stages: vec![stage(1.0, 40.0), stage(40.0, 9.0)], arrivals: crate::trial::Arrivals::Constant };
        let model = super::load(&staged, QUICK).unwrap().model;
        assert_eq!(model, LoadModel::Open { rate: 40.0, arrivals: crate::trial::Arrivals::Constant });
    }
}
