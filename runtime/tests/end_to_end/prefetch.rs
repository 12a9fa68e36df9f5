//! `hbnode prefetch`, with stand-ins for the programs that pull.

use std::{
    fs,
    process::{Command, Output},
    time::Duration,
};

use crate::support::Scene;

fn program(scene: &Scene, name: &str, text: &str) {
    scene.program(name, format!("#!/bin/sh\n{text}\n"));
}

fn command(scene: &Scene, recipe: &str, further: &[&str]) -> Command {
    let recipe = scene.file("r.yaml", recipe);
    let mut command = scene.hbnode();
    command.env("PATH", format!("{}:/usr/bin:/bin", scene.path("bin").display())).env("HOME", scene.path("home"));
    for name in ["OLLAMA_MODELS", "HF_HOME", "HF_HUB_CACHE", "XDG_CACHE_HOME"] {
        command.env_remove(name);
    }
    command.arg("prefetch").arg(recipe).args(further);
    command
}

fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

fn vllm(scene: &Scene) -> String {
    format!(
        "
scenario: fetched
orchestration: {{mode: local}}
workload: {{service: vllm, model: org/name, duration: 10s}}
artifacts: {{runtime: apptainer, service: {{path: {}, remote: 'docker://vllm/vllm-openai:v1'}}}}
",
        scene.path("images/vllm.sif").display()
    )
}

#[test]
fn an_image_and_a_model_are_brought_once_and_whole() {
    let scene = Scene::new();
    // What it is told to pull to is made; `exec IMAGE hf download` fills the cache.
    let apptainer = r#"case $1 in
    pull) echo image > "$2" ;;
    exec) folder=$HOME/.cache/huggingface/hub/models--org--name/snapshots/1; mkdir -p "$folder"; echo {} > "$folder/config.json" ;;
esac"#;
    program(&scene, "bin/apptainer", apptainer);
    let dry = command(&scene, &vllm(&scene), &["--dry-run"]).output().unwrap();
    let text = said(&dry);
    assert_eq!(dry.status.code(), Some(0), "{text}");
    assert!(text.contains("would run  apptainer pull ") && text.contains("docker://vllm/vllm-openai:v1"), "{text}");
    assert!(
        text.contains("vllm.sif hf download org/name") && text.contains("copy ~/.cache/huggingface/hub/models--org--name"),
        "{text}"
    );
    assert!(!scene.path("images").exists(), "a dry run does nothing");

    let first = command(&scene, &vllm(&scene), &[]).output().unwrap();
    let text = said(&first);
    assert_eq!(first.status.code(), Some(0), "{text}");
    assert!(text.contains("brought  image ") && text.contains("brought  model org/name"), "{text}");
    let names: Vec<_> = fs::read_dir(scene.path("images")).unwrap().flatten().map(|entry| entry.file_name()).collect();
    assert_eq!(names, ["vllm.sif"]);
    let second = said(&command(&scene, &vllm(&scene), &[]).output().unwrap());
    assert_eq!(second.matches("there    ").count(), 2, "{second}");
}

#[test]
fn a_pull_that_fails_leaves_nothing_and_says_how_to_bring_it_by_hand() {
    let scene = Scene::new();
    let none = command(&scene, &vllm(&scene), &[]).output().unwrap();
    assert_eq!(none.status.code(), Some(1));
    assert!(said(&none).contains("`apptainer` is not on this machine"), "{}", said(&none));
    program(&scene, "bin/apptainer", "echo half > \"$2\"; echo 'no route to the registry' >&2; exit 255");
    let failed = command(&scene, &vllm(&scene), &[]).output().unwrap();
    let text = said(&failed);
    assert_eq!(failed.status.code(), Some(1), "{text}");
    assert!(text.contains("no route to the registry") && text.contains("then copy image.sif to"), "{text}");
    assert_eq!(fs::read_dir(scene.path("images")).unwrap().count(), 0);
}

#[test]
fn a_server_pulls_its_model_and_ends() {
    let scene = Scene::new();
    let dummy = assert_cmd::cargo::cargo_bin!("hbnode");
    program(&scene, "bin/ollama", &format!("exec {} dummy --port \"${{OLLAMA_HOST##*:}}\"", dummy.display()));
    let recipe = "
scenario: fetched
orchestration: {mode: local}
workload: {service: ollama, model: dummy, duration: 10s}
";
    let pulled = command(&scene, recipe, &[]).output().unwrap();
    let text = said(&pulled);
    assert_eq!(pulled.status.code(), Some(0), "{text}");
    assert!(text.contains("brought  model dummy"), "{text}");
    scene.assert_nothing_left(Duration::from_secs(5));
    program(&scene, "bin/ollama", "echo 'no such GPU' >&2; exit 3");
    let failed = said(&command(&scene, recipe, &[]).output().unwrap());
    assert!(failed.contains("no such GPU") && failed.contains("`ollama pull dummy`"), "{failed}");
}

#[test]
fn what_nobody_can_bring_is_named() {
    let scene = Scene::new();
    let recipe = "
scenario: fetched
orchestration: {mode: local}
workload: {service: vllm, model: /models/none, duration: 10s}
artifacts: {runtime: charliecloud, service: {path: /images/none}}
";
    let output = command(&scene, recipe, &[]).output().unwrap();
    let text = said(&output);
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.contains("artifacts.service.remote") && text.contains("bring the folder or file to /models/none"), "{text}");
    let nothing = "scenario: s\norchestration: {mode: local}\nworkload: {service: dummy, model: dummy, duration: 10s}\n";
    assert!(said(&command(&scene, nothing, &[]).output().unwrap()).contains("nothing to bring"));
}
