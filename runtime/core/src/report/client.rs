//! How well the client itself did: the evidence that it was not what was measured.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::TrialFrame;
use crate::{
    calibration, figures,
    orders::LoadShare,
    tally::{ExecutorHealth, TrialTally},
};

/// How well the client itself did.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct ClientFigures {
    /// The client's own error floor, where it was measured.
    pub calibration: Option<Value>,
    /// CPU time of the load threads over the time they could have had; the busiest executor's mean.
    pub cpu_ratio: f64,
    /// Lateness of timers on the load runtime: `mean`, `max`.
    pub lag_seconds: BTreeMap<String, f64>,
    /// Measured requests that left more than 10 ms after they were due, and after their connection was there.
    #[serde(default)]
    pub late_dispatches: u64,
    /// Bytes of answers that had come and were not read: `mean`, `max`; of the executor where most lay.
    #[serde(default)]
    pub unread_bytes: BTreeMap<String, f64>,
    /// For how long a byte lay so on average, in seconds; of the executor where it was longest.
    #[serde(default)]
    pub unread_seconds: Option<f64>,
    /// Executors that sent.
    pub executors: u32,
    /// The same of each executor, by its number.
    #[serde(default)]
    pub by_executor: BTreeMap<u32, ExecutorFigures>,
    /// Batches that never came, by the gaps in their numbers.
    pub missing_batches: u64,
    /// Measured requests that were sent a second time, as their kept connection was closed before a byte of an answer came.
    #[serde(default)]
    pub sent_twice: u64,
}

/// How well one executor did.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct ExecutorFigures {
    /// Its node.
    pub node: String,
    /// Its part of the load, from 0 to 1: of the clients, or of an open loop's requests. `None` where it took over what
    /// another one left.
    #[serde(default)]
    pub share: Option<f64>,
    /// Requests of every stage that it told the end of.
    pub requests: u64,
    /// As in [`ClientFigures`].
    pub cpu_ratio: f64,
    /// As in [`ClientFigures`].
    pub lag_seconds: BTreeMap<String, f64>,
    /// As in [`ClientFigures`].
    pub late_dispatches: u64,
    /// As in [`ClientFigures`].
    pub unread_bytes: BTreeMap<String, f64>,
    /// As in [`ClientFigures`].
    pub unread_seconds: Option<f64>,
}

impl ClientFigures {
    /// A figure of the calibration: seconds, or a count.
    #[must_use]
    pub fn calibrated(&self, key: &str) -> Option<f64> {
        self.calibration.as_ref()?.get(key)?.as_f64()
    }

    /// What the 99th percentiles of the calibration are worth: `p99`, or of how few answers they are.
    #[must_use]
    pub fn floor_worth(&self) -> String {
        let answers = self.calibrated("completed").map_or(u64::MAX, |completed| completed as u64);
        let executors = self.calibrated("executors").map_or(1, |executors| executors as u64);
        calibration::worth(answers / executors.max(1))
    }

    /// What the client itself adds at most to what it measures, where that is known.
    #[must_use]
    pub fn floor_sentence(&self) -> Option<String> {
        let ttft = figures::seconds(self.calibrated("ttft_error_seconds_p99")?);
        let tpot = figures::seconds(self.calibrated("tpot_error_seconds_p99")?);
        let sure = self.floor_worth();
        Some(format!("the client itself adds up to {ttft} to TTFT and {tpot} to TPOT ({sure})"))
    }
}

/// What the executors say of themselves comes to; `sent_twice` is known from the rows.
pub(super) fn client(
    frame: &TrialFrame,
    tally: &TrialTally,
    executors: &BTreeMap<u32, ExecutorHealth>,
    sent_twice: u64,
) -> ClientFigures {
    let share = |executor| frame.plan.shares.iter().find(|share| share.executor == executor).map(LoadShare::fraction);
    let figures = |(executor, health): (&u32, &ExecutorHealth)| {
        (*executor, ExecutorFigures { share: share(*executor), ..executor_figures(health) })
    };
    let by_executor: BTreeMap<u32, ExecutorFigures> = executors.iter().map(figures).collect();
    let most = |figure: fn(&ExecutorHealth) -> f64| executors.values().map(figure).fold(0.0, f64::max);
    ClientFigures {
        calibration: frame.calibration.clone(),
        cpu_ratio: most(|health| health.cpu_ratio),
        lag_seconds: mean_and_max(most(|health| health.lag_mean_seconds), most(|health| health.lag_max_seconds)),
        late_dispatches: executors.values().map(|health| health.late_dispatches).sum(),
        unread_bytes: mean_and_max(most(|health| health.unread.mean_bytes()), most(|health| health.unread.max_bytes as f64)),
        unread_seconds: executors.values().filter_map(|health| health.unread_seconds).reduce(f64::max),
        executors: executors.values().filter(|health| health.requests > 0).count() as u32,
        by_executor,
        missing_batches: tally.missing_batches(),
        sent_twice,
    }
}

fn executor_figures(health: &ExecutorHealth) -> ExecutorFigures {
    ExecutorFigures {
        node: health.node.to_string(),
        share: None,
        requests: health.requests,
        cpu_ratio: health.cpu_ratio,
        lag_seconds: mean_and_max(health.lag_mean_seconds, health.lag_max_seconds),
        late_dispatches: health.late_dispatches,
        unread_bytes: mean_and_max(health.unread.mean_bytes(), health.unread.max_bytes as f64),
        unread_seconds: health.unread_seconds,
    }
}

fn mean_and_max(mean: f64, max: f64) -> BTreeMap<String, f64> {
    [("mean", mean), ("max", max)].into_iter().map(|(name, figure)| (name.to_owned(), figure)).collect()
}
