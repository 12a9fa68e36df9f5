//! Whether the answers were those that were asked for.

use super::books::{ERRORS_SUSPECT, FEWEST_COMPLETED};
use super::{none_allowed, percent, reason, share};
use crate::{
    figures, launch,
    units::plural,
    verdict::{Reason, Status, TrialEvidence},
};

/// Share of the asked answer tokens that came.
const LEAST_OUTPUT: f64 = 0.98;
/// Share of the streamed answers that came at once.
const AT_ONCE: f64 = 0.5;
/// The median time to the first token up to which answers may come at once by themselves.
const QUICK_SECONDS: f64 = 0.01;
/// Share of answers that begin alike though their prompts differ.
const ALIKE: f64 = 0.5;

pub(super) fn zero_tokens(evidence: &TrialEvidence) -> Option<Reason> {
    let value = share(evidence.without_token, evidence.due);
    if value <= ERRORS_SUSPECT {
        return None;
    }
    let message = format!("{} of {} requests were answered whole without a single token", evidence.without_token, evidence.due);
    reason("zero_tokens", Status::Invalid, value, ERRORS_SUSPECT, message)
}

/// Without it a latency is missing, or is that of the other answers.
pub(super) fn no_first_token(evidence: &TrialEvidence) -> Option<Reason> {
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

/// A time to the first token that is the whole answer's, and no time per token: streaming was asked for and something held the
/// answers back. Quick ones are not judged, as their events may be read together by chance.
pub(super) fn not_streamed(evidence: &TrialEvidence) -> Option<Reason> {
    let (several, at_once) = evidence.at_once;
    let value = share(at_once, several);
    let waited = evidence.ttft_p50_seconds.filter(|seconds| *seconds > QUICK_SECONDS)?;
    // Of answers that are short for the most part the others say little.
    if value <= AT_ONCE || several * 2 <= evidence.completed {
        return None;
    }
    let message = format!(
        "{at_once} of {several} streamed answers came all at once, {} after they were asked (p50): something between client and \
         server may hold answers back, such as a proxy that buffers. TTFT is then the time of the whole answer, and TPOT says nothing",
        figures::seconds(waited)
    );
    reason("not_streamed", Status::Suspect, value, AT_ONCE, message)
}

/// Only where the protocol can force a length: elsewhere a natural stop is no fault.
pub(super) fn short_outputs(evidence: &TrialEvidence) -> Option<Reason> {
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

pub(super) fn wrong_model(evidence: &TrialEvidence) -> Option<Reason> {
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

pub(super) fn identical_answers(evidence: &TrialEvidence) -> Option<Reason> {
    let (compared, most) = evidence.alike;
    let value = share(most, compared);
    if !evidence.has_own_prompts || compared < FEWEST_COMPLETED || value <= ALIKE {
        return None;
    }
    let message = format!("{most} of {compared} answers begin alike though every prompt is another");
    reason("identical_answers", Status::Suspect, value, ALIKE, message)
}

#[cfg(test)]
mod tests {
    use super::{
        super::tests::{check, healthy},
        Status::Suspect,
        *,
    };
    use crate::verdict::judge;

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
    fn answers_that_something_holds_back_are_suspect() {
        let held = |of: (u64, u64)| move |e: &mut TrialEvidence| e.at_once = of;
        check("not_streamed", Suspect, held((10_000, 5_001)), held((10_000, 5_000)));
        let quick = |e: &mut TrialEvidence| (e.at_once, e.ttft_p50_seconds) = ((10_000, 10_000), Some(0.01));
        check("not_streamed", Suspect, held((5_001, 5_001)), quick);
        // A few long answers among many short ones.
        check("not_streamed", Suspect, held((5_001, 5_001)), held((5_000, 5_000)));
        let mut evidence = healthy();
        (evidence.at_once, evidence.ttft_p50_seconds) = ((6_000, 5_999), Some(1.234));
        let message = judge(&evidence).reasons.remove(0).message;
        assert!(
            message.starts_with("5999 of 6000 streamed answers came all at once, 1.23 s after they were asked (p50)"),
            "{message}"
        );
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
}
