//! Whole prompts.

use std::{collections::BTreeSet, num::NonZeroU32};

use proptest::prelude::*;
use serde_json::Map;

use super::*;

fn request(prompt_len: Length, shared_prefix: Option<(u32, u32)>) -> RequestSpec {
    RequestSpec {
        api: Api::Completions,
        stream: true,
        prompt_len,
        gen_tokens: Length::Uniform(3, 9),
        batch: NonZeroU32::MIN,
        shared_prefix: shared_prefix.map(|(groups, tokens)| SharedPrefix { groups: NonZeroU32::new(groups).unwrap(), tokens }),
        turns: None,
        sampling: Map::new(),
    }
}

fn maker(tokens: u32, shared_prefix: Option<(u32, u32)>, seed: u64) -> PromptMaker {
    PromptMaker::new(&request(Length::Fixed(tokens), shared_prefix), seed, Fit::default())
}

/// The ids below `size`.
fn vocabulary(size: u32) -> PromptKind {
    PromptKind::TokenIds { ids: (0..size).collect(), overhead: 0 }
}

fn words(prompt: &Prompt) -> Vec<&str> {
    let Prompt::Text(text) = prompt else { panic!("{prompt:?} is no text") };
    text.split(' ').collect()
}

fn ids(prompt: &Prompt) -> &[u32] {
    let Prompt::TokenIds(ids) = prompt else { panic!("{prompt:?} has no ids") };
    ids
}

proptest! {
    #[test]
    fn a_seed_and_an_index_give_the_same_prompt_always(seed: u64, index: u64, tokens in 1_u32..300) {
        let (one, other) = (maker(tokens, Some((3, 20)), seed), maker(tokens, Some((3, 20)), seed));
        let _elsewhere = other.prompt(index.wrapping_add(1));
        prop_assert_eq!(one.prompt(index), other.prompt(index));
        prop_assert_eq!(one.lengths(index), other.lengths(index));
        prop_assert_eq!(words(&one.prompt(index)).len(), tokens as usize);
    }

    #[test]
    fn no_two_prompts_of_a_trial_are_alike(seed: u64, one: u64, other: u64, tokens in 8_u32..64) {
        prop_assume!(one != other);
        let maker = maker(tokens, None, seed);
        prop_assert_ne!(maker.prompt(one), maker.prompt(other));
        let maker = maker.of_kind(vocabulary(500));
        prop_assert_ne!(maker.prompt(one), maker.prompt(other));
    }

    #[test]
    fn neighbours_differ_in_their_first_word(seed: u64, first in 0..u64::MAX - 256, size in 256_u32..2_000) {
        let words_alone = maker(20, None, seed);
        let begun: BTreeSet<_> =
            (first..first + 256).map(|index| words(&words_alone.prompt(index))[0].to_owned()).collect();
        prop_assert_eq!(begun.len(), 256);
        let as_ids = words_alone.of_kind(vocabulary(size));
        let begun: BTreeSet<_> = (first..first + 200).map(|index| ids(&as_ids.prompt(index))[0]).collect();
        prop_assert!(begun.len() >= 199, "only {} different first ids", begun.len());
    }

    #[test]
    fn a_group_shares_its_prefix_and_nothing_more(seed: u64, group in 0_u64..4, prefix in 1_u32..40, round in 1_u64..200) {
        let maker = maker(64, Some((4, prefix)), seed);
        let (one, other) = (maker.prompt(group), maker.prompt(group + 4 * round));
        let (one, other) = (words(&one), words(&other));
        let shared = one.iter().zip(&other).take_while(|(one, other)| one == other).count();
        // The number's first word may be the same once in 256 of a group's prompts.
        prop_assert!(shared >= prefix as usize && shared <= prefix as usize + 1, "{shared} of {prefix} words");
        let next = maker.prompt(group + 1);
        prop_assert_ne!(&one[..8], &words(&next)[..8]);
    }

    #[test]
    fn token_ids_are_exactly_as_many_and_in_the_vocabulary(seed: u64, index: u64, tokens in 1_u32..200, size in 1_u32..2_000) {
        let maker = maker(tokens, Some((2, 10)), seed).of_kind(vocabulary(size));
        let prompt = maker.prompt(index);
        prop_assert_eq!(ids(&prompt).len(), tokens as usize);
        prop_assert!(ids(&prompt).iter().all(|id| *id < size));
        let sibling = maker.prompt(index ^ 2);
        let shared = (tokens as usize - 1).min(10);
        prop_assert_eq!(&ids(&prompt)[..shared], &ids(&sibling)[..shared]);
    }

    #[test]
    fn lengths_lie_within_their_bounds(seed: u64, index: u64, low in 1_u32..500, span in 0_u32..500, deviation in 0.0..0.9_f64) {
        let drawn = |length| PromptMaker::new(&request(length, None), seed, Fit::default()).lengths(index);
        prop_assert_eq!(drawn(Length::Fixed(low)).prompt_tokens, low);
        let uniform = drawn(Length::Uniform(low, low + span));
        prop_assert!((low..=low + span).contains(&uniform.prompt_tokens));
        prop_assert!((3..=9).contains(&uniform.gen_tokens));
        let (middle, wide) = (f64::from(low), f64::from(span));
        let normal = f64::from(drawn(Length::Normal(middle, wide)).prompt_tokens);
        prop_assert!(normal >= 1.0 && normal <= (middle + 4.0 * wide).round());
        let lognormal = f64::from(drawn(Length::Lognormal(middle, deviation)).prompt_tokens);
        let spread = (4.0 * deviation).exp();
        prop_assert!(lognormal >= (middle / spread).round().max(1.0) && lognormal <= (middle * spread).round());
    }

}

#[test]
fn the_mean_length_is_what_was_asked_for_where_words_have_many_tokens() {
    let fit = Fit { tokens_per_word: 5.0, overhead: 1.0 };
    let maker = PromptMaker::new(&request(Length::Fixed(32), None), 3, fit);
    let counted = |index| match maker.prompt(index) {
        Prompt::Text(text) => text.split(' ').count() as f64 * fit.tokens_per_word + fit.overhead,
        other => panic!("not a text: {other:?}"),
    };
    let mean = (0..200).map(counted).sum::<f64>() / 200.0;
    assert!((mean - 32.0).abs() < 0.1, "{mean}");
}

#[test]
fn drawn_lengths_have_the_asked_middle_and_spread() {
    let draw = |length| {
        let maker = PromptMaker::new(&request(length, None), 7, Fit::default());
        let mut drawn: Vec<u32> = (0..10_000).map(|index| maker.lengths(index).prompt_tokens).collect();
        drawn.sort_unstable();
        let mean = drawn.iter().map(|tokens| f64::from(*tokens)).sum::<f64>() / 10_000.0;
        (mean, drawn[5_000], drawn[8_413])
    };
    let (mean, _, one_above) = draw(Length::Normal(500.0, 50.0));
    assert!((498.0..=502.0).contains(&mean) && (547..=553).contains(&one_above), "{mean} {one_above}");
    let (_, median, one_above) = draw(Length::Lognormal(200.0, 0.5));
    assert!((194..=206).contains(&median) && (318..=342).contains(&one_above), "{median} {one_above}");
    let (mean, median, _) = draw(Length::Uniform(10, 20));
    assert!((14.8..=15.2).contains(&mean) && median == 15, "{mean} {median}");
}

#[test]
fn a_batch_has_prompts_of_its_own() {
    let spec = RequestSpec { batch: NonZeroU32::new(4).unwrap(), ..request(Length::Fixed(12), None) };
    let maker = PromptMaker::new(&spec, 1, Fit::default());
    let all: Vec<_> = (0..50).flat_map(|index| maker.prompts(index)).collect();
    let different: BTreeSet<_> = all.iter().map(|prompt| words(prompt).join(" ")).collect();
    assert_eq!((all.len(), different.len()), (200, 200));
    assert_eq!(maker.prompt(3), maker.prompts(3)[0]);
    let chat = PromptMaker::new(&RequestSpec { api: Api::Chat, ..spec }, 1, Fit::default());
    assert_eq!(chat.prompts(3).len(), 1, "a chat takes one prompt");
}

#[test]
fn no_two_turns_ask_alike_and_only_the_first_shares_a_prefix() {
    let spec = RequestSpec { turns: Some(Length::Uniform(2, 5)), ..request(Length::Fixed(12), Some((1, 8))) };
    let maker = PromptMaker::new(&spec, 1, Fit::default()).of_kind(vocabulary(9));
    let turns: BTreeSet<_> = (0..50).map(|conversation| maker.turns(conversation)).collect();
    assert_eq!(turns, (2..=5).collect());
    let question = |conversation, turn| words(&maker.question(conversation, turn).0).join(" ");
    let all: BTreeSet<_> = (0..50).flat_map(|at| (0..5).map(move |turn| question(at, turn))).collect();
    assert_eq!(all.len(), 250);
    let beginning = |text: String| text.split(' ').take(8).collect::<Vec<_>>().join(" ");
    assert_eq!(beginning(question(0, 0)), beginning(question(1, 0)));
    assert_ne!(beginning(question(0, 1)), beginning(question(1, 1)));
    assert_eq!(PromptMaker::new(&request(Length::Fixed(12), None), 1, Fit::default()).turns(3), 1);
}

#[test]
fn trials_with_different_seeds_share_no_prompt() {
    let all: BTreeSet<_> =
        (0..20).flat_map(|seed| (0..100).map(move |index| words(&maker(32, None, seed).prompt(index))[..16].join(" "))).collect();
    assert_eq!(all.len(), 2_000);
}

#[test]
fn only_completions_are_asked_by_token_ids() {
    let kind = vocabulary(100);
    let chat = RequestSpec { api: Api::Chat, ..request(Length::Fixed(3), None) };
    assert!(matches!(PromptMaker::new(&chat, 1, Fit::default()).of_kind(kind.clone()).prompt(0), Prompt::Text(_)));
    assert!(matches!(maker(3, None, 1).of_kind(kind).prompt(0), Prompt::TokenIds(_)));
}

#[test]
fn a_seed_gives_the_same_prompt_in_later_versions() {
    let prompt = maker(12, Some((2, 3)), 42).prompt(1);
    insta::assert_snapshot!(words(&prompt).join(" "));
}

#[test]
fn prompts_are_alike_as_far_as_their_blocks_are() {
    let maker = maker(1, None, 5);
    let (one, other) = (maker.of_blocks(&[7, 8, 9], 16, 40), maker.of_blocks(&[7, 8, 4], 16, 48));
    let (one, other) = (words(&one), words(&other));
    assert_eq!((one.len(), other.len()), (40, 48));
    assert_eq!(one[..32], other[..32]);
    assert_ne!(one[32..], other[32..40]);
    let kind = vocabulary(1000);
    let maker = maker.of_kind(kind);
    let (one, other) = (maker.of_blocks(&[7, 8, 9], 16, 40), maker.of_blocks(&[7, 8, 4], 16, 48));
    assert_eq!((ids(&one).len(), ids(&other).len()), (40, 48));
    assert_eq!(ids(&one)[..32], ids(&other)[..32]);
    assert_ne!(ids(&one)[32..], ids(&other)[32..40]);
}

#[test]
fn what_the_server_adds_is_part_of_the_asked_length() {
    let table: Vec<u32> = (100..200).collect();
    let counting =
        Counting { by: LengthsBy::Tokenize, tokens_per_word: 1.0, overhead: 3, api: Api::Completions, ids: table, words: None };
    let spec = request(Length::Fixed(12), Some((2, 30)));
    let prompt = PromptMaker::counted(&spec, 1, Some(&counting)).prompt(7);
    assert!(ids(&prompt).len() == 9 && ids(&prompt).iter().all(|id| (100..200).contains(id)), "{prompt:?}");
    let blocks = PromptMaker::counted(&spec, 1, Some(&counting)).of_blocks(&[7, 8, 9], 16, 40);
    assert_eq!(ids(&blocks).len(), 37);
    let as_text = Counting { ids: Vec::new(), ..counting };
    assert_eq!(words(&PromptMaker::counted(&spec, 1, Some(&as_text)).prompt(7)).len(), 9);
    assert_eq!(words(&PromptMaker::counted(&spec, 1, None).prompt(7)).len(), 12);
}
