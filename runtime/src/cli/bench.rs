//! `hbnode bench`: a run without a recipe. The recipe it amounts to is written beside the results.

use super::{exit::Exit, words::BenchWords};
use crate::{
    cli::{LeadWords, NodeWords},
    lead::{self, recipe::Source},
};

/// Measures a server that already runs.
pub fn run(words: &BenchWords, is_quiet: bool) -> Exit {
    let source = Source { name: "the recipe of `hbnode bench`".into(), bytes: recipe(words).into_bytes() };
    let lead = LeadWords { results: words.results.clone(), json: words.json, join_timeout: 60, is_quiet, ..LeadWords::default() };
    let node = NodeWords { is_quiet, endpoints: words.endpoints.clone(), ..NodeWords::default() };
    lead::run_source(source, &lead, &node)
}

/// The words as a recipe. Every value from outside is written as JSON, which YAML reads as data whatever it holds.
fn recipe(words: &BenchWords) -> String {
    let key = words.api_key_env.as_deref().map_or_else(String::new, |name| format!("\n  api_key_env: {}", quoted(name)));
    let names: Vec<String> = words.answers_as.iter().map(|name| quoted(name)).collect();
    let names = if names.is_empty() { String::new() } else { format!("\n  answers_as: {}", listed(&names)) };
    let headers: String =
        words.headers.iter().map(|(name, value)| format!("\n    {}: {}", quoted(name), quoted(value))).collect();
    let headers = if headers.is_empty() { headers } else { format!("\n  headers:{headers}") };
    let load = if words.rate.is_empty() {
        format!("concurrency: {}", listed(&words.concurrency))
    } else {
        format!("target_rps: {}", listed(&words.rate))
    };
    let until = words
        .requests
        .map_or_else(|| format!("duration: {}", quoted(&words.duration)), |requests| format!("requests: {requests}"));
    let prompts = words.dataset.as_deref().map_or_else(
        || format!("prompt_len: {}", words.prompt_len),
        |path| format!("dataset: {}", quoted(&path.to_string_lossy())),
    );
    let seed = words.seed.map_or_else(String::new, |seed| format!("metadata: {{seed: {seed}}}\n"));
    format!(
        "\
scenario: bench
orchestration: {{mode: local}}
servers:
  endpoints: [{url}]{names}{headers}{key}
  health_check: {{timeout: {wait}}}
workload:
  service: {service}
  model: {model}
  {load}
  warmup: {warmup}
  {until}
  {prompts}
  gen_tokens: {gen_tokens}
{seed}",
        url = quoted(words.url.trim_end_matches('/')),
        service = quoted(&words.service),
        model = quoted(&words.model),
        warmup = quoted(&words.warmup),
        wait = quoted(&words.wait),
        gen_tokens = words.gen_tokens,
    )
}

fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// Values that sweep.
fn listed<T: ToString>(values: &[T]) -> String {
    format!("[{}]", values.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "))
}

#[cfg(test)]
mod tests {
    use hb_core::{
        recipe,
        trial::{HeaderSource, Stop},
    };

    use super::*;
    use crate::cli::words::{Verb, Words};

    fn written(arguments: &[&str]) -> recipe::Reading {
        let words = Words::read(["hbnode", "bench"].iter().chain(arguments)).unwrap();
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
    fn rates_a_count_and_a_file_of_prompts_take_the_place_of_levels_a_time_and_a_length() {
        let reading = written(&["http://h", "--model", "m", "--rate", "2.5,10", "--requests", "40", "--dataset", "p.txt"]);
        let trials = recipe::trials(&reading.recipe.expect("a recipe without errors"));
        let rates: Vec<_> = trials.iter().map(|trial| &trial.parameters["target_rps"]).collect();
        assert_eq!(rates, [&serde_json::json!(2.5), &serde_json::json!(10.0)]);
        assert!(trials.iter().all(|trial| trial.load.model.is_open() && trial.load.stop == Stop::Requests(40)));
        assert!(trials.iter().all(|trial| trial.load.dataset.is_some()));
    }

    #[test]
    fn a_seed_is_written_where_it_is_said() {
        let seed = |arguments: &[&str]| {
            let reading = written(&[&["http://h", "--model", "m"], arguments].concat());
            reading.recipe.expect("a recipe without errors").seed()
        };
        assert_eq!([seed(&["--seed", "7"]), seed(&[])], [Some(7), None]);
    }

    #[test]
    fn further_names_of_the_model_are_listed_with_the_servers() {
        let reading = written(&["http://h", "--model", "m", "--answers-as", "org/m-2", "--answers-as", "a, b]"]);
        let trials = recipe::trials(&reading.recipe.expect("a recipe without errors"));
        assert_eq!(trials[0].service.answers_as, ["org/m-2", "a, b]"]);
    }

    #[test]
    fn headers_stand_with_the_servers_and_secret_ones_are_refused() {
        let reading = written(&["http://h", "--model", "m", "--header", "X-Tenant: a: b\"", "--header", "X-Team:7"]);
        let trials = recipe::trials(&reading.recipe.expect("a recipe without errors"));
        let text = |text: &str| HeaderSource::Text(text.into());
        let expected = [("X-Team".to_owned(), text("7")), ("X-Tenant".to_owned(), text("a: b\""))];
        assert_eq!(trials[0].service.headers, expected.into());
        for wrong in ["X-Tenant", "Authorization: Bearer x", "X-Api-Key: k"] {
            let refused = Words::read(["hbnode", "bench", "http://h", "--model", "m", "--header", wrong]);
            assert!(refused.is_err(), "{wrong}");
        }
        let refused = written(&["http://h", "--model", "m", "--header", "host: x"]);
        assert!(refused.recipe.is_none(), "{:?}", refused.problems);
    }

    #[test]
    fn a_hostile_model_name_stays_a_name() {
        let reading = written(&["http://127.0.0.1:8000", "--model", "m\", servers: {} # '"]);
        let trials = recipe::trials(&reading.recipe.expect("a recipe without errors"));
        assert_eq!(trials[0].service.model, "m\", servers: {} # '");
    }
}
