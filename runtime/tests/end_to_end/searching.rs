//! A search finds what a server of known capacity carries, and goes on where it was ended.

use std::{fs, time::Duration};

use rustix::process::Signal;
use serde_json::Value;

use crate::support::{Dummy, Ended, Run, Scene, assert_balanced};

/// A search has several probes of some seconds each.
const AT_MOST: Duration = Duration::from_secs(150);

/// Four answers at one time of 100 ms each: 40 per second, and not one more.
const SERVER: [&str; 3] = ["--ttft=50ms", "--tpot=5ms", "--concurrency=4"];
const CAPACITY: f64 = 40.0;

fn recipe(dummy: &Dummy, load: &str) -> String {
    format!(
        "
scenario: search
orchestration: {{mode: local}}
workload:
  service: openai
  model: dummy
  api: completions
  prompt_len: 8
  gen_tokens: 11
  warmup: 0s
{load}
servers:
  endpoints: ['{}']
",
        dummy.url()
    )
}

/// Constant gaps below the capacity make no queue at all; 9 % above it a queue of more than the limit is there within the
/// window.
const RATE: &str = "
  duration: 3s
  request_distribution: constant
  slo: {ttft_p90: 150ms}
  search: {maximize: rate, from: 13, to: 200, precision: 20%}
";

fn search(run: &Run) -> &Value {
    let searches = run.report["searches"].as_array().unwrap();
    assert_eq!(searches.len(), 1, "{searches:?}");
    &searches[0]
}

/// Probes that missed the SLO do not lower the verdict; those of the answer may, where the machine is busy.
fn assert_judged_by_its_answer(run: &Run) {
    let found = search(run);
    let is_of_answer = |probe: &&Value| probe["load"] == found["answer"] && probe["outcome"] == "met";
    let winners: Vec<&str> =
        found["probes"].as_array().unwrap().iter().filter(is_of_answer).map(|probe| probe["trial"].as_str().unwrap()).collect();
    for reason in run.report["verdict"]["reasons"].as_array().unwrap() {
        let message = reason["message"].as_str().unwrap();
        assert!(winners.iter().any(|trial| message.starts_with(&format!("{trial}: "))), "{message}");
    }
    assert_ne!(run.report["verdict"]["status"], "INVALID", "{:#}", run.report["verdict"]);
}

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap_or_else(|| panic!("{value} is no number"))
}

#[test]
fn the_rate_that_a_server_carries_is_found() {
    let scene = Scene::new();
    let dummy = Dummy::start(&scene, &SERVER);
    let ended = scene.lead(&recipe(&dummy, RATE), &[]).wait_at_most(AT_MOST);
    let run = ended.run(0);
    let found = search(&run);
    let (answer, beyond) = (number(&found["answer"]), number(&found["beyond"]));
    // Both ends lie more than 8 % from the capacity.
    assert!(answer < CAPACITY && CAPACITY < beyond && beyond <= answer * 1.2, "{found:#}");
    assert_eq!((&found["ending"], &found["is_confirmed"]), (&"found".into(), &true.into()), "{found:#}");
    let sentence = found["sentence"].as_str().unwrap();
    assert!(sentence.contains("requests/s meet ttft_p90 ≤ 150 ms; "), "{sentence}");

    // Probes that overloaded the server do not lower the verdict, and are trials like any other.
    let trials = run.report["trials"].as_array().unwrap();
    assert_judged_by_its_answer(&run);
    assert_eq!(trials.len(), found["probes"].as_array().unwrap().len());
    for trial in trials {
        assert_balanced(trial, &run.rows_of(trial));
        assert_eq!(trial["probe"]["search"], found["id"]);
    }
    assert_eq!(run.report["run"]["complete"], true);
    for text in ["summary.md", "report.html"] {
        let text = fs::read_to_string(run.folder.join(text)).unwrap();
        assert!(text.contains("ttft_p90 ≤ 150 ms"), "the answer is missing");
    }
    let over = |event: &Value| event["event"] == "search_over" && event["ending"] == "found";
    assert_eq!(run.events().iter().filter(|event| over(event)).count(), 1);
}

/// Four clients never wait; of five each round leaves one to wait for a whole answer of another.
const CONCURRENCY: &str = "
  requests: 60
  slo: {e2el_p90: 150ms}
  search: {maximize: concurrency, from: 2, to: 64, precision: 1%}
";

fn resumed(scene: &Scene, run: &Run) -> Ended {
    scene.start(&["--resume", run.folder.to_str().unwrap(), "--json"]).wait_at_most(AT_MOST)
}

#[test]
fn a_search_that_was_ended_goes_on_and_repeats_no_probe() {
    let scene = Scene::new();
    let dummy = Dummy::start(&scene, &SERVER);
    let mut running = scene.lead(&recipe(&dummy, CONCURRENCY), &[]);
    running.event("the second probe", |event| event["event"] == "probed" && event["probe"]["result"]["number"] == 2);
    running.signal(Signal::TERM);
    let first = running.wait().run(143);
    assert_eq!((&search(&first)["ending"], &first.report["run"]["complete"]), (&"unfinished".into(), &false.into()));
    assert!(first.complaints().contains("left: trial; "), "{}", first.complaints());
    let finished =
        |run: &Run| search(run)["probes"].as_array().unwrap().iter().map(|probe| probe["trial"].clone()).collect::<Vec<_>>();
    let before = finished(&first);

    let run = resumed(&scene, &first).run(0);
    let found = search(&run);
    assert_eq!((&found["answer"], &found["beyond"]), (&4.0.into(), &5.0.into()), "{found:#}");
    let probes = found["probes"].as_array().unwrap();
    assert_eq!(finished(&run)[..before.len()], before);
    let numbers: Vec<u64> = probes.iter().map(|probe| probe["number"].as_u64().unwrap()).collect();
    assert_eq!(numbers, (1..=probes.len() as u64).collect::<Vec<_>>());
    // What the first part finished was not measured again.
    let of_part = |part: usize| run.report["run"]["parts"][part]["trials"].as_array().unwrap();
    assert!(before.iter().all(|trial| of_part(0).contains(trial) && !of_part(1).contains(trial)), "{:#}", run.report["run"]);
    assert_judged_by_its_answer(&run);

    let again = resumed(&scene, &run);
    assert_eq!(again.code, Some(0), "{}", again.stderr);
    assert!(again.stderr.contains("nothing to do"), "{}", again.stderr);
}
