//! How words become tokens on a server, and how many words make the tokens that are asked for.

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
    pub(super) fn words_on_average(&self, tokens: u32, number: u64) -> u32 {
        // Multiples of the golden ratio fall evenly between two whole numbers, however few or many are taken.
        let share = (number as f64 * GOLDEN_RATIO).fract();
        (((f64::from(tokens) - self.overhead) / self.tokens_per_word + share).floor() as u32).max(1)
    }
}

/// Its fractional part is all that counts here.
const GOLDEN_RATIO: f64 = 0.618_033_988_749_894_9;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
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
    fn two_prompts_that_tell_nothing_give_no_fit() {
        for (one, other) in [((10, 12), (10, 15)), ((10, 12), (20, 12)), ((10, 30), (20, 12))] {
            assert_eq!(Fit::from_two(one, other), None);
        }
        assert_eq!(Fit::from_two((10, 25), (20, 45)), Some(Fit { tokens_per_word: 2.0, overhead: 5.0 }));
        assert_eq!(Fit { tokens_per_word: 2.0, overhead: 5.0 }.words_for(3), 1, "less than the overhead is one word");
    }
}
