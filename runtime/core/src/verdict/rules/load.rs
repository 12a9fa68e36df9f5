//! Whether the load was the one that was asked for, and stayed the same over the window.

use super::{percent, reason, share};
use crate::{
    figures,
    record::TURNED_AWAY_PAUSE,
    report::MOVED,
    units::plural,
    verdict::{DriftEvidence, FlowEvidence, Reason, Status, TrialEvidence},
};

/// An open loop that sends less than this share of what was asked did not apply the load.
const LEAST_SENT: f64 = 0.98;
/// A closed loop that keeps less than this share of its requests in flight did not apply the load.
const LEAST_CONCURRENCY: f64 = 0.9;
/// Requests in flight may grow by so much within an open loop's window…
const BACKLOG: f64 = 1.5;
/// …and what ends in a window may differ by so large a share from what should…
const AWAY: f64 = 0.1;
/// …and both by so many standard deviations of chance.
const CHANCE_SIGMAS: f64 = 3.0;
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

/// What came and went, unless some of it was lost or the load was ended before its time.
fn whole_flow(evidence: &TrialEvidence) -> Option<FlowEvidence> {
    let is_whole = evidence.nodes_lost == 0 && evidence.executor_restarts == 0 && !evidence.is_interrupted;
    evidence.flow.filter(|_| is_whole)
}

/// What waits in the servers at the window's end is in no latency of theirs yet, and the longer the window, the more waits.
pub(super) fn backlog(evidence: &TrialEvidence) -> Option<Reason> {
    let flow = whole_flow(evidence).filter(|flow| flow.is_open)?;
    let [before, between, after] = flow.in_flight;
    let value = after / before.max(1.0);
    let chance = CHANCE_SIGMAS * (2.0 * flow.dispersion * before.max(1.0)).sqrt();
    // What only fills up at first grows more and more slowly.
    let goes_on = after - between >= (between - before) / 2.0;
    if value <= BACKLOG || after - before <= chance || !goes_on {
        return None;
    }
    let message = format!(
        "requests in flight grew from {before:.1} to {after:.1} within the window: the servers are slower than the load, or it had \
         not settled"
    );
    reason("backlog", Status::Suspect, value, BACKLOG, message)
}

/// Answers that begin or end together fall into a short window or out of it.
pub(super) fn short_window(evidence: &TrialEvidence) -> Option<Reason> {
    let flow = whole_flow(evidence).filter(|flow| flow.expected > 0.0)?;
    let away = (flow.ended as f64 - flow.expected).abs();
    let value = away / flow.expected;
    if value <= AWAY || away <= CHANCE_SIGMAS * flow.noise.max(1.0) || backlog(evidence).is_some() {
        return None;
    }
    let (ended, what) = (flow.ended, if flow.is_open { "were sent" } else { "are to be expected of those in flight" });
    let message = format!(
        "{ended} requests ended in the window and {:.1} {what}: answers take {} and the window {}, so requests/s says little; \
         make the window longer, and `warmup` as long as an answer",
        flow.expected,
        figures::seconds(flow.answer_seconds),
        figures::seconds(flow.window_seconds)
    );
    reason("short_window", Status::Suspect, value, AWAY, message)
}

/// Clients that are gone, or that cannot keep up, leave the label of a closed loop as it was and its load smaller.
pub(super) fn concurrency_short(evidence: &TrialEvidence) -> Option<Reason> {
    let asked = evidence.closed_loop.filter(|closed| closed.expected > 0.0)?;
    let value = asked.mean / asked.expected;
    if value >= LEAST_CONCURRENCY {
        return None;
    }
    let mut message = format!(
        "{:.1} requests were in flight on average and the clients asked for would have kept {:.1}, {}",
        asked.mean,
        asked.expected,
        percent(value, LEAST_CONCURRENCY)
    );
    if asked.held_off * 2.0 >= asked.expected - asked.mean {
        message.push_str(&format!(
            ": {} were answered with 429 or 503, after which a client waits {TURNED_AWAY_PAUSE}; the server admits fewer than ask",
            plural(asked.turned_away, "request")
        ));
    }
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

    fn flow(change: impl Fn(&mut FlowEvidence)) -> impl Fn(&mut TrialEvidence) {
        move |e| {
            let mut flow = FlowEvidence {
                is_open: true,
                ended: 1_000,
                expected: 1_000.0,
                noise: 10.0,
                dispersion: 1.0,
                in_flight: [50.0; 3],
                answer_seconds: 0.5,
                window_seconds: 10.0,
            };
            change(&mut flow);
            e.flow = Some(flow);
        }
    }

    #[test]
    fn requests_that_pile_up_in_the_servers_are_told_from_chance() {
        let grown = |before: f64, after: f64| flow(move |f| f.in_flight = [before, (before + after) / 2.0, after]);
        check("backlog", Suspect, grown(50.0, 80.1), grown(50.0, 79.9));
        check("backlog", Suspect, grown(100.0, 150.1), grown(100.0, 149.9));
        check("backlog", Suspect, grown(0.0, 5.0), grown(0.0, 4.0));
        let closed = flow(|f| (f.in_flight, f.is_open) = ([50.0, 250.0, 500.0], false));
        check("backlog", Suspect, flow(|f| (f.in_flight, f.ended) = ([50.0, 250.0, 500.0], 500)), closed);
        // Answers of 20 s in a window of 30 s without a warm-up fill it up, and that is all.
        check("backlog", Suspect, flow(|f| f.in_flight = [112.5, 150.0, 200.0]), flow(|f| f.in_flight = [112.5, 183.3, 200.0]));
        let bursts = flow(|f| (f.in_flight, f.dispersion) = ([50.0, 80.0, 109.0], 4.0));
        check("backlog", Suspect, flow(|f| f.in_flight = [50.0, 80.0, 109.0]), bursts);
        let cut = |e: &mut TrialEvidence| (grown(50.0, 90.0)(e), e.nodes_lost = 1).1;
        check("node_lost", Suspect, cut, |_| {});
    }

    #[test]
    fn a_window_in_which_waves_of_answers_weigh_is_told() {
        check("short_window", Suspect, flow(|f| f.ended = 899), flow(|f| f.ended = 900));
        check("short_window", Suspect, flow(|f| f.ended = 1_101), flow(|f| f.ended = 1_100));
        check("short_window", Suspect, flow(|f| (f.ended, f.noise) = (800, 66.0)), flow(|f| (f.ended, f.noise) = (800, 67.0)));
        // Two answers more or less are nothing in a window of a few.
        check(
            "short_window",
            Suspect,
            flow(|f| (f.ended, f.expected, f.noise) = (6, 9.5, 0.0)),
            flow(|f| {
                (f.ended, f.expected, f.noise) = (6, 9.0, 0.0);
            }),
        );
        let mut evidence = healthy();
        flow(|f| {
            (f.is_open, f.ended, f.expected, f.noise) = (false, 32, 46.5, 0.0);
            (f.answer_seconds, f.window_seconds) = (20.6, 30.0);
        })(&mut evidence);
        assert_eq!(
            judge(&evidence).reasons[0].message,
            "32 requests ended in the window and 46.5 are to be expected of those in flight: answers take 20.6 s and the window \
             30.0 s, so requests/s says little; make the window longer, and `warmup` as long as an answer"
        );
    }

    #[test]
    fn a_closed_loop_with_clients_missing_is_suspect() {
        let mean = |mean| {
            move |e: &mut TrialEvidence| {
                e.closed_loop = Some(ClosedLoopEvidence { expected: 100.0, mean, ..ClosedLoopEvidence::default() })
            }
        };
        check("concurrency_short", Suspect, mean(89.0), mean(90.0));
        let said = |held_off| {
            let mut evidence = healthy();
            evidence.closed_loop = Some(ClosedLoopEvidence { expected: 100.0, mean: 20.0, turned_away: 4_000, held_off });
            judge(&evidence).reasons.remove(0).message
        };
        let told =
            "4000 requests were answered with 429 or 503, after which a client waits 100ms; the server admits fewer than ask";
        assert!(said(78.0).ends_with(told), "{}", said(78.0));
        assert!(!said(30.0).contains("429"), "{}", said(30.0));
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
