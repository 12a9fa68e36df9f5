//! Each node's and each executor's own share of the sums.

use std::collections::BTreeMap;

use super::NodeLive;
use crate::{
    batch::{Batch, ClientHealth},
    record::{Outcome, Record, Stage},
    units::Nanos,
};

/// One node's sums, in whole numbers: what the leader shows of a node, and what a node shows of itself.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct NodeSums {
    outcomes: BTreeMap<String, u64>,
    requests: u64,
    completed: u64,
    output_tokens: u64,
    input_tokens: u64,
    latency_nanos: u64,
    ttft_nanos: u64,
    until: Nanos,
}

impl NodeSums {
    /// Counts a window; the caller sees to it that none is counted twice.
    pub fn take(&mut self, batch: &Batch) {
        self.until = self.until.max(batch.span.1);
        batch.records.iter().for_each(|record| self.ended(record));
    }

    /// Counts one request that ended.
    pub(super) fn ended(&mut self, record: &Record) {
        let name = record.kind.map_or_else(|| "completed".to_owned(), |kind| kind.to_string());
        *self.outcomes.entry(name).or_default() += 1;
        self.requests += 1;
        if record.outcome != Outcome::Completed {
            return;
        }
        self.completed += 1;
        self.output_tokens += u64::from(record.output_tokens.unwrap_or(0));
        self.input_tokens += u64::from(record.input_tokens.unwrap_or(0));
        let since_sent = |instant: Option<Nanos>| Some(instant?.0.saturating_sub(record.sent?.0));
        self.latency_nanos = self.latency_nanos.saturating_add(since_sent(record.last).unwrap_or(0));
        self.ttft_nanos = self.ttft_nanos.saturating_add(since_sent(record.first).unwrap_or(0));
    }

    /// The node's figures, but for what its executors say of themselves.
    #[must_use]
    pub fn live(&self) -> NodeLive {
        NodeLive {
            requests_total: self.requests,
            errors_total: self.requests - self.completed,
            outcomes: self.outcomes.clone(),
            output_tokens_total: self.output_tokens,
            input_tokens_total: self.input_tokens,
            latency_seconds_sum: self.latency_nanos as f64 / 1e9,
            ttft_seconds_sum: self.ttft_nanos as f64 / 1e9,
            completed_total: self.completed,
            elapsed_seconds: self.until.as_secs_f64(),
            ..NodeLive::default()
        }
    }
}

/// How well one executor did over its measured windows, and where it stands.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct ExecutorSums {
    busy_nanos: u128,
    window_nanos: u128,
    lag_nanos: u128,
    lag_samples: u64,
    lag_max_nanos: u64,
    clock_step_nanos: u64,
    /// The newest window: incarnation, epoch and number, then its end and the requests in flight there.
    newest: Option<((u64, u32, u64), Nanos, u32)>,
    requests: u64,
    /// Of those, the measured ones, and the largest index.
    measured: u64,
    highest: Option<u64>,
}

/// How well one executor did in the measured stage.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct ExecutorHealth {
    /// CPU time of its load threads over the time they could have had.
    pub cpu_ratio: f64,
    /// Mean lateness of its timers.
    pub lag_mean_seconds: f64,
    /// The largest.
    pub lag_max_seconds: f64,
    /// The largest jump of its node's clock.
    pub clock_step_seconds: f64,
    /// Requests it told the end of.
    pub requests: u64,
}

impl ExecutorSums {
    /// Counts a window, as far as it lies within the measured stage.
    pub(super) fn take(&mut self, batch: &Batch, measured: (Nanos, Nanos)) {
        self.requests += batch.records.len() as u64;
        self.measured += batch.records.iter().filter(|record| record.stage == Stage::Measure).count() as u64;
        self.highest = self.highest.max(batch.records.iter().map(|record| record.index).max());
        let key = (batch.key.source.incarnation, batch.key.source.epoch, batch.key.seq);
        if self.newest.is_none_or(|(known, ..)| known < key) {
            self.newest = Some((key, batch.span.1, batch.health.in_flight));
        }
        let (from, to) = (batch.span.0.max(measured.0), batch.span.1.min(measured.1));
        if from >= to {
            return;
        }
        let ClientHealth { cpu_ratio, lag_max_seconds, lag_mean_seconds, lag_samples, clock_step_seconds, .. } = batch.health;
        self.clock_step_nanos = self.clock_step_nanos.max(Nanos::from_secs_f64(clock_step_seconds).0);
        let length = to.0 - from.0;
        self.window_nanos += u128::from(length);
        self.busy_nanos += (cpu_ratio * length as f64) as u128;
        self.lag_samples += u64::from(lag_samples);
        self.lag_nanos += u128::from(Nanos::from_secs_f64(lag_mean_seconds).0) * u128::from(lag_samples);
        self.lag_max_nanos = self.lag_max_nanos.max(Nanos::from_secs_f64(lag_max_seconds).0);
    }

    /// How many measured requests it told the end of, and the largest index of any.
    pub(super) fn told(&self) -> (u64, Option<u64>) {
        (self.measured, self.highest)
    }

    /// The end of its newest window.
    pub(super) fn until(&self) -> Option<Nanos> {
        self.newest.map(|(_, until, _)| until)
    }

    pub(super) fn in_flight(&self) -> u64 {
        self.newest.map_or(0, |(.., in_flight)| u64::from(in_flight))
    }

    /// The means over all windows.
    pub(super) fn health(&self) -> ExecutorHealth {
        let ratio = |sum: u128, count: u128| if count == 0 { 0.0 } else { sum as f64 / count as f64 };
        ExecutorHealth {
            cpu_ratio: ratio(self.busy_nanos, self.window_nanos),
            lag_mean_seconds: ratio(self.lag_nanos, u128::from(self.lag_samples)) / 1e9,
            lag_max_seconds: self.lag_max_nanos as f64 / 1e9,
            clock_step_seconds: self.clock_step_nanos as f64 / 1e9,
            requests: self.requests,
        }
    }
}
