//! How well the client itself does: the lateness of a 10 ms timer on the load runtime, and how busy its workers are.
//!
//! A worker is busy while it is not parked. Time in which the system let somebody else run counts, too: what the load
//! could not use is as good as used up.

use std::{
    sync::{Arc, PoisonError},
    time::{Duration, Instant},
};

use hb_core::batch::ClientHealth;
use tokio::runtime::{Handle, RuntimeMetrics};

use super::ledger::Ledger;

const TICK: Duration = Duration::from_millis(10);

/// Lateness and work since the last window.
#[derive(Debug)]
pub(super) struct Lags {
    max: f64,
    sum: f64,
    samples: u32,
    workers: usize,
    /// Busy seconds of all workers, now and when the window began.
    busy: (f64, f64),
    since: Instant,
}

impl Default for Lags {
    fn default() -> Self {
        Self { max: 0.0, sum: 0.0, samples: 0, workers: 1, busy: (0.0, 0.0), since: Instant::now() }
    }
}

impl Lags {
    /// The window's health; the next window begins.
    pub fn take(&mut self) -> ClientHealth {
        let wall = self.since.elapsed().as_secs_f64() * self.workers as f64;
        let health = ClientHealth {
            cpu_ratio: if wall > 0.0 { (self.busy.0 - self.busy.1) / wall } else { 0.0 },
            lag_max_seconds: self.max,
            lag_mean_seconds: if self.samples > 0 { self.sum / f64::from(self.samples) } else { 0.0 },
            lag_samples: self.samples,
            ..ClientHealth::default()
        };
        *self = Self { workers: self.workers, busy: (self.busy.0, self.busy.0), ..Self::default() };
        health
    }

    /// A watch begins, perhaps on another runtime, whose workers' former work is not this load's.
    fn begin(&mut self, metrics: &RuntimeMetrics) {
        let busy = busy_seconds(metrics);
        (self.workers, self.busy, self.since) = (metrics.num_workers(), (busy, busy), Instant::now());
    }

    fn add(&mut self, late: f64, busy: f64) {
        self.busy.0 = busy;
        self.max = self.max.max(late);
        self.sum += late;
        self.samples += 1;
    }
}

fn busy_seconds(metrics: &RuntimeMetrics) -> f64 {
    (0..metrics.num_workers()).map(|worker| metrics.worker_total_busy_duration(worker).as_secs_f64()).sum()
}

/// Watches until it is aborted.
pub(super) async fn watch(ledger: Arc<Ledger>) {
    let metrics = Handle::current().metrics();
    ledger.lags.lock().unwrap_or_else(PoisonError::into_inner).begin(&metrics);
    loop {
        let due = tokio::time::Instant::now() + TICK;
        tokio::time::sleep_until(due).await;
        let late = due.elapsed().as_secs_f64();
        ledger.moved();
        ledger.lags.lock().unwrap_or_else(PoisonError::into_inner).add(late, busy_seconds(&metrics));
    }
}
