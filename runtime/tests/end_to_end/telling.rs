//! What a person reads of a run: on the terminal, in the mail and on the page.

use std::{fs, path::PathBuf};

use crate::support::{Ended, Scene};

/// Leads this recipe as a person does, without `--json`.
fn led(scene: &Scene, recipe: &str, further: &[&str]) -> (Ended, PathBuf) {
    let recipe = scene.file("recipe.yaml", recipe);
    let mut command = scene.hbnode();
    command.arg("--leader").arg(recipe).arg("--results").arg(scene.path("results")).args(further);
    let ended = scene.spawn(command).wait();
    let shelf = fs::read_dir(scene.path("results")).unwrap().flatten().next().unwrap().path();
    (ended, shelf.join("latest"))
}

#[test]
fn an_open_loop_that_waits_says_what_a_user_would_have_felt() {
    let scene = Scene::new();
    // Forty requests are due each second, and one of at least 50 ms may be in flight: each waits for those before it.
    let recipe = "
scenario: waiting
orchestration: {mode: local}
workload: {service: dummy, model: dummy, target_rps: 40, max_in_flight: 1, request_distribution: constant, warmup: 0s, duration: 2s, prompt_len: 16, gen_tokens: 4}
servers: {service_config: {ttft: 50ms, tpot: 1ms}}
";
    let (ended, folder) = led(&scene, recipe, &["-q"]);
    let waited = "requests waited before they were sent: the figures from due are what a user would have felt";
    let [mail, page] = ["summary.md", "report.html"].map(|name| fs::read_to_string(folder.join(name)).unwrap());
    for (name, text) in [("terminal", &ended.stdout), ("mail", &mail), ("page", &page)] {
        assert!(text.contains(waited) && text.contains("from due"), "{name}: {text:.2000}");
        // Some forty answers allow a median, and no 99th percentile.
        assert!(text.contains("too few"), "{name}");
    }
    for word in ["──", "live page", "joined", "trial 1 of 1"] {
        assert!(!ended.stderr.contains(word), "-q says `{word}`: {}", ended.stderr);
    }
}

#[test]
fn a_failure_is_said_when_it_happens_and_in_the_verdict() {
    let scene = Scene::new();
    let recipe = "
scenario: failing
orchestration: {mode: local}
workload: {service: openai, model: none, concurrency: 1, warmup: 0s, duration: 5s, prompt_len: 16, gen_tokens: 4}
servers: {endpoints: ['http://127.0.0.1:9'], health_check: {timeout: 1s}}
";
    for further in [&["-q"][..], &[]] {
        let (ended, _) = led(&scene, recipe, further);
        assert_eq!(ended.code, Some(1), "{}", ended.stderr);
        let said = ended.stderr.clone() + &ended.stdout;
        assert_eq!(said.matches("service deployment could not be finished").count(), 2, "{said}");
        assert!(!said.contains("service_deployment") && !said.contains("against a limit"), "{said}");
        assert_eq!(ended.stderr.contains("── teardown"), further.is_empty(), "{}", ended.stderr);
    }
}
