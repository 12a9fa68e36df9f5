//! How prompts get the length that was asked for: what is known of a server's tokens before the load.
//!
//! ```text
//! token ids, where the server takes them ─► its own /tokenize ─► a local tokenizer ─► its usage of one completion, or of
//! two where it puts a template around prompts ─► a word for a token
//! ```

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::trial::{Api, RequestSpec};

/// What prompts get their length by, best first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LengthsBy {
    /// The server takes token ids: each prompt has exactly as many as were asked for.
    TokenIds,
    /// The server's `/tokenize` says how many tokens words have, and a completion's usage what is put around them.
    Tokenize,
    /// A local `tokenizer.json` says how many tokens each word has, and a completion's usage what is put around them.
    Tokenizer,
    /// One completion's usage says how many tokens a word has on average; a second one's, where there is a template, how many
    /// that has.
    Usage,
    /// Nobody told anything: a word stands for a token.
    #[default]
    Words,
}

impl fmt::Display for LengthsBy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::TokenIds => "token_ids",
            Self::Tokenize => "tokenize",
            Self::Tokenizer => "tokenizer",
            Self::Usage => "usage",
            Self::Words => "words",
        })
    }
}

/// Words that prompts are made of.
pub const WORDS: u32 = 256;
/// Fewer tokens than these for a word are no count of words: its tokens are cut off, or something else was counted.
const LEAST_PER_WORD: f64 = 0.5;
/// A template may have so many more or fewer tokens than two prompts told, whose words are taken for average ones.
const TEMPLATE_OFF: u32 = 8;
/// Without a chat's template no more is added to a prompt: a mark of the beginning.
pub const MOST_ADDED: u32 = 4;

/// What a server told of its tokens before the load, and a local tokenizer of words.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Counting {
    /// Who counted the tokens of words.
    pub by: LengthsBy,
    /// Tokens of a word of a prompt on average.
    pub tokens_per_word: f64,
    /// Tokens that such a prompt has beside those of its words: a mark of the beginning, a chat's template.
    pub overhead: u32,
    /// The operation whose prompts have that overhead.
    pub api: Api,
    /// Ids of words, each once, if the server took a prompt of them.
    pub ids: Vec<u32>,
    /// What a local tokenizer says of each word, where lengths go by it.
    #[serde(default)]
    pub words: Option<WordTokens>,
}

/// What a tokenizer says of the [`WORDS`] words that prompts are made of.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct WordTokens {
    /// Tokens of a text of all words, each once.
    pub all: u32,
    /// Tokens that it puts around a text.
    pub around: u32,
    /// Tokens of each word and the blank before it; empty where a text has not the sum of its words.
    pub each: Vec<u8>,
    /// Tokens that each word has fewer (or, below zero, more) at the beginning of a text, without a blank.
    pub saved_first: Vec<i8>,
    /// Marks of punctuation, up to so many at the end of a text, are a token each.
    pub marks: u8,
}

impl Counting {
    /// The same, where a prompt of so many words had `tokens` by the same usage: what is put around a prompt is told from
    /// its words. As it was where these numbers make no sense together.
    #[must_use]
    pub fn told_apart(self, words: u32, tokens: u32) -> Self {
        let all = self.of_all_words();
        let slope = (f64::from(all) - f64::from(tokens)) / (f64::from(WORDS) - f64::from(words));
        let overhead = (f64::from(tokens) - slope * f64::from(words)).round();
        // Of the two prompts the long one says more about words.
        let tokens_per_word = (f64::from(all) - overhead) / f64::from(WORDS);
        let makes_sense = words < WORDS && overhead >= 0.0 && tokens_per_word >= LEAST_PER_WORD;
        if makes_sense { Self { tokens_per_word, overhead: overhead as u32, ..self } } else { self }
    }

    /// The tokens of a prompt of all words.
    fn of_all_words(&self) -> u32 {
        (self.tokens_per_word * f64::from(WORDS)).round() as u32 + self.overhead
    }

    /// What the server told, where it told of the tokens of words, or a tokenizer in its place. A tokenizer that counts
    /// otherwise than the server's usage is not that of its model, and usage is taken.
    #[must_use]
    pub fn by_tokenizer(told: Option<&Self>, words: &WordTokens, api: Api) -> Self {
        let tokens_per_word = f64::from(words.all) / f64::from(WORDS);
        let by =
            Self { by: LengthsBy::Tokenizer, tokens_per_word, overhead: 0, api, ids: Vec::new(), words: Some(words.clone()) };
        let Some(told) = told else {
            // What a chat's template adds nobody knows.
            return if api == Api::Completions { Self { overhead: words.around, ..by } } else { by };
        };
        if told.by != LengthsBy::Usage {
            return told.clone();
        }
        let added = match told.api {
            Api::Completions => 0..=MOST_ADDED,
            _ if told.overhead > 0 => told.overhead.saturating_sub(TEMPLATE_OFF)..=told.overhead.saturating_add(TEMPLATE_OFF),
            _ => 0..=u32::MAX,
        };
        match told.of_all_words().checked_sub(words.all).filter(|tokens| added.contains(tokens)) {
            Some(overhead) => Self { overhead, api: told.api, ..by },
            None => told.clone(),
        }
    }

    /// What the prompts of such requests get their length by.
    #[must_use]
    pub fn lengths_by(&self, request: &RequestSpec) -> LengthsBy {
        // A conversation goes on with the text of answers.
        let takes_ids = !self.ids.is_empty() && request.api == Api::Completions && request.turns.is_none();
        if takes_ids { LengthsBy::TokenIds } else { self.by }
    }

    /// The tokens around the words of such a request's prompt, as far as they are known.
    #[must_use]
    pub fn overhead_of(&self, request: &RequestSpec) -> u32 {
        if self.api == request.api { self.overhead } else { 0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{testing::closed_plan, trial::Length};

    #[test]
    fn ids_are_for_completions_that_stand_alone() {
        let by = LengthsBy::Tokenize;
        let counting = Counting { by, tokens_per_word: 1.0, overhead: 3, api: Api::Completions, ids: vec![4, 5], words: None };
        let request = RequestSpec { api: Api::Completions, ..closed_plan(1, 1).trial.request };
        assert_eq!((counting.lengths_by(&request), counting.overhead_of(&request)), (LengthsBy::TokenIds, 3));
        let chat = RequestSpec { api: Api::Chat, ..request.clone() };
        assert_eq!((counting.lengths_by(&chat), counting.overhead_of(&chat)), (LengthsBy::Tokenize, 0));
        let talk = RequestSpec { turns: Some(Length::Fixed(2)), ..request.clone() };
        assert_eq!(counting.lengths_by(&talk), LengthsBy::Tokenize);
        let refused = Counting { ids: Vec::new(), by: LengthsBy::Usage, ..counting };
        assert_eq!(refused.lengths_by(&request), LengthsBy::Usage);
    }

    #[test]
    fn a_second_prompt_tells_a_template_from_words() {
        let check = |all: u32, (words, tokens), expected: (f64, u32)| {
            let tokens_per_word = f64::from(all) / f64::from(WORDS);
            let by = LengthsBy::Usage;
            let told = Counting { by, tokens_per_word, overhead: 0, api: Api::Chat, ids: Vec::new(), words: None };
            let apart = told.told_apart(words, tokens);
            assert_eq!((apart.tokens_per_word * f64::from(WORDS), apart.overhead), expected, "{all} {words} {tokens}");
            assert_eq!(apart.of_all_words(), all, "the long prompt still has the tokens that it had");
        };
        check(256 + 40, (4, 4 + 40), (256.0, 40));
        check(256, (4, 4), (256.0, 0));
        // A word and a half each, and a part of a token is put to the words.
        check(384 + 40, (4, 6 + 40), (384.0, 40));
        check(384 + 40, (4, 7 + 40), (383.0, 41));
        // A usage that leaves out what is in a cache, one that is always the same, one that is cut off, and none that can be.
        for (all, short) in [(256 + 40, (4, 0)), (256, (4, 256)), (128, (4, 44)), (40, (4, 400)), (256, (256, 256))] {
            check(all, short, (f64::from(all), 0));
        }
    }

    #[test]
    fn a_tokenizer_stands_between_tokenize_and_usage_and_must_count_as_the_server_does() {
        let words = WordTokens { all: 300, around: 1, ..WordTokens::default() };
        let told = |by, tokens: u32, overhead, api| Counting {
            by,
            tokens_per_word: f64::from(tokens) / f64::from(WORDS),
            overhead,
            api,
            ids: Vec::new(),
            words: None,
        };
        let lengths = |told: Option<Counting>, api| {
            let counting = Counting::by_tokenizer(told.as_ref(), &words, api);
            assert_eq!(counting.words.is_some(), counting.by == LengthsBy::Tokenizer);
            (counting.by, counting.overhead)
        };
        for (server, api, expected) in [
            (None, Api::Completions, (LengthsBy::Tokenizer, 1)),
            (None, Api::Chat, (LengthsBy::Tokenizer, 0)),
            (Some((LengthsBy::Tokenize, 256, 3)), Api::Chat, (LengthsBy::Tokenize, 3)),
            (Some((LengthsBy::Usage, 300, 0)), Api::Completions, (LengthsBy::Tokenizer, 0)),
            (Some((LengthsBy::Usage, 304, 0)), Api::Completions, (LengthsBy::Tokenizer, 4)),
            // The tokens of another model's vocabulary.
            (Some((LengthsBy::Usage, 305, 0)), Api::Completions, (LengthsBy::Usage, 0)),
            (Some((LengthsBy::Usage, 299, 0)), Api::Completions, (LengthsBy::Usage, 0)),
            (Some((LengthsBy::Usage, 340, 0)), Api::Chat, (LengthsBy::Tokenizer, 40)),
            (Some((LengthsBy::Usage, 256, 0)), Api::Chat, (LengthsBy::Usage, 0)),
            // A second completion told of the template.
            (Some((LengthsBy::Usage, 300, 40)), Api::Chat, (LengthsBy::Tokenizer, 40)),
            (Some((LengthsBy::Usage, 292, 40)), Api::Chat, (LengthsBy::Tokenizer, 32)),
            (Some((LengthsBy::Usage, 309, 40)), Api::Chat, (LengthsBy::Usage, 40)),
            (Some((LengthsBy::Usage, 256, 80)), Api::Chat, (LengthsBy::Usage, 80)),
        ] {
            let told = server.map(|(by, tokens, overhead)| told(by, tokens, overhead, api));
            assert_eq!(lengths(told, api), expected, "{server:?} {api:?}");
        }
    }
}
