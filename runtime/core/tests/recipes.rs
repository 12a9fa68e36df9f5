//! Every file in `recipes/` is read, expands, and fits the schema; the schema's file is not stale.
#![expect(clippy::disallowed_methods, reason = "a test reads the files that the core is quiet about")]

use std::{collections::BTreeSet, fs, num::NonZeroU32, path::PathBuf};

use hb_core::{
    recipe::{KnownService, Reading, read, resolved_text, schema, show, trials},
    trial::{Api, Arrivals, LoadModel, Trial},
    units::Span,
};
use proptest::{prelude::*, sample::subsequence};

const SERVICES: [KnownService; 4] = [
    KnownService { name: "ollama", default_api: Api::Generate, is_started: true },
    KnownService { name: "vllm", default_api: Api::Completions, is_started: true },
    KnownService { name: "dummy", default_api: Api::Completions, is_started: true },
    KnownService { name: "openai", default_api: Api::Chat, is_started: false },
];

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn reading(text: &str) -> Reading {
    read(text.as_bytes(), &[], &SERVICES)
}

#[test]
fn every_recipe_is_read_and_expands_and_fits_the_schema() {
    let validator = jsonschema::validator_for(&schema()).unwrap();
    let mut count = 0;
    for entry in fs::read_dir(root().join("recipes")).unwrap() {
        let path = entry.unwrap().path();
        let text = fs::read_to_string(&path).unwrap();
        let found = reading(&text);
        let page = show(&found.problems, &text, &path.display().to_string());
        let recipe = found.recipe.unwrap_or_else(|| panic!("{page}"));
        assert_eq!(found.problems, [], "{page}");
        assert_eq!(found.later, [], "{}", path.display());
        let trials = trials(&recipe);
        let ids: BTreeSet<&str> = trials.iter().map(|trial| trial.id.as_str()).collect();
        assert!(!trials.is_empty() && ids.len() == trials.len(), "{}", path.display());
        let json = serde_json::to_value(&recipe).unwrap();
        let misfits: Vec<String> = validator.iter_errors(&json).map(|error| error.to_string()).collect();
        assert_eq!(misfits, Vec::<String>::new(), "{}", path.display());
        count += 1;
    }
    assert_eq!(count, 10);
}

#[test]
fn the_schema_in_the_repository_is_the_one_of_the_types() {
    let path = root().join("schemas/recipe-format.yaml");
    let text = hb_core::recipe::schema_text();
    if std::env::var_os("UPDATE_SCHEMA").is_some() {
        fs::write(&path, &text).unwrap();
    }
    assert!(fs::read_to_string(&path).unwrap() == text, "run this test with UPDATE_SCHEMA=1");
}

#[test]
fn a_sweep_has_stable_readable_names() {
    let text = fs::read_to_string(root().join("recipes/sweep.yaml")).unwrap();
    let trials = trials(&reading(&text).recipe.unwrap());
    let ids: Vec<&str> = trials.iter().map(|trial| trial.id.as_str()).collect();
    assert_eq!(ids.len(), 8);
    assert_eq!(
        ids[..3],
        ["concurrency-1.prompt_len-128.r1", "concurrency-1.prompt_len-128.r2", "concurrency-1.prompt_len-512.r1"]
    );
    let seeds: BTreeSet<u64> = trials.iter().map(|trial| trial.seed).collect();
    assert_eq!(seeds.len(), 8);
}

#[test]
fn an_entry_of_a_suite_has_its_own_load() {
    let base = "scenario: s\norchestration: {mode: local}\nworkload:\n  service: dummy\n  duration: 10s\n  benchmark_suite:\n";
    let models = |lines: &str, shared: &str| {
        let all = trials(&reading(&format!("{base}{lines}{shared}")).recipe.unwrap());
        all.into_iter().map(|trial| (trial.id.to_string(), trial.load.model)).collect::<Vec<_>>()
    };
    let closed = |clients| LoadModel::Closed { concurrency: NonZeroU32::new(clients).unwrap(), think: Span::ZERO };
    let open = |rate| LoadModel::Open { rate, arrivals: Arrivals::Constant };
    let entries = "    - {name: threads, num_threads: 3}\n    - {name: open, target_rps: 5}\n    - {name: as-all}\n";
    let over_closed = models(entries, "  concurrency: 4\n  request_distribution: constant\n");
    let expected = [("threads", closed(3)), ("open", open(5.0)), ("as-all", closed(4))];
    assert_eq!(over_closed, expected.map(|(name, model)| (name.to_owned(), model)));
    let over_open = models(
        "    - {name: closed, concurrency: 2}\n    - {name: as-all}\n",
        "  target_rps: 7\n  request_distribution: [constant]\n",
    );
    // The swept shape of an open loop is none of the closed entry's.
    let expected = [("closed", closed(2)), ("as-all.request_distribution-constant", open(7.0))];
    assert_eq!(over_open, expected.map(|(name, model)| (name.to_owned(), model)));
}

proptest! {
    #[test]
    fn trials_are_the_product_of_all_lists_and_stay_the_same_when_read_again(
        concurrency in subsequence(vec![1, 2, 3, 4, 8], 1..5),
        prompts in subsequence(vec!["16", "{uniform: [1, 64]}", "{normal: [64, 8]}", "128"], 1..4),
        ttft in subsequence(vec!["1ms", "2ms", "3ms"], 1..3),
        entries in subsequence(vec!["a b", "A-B", "c", "\u{e9}"], 0..4),
        repetitions in 1_usize..4,
        is_list in any::<bool>(),
    ) {
        let list = |words: &[String]| if is_list || words.len() > 1 { format!("[{}]", words.join(", ")) } else { words[0].clone() };
        let words = |values: &[&str]| values.iter().map(ToString::to_string).collect::<Vec<_>>();
        let suite: String = entries.iter().map(|name| format!("    - {{name: \"{name}\", duration: 5s}}\n")).collect();
        let suite = if suite.is_empty() { suite } else { format!("  benchmark_suite:\n{suite}") };
        let text = format!(
            "scenario: s\nrepetitions: {repetitions}\norchestration: {{mode: local}}\nservers: {{service_config: {{ttft: {}}}}}\n\
             workload:\n  service: dummy\n  duration: 10s\n  concurrency: {}\n  prompt_len: {}\n{suite}",
            list(&words(&ttft)),
            list(&concurrency.iter().map(u32::to_string).collect::<Vec<_>>()),
            list(&words(&prompts)),
        );
        let recipe = reading(&text).recipe.unwrap();
        let all = trials(&recipe);
        let product = concurrency.len() * prompts.len() * ttft.len() * entries.len().max(1) * repetitions;
        prop_assert_eq!(all.len(), product);
        // Some file systems hold `A` and `a` for one name.
        let ids: BTreeSet<String> = all.iter().map(|trial| trial.id.as_str().to_lowercase()).collect();
        prop_assert_eq!(ids.len(), product);
        let seeds: BTreeSet<u64> = all.iter().map(|trial| trial.seed).collect();
        prop_assert_eq!(seeds.len(), product);
        let again = reading(&resolved_text(&recipe)).recipe.unwrap();
        prop_assert_eq!(&again, &recipe);
        prop_assert_eq!(trials(&again), all);
    }
}

fn check_broken(text: &str, path: &str, line: Option<u32>) {
    let found = reading(text);
    let page = show(&found.problems, text, "broken.yaml");
    assert!(found.recipe.is_none(), "{text}");
    assert!(found.problems.iter().any(|problem| problem.is_error() && problem.path == path && problem.line == line), "{page}");
}

#[test]
fn broken_recipes_name_the_field_and_the_line() {
    let base = "scenario: s\norchestration: {mode: local}\nworkload:\n  service: dummy\n  duration: 10s\n";
    assert!(reading(base).recipe.is_some());
    for (line, path) in [
        ("  concurency: 4", "workload.concurency"),
        ("  concurrency: 0", "workload.concurrency"),
        ("  concurrency: [1, two]", "workload.concurrency[1]"),
        ("  concurrency: []", "workload.concurrency"),
        ("  warmup: soon", "workload.warmup"),
        ("  warmup: -1s", "workload.warmup"),
        ("  duration: 20s", "workload.duration"),
        ("  target_rps: .nan", "workload.target_rps"),
        ("  target_rps: .inf", "workload.target_rps"),
        ("  target_rps: 0", "workload.target_rps"),
        ("  api: telepathy", "workload.api"),
        ("  prompt_len: {uniform: [1]}", "workload.prompt_len.uniform"),
        ("  slo: {tfft_p99: 1s}", "workload.slo.tfft_p99"),
        ("  requests: 1e30", "workload.requests"),
        ("colour: blue", "colour"),
    ] {
        check_broken(&format!("{base}{line}\n"), path, Some(6));
    }
    for text in ["", "# only words\n", "- a list\n", "scenario: [\n", "a: &a [*a]\n", "\tscenario: s\n", "just words"] {
        let found = reading(text);
        assert!(found.recipe.is_none() && found.problems.iter().any(|problem| problem.is_error()), "{text:?}");
    }
    assert!(read(&[0xff, 0xfe, 0], &[], &SERVICES).recipe.is_none());
    assert!(read(&vec![b'a'; 100 << 20], &[], &SERVICES).recipe.is_none());
}

#[test]
fn set_overrides_and_unknown_paths_are_named() {
    let text = "scenario: s\norchestration: {mode: local}\nworkload: {service: dummy, duration: 10s}\n";
    let set = |path: &str, value: &str| read(text.as_bytes(), &[(path.into(), value.into())], &SERVICES);
    let recipe = set("workload.concurrency", "[1, 2]").recipe.unwrap();
    assert_eq!(trials(&recipe).len(), 2);
    let wrong = set("workload.concurency", "4");
    assert_eq!(wrong.problems[0].advice.as_deref(), Some("did you mean `concurrency`?"));
}

#[test]
fn zero_where_zero_means_something_is_accepted() {
    let text = "scenario: s\norchestration: {mode: local, job_config: {time_limit: 02:00:00}}\nresources: {servers: {gpus: 0}}\n\
                workload: {service: ollama, model: m, duration: 10, warmup: 0s}\nservers: {service_config: {gpu_layers: 0}}\n";
    let found = reading(text);
    assert!(found.recipe.is_some(), "{}", show(&found.problems, text, "zero.yaml"));
    assert_eq!(found.problems.len(), 1, "a bare number is a warning: {:?}", found.problems);
}

#[test]
fn a_sampling_field_that_is_null_stays_and_means_that_the_field_is_left_out() {
    let text = "scenario: s\norchestration: {mode: local}\nworkload:\n  service: dummy\n  duration: 10s\n  sampling: {ignore_eos: null, max_completion_tokens: \"{gen_tokens}\"}\n";
    let found = reading(text);
    assert_eq!(found.problems, []);
    let recipe = found.recipe.unwrap();
    let again = reading(&resolved_text(&recipe)).recipe.unwrap();
    for recipe in [recipe, again] {
        let sampling = trials(&recipe)[0].request.sampling.clone();
        let expected = serde_json::json!({"ignore_eos": null, "max_completion_tokens": "{gen_tokens}"});
        assert_eq!(serde_json::Value::Object(sampling), expected);
    }
}

#[test]
fn where_a_request_takes_one_prompt_a_batch_is_requests_that_are_due_together() {
    let trials = |workload: &str| {
        let text = format!(
            "scenario: s\norchestration: {{mode: local}}\nworkload:\n  service: dummy\n  duration: 10s\n  batch: 3\n{workload}"
        );
        let found = reading(&text);
        let recipe = found.recipe.as_ref().unwrap_or_else(|| panic!("{}", show(&found.problems, &text, "batch.yaml")));
        trials(recipe)
    };
    let told = |workload: &str| -> Vec<(u32, u32, LoadModel)> {
        let of = |trial: &Trial| (trial.request.batch.get(), trial.load.together.get(), trial.load.model.clone());
        trials(workload).iter().map(of).collect()
    };
    let open = |rate| LoadModel::Open { rate, arrivals: Arrivals::Poisson };
    assert_eq!(told("  target_rps: 20\n  api: [completions, chat]\n"), [(3, 1, open(20.0)), (1, 3, open(60.0))]);
    let closed = LoadModel::Closed { concurrency: 2.try_into().unwrap(), think: Span::ZERO };
    assert_eq!(told("  concurrency: 2\n  api: chat\n"), [(1, 3, closed)]);
    let searched = &trials("  api: chat\n  slo: {ttft_p90: 1s}\n  search: {maximize: rate, from: 20}\n")[0];
    assert_eq!((&searched.load.model, searched.search.as_ref().unwrap().together.get()), (&open(60.0), 3));
    let text = "scenario: s\norchestration: {mode: local}\nworkload:\n  service: dummy\n  api: chat\n  batch: 3\n  \
                stages: [{duration: 5s, target_rps: 4}, {duration: 5s, target_rps: 10, ramp: linear}]\n";
    let LoadModel::Staged { stages, .. } = &hb_core::recipe::trials(&reading(text).recipe.unwrap())[0].load.model else {
        panic!("stages")
    };
    assert_eq!(stages.iter().map(|stage| (stage.from, stage.to)).collect::<Vec<_>>(), [(12.0, 12.0), (12.0, 30.0)]);
}

#[test]
fn a_job_may_last_longer_than_any_load_of_it() {
    let text = |limit: &str| {
        format!(
            "scenario: s\norchestration: {{mode: local, job_config: {{time_limit: {limit}}}}}\nworkload: {{service: dummy, duration: 60s}}\n"
        )
    };
    let found = reading(&text("14-00:00:00"));
    assert!(found.recipe.is_some(), "{}", show(&found.problems, &text("14-00:00:00"), "long.yaml"));
    check_broken(&text("400d"), "orchestration.job_config.time_limit", Some(2));
}

/// What the shell's words stand for in one suite.
const OF_SUITES: &[(&str, &str, &str)] = &[
    ("lengths.sh", "$1", "8000"),
    ("pushgateway.sh", "$1", "http://127.0.0.1:1"),
    ("replay.sh", "$2", "0.25"),
    ("resume.sh", "$2", "duration: [8s, 9s]"),
    ("resume.sh", "$3", "00:10:00"),
    ("slurm-faults.sh", "${2:+on_node_loss: $2}", "on_node_loss: redistribute"),
    ("slurm-faults.sh", "${LIMIT_MINUTES:-10}", "10"),
    ("slurm-faults.sh", "${SERVICE:-dummy}", "dummy"),
    ("slurm-faults.sh", "${MODEL:-dummy}", "dummy"),
    ("slurm-faults.sh", "$3", "duration: 26s"),
    ("slurm-faults.sh", "workload:", "artifacts: {runtime: bare}\nworkload:"),
    ("slurm-vllm.sh", "$2", "3"),
    ("slurm-vllm.sh", "$3", "2"),
    ("slurm-vllm.sh", "$4", ", distributed: {nodes: 2, tensor_parallel_size: 2}"),
    ("tokenizer.sh", "$1", "chat"),
    ("tokenizer.sh", "$DOOR", "8000"),
    ("turns.sh", "$1", "chat"),
    ("turns.sh", "$DOOR", "8000"),
    ("vllm-nodes.sh", "$3", "2"),
    ("vllm-ray.sh", "$3", "1"),
];

/// What they stand for in all the others.
const OF_ALL: &[(&str, &str)] = &[
    ("${3:-}", "drills: [{at: 3s, kill: executor}]"),
    ("$1", "name"),
    ("$2", "8s"),
    ("$URL", "http://127.0.0.1:1"),
    ("$GATEWAY", "9091"),
    ("$PORT", "8000"),
    ("$MASTER", "29500"),
    ("$ROOT", "/root"),
    ("$VLLM", "/root/vllm"),
    ("$V/", "/root/"),
];

/// The recipes inside `tests/real/*.sh`, with the shell's own words filled in.
#[test]
fn recipes_of_the_real_suites_are_accepted_as_they_stand() {
    let mut count = 0;
    for entry in fs::read_dir(root().join("tests/real")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|ending| ending != "sh") {
            continue;
        }
        let script = fs::read_to_string(&path).unwrap().replace("'YAML'", "YAML");
        for text in script.split("YAML\n").filter(|text| text.starts_with("scenario:")) {
            let own = OF_SUITES.iter().filter(|(suite, ..)| path.ends_with(suite));
            let words = own.map(|(_, word, value)| (*word, *value)).chain(OF_ALL.iter().copied());
            let filled = words.fold(text.to_owned(), |text, (word, value)| text.replace(word, value));
            let found = reading(&filled);
            let page = show(&found.problems, &filled, &path.display().to_string());
            let recipe = found.recipe.unwrap_or_else(|| panic!("{page}"));
            assert_eq!(found.later, [], "{page}");
            assert!(!trials(&recipe).is_empty());
            count += 1;
        }
    }
    assert!(count >= 6, "only {count} recipes were found");
}
