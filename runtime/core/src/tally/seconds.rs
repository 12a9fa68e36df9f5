//! The trial second by second, over all executors. All sums are whole numbers, so that the order
//! in which batches come cannot be seen in them.

use std::collections::BTreeMap;

use crate::{
    record::{Outcome, Record},
    report::Second,
    units::Nanos,
};

const SECOND: u64 = 1_000_000_000;
/// Tokens are spread in parts of this size.
const TOKEN_PARTS: u64 = 1_000_000;

/// The seconds of a trial in which anything happened.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Seconds(BTreeMap<u32, Sums>);

#[derive(Debug, Clone, PartialEq, Default)]
struct Sums {
    sent: u64,
    completed: u64,
    failed: u64,
    output_token_parts: u64,
    in_flight_nanos: u64,
    ttft: RoughCounts,
    e2el: RoughCounts,
}

impl Seconds {
    /// Counts a request that was sent then.
    pub(super) fn sent(&mut self, at: Nanos) {
        self.at(at.0).sent += 1;
    }

    /// Counts a request that ended, but for its sending.
    pub(super) fn ended(&mut self, record: &Record) {
        let ended = record.last.filter(|_| record.outcome == Outcome::Completed).or(record.end);
        match record.outcome {
            Outcome::Completed => self.at(ended.unwrap_or(record.due).0).completed += 1,
            Outcome::Failed | Outcome::TimedOut | Outcome::Lost => {
                self.at(ended.or(record.sent).unwrap_or(record.due).0).failed += 1;
            }
            Outcome::Cancelled | Outcome::Dropped => {}
        }
        if let (Some(sent), Some(end)) = (record.sent, record.end.or(record.last)) {
            spread(sent.0, end.0, |second, from, to| self.0.entry(second).or_default().in_flight_nanos += to - from);
        }
        if let (Some(last), Some(tokens)) = (record.last, record.output_tokens) {
            self.tokens(record.first.unwrap_or(last).0, last.0, u64::from(tokens));
        }
        if record.outcome == Outcome::Completed {
            if let (Some(first), Some(seconds)) = (record.first, record.ttft()) {
                self.at(first.0).ttft.record(seconds);
            }
            if let (Some(last), Some(seconds)) = (record.last, record.e2el()) {
                self.at(last.0).e2el.record(seconds);
            }
        }
    }

    /// The first token where it came, the others evenly from there to the last.
    fn tokens(&mut self, first: u64, last: u64, tokens: u64) {
        if tokens == 0 {
            return;
        }
        let rest = u128::from((tokens - 1) * TOKEN_PARTS);
        if last <= first {
            self.at(first).output_token_parts += tokens * TOKEN_PARTS;
            return;
        }
        self.at(first).output_token_parts += TOKEN_PARTS;
        let until = |instant: u64| (rest * u128::from(instant - first) / u128::from(last - first)) as u64;
        spread(first, last, |second, from, to| {
            self.0.entry(second).or_default().output_token_parts += until(to) - until(from);
        });
    }

    fn at(&mut self, nanos: u64) -> &mut Sums {
        self.0.entry((nanos / SECOND) as u32).or_default()
    }

    /// From this second on, every second up to the last, quiet ones too.
    pub(super) fn from(&self, first: u32) -> Vec<Second> {
        let Some((&last, _)) = self.0.last_key_value() else { return Vec::new() };
        (first..=last).map(|at| self.second(at)).collect()
    }

    /// The last second that is known.
    pub(super) fn last(&self) -> Option<u32> {
        self.0.last_key_value().map(|(at, _)| *at)
    }

    /// One second.
    pub(super) fn second(&self, at: u32) -> Second {
        let Some(sums) = self.0.get(&at) else { return Second { at, ..Second::default() } };
        Second {
            at,
            sent: sums.sent,
            completed: sums.completed,
            failed: sums.failed,
            output_tokens: sums.output_token_parts as f64 / TOKEN_PARTS as f64,
            in_flight: sums.in_flight_nanos as f64 / SECOND as f64,
            ttft_p50: sums.ttft.quantile(0.50),
            ttft_p99: sums.ttft.quantile(0.99),
            e2el_p50: sums.e2el.quantile(0.50),
            e2el_p99: sums.e2el.quantile(0.99),
        }
    }
}

/// Cuts a stretch at the borders of seconds.
fn spread(start: u64, end: u64, mut piece: impl FnMut(u32, u64, u64)) {
    let mut from = start;
    while from < end {
        let second = from / SECOND;
        let to = end.min((second + 1) * SECOND);
        piece(second as u32, from, to);
        from = to;
    }
}

/// Counts in steps of one per cent, only where there are any: a second's percentiles in a few hundred bytes.
#[derive(Debug, Clone, PartialEq, Default)]
struct RoughCounts(BTreeMap<u16, u32>);

impl RoughCounts {
    const STEP: f64 = 1.01;

    fn record(&mut self, seconds: f64) {
        let step = ((seconds * 1e9).max(1.0).ln() / Self::STEP.ln()) as u16;
        *self.0.entry(step).or_default() += 1;
    }

    fn quantile(&self, quantile: f64) -> Option<f64> {
        let total: u64 = self.0.values().map(|count| u64::from(*count)).sum();
        let rank = ((quantile * total as f64).ceil() as u64).max(1);
        let mut below = 0;
        let found = self.0.iter().find(|(_, count)| {
            below += u64::from(**count);
            below >= rank
        });
        found.map(|(step, _)| Self::STEP.powf(f64::from(*step) + 0.5) / 1e9)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::record::{Kind, Stage};

    fn answered(sent: u64, first: u64, last: u64, tokens: u32) -> Record {
        let mut record = Record::unsent(0, Stage::Measure, Nanos(sent), Outcome::Completed, Kind::Connect);
        record.kind = None;
        (record.sent, record.first) = (Some(Nanos(sent)), Some(Nanos(first)));
        (record.last, record.end, record.output_tokens) = (Some(Nanos(last)), Some(Nanos(last)), Some(tokens));
        record
    }

    proptest! {
        #[test]
        fn no_token_and_no_time_in_flight_is_lost(sent in 0u64..5_000_000_000, wait in 0u64..5_000_000_000, took in 0u64..9_000_000_000, tokens in 0u32..500) {
            let mut seconds = Seconds::default();
            seconds.ended(&answered(sent, sent + wait, sent + wait + took, tokens));
            let all = seconds.from(0);
            prop_assert!((all.iter().map(|second| second.output_tokens).sum::<f64>() - f64::from(tokens)).abs() < 1e-6);
            let in_flight = all.iter().map(|second| second.in_flight).sum::<f64>();
            prop_assert!((in_flight - (wait + took) as f64 / 1e9).abs() < 1e-6);
            prop_assert!(all.iter().all(|second| second.in_flight <= 1.0));
        }
    }

    #[test]
    fn tokens_lie_where_they_came_and_not_where_the_request_ended() {
        let mut seconds = Seconds::default();
        seconds.ended(&answered(0, SECOND / 2, 5 * SECOND / 2, 21));
        let tokens: Vec<f64> = seconds.from(0).iter().map(|second| second.output_tokens).collect();
        assert_eq!(tokens, [6.0, 10.0, 5.0]);
    }

    #[test]
    fn a_second_s_percentiles_are_within_a_percent() {
        let mut counts = RoughCounts::default();
        (1..=1_000).for_each(|n| counts.record(f64::from(n) / 1e3));
        assert!((counts.quantile(0.5).unwrap() / 0.5 - 1.0).abs() < 0.011);
        assert!((counts.quantile(0.99).unwrap() / 0.99 - 1.0).abs() < 0.011);
        assert_eq!(RoughCounts::default().quantile(0.5), None);
    }
}
