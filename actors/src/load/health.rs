//! How well the client itself does: the lateness of a 10 ms timer on the load runtime, and its CPU time.
//!
//! The CPU time is that of the whole process over the workers of the load runtime: what the cluster's own threads use
//! counts against us, so the ratio errs on the safe side.

use std::{
    sync::{Arc, PoisonError},
    time::{Duration, Instant},
};

use hb_core::batch::ClientHealth;
use rustix::time::{ClockId, clock_gettime};

use super::ledger::Ledger;

const TICK: Duration = Duration::from_millis(10);

/// Lateness since the last window.
#[derive(Debug)]
pub(super) struct Lags {
    max: f64,
    sum: f64,
    samples: u32,
    workers: usize,
    since: (Instant, f64),
}

impl Default for Lags {
    fn default() -> Self {
        Self { max: 0.0, sum: 0.0, samples: 0, workers: 1, since: (Instant::now(), cpu_seconds()) }
    }
}

impl Lags {
    /// The window's health; the next window begins.
    pub fn take(&mut self) -> ClientHealth {
        let now = (Instant::now(), cpu_seconds());
        let wall = now.0.duration_since(self.since.0).as_secs_f64() * self.workers as f64;
        let health = ClientHealth {
            cpu_ratio: if wall > 0.0 { (now.1 - self.since.1) / wall } else { 0.0 },
            lag_max_seconds: self.max,
            lag_mean_seconds: if self.samples > 0 { self.sum / f64::from(self.samples) } else { 0.0 },
            lag_samples: self.samples,
            ..ClientHealth::default()
        };
        *self = Self { max: 0.0, sum: 0.0, samples: 0, workers: self.workers, since: now };
        health
    }
}

fn cpu_seconds() -> f64 {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}

/// Watches until it is aborted.
pub(super) async fn watch(ledger: Arc<Ledger>) {
    let workers = tokio::runtime::Handle::current().metrics().num_workers();
    loop {
        let due = tokio::time::Instant::now() + TICK;
        tokio::time::sleep_until(due).await;
        let late = due.elapsed().as_secs_f64();
        ledger.moved();
        let mut lags = ledger.lags.lock().unwrap_or_else(PoisonError::into_inner);
        lags.workers = workers;
        lags.max = lags.max.max(late);
        lags.sum += late;
        lags.samples += 1;
    }
}
