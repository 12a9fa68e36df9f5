//! `hbnode bench`: a run without a recipe. The recipe it amounts to is written beside the results.

use super::{exit::Exit, words::BenchWords};
use crate::{
    cli::{LeadWords, NodeWords},
    lead::{self, recipe::Source},
};

/// Measures a server that already runs.
pub fn run(words: &BenchWords, node: &NodeWords) -> Exit {
    let source = Source { name: "the recipe of `hbnode bench`".into(), bytes: recipe(words).into_bytes() };
    let lead = LeadWords { results: words.results.clone(), json: words.json, join_timeout: 60, ..LeadWords::default() };
    lead::run_source(source, &lead, node)
}

/// The words as a recipe. Every value from outside is written as JSON, which YAML reads as data whatever it holds.
fn recipe(words: &BenchWords) -> String {
    let quoted = |text: &str| serde_json::Value::from(text).to_string();
    let levels: Vec<String> = words.concurrency.iter().map(ToString::to_string).collect();
    let key = words.api_key_env.as_deref().map_or_else(String::new, |name| format!("\n  api_key_env: {}", quoted(name)));
    format!(
        "\
scenario: bench
orchestration: {{mode: local}}
servers:
  endpoints: [{url}]{key}
  health_check: {{timeout: {wait}}}
workload:
  service: {service}
  model: {model}
  concurrency: [{levels}]
  warmup: {warmup}
  duration: {duration}
  prompt_len: {prompt_len}
  gen_tokens: {gen_tokens}
",
        url = quoted(words.url.trim_end_matches('/')),
        service = quoted(&words.service),
        model = quoted(&words.model),
        levels = levels.join(", "),
        warmup = quoted(&words.warmup),
        duration = quoted(&words.duration),
        wait = quoted(&words.wait),
        prompt_len = words.prompt_len,
        gen_tokens = words.gen_tokens,
    )
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;
    use hb_core::recipe;

    use super::*;
    use crate::cli::words::{Verb, Words};

    fn written(arguments: &[&str]) -> recipe::Reading {
        let words = Words::try_parse_from(["hbnode", "bench"].iter().chain(arguments)).unwrap();
        let Some(Verb::Bench(bench)) = words.verb else { panic!("not the verb bench") };
        recipe::read(super::recipe(&bench).as_bytes(), &[], &lead::recipe::known_services())
    }

    #[test]
    fn the_words_amount_to_a_recipe_that_can_be_run() {
        let reading = written(&["http://127.0.0.1:8000/", "--model", "m", "--concurrency", "2,4"]);
        let trials = recipe::trials(&reading.recipe.expect("a recipe without errors"));
        assert_eq!(trials.len(), 2);
        assert_eq!(trials[0].service.endpoints, ["http://127.0.0.1:8000"]);
    }

    #[test]
    fn a_hostile_model_name_stays_a_name() {
        let reading = written(&["http://127.0.0.1:8000", "--model", "m\", servers: {} # '"]);
        let trials = recipe::trials(&reading.recipe.expect("a recipe without errors"));
        assert_eq!(trials[0].service.model, "m\", servers: {} # '");
    }
}
