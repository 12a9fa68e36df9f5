//! A local `tokenizer.json`, before a server that tells of tokens nothing but its counts.

use std::fs;

use crate::support::{Dummy, Scene, assert_balanced};

/// A token a word, as the Dummy counts.
const WORDS: &str = r#"{"version": "1.0", "added_tokens": [], "pre_tokenizer": {"type": "Whitespace"},
    "model": {"type": "WordLevel", "vocab": {"?": 0}, "unk_token": "?"}}"#;

fn recipe(url: &str, tokenizer: &str) -> String {
    format!(
        "
scenario: tokenizer
orchestration: {{mode: local}}
servers: {{endpoints: [\"{url}\"]}}
workload: {{service: ollama, model: dummy, concurrency: 2, requests: 20, prompt_len: {{uniform: [5, 90]}}, gen_tokens: 4, tokenizer: {tokenizer}}}
"
    )
}

#[test]
fn prompts_get_their_length_by_a_tokenizer_beside_the_recipe() {
    let scene = Scene::new();
    let dummy = Dummy::start(&scene, &[]);
    fs::create_dir(scene.path("model")).unwrap();
    fs::write(scene.path("model/tokenizer.json"), WORDS).unwrap();
    let ended = scene.lead(&recipe(&dummy.url(), "model"), &[]).wait();
    let run = ended.run(0);
    assert_balanced(run.trial(), &run.rows());
    let tokens = &run.trial()["tokens"];
    assert_eq!((&tokens["lengths_by"], &tokens["source"]), (&"tokenizer".into(), &"usage".into()), "{tokens:#}");
}

#[test]
fn what_is_no_tokenizer_is_told_with_its_line_before_anything_starts() {
    let scene = Scene::new();
    fs::write(scene.path("words.json"), "the of and").unwrap();
    for (file, cause) in [("words.json", "it is not JSON"), ("missing.json", "No such file")] {
        let said = scene.lead(&recipe("http://127.0.0.1:9", file), &[]).wait();
        assert_eq!(said.code, Some(2), "{}", said.stderr);
        for word in [file, cause, "workload.tokenizer", ".yaml:5:"] {
            assert!(said.stderr.contains(word), "no {word}: {}", said.stderr);
        }
    }
}
