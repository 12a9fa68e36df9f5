//! What comes in, until a window is cut: gaps between tokens and between events in histograms, tokens and bytes in sums.

use std::sync::{
    Mutex, MutexGuard, PoisonError,
    atomic::{AtomicU64, Ordering},
};

use hdrhistogram::{
    Histogram,
    serialization::{Serializer as _, V2Serializer},
};

use super::answer_gaps::AnswerGaps;

/// Histograms kept side by side, so that requests on different cores seldom wait for each other.
const SHARDS: usize = 4;
const LOWEST_NANOS: u64 = 1_000;
const HIGHEST_NANOS: u64 = 3_600_000_000_000;

struct Pair {
    itl: Histogram<u64>,
    icl: Histogram<u64>,
    /// What answers left behind, for the next ones.
    spare: Vec<AnswerGaps>,
}

impl Pair {
    fn new() -> Self {
        Self { itl: empty(), icl: empty(), spare: Vec::new() }
    }
}

fn empty() -> Histogram<u64> {
    Histogram::new_with_bounds(LOWEST_NANOS, HIGHEST_NANOS, 3).expect("the bounds are in order and three digits are allowed")
}

/// All that came since the last cut.
pub(super) struct Inflow {
    shards: Vec<Mutex<Pair>>,
    tokens: AtomicU64,
    bytes: AtomicU64,
}

/// What was read since the last cut.
#[derive(Debug, Default)]
pub(super) struct Taken {
    /// Gaps between tokens, HDR V2 bytes; empty where there were none.
    pub itl: Vec<u8>,
    /// Gaps between events, the same.
    pub icl: Vec<u8>,
    pub tokens: u64,
    /// Of answers' bodies.
    pub bytes: u64,
}

impl Inflow {
    pub fn new() -> Self {
        Self {
            shards: (0..SHARDS).map(|_| Mutex::new(Pair::new())).collect(),
            tokens: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
        }
    }

    /// Counts tokens and bytes that were read.
    pub fn count(&self, tokens: u64, bytes: u64) {
        self.tokens.fetch_add(tokens, Ordering::Relaxed);
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Takes what lies between the events of request `index`; one lock for many of them.
    pub fn add(&self, index: u64, gaps: &mut AnswerGaps) {
        let mut pair = self.pair(index);
        gaps.hand_over(|nanos, times| pair.icl.saturating_record_n(nanos, times));
    }

    /// An empty place for the gaps of request `index`.
    pub fn place(&self, index: u64) -> AnswerGaps {
        self.pair(index).spare.pop().unwrap_or_default()
    }

    /// Request `index` has ended, and the gaps between its tokens are known.
    pub fn add_tokens(&self, index: u64, mut gaps: AnswerGaps, after_first: Option<u32>) {
        let mut pair = self.pair(index);
        gaps.drain(after_first, |nanos, tokens| pair.itl.saturating_record_n(nanos, tokens));
        pair.spare.push(gaps);
    }

    fn pair(&self, index: u64) -> MutexGuard<'_, Pair> {
        self.shards[index as usize % SHARDS].lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What came since the last time.
    pub fn take(&self) -> Taken {
        let mut sum = Pair::new();
        for shard in &self.shards {
            let mut pair = shard.lock().unwrap_or_else(PoisonError::into_inner);
            if pair.icl.is_empty() && pair.itl.is_empty() {
                continue;
            }
            sum.itl.add(&pair.itl).expect("all histograms have the same bounds");
            sum.icl.add(&pair.icl).expect("all histograms have the same bounds");
            pair.itl.reset();
            pair.icl.reset();
        }
        Taken {
            itl: bytes(&sum.itl),
            icl: bytes(&sum.icl),
            tokens: self.tokens.swap(0, Ordering::Relaxed),
            bytes: self.bytes.swap(0, Ordering::Relaxed),
        }
    }
}

fn bytes(histogram: &Histogram<u64>) -> Vec<u8> {
    let mut out = Vec::new();
    if !histogram.is_empty() {
        V2Serializer::new().serialize(histogram, &mut out).expect("a vector takes every byte");
    }
    out
}
