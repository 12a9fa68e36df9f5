//! Servers that misbehave: whatever they answer is counted under its kind, and the run ends with a report.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    sync::atomic::{AtomicU32, Ordering::Relaxed},
    thread,
};

use serde_json::Value;

use crate::support::{Ended, Run, Scene, assert_balanced};

/// What it answers once it was found ready.
#[derive(Clone, Copy)]
enum Manner {
    Status(u16),
    Silence,
    Closes,
    EndlessLine,
    EndlessStream,
    BigChunk,
    NotUtf8,
    NotHttp,
    NoToken,
    /// Nothing is wrong with it: it reasons first, and hangs up after each answer.
    Reasons,
}

/// A server of this manner; its threads end with their connections, and the test's process with the last of them.
fn server(manner: Manner) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    thread::spawn(move || {
        let prompts = std::sync::Arc::new(AtomicU32::new(0));
        for stream in listener.incoming().flatten() {
            let prompts = prompts.clone();
            // What a client hangs up on is not this server's trouble.
            thread::spawn(move || drop(serve(stream, manner, &prompts)));
        }
    });
    url
}

fn serve(mut stream: TcpStream, manner: Manner, prompts: &AtomicU32) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    loop {
        let (mut first, mut length) = (String::new(), 0);
        if reader.read_line(&mut first)? == 0 {
            return Ok(());
        }
        loop {
            let mut line = String::new();
            reader.read_line(&mut line)?;
            if line.trim().is_empty() {
                break;
            }
            if let Some((_, value)) = line.split_once(':').filter(|(name, _)| name.eq_ignore_ascii_case("content-length")) {
                length = value.trim().parse().map_err(std::io::Error::other)?;
            }
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body)?;
        let body: Value = serde_json::from_slice(&body).unwrap_or_default();
        if first.starts_with("GET") {
            whole(&mut stream, "application/json", r#"{"object":"list","data":[{"id":"m","object":"model"}]}"#)?;
        } else if !first.contains("/completions") {
            write!(&mut stream, "HTTP/1.1 404 No\r\nContent-Length: 2\r\n\r\nno")?;
        } else if prompts.fetch_add(1, Relaxed) == 0 {
            well(&mut stream, &body)?;
        } else {
            badly(&mut stream, manner)?;
        }
    }
}

fn whole(stream: &mut TcpStream, kind: &str, body: &str) -> std::io::Result<()> {
    write!(stream, "HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}

/// One token, as it was asked for.
fn well(stream: &mut TcpStream, body: &Value) -> std::io::Result<()> {
    let choice = r#"{"id":"a","object":"text_completion","created":1,"model":"m","choices":[{"index":0,"text":"a","finish_reason":"length"}],"usage":{"prompt_tokens":1,"completion_tokens":1,"total_tokens":2}}"#;
    if body["stream"] == true {
        return whole(stream, "text/event-stream", &format!("data: {choice}\n\ndata: [DONE]\n\n"));
    }
    whole(stream, "application/json", choice)
}

fn badly(stream: &mut TcpStream, manner: Manner) -> std::io::Result<()> {
    const EVENTS: &str = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n";
    const TOKEN: &str = "data: {\"choices\":[{\"index\":0,\"text\":\"a\",\"finish_reason\":null}]}\n\n";
    let hang_up = || Err(std::io::Error::other("the server hangs up"));
    match manner {
        Manner::Status(status) => write!(stream, "HTTP/1.1 {status} No\r\nContent-Length: 2\r\n\r\nno"),
        // Until the client has had enough.
        Manner::Silence => stream.read(&mut [0]).map(drop),
        Manner::Closes => hang_up(),
        Manner::EndlessLine => {
            stream.write_all(EVENTS.as_bytes())?;
            stream.write_all(b"data: ")?;
            loop {
                stream.write_all(&[b'x'; 65536])?;
            }
        }
        Manner::EndlessStream => {
            stream.write_all(EVENTS.as_bytes())?;
            loop {
                stream.write_all(TOKEN.as_bytes())?;
                thread::sleep(std::time::Duration::from_millis(5));
            }
        }
        Manner::BigChunk => {
            stream.write_all(EVENTS.as_bytes())?;
            stream.write_all(&vec![b':'; 10 << 20])?;
            hang_up()
        }
        Manner::NotUtf8 => {
            stream.write_all(EVENTS.as_bytes())?;
            stream.write_all(b"data: {\"choices\":[{\"index\":0,\"text\":\"\xff\xfe\"}]}\n\n")?;
            hang_up()
        }
        Manner::NoToken => {
            let choice = r#"{"choices":[{"index":0,"text":"","finish_reason":"length"}]}"#;
            whole(stream, "text/event-stream", &format!("data: {choice}\n\ndata: [DONE]\n\n"))
        }
        Manner::Reasons => {
            stream.write_all(EVENTS.as_bytes())?;
            stream.write_all(b"data: {\"choices\":[{\"index\":0,\"delta\":{\"reasoning_content\":\"hm\"}}]}\n\n")?;
            thread::sleep(std::time::Duration::from_millis(20));
            stream.write_all(TOKEN.as_bytes())?;
            stream.write_all(b"data: {\"choices\":[{\"index\":0,\"text\":\"b\",\"finish_reason\":\"length\"}]}\n\n")?;
            stream.write_all(b"data: [DONE]\n\n")?;
            hang_up()
        }
        Manner::NotHttp => {
            stream.write_all(b"\x00\x01 what? \r\n\r\n")?;
            hang_up()
        }
    }
}

/// Twenty requests to a server of this manner all end as `outcome`, under one of these kinds.
fn check(manner: Manner, outcome: &str, kinds: &[&str]) -> Run {
    let scene = Scene::new();
    let run = asked(&scene, manner).run(3);
    let rows = run.rows();
    assert_balanced(run.trial(), &rows);
    assert_eq!(run.trial()["accounting"]["due"], 20);
    for row in &rows {
        assert_eq!(row["outcome"], outcome, "{row}");
        assert!(kinds.contains(&row["kind"].as_str().unwrap()), "{row}");
    }
    assert_eq!(run.report["verdict"]["status"], "INVALID");
    run
}

/// Twenty requests to a server of this manner.
fn asked(scene: &Scene, manner: Manner) -> Ended {
    // Where it is the bytes that count, a busy machine may take its time to read them.
    let timeouts = match manner {
        Manner::EndlessLine | Manner::BigChunk | Manner::NotUtf8 => "{}",
        _ => "{first_byte: 300ms, between_chunks: 300ms, total: 600ms}",
    };
    let recipe = format!(
        "
scenario: servers
orchestration: {{mode: local}}
workload:
  service: openai
  model: m
  api: completions
  concurrency: 4
  requests: 20
  warmup: 0s
  prompt_len: 8
  gen_tokens: 4
  timeouts: {timeouts}
servers:
  endpoints: ['{}']
",
        server(manner)
    );
    scene.lead(&recipe, &[]).wait()
}

#[test]
fn a_server_that_refuses_is_counted_by_its_status() {
    check(Manner::Status(429), "failed", &["http_429"]);
    check(Manner::Status(500), "failed", &["http_500"]);
}

#[test]
fn a_server_that_hangs_runs_into_our_deadlines() {
    check(Manner::Silence, "timed_out", &["first_byte_timeout"]);
    check(Manner::EndlessStream, "timed_out", &["total_timeout"]);
}

#[test]
fn a_server_that_hangs_up_or_speaks_no_http_is_counted_as_such() {
    check(Manner::Closes, "failed", &["reset"]);
    check(Manner::NotHttp, "failed", &["protocol"]);
}

#[test]
fn reasoning_and_connections_have_times_of_their_own() {
    let scene = Scene::new();
    let ended = asked(&scene, Manner::Reasons);
    let run = ended.run(ended.code.unwrap());
    let (trial, rows) = (run.trial(), run.rows());
    assert_balanced(trial, &rows);
    let latency = &trial["latency"];
    for key in ["ttfot_seconds", "connect_seconds"] {
        assert_eq!(latency[key]["count"], 20, "{key}: {latency:#}");
        assert_eq!(trial["percentile_source"][key], "records");
    }
    for row in &rows {
        let number = |key: &str| row[key].as_f64().unwrap_or_else(|| panic!("no {key} in {row}"));
        assert!(number("first") < number("first_output") && number("first_output") <= number("last"), "{row}");
        // A client's first connection may have been opened ahead of the start.
        assert!(number("connect_seconds") > 0.0, "{row}");
    }
    let page = std::fs::read_to_string(run.folder.join("summary.md")).unwrap();
    assert!(page.contains("answers begin with reasoning"), "{page}");
}

#[test]
fn answers_without_a_token_are_no_answers() {
    let run = check(Manner::NoToken, "failed", &["no_token"]);
    assert!(run.reasons().contains("zero_tokens"), "{:?}", run.reasons());
}

#[test]
fn lines_without_end_and_bytes_that_are_no_text_are_counted_as_such() {
    check(Manner::EndlessLine, "failed", &["oversize"]);
    check(Manner::BigChunk, "failed", &["oversize", "truncated"]);
    check(Manner::NotUtf8, "failed", &["malformed"]);
}
