//! Nodes that the leader starts over ssh, behind a stand-in for `ssh` that runs the command on this machine.

use std::{fs, net::TcpListener, process::Command, time::Duration};

use rustix::process::Signal;

use crate::support::{Ended, Scene, assert_balanced, until};

const LIMIT: Duration = Duration::from_secs(40);

/// Runs the last word here, as sshd would: nothing of the leader's environment, and a connection to tell of. Its own
/// words are written down. Hosts whose name is a fault have it.
const STAND_IN: &str = r#"#!/bin/sh
dir=$(dirname "$0")
echo "ssh $*" >> "$dir/said"
case "$*" in *"-O exit"*) exit 0 ;; esac
for word; do host=$before; before=$word; done
case $host in
    unknown) echo "ssh: Could not resolve hostname unknown: Name or service not known" >&2; exit 255 ;;
    refused) echo "u@refused: Permission denied (publickey)." >&2; exit 255 ;;
    changed) echo "@ WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED! @" >&2; echo "Host key verification failed." >&2; exit 255 ;;
    stuck) exec sleep 300 ;;
    full) PATH=$dir/full:$PATH ;;
esac
exec env -i PATH="$PATH" HOME="$dir/home" HBNODE_TEST_SCENE="$HBNODE_TEST_SCENE" SSH_CONNECTION="127.0.0.1 1 127.0.0.1 22" sh -c "$word"
"#;

fn recipe(nodes: &str, load: &str) -> String {
    format!(
        "
scenario: over-ssh
orchestration: {{mode: ssh, nodes: {nodes}}}
workload: {{service: dummy, model: dummy, concurrency: 2, warmup: 0s, prompt_len: 8, gen_tokens: 4, {load}}}
servers: {{service_config: {{ttft: 5ms, tpot: 1ms}}}}
"
    )
}

/// The leader's command, with the stand-in before all other programs.
fn leading(scene: &Scene, recipe: &str, further: &[&str]) -> Command {
    let mut command = scene.leading(recipe, further);
    command.env("PATH", path_with_stand_in(scene));
    command
}

fn path_with_stand_in(scene: &Scene) -> String {
    let folder = scene.path("bin");
    fs::create_dir_all(folder.join("home")).unwrap();
    scene.program("bin/ssh", STAND_IN);
    // A node on whose disk nothing more can be written.
    scene.program("bin/full/cat", "#!/bin/sh\necho 'cat: write error: No space left on device' >&2; exit 1\n");
    format!("{}:{}", folder.display(), std::env::var("PATH").unwrap())
}

fn led(scene: &Scene, nodes: &str, further: &[&str]) -> Ended {
    scene.spawn(leading(scene, &recipe(nodes, "duration: 1s"), further)).wait_at_most(LIMIT)
}

/// It ended with 4, at once, and left no run.
fn refused(scene: &Scene, ended: &Ended, parts: &[&str]) {
    assert_eq!(ended.code, Some(4), "{}", ended.stderr);
    for part in parts {
        assert!(ended.stderr.contains(part), "{part}: {}", ended.stderr);
    }
    assert_eq!(ended.line()["run_dir"], serde_json::Value::Null);
    assert!(!scene.path("results/over-ssh").exists());
    scene.assert_nothing_left(Duration::from_secs(5));
}

#[test]
fn a_node_is_started_over_ssh_and_no_secret_is_among_the_words() {
    let scene = Scene::new();
    let mut command = leading(&scene, &recipe("[alpha]", "duration: 1s"), &[]);
    command.env("HF_TOKEN", "hf_a secret");
    let ended = scene.spawn(command).wait_at_most(LIMIT);
    let run = ended.run(ended.code.unwrap());
    assert_eq!(run.report["run"]["complete"], true, "{}", run.complaints());
    assert_balanced(run.trial(), &run.rows());
    let said = fs::read_to_string(scene.path("bin/said")).unwrap();
    assert!(said.contains("-o BatchMode=yes") && said.contains("--join-stdin") && said.contains("-- alpha "), "{said}");
    assert!(!said.contains("PRIVATE KEY") && !said.contains("cookie") && !said.contains("hf_a"), "{said}");
    assert!(!scene.path("results/.hbnode").exists(), "the way in lies in no file");
    // The leader's own path was good, so nothing was copied.
    assert_eq!(fs::read_dir(scene.path("bin/home")).unwrap().count(), 0);
    scene.assert_nothing_left(Duration::from_secs(5));
}

#[test]
fn every_host_that_cannot_be_reached_is_named_with_advice() {
    let scene = Scene::new();
    let ended = led(&scene, "[alpha, unknown, refused, changed]", &[]);
    let parts = [
        "3 of 4 nodes cannot be started",
        "unknown: cannot reach `unknown`: ssh: Could not resolve hostname",
        "refused: cannot reach `refused`: u@refused: Permission denied",
        "ssh-add",
        "ssh-keygen -R",
    ];
    refused(&scene, &ended, &parts);
}

#[test]
fn a_binary_that_is_not_there_is_brought_once_and_one_that_does_not_fit_is_told() {
    let scene = Scene::new();

    let other = scene.program("hbnode-elsewhere", "#!/bin/sh\necho hbnode 0\n");
    refused(&scene, &led(&scene, "[alpha]", &["--binary", other.to_str().unwrap()]), &["alpha: ", "no binary for Linux"]);
    let own = assert_cmd::cargo::cargo_bin!("hbnode");
    let own = own.to_str().unwrap();
    refused(&scene, &led(&scene, "[full]", &["--binary", own]), &["full: copying the binary", "No space left"]);
    let ended = led(&scene, "[alpha]", &["--binary", own, "--remote-dir", "there"]);
    assert_eq!(ended.run(ended.code.unwrap()).report["run"]["complete"], true);
    assert!(ended.stderr.contains("alpha: copying the binary"), "{}", ended.stderr);
    let ended = led(&scene, "[alpha]", &["--binary", own, "--remote-dir", "there"]);
    assert!(!ended.stderr.contains("copying"), "{}", ended.stderr);
    assert_eq!(fs::read_dir(scene.path("bin/home/there/bin")).unwrap().count(), 1);
}

#[test]
fn a_node_that_ends_before_it_joined_ends_the_run_with_its_own_words() {
    let scene = Scene::new();
    let taken = TcpListener::bind(("0.0.0.0", 0)).unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let ended = led(&scene, "[alpha]", &["--client-port", &port]);
    let run = ended.run(4);
    assert!(run.complaints().contains("alpha: ") && run.complaints().contains("--client-port"), "{}", run.complaints());
    scene.assert_nothing_left(Duration::from_secs(5));
}

#[test]
fn a_signal_while_hosts_do_not_answer_ends_it_at_once() {
    let scene = Scene::new();
    let running = scene.spawn(leading(&scene, &recipe("[stuck]", "duration: 1s"), &[]));
    until("the question", LIMIT, || fs::read_to_string(scene.path("bin/said")).ok().filter(|said| said.contains("stuck")));
    running.signal(Signal::INT);
    let ended = running.wait_at_most(Duration::from_secs(10));
    assert_eq!(ended.code, Some(130), "{}", ended.stderr);
    assert_eq!(ended.line()["run_dir"], serde_json::Value::Null);
    scene.assert_nothing_left(Duration::from_secs(5));
}

#[test]
fn of_a_killed_leader_nothing_stays_on_its_nodes() {
    let scene = Scene::new();
    let mut running = scene.spawn(leading(&scene, &recipe("[alpha]", "duration: 60s"), &[]));
    running.event("the load", |event| event["event"] == "load_started");
    running.signal(Signal::KILL);
    running.wait_at_most(LIMIT);
    scene.assert_nothing_left(Duration::from_secs(25));
}

#[test]
fn an_interface_is_used_by_all_and_one_that_is_not_there_is_told() {
    let scene = Scene::new();
    let ended = led(&scene, "[alpha]", &["--set", "orchestration.interface=lo"]);
    let run = ended.run(ended.code.unwrap());
    assert_eq!(run.report["run"]["complete"], true, "{}", run.complaints());
    assert!(fs::read_to_string(scene.path("bin/said")).unwrap().contains("--interface=lo"));
    assert!(ended.stderr.contains("live page: http://127.0.0.1:"), "{}", ended.stderr);
    let ended = led(&scene, "[alpha]", &["--set", "orchestration.interface=ib7"]);
    assert_eq!(ended.code, Some(2), "{}", ended.stderr);
    assert!(ended.stderr.contains("no network interface `ib7`") && ended.stderr.contains("lo (127.0.0.1)"), "{}", ended.stderr);
}

#[test]
fn words_for_ssh_are_refused_where_nothing_is_started_over_it() {
    let scene = Scene::new();
    let local = recipe("[]", "duration: 1s").replace("mode: ssh, nodes: []", "mode: local");
    let ended = scene.lead(&local, &["--remote-dir", "x"]).wait_at_most(LIMIT);
    assert_eq!(ended.code, Some(2));
    assert!(ended.stderr.contains("--remote-dir is for nodes that are started over ssh"), "{}", ended.stderr);
}

#[test]
fn the_old_options_name_nodes_that_are_reached_over_ssh() {
    let scene = Scene::new();
    let block = "service: dummy\nmodel: dummy\nduration: 1\nwarmup: 0\nconcurrency: 2\nprompt_len: 8\ngen_tokens: 4\n";
    let block = scene.file("workload.yaml", block);
    let mut command = scene.hbnode();
    command.env("PATH", path_with_stand_in(&scene));
    command.args(["--server-nodes", "alpha", "--client-nodes", "alpha", "--workload-config-file"]).arg(block);
    command.args(["--enable-monitoring", "--timeout", "30", "--json"]).arg("--results").arg(scene.path("results"));
    let ended = scene.spawn(command).wait_at_most(LIMIT);
    let run = ended.run(ended.code.unwrap());
    assert_eq!(run.report["run"]["complete"], true, "{}", run.complaints());
    assert_balanced(run.trial(), &run.rows());
    let resolved = fs::read_to_string(run.folder.join("recipe.resolved.yaml")).unwrap();
    assert!(
        resolved.contains("mode: ssh") && resolved.contains("- alpha") && resolved.contains("share_servers: true"),
        "{resolved}"
    );
    let copy = fs::read_to_string(scene.path("benchmark_metrics.csv")).unwrap();
    assert_eq!(copy, fs::read_to_string(run.folder.join("metrics.csv")).unwrap());
    assert!(fs::read_to_string(scene.path("bin/said")).unwrap().contains("-- alpha "));
}
