//! Words in, exit code out, without a run.

use std::{fs, path::Path};

use serde_json::Value;

use crate::support::{Ended, Scene};

/// The repository.
fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

fn json(ended: &Ended) -> Value {
    serde_json::from_str(&ended.stdout).unwrap_or_else(|error| panic!("{error}: {}{}", ended.stdout, ended.stderr))
}

fn refused(scene: &Scene, arguments: &[&str], said: &[&str]) -> Ended {
    let ended = scene.says(arguments);
    assert_eq!(ended.code, Some(2), "{arguments:?}: {}", ended.stderr);
    for word in said {
        assert!(ended.stderr.contains(word), "{arguments:?} does not say `{word}`: {}", ended.stderr);
    }
    ended
}

#[test]
fn words_that_mean_nothing_are_refused_with_advice() {
    let scene = Scene::new();
    refused(&scene, &["--nope"], &["--nope", "--help"]);
    refused(&scene, &["--leader"], &["--leader <RECIPE>"]);
    refused(&scene, &["--leader", "none.yaml"], &["none.yaml", "hbnode list"]);
    refused(&scene, &["--leader", "."], &["name a file in it"]);
    refused(&scene, &["--leader", "a.yaml", "--set", "workload.duration"], &["path=value"]);
    refused(&scene, &["--leader", "a.yaml", "--local-nodes", "0"], &["--local-nodes"]);
    refused(&scene, &["plan", "none.yaml"], &["none.yaml"]);
    refused(&scene, &["report", "none"], &["none"]);
    refused(&scene, &["list", "none"], &["none"]);
    refused(&scene, &["dummy", "--ttft", "soon"], &["--ttft", "soon"]);
    let lost = refused(&scene, &[], &[]);
    assert!(lost.stdout.contains("Usage: hbnode"), "with no leader known it prints the help");
}

#[test]
fn every_problem_of_a_recipe_is_shown_at_once() {
    let scene = Scene::new();
    scene.file(
        "broken.yaml",
        "scenario: broken\norchestration: {mode: locl}\nworkload: {service: dummy, modl: a, duration: 5x, concurrency: 0}\nserver: {}\n",
    );
    let said =
        ["orchestration.mode", "`local`", "workload.modl", "`model`", "5x", "workload.concurrency", "`servers`", "broken.yaml:2"];
    let led = refused(&scene, &["--leader", "broken.yaml", "--json"], &said);
    assert_eq!(led.line(), serde_json::json!({"run_dir": null, "verdict": null, "exit_code": 2}));
    refused(&scene, &["validate", "broken.yaml"], &said);
    refused(&scene, &["plan", "broken.yaml"], &said);

    let recipes = root().join("recipes/quickstart.yaml");
    let ended = scene.says(&["validate", "--json", "broken.yaml", recipes.to_str().unwrap(), "none.yaml"]);
    assert_eq!(ended.code, Some(2));
    let rows = json(&ended);
    let valid: Vec<_> = rows.as_array().unwrap().iter().map(|row| row["valid"].as_bool().unwrap()).collect();
    assert_eq!(valid, [false, true, false]);
    assert_eq!(rows[1]["trials"], 2);
    let problems = rows[0]["problems"].as_array().unwrap();
    assert_eq!(problems.len(), 5, "{problems:#?}");
    for problem in problems {
        for key in ["severity", "path", "line", "found", "accepted"] {
            assert!(!problem[key].is_null(), "{key} is missing: {problem}");
        }
    }
}

#[test]
fn a_recipe_for_a_cluster_is_refused_elsewhere_with_advice() {
    let scene = Scene::new();
    let recipe = root().join("recipes/dummy_cluster.yaml");
    refused(&scene, &["--leader", recipe.to_str().unwrap()], &["slurm", "--set orchestration.mode=local"]);
    assert!(!scene.path("results").exists(), "nothing has begun");
}

#[test]
fn recipes_are_listed_and_planned_for_scripts() {
    let scene = Scene::new();
    let recipes = root().join("recipes");
    let listed = json(&scene.says(&["list", "--json", recipes.to_str().unwrap()]));
    let quickstart = listed.as_array().unwrap().iter().find(|row| row["scenario"] == "quickstart").unwrap();
    assert_eq!((&quickstart["service"], &quickstart["nodes"], &quickstart["trials"]), (&"dummy".into(), &1.into(), &2.into()));

    let cluster = recipes.join("dummy_cluster.yaml");
    let plan = json(&scene.says(&["plan", "--json", cluster.to_str().unwrap()]));
    assert_eq!(plan["nodes"].as_array().unwrap().len(), 3);
    assert_eq!(plan["expected_seconds"], 35.0);
    let trial = &plan["trials"][0];
    assert_eq!(trial["servers"][0]["command"][1], "dummy");
    let shares = trial["shares"].as_array().unwrap();
    assert_eq!(shares.len(), 2);
    let due = |share: &Value| share["first_due_seconds"][0].as_f64().unwrap();
    assert_ne!(due(&shares[0]), due(&shares[1]), "no request belongs to two nodes");

    let text = scene.says(&["plan", cluster.to_str().unwrap()]);
    assert_eq!(text.code, Some(0));
    assert!(text.stdout.contains("executor 1"), "{}", text.stdout);
}

#[test]
fn schema_completions_and_manual_are_made_from_the_types() {
    let scene = Scene::new();
    let schema = scene.says(&["schema"]);
    assert_eq!(schema.stdout, fs::read_to_string(root().join("schemas/recipe-format.yaml")).unwrap());
    for shell in ["bash", "zsh", "fish"] {
        assert!(scene.says(&["completions", shell]).stdout.contains("local-nodes"), "{shell}");
    }
    assert!(scene.says(&["man"]).stdout.starts_with(".ie"), "{}", scene.says(&["man"]).stdout);
}

#[test]
fn the_help_is_worth_reading() {
    let scene = Scene::new();
    insta::assert_snapshot!("help", scene.says(&["--help"]).stdout);
    insta::assert_snapshot!("help_dummy", scene.says(&["dummy", "--help"]).stdout);
}

#[test]
fn a_reader_that_goes_away_is_no_fault_to_be_told() {
    let scene = Scene::new();
    let recipe = root().join("recipes/sweep.yaml");
    for arguments in [vec!["schema"], vec!["plan", "--json", recipe.to_str().unwrap()]] {
        let mut command = scene.hbnode();
        command.args(&arguments).stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped());
        let mut child = command.spawn().unwrap();
        drop(child.stdout.take());
        let ended = child.wait_with_output().unwrap();
        assert_eq!((ended.status.code(), String::from_utf8_lossy(&ended.stderr).as_ref()), (Some(141), ""), "{arguments:?}");
    }
}
