//! How many tokens the words of prompts have, asked of a tokenizer.

use hb_core::counting::WordTokens;

use super::words::{MARKS, probe, shuffled, word};

/// Orders of all words in which the text must have the sum of its words.
const TRIED: u64 = 3;

/// What a tokenizer says of words. `count` tells the tokens of a text, alone or with the marks that are put around it.
///
/// # Errors
/// It does not count, or has no token for a word.
pub fn measured(count: &dyn Fn(&str, bool) -> Result<u32, String>) -> Result<WordTokens, String> {
    let alone = |text: &str| count(text, false);
    let text = probe(0);
    let all = alone(&text)?;
    let around = count(&text, true)?.saturating_sub(all);
    let (mut each, mut saved_first) = (Vec::new(), Vec::new());
    for byte in 0..=u8::MAX {
        let before = word(byte.wrapping_add(1));
        let first = alone(word(byte))?;
        if first == 0 {
            return Err(format!("it has no token for `{}`", word(byte)));
        }
        let later = alone(&format!("{before} {}", word(byte)))?.saturating_sub(alone(before)?);
        each.push(later);
        saved_first.push(i64::from(later) - i64::from(first));
    }
    let mut words = WordTokens { all, around, ..WordTokens::default() };
    let (Ok(each), Ok(saved_first)) = (narrow(&each), narrow(&saved_first)) else { return Ok(words) };
    let sum = |bytes: &[u8]| {
        let later = bytes.iter().map(|byte| u32::from(each[usize::from(*byte)])).sum::<u32>();
        i64::from(later) - bytes.first().map_or(0, |byte| i64::from(saved_first[usize::from(*byte)]))
    };
    let mut adds_up = !each.contains(&0);
    for seed in 0..TRIED {
        adds_up &= i64::from(alone(&probe(seed))?) == sum(&shuffled(seed));
    }
    if adds_up {
        words.marks = marks(&alone)?;
        (words.each, words.saved_first) = (each, saved_first);
    }
    Ok(words)
}

/// How many marks at the end of a text are a token each, whatever word they follow.
fn marks(alone: &dyn Fn(&str) -> Result<u32, String>) -> Result<u8, String> {
    for count in 1..=MARKS.len() {
        for byte in (0..=u8::MAX).step_by(16) {
            if alone(&format!("{}{}", word(byte), &MARKS[..count]))? != alone(word(byte))? + count as u32 {
                return Ok(count as u8 - 1);
            }
        }
    }
    Ok(MARKS.len() as u8)
}

fn narrow<T: Copy, N: TryFrom<T>>(numbers: &[T]) -> Result<Vec<N>, N::Error> {
    numbers.iter().map(|number| N::try_from(*number)).collect()
}
