//! A bare workload block, as the old toolkit's `--workload-config-file` and `POST /start` took it.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use super::{
    read::{text_of, tree_of},
    tree::{Node, Shape},
};

/// The keys of a whole recipe that no workload has.
const OF_A_RECIPE: [&str; 3] = ["scenario", "orchestration", "workload"];

/// A recipe in local mode around a bare workload block (YAML or JSON), or `None` where the bytes are something
/// else: a whole recipe, or nothing that [`read()`](super::read()) would understand.
///
/// The old `server_url` becomes the one endpoint, `num_threads` becomes `clients_per_node`, and bare numbers
/// for `duration`, `warmup` and `sleep_seconds` are seconds, as they were.
#[must_use]
pub fn from_workload_block(bytes: &[u8]) -> Option<Vec<u8>> {
    let tree = text_of(bytes).and_then(tree_of).ok()?;
    if OF_A_RECIPE.iter().any(|key| tree.get(key).is_some()) || has_a_key_twice(&tree) {
        return None;
    }
    ["service", "server_url", "model", "duration"].iter().find(|key| tree.get(key).is_some())?;
    let Value::Object(mut workload) = tree.to_json() else { return None };
    for key in ["duration", "warmup", "sleep_seconds"] {
        if let Some(value) = workload.get_mut(key) {
            give_unit(value);
        }
    }
    if let Some(threads) = workload.remove("num_threads") {
        workload.entry("clients_per_node").or_insert(threads);
    }
    let url = workload.remove("server_url");
    let scenario = scenario_of(&workload);
    let mut recipe = json!({ "scenario": scenario, "orchestration": { "mode": "local" }, "workload": workload });
    if let Some(url) = url {
        recipe["servers"] = json!({ "endpoints": [url] });
    }
    serde_yaml::to_string(&recipe).ok().map(String::into_bytes)
}

/// Of a key that stands twice one value would be lost here; the reader names both lines instead.
fn has_a_key_twice(tree: &Node) -> bool {
    let Shape::Map(entries) = &tree.shape else { return false };
    let mut seen = BTreeSet::new();
    entries.iter().any(|entry| !seen.insert(entry.key.as_str()))
}

fn give_unit(value: &mut Value) {
    match value {
        Value::Number(seconds) => *value = format!("{seconds}s").into(),
        Value::Array(values) => values.iter_mut().for_each(give_unit),
        _ => {}
    }
}

/// Service and model as a folder's name: `ollama-llama2`.
fn scenario_of(workload: &Map<String, Value>) -> String {
    let word = |key: &str| workload.get(key).and_then(Value::as_str).unwrap_or_default();
    let joined = format!("{}-{}", word("service"), word("model"));
    let safe: String =
        joined.chars().map(|c| if c.is_ascii_alphanumeric() || matches!(c, '.' | '_') { c } else { '-' }).collect();
    let safe: String = safe.trim_matches(['-', '.']).chars().take(80).collect();
    if safe.is_empty() { "workload".to_owned() } else { safe }
}

#[cfg(test)]
mod tests {
    use super::{super::*, *};
    use crate::{
        trial::{LoadModel, Stop, Trial},
        units::Span,
    };

    const SERVICES: [KnownService; 2] = [
        KnownService { name: "ollama", default_api: Api::Generate, is_started: true },
        KnownService { name: "dummy", default_api: Api::Completions, is_started: true },
    ];

    fn trial_of(block: &str) -> (Recipe, Trial) {
        let bytes = from_workload_block(block.as_bytes()).unwrap();
        let reading = read(&bytes, &[], &SERVICES);
        let text = String::from_utf8(bytes).unwrap();
        assert_eq!(reading.problems, [], "{text}");
        let recipe = reading.recipe.unwrap();
        let trial = trials(&recipe).remove(0);
        (recipe, trial)
    }

    #[test]
    fn a_block_in_yaml_becomes_a_local_recipe() {
        let (recipe, trial) = trial_of("service: ollama\nmodel: library/llama2:7b\nduration: 30\nclients_per_node: 4\n");
        assert_eq!((recipe.scenario.as_str(), recipe.orchestration.mode), ("ollama-library-llama2-7b", Mode::Local));
        assert_eq!(trial.load.stop, Stop::After(Span::from_secs(30)));
        let LoadModel::Closed { concurrency, .. } = trial.load.model else { panic!("a closed loop") };
        assert_eq!(concurrency.get(), 4);
    }

    #[test]
    fn the_old_body_of_start_in_json_names_its_server() {
        let body =
            r#"{"server_url": "http://10.0.0.1:11434", "service": "ollama", "model": "m", "duration": 60.5, "num_threads": 2}"#;
        let (recipe, trial) = trial_of(body);
        assert_eq!(trial.service.endpoints, ["http://10.0.0.1:11434"]);
        assert_eq!(trial.load.stop, Stop::After(Span::from_millis(60_500)));
        assert_eq!(recipe.needs().servers, 0);
    }

    #[test]
    fn json_that_is_indented_by_tabs_is_read() {
        let (_, trial) = trial_of("{\n\t\"service\": \"dummy\",\n\t\"duration\": 10,\n\t\"concurrency\": 3\n}\n");
        assert_eq!(trial.load.stop, Stop::After(Span::from_secs(10)));
    }

    #[test]
    fn what_is_no_bare_block_is_left_to_the_reader() {
        for text in [
            "",
            "- a\n",
            "scenario: s\nworkload: {service: dummy}\n",
            "colour: blue\n",
            "service: [\n",
            "service: a\nservice: b\n",
        ] {
            assert_eq!(from_workload_block(text.as_bytes()), None, "{text:?}");
        }
        assert_eq!(from_workload_block(&[0xff, 0xfe]), None);
    }

    #[test]
    fn a_mistake_in_a_block_is_named_as_in_a_recipe() {
        let bytes = from_workload_block(b"service: dummy\nduraton: 10\n").unwrap();
        let reading = read(&bytes, &[], &SERVICES);
        assert!(reading.problems.iter().any(|problem| problem.path == "workload.duraton"), "{:?}", reading.problems);
    }

    #[test]
    fn an_account_is_seen_where_it_is_written() {
        assert!(names_account(b"account: p200981\n"));
        assert!(names_account(b"account: 200981\nscenario: s\n"));
        for text in [&b"account:\n"[..], b"metadata: {notes: account}\n", b"", b"[", &[0xff]] {
            assert!(!names_account(text), "{text:?}");
        }
    }
}
