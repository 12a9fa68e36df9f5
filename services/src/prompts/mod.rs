//! Prompts for the load path: made from a seed and a request's index, and from nothing else.
//!
//! ```text
//!   shared prefix of the group (if any) │ number: 8 words, no two prompts alike │ random words
//! ```
//!
//! The same seed and index give the same prompt on every node. Different indices give different ones that differ in
//! their first words already, so that no prefix cache helps by accident.

mod counted;
mod fit;
mod lengths;
mod measured;
mod random;
mod words;

use std::sync::Arc;

use hb_core::{
    counting::{Counting, LengthsBy, WordTokens},
    trial::{Api, Length, RequestSpec, SharedPrefix},
};
use rand_pcg::{Pcg64, rand_core::Rng as _};

use self::{
    counted::CountedText,
    lengths::draw,
    random::{Use, below, seeded},
    words::{push_word, push_words},
};
pub use self::{
    fit::Fit,
    measured::measured,
    words::{PROBE_WORDS, SHORT_PROBE, SHORT_PROBE_WORDS, probe},
};
use crate::protocol::Prompt;

/// Odd, and without a pattern in its digits: two to the 64th over the golden ratio.
const SPREADING: u64 = 0x9e37_79b9_7f4a_7c15;
/// No draw makes a conversation longer: each of its turns carries all before it.
const MOST_TURNS: u32 = 1_000;

/// What prompts are made of.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum PromptKind {
    /// Words.
    #[default]
    Words,
    /// Words whose tokens add up to what is asked for.
    CountedWords {
        /// The tokens of each.
        words: Arc<WordTokens>,
        /// Tokens that the server adds to each prompt.
        overhead: u32,
    },
    /// These token ids, exactly as many as asked for. Only `/v1/completions` takes them; other operations get words.
    TokenIds {
        /// What is chosen from, each once.
        ids: Arc<[u32]>,
        /// Tokens that the server adds to each prompt.
        overhead: u32,
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

    /// The same, made of what is known of the server's tokens.
    #[must_use]
    pub fn counted(request: &RequestSpec, seed: u64, counting: Option<&Counting>) -> Self {
        // Where the server told nothing, a word stands for a token.
        let Some(counting) = counting else { return Self::new(request, seed, Fit::default()) };
        let overhead = counting.overhead_of(request);
        let fit = Fit { tokens_per_word: counting.tokens_per_word, overhead: f64::from(overhead) };
        let maker = Self::new(request, seed, fit);
        // A tokenizer whose words do not add up is good for an average.
        let words = counting.words.as_ref().filter(|words| !words.each.is_empty());
        match counting.lengths_by(request) {
            LengthsBy::TokenIds => maker.of_kind(PromptKind::TokenIds { ids: counting.ids.as_slice().into(), overhead }),
            LengthsBy::Tokenizer => match words {
                Some(words) => maker.of_kind(PromptKind::CountedWords { words: Arc::new(words.clone()), overhead }),
                None => maker,
            },
            LengthsBy::Tokenize | LengthsBy::Usage | LengthsBy::Words => maker,
        }
    }

    /// The same, made of something else.
    #[must_use]
    pub fn of_kind(self, kind: PromptKind) -> Self {
        // A conversation goes on with the text of answers.
        let takes_ids = self.api == Api::Completions && self.turns.is_none();
        let fits = takes_ids || !matches!(kind, PromptKind::TokenIds { .. });
        Self { kind: if fits { kind } else { PromptKind::Words }, ..self }
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
        // The server itself adds what it adds to token ids; with words it is seen to below.
        let tokens = match &self.kind {
            PromptKind::TokenIds { overhead, .. } => tokens.saturating_sub(*overhead).max(1),
            PromptKind::CountedWords { .. } | PromptKind::Words => tokens,
        };
        let own = |place: usize| {
            let before = block_tokens.saturating_mul(place as u32);
            tokens.saturating_sub(before).min(block_tokens)
        };
        match &self.kind {
            PromptKind::TokenIds { ids: table, .. } => {
                let mut ids = Vec::with_capacity(tokens as usize);
                for (place, block) in blocks.iter().enumerate() {
                    let mut random = self.random(Use::Prefix, *block);
                    ids.extend((0..own(place)).map(|_| one_of(table, random.next_u64())));
                }
                Prompt::TokenIds(ids)
            }
            PromptKind::CountedWords { words, overhead } => {
                let (mut text, mut asked) = (CountedText::new(words), 0u32);
                let least = |asked: u32| asked.saturating_sub(*overhead).max(1);
                for (place, block) in blocks.iter().enumerate() {
                    asked += own(place);
                    // What the server adds is taken from the last block: the others are whole, and alike.
                    let until = if place + 1 == blocks.len() { least(asked) } else { asked };
                    text.fill(until, &mut self.random(Use::Prefix, *block));
                }
                Prompt::Text(text.ended(least(asked), 0))
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
        match &self.kind {
            PromptKind::TokenIds { ids, overhead } => {
                Prompt::TokenIds(self.ids(number, tokens.saturating_sub(*overhead).max(1), prefix, ids))
            }
            PromptKind::CountedWords { words, overhead } => {
                Prompt::Text(self.counted_text(number, tokens.saturating_sub(*overhead).max(1), prefix, words))
            }
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

    fn counted_text(&self, number: u64, tokens: u32, prefix: Option<(u64, u32)>, words: &WordTokens) -> String {
        let mut text = CountedText::new(words);
        if let Some((group, shared)) = prefix {
            text.fill(shared.min(tokens - 1), &mut self.random(Use::Prefix, group));
        }
        let mark = self.marking_words(number);
        text.push_some(&mark, tokens);
        text.fill(tokens, &mut self.random(Use::Text, number));
        text.ended(tokens, mark[0])
    }

    fn ids(&self, number: u64, tokens: u32, prefix: Option<(u64, u32)>, table: &[u32]) -> Vec<u32> {
        let mut ids = Vec::with_capacity(tokens as usize);
        if let Some((group, shared)) = prefix {
            let mut random = self.random(Use::Prefix, group);
            ids.extend((0..shared.min(tokens - 1)).map(|_| one_of(table, random.next_u64())));
        }
        // The number in digits that are the table's places, lowest first, as many as a `u64` can have.
        let digits = table.len() as u64;
        let (mut rest, mut span) = (self.mark(number), u64::MAX);
        while span > 0 && ids.len() < tokens as usize && digits > 1 {
            ids.push(table[(rest % digits) as usize]);
            rest /= digits;
            span /= digits;
        }
        let mut random = self.random(Use::Text, number);
        while ids.len() < tokens as usize {
            ids.push(one_of(table, random.next_u64()));
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

/// One of these ids; zero where there are none.
fn one_of(ids: &[u32], random: u64) -> u32 {
    ids.get(below(random, ids.len() as u32) as usize).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests;
