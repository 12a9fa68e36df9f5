//! Each lie that a result can tell is planted for real, and the verdict names it.

use std::{
    fs,
    io::{Read, Write},
    net::{Shutdown, TcpListener, TcpStream},
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    thread,
    time::Duration,
};

use rustix::process::Signal;
use serde_json::Value;

use crate::support::{Dummy, Run, Scene, post, until};

const LIMIT: Duration = Duration::from_secs(20);

/// A closed loop against these endpoints.
fn recipe(endpoints: &[String], workload: &str) -> String {
    format!(
        "
scenario: lies
orchestration: {{mode: local}}
workload:
  service: openai
  model: dummy
  api: completions
  warmup: 0s
  prompt_len: 16
  gen_tokens: 8
  {workload}
servers:
  endpoints: {endpoints:?}
"
    )
}

/// A reason of the run's one trial.
fn reason(run: &Run, code: &str) -> Value {
    let reasons = run.trial()["verdict"]["reasons"].as_array().unwrap();
    let found = reasons.iter().find(|reason| reason["code"] == code);
    found.unwrap_or_else(|| panic!("no `{code}` among {reasons:#?}")).clone()
}

/// A Dummy with these flags makes the verdict say this, with a value beyond its limit; one without them does not.
fn check(flags: &[&str], workload: &str, code: &str, status: &str) -> (Run, Value) {
    let scene = Scene::new();
    let led = |flags: &[&str]| {
        let dummy = Dummy::start(&scene, &[&["--ttft=5ms", "--tpot=1ms"], flags].concat());
        let ended = scene.lead(&recipe(&[dummy.url()], workload), &[]).wait();
        ended.run(ended.code.unwrap())
    };
    let honest = led(&[]);
    assert!(!honest.reasons().contains(code), "{:?}", honest.reasons());
    let run = led(flags);
    let reason = reason(&run, code);
    assert_eq!(reason["status"], status, "{reason}");
    assert_ne!(reason["value"], reason["limit"], "{reason}");
    (run, reason)
}

const SHORT: &str = "concurrency: 4\n  requests: 60";

#[test]
fn a_prefix_cache_that_helps_is_named() {
    let (_, reason) = check(&["--cached-share", "0.5"], SHORT, "prefix_cache", "SUSPECT");
    assert!((reason["value"].as_f64().unwrap() - 0.5).abs() < 1e-9, "{reason}");
}

#[test]
fn a_prefix_cache_that_helps_is_named_by_the_server_s_counters_where_answers_say_nothing() {
    let scene = Scene::new();
    let dummy = Dummy::start(&scene, &["--ttft=5ms", "--tpot=1ms", "--cached-share=0.5"]);
    // Ollama's answers have no word for it.
    let recipe =
        recipe(&[dummy.url()], SHORT).replace("service: openai", "service: ollama").replace("api: completions", "api: chat");
    let ended = scene.lead(&recipe, &[]).wait();
    let run = ended.run(ended.code.unwrap());
    assert!(run.trial()["tokens"]["cached"].is_null());
    let cache = &run.trial()["server"]["prefix_cache"];
    let (queries, hits) = (cache["queries"].as_u64().unwrap(), cache["hits"].as_u64().unwrap());
    assert!(queries >= 60 * 16 && hits * 2 == queries, "{cache}");
    let reason = reason(&run, "prefix_cache");
    assert_eq!((&reason["status"], &reason["value"]), (&"SUSPECT".into(), &0.5.into()), "{reason}");
    assert!(reason["message"].as_str().unwrap().contains("by its own counters"), "{reason}");
}

/// The trials of these levels with a dataset of `entries` lines.
fn with_dataset(entries: usize, workload: &str) -> Run {
    let scene = Scene::new();
    let dummy = Dummy::start(&scene, &["--ttft=5ms", "--tpot=1ms"]);
    let lines: String = (0..entries).map(|entry| format!("question number {entry}\n")).collect();
    fs::write(scene.path("prompts.txt"), lines).unwrap();
    let recipe = recipe(&[dummy.url()], workload)
        .replace("prompt_len: 16", &format!("dataset: {:?}", scene.path("prompts.txt").to_string_lossy()));
    let ended = scene.lead(&recipe, &[]).wait();
    ended.run(ended.code.unwrap())
}

#[test]
fn a_dataset_that_comes_round_again_is_named_and_one_that_does_not_is_not() {
    let run = with_dataset(3, SHORT);
    let reason = reason(&run, "repeated_prompts");
    assert_eq!((&reason["status"], &reason["value"]), (&"SUSPECT".into(), &0.95.into()), "{reason}");
    let message = reason["message"].as_str().unwrap();
    assert!(message.starts_with("the dataset has 3 entries, each of which was sent up to 20 times: 57 of 60 "), "{message}");
    let run = with_dataset(60, SHORT);
    assert!(!run.reasons().contains("repeated_prompts"), "{:?}", run.reasons());
    assert_eq!(run.trial()["dataset"]["entries_sent"], 60);
}

#[test]
fn a_trial_that_sends_what_an_earlier_one_sent_is_named() {
    let run = with_dataset(1000, "concurrency: [2, 4]\n  requests: 40");
    let of = |trial: usize| run.report["trials"][trial]["dataset"].clone();
    assert_eq!((&of(0)["repeated"], &of(0)["entries_sent_before"]), (&0.into(), &0.into()));
    assert_eq!((&of(1)["repeated"], &of(1)["entries_sent_before"]), (&40.into(), &40.into()));
    let reasons = run.report["trials"][1]["verdict"]["reasons"].to_string();
    assert!(reasons.contains("repeated_prompts") && reasons.contains("earlier trials had sent 40 of them"), "{reasons}");
}

#[test]
fn answers_that_are_cut_short_are_named() {
    let (_, reason) = check(&["--stop-after", "4", "--always-stops", "true"], SHORT, "short_outputs", "SUSPECT");
    assert_eq!(reason["value"], 0.5);
}

#[test]
fn another_model_that_answers_is_named() {
    let (_, reason) = check(&["--answer-model", "cheaper"], SHORT, "wrong_model", "INVALID");
    assert_eq!((&reason["value"], &reason["limit"]), (&60.0.into(), &0.0.into()));
    let message = reason["message"].as_str().unwrap();
    assert!(message.contains("`servers: {answers_as: [\"cheaper\"]}`"), "{message}");
    assert!(message.contains("--answers-as cheaper"), "{message}");
}

#[test]
fn a_model_that_may_answer_under_another_name_is_no_other_model() {
    let scene = Scene::new();
    let dummy = Dummy::start(&scene, &["--ttft=5ms", "--tpot=1ms", "--answer-model", "org/cheaper"]);
    let recipe = recipe(&[dummy.url()], SHORT) + "  answers_as: [another, cheaper]\n";
    let ended = scene.lead(&recipe, &[]).wait();
    let run = ended.run(ended.code.unwrap());
    assert!(!run.reasons().contains("wrong_model"), "{:?}", run.reasons());
    assert!(!ended.stderr.contains("was asked for the model"), "{}", ended.stderr);
}

#[test]
fn answers_that_are_all_alike_are_named() {
    let (_, reason) = check(&["--same-answer", "true"], SHORT, "identical_answers", "SUSPECT");
    assert_eq!(reason["value"], 1.0);
}

#[test]
fn a_server_that_slows_down_is_named() {
    let (run, reason) = check(&["--slow-after", "6s"], "concurrency: 8\n  duration: 10s", "unsteady", "SUSPECT");
    assert!(reason["value"].as_f64().unwrap() > 0.2, "{reason}");
    // It was steady until then, and what came after is marked.
    let steady = &run.trial()["steady"];
    assert!((1.0..8.0).contains(&steady["seconds"].as_f64().unwrap()), "{steady:#}");
    assert_eq!(steady["unsteady"].as_array().unwrap().last().unwrap()[1], 10.0, "{steady:#}");
}

#[test]
fn a_server_that_slows_down_is_named_where_the_load_does_not_wait_for_it() {
    let load = "target_rps: 30\n  duration: 10s";
    let (_, reason) = check(&["--slow-after", "6s"], load, "latency_drift", "SUSPECT");
    assert!((1.5..4.5).contains(&reason["value"].as_f64().unwrap()), "{reason}");
}

#[test]
fn failures_are_named() {
    let (_, reason) = check(&["--error-rate", "0.3"], SHORT, "errors", "INVALID");
    assert!((0.1..0.6).contains(&reason["value"].as_f64().unwrap()), "{reason}");
}

#[test]
fn an_endpoint_that_dies_while_load_runs_is_named() {
    let scene = Scene::new();
    let (first, second) = (Dummy::start(&scene, &["--ttft=5ms"]), Dummy::start(&scene, &["--ttft=5ms"]));
    let mut running = scene.lead(&recipe(&[first.url(), second.url()], "concurrency: 4\n  duration: 4s"), &[]);
    running.event("the load", |event| event["event"] == "load_started");
    until("load on both", LIMIT, || (second.received() > 20).then_some(()));
    drop(second);
    let ended = running.wait();
    let run = ended.run(ended.code.unwrap());
    let reason = reason(&run, "dead_server");
    assert_eq!((&reason["status"], &reason["value"]), (&"INVALID".into(), &1.0.into()));
    assert!(reason["message"].as_str().unwrap().starts_with("server 1 "), "{reason}");
}

/// Hands each connection to the next of two backends; where that one is gone, the connection is closed.
fn balancer(backends: [String; 2]) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let turn = Arc::new(AtomicUsize::new(0));
    thread::spawn(move || {
        for client in listener.incoming().flatten() {
            let backend = backends[turn.fetch_add(1, Relaxed) % 2].clone();
            thread::spawn(move || {
                let Ok(server) = TcpStream::connect(backend) else { return };
                let (from, to) = (client.try_clone().unwrap(), server.try_clone().unwrap());
                let up = thread::spawn(move || pipe(from, to));
                pipe(server, client);
                up.join().unwrap();
            });
        }
    });
    url
}

/// Until either side has had enough.
fn pipe(mut from: TcpStream, mut to: TcpStream) {
    let mut bytes = [0; 4096];
    while let Ok(count) = from.read(&mut bytes) {
        if count == 0 || to.write_all(&bytes[..count]).is_err() {
            break;
        }
    }
    // Whichever is closed already is as closed as can be.
    let _ = (from.shutdown(Shutdown::Both), to.shutdown(Shutdown::Both));
}

/// A door to a server that holds each event stream back until its end mark has come, as some proxies do.
fn holding_back(server: String) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    thread::spawn(move || {
        for mut client in listener.incoming().flatten() {
            let Ok(mut server) = TcpStream::connect(&server) else { return };
            let (from, to) = (client.try_clone().unwrap(), server.try_clone().unwrap());
            thread::spawn(move || pipe(from, to));
            thread::spawn(move || {
                let (mut bytes, mut held) = ([0; 4096], Vec::new());
                while let Ok(count @ 1..) = server.read(&mut bytes) {
                    held.extend_from_slice(&bytes[..count]);
                    let has = |text: &str| held.windows(text.len()).any(|found| found == text.as_bytes());
                    if has("text/event-stream") && !has("[DONE]") {
                        continue;
                    }
                    if client.write_all(&held).is_err() {
                        break;
                    }
                    held.clear();
                }
                let _ = client.shutdown(Shutdown::Both);
            });
        }
    });
    url
}

#[test]
fn a_proxy_that_holds_answers_back_is_named() {
    let scene = Scene::new();
    let dummy = Dummy::start(&scene, &["--ttft=20ms", "--tpot=5ms"]);
    let led = |url: String| {
        let ended = scene.lead(&recipe(&[url], &format!("{SHORT}\n  slo: {{tpot_p50: 3ms}}")), &[]).wait();
        ended.run(ended.code.unwrap())
    };
    let honest = led(dummy.url());
    assert!(!honest.reasons().contains("not_streamed"), "{:?}", honest.reasons());
    assert_eq!(honest.trial()["slo_limits"][0]["outcome"], "missed");
    let run = led(holding_back(dummy.address.clone()));
    let reason = reason(&run, "not_streamed");
    assert_eq!((&reason["status"], &reason["value"]), (&"SUSPECT".into(), &1.0.into()), "{reason}");
    let message = reason["message"].as_str().unwrap();
    assert!(message.starts_with("60 of 60 streamed answers came all at once"), "{message}");
    // What would be believed without it.
    assert_eq!(run.trial()["slo_limits"][0]["outcome"], "met");
}

#[test]
fn a_dead_replica_behind_a_balancer_is_named() {
    let scene = Scene::new();
    let alive = Dummy::start(&scene, &["--ttft=5ms"]);
    let gone = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let url = balancer([alive.address.clone(), gone.to_string()]);
    let ended = scene.lead(&recipe(&[url], "concurrency: 16\n  duration: 3s"), &[]).wait();
    let run = ended.run(ended.code.unwrap());
    let reason = reason(&run, "dead_replica");
    assert!(reason["value"].as_f64().unwrap() > reason["limit"].as_f64().unwrap(), "{reason}");
    assert!(!run.reasons().contains("dead_server"), "{:?}", run.reasons());
}

#[test]
fn load_of_others_on_the_same_server_is_named() {
    let scene = Scene::new();
    let dummy = Dummy::start(&scene, &["--ttft=5ms"]);
    let mut running = scene.lead(&recipe(&[dummy.url()], "concurrency: 2\n  duration: 3s"), &[]);
    running.event("the load", |event| event["event"] == "load_started");
    for _ in 0..40 {
        let body = r#"{"model": "dummy", "prompt": "another one", "max_tokens": 1}"#;
        assert_eq!(post(&dummy.address, "/v1/completions", None, body).status, 200);
    }
    let ended = running.wait();
    let run = ended.run(ended.code.unwrap());
    let reason = reason(&run, "foreign_load");
    let sent = run.rows().iter().filter(|row| !row["sent"].is_null()).count() as f64;
    assert!((reason["value"].as_f64().unwrap() - 40.0 / sent).abs() < 1e-9, "{reason}, {sent} sent");
}

#[test]
fn a_server_that_was_started_anew_is_named() {
    let scene = Scene::new();
    let dummy = Dummy::start(&scene, &["--ttft=5ms"]);
    let (url, port) = (dummy.url(), dummy.address.rsplit(':').next().unwrap().to_owned());
    let mut running = scene.lead(&recipe(&[url], "concurrency: 2\n  duration: 4s"), &[]);
    running.event("the load", |event| event["event"] == "load_started");
    until("load", LIMIT, || (dummy.received() > 20).then_some(()));
    drop(dummy);
    let again = Dummy::start_at(&scene, &port, &["--ttft=5ms"]);
    let ended = running.wait();
    assert!(again.received() > 0, "the load went on");
    let run = ended.run(ended.code.unwrap());
    assert_eq!(reason(&run, "server_restarted")["value"], 1.0);
    assert!(!run.reasons().contains("dead_server"), "{:?}", run.reasons());
}

#[test]
fn a_client_that_stands_still_is_named() {
    let scene = Scene::new();
    let dummy = Dummy::start(&scene, &["--ttft=5ms"]);
    let mut running = scene.lead(&recipe(&[dummy.url()], "concurrency: 4\n  duration: 4s"), &[]);
    running.event("the load", |event| event["event"] == "load_started");
    until("load", LIMIT, || (dummy.received() > 20).then_some(()));
    running.signal(Signal::STOP);
    let received = dummy.received();
    // It stands still for as long as it takes to see that nothing comes any more, and some more.
    thread::sleep(Duration::from_millis(600));
    assert!(dummy.received() <= received + 4, "it did not stand still");
    running.signal(Signal::CONT);
    let ended = running.wait();
    let run = ended.run(ended.code.unwrap());
    let reason = reason(&run, "client_stall");
    assert!(reason["value"].as_f64().unwrap() > 0.5, "{reason}");
}

#[test]
fn a_client_node_that_is_gone_leaves_a_smaller_load_and_that_is_named() {
    let scene = Scene::new();
    let dummy = Dummy::start(&scene, &["--ttft=20ms", "--tpot=2ms"]);
    let load = "concurrency: 6\n  duration: 4s\n  drills: [{at: 100ms, kill: node}]";
    let ended = scene.lead(&recipe(&[dummy.url()], load), &["--local-nodes", "3"]).wait();
    let run = ended.run(ended.code.unwrap());
    let reason = reason(&run, "concurrency_short");
    assert!(reason["value"].as_f64().unwrap() < 0.8, "{reason}");
}

/// A library that sets the wall clock two seconds ahead for whoever is started with it, once a file is there.
const CLOCK: &str = r#"
#define _GNU_SOURCE
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

int clock_gettime(clockid_t id, struct timespec *at) {
    int answer = (int)syscall(SYS_clock_gettime, id, at);
    if (answer == 0 && id == CLOCK_REALTIME && access(getenv("CLOCK_IS_SET"), F_OK) == 0) at->tv_sec += 2;
    return answer;
}
"#;

#[test]
fn a_clock_that_is_set_while_load_runs_is_named() {
    let scene = Scene::new();
    let (source, library, is_set) = (scene.file("clock.c", CLOCK), scene.path("clock.so"), scene.path("set"));
    // The binary itself needs a C compiler to be built.
    let compiled = Command::new("cc").args(["-shared", "-fPIC", "-o"]).args([&library, &source]).status().unwrap();
    assert!(compiled.success());
    let dummy = Dummy::start(&scene, &["--ttft=5ms"]);
    let mut command = scene.leading(&recipe(&[dummy.url()], "concurrency: 4\n  duration: 3s"), &[]);
    command.env("LD_PRELOAD", &library).env("CLOCK_IS_SET", &is_set);
    let mut running = scene.spawn(command);
    running.event("the load", |event| event["event"] == "load_started");
    until("load", LIMIT, || (dummy.received() > 20).then_some(()));
    std::fs::write(&is_set, "").unwrap();
    let ended = running.wait();
    let run = ended.run(ended.code.unwrap());
    let step = reason(&run, "clock_step")["value"].as_f64().unwrap();
    assert!((step - 2.0).abs() < 0.1, "{step}");
    assert!(!run.reasons().contains("client_stall"), "time itself went on: {:?}", run.reasons());
}

#[test]
fn a_client_that_cannot_keep_up_is_named() {
    let scene = Scene::new();
    // Answers of a megabyte each that the server has ready: reading them is more work than writing them.
    let dummy = Dummy::start(&scene, &["--ttft=0s", "--tpot=0s"]);
    let load = recipe(&[dummy.url()], "concurrency: 8\n  duration: 3s").replace("gen_tokens: 8", "gen_tokens: 20000");
    let ended = scene.lead(&load, &[]).wait();
    let run = ended.run(ended.code.unwrap());
    let lag = reason(&run, "client_lag");
    assert!(lag["value"].as_f64() > lag["limit"].as_f64(), "{lag}");
    let client = &run.trial()["client"];
    assert!(client["cpu_ratio"].as_f64().unwrap() > 0.5, "{client}");
    let unread = reason(&run, "unread_answers");
    assert_eq!(unread["value"], client["unread_seconds"]);
    // Some of eight megabytes are on their way at any time.
    assert!(client["unread_bytes"]["mean"].as_f64().unwrap() > 10_000.0, "{client}");
    assert_eq!(client["by_executor"]["0"]["unread_bytes"], client["unread_bytes"]);
}

#[test]
fn prompts_of_another_length_are_named() {
    let (_, reason) = check(&["--extra-prompt-tokens", "8"], SHORT, "prompt_length", "SUSPECT");
    assert!(reason["value"].as_f64().unwrap() > 0.2, "{reason}");
}

/// A closed loop of chats with these Dummies, each by its flags.
fn chats(dummies: &[&[&str]], service: &str, prompt_len: u32) -> (Run, Vec<u64>) {
    let scene = Scene::new();
    let dummies: Vec<Dummy> =
        dummies.iter().map(|flags| Dummy::start(&scene, &[&["--ttft=5ms", "--tpot=1ms"], *flags].concat())).collect();
    let urls: Vec<String> = dummies.iter().map(Dummy::url).collect();
    let recipe = recipe(&urls, SHORT)
        .replace("api: completions", "api: chat")
        .replace("service: openai", &format!("service: {service}"))
        .replace("prompt_len: 16", &format!("prompt_len: {prompt_len}"));
    let ended = scene.lead(&recipe, &[]).wait();
    (ended.run(ended.code.unwrap()), dummies.iter().map(Dummy::received).collect())
}

/// Prompt tokens of the run's one trial: who told lengths, what was asked for, what was served.
fn prompt_tokens(run: &Run) -> (String, u64, u64) {
    let tokens = &run.trial()["tokens"];
    let count = |key: &str| tokens[key].as_u64().unwrap();
    (tokens["lengths_by"].as_str().unwrap().to_owned(), count("requested_input"), count("input"))
}

#[test]
fn chats_that_are_longer_than_asked_are_named() {
    // Half of the prompts are twice as long as by the first server's word.
    let (run, _) = chats(&[&[], &["--extra-prompt-tokens=16"]], "openai", 16);
    let (_, asked, served) = prompt_tokens(&run);
    let told = reason(&run, "prompt_length");
    assert_eq!((asked, &told["status"]), (960, &"SUSPECT".into()), "{told}");
    assert!((0.4..0.6).contains(&told["value"].as_f64().unwrap()), "{told}");
    assert_eq!(told["message"], format!("prompts had {served} tokens by the server's count and 960 were asked for"));
    // A template that is longer than the whole prompt was to be.
    let (run, _) = chats(&[&["--extra-prompt-tokens=23"]], "openai", 16);
    let told = reason(&run, "prompt_length");
    assert_eq!(told["value"], 0.5, "{told}");
    let why = "; the server puts 23 around each of them, and the shortest were to have 16 in all";
    assert!(told["message"].as_str().unwrap().ends_with(why), "{told}");
}

#[test]
fn chats_have_the_asked_length_where_only_usage_tells_a_template_from_words() {
    // Ollama has no `/tokenize`.
    let (run, received) = chats(&[&["--extra-prompt-tokens=40"]], "ollama", 64);
    assert_eq!(prompt_tokens(&run), ("usage".into(), 3_840, 3_840));
    assert!(!run.reasons().contains("prompt_length"), "{:?}", run.reasons());
    assert_eq!(received, [60 + 2], "the first completion, and a short one");
    // Where there is one, nothing more is asked.
    let (run, received) = chats(&[&["--extra-prompt-tokens=40"]], "openai", 64);
    assert_eq!((prompt_tokens(&run), received), (("tokenize".into(), 3_840, 3_840), vec![60 + 1]));
    assert!(!run.reasons().contains("prompt_length"), "{:?}", run.reasons());
}

#[test]
fn a_chat_after_completions_is_judged_and_said_to_be_of_another_operation() {
    let scene = Scene::new();
    let dummy = Dummy::start(&scene, &["--ttft=5ms", "--tpot=1ms", "--extra-prompt-tokens=4"]);
    let load = recipe(&[dummy.url()], SHORT).replace("api: completions", "api: [completions, chat]");
    let ended = scene.lead(&load, &[]).wait();
    let run = ended.run(0);
    let reasons = |trial: usize| run.report["trials"][trial]["verdict"]["reasons"].clone();
    assert!(!reasons(0).to_string().contains("prompt_length"), "{}", reasons(0));
    let message = "prompts had 1200 tokens by the server's count and 960 were asked for; their lengths were learned with \
                   `completions`, which does not tell what the server puts around these";
    assert!(reasons(1).as_array().unwrap().iter().any(|reason| reason["message"] == message), "{}", reasons(1));
    assert_eq!(dummy.received(), 2 * 60 + 1, "nothing more is asked for the second operation");
}

#[test]
fn a_client_that_cannot_send_what_was_asked_is_invalid() {
    let scene = Scene::new();
    let dummy = Dummy::start(&scene, &["--ttft=1ms", "--tpot=0s"]);
    let ended = scene.lead(&recipe(&[dummy.url()], "target_rps: 60000\n  duration: 1s"), &[]).wait();
    let run = ended.run(3);
    let reason = reason(&run, "achieved_rate");
    assert_eq!(reason["status"], "INVALID");
    assert!(reason["value"].as_f64().unwrap() < 0.98, "{reason}");
}

#[test]
fn a_server_that_is_slower_than_the_load_is_a_finding_where_the_load_is_held_back() {
    let scene = Scene::new();
    // Ten at a time and half a second each: twenty a second of the hundred that are asked.
    let dummy = Dummy::start(&scene, &["--ttft=500ms", "--tpot=0s"]);
    let load = "target_rps: 100\n  max_in_flight: 10\n  duration: 3s";
    let ended = scene.lead(&recipe(&[dummy.url()], load), &[]).wait();
    let run = ended.run(0);
    let reason = reason(&run, "held_back");
    assert_eq!(reason["status"], "SUSPECT");
    assert!((0.6..0.9).contains(&reason["value"].as_f64().unwrap()), "{reason}");
    // What was sent waited for others to end, and not for the client.
    let p50 = |delay: &str| run.trial()["latency"][delay]["p50"].as_f64().unwrap();
    let [all, queue, client] = ["dispatch_delay_seconds", "queue_delay_seconds", "client_delay_seconds"].map(p50);
    assert!(queue > 0.2 && queue > all * 0.9 && client < queue / 4.0, "{all}: {queue} and {client}");
    let rows = run.rows();
    let parts = |row: &serde_json::Value| Some((row["sent"].as_f64()?, row["due"].as_f64()?, row["held_seconds"].as_f64()?));
    assert!(rows.iter().filter_map(parts).all(|(sent, due, held)| held >= 0.0 && held <= sent - due + 1e-9));
    assert!(rows.iter().all(|row| row["sent"].is_null() == row["held_seconds"].is_null()));
}

#[test]
fn too_few_answers_are_named() {
    let scene = Scene::new();
    let dummy = Dummy::start(&scene, &["--ttft=5ms"]);
    let ended = scene.lead(&recipe(&[dummy.url()], "concurrency: 2\n  requests: 10"), &[]).wait();
    let run = ended.run(0);
    assert_eq!(reason(&run, "few_samples")["value"], 10.0);
}

#[test]
fn a_run_that_is_ended_in_its_warm_up_measured_nothing_and_says_only_that() {
    let scene = Scene::new();
    let dummy = Dummy::start(&scene, &["--ttft=5ms"]);
    let load = recipe(&[dummy.url()], "concurrency: 2\n  duration: 5s").replace("warmup: 0s", "warmup: 30s");
    let mut running = scene.lead(&load, &[]);
    running.event("the load", |event| event["event"] == "load_started");
    until("load", LIMIT, || (dummy.received() > 20).then_some(()));
    running.signal(Signal::INT);
    let run = running.wait().run(130);
    let reasons = run.reasons();
    assert!(reasons.contains("nothing_due") && reasons.contains("interrupted"), "{reasons:?}");
    assert!(!reasons.contains("nothing_completed") && !reasons.contains("concurrency_short"), "{reasons:?}");
}

#[test]
fn a_trial_that_is_ended_in_its_warm_up_takes_nothing_from_a_whole_one() {
    let scene = Scene::new();
    let dummy = Dummy::start(&scene, &["--ttft=5ms"]);
    let load = recipe(&[dummy.url()], "concurrency: [2, 4]\n  duration: 2s").replace("warmup: 0s", "warmup: 4s");
    let mut running = scene.lead(&load, &[]);
    running.event("the second load", |event| event["event"] == "trial_begun" && event["number"] == 2);
    let received = dummy.received();
    until("load", LIMIT, || (dummy.received() > received + 20).then_some(()));
    running.signal(Signal::INT);
    let ended = running.wait();
    let run = ended.run(130);
    // The machine may be busy, which is a reason of its own.
    let verdict = &run.report["verdict"];
    let told = verdict["reasons"].to_string();
    assert!(told.contains("concurrency-4: not measured, the load was ended") && !told.contains("nothing_due"), "{told}");
    assert_eq!(verdict["status"], "SUSPECT", "{verdict:#}");
}
