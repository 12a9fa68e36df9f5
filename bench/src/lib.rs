//! What both clients of the comparison share: the shape of a load and the figures they print, so that a line of one
//! means the same as a line of the other.

use std::time::Duration;

use clap::{Parser, ValueEnum};
use rustix::time::{ClockId, clock_gettime};
use serde::Serialize;

/// Who asks when.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Mode {
    /// Clients that ask again after each answer.
    Closed,
    /// A constant rate that keeps so many in flight.
    Open,
    /// Every client once, all at the same instant.
    Burst,
}

/// The load that is sent, and the server's timing as it was told.
#[derive(Debug, Clone, Parser)]
pub struct Shape {
    /// The server.
    #[arg(long)]
    pub url: String,
    /// Who asks when.
    #[arg(long, value_enum)]
    pub mode: Mode,
    /// Requests in flight.
    #[arg(long)]
    pub in_flight: u32,
    /// All requests.
    #[arg(long)]
    pub requests: u64,
    /// Tokens of each answer.
    #[arg(long, default_value_t = 100)]
    pub tokens: u32,
    /// The server's time to the first token, in milliseconds.
    #[arg(long, default_value_t = 0.0)]
    pub ttft: f64,
    /// The server's time between tokens, in milliseconds.
    #[arg(long, default_value_t = 0.0)]
    pub tpot: f64,
    /// Threads of the load.
    #[arg(long, default_value_t = 1)]
    pub threads: usize,
}

impl Shape {
    /// How long one answer takes.
    #[must_use]
    pub fn answer_seconds(&self) -> f64 {
        (self.ttft + self.tpot * f64::from(self.tokens.saturating_sub(1))) / 1e3
    }

    /// Requests per second that keep `in_flight` of them in flight.
    #[must_use]
    pub fn rate(&self) -> f64 {
        f64::from(self.in_flight) / self.answer_seconds().max(1e-3)
    }
}

/// One request as it was seen.
#[derive(Debug, Clone, Copy)]
pub struct Seen {
    /// From the instant it was due to its first token.
    pub first: Duration,
    /// From the instant it was due to its sending.
    pub sent: Duration,
    /// From its first token to its last.
    pub rest: Duration,
    /// Tokens read.
    pub tokens: u32,
}

/// What a run came to.
#[derive(Debug, Serialize)]
pub struct Figures {
    requests: usize,
    failed: u64,
    tokens: u64,
    wall_seconds: f64,
    requests_per_second: f64,
    cpu_seconds: f64,
    cpu_per_million_tokens: f64,
    cpu_per_thousand_requests: f64,
    ttft_error_p50_ms: f64,
    ttft_error_p99_ms: f64,
    ttft_error_max_ms: f64,
    ttft_error_from_sending_p99_ms: f64,
    tpot_error_p99_ms: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    itl_error_p99_ms: Option<f64>,
    peak_memory_mb: f64,
}

impl Figures {
    /// The figures of these answers.
    #[must_use]
    pub fn of(shape: &Shape, seen: &[Seen], failed: u64, wall: Duration, cpu_seconds: f64) -> Self {
        let millis = |span: Duration| span.as_secs_f64() * 1e3;
        let first = sorted(seen.iter().map(|seen| (millis(seen.first) - shape.ttft).abs()));
        let from_sending = sorted(seen.iter().map(|seen| (millis(seen.first.saturating_sub(seen.sent)) - shape.ttft).abs()));
        let told = |seen: &Seen| (millis(seen.rest) / f64::from(seen.tokens - 1) - shape.tpot).abs();
        let tpot = sorted(seen.iter().filter(|seen| seen.tokens > 1).map(told));
        let tokens = seen.iter().map(|seen| u64::from(seen.tokens)).sum::<u64>();
        Self {
            requests: seen.len(),
            failed,
            tokens,
            wall_seconds: wall.as_secs_f64(),
            requests_per_second: seen.len() as f64 / wall.as_secs_f64(),
            cpu_seconds,
            cpu_per_million_tokens: cpu_seconds / tokens as f64 * 1e6,
            cpu_per_thousand_requests: cpu_seconds / seen.len() as f64 * 1e3,
            ttft_error_p50_ms: quantile(&first, 0.5),
            ttft_error_p99_ms: quantile(&first, 0.99),
            ttft_error_max_ms: quantile(&first, 1.0),
            ttft_error_from_sending_p99_ms: quantile(&from_sending, 0.99),
            tpot_error_p99_ms: quantile(&tpot, 0.99),
            itl_error_p99_ms: None,
            peak_memory_mb: peak_memory_mb(),
        }
    }

    /// With gaps between tokens in seconds, each standing for equally many.
    #[must_use]
    pub fn with_gaps(self, shape: &Shape, gaps: impl Iterator<Item = f64>) -> Self {
        let errors = sorted(gaps.map(|gap| (gap * 1e3 - shape.tpot).abs()));
        Self { itl_error_p99_ms: (!errors.is_empty()).then(|| quantile(&errors, 0.99)), ..self }
    }
}

fn sorted(values: impl Iterator<Item = f64>) -> Vec<f64> {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values
}

fn quantile(sorted: &[f64], share: f64) -> f64 {
    let last = sorted.len().saturating_sub(1);
    sorted.get((last as f64 * share).round() as usize).copied().unwrap_or(f64::NAN)
}

/// The CPU time of this process so far.
#[must_use]
pub fn cpu_seconds() -> f64 {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}

fn peak_memory_mb() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<f64>().ok()).map_or(f64::NAN, |kib| kib * 1024.0 / 1e6)
}
