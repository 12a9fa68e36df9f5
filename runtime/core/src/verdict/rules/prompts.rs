//! The rules about prompts: whether they had the length that was asked, and whether servers could answer them from a cache.

use super::{Reason, Status, TrialEvidence, percent, reason, share};

/// Prompt tokens served over those asked for, off by more than this.
const PROMPT_OFF: f64 = 0.02;
/// Share of prompt tokens from the prefix cache where prompts were not meant to begin alike. Chat templates
/// begin alike by themselves, hence not zero.
const CACHE_HIT: f64 = 0.05;

pub(super) fn prompt_length(evidence: &TrialEvidence) -> Option<Reason> {
    if evidence.requested_input_tokens == 0 || evidence.input_tokens == 0 {
        return None;
    }
    let off = (share(evidence.input_tokens, evidence.requested_input_tokens) - 1.0).abs();
    if off <= PROMPT_OFF {
        return None;
    }
    let message = format!(
        "prompts had {} tokens by the server's count and {} were asked for",
        evidence.input_tokens, evidence.requested_input_tokens
    );
    reason("prompt_length", Status::Suspect, off, PROMPT_OFF, message)
}

pub(super) fn prefix_cache(evidence: &TrialEvidence) -> Option<Reason> {
    let value = share(evidence.cached_tokens?, evidence.input_tokens);
    if evidence.has_shared_prefix || value <= CACHE_HIT {
        return None;
    }
    let message =
        format!("{} of the prompt tokens came from the server's cache, and none were meant to", percent(value, CACHE_HIT));
    reason("prefix_cache", Status::Suspect, value, CACHE_HIT, message)
}

/// A prompt that was sent before may be answered from the prefix cache, unless the servers say that theirs did not help.
pub(super) fn repeated_prompts(evidence: &TrialEvidence) -> Option<Reason> {
    let dataset = evidence.dataset?;
    let value = dataset.repeated_share();
    let cached = evidence.cached_tokens.filter(|_| evidence.input_tokens > 0);
    let cached = cached.map(|cached| share(cached, evidence.input_tokens));
    if value <= CACHE_HIT || cached.is_some_and(|cached| cached <= CACHE_HIT) {
        return None;
    }
    let helped = match cached {
        Some(cached) => format!("{} of the prompt tokens came from the server's cache", percent(cached, CACHE_HIT)),
        None => "the server's prefix cache may have helped, and nobody tells".to_owned(),
    };
    reason("repeated_prompts", Status::Suspect, value, CACHE_HIT, format!("{}; {helped}", dataset.sentence()?))
}

#[cfg(test)]
mod tests {
    use super::{
        super::tests::{check, healthy},
        Status::Suspect,
        *,
    };
    use crate::{report::DatasetFigures, verdict::judge};

    #[test]
    fn prompts_of_another_length_are_suspect() {
        check("prompt_length", Suspect, |e| e.input_tokens = 1_021_000, |e| e.input_tokens = 1_019_000);
        check("prompt_length", Suspect, |e| e.input_tokens = 900_000, |e| e.requested_input_tokens = 0);
    }

    #[test]
    fn a_cache_hit_is_suspect_where_none_was_meant() {
        check("prefix_cache", Suspect, |e| e.cached_tokens = Some(51_000), |e| e.cached_tokens = Some(50_000));
        let meant = |e: &mut TrialEvidence| (e.cached_tokens, e.has_shared_prefix) = (Some(900_000), true);
        check("prefix_cache", Suspect, |e| e.cached_tokens = Some(900_000), meant);
    }

    #[test]
    fn prompts_that_are_sent_again_are_suspect_unless_no_cache_helped() {
        let repeated = |repeated, cached| {
            move |e: &mut TrialEvidence| {
                let figures = DatasetFigures { entries: 3, most_often: 20, requests: 100, repeated, ..Default::default() };
                (e.dataset, e.has_shared_prefix, e.cached_tokens) = (Some(figures), true, cached);
            }
        };
        check("repeated_prompts", Suspect, repeated(6, None), repeated(5, None));
        check("repeated_prompts", Suspect, repeated(90, Some(51_000)), repeated(90, Some(50_000)));
        let said = |cached| {
            let mut evidence = healthy();
            repeated(90, cached)(&mut evidence);
            judge(&evidence).reasons[0].message.clone()
        };
        assert!(
            said(None)
                .ends_with("measured requests repeat a prompt; the server's prefix cache may have helped, and nobody tells")
        );
        assert!(said(Some(900_000)).ends_with("; 90.0 % of the prompt tokens came from the server's cache"));
    }
}
