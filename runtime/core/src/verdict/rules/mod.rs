//! The rules of a verdict, with their limits beside them. Where a figure has two limits, the harder one decides.

mod answers;
mod books;
mod client;
mod clocks;
mod load;
mod prompts;
mod servers;

use answers::{identical_answers, no_first_token, not_streamed, short_outputs, wrong_model, zero_tokens};
pub(crate) use books::ERRORS_SUSPECT;
use books::{
    errors, executor_restarted, few_samples, interrupted, missing_batches, node_lost, nothing_completed, nothing_due,
    unbalanced_books,
};
use client::{client_cpu, client_lag, client_stall, late_sends, unread_answers};
use clocks::{clock_doubt, clock_step, clock_unknown};
use load::{achieved_rate, backlog, concurrency_short, held_back, latency_drift, short_window, unsteady};
pub(crate) use prompts::CACHE_HIT;
use prompts::{prefix_cache, prompt_length, repeated_prompts};
use servers::{dead_replica, dead_server, foreign_load, gpu_throttled, server_exited, server_restarted};

use super::{Reason, Status, TrialEvidence};
use crate::units::plural;

/// A rule: a reason, if the evidence gives one.
pub(super) type Rule = fn(&TrialEvidence) -> Option<Reason>;

/// All rules.
pub(super) const RULES: [Rule; 39] = [
    unbalanced_books,
    nothing_due,
    nothing_completed,
    zero_tokens,
    no_first_token,
    not_streamed,
    achieved_rate,
    held_back,
    backlog,
    short_window,
    concurrency_short,
    client_cpu,
    client_lag,
    unread_answers,
    late_sends,
    client_stall,
    errors,
    few_samples,
    executor_restarted,
    node_lost,
    server_exited,
    server_restarted,
    dead_server,
    dead_replica,
    foreign_load,
    wrong_model,
    identical_answers,
    short_outputs,
    prompt_length,
    prefix_cache,
    repeated_prompts,
    unsteady,
    latency_drift,
    clock_doubt,
    clock_unknown,
    clock_step,
    missing_batches,
    gpu_throttled,
    interrupted,
];

/// A reason with its figure and the limit that this crossed.
fn reason(code: &str, status: Status, value: f64, limit: f64, message: String) -> Option<Reason> {
    Some(Reason { code: code.to_owned(), status, message, value, limit })
}

/// A reason if there is any of what should not be at all.
fn none_allowed(code: &str, status: Status, count: u64, message: String) -> Option<Reason> {
    if count == 0 { None } else { reason(code, status, count as f64, 0.0, message) }
}

/// `1 node was`, `2 nodes were`.
fn of_some(count: u32, what: &str) -> String {
    format!("{} {}", plural(count.into(), what), if count == 1 { "was" } else { "were" })
}

fn share(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 }
}

/// A share as per cent, with as many digits as tell it from its limit.
fn percent(share: f64, limit: f64) -> String {
    let in_digits = |digits: usize| [share, limit].map(|one| format!("{:.digits$} %", one * 100.0));
    let told = (1..=9).map(in_digits).find(|[share, limit]| share != limit);
    told.map_or_else(|| format!("{:.1} %", share * 100.0), |[share, _]| share)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::verdict::{ClosedLoopEvidence, OpenLoopEvidence, ServedEvidence, SteadyEvidence, judge};

    /// A trial that nothing is wrong with.
    pub(super) fn healthy() -> TrialEvidence {
        TrialEvidence {
            due: 10_000,
            completed: 10_000,
            open_loop: Some(OpenLoopEvidence { due: 10_000, sent: 10_000, held_back: 0 }),
            cpu_ratio: 0.3,
            lag_mean_seconds: 0.001,
            lag_max_seconds: 0.02,
            tpot_p50_seconds: Some(0.1),
            ttft_p50_seconds: Some(0.2),
            can_force_length: true,
            output_tokens: 100_000,
            requested_output_tokens: 100_000,
            input_tokens: 1_000_000,
            cached_tokens: Some(0),
            has_own_prompts: true,
            alike: (10_000, 3),
            at_once: (10_000, 5_000),
            served: Some(ServedEvidence { counted: 10_000, sent: 10_000 }),
            closed_loop: Some(ClosedLoopEvidence { expected: 100.0, mean: 99.0, ..ClosedLoopEvidence::default() }),
            steady: Some(SteadyEvidence { completed: [3_000, 3_000], output_tokens: [30_000.0, 30_000.0] }),
            ..TrialEvidence::default()
        }
    }

    /// What is planted gives this reason alone, and what just falls short of it gives none.
    pub(super) fn check(code: &str, status: Status, planted: impl Fn(&mut TrialEvidence), spared: impl Fn(&mut TrialEvidence)) {
        let judged = |change: &dyn Fn(&mut TrialEvidence)| {
            let mut evidence = healthy();
            change(&mut evidence);
            judge(&evidence)
        };
        let found = judged(&planted);
        let codes: Vec<&str> = found.reasons.iter().map(|reason| reason.code.as_str()).collect();
        assert_eq!((codes, found.status), (vec![code], status), "{found:?}");
        let found = judged(&spared);
        assert!(found.reasons.is_empty(), "{code}: {found:?}");
    }

    use Status::{Invalid, Suspect};

    #[test]
    fn a_healthy_trial_is_valid() {
        assert_eq!(judge(&healthy()), crate::verdict::Verdict::default());
    }

    #[test]
    fn what_broke_while_load_ran_is_told() {
        check("executor_restarted", Suspect, |e| e.executor_restarts = 1, |_| {});
        check("node_lost", Suspect, |e| e.nodes_lost = 1, |_| {});
        check("server_exited", Invalid, |e| e.servers_exited = 1, |_| {});
        check("server_restarted", Suspect, |e| e.servers_restarted = 1, |_| {});
        check("missing_batches", Suspect, |e| e.missing_batches = 1, |_| {});
        check("gpu_throttled", Suspect, |e| e.gpus_throttled = 1, |_| {});
        check("interrupted", Suspect, |e| e.is_interrupted = true, |_| {});
    }

    #[test]
    fn the_worst_reason_stands_first_and_decides() {
        let mut evidence = healthy();
        (evidence.executor_restarts, evidence.servers_exited) = (1, 1);
        let verdict = judge(&evidence);
        assert_eq!((verdict.status, verdict.reasons[0].code.as_str(), verdict.reasons.len()), (Invalid, "server_exited", 2));
    }
}
