//! Texts of exactly so many tokens, where it is known how many each word has: by adding up, no tokenizer is asked.

use hb_core::counting::WordTokens;
use rand_pcg::{Pcg64, rand_core::Rng as _};

use super::words::{MARKS, push_word};

/// A text that grows word by word.
pub(super) struct CountedText<'a> {
    words: &'a WordTokens,
    text: String,
    tokens: u32,
}

impl<'a> CountedText<'a> {
    /// An empty one.
    pub fn new(words: &'a WordTokens) -> Self {
        Self { words, text: String::new(), tokens: 0 }
    }

    /// The words of these bytes, as far as they fit into so many tokens.
    pub fn push_some(&mut self, bytes: &[u8], until: u32) {
        for byte in bytes {
            if self.cost(*byte) > until.saturating_sub(self.tokens) {
                break;
            }
            self.push(*byte);
        }
    }

    /// Random words until it has so many tokens, or no word fits any more.
    pub fn fill(&mut self, until: u32, random: &mut Pcg64) {
        while self.tokens < until {
            for byte in random.next_u64().to_le_bytes() {
                let left = until.saturating_sub(self.tokens);
                let next = (0..=u8::MAX).map(|further| byte.wrapping_add(further)).find(|byte| self.cost(*byte) <= left);
                match next {
                    Some(byte) => self.push(byte),
                    None => return,
                }
            }
        }
    }

    /// The text with so many tokens, by marks at its end where no word is short enough; at least this one word.
    pub fn ended(mut self, until: u32, least: u8) -> String {
        if self.text.is_empty() {
            self.push(least);
        }
        let marks = until.saturating_sub(self.tokens).min(self.words.marks.into());
        self.text.push_str(&MARKS[..marks as usize]);
        self.text
    }

    fn push(&mut self, byte: u8) {
        self.tokens += self.cost(byte);
        push_word(&mut self.text, byte);
    }

    fn cost(&self, byte: u8) -> u32 {
        let place = usize::from(byte);
        let each = self.words.each.get(place).copied().unwrap_or(1);
        let saved = if self.text.is_empty() { self.words.saved_first.get(place).copied().unwrap_or(0) } else { 0 };
        // At least one, or a text would never be full.
        u32::from(each).saturating_add_signed((-saved).into()).max(1)
    }
}
