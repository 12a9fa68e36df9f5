//! How prompts get the length that was asked for: what is known of a server's tokens before the load.
//!
//! ```text
//! token ids, where the server takes them ─► its own /tokenize ─► a local tokenizer ─► its usage of one completion ─►
//! a word for a token
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
    /// One completion's usage says how many tokens a word has on average.
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
        // What a usage alone tells is the whole number, spread over the words.
        let counted = (told.tokens_per_word * f64::from(WORDS)).round() as u32 + told.overhead;
        let most = if told.api == Api::Completions { MOST_ADDED } else { u32::MAX };
        match counted.checked_sub(words.all).filter(|added| *added <= most) {
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
        ] {
            let told = server.map(|(by, tokens, overhead)| told(by, tokens, overhead, api));
            assert_eq!(lengths(told, api), expected, "{server:?} {api:?}");
        }
    }
}
