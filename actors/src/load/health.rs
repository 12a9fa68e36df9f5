//! How well the client itself does: the lateness of a 10 ms timer on the load runtime, and how busy its workers are.
//!
//! A worker is busy while it is not parked. Time in which the system let somebody else run counts, too: what the load
//! could not use is as good as used up.

use std::{
    sync::{Arc, LazyLock, PoisonError},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use hb_core::batch::ClientHealth;
use tokio::runtime::{Handle, RuntimeMetrics};

use super::ledger::Ledger;

const TICK: Duration = Duration::from_millis(10);

/// Lateness and work since the last window.
#[derive(Debug)]
pub(super) struct Lags {
    max: f64,
    /// The largest jump of the wall clock.
    step: f64,
    wall: WallClock,
    sum: f64,
    samples: u32,
    workers: usize,
    /// Busy seconds of all workers, now and when the window began.
    busy: (f64, f64),
    since: Instant,
}

impl Default for Lags {
    fn default() -> Self {
        Self {
            max: 0.0,
            step: 0.0,
            wall: WallClock::default(),
            sum: 0.0,
            samples: 0,
            workers: 1,
            busy: (0.0, 0.0),
            since: Instant::now(),
        }
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
            clock_step_seconds: self.step,
            ..ClientHealth::default()
        };
        *self = Self { workers: self.workers, wall: self.wall, busy: (self.busy.0, self.busy.0), ..Self::default() };
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
        self.step = self.step.max(self.wall.step());
    }
}

/// How far the wall clock lies from the monotonic one, as it was last read.
#[derive(Debug, Clone, Copy, Default)]
struct WallClock {
    distance: Option<f64>,
}

/// Two readings of the monotonic clock that lie further apart had something between them; what was read there is no use.
const READ_WITHIN: Duration = Duration::from_millis(1);

impl WallClock {
    /// By how many seconds the wall clock was set since it was last read.
    fn step(&mut self) -> f64 {
        let before = Instant::now();
        let wall = SystemTime::now();
        if before.elapsed() > READ_WITHIN {
            return 0.0;
        }
        self.read(before.saturating_duration_since(*ANCHOR).as_secs_f64(), wall)
    }

    fn read(&mut self, monotonic: f64, wall: SystemTime) -> f64 {
        let wall =
            wall.duration_since(UNIX_EPOCH).map_or_else(|error| -error.duration().as_secs_f64(), |since| since.as_secs_f64());
        let distance = wall - monotonic;
        let before = self.distance.replace(distance);
        before.map_or(0.0, |before| (distance - before).abs())
    }
}

/// From where this process counts its monotonic time.
static ANCHOR: LazyLock<Instant> = LazyLock::new(Instant::now);

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_is_set_steps_once_and_one_that_runs_does_not() {
        let mut wall = WallClock::default();
        let at = |seconds: f64| UNIX_EPOCH + Duration::from_secs_f64(1e9 + seconds);
        let steps: Vec<f64> =
            [(0.0, 0.0), (1.0, 1.0), (2.0, 4.5), (3.0, 5.5), (4.0, 3.0)].map(|(mono, unix)| wall.read(mono, at(unix))).into();
        for (step, expected) in steps.iter().zip([0.0, 0.0, 2.5, 0.0, 3.5]) {
            assert!((step - expected).abs() < 1e-6, "{steps:?}");
        }
    }
}
