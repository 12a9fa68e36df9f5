//! Prompts for the load path: made from a seed and a request's index, and from nothing else.
//!
//! ```text
//!   shared prefix of the group (if any) │ number: 8 words, no two prompts alike │ random words
//! ```
//!
//! The same seed and index give the same prompt on every node. Different indices give different ones that differ in
//! their first words already, so that no prefix cache helps by accident.

mod words;

use hb_core::trial::{Api, Length, RequestSpec, SharedPrefix};
use rand_distr::{Distribution as _, LogNormal, Normal};
use rand_pcg::{
    Pcg64,
    rand_core::{Rng as _, SeedableRng as _},
};

use self::words::WORDS;
use crate::protocol::Prompt;

/// Drawn lengths lie within so many standard deviations: no single draw may fill the memory.
const DEVIATIONS: f64 = 4.0;

/// How text becomes tokens on a server: `tokens = overhead + tokens_per_word × words`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Fit {
    /// Tokens of one word and the blank before it.
    pub tokens_per_word: f64,
    /// Tokens of every prompt: the beginning-of-text mark, a chat's template.
    pub overhead: f64,
}

impl Default for Fit {
    /// What holds roughly for the usual tokenizers, until the server's own counts are seen.
    fn default() -> Self {
        Self { tokens_per_word: 1.0, overhead: 0.0 }
    }
}

impl Fit {
    /// The line through two prompts, each given by its words and the tokens that the server counted. `None` where they
    /// tell nothing: the same number of words, or no more tokens for more words.
    #[must_use]
    pub fn from_two(one: (u32, u32), other: (u32, u32)) -> Option<Self> {
        let ((words, tokens), (more_words, more_tokens)) = if one.0 <= other.0 { (one, other) } else { (other, one) };
        if more_words == words || more_tokens <= tokens {
            return None;
        }
        let tokens_per_word = f64::from(more_tokens - tokens) / f64::from(more_words - words);
        Some(Self { tokens_per_word, overhead: f64::from(tokens) - tokens_per_word * f64::from(words) })
    }

    /// The words whose tokens come nearest to `tokens`; at least one.
    #[must_use]
    pub fn words_for(&self, tokens: u32) -> u32 {
        // A float becomes an integer by saturation; a NaN becomes zero, and then one.
        (((f64::from(tokens) - self.overhead) / self.tokens_per_word).round() as u32).max(1)
    }

    /// The words for the prompt of this number: rounded down or up so often that the mean over many prompts is what
    /// was asked for. A prompt of 32 tokens may be six words and a half.
    fn words_on_average(&self, tokens: u32, number: u64) -> u32 {
        // Multiples of the golden ratio fall evenly between two whole numbers, however few or many are taken.
        let share = (number as f64 * GOLDEN_RATIO).fract();
        (((f64::from(tokens) - self.overhead) / self.tokens_per_word + share).floor() as u32).max(1)
    }
}

/// Odd, and without a pattern in its digits: two to the 64th over the golden ratio.
const SPREADING: u64 = 0x9e37_79b9_7f4a_7c15;
/// Its fractional part is all that counts here.
const GOLDEN_RATIO: f64 = 0.618_033_988_749_894_9;

/// No draw makes a conversation longer: each of its turns carries all before it.
const MOST_TURNS: u32 = 1_000;

/// Words in the text of [`probe`].
pub const PROBE_WORDS: u32 = 256;

/// Every word that prompts are made of, once, in an order that depends on the seed. A server's count of its tokens is what
/// a word of a prompt has on average.
#[must_use]
pub fn probe(seed: u64) -> String {
    let mut shuffled: Vec<u8> = (0..=u8::MAX).collect();
    let mut random = seeded(!seed, Use::Text, 0);
    for left in (1..shuffled.len()).rev() {
        shuffled.swap(left, below(random.next_u64(), left as u32 + 1) as usize);
    }
    let mut text = String::with_capacity(shuffled.len() * 6);
    shuffled.into_iter().for_each(|byte| push_word(&mut text, byte));
    text
}

/// What prompts are made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum PromptKind {
    /// Words.
    #[default]
    Words,
    /// Token ids below `vocabulary`, exactly as many as asked for. Only `/v1/completions` takes them; other operations
    /// get words.
    TokenIds {
        /// How many ids the model has.
        vocabulary: u32,
    },
}

/// What a request asks for in tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lengths {
    /// Tokens of each of its prompts, a shared prefix included.
    pub prompt_tokens: u32,
    /// Tokens of each of its answers.
    pub gen_tokens: u32,
}

/// Makes the prompts of a trial.
#[derive(Debug, Clone)]
pub struct PromptMaker {
    prompt_len: Length,
    gen_tokens: Length,
    api: Api,
    batch: u32,
    shared_prefix: Option<SharedPrefix>,
    turns: Option<Length>,
    seed: u64,
    fit: Fit,
    kind: PromptKind,
}

/// What random numbers are for; each use has its own sequence.
#[derive(Debug, Clone, Copy)]
enum Use {
    PromptLength,
    GenTokens,
    Prefix,
    Text,
    Mark,
    Turns,
}

impl PromptMaker {
    /// The prompts of requests like `request`, made of words.
    #[must_use]
    pub fn new(request: &RequestSpec, seed: u64, fit: Fit) -> Self {
        Self {
            prompt_len: request.prompt_len,
            gen_tokens: request.gen_tokens,
            api: request.api,
            // The other operations take one prompt.
            batch: if request.api == Api::Completions { request.batch.get() } else { 1 },
            shared_prefix: request.shared_prefix,
            turns: request.turns,
            seed,
            fit,
            kind: PromptKind::Words,
        }
    }

    /// The same, made of something else.
    #[must_use]
    pub fn of_kind(self, kind: PromptKind) -> Self {
        // A conversation goes on with the text of answers.
        let takes_ids = self.api == Api::Completions && self.turns.is_none();
        Self { kind: if takes_ids { kind } else { PromptKind::Words }, ..self }
    }

    /// What request `index` asks for.
    #[must_use]
    pub fn lengths(&self, index: u64) -> Lengths {
        Lengths {
            prompt_tokens: draw(self.prompt_len, &mut self.random(Use::PromptLength, index)),
            gen_tokens: draw(self.gen_tokens, &mut self.random(Use::GenTokens, index)),
        }
    }

    /// The prompt of request `index`, the first one of a batch.
    #[must_use]
    pub fn prompt(&self, index: u64) -> Prompt {
        self.numbered(index.wrapping_mul(u64::from(self.batch)), self.lengths(index).prompt_tokens)
    }

    /// All prompts of request `index`.
    #[must_use]
    pub fn prompts(&self, index: u64) -> Vec<Prompt> {
        let tokens = self.lengths(index).prompt_tokens;
        self.numbers(index).map(|number| self.numbered(number, tokens)).collect()
    }

    /// The numbers, among all prompts of the trial, of those of request `index`.
    pub fn numbers(&self, index: u64) -> impl Iterator<Item = u64> + use<> {
        let first = index.wrapping_mul(u64::from(self.batch));
        (0..self.batch).map(move |place| first.wrapping_add(place.into()))
    }

    /// The turns that conversation `conversation` is to have; one where requests stand alone.
    #[must_use]
    pub fn turns(&self, conversation: u64) -> u32 {
        self.turns.map_or(1, |turns| draw(turns, &mut self.random(Use::Turns, conversation)).min(MOST_TURNS))
    }

    /// What turn `turn` of conversation `conversation` asks, and for how many tokens. Only the first turn begins with
    /// the shared prefix of its group.
    #[must_use]
    pub fn question(&self, conversation: u64, turn: u32) -> (Prompt, Lengths) {
        let number = turn_number(conversation, turn);
        let lengths = self.lengths(number);
        let prefix = if turn == 0 { self.prefix_of(number, lengths.prompt_tokens) } else { None };
        (self.with_prefix(number, lengths.prompt_tokens, prefix), lengths)
    }

    /// The prompt with this number, of a length that a dataset gives.
    #[must_use]
    pub fn sized(&self, number: u64, tokens: u32) -> Prompt {
        self.numbered(number, tokens.max(1))
    }

    /// A prompt of named blocks of `block_tokens` each, the last one cut to `tokens` in all: as far as their blocks
    /// have the same names, prompts are alike.
    #[must_use]
    pub fn of_blocks(&self, blocks: &[u64], block_tokens: u32, tokens: u32) -> Prompt {
        let own = |place: usize| {
            let before = block_tokens.saturating_mul(place as u32);
            tokens.saturating_sub(before).min(block_tokens)
        };
        match self.kind {
            PromptKind::TokenIds { vocabulary } => {
                let mut ids = Vec::with_capacity(tokens as usize);
                for (place, block) in blocks.iter().enumerate() {
                    let mut random = self.random(Use::Prefix, *block);
                    ids.extend((0..own(place)).map(|_| below(random.next_u64(), vocabulary.max(1))));
                }
                Prompt::TokenIds(ids)
            }
            PromptKind::Words => {
                let mut text = String::new();
                let (mut asked, mut words) = (0, 0);
                for (place, block) in blocks.iter().enumerate() {
                    // By the sum, so that rounding does not add up over the blocks.
                    asked += own(place);
                    let until = self.fit.words_for(asked).max(words);
                    push_words(&mut text, until - words, &mut self.random(Use::Prefix, *block));
                    words = until;
                }
                Prompt::Text(text)
            }
        }
    }

    /// The prompt with this number among all of the trial.
    fn numbered(&self, number: u64, tokens: u32) -> Prompt {
        self.with_prefix(number, tokens, self.prefix_of(number, tokens))
    }

    /// The group of the prompt with this number, and the tokens it shares: at least one token is the prompt's own.
    fn prefix_of(&self, number: u64, tokens: u32) -> Option<(u64, u32)> {
        let prefix = self.shared_prefix?;
        Some((number % u64::from(prefix.groups.get()), prefix.tokens.min(tokens.saturating_sub(1))))
    }

    fn with_prefix(&self, number: u64, tokens: u32, prefix: Option<(u64, u32)>) -> Prompt {
        match self.kind {
            PromptKind::TokenIds { vocabulary } => Prompt::TokenIds(self.ids(number, tokens, prefix, vocabulary.max(1))),
            PromptKind::Words => Prompt::Text(self.text(number, tokens, prefix)),
        }
    }

    fn text(&self, number: u64, tokens: u32, prefix: Option<(u64, u32)>) -> String {
        let words = self.fit.words_on_average(tokens, number);
        let mut text = String::with_capacity(words as usize * 6);
        let mut own = words;
        if let Some((group, tokens)) = prefix.filter(|(_, tokens)| *tokens > 0) {
            let shared = self.fit.words_for(tokens).min(words - 1);
            push_words(&mut text, shared, &mut self.random(Use::Prefix, group));
            own -= shared;
        }
        for byte in self.marking_words(number).into_iter().take(own as usize) {
            push_word(&mut text, byte);
        }
        push_words(&mut text, own.saturating_sub(8), &mut self.random(Use::Text, number));
        text
    }

    fn ids(&self, number: u64, tokens: u32, prefix: Option<(u64, u32)>, vocabulary: u32) -> Vec<u32> {
        let mut ids = Vec::with_capacity(tokens as usize);
        if let Some((group, shared)) = prefix {
            let mut random = self.random(Use::Prefix, group);
            ids.extend((0..shared).map(|_| below(random.next_u64(), vocabulary)));
        }
        // The number in the vocabulary's own digits, lowest first, as many as a `u64` can have.
        let (mut rest, mut span) = (self.mark(number), u64::MAX);
        while span > 0 && ids.len() < tokens as usize && vocabulary > 1 {
            ids.push((rest % u64::from(vocabulary)) as u32);
            rest /= u64::from(vocabulary);
            span /= u64::from(vocabulary);
        }
        let mut random = self.random(Use::Text, number);
        while ids.len() < tokens as usize {
            ids.push(below(random.next_u64(), vocabulary));
        }
        ids
    }

    /// A number that no other prompt of the trial has; the next prompt's is the next one, so that its lowest digit, to
    /// whatever base, differs.
    fn mark(&self, number: u64) -> u64 {
        self.random(Use::Mark, 0).next_u64().wrapping_add(number)
    }

    /// The same to base 256. Multiplied by an odd number the lowest digits stay different, and all of them go through
    /// every value: no word stands at the beginning of all prompts, and their words are the list's on average.
    fn marking_words(&self, number: u64) -> [u8; 8] {
        self.mark(number).wrapping_mul(SPREADING).to_le_bytes()
    }

    fn random(&self, purpose: Use, number: u64) -> Pcg64 {
        seeded(self.seed, purpose, number)
    }
}

/// The number of a turn's question among all prompts of the trial: those of first turns follow one another, and the
/// others lie where no conversation is counted to.
fn turn_number(conversation: u64, turn: u32) -> u64 {
    conversation.wrapping_add(u64::from(turn) << 40)
}

/// A token id below `vocabulary`.
fn below(random: u64, vocabulary: u32) -> u32 {
    ((u128::from(random) * u128::from(vocabulary)) >> 64) as u32
}

fn push_words(text: &mut String, count: u32, random: &mut Pcg64) {
    let mut left = count as usize;
    while left > 0 {
        let bytes = random.next_u64().to_le_bytes();
        bytes.into_iter().take(left).for_each(|byte| push_word(text, byte));
        left = left.saturating_sub(bytes.len());
    }
}

fn push_word(text: &mut String, byte: u8) {
    if !text.is_empty() {
        text.push(' ');
    }
    text.push_str(WORDS[usize::from(byte)]);
}

/// A length of this distribution, at least one token.
fn draw(length: Length, random: &mut Pcg64) -> u32 {
    // A float becomes an integer by saturation. What makes no distribution was refused by the recipe's check; its
    // middle stands in for it here.
    let drawn = match length {
        Length::Fixed(tokens) => tokens,
        Length::Uniform(one, other) => {
            let (low, high) = (one.min(other), one.max(other));
            let span = u128::from(high - low) + 1;
            low + ((u128::from(random.next_u64()) * span) >> 64) as u32
        }
        Length::Normal(mean, deviation) => {
            let drawn = Normal::new(mean, deviation).map_or(mean, |normal| normal.sample(random));
            drawn.max(mean - DEVIATIONS * deviation).min(mean + DEVIATIONS * deviation).round() as u32
        }
        Length::Lognormal(median, deviation) => {
            let spread = (DEVIATIONS * deviation).exp();
            let drawn = LogNormal::new(median.ln(), deviation).map_or(median, |lognormal| lognormal.sample(random));
            drawn.max(median / spread).min(median * spread).round() as u32
        }
    };
    drawn.max(1)
}

/// A generator of its own for each seed, use and number. Neighbours are torn apart first, as a generator that is
/// seeded with them alone would begin alike.
fn seeded(seed: u64, purpose: Use, number: u64) -> Pcg64 {
    Pcg64::seed_from_u64(mixed(mixed(seed ^ mixed(purpose as u64 + 1)) ^ number))
}

/// The finalizer of SplitMix64, a bijection.
fn mixed(value: u64) -> u64 {
    let value = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

#[cfg(test)]
mod tests {
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
            shared_prefix: shared_prefix
                .map(|(groups, tokens)| SharedPrefix { groups: NonZeroU32::new(groups).unwrap(), tokens }),
            turns: None,
            sampling: Map::new(),
        }
    }

    fn maker(tokens: u32, shared_prefix: Option<(u32, u32)>, seed: u64) -> PromptMaker {
        PromptMaker::new(&request(Length::Fixed(tokens), shared_prefix), seed, Fit::default())
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
            let maker = maker.of_kind(PromptKind::TokenIds { vocabulary: 500 });
            prop_assert_ne!(maker.prompt(one), maker.prompt(other));
        }

        #[test]
        fn neighbours_differ_in_their_first_word(seed: u64, first in 0..u64::MAX - 256, vocabulary in 256_u32..200_000) {
            let words_alone = maker(20, None, seed);
            let begun: BTreeSet<_> =
                (first..first + 256).map(|index| words(&words_alone.prompt(index))[0].to_owned()).collect();
            prop_assert_eq!(begun.len(), 256);
            let as_ids = words_alone.of_kind(PromptKind::TokenIds { vocabulary });
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
        fn token_ids_are_exactly_as_many_and_in_the_vocabulary(seed: u64, index: u64, tokens in 1_u32..200, vocabulary in 1_u32..200_000) {
            let maker = maker(tokens, Some((2, 10)), seed).of_kind(PromptKind::TokenIds { vocabulary });
            let prompt = maker.prompt(index);
            prop_assert_eq!(ids(&prompt).len(), tokens as usize);
            prop_assert!(ids(&prompt).iter().all(|id| *id < vocabulary));
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

        #[test]
        fn a_fit_is_learned_from_two_prompts(rate in 0.5..4.0_f64, overhead in 0.0..40.0_f64, tokens in 100_u32..4000) {
            let counted = |words: u32| (words, (overhead + rate * f64::from(words)).round() as u32);
            let fit = Fit::from_two(counted(1000), counted(20)).unwrap();
            let words = fit.words_for(tokens);
            let got = overhead + rate * f64::from(words);
            prop_assert!((got - f64::from(tokens)).abs() <= rate / 2.0 + 6.0, "{got} for {tokens}");
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
    fn two_prompts_that_tell_nothing_give_no_fit() {
        for (one, other) in [((10, 12), (10, 15)), ((10, 12), (20, 12)), ((10, 30), (20, 12))] {
            assert_eq!(Fit::from_two(one, other), None);
        }
        assert_eq!(Fit::from_two((10, 25), (20, 45)), Some(Fit { tokens_per_word: 2.0, overhead: 5.0 }));
        assert_eq!(Fit { tokens_per_word: 2.0, overhead: 5.0 }.words_for(3), 1, "less than the overhead is one word");
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
        let maker = PromptMaker::new(&spec, 1, Fit::default()).of_kind(PromptKind::TokenIds { vocabulary: 9 });
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
        let all: BTreeSet<_> = (0..20)
            .flat_map(|seed| (0..100).map(move |index| words(&maker(32, None, seed).prompt(index))[..16].join(" ")))
            .collect();
        assert_eq!(all.len(), 2_000);
    }

    #[test]
    fn only_completions_are_asked_by_token_ids() {
        let kind = PromptKind::TokenIds { vocabulary: 100 };
        let chat = RequestSpec { api: Api::Chat, ..request(Length::Fixed(3), None) };
        assert!(matches!(PromptMaker::new(&chat, 1, Fit::default()).of_kind(kind).prompt(0), Prompt::Text(_)));
        assert!(matches!(maker(3, None, 1).of_kind(kind).prompt(0), Prompt::TokenIds(_)));
    }

    #[test]
    fn a_seed_gives_the_same_prompt_in_later_versions() {
        let prompt = maker(12, Some((2, 3)), 42).prompt(1);
        insta::assert_snapshot!(words(&prompt).join(" "));
    }

    #[test]
    fn a_probe_has_every_word_once() {
        let text = probe(5);
        let different: BTreeSet<&str> = text.split(' ').collect();
        assert_eq!((text.split(' ').count() as u32, different.len() as u32), (PROBE_WORDS, PROBE_WORDS));
    }

    #[test]
    fn prompts_are_alike_as_far_as_their_blocks_are() {
        let maker = maker(1, None, 5);
        let (one, other) = (maker.of_blocks(&[7, 8, 9], 16, 40), maker.of_blocks(&[7, 8, 4], 16, 48));
        let (one, other) = (words(&one), words(&other));
        assert_eq!((one.len(), other.len()), (40, 48));
        assert_eq!(one[..32], other[..32]);
        assert_ne!(one[32..], other[32..40]);
        let kind = PromptKind::TokenIds { vocabulary: 1000 };
        let maker = maker.of_kind(kind);
        let (one, other) = (maker.of_blocks(&[7, 8, 9], 16, 40), maker.of_blocks(&[7, 8, 4], 16, 48));
        assert_eq!((ids(&one).len(), ids(&other).len()), (40, 48));
        assert_eq!(ids(&one)[..32], ids(&other)[..32]);
        assert_ne!(ids(&one)[32..], ids(&other)[32..40]);
    }
}
