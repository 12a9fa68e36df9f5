//! The rules about prompts: whether they had the length that was asked, and whether servers could answer them from a cache.

use super::{Reason, Status, TrialEvidence, percent, reason, share};
use crate::{counting::LengthsBy, verdict::PromptsEvidence};

/// Prompt tokens served over those asked for, off by more than this.
const PROMPT_OFF: f64 = 0.02;
/// Share of prompt tokens from the prefix cache where prompts were not meant to begin alike. Chat templates
/// begin alike by themselves, hence not zero.
pub(crate) const CACHE_HIT: f64 = 0.05;

pub(super) fn prompt_length(evidence: &TrialEvidence) -> Option<Reason> {
    let prompts = evidence.prompts?;
    let off = |served| (share(served, prompts.asked) - 1.0).abs();
    // A tokenizer may put one token before each prompt.
    let excess = prompts.served.saturating_sub(prompts.asked).min(prompts.prompts);
    if prompts.asked == 0 || off(prompts.served - excess) <= PROMPT_OFF {
        return None;
    }
    let message = format!(
        "prompts had {} tokens by the server's count and {} were asked for{}",
        prompts.served,
        prompts.asked,
        why_off(&prompts)
    );
    reason("prompt_length", Status::Suspect, off(prompts.served), PROMPT_OFF, message)
}

/// What was known when prompts were made, where it explains that their lengths are off.
fn why_off(prompts: &PromptsEvidence) -> String {
    match prompts.learned_with {
        _ if prompts.lengths_by == LengthsBy::Words => {
            "; before the load the server told nothing of its tokens, and a word stood for one".to_owned()
        }
        Some(api) => {
            format!("; their lengths were learned with `{api}`, which does not tell what the server puts around these")
        }
        // One word stands in every prompt.
        None if prompts.served > prompts.asked && prompts.shortest <= prompts.overhead => format!(
            "; the server puts {} around each of them, and the shortest were to have {} in all",
            prompts.overhead, prompts.shortest
        ),
        None => String::new(),
    }
}

/// What is known of the prompt tokens that came from a cache.
struct Cached {
    /// Their share: of measured requests where the answers tell, else of all from the warm-up on.
    share: f64,
    /// The highest share that those of measured requests may have.
    at_most: f64,
    /// The share in words.
    said: String,
}

fn cached(evidence: &TrialEvidence) -> Option<Cached> {
    if let Some(cached) = evidence.cached_tokens.filter(|_| evidence.input_tokens > 0) {
        let value = share(cached, evidence.input_tokens);
        let said = format!("{} of the prompt tokens came from the server's cache", percent(value, CACHE_HIT));
        return Some(Cached { share: value, at_most: value, said });
    }
    let told = evidence.prefix_cache?;
    let value = told.counted.share();
    // All that was found may have been found for the measured ones. Where nothing was, no share of them is needed.
    let at_most = if told.counted.hits == 0 { 0.0 } else { value / told.measured_share.clamp(0.0, 1.0) };
    let said = percent(value, CACHE_HIT);
    let said = format!("{said} of the prompt tokens came from the server's cache, by its own counters and warm-up included");
    Some(Cached { share: value, at_most, said })
}

pub(super) fn prefix_cache(evidence: &TrialEvidence) -> Option<Reason> {
    let cached = cached(evidence)?;
    if evidence.has_shared_prefix || cached.share <= CACHE_HIT {
        return None;
    }
    let (value, message) = (cached.share, format!("{}, and none were meant to", cached.said));
    reason("prefix_cache", Status::Suspect, value, CACHE_HIT, message)
}

/// A prompt that was sent before may be answered from the prefix cache, unless the servers say that theirs did not help.
pub(super) fn repeated_prompts(evidence: &TrialEvidence) -> Option<Reason> {
    let dataset = evidence.dataset?;
    let value = dataset.repeated_share();
    let cached = cached(evidence);
    if value <= CACHE_HIT || cached.as_ref().is_some_and(|cached| cached.at_most <= CACHE_HIT) {
        return None;
    }
    let nobody = || "the server's prefix cache may have helped, and nobody tells".to_owned();
    let helped = cached.map_or_else(nobody, |cached| cached.said);
    reason("repeated_prompts", Status::Suspect, value, CACHE_HIT, format!("{}; {helped}", dataset.sentence()?))
}

#[cfg(test)]
mod tests {
    use super::{
        super::tests::{check, healthy},
        Status::Suspect,
        *,
    };
    use crate::{
        counted::PrefixCache,
        report::DatasetFigures,
        trial::Api,
        verdict::{PrefixCacheEvidence, judge},
    };

    #[test]
    fn prompts_of_another_length_are_suspect() {
        let of = |served, asked| {
            move |e: &mut TrialEvidence| e.prompts = Some(PromptsEvidence { prompts: 1_000, served, asked, ..known() })
        };
        // A further token for each of them is as asked.
        check("prompt_length", Suspect, of(103_100, 100_000), of(102_900, 100_000));
        check("prompt_length", Suspect, of(97_900, 100_000), of(98_100, 100_000));
        check("prompt_length", Suspect, of(900_000, 1_000_000), |e| e.prompts = None);
        check("prompt_length", Suspect, of(0, 1_000), of(1_000, 0));
    }

    /// What is known of prompts that are as they were to be.
    fn known() -> PromptsEvidence {
        let lengths_by = LengthsBy::Usage;
        PromptsEvidence { prompts: 100, asked: 1_600, served: 1_600, shortest: 16, lengths_by, overhead: 0, learned_with: None }
    }

    #[test]
    fn both_counts_are_told_and_what_explains_them() {
        let told = |prompts| {
            let reasons = judge(&TrialEvidence { prompts: Some(prompts), ..healthy() }).reasons;
            reasons.first().map(|reason| (reason.value, reason.message.clone()))
        };
        let check = |prompts: PromptsEvidence, value, why: &str| {
            let counts = format!("prompts had {} tokens by the server's count and 1600 were asked for", prompts.served);
            assert_eq!(told(prompts), Some((value, format!("{counts}{why}"))));
        };
        assert_eq!(told(known()), None);
        let longer = PromptsEvidence { served: 2_400, ..known() };
        check(longer, 0.5, "");
        check(PromptsEvidence { served: 800, overhead: 40, ..known() }, 0.5, "");
        let words = PromptsEvidence { lengths_by: LengthsBy::Words, ..longer };
        check(words, 0.5, "; before the load the server told nothing of its tokens, and a word stood for one");
        let other = PromptsEvidence { learned_with: Some(Api::Completions), ..longer };
        let why = "; their lengths were learned with `completions`, which does not tell what the server puts around these";
        check(other, 0.5, why);
        let short = PromptsEvidence { overhead: 23, ..longer };
        check(short, 0.5, "; the server puts 23 around each of them, and the shortest were to have 16 in all");
        check(PromptsEvidence { overhead: 15, ..longer }, 0.5, "");
    }

    #[test]
    fn a_cache_hit_is_suspect_where_none_was_meant() {
        check("prefix_cache", Suspect, |e| e.cached_tokens = Some(51_000), |e| e.cached_tokens = Some(50_000));
        let meant = |e: &mut TrialEvidence| (e.cached_tokens, e.has_shared_prefix) = (Some(900_000), true);
        check("prefix_cache", Suspect, |e| e.cached_tokens = Some(900_000), meant);
    }

    /// What the counters say where the answers say nothing.
    fn counted(queries: u64, hits: u64, measured_share: f64) -> impl Fn(&mut TrialEvidence) + Copy {
        move |e| {
            let told = PrefixCacheEvidence { counted: PrefixCache { queries, hits }, measured_share };
            (e.cached_tokens, e.prefix_cache) = (None, Some(told));
        }
    }

    #[test]
    fn counters_tell_of_a_cache_hit_where_answers_do_not() {
        check("prefix_cache", Suspect, counted(1_000_000, 51_000, 1.0), counted(1_000_000, 50_000, 1.0));
        // Its share is that of all requests, and more than that is not claimed of the measured ones.
        check("prefix_cache", Suspect, counted(1_000_000, 51_000, 0.5), counted(1_000_000, 49_000, 0.5));
        let answers = |e: &mut TrialEvidence| (counted(1_000_000, 900_000, 1.0)(e), e.cached_tokens = Some(0)).1;
        check("prefix_cache", Suspect, counted(100, 90, 1.0), answers);
        let mut evidence = healthy();
        counted(1_000, 123, 1.0)(&mut evidence);
        assert_eq!(
            judge(&evidence).reasons[0].message,
            "12.3 % of the prompt tokens came from the server's cache, by its own counters and warm-up included, and none were \
             meant to"
        );
    }

    #[test]
    fn counters_spare_prompts_that_are_sent_again_where_no_measured_one_can_have_been_helped_much() {
        let repeated = |queries, hits, measured_share| {
            move |e: &mut TrialEvidence| {
                counted(queries, hits, measured_share)(e);
                let figures = DatasetFigures { entries: 3, most_often: 20, requests: 100, repeated: 90, ..Default::default() };
                (e.dataset, e.has_shared_prefix) = (Some(figures), true);
            }
        };
        check("repeated_prompts", Suspect, repeated(1_000, 51, 1.0), repeated(1_000, 50, 1.0));
        // Half of the requests were warm-up, and nobody knows in which half the hits were.
        check("repeated_prompts", Suspect, repeated(1_000, 26, 0.5), repeated(1_000, 25, 0.5));
        // A cache that is turned off is not asked, and no requests have no share.
        check("repeated_prompts", Suspect, repeated(1_000, 1, 0.0), repeated(0, 0, 0.0));
        let mut evidence = healthy();
        repeated(1_000, 900, 1.0)(&mut evidence);
        let message = &judge(&evidence).reasons[0].message;
        assert!(
            message.ends_with(
                "; 90.0 % of the prompt tokens came from the server's cache, by its own counters and warm-up included"
            ),
            "{message}"
        );
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
