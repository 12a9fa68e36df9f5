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
    use super::*;

    #[test]
    fn fewer_tokens_than_the_overhead_make_one_word() {
        assert_eq!(Fit { tokens_per_word: 2.0, overhead: 5.0 }.words_for(3), 1);
    }
}
