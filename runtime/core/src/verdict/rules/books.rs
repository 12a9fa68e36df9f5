//! Whether all that was due is accounted for, and what broke while load ran.

use super::{none_allowed, of_some, percent, reason, share};
use crate::{
    units::plural,
    verdict::{Reason, Status, TrialEvidence},
};

/// Share of due requests that failed, ran into a deadline, were given up or were lost.
pub(crate) const ERRORS_SUSPECT: f64 = 0.01;
/// Percentiles over what is left then say nothing of the service.
const ERRORS_INVALID: f64 = 0.10;
/// Below this many answers even a median is a guess.
pub(super) const FEWEST_COMPLETED: u64 = 30;

pub(super) fn unbalanced_books(evidence: &TrialEvidence) -> Option<Reason> {
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

pub(super) fn nothing_due(evidence: &TrialEvidence) -> Option<Reason> {
    if evidence.due > 0 {
        return None;
    }
    // A closed loop asks anew only once it is answered.
    let waiting = if evidence.is_interrupted {
        ": the load was ended before".to_owned()
    } else if evidence.in_flight_mean > 0.0 {
        let waiting = evidence.in_flight_mean;
        format!(": {waiting:.1} of before were in flight all the while; make `duration` longer than answers take")
    } else {
        String::new()
    };
    reason("nothing_due", Status::Invalid, 0.0, 1.0, format!("no request was due in the measured window{waiting}"))
}

pub(super) fn nothing_completed(evidence: &TrialEvidence) -> Option<Reason> {
    if evidence.completed > 0 || evidence.due == 0 {
        return None;
    }
    reason("nothing_completed", Status::Invalid, 0.0, 1.0, format!("none of {} requests was answered", evidence.due))
}

pub(super) fn errors(evidence: &TrialEvidence) -> Option<Reason> {
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

pub(super) fn few_samples(evidence: &TrialEvidence) -> Option<Reason> {
    if evidence.completed == 0 || evidence.completed >= FEWEST_COMPLETED {
        return None;
    }
    let message = format!("{} answers are too few for percentiles", evidence.completed);
    reason("few_samples", Status::Suspect, evidence.completed as f64, FEWEST_COMPLETED as f64, message)
}

pub(super) fn executor_restarted(evidence: &TrialEvidence) -> Option<Reason> {
    let count = evidence.executor_restarts;
    none_allowed(
        "executor_restarted",
        Status::Suspect,
        count.into(),
        format!("{} an executor failed while load ran", plural(count.into(), "time")),
    )
}

pub(super) fn node_lost(evidence: &TrialEvidence) -> Option<Reason> {
    let count = evidence.nodes_lost;
    none_allowed("node_lost", Status::Suspect, count.into(), format!("{} lost while load ran", of_some(count, "node")))
}

pub(super) fn missing_batches(evidence: &TrialEvidence) -> Option<Reason> {
    let count = evidence.missing_batches;
    none_allowed("missing_batches", Status::Suspect, count, format!("{count} batches never came"))
}

pub(super) fn interrupted(evidence: &TrialEvidence) -> Option<Reason> {
    let count = u64::from(evidence.is_interrupted);
    none_allowed("interrupted", Status::Suspect, count, "the load was ended before its planned end".to_owned())
}

#[cfg(test)]
mod tests {
    use super::{
        super::tests::check,
        Status::{Invalid, Suspect},
        *,
    };
    use crate::verdict::judge;

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
}
