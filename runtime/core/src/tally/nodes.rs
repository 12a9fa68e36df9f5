//! Each node's and each executor's own share of the sums.

use std::collections::BTreeMap;

use super::NodeLive;
use crate::{
    batch::{Batch, ClientHealth, Unread},
    record::{Outcome, Record, SENT_IN_TIME, Stage},
    units::{Nanos, NodeName},
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

/// How well one executor did, window by window, and where it stands.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct ExecutorSums {
    /// By incarnation, epoch and start. Where the measured window ends is known for certain only when it is over.
    windows: BTreeMap<(u64, u32, Nanos), WindowHealth>,
    /// The newest window: incarnation, epoch and number, then its end and the requests in flight there.
    newest: Option<((u64, u32, u64), Nanos, u32)>,
    requests: u64,
    /// Of those, the measured ones, those of them that were sent late, and the largest index.
    measured: u64,
    late: u64,
    highest: Option<u64>,
}

/// How well one executor did in the measured window.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct ExecutorHealth {
    /// Its node.
    pub node: NodeName,
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
    /// Measured requests that left more than [`SENT_IN_TIME`] after they were due, and after their connection was there.
    pub late_dispatches: u64,
    /// What lay in its receive queues.
    pub unread: Unread,
    /// For how long a byte lay there on average, in seconds.
    pub unread_seconds: Option<f64>,
}

/// How well an executor did in one window. A busy one comes as several batches, of which one tells it.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
struct WindowHealth {
    end: Nanos,
    cpu_ratio: f64,
    lag_nanos: u64,
    lag_samples: u64,
    lag_max_nanos: u64,
    clock_step_nanos: u64,
    unread: Unread,
}

impl WindowHealth {
    fn take(&mut self, end: Nanos, told: &ClientHealth) {
        let nanos = |seconds: f64| Nanos::from_secs_f64(seconds).0;
        self.end = self.end.max(end);
        self.cpu_ratio = self.cpu_ratio.max(told.cpu_ratio);
        let lags = nanos(told.lag_mean_seconds).saturating_mul(told.lag_samples.into());
        self.lag_nanos = self.lag_nanos.saturating_add(lags);
        self.lag_samples += u64::from(told.lag_samples);
        self.lag_max_nanos = self.lag_max_nanos.max(nanos(told.lag_max_seconds));
        self.clock_step_nanos = self.clock_step_nanos.max(nanos(told.clock_step_seconds));
        self.unread.add(told.unread);
    }
}

impl ExecutorSums {
    /// Counts a batch of a window.
    pub(super) fn take(&mut self, batch: &Batch) {
        self.requests += batch.records.len() as u64;
        let is_late = |record: &&Record| record.sender_delay().is_some_and(|delay| delay > SENT_IN_TIME);
        let measured = batch.records.iter().filter(|record| record.stage == Stage::Measure);
        self.late += measured.clone().filter(is_late).count() as u64;
        self.measured += measured.count() as u64;
        self.highest = self.highest.max(batch.records.iter().map(|record| record.index).max());
        let key = (batch.key.source.incarnation, batch.key.source.epoch, batch.key.seq);
        if self.newest.is_none_or(|(known, ..)| known < key) {
            self.newest = Some((key, batch.span.1, batch.health.in_flight));
        }
        let window = (batch.key.source.incarnation, batch.key.source.epoch, batch.span.0);
        self.windows.entry(window).or_default().take(batch.span.1, &batch.health);
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

    /// The means over its windows, as far as these lie within the measured one: what it did in warm-up and drain says
    /// nothing of the figures.
    pub(super) fn health(&self, measured: (Nanos, Nanos)) -> ExecutorHealth {
        let (mut busy_seconds, mut seconds, mut lag_nanos, mut lag_samples) = (0.0, 0.0, 0u128, 0u64);
        let mut health = ExecutorHealth { requests: self.requests, late_dispatches: self.late, ..ExecutorHealth::default() };
        for ((.., start), window) in &self.windows {
            let (from, to) = ((*start).max(measured.0), window.end.min(measured.1));
            if from >= to {
                continue;
            }
            let length = to.since(from).as_secs_f64();
            seconds += length;
            busy_seconds += window.cpu_ratio * length;
            lag_nanos += u128::from(window.lag_nanos);
            lag_samples += window.lag_samples;
            health.lag_max_seconds = health.lag_max_seconds.max(Nanos(window.lag_max_nanos).as_secs_f64());
            health.clock_step_seconds = health.clock_step_seconds.max(Nanos(window.clock_step_nanos).as_secs_f64());
            health.unread.add(window.unread);
        }
        health.unread_seconds = health.unread.mean_seconds(seconds);
        health.cpu_ratio = if seconds > 0.0 { busy_seconds / seconds } else { 0.0 };
        health.lag_mean_seconds = if lag_samples > 0 { lag_nanos as f64 / lag_samples as f64 / 1e9 } else { 0.0 };
        health
    }
}
