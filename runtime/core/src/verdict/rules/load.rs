//! Whether the load was the one that was asked for, and stayed the same over the window.

use super::{percent, reason, share};
use crate::{
    figures,
    report::MOVED,
    verdict::{DriftEvidence, Reason, Status, TrialEvidence},
};

/// An open loop that sends less than this share of what was asked did not apply the load.
const LEAST_SENT: f64 = 0.98;
/// A closed loop that keeps less than this share of its requests in flight did not apply the load.
const LEAST_CONCURRENCY: f64 = 0.9;
/// First and last third of the window may differ by this share of their mean…
const UNSTEADY: f64 = 0.20;
/// …and by this many standard deviations of the number of requests, lest chance be taken for drift.
const UNSTEADY_SIGMAS: f64 = 4.0;

/// By counts and not by rates: the requests that a Poisson schedule really has in its window may be some per
/// cent off its mean rate by chance.
pub(super) fn achieved_rate(evidence: &TrialEvidence) -> Option<Reason> {
    let asked = evidence.open_loop.filter(|open| open.due > 0)?;
    // What `max_in_flight` held back the client could have sent.
    let due = asked.due.saturating_sub(asked.held_back);
    let sent = share(asked.sent, due);
    if due == 0 || sent >= LEAST_SENT {
        return None;
    }
    let message = format!("{} of {due} requests were sent within the window, {}", asked.sent, percent(sent, LEAST_SENT));
    reason("achieved_rate", Status::Invalid, sent, LEAST_SENT, message)
}

/// A server that is slower than the load is a finding, and no load of the rate that was asked for.
pub(super) fn held_back(evidence: &TrialEvidence) -> Option<Reason> {
    let asked = evidence.open_loop.filter(|open| open.due > 0)?;
    let value = share(asked.held_back, asked.due);
    if value <= 1.0 - LEAST_SENT {
        return None;
    }
    let message = format!(
        "{} of {} requests were held back by max_in_flight until the window ended, {}: the servers are slower than the load",
        asked.held_back,
        asked.due,
        percent(value, 1.0 - LEAST_SENT)
    );
    reason("held_back", Status::Suspect, value, 1.0 - LEAST_SENT, message)
}

/// Clients that are gone, or that cannot keep up, leave the label of a closed loop as it was and its load smaller.
pub(super) fn concurrency_short(evidence: &TrialEvidence) -> Option<Reason> {
    let asked = evidence.closed_loop.filter(|closed| closed.expected > 0.0)?;
    let value = asked.mean / asked.expected;
    if value >= LEAST_CONCURRENCY {
        return None;
    }
    let message = format!(
        "{:.1} requests were in flight on average and the clients asked for would have kept {:.1}, {}",
        asked.mean,
        asked.expected,
        percent(value, LEAST_CONCURRENCY)
    );
    reason("concurrency_short", Status::Suspect, value, LEAST_CONCURRENCY, message)
}

pub(super) fn unsteady(evidence: &TrialEvidence) -> Option<Reason> {
    let steady = evidence.steady?;
    let [first, last] = steady.output_tokens;
    let mean = (first + last) / 2.0;
    let value = if mean > 0.0 { (last - first).abs() / mean } else { 0.0 };
    let chance = UNSTEADY_SIGMAS * (steady.completed.iter().sum::<u64>() as f64).sqrt();
    if value <= UNSTEADY || steady.completed[0].abs_diff(steady.completed[1]) as f64 <= chance {
        return None;
    }
    let message = format!("{first:.0} answer tokens came in the first third of the window and {last:.0} in the last");
    reason("unsteady", Status::Suspect, value, UNSTEADY, message)
}

/// In an open loop a server that becomes slower sends as many tokens as before: only its latencies tell.
pub(super) fn latency_drift(evidence: &TrialEvidence) -> Option<Reason> {
    let value = evidence.drifts.iter().map(DriftEvidence::factor).fold(0.0, f64::max);
    if value <= MOVED {
        return None;
    }
    let told = evidence.drifts.iter().map(|drift| {
        let [before, after] = drift.seconds.map(figures::seconds);
        let name = drift.latency.to_uppercase();
        format!("the median {name} went from {before} to {after} about {} s after the start", drift.at_seconds.round())
    });
    let message = told.collect::<Vec<_>>().join("; ");
    reason("latency_drift", Status::Suspect, value, MOVED, message)
}

#[cfg(test)]
mod tests {
    use super::{
        super::tests::{check, healthy},
        Status::{Invalid, Suspect},
        *,
    };
    use crate::verdict::{ClosedLoopEvidence, OpenLoopEvidence, SteadyEvidence, judge};

    #[test]
    fn a_client_that_does_not_send_is_invalid() {
        let sent = |sent| move |e: &mut TrialEvidence| e.open_loop = Some(OpenLoopEvidence { due: 10_000, sent, held_back: 0 });
        check("achieved_rate", Invalid, sent(9_799), sent(9_800));
        let held =
            |held_back, sent| move |e: &mut TrialEvidence| e.open_loop = Some(OpenLoopEvidence { due: 10_000, sent, held_back });
        check("held_back", Suspect, held(201, 9_799), held(200, 9_800));
        check("achieved_rate", Invalid, held(100, 9_701), held(100, 9_702));
    }

    #[test]
    fn a_closed_loop_with_clients_missing_is_suspect() {
        let mean = |mean| move |e: &mut TrialEvidence| e.closed_loop = Some(ClosedLoopEvidence { expected: 100.0, mean });
        check("concurrency_short", Suspect, mean(89.0), mean(90.0));
    }

    #[test]
    fn drift_is_told_from_chance() {
        let thirds = |first: u64, last: u64| {
            let tokens = [first, last].map(|count| count as f64 * 10.0);
            move |e: &mut TrialEvidence| e.steady = Some(SteadyEvidence { completed: [first, last], output_tokens: tokens })
        };
        check("unsteady", Suspect, thirds(3_000, 2_000), thirds(3_000, 2_500));
        check("unsteady", Suspect, thirds(1_000, 2_000), thirds(20, 12));
    }

    #[test]
    fn a_latency_that_moved_is_told_with_both_levels() {
        let moved = |after: f64| {
            let drift = DriftEvidence { latency: "ttft".into(), seconds: [0.1, after], at_seconds: 6.0 };
            move |e: &mut TrialEvidence| e.drifts = vec![drift.clone()]
        };
        check("latency_drift", Suspect, moved(0.3), moved(0.13));
        check("latency_drift", Suspect, moved(0.05), moved(0.08));
        let mut evidence = healthy();
        moved(0.3)(&mut evidence);
        assert_eq!(judge(&evidence).reasons[0].message, "the median TTFT went from 100 ms to 300 ms about 6 s after the start");
    }
}
