//! Secrets stay out of what a run leaves behind and out of what others can see of its processes.

use std::{
    fs,
    io::{Read as _, Write as _},
    net::{Shutdown, TcpListener, TcpStream},
    os::unix::fs::PermissionsExt as _,
    path::Path,
    sync::{Arc, Mutex},
    thread,
    time::Duration,
};

use rustix::process::Signal;

use crate::support::{Dummy, Scene, until};

const KEY: &str = "sk-end-to-end-1234567890";

/// Every file below that holds one of these texts.
fn holding(folder: &Path, texts: &[&str]) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap().flatten().map(|entry| entry.path());
    let found = |path: &Path| {
        let bytes = fs::read(path).unwrap();
        let text = String::from_utf8_lossy(&bytes);
        texts.iter().filter(|secret| text.contains(**secret)).map(|secret| format!("{}: {secret}", path.display())).collect()
    };
    entries
        .filter(|path| !path.is_symlink())
        .flat_map(|path| if path.is_dir() { holding(&path, texts) } else { found(&path) })
        .collect()
}

#[test]
fn keys_tokens_and_cookies_are_in_no_result_and_in_no_command_line() {
    let scene = Scene::new();
    let dummy = Dummy::start(&scene, &["--ttft=5ms", "--tpot=1ms"]);
    let recipe = format!(
        "
scenario: secrets
orchestration: {{mode: local}}
workload: {{service: openai, model: dummy, concurrency: 2, warmup: 0s, duration: 2s, prompt_len: 8, gen_tokens: 4}}
servers: {{endpoints: ['{}'], api_key_env: END_TO_END_KEY}}
",
        dummy.url()
    );
    let mut command = scene.leading(&recipe, &["--local-nodes", "2"]);
    command.env("END_TO_END_KEY", KEY);
    let mut running = scene.spawn(command);
    running.event("the load", |event| event["event"] == "load_started");
    let page = running.word_after("live page: http://");
    let (_, token) = page.split_once("/?token=").unwrap();
    let state = fs::read_dir(scene.path("results/.hbnode")).unwrap().flatten().next().unwrap().path();
    let way_in: serde_json::Value = serde_json::from_str(&fs::read_to_string(state.join("join.json")).unwrap()).unwrap();
    let cookie = way_in["cookie"].as_str().unwrap();
    let secrets = [KEY, token, cookie];
    assert_eq!(scene.left().len(), 4, "the Dummy, the leader and two nodes: {:?}", scene.left());
    for (_, line) in scene.left() {
        assert!(!secrets.iter().any(|secret| line.contains(secret)), "{line}");
    }
    let ended = running.wait();
    let run = ended.run(ended.code.unwrap());
    assert_eq!(run.report["run"]["complete"], true, "{}", ended.stderr);
    assert_eq!(holding(&scene.path("results"), &secrets), Vec::<String>::new());
    until("the end of the state folder", Duration::from_secs(1), || (!state.exists()).then_some(()));
}

#[test]
fn what_is_set_for_the_servers_stands_only_where_its_owner_alone_may_read_and_a_resumed_run_has_it() {
    let scene = Scene::new();
    let recipe = "
scenario: set
orchestration: {mode: local}
workload: {service: dummy, model: dummy, concurrency: [1, 2], warmup: 0s, duration: 2s, prompt_len: 8, gen_tokens: 4, calibration: off}
servers: {service_config: {ttft: 5ms, tpot: 1ms}}
";
    let set = format!("environment.WORD={KEY}");
    let mut running = scene.lead(recipe, &["--set", &set]);
    running.event("the second load", |event| event["event"] == "trial_begun" && event["number"] == 2);
    running.signal(Signal::INT);
    let run = running.wait().run(130);
    let folder = run.folder.display().to_string();
    let resumed = scene.start(&["--resume", &folder, "--json"]).wait().run(0);
    let environment = fs::read_to_string(resumed.folder.join("recipe.resolved.yaml")).unwrap();
    assert!(environment.contains(KEY), "{environment}");
    let held = holding(&scene.path("results"), &[KEY]);
    assert!(held.len() >= 3, "the recipe and two plans: {held:?}");
    for file in held {
        let (path, _) = file.split_once(": ").unwrap();
        let mode = fs::metadata(path).unwrap().permissions().mode();
        assert_eq!(mode & 0o077, 0, "{path}");
    }
}

/// Passes everything on to a server, and keeps what it was asked.
fn tapped(server: String) -> (String, Arc<Mutex<Vec<u8>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let heard = Arc::new(Mutex::new(Vec::new()));
    let kept = Arc::clone(&heard);
    thread::spawn(move || {
        for mut client in listener.incoming().flatten() {
            let Ok(mut server) = TcpStream::connect(&server) else { return };
            let (mut answers, mut to) = (server.try_clone().unwrap(), client.try_clone().unwrap());
            thread::spawn(move || std::io::copy(&mut answers, &mut to));
            let kept = Arc::clone(&kept);
            thread::spawn(move || {
                let mut bytes = [0; 4096];
                while let Ok(count @ 1..) = client.read(&mut bytes) {
                    kept.lock().unwrap().extend(&bytes[..count]);
                    if server.write_all(&bytes[..count]).is_err() {
                        break;
                    }
                }
                // Whoever is gone already is as gone as can be.
                let _ = server.shutdown(Shutdown::Both);
            });
        }
    });
    (url, heard)
}

#[test]
fn every_request_carries_the_headers_and_no_result_holds_the_secret_ones() {
    let scene = Scene::new();
    let dummy = Dummy::start(&scene, &["--ttft=5ms", "--tpot=1ms"]);
    let (url, heard) = tapped(dummy.url().trim_start_matches("http://").to_owned());
    let file = scene.path("gateway.secret");
    fs::write(&file, "of-the-file-987\n").unwrap();
    let recipe = format!(
        "
scenario: headers
orchestration: {{mode: local}}
workload: {{service: openai, model: dummy, concurrency: 2, warmup: 0s, requests: 20, prompt_len: 8, gen_tokens: 4}}
servers:
  endpoints: ['{url}']
  headers: {{X-Tenant: a team, Authorization: {{env: END_TO_END_KEY}}, X-Gateway: {{file: '{}'}}}}
",
        file.display()
    );
    let mut command = scene.leading(&recipe, &["--local-nodes", "2"]);
    command.env("END_TO_END_KEY", KEY);
    let ended = scene.spawn(command).wait();
    let run = ended.run(ended.code.unwrap());
    assert_eq!(run.report["run"]["complete"], true, "{}", ended.stderr);
    let heard = String::from_utf8_lossy(&heard.lock().unwrap()).to_lowercase();
    let asked = heard.matches(" http/1.1\r\n").count();
    assert!(asked > 20, "questions, {asked} in all, and the load");
    for header in ["x-tenant: a team".to_owned(), format!("authorization: {KEY}"), "x-gateway: of-the-file-987".to_owned()] {
        assert_eq!(heard.matches(&format!("\r\n{header}\r\n")).count(), asked, "{header}");
    }
    let secrets = [KEY, "of-the-file-987"];
    assert_eq!(holding(&scene.path("results"), &secrets), Vec::<String>::new());
    assert!(!secrets.iter().any(|secret| ended.stderr.contains(secret)), "{}", ended.stderr);
}

#[test]
fn a_header_whose_secret_is_not_there_ends_the_run_with_its_name() {
    let scene = Scene::new();
    let dummy = Dummy::start(&scene, &[]);
    let recipe = format!(
        "
scenario: headers
orchestration: {{mode: local}}
workload: {{service: openai, model: dummy, requests: 4}}
servers: {{endpoints: ['{}'], headers: {{X-Gateway: {{env: END_TO_END_UNSET}}}}}}
",
        dummy.url()
    );
    let ended = scene.lead(&recipe, &[]).wait();
    let said = "the variable END_TO_END_UNSET, which the header `X-Gateway` names, is not set on this node";
    assert!(ended.code != Some(0) && ended.stderr.contains(said), "{:?} {}", ended.code, ended.stderr);
}
