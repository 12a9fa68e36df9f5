//! The latencies there are, what each is of a record, and a histogram of each.

use crate::{
    histogram::Histogram,
    record::{Outcome, Record},
    units::Nanos,
};

/// A latency of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(missing_docs, reason = "the names are those of `report::Latencies`, which defines them")]
pub enum Latency {
    Ttft,
    TtftScheduled,
    Ttfot,
    E2el,
    E2elScheduled,
    Tpot,
    Itl,
    Icl,
    DispatchDelay,
    QueueDelay,
    ClientDelay,
    Connect,
}

impl Latency {
    /// All of them, in the report's order.
    pub const ALL: [Self; 12] = [
        Self::Ttft,
        Self::TtftScheduled,
        Self::Ttfot,
        Self::E2el,
        Self::E2elScheduled,
        Self::Tpot,
        Self::Itl,
        Self::Icl,
        Self::DispatchDelay,
        Self::QueueDelay,
        Self::ClientDelay,
        Self::Connect,
    ];

    /// The name without its unit.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ttft => "ttft",
            Self::TtftScheduled => "ttft_scheduled",
            Self::Ttfot => "ttfot",
            Self::E2el => "e2el",
            Self::E2elScheduled => "e2el_scheduled",
            Self::Tpot => "tpot",
            Self::Itl => "itl",
            Self::Icl => "icl",
            Self::DispatchDelay => "dispatch_delay",
            Self::QueueDelay => "queue_delay",
            Self::ClientDelay => "client_delay",
            Self::Connect => "connect",
        }
    }

    /// What it is of this record, in seconds: of completed requests, the dispatch delay and its two parts of
    /// every request that was sent, and the connect time of every one that opened a connection. The gaps between tokens
    /// are in no record.
    #[must_use]
    pub fn of(self, record: &Record) -> Option<f64> {
        let is_of_all = matches!(self, Self::DispatchDelay | Self::QueueDelay | Self::ClientDelay | Self::Connect);
        if record.outcome != Outcome::Completed && !is_of_all {
            return None;
        }
        match self {
            Self::Ttft => record.ttft(),
            Self::TtftScheduled => record.ttft_scheduled(),
            Self::Ttfot => record.ttfot(),
            Self::E2el => record.e2el(),
            Self::E2elScheduled => record.e2el_scheduled(),
            Self::Tpot => record.tpot(),
            Self::DispatchDelay => record.dispatch_delay(),
            Self::QueueDelay => record.queue_delay(),
            Self::ClientDelay => record.client_delay(),
            Self::Connect => record.connect.map(Nanos::as_secs_f64),
            Self::Itl | Self::Icl => None,
        }
    }
}

/// A histogram for each latency, of the measured stage.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct LatencyHistograms([Histogram; Latency::ALL.len()]);

impl LatencyHistograms {
    pub(super) fn new() -> Self {
        Self(std::array::from_fn(|_| Histogram::new()))
    }

    pub(super) fn of(&self, latency: Latency) -> &Histogram {
        &self.0[latency as usize]
    }

    pub(super) fn record(&mut self, record: &Record) {
        for latency in Latency::ALL {
            if let Some(seconds) = latency.of(record) {
                self.0[latency as usize].record((seconds * 1e9).round() as u64);
            }
        }
    }

    pub(super) fn merge(&mut self, latency: Latency, other: &Histogram) {
        if other.count() > 0 {
            self.0[latency as usize].merge(other);
        }
    }
}
