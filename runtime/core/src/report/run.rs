//! The whole run from its trials.

use super::{Report, RunSummary, SCHEMA_VERSION, TrialReport};
use crate::{
    search,
    units::TrialId,
    verdict::{Reason, Status, Verdict},
};

/// The report of a run. Its verdict is its worst trial's; no finished trial is INVALID, and one that was ended before its
/// window takes nothing from those that are whole. A probe of a search that missed the
/// SLO is a finding: of a search its answer counts.
#[must_use]
pub fn run(summary: RunSummary, trials: Vec<TrialReport>, warnings: Vec<String>) -> Report {
    let searches = search::answers(&trials);
    let has_whole = trials.iter().any(|trial| trial.complete);
    let plain = trials.iter().filter(|trial| trial.probe.is_none()).flat_map(|trial| told(trial, has_whole));
    let mut verdict = Verdict::of(plain.chain(searches.iter().flat_map(|search| search.reasons(&trials))).collect());
    if !has_whole {
        let message = match &summary.incomplete_reason {
            Some(why) => format!("no trial was finished: {why}"),
            None => "no trial was finished".to_owned(),
        };
        let none = Reason { code: "no_finished_trial".to_owned(), status: Status::Invalid, message, value: 0.0, limit: 1.0 };
        verdict.reasons.insert(0, none);
        verdict.status = Status::Invalid;
    }
    let repeated = super::repeated::of(&trials);
    Report { schema_version: SCHEMA_VERSION.to_owned(), run: summary, verdict, trials, searches, repeated, warnings }
}

/// The trials of the recipe that are finished: those that ran to their end, and searches that are over.
#[must_use]
pub fn finished(trials: &[TrialReport]) -> Vec<TrialId> {
    let plain = trials.iter().filter(|trial| trial.complete && trial.probe.is_none()).map(|trial| trial.id.clone());
    let searches = search::answers(trials).into_iter().filter(search::SearchReport::is_over);
    plain.chain(searches.map(|search| search.id)).collect()
}

/// A trial's reasons, each with the trial's name; what was not measured beside whole trials is no fault of these.
fn told(trial: &TrialReport, has_whole: bool) -> impl Iterator<Item = Reason> {
    let is_left_out = has_whole && trial.is_unmeasured();
    let reasons = trial.verdict.reasons.iter().filter(move |reason| !(is_left_out && reason.code == "nothing_due"));
    reasons.map(move |reason| {
        let left_out = if is_left_out && reason.code == "interrupted" { "not measured, " } else { "" };
        Reason { message: format!("{}: {left_out}{}", trial.id, reason.message), ..reason.clone() }
    })
}

impl TrialReport {
    /// Whether the load was ended before anything was measured.
    #[must_use]
    pub fn is_unmeasured(&self) -> bool {
        !self.complete && self.accounting.due == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ended(complete: bool, status: Status) -> TrialReport {
        let reason = Reason { code: "c".into(), status, message: "m".into(), value: 1.0, limit: 0.0 };
        let reasons = if status == Status::Valid { Vec::new() } else { vec![reason] };
        TrialReport { id: "t".into(), complete, verdict: Verdict { status, reasons }, ..TrialReport::default() }
    }

    #[test]
    fn a_trial_that_was_ended_before_its_window_takes_nothing_from_those_that_are_whole() {
        let reason = |code: &str, status| Reason { code: code.into(), status, message: "m".into(), value: 1.0, limit: 0.0 };
        let reasons = vec![reason("nothing_due", Status::Invalid), reason("interrupted", Status::Suspect)];
        let cut = TrialReport { verdict: Verdict::of(reasons), ..ended(false, Status::Valid) };
        let codes = |trials: Vec<TrialReport>| {
            let verdict = run(RunSummary::default(), trials, Vec::new()).verdict;
            (verdict.status, verdict.reasons.into_iter().map(|reason| reason.code).collect::<Vec<_>>())
        };
        let whole = ended(true, Status::Valid);
        assert_eq!(codes(vec![whole.clone(), cut.clone()]), (Status::Suspect, vec!["interrupted".to_owned()]));
        assert_eq!(codes(vec![cut.clone()]).0, Status::Invalid);
        let mut begun = cut;
        begun.accounting.due = 1;
        assert_eq!(codes(vec![whole, begun]).0, Status::Invalid);
    }

    fn check(trials: Vec<TrialReport>, expected: Status) {
        assert_eq!(run(RunSummary::default(), trials, Vec::new()).verdict.status, expected);
    }

    #[test]
    fn the_worst_trial_decides_and_no_finished_trial_is_invalid() {
        check(vec![ended(true, Status::Valid), ended(true, Status::Valid)], Status::Valid);
        check(vec![ended(true, Status::Suspect), ended(true, Status::Valid)], Status::Suspect);
        check(vec![ended(true, Status::Valid), ended(true, Status::Invalid)], Status::Invalid);
        check(vec![ended(false, Status::Suspect)], Status::Invalid);
        check(Vec::new(), Status::Invalid);
    }
}
