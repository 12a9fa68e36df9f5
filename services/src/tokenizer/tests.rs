//! Tokenizers of every kind, made here: prompts must have the very tokens that the tokenizer counts.

use std::{collections::BTreeMap, fs, num::NonZeroU32};

use hb_core::{
    counting::{Counting, LengthsBy},
    trial::{Api, Length, RequestSpec, SharedPrefix},
};
use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::*;
use crate::{
    prompts::{PromptMaker, probe},
    protocol::Prompt,
};

type Counter = dyn Fn(&str, bool) -> Result<u32, String>;

/// A file of these parts; the folder goes with the guard.
fn written(text: &[u8]) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(FILE);
    fs::write(&path, text).unwrap();
    (folder, path)
}

fn whole(model: Value, pre_tokenizer: Value) -> Value {
    json!({
        "version": "1.0",
        // As the files of some models have it: a text must not be cut, or filled up.
        "truncation": {"direction": "Right", "max_length": 16, "strategy": "LongestFirst", "stride": 0},
        "padding": {"strategy": {"Fixed": 400}, "direction": "Right", "pad_to_multiple_of": null, "pad_id": 0, "pad_type_id": 0, "pad_token": "<s>"},
        "added_tokens": [{"id": 0, "content": "<s>", "single_word": false, "lstrip": false, "rstrip": false, "normalized": false, "special": true}],
        "normalizer": null,
        "pre_tokenizer": pre_tokenizer,
        "post_processor": {
            "type": "TemplateProcessing",
            "single": [{"SpecialToken": {"id": "<s>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
            "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
            "special_tokens": {"<s>": {"id": "<s>", "ids": [0], "tokens": ["<s>"]}},
        },
        "decoder": null,
        "model": model,
    })
}

fn bpe(blank: &str, merges: &[&str]) -> Value {
    let mut pieces = vec!["<s>".to_owned(), blank.to_owned()];
    pieces.extend((b'!'..=b'~').map(|byte| char::from(byte).to_string()));
    pieces.extend(merges.iter().map(|merge| merge.split('|').collect()));
    let vocab: BTreeMap<String, usize> = pieces.into_iter().enumerate().map(|(id, piece)| (piece, id)).collect();
    let merges: Vec<Vec<&str>> = merges.iter().map(|merge| merge.split('|').collect()).collect();
    json!({"type": "BPE", "dropout": null, "unk_token": null, "continuing_subword_prefix": null, "end_of_word_suffix": null,
        "fuse_unk": false, "byte_fallback": false, "ignore_merges": false, "vocab": vocab, "merges": merges})
}

fn byte_level() -> Value {
    json!({"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true})
}

/// A letter a token, as GPT-2 writes them; no word has one token.
fn letters() -> Value {
    whole(bpe("Ġ", &[]), byte_level())
}

/// Some syllables, and some whole words with the blank before them.
fn syllables() -> Value {
    let merges = ["t|h", "th|e", "Ġ|the", "Ġ|th", "a|n", "an|d", "Ġ|and", "i|n", "in|g", "o|u", "e|r", "Ġ|t", "Ġt|o", ";|!"];
    whole(bpe("Ġ", &merges), byte_level())
}

/// A token a word, known or not.
fn word_level() -> Value {
    whole(json!({"type": "WordLevel", "vocab": {"<s>": 0, "the": 1}, "unk_token": "<s>"}), json!({"type": "Whitespace"}))
}

/// Whole texts at once: a piece may reach over a blank, and words do not add up.
fn over_blanks() -> Value {
    whole(bpe(" ", &["e| ", "e |t", "t|h", "d| ", "r| "]), Value::Null)
}

fn request(tokens: u32, prefix: u32, api: Api) -> RequestSpec {
    RequestSpec {
        api,
        stream: true,
        prompt_len: Length::Fixed(tokens),
        gen_tokens: Length::Fixed(8),
        batch: NonZeroU32::MIN,
        shared_prefix: (prefix > 0).then_some(SharedPrefix { groups: NonZeroU32::MIN, tokens: prefix }),
        turns: None,
        sampling: Map::new(),
    }
}

/// The words, and who counts.
fn read(tokenizer: &Value) -> (WordTokens, impl Fn(&str, bool) -> Result<u32, String> + use<>) {
    let (_folder, path) = written(tokenizer.to_string().as_bytes());
    (words(&path).unwrap(), counter(&path).unwrap())
}

fn maker(words: &WordTokens, request: &RequestSpec, seed: u64, told: Option<&Counting>) -> PromptMaker {
    let counting = Counting::by_tokenizer(told, words, request.api);
    assert_eq!(counting.lengths_by(request), LengthsBy::Tokenizer);
    PromptMaker::counted(request, seed, Some(&counting))
}

fn text(prompt: Prompt) -> String {
    match prompt {
        Prompt::Text(text) => text,
        other => panic!("{other:?} is no text"),
    }
}

#[test]
fn every_prompt_has_exactly_the_asked_tokens_by_the_tokenizer_itself() {
    for (name, tokenizer) in [("letters", letters()), ("syllables", syllables()), ("words", word_level())] {
        let (words, count) = read(&tokenizer);
        assert_eq!((words.each.len(), words.around), (256, 1), "{name}");
        for tokens in [4, 5, 8, 9, 33, 128, 1_000] {
            for prefix in [0, 6, 70] {
                let maker = maker(&words, &request(tokens, prefix, Api::Completions), 7, None);
                for index in 0..40 {
                    let text = text(maker.prompt(index));
                    // The mark of the beginning is among the asked ones.
                    assert_eq!(count(&text, true), Ok(tokens), "{name}: {text}");
                }
            }
        }
    }
}

proptest! {
    #[test]
    fn whatever_the_seed(seed: u64, index: u64, tokens in 4_u32..400, prefix in 0_u32..100) {
        thread_local! {
            static READ: (WordTokens, Box<Counter>) = {
                let (words, count) = read(&syllables());
                (words, Box::new(count))
            };
        }
        READ.with(|(words, count)| {
            let maker = maker(words, &request(tokens, prefix, Api::Completions), seed, None);
            let (one, other) = (text(maker.prompt(index)), text(maker.prompt(index.wrapping_add(1))));
            prop_assert_eq!(count(&one, true), Ok(tokens), "{}", one);
            // Of short ones little is their own.
            prop_assert!(one != other || tokens < prefix + 20, "{}", one);
            Ok(())
        })?;
    }
}

#[test]
fn prompts_of_named_blocks_are_exact_and_alike_as_far_as_their_blocks_are() {
    let (words, count) = read(&letters());
    let maker = maker(&words, &request(1, 0, Api::Chat), 5, None);
    let (one, other) = (text(maker.of_blocks(&[7, 8, 9], 64, 160)), text(maker.of_blocks(&[7, 8, 4], 64, 192)));
    assert_eq!((count(&one, false), count(&other, false)), (Ok(160), Ok(192)));
    let alike = one.bytes().zip(other.bytes()).take_while(|(one, other)| one == other).count();
    // A word does not end where a block does.
    assert!((120..140).contains(&alike), "{alike}: {one} | {other}");
    assert_eq!(count(&text(maker.sized(3, 77)), false), Ok(77));
}

#[test]
fn what_a_chat_s_template_adds_is_part_of_the_asked_length() {
    let (words, count) = read(&syllables());
    let all = f64::from(words.all + 30) / 256.0;
    let told = Counting { by: LengthsBy::Usage, tokens_per_word: all, overhead: 0, api: Api::Chat, ids: Vec::new(), words: None };
    let maker = maker(&words, &request(100, 0, Api::Chat), 1, Some(&told));
    assert_eq!(count(&text(maker.prompt(3)), false), Ok(70));
}

#[test]
fn where_words_do_not_add_up_lengths_are_right_on_average() {
    let (words, count) = read(&over_blanks());
    assert_eq!((words.all, words.each.len()), (count(&probe(0), false).unwrap(), 0));
    let maker = maker(&words, &request(200, 0, Api::Completions), 1, None);
    let sum: u32 = (0..200).map(|index| count(&text(maker.prompt(index)), true).unwrap()).sum();
    assert!((39_600..=40_400).contains(&sum), "{sum} for 40000");
}

#[test]
fn a_folder_stands_for_the_file_in_it() {
    let (folder, path) = written(word_level().to_string().as_bytes());
    assert_eq!(words(folder.path()).unwrap(), words(&path).unwrap());
}

#[test]
fn whatever_is_no_tokenizer_is_refused_with_its_path_the_cause_and_advice() {
    let refused = |text: &[u8]| {
        let (_folder, path) = written(text);
        let said = words(&path).unwrap_err().to_string();
        assert!(said.contains(&path.display().to_string()), "{said}");
        said
    };
    let unknown_to_it = json!({"type": "WordLevel", "vocab": {"<s>": 0, "xyz": 1}, "unk_token": "none"});
    let no_words = json!({"type": "BPE", "vocab": {"<s>": 0}, "merges": []});
    for (text, causes) in [
        (b"".to_vec(), ["not JSON", "tokenizer.json"]),
        (b"\x0a\x0e\x0a\x05<unk>".to_vec(), ["not JSON", "tokenizer.json"]),
        (b"{\"a\": 1}".to_vec(), ["no tokenizer", "not its vocabulary"]),
        (b"[]".to_vec(), ["no tokenizer", "not its vocabulary"]),
        (b"{\"the\": 1, \"of\": 2}".to_vec(), ["no tokenizer", "not its vocabulary"]),
        (whole(json!({"type": "Later"}), Value::Null).to_string().into_bytes(), ["no tokenizer", "not its vocabulary"]),
        (whole(unknown_to_it, json!({"type": "Whitespace"})).to_string().into_bytes(), ["cannot count English words", "leave"]),
        (whole(no_words, byte_level()).to_string().into_bytes(), ["no token for `the`", "leave"]),
    ] {
        let said = refused(&text);
        assert!(causes.iter().all(|cause| said.contains(cause)), "{said}");
    }
    let folder = tempfile::tempdir().unwrap();
    let said = words(folder.path()).unwrap_err().to_string();
    assert!(said.contains("tokenizer.json`: No such file") && said.contains("folder that holds it"), "{said}");
    let said = words(Path::new("/dev/zero")).unwrap_err().to_string();
    assert!(said.contains("not a file"), "{said}");
}
