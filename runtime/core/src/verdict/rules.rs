//! The rules of a verdict and their limits. Where a figure has two limits, the harder one decides.

use super::{
    DeadServer, DriftEvidence, Reason, Status, TrialEvidence,
    client_rules::{client_cpu, client_lag, client_stall, late_sends, unread_answers},
    prompt_rules::{prefix_cache, prompt_length, repeated_prompts},
};
use crate::{figures, launch, report::MOVED, units::plural};

/// An open loop that sends less than this share of what was asked did not apply the load.
pub(super) const LEAST_SENT: f64 = 0.98;
/// Share of due requests that failed, ran into a deadline, were given up or were lost.
pub(crate) const ERRORS_SUSPECT: f64 = 0.01;
/// Percentiles over what is left then say nothing of the service.
pub(super) const ERRORS_INVALID: f64 = 0.10;
/// Below this many answers even a median is a guess.
pub(super) const FEWEST_COMPLETED: u64 = 30;
/// Share of the asked answer tokens that came.
pub(super) const LEAST_OUTPUT: f64 = 0.98;
/// First and last third of the window may differ by this share of their mean…
pub(super) const UNSTEADY: f64 = 0.20;
/// …and by this many standard deviations of the number of requests, lest chance be taken for drift.
pub(super) const UNSTEADY_SIGMAS: f64 = 4.0;
/// Bound of the clocks by which the nodes' windows are aligned.
pub(super) const CLOCK_BOUND_SECONDS: f64 = 0.05;

/// A node's clock may be set by so much at once before it is a step: slewing moves it by half a millisecond a second.
pub(super) const CLOCK_STEP_SECONDS: f64 = 0.01;
/// Share of answers that begin alike though their prompts differ.
pub(super) const ALIKE: f64 = 0.5;
/// Requests that a server turned away beside those it answered; fewer may be an accident.
pub(super) const REFUSED_BESIDE_ANSWERS: u64 = 2;
/// Prompts that servers counted beyond those sent, as a share of the latter.
pub(super) const FOREIGN_LOAD: f64 = 0.01;
/// A closed loop that keeps less than this share of its requests in flight did not apply the load.
pub(super) const LEAST_CONCURRENCY: f64 = 0.9;

/// A rule: a reason, if the evidence gives one.
pub(super) type Rule = fn(&TrialEvidence) -> Option<Reason>;

/// All rules.
pub(super) const RULES: [Rule; 36] = [
    unbalanced_books,
    nothing_due,
    nothing_completed,
    zero_tokens,
    no_first_token,
    achieved_rate,
    held_back,
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
pub(super) fn reason(code: &str, status: Status, value: f64, limit: f64, message: String) -> Option<Reason> {
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

pub(super) fn share(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 }
}

/// A share as per cent, with as many digits as tell it from its limit.
pub(super) fn percent(share: f64, limit: f64) -> String {
    let in_digits = |digits: usize| [share, limit].map(|one| format!("{:.digits$} %", one * 100.0));
    let told = (1..=9).map(in_digits).find(|[share, limit]| share != limit);
    told.map_or_else(|| format!("{:.1} %", share * 100.0), |[share, _]| share)
}

fn unbalanced_books(evidence: &TrialEvidence) -> Option<Reason> {
    if evidence.is_balanced() {
        return None;
    }
    let ended = evidence.completed + evidence.failed + evidence.cancelled + evidence.dropped + evidence.lost;
    let message = format!(
        "{} requests were due and {ended} ends are told, {} of them more than once",
        evidence.due, evidence.repeated_ends
    );
    reason("unbalanced_books", Status::Invalid, ended as f64, evidence.due as f64, message)
}

fn nothing_due(evidence: &TrialEvidence) -> Option<Reason> {
    if evidence.due > 0 {
        return None;
    }
    reason("nothing_due", Status::Invalid, 0.0, 1.0, "no request was due in the measured window".to_owned())
}

fn nothing_completed(evidence: &TrialEvidence) -> Option<Reason> {
    if evidence.completed > 0 || evidence.due == 0 {
        return None;
    }
    reason("nothing_completed", Status::Invalid, 0.0, 1.0, format!("none of {} requests was answered", evidence.due))
}

fn zero_tokens(evidence: &TrialEvidence) -> Option<Reason> {
    let value = share(evidence.without_token, evidence.due);
    if value <= ERRORS_SUSPECT {
        return None;
    }
    let message = format!("{} of {} requests were answered whole without a single token", evidence.without_token, evidence.due);
    reason("zero_tokens", Status::Invalid, value, ERRORS_SUSPECT, message)
}

/// Without it a latency is missing, or is that of the other answers.
fn no_first_token(evidence: &TrialEvidence) -> Option<Reason> {
    let (count, limit) = (evidence.without_first_token as f64, evidence.completed as f64 * ERRORS_SUSPECT);
    if count <= limit {
        return None;
    }
    let message = format!(
        "{count} of {} came without text that could be timed: it was empty or in a field that is not known",
        plural(evidence.completed, "answer")
    );
    reason("no_first_token", Status::Suspect, count, limit, message)
}

/// By counts and not by rates: the requests that a Poisson schedule really has in its window may be some per
/// cent off its mean rate by chance.
fn achieved_rate(evidence: &TrialEvidence) -> Option<Reason> {
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
fn held_back(evidence: &TrialEvidence) -> Option<Reason> {
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
fn concurrency_short(evidence: &TrialEvidence) -> Option<Reason> {
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

fn errors(evidence: &TrialEvidence) -> Option<Reason> {
    // Whoever stops a run gives up what is in flight; `interrupted` says so.
    let given_up = if evidence.is_interrupted { 0 } else { evidence.cancelled };
    let bad = evidence.failed + given_up + evidence.lost;
    let value = share(bad, evidence.due);
    let (status, limit) = if value > ERRORS_INVALID {
        (Status::Invalid, ERRORS_INVALID)
    } else if value > ERRORS_SUSPECT {
        (Status::Suspect, ERRORS_SUSPECT)
    } else {
        return None;
    };
    let message = format!(
        "{} of {} requests failed, were given up or were lost, {}; latencies are those of the others",
        bad,
        evidence.due,
        percent(value, limit)
    );
    reason("errors", status, value, limit, message)
}

fn few_samples(evidence: &TrialEvidence) -> Option<Reason> {
    if evidence.completed == 0 || evidence.completed >= FEWEST_COMPLETED {
        return None;
    }
    let message = format!("{} answers are too few for percentiles", evidence.completed);
    reason("few_samples", Status::Suspect, evidence.completed as f64, FEWEST_COMPLETED as f64, message)
}

fn executor_restarted(evidence: &TrialEvidence) -> Option<Reason> {
    let count = evidence.executor_restarts;
    none_allowed(
        "executor_restarted",
        Status::Suspect,
        count.into(),
        format!("{} an executor failed while load ran", plural(count.into(), "time")),
    )
}

fn node_lost(evidence: &TrialEvidence) -> Option<Reason> {
    let count = evidence.nodes_lost;
    none_allowed("node_lost", Status::Suspect, count.into(), format!("{} lost while load ran", of_some(count, "node")))
}

/// What was measured afterwards is not the service that the recipe describes.
fn server_exited(evidence: &TrialEvidence) -> Option<Reason> {
    let count = evidence.servers_exited;
    none_allowed(
        "server_exited",
        Status::Invalid,
        count.into(),
        format!("{} ended without being told to while load ran", plural(count.into(), "server")),
    )
}

fn server_restarted(evidence: &TrialEvidence) -> Option<Reason> {
    let count = evidence.servers_restarted;
    none_allowed(
        "server_restarted",
        Status::Suspect,
        count.into(),
        format!("{} started again while load ran", of_some(count, "server")),
    )
}

/// What is measured is the service without it.
fn dead_server(evidence: &TrialEvidence) -> Option<Reason> {
    let told = evidence.dead_servers.iter().map(|DeadServer { server, since_second, failed }| match since_second {
        0 => format!("server {server} answered nothing, {failed} requests to it failed"),
        second => format!("server {server} answered nothing from second {second} on, {failed} requests to it failed"),
    });
    let message = told.collect::<Vec<_>>().join("; ");
    none_allowed("dead_server", Status::Invalid, evidence.dead_servers.len() as u64, message)
}

/// A balancer goes on sending to a replica that is gone. Where it holds connections open for it, this cannot be seen.
fn dead_replica(evidence: &TrialEvidence) -> Option<Reason> {
    let count = evidence.refused_beside_answers;
    if count <= REFUSED_BESIDE_ANSWERS {
        return None;
    }
    // Who limits what he admits says so with a status; a replica that is gone says nothing by itself.
    let message = if evidence.busy_beside_answers == count {
        format!(
            "{count} requests were turned away with status 503 while others to the same URL were answered: the servers may be overloaded or limit what they admit, or behind a balancer a replica may be gone"
        )
    } else {
        format!(
            "{count} requests were turned away while others to the same URL were answered: behind a balancer a replica may be gone, or the servers are overloaded"
        )
    };
    reason("dead_replica", Status::Suspect, count as f64, REFUSED_BESIDE_ANSWERS as f64, message)
}

fn foreign_load(evidence: &TrialEvidence) -> Option<Reason> {
    // Of a lost node nobody knows what else it sent.
    let is_known = evidence.nodes_lost == 0 && evidence.missing_batches == 0 && evidence.is_balanced();
    let served = evidence.served.filter(|served| served.sent > 0 && is_known)?;
    let foreign = served.counted.saturating_sub(served.sent);
    let value = share(foreign, served.sent);
    if value <= FOREIGN_LOAD {
        return None;
    }
    let message = format!(
        "the servers counted {} prompts while load ran and {} were sent: somebody else asks them, too",
        served.counted, served.sent
    );
    reason("foreign_load", Status::Suspect, value, FOREIGN_LOAD, message)
}

fn wrong_model(evidence: &TrialEvidence) -> Option<Reason> {
    let count = evidence.other_model_answers;
    let names = &evidence.other_models;
    let named =
        if names.is_empty() { String::new() } else { format!(" ({})", listed(names.iter().map(|name| format!("`{name}`")))) };
    let message = format!(
        "{count} of {} answers say that they are another model's than was asked{named}; if that is meant, {}",
        evidence.completed,
        answers_as(names)
    );
    none_allowed("wrong_model", Status::Invalid, count, message)
}

/// What to write where answers may have these names.
fn answers_as(names: &[String]) -> String {
    if names.is_empty() {
        return "list the names in the recipe's `servers.answers_as`, or give them to `hbnode bench` as `--answers-as`"
            .to_owned();
    }
    // JSON is YAML that no name can break out of.
    let in_recipe = listed(names.iter().map(|name| serde_json::Value::from(name.as_str()).to_string()));
    let words: Vec<_> = names.iter().map(|name| format!("--answers-as {}", launch::shell(name))).collect();
    format!("write `servers: {{answers_as: [{in_recipe}]}}` in the recipe, or `hbnode bench … {}`", words.join(" "))
}

fn listed(texts: impl Iterator<Item = String>) -> String {
    texts.collect::<Vec<_>>().join(", ")
}

fn identical_answers(evidence: &TrialEvidence) -> Option<Reason> {
    let (compared, most) = evidence.alike;
    let value = share(most, compared);
    if !evidence.has_own_prompts || compared < FEWEST_COMPLETED || value <= ALIKE {
        return None;
    }
    let message = format!("{most} of {compared} answers begin alike though every prompt is another");
    reason("identical_answers", Status::Suspect, value, ALIKE, message)
}

/// Only where the protocol can force a length: elsewhere a natural stop is no fault.
fn short_outputs(evidence: &TrialEvidence) -> Option<Reason> {
    let value = share(evidence.output_tokens, evidence.requested_output_tokens);
    if !evidence.can_force_length || evidence.requested_output_tokens == 0 || value >= LEAST_OUTPUT || evidence.output_tokens == 0
    {
        return None;
    }
    let counted = if evidence.has_counted_events {
        "; where the server sent no usage, each event with content counts as one token, however many it holds"
    } else {
        ""
    };
    let message = format!("answers have {} of the tokens that were asked for{counted}", percent(value, LEAST_OUTPUT));
    reason("short_outputs", Status::Suspect, value, LEAST_OUTPUT, message)
}

fn unsteady(evidence: &TrialEvidence) -> Option<Reason> {
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
fn latency_drift(evidence: &TrialEvidence) -> Option<Reason> {
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

fn clock_doubt(evidence: &TrialEvidence) -> Option<Reason> {
    if evidence.clock_bound_seconds <= CLOCK_BOUND_SECONDS {
        return None;
    }
    let message = format!("the nodes' clocks are aligned to {:.0} ms only", evidence.clock_bound_seconds * 1e3);
    reason("clock_doubt", Status::Suspect, evidence.clock_bound_seconds, CLOCK_BOUND_SECONDS, message)
}

fn clock_unknown(evidence: &TrialEvidence) -> Option<Reason> {
    let count = evidence.clocks_unknown;
    let nodes = plural(count.into(), "node");
    let message = format!("the clock of {nodes} is not known: its seconds may stand beside wrong ones of others");
    none_allowed("clock_unknown", Status::Suspect, count.into(), message)
}

/// No latency is touched, because those are of monotonic clocks; what is aligned by wall clocks is.
fn clock_step(evidence: &TrialEvidence) -> Option<Reason> {
    let value = evidence.clock_step_seconds;
    if value <= CLOCK_STEP_SECONDS {
        return None;
    }
    let message = format!("a node's clock was set while load ran, by {:.0} ms at once", value * 1e3);
    reason("clock_step", Status::Suspect, value, CLOCK_STEP_SECONDS, message)
}

fn missing_batches(evidence: &TrialEvidence) -> Option<Reason> {
    let count = evidence.missing_batches;
    none_allowed("missing_batches", Status::Suspect, count, format!("{count} batches never came"))
}

fn gpu_throttled(evidence: &TrialEvidence) -> Option<Reason> {
    let count = evidence.gpus_throttled;
    none_allowed("gpu_throttled", Status::Suspect, count.into(), format!("the clocks of {count} GPUs were held down"))
}

fn interrupted(evidence: &TrialEvidence) -> Option<Reason> {
    let count = u64::from(evidence.is_interrupted);
    none_allowed("interrupted", Status::Suspect, count, "the load was ended before its planned end".to_owned())
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::verdict::{ClosedLoopEvidence, OpenLoopEvidence, ServedEvidence, SteadyEvidence, judge};

    /// A trial that nothing is wrong with.
    pub(in crate::verdict) fn healthy() -> TrialEvidence {
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
            requested_input_tokens: 1_000_000,
            cached_tokens: Some(0),
            has_own_prompts: true,
            alike: (10_000, 3),
            served: Some(ServedEvidence { counted: 10_000, sent: 10_000 }),
            closed_loop: Some(ClosedLoopEvidence { expected: 100.0, mean: 99.0 }),
            steady: Some(SteadyEvidence { completed: [3_000, 3_000], output_tokens: [30_000.0, 30_000.0] }),
            ..TrialEvidence::default()
        }
    }

    /// What is planted gives this reason alone, and what just falls short of it gives none.
    pub(in crate::verdict) fn check(
        code: &str,
        status: Status,
        planted: impl Fn(&mut TrialEvidence),
        spared: impl Fn(&mut TrialEvidence),
    ) {
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
    fn books_that_do_not_balance_are_invalid() {
        check("unbalanced_books", Invalid, |e| e.due += 1, |_| {});
        check("unbalanced_books", Invalid, |e| e.repeated_ends = 1, |_| {});
    }

    #[test]
    fn a_trial_without_an_answer_is_invalid() {
        let codes = |evidence: &TrialEvidence| judge(evidence).reasons.into_iter().map(|reason| reason.code).collect::<Vec<_>>();
        assert_eq!(codes(&TrialEvidence::default()), ["nothing_due"], "what was never due is not missed besides");
        let unanswered = TrialEvidence { due: 40, dropped: 40, ..TrialEvidence::default() };
        assert_eq!(codes(&unanswered), ["nothing_completed"]);
        let without = |count| move |e: &mut TrialEvidence| e.without_token = count;
        check("zero_tokens", Invalid, without(101), without(100));
    }

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
    fn answers_without_a_first_token_are_suspect() {
        let without = |count| move |e: &mut TrialEvidence| e.without_first_token = count;
        check("no_first_token", Suspect, without(101), without(100));
        let mut evidence = healthy();
        (evidence.due, evidence.completed, evidence.without_first_token, evidence.open_loop) = (40, 40, 8, None);
        evidence.served = None;
        let [reason] = judge(&evidence).reasons.try_into().expect("one reason");
        let sentence = "8 of 40 answers came without text that could be timed: it was empty or in a field that is not known";
        assert_eq!((reason.message.as_str(), reason.value), (sentence, 8.0));
    }

    #[test]
    fn errors_are_suspect_from_one_percent_and_invalid_from_ten() {
        let failing = |failed| move |e: &mut TrialEvidence| (e.failed, e.completed) = (failed, 10_000 - failed);
        check("errors", Suspect, failing(101), failing(100));
        check("errors", Suspect, failing(1_000), failing(0));
        check("errors", Invalid, failing(1_001), failing(100));
        let lost = |lost| move |e: &mut TrialEvidence| (e.lost, e.completed) = (lost, 10_000 - lost);
        check("errors", Invalid, lost(2_000), lost(99));
        let given_up = |e: &mut TrialEvidence| (e.cancelled, e.completed) = (2_000, 8_000);
        check("errors", Invalid, given_up, |_| {});
        let stopped = |e: &mut TrialEvidence| (given_up(e), e.is_interrupted = true).1;
        check("interrupted", Suspect, stopped, |_| {});
    }

    #[test]
    fn few_answers_are_suspect() {
        let completed = |count| move |e: &mut TrialEvidence| (e.due, e.completed) = (count, count);
        check("few_samples", Suspect, completed(29), completed(30));
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
    fn short_answers_count_only_where_length_can_be_forced() {
        check("short_outputs", Suspect, |e| e.output_tokens = 97_999, |e| e.output_tokens = 98_000);
        let free = |e: &mut TrialEvidence| (e.output_tokens, e.can_force_length) = (50_000, false);
        check("short_outputs", Suspect, |e| e.output_tokens = 50_000, free);
        let mut evidence = healthy();
        (evidence.output_tokens, evidence.has_counted_events) = (25_000, true);
        let message = judge(&evidence).reasons.remove(0).message;
        assert!(message.contains("25.0 % of the tokens") && message.contains("each event with content counts"), "{message}");
    }

    #[test]
    fn a_closed_loop_with_clients_missing_is_suspect() {
        let mean = |mean| move |e: &mut TrialEvidence| e.closed_loop = Some(ClosedLoopEvidence { expected: 100.0, mean });
        check("concurrency_short", Suspect, mean(89.0), mean(90.0));
    }

    #[test]
    fn a_service_without_one_of_its_servers_is_told() {
        let dead = |e: &mut TrialEvidence| e.dead_servers = vec![DeadServer { server: 1, since_second: 3, failed: 9 }];
        check("dead_server", Invalid, dead, |_| {});
        check("dead_replica", Suspect, |e| e.refused_beside_answers = 3, |e| e.refused_beside_answers = 2);
        let told = |busy| {
            let mut evidence = healthy();
            (evidence.refused_beside_answers, evidence.busy_beside_answers) = (9, busy);
            judge(&evidence).reasons.remove(0).message
        };
        assert!(told(9).contains("503 while others to the same URL were answered: the servers may be overloaded"), "{}", told(9));
        assert!(told(8).contains("answered: behind a balancer a replica may be gone, or"), "{}", told(8));
    }

    #[test]
    fn whom_nobody_asked_is_told() {
        let counted = |counted| move |e: &mut TrialEvidence| e.served = Some(ServedEvidence { counted, sent: 10_000 });
        check("foreign_load", Suspect, counted(10_101), counted(10_100));
        check("foreign_load", Suspect, counted(20_000), counted(5_000));
        check("node_lost", Suspect, |e| (counted(20_000)(e), e.nodes_lost = 1).1, |_| {});
        check("wrong_model", Invalid, |e| e.other_model_answers = 1, |_| {});
    }

    #[test]
    fn another_model_is_named_with_what_to_write_if_it_is_meant() {
        let said = |names: &[&str]| {
            let other_models = names.iter().map(|name| (*name).to_owned()).collect();
            judge(&TrialEvidence { other_model_answers: 3, other_models, ..healthy() }).reasons[0].message.clone()
        };
        assert!(said(&["org/big", "a b\""]).ends_with(
            "than was asked (`org/big`, `a b\"`); if that is meant, write `servers: {answers_as: [\"org/big\", \"a b\\\"\"]}` in the \
             recipe, or `hbnode bench … --answers-as org/big --answers-as 'a b\"'`"
        ), "{}", said(&["org/big", "a b\""]));
        assert!(said(&[]).contains("`servers.answers_as`"), "{}", said(&[]));
    }

    #[test]
    fn answers_that_begin_alike_are_suspect_where_prompts_differ() {
        check("identical_answers", Suspect, |e| e.alike = (100, 51), |e| e.alike = (100, 50));
        check("identical_answers", Suspect, |e| e.alike = (30, 30), |e| e.alike = (29, 29));
        check("identical_answers", Suspect, |e| e.alike = (99, 99), |e| (e.alike, e.has_own_prompts) = ((99, 99), false));
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

    #[test]
    fn clocks_that_are_far_apart_are_suspect() {
        check("clock_doubt", Suspect, |e| e.clock_bound_seconds = 0.051, |e| e.clock_bound_seconds = 0.05);
        check("clock_unknown", Suspect, |e| e.clocks_unknown = 1, |_| {});
        check("clock_step", Suspect, |e| e.clock_step_seconds = 0.011, |e| e.clock_step_seconds = 0.01);
    }

    #[test]
    fn the_worst_reason_stands_first_and_decides() {
        let mut evidence = healthy();
        (evidence.executor_restarts, evidence.servers_exited) = (1, 1);
        let verdict = judge(&evidence);
        assert_eq!((verdict.status, verdict.reasons[0].code.as_str(), verdict.reasons.len()), (Invalid, "server_exited", 2));
    }
}
