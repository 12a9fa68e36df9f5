//! How prompts get the length that was asked for: what is known of a server's tokens before the load.
//!
//! ```text
//! token ids, where the server takes them ─► its own /tokenize ─► its usage of one completion ─► a word for a token
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
            Self::Usage => "usage",
            Self::Words => "words",
        })
    }
}

/// What a server told of its tokens before the load.
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
}

impl Counting {
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
        let counting = Counting { by, tokens_per_word: 1.0, overhead: 3, api: Api::Completions, ids: vec![4, 5] };
        let request = RequestSpec { api: Api::Completions, ..closed_plan(1, 1).trial.request };
        assert_eq!((counting.lengths_by(&request), counting.overhead_of(&request)), (LengthsBy::TokenIds, 3));
        let chat = RequestSpec { api: Api::Chat, ..request.clone() };
        assert_eq!((counting.lengths_by(&chat), counting.overhead_of(&chat)), (LengthsBy::Tokenize, 0));
        let talk = RequestSpec { turns: Some(Length::Fixed(2)), ..request.clone() };
        assert_eq!(counting.lengths_by(&talk), LengthsBy::Tokenize);
        let refused = Counting { ids: Vec::new(), by: LengthsBy::Usage, ..counting };
        assert_eq!(refused.lengths_by(&request), LengthsBy::Usage);
    }
}
