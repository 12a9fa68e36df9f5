//! The rules about the client itself: whether it had time for the load, and was on time.

use super::{Reason, Status, TrialEvidence, percent, reason};
use crate::figures;

/// Above this share of their cores the load threads may add to what they measure…
const CPU_SUSPECT: f64 = 0.80;
/// …and above this one they do.
const CPU_INVALID: f64 = 0.95;
/// Lateness of timers, over the median time per token (to first token where there is only one).
const LAG_SHARE: f64 = 0.05;
/// Lateness below this is the granularity of the timers themselves.
const LAG_FLOOR_SECONDS: f64 = 0.002;
/// The time for which an answer's bytes lie unread, over the same…
const UNREAD_SHARE: f64 = 0.1;
/// …and never less than this. What comes at once is read one after another, which takes a while on any client.
const UNREAD_FLOOR_SECONDS: f64 = 0.005;
/// The 99th percentile of the delay from due to sent, over the median time to first token…
const LATE_SHARE: f64 = 0.2;
/// …and never less than this: twice what a request may be late and count as sent in time.
const LATE_FLOOR_SECONDS: f64 = 0.02;
/// A single stall longer than the median time to first token, and than this, is a stall of the client.
const STALL_FLOOR_SECONDS: f64 = 0.1;

pub(super) fn client_cpu(evidence: &TrialEvidence) -> Option<Reason> {
    let (status, limit) = if evidence.cpu_ratio > CPU_INVALID {
        (Status::Invalid, CPU_INVALID)
    } else if evidence.cpu_ratio > CPU_SUSPECT {
        (Status::Suspect, CPU_SUSPECT)
    } else {
        return None;
    };
    let message = format!("the busiest executor used {} of its cores", percent(evidence.cpu_ratio, limit));
    reason("client_cpu", status, evidence.cpu_ratio, limit, message)
}

pub(super) fn client_lag(evidence: &TrialEvidence) -> Option<Reason> {
    let (what, measured) = finest(evidence)?;
    let limit = (measured * LAG_SHARE).max(LAG_FLOOR_SECONDS);
    if evidence.lag_mean_seconds <= limit {
        return None;
    }
    let lag = evidence.lag_mean_seconds;
    let message =
        format!("the client's timers were {:.1} ms late on average, the median {what} is {:.1} ms", lag * 1e3, measured * 1e3);
    reason("client_lag", Status::Suspect, lag, limit, message)
}

/// The finest of the times that were measured: what it is, and its median.
fn finest(evidence: &TrialEvidence) -> Option<(&'static str, f64)> {
    // An answer that comes with one read has no time per token.
    let times = [
        ("time per token", evidence.tpot_p50_seconds),
        ("time to first token", evidence.ttft_p50_seconds),
        ("time to the whole answer", evidence.e2el_p50_seconds),
    ];
    times.into_iter().find_map(|(what, median)| median.filter(|seconds| *seconds > 0.0).map(|seconds| (what, seconds)))
}

pub(super) fn unread_answers(evidence: &TrialEvidence) -> Option<Reason> {
    let unread = evidence.unread_seconds?;
    let (what, measured) = finest(evidence)?;
    let limit = (measured * UNREAD_SHARE).max(UNREAD_FLOOR_SECONDS);
    if unread <= limit {
        return None;
    }
    let message = format!(
        "answers lay in the client's receive queues for {:.1} ms on average before they were read, the median {what} is {:.1} ms",
        unread * 1e3,
        measured * 1e3
    );
    reason("unread_answers", Status::Suspect, unread, limit, message)
}

/// Arrivals that bunch are not the process that was asked for, even where all of them leave within the window.
pub(super) fn late_sends(evidence: &TrialEvidence) -> Option<Reason> {
    // What an executor that is gone left is late for whoever takes it over.
    let is_whole = evidence.nodes_lost == 0 && evidence.executor_restarts == 0;
    let delay = evidence.send_delay_p99_seconds.filter(|_| is_whole)?;
    let median = evidence.ttft_p50_seconds;
    let limit = median.map_or(LATE_FLOOR_SECONDS, |ttft| (ttft * LATE_SHARE).max(LATE_FLOOR_SECONDS));
    if delay <= limit {
        return None;
    }
    let beside =
        median.map_or_else(String::new, |ttft| format!(", the median time to first token is {}", figures::seconds(ttft)));
    let message = format!("one request in a hundred was sent {} or more after it was due{beside}", figures::seconds(delay));
    reason("late_sends", Status::Suspect, delay, limit, message)
}

pub(super) fn client_stall(evidence: &TrialEvidence) -> Option<Reason> {
    let limit = evidence.ttft_p50_seconds?.max(STALL_FLOOR_SECONDS);
    if evidence.lag_max_seconds <= limit {
        return None;
    }
    let message = format!("the client stood still for {:.0} ms at once", evidence.lag_max_seconds * 1e3);
    reason("client_stall", Status::Suspect, evidence.lag_max_seconds, limit, message)
}

#[cfg(test)]
mod tests {
    use super::{
        super::tests::check,
        Status::{Invalid, Suspect},
        *,
    };

    #[test]
    fn a_busy_client_is_suspect_and_a_saturated_one_invalid() {
        check("client_cpu", Suspect, |e| e.cpu_ratio = 0.81, |e| e.cpu_ratio = 0.80);
        check("client_cpu", Invalid, |e| e.cpu_ratio = 0.96, |e| e.cpu_ratio = 0.0);
    }

    #[test]
    fn a_late_client_is_suspect_in_proportion_to_what_it_measures() {
        check("client_lag", Suspect, |e| e.lag_mean_seconds = 0.0051, |e| e.lag_mean_seconds = 0.005);
        let granular = |lag: f64| move |e: &mut TrialEvidence| (e.lag_mean_seconds, e.tpot_p50_seconds) = (lag, Some(0.001));
        check("client_lag", Suspect, granular(0.0021), granular(0.002));
        let one_token = |lag: f64| move |e: &mut TrialEvidence| (e.lag_mean_seconds, e.tpot_p50_seconds) = (lag, None);
        check("client_lag", Suspect, one_token(0.011), one_token(0.01));
        let at_once = |e: &mut TrialEvidence| (e.lag_mean_seconds, e.tpot_p50_seconds) = (0.01, Some(0.0));
        check("client_lag", Suspect, |e| (at_once(e), e.ttft_p50_seconds = Some(0.1)).1, at_once);
        let in_one = |e: &mut TrialEvidence| (at_once(e), e.ttft_p50_seconds = None, e.e2el_p50_seconds = Some(0.2)).1;
        check("client_lag", Suspect, |e| (in_one(e), e.e2el_p50_seconds = Some(0.1)).1, in_one);
        check("client_stall", Suspect, |e| e.lag_max_seconds = 0.21, |e| e.lag_max_seconds = 0.2);
    }

    #[test]
    fn a_client_that_lets_answers_lie_is_suspect_in_proportion_to_what_it_measures() {
        let unread = |seconds, tpot| move |e: &mut TrialEvidence| (e.unread_seconds, e.tpot_p50_seconds) = (Some(seconds), tpot);
        check("unread_answers", Suspect, unread(0.0101, Some(0.1)), unread(0.01, Some(0.1)));
        check("unread_answers", Suspect, unread(0.0051, Some(0.001)), unread(0.005, Some(0.001)));
        check("unread_answers", Suspect, unread(0.0201, None), unread(0.02, None));
    }

    #[test]
    fn an_open_loop_that_sends_late_is_suspect_beside_what_it_measures() {
        let delayed =
            |delay, ttft| move |e: &mut TrialEvidence| (e.send_delay_p99_seconds, e.ttft_p50_seconds) = (Some(delay), ttft);
        check("late_sends", Suspect, delayed(0.05, Some(0.000_08)), delayed(0.02, Some(0.000_08)));
        check("late_sends", Suspect, delayed(0.11, Some(0.5)), delayed(0.1, Some(0.5)));
        check("late_sends", Suspect, delayed(0.021, None), delayed(0.02, None));
        check("node_lost", Suspect, |e| (delayed(1.0, None)(e), e.nodes_lost = 1).1, |_| {});
    }
}
