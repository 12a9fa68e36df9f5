//! The words that prompts are made of, and texts of them.

use hb_core::counting;
use rand_pcg::{Pcg64, rand_core::Rng as _};

use super::random::{Use, below, seeded};

/// Short common English words: most tokenizers have each of them, with the blank before it, as one token. As many as a
/// byte has values, so that a random byte picks one.
#[rustfmt::skip]
const WORDS: [&str; 256] = [
    "the", "of", "and", "to", "in", "is", "you", "that", "it", "he", "was", "for", "on", "are", "as", "with", "his", "they",
    "at", "be", "this", "have", "from", "or", "one", "had", "by", "word", "but", "not", "what", "all", "were", "we", "when",
    "your", "can", "said", "there", "use", "an", "each", "which", "she", "do", "how", "their", "if", "will", "up", "other",
    "about", "out", "many", "then", "them", "these", "so", "some", "her", "would", "make", "like", "him", "into", "time",
    "has", "look", "two", "more", "write", "go", "see", "number", "no", "way", "could", "people", "my", "than", "first",
    "water", "been", "call", "who", "oil", "its", "now", "find", "long", "down", "day", "did", "get", "come", "made", "may",
    "part", "over", "new", "sound", "take", "only", "little", "work", "know", "place", "year", "live", "me", "back", "give",
    "most", "very", "after", "thing", "our", "just", "name", "good", "man", "think", "say", "great", "where", "help",
    "through", "much", "before", "line", "right", "too", "mean", "old", "any", "same", "tell", "boy", "follow", "came",
    "want", "show", "also", "around", "form", "three", "small", "set", "put", "end", "does", "another", "well", "large",
    "must", "big", "even", "such", "because", "turn", "here", "why", "ask", "went", "men", "read", "need", "land", "home",
    "us", "move", "try", "kind", "hand", "picture", "again", "change", "off", "play", "air", "away", "animal", "house",
    "point", "page", "letter", "mother", "answer", "found", "study", "still", "learn", "should", "world", "high", "every",
    "near", "add", "food", "between", "own", "below", "country", "plant", "last", "school", "father", "keep", "tree",
    "never", "start", "city", "earth", "eye", "light", "thought", "head", "under", "story", "saw", "left", "few", "while",
    "along", "might", "close", "something", "seem", "next", "hard", "open", "example", "begin", "life", "always", "those",
    "both", "paper", "together", "got", "group", "often", "run", "important", "until", "children", "side", "feet", "car",
    "mile", "night", "walk", "white", "sea", "began", "grow",
];

/// Words in the text of [`probe`].
pub const PROBE_WORDS: u32 = counting::WORDS;

/// A few of them, as long on average as all are, and others than [`probe`] begins with, whose count a prefix cache may lessen.
pub const SHORT_PROBE: &str = "walk city food name";

/// Words in it.
pub const SHORT_PROBE_WORDS: u32 = 4;

/// Marks of punctuation for the end of a text, no two alike beside each other, so that few tokenizers make one of two.
pub(super) const MARKS: &str = ";!:?;!:?";

/// Every word that prompts are made of, once, in an order that depends on the seed. A server's count of its tokens is what
/// a word of a prompt has on average.
#[must_use]
pub fn probe(seed: u64) -> String {
    let mut text = String::with_capacity(WORDS.len() * 6);
    shuffled(seed).into_iter().for_each(|byte| push_word(&mut text, byte));
    text
}

/// Every byte once, in the order of the words of [`probe`].
pub(super) fn shuffled(seed: u64) -> Vec<u8> {
    let mut shuffled: Vec<u8> = (0..=u8::MAX).collect();
    let mut random = seeded(!seed, Use::Text, 0);
    for left in (1..shuffled.len()).rev() {
        shuffled.swap(left, below(random.next_u64(), left as u32 + 1) as usize);
    }
    shuffled
}

/// So many random words more.
pub(super) fn push_words(text: &mut String, count: u32, random: &mut Pcg64) {
    let mut left = count as usize;
    while left > 0 {
        let bytes = random.next_u64().to_le_bytes();
        bytes.into_iter().take(left).for_each(|byte| push_word(text, byte));
        left = left.saturating_sub(bytes.len());
    }
}

/// The word of this byte.
pub(super) fn word(byte: u8) -> &'static str {
    WORDS[usize::from(byte)]
}

/// The word of this byte more.
pub(super) fn push_word(text: &mut String, byte: u8) {
    if !text.is_empty() {
        text.push(' ');
    }
    text.push_str(word(byte));
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn no_word_stands_twice() {
        let mut words = WORDS.to_vec();
        words.sort_unstable();
        words.dedup();
        assert_eq!(words.len(), 256);
        assert!(words.iter().all(|word| !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_lowercase())));
    }

    #[test]
    fn a_short_probe_stands_for_all_words_and_begins_otherwise() {
        let words: Vec<&str> = SHORT_PROBE.split(' ').collect();
        assert_eq!(words.len() as u32, SHORT_PROBE_WORDS);
        assert!(words.iter().all(|word| WORDS.contains(word)) && !probe(0).starts_with(words[0]));
        let letters = |words: &[&str]| words.iter().map(|word| word.len()).sum::<usize>() as f64 / words.len() as f64;
        assert!((letters(&words) - letters(&WORDS)).abs() < 0.1, "{}", letters(&WORDS));
    }

    #[test]
    fn a_probe_has_every_word_once() {
        let text = probe(5);
        let different: BTreeSet<&str> = text.split(' ').collect();
        assert_eq!((text.split(' ').count() as u32, different.len() as u32), (PROBE_WORDS, PROBE_WORDS));
    }
}
