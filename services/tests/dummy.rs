//! The Dummy over real sockets, asked by a plain TCP client that knows nothing of the crate but its readers.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::{num::NonZeroU32, time::Duration};

use hb_core::{
    record::Kind,
    trial::{Api, Length, ProtocolName, RequestSpec},
    units::Span,
};
use hb_services::{
    dummy::{DummyConfig, serve},
    protocol,
    protocol::{Answer, Prompt},
};
use serde_json::{Map, Value};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::oneshot,
    time::timeout,
};

/// Nothing here may take longer; a test that does has failed.
const LIMIT: Duration = Duration::from_secs(20);

struct Running {
    address: std::net::SocketAddr,
    stop: oneshot::Sender<()>,
    task: tokio::task::JoinHandle<std::io::Result<()>>,
}

impl Running {
    async fn start(config: DummyConfig) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (address, (stop, stopped)) = (listener.local_addr().unwrap(), oneshot::channel::<()>());
        Self { address, stop, task: tokio::spawn(serve(listener, config, stopped)) }
    }

    /// Sends one request on a connection of its own and reads until the server closes it.
    async fn ask(&self, method: &str, path: &str, body: &str) -> Heard {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        stream.write_all(&request(method, path, body, true)).await.unwrap();
        let (mut bytes, mut error) = (Vec::new(), None);
        let read = async {
            loop {
                match stream.read_buf(&mut bytes).await {
                    Ok(0) => break,
                    Ok(_) => {}
                    Err(failed) => {
                        error = Some(failed.kind());
                        break;
                    }
                }
            }
        };
        timeout(LIMIT, read).await.expect("the server closes the connection");
        Heard::of(&bytes, error)
    }

    async fn metric(&self, name: &str) -> u64 {
        let text = self.ask("GET", "/metrics", "").await.text();
        let rows = text.lines().filter(|line| line.starts_with(&format!("dummy_server_{name}")));
        rows.map(|line| line.rsplit(' ').next().unwrap().parse::<u64>().unwrap()).sum()
    }

    async fn end(self) {
        self.stop.send(()).unwrap();
        timeout(LIMIT, self.task).await.unwrap().unwrap().unwrap();
    }
}

fn request(method: &str, path: &str, body: &str, is_last: bool) -> Vec<u8> {
    let close = if is_last { "connection: close\r\n" } else { "" };
    let length = body.len();
    format!("{method} {path} HTTP/1.1\r\nhost: dummy\r\n{close}content-length: {length}\r\n\r\n{body}").into_bytes()
}

/// What came back, its HTTP framing taken off.
#[derive(Debug)]
struct Heard {
    status: u16,
    body: Vec<u8>,
    /// Whether the framing says that the body is whole.
    is_whole: bool,
    error: Option<std::io::ErrorKind>,
}

impl Heard {
    fn of(bytes: &[u8], error: Option<std::io::ErrorKind>) -> Self {
        let end = bytes.windows(4).position(|four| four == b"\r\n\r\n").expect("a head");
        let head = String::from_utf8(bytes[..end].to_vec()).unwrap().to_ascii_lowercase();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        let rest = &bytes[end + 4..];
        let length: Option<usize> =
            head.lines().find_map(|line| line.strip_prefix("content-length: ")).map(|length| length.parse().unwrap());
        let (body, is_whole) = match length {
            Some(length) => (rest.to_vec(), rest.len() == length),
            None => chunks(rest),
        };
        Self { status, body, is_whole, error }
    }

    fn text(&self) -> String {
        String::from_utf8(self.body.clone()).unwrap()
    }

    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }
}

fn chunks(mut rest: &[u8]) -> (Vec<u8>, bool) {
    let mut body = Vec::new();
    while let Some(end) = rest.windows(2).position(|two| two == b"\r\n") {
        let size = usize::from_str_radix(std::str::from_utf8(&rest[..end]).unwrap(), 16).unwrap();
        if size == 0 {
            return (body, true);
        }
        let from = end + 2;
        body.extend_from_slice(&rest[from..(from + size).min(rest.len())]);
        rest = rest.get(from + size + 2..).unwrap_or_default();
    }
    (body, false)
}

fn spec(api: Api, stream: bool, batch: u32) -> RequestSpec {
    RequestSpec {
        api,
        stream,
        prompt_len: Length::Fixed(3),
        gen_tokens: Length::Fixed(8),
        batch: NonZeroU32::new(batch).unwrap(),
        shared_prefix: None,
        turns: None,
        sampling: Map::new(),
    }
}

fn fast() -> DummyConfig {
    DummyConfig { ttft: Span::ZERO, tpot: Span::ZERO, ..DummyConfig::default() }
}

/// Asks through the protocol, and reads through the protocol.
async fn through(running: &Running, name: ProtocolName, spec: &RequestSpec, tokens: u32) -> (Heard, Answer) {
    let protocol = protocol(name);
    let prompts = vec![Prompt::Text("one two three".into()); spec.batch.get() as usize];
    let call = protocol.call("tiny", spec, &prompts, tokens);
    let heard = running.ask("POST", call.path, std::str::from_utf8(&call.body).unwrap()).await;
    let mut reader = protocol.reader(spec);
    let fed = reader.feed(&heard.body);
    let mut answer = reader.finish();
    answer.kind = answer.kind.or(fed.err());
    (heard, answer)
}

#[tokio::test]
async fn every_openai_answer_is_read_as_a_success_with_its_exact_counts() {
    let running = Running::start(fast()).await;
    for (api, stream, batch) in [
        (Api::Completions, true, 1),
        (Api::Completions, false, 1),
        (Api::Completions, true, 4),
        (Api::Completions, false, 4),
        (Api::Chat, true, 1),
        (Api::Chat, false, 1),
    ] {
        let (heard, answer) = through(&running, ProtocolName::Openai, &spec(api, stream, batch), 8).await;
        assert_eq!((heard.status, heard.is_whole, answer.kind), (200, true, None), "{api:?} {stream} {heard:?}");
        assert_eq!((answer.input_tokens, answer.output_tokens), (Some(3 * batch), Some(8 * batch)), "{api:?} {stream} {batch}");
        assert!(!answer.stopped_early);
        if stream {
            assert_eq!(answer.events, 8 * batch, "one event a token");
        }
    }
    running.end().await;
}

/// Picks the rate of one fault.
type RateOf = fn(&mut DummyConfig) -> &mut f64;

#[tokio::test]
async fn each_planted_fault_gives_its_kind_and_is_counted_once() {
    let rates: [(RateOf, Option<Kind>); 5] = [
        (|config| &mut config.error_rate, Some(Kind::Http(500))),
        (|config| &mut config.truncate_rate, Some(Kind::Truncated)),
        (|config| &mut config.no_end_rate, Some(Kind::Truncated)),
        (|config| &mut config.error_event_rate, Some(Kind::ErrorEvent)),
        (|config| &mut config.reset_rate, Some(Kind::ResetMidway)),
    ];
    for (rate, expected) in rates {
        for (api, stream) in [(Api::Completions, true), (Api::Completions, false), (Api::Chat, true), (Api::Chat, false)] {
            let mut config = fast();
            *rate(&mut config) = 1.0;
            let running = Running::start(config).await;
            let (heard, answer) = through(&running, ProtocolName::Openai, &spec(api, stream, 1), 8).await;
            let kind = match heard {
                Heard { status: 500, .. } => Some(Kind::Http(500)),
                Heard { error: Some(std::io::ErrorKind::ConnectionReset), .. } => Some(Kind::ResetMidway),
                _ => answer.kind,
            };
            assert_eq!(kind, expected, "{api:?} {stream} {heard:?}");
            // Only what is cut off lacks the end of its framing.
            let is_cut = [Some(Kind::ResetMidway), Some(Kind::Truncated)].contains(&expected) && !heard.is_whole;
            assert_eq!(heard.is_whole, !is_cut);
            let counts = (running.metric("faults_total").await, running.metric("requests_completed_total").await);
            assert_eq!(counts, (1, 0));
            running.end().await;
        }
    }
}

#[tokio::test]
async fn a_cut_answer_still_has_its_first_half() {
    for fault in [0, 1] {
        let mut config = fast();
        *[&mut config.truncate_rate, &mut config.reset_rate][fault] = 1.0;
        let running = Running::start(config).await;
        let (heard, answer) = through(&running, ProtocolName::Openai, &spec(Api::Completions, true, 1), 8).await;
        assert_eq!((answer.events, heard.is_whole), (4, false), "{heard:?}");
        assert_eq!(running.metric("generation_tokens_total").await, 4);
        running.end().await;
    }
}

#[tokio::test]
async fn a_hanging_answer_falls_silent_after_its_first_half() {
    let running = Running::start(DummyConfig { hang_rate: 1.0, ..fast() }).await;
    let call = protocol(ProtocolName::Openai).call("tiny", &spec(Api::Completions, true, 1), &[Prompt::Text("a".into())], 8);
    let mut stream = TcpStream::connect(running.address).await.unwrap();
    stream.write_all(&request("POST", call.path, std::str::from_utf8(&call.body).unwrap(), false)).await.unwrap();
    let mut bytes = Vec::new();
    let half = async {
        while bytes.windows(6).filter(|six| six == b"\"text\"").count() < 4 {
            assert_ne!(stream.read_buf(&mut bytes).await.unwrap(), 0);
        }
    };
    timeout(LIMIT, half).await.unwrap();
    let silence = timeout(Duration::from_millis(200), stream.read_buf(&mut bytes)).await;
    assert!(silence.is_err(), "{silence:?}");
    assert_eq!(running.metric("faults_total").await, 1);
    running.end().await;
}

#[tokio::test]
async fn the_servers_sums_agree_with_the_clients() {
    let config =
        DummyConfig { error_rate: 0.1, truncate_rate: 0.1, error_event_rate: 0.1, no_end_rate: 0.1, reset_rate: 0.1, ..fast() };
    let running = Running::start(config).await;
    let (mut completed, mut failed, mut tokens) = (0, 0, 0);
    for index in 0..200 {
        let spec = spec([Api::Completions, Api::Chat][index % 2], true, 1);
        let (heard, answer) = through(&running, ProtocolName::Openai, &spec, 8).await;
        if heard.status == 200 && heard.is_whole && answer.kind.is_none() {
            completed += 1;
        } else {
            failed += 1;
        }
        tokens += u64::from(if heard.status == 200 { answer.events } else { 0 });
    }
    assert!(completed > 60 && failed > 60, "{completed} {failed}");
    assert_eq!(running.metric("requests_received_total").await, 200);
    assert_eq!(running.metric("requests_completed_total").await, completed);
    assert_eq!(running.metric("faults_total").await, failed);
    assert_eq!(running.metric("requests_cut_total").await, 0);
    assert_eq!(running.metric("generation_tokens_total").await, tokens);
    assert_eq!(running.metric("prompt_tokens_total").await, 600);
    running.end().await;
}

#[tokio::test]
async fn what_cannot_be_answered_is_refused_as_vllm_does() {
    let config = DummyConfig { model: Some("tiny".into()), max_model_len: NonZeroU32::new(10), ..fast() };
    let running = Running::start(config).await;
    let path = "/v1/completions";
    for (body, status) in [
        ("", 400),
        ("{", 400),
        (r#"{"model": "tiny"}"#, 400),
        (r#"{"model": "tiny", "prompt": ""}"#, 400),
        (r#"{"model": "tiny", "prompt": "a", "max_tokens": 0}"#, 400),
        (r#"{"model": "tiny", "prompt": "a", "stream_options": {}}"#, 400),
        (r#"{"model": "tiny", "prompt": "a", "max_tokens": 10}"#, 400),
        (r#"{"model": "other", "prompt": "a", "max_tokens": 1}"#, 404),
        (r#"{"model": "tiny", "prompt": "a", "max_tokens": 9}"#, 200),
    ] {
        assert_eq!(running.ask("POST", path, body).await.status, status, "{body}");
    }
    let long = running.ask("POST", path, r#"{"model": "tiny", "prompt": "a", "max_tokens": 10}"#).await;
    assert_eq!(protocol(ProtocolName::Openai).refusal(400, &long.body).0, Kind::ContextLength);
    assert_eq!(running.ask("GET", path, "").await.status, 405);
    assert_eq!(running.ask("GET", "/nowhere", "").await.status, 404);
    assert_eq!(running.metric("requests_refused_total").await, 10);
    assert_eq!(running.metric("requests_completed_total").await, 1);
    running.end().await;
}

#[tokio::test]
async fn a_client_that_goes_away_is_counted_as_cut_and_frees_its_turn() {
    let config = DummyConfig { ttft: Span::from_secs(3600), concurrency: NonZeroU32::new(1), ..fast() };
    let running = Running::start(config).await;
    let body = r#"{"prompt": "a", "stream": true, "max_tokens": 2}"#;
    for gone in 1..=3 {
        let mut stream = TcpStream::connect(running.address).await.unwrap();
        stream.write_all(&request("POST", "/v1/completions", body, false)).await.unwrap();
        // The head of a streamed answer comes when it has its turn, long before its first token.
        assert_ne!(timeout(LIMIT, stream.read(&mut [0; 1024])).await.unwrap().unwrap(), 0);
        drop(stream);
        let counted = async { while running.metric("requests_cut_total").await < gone {} };
        timeout(LIMIT, counted).await.unwrap();
    }
    running.end().await;
}

#[tokio::test]
async fn before_its_start_delay_is_over_nothing_is_healthy() {
    let running = Running::start(DummyConfig { start_delay: Span::from_secs(3600), ..fast() }).await;
    for path in ["/health", "/v1/models", "/api/tags"] {
        assert_eq!(running.ask("GET", path, "").await.status, 503, "{path}");
    }
    assert_eq!(running.metric("requests_received_total").await, 0);
    running.end().await;
}

#[tokio::test]
async fn a_model_that_was_pulled_is_listed_and_answers() {
    let running = Running::start(DummyConfig { model: Some("own".into()), ..fast() }).await;
    let ask = r#"{"model": "llama2", "prompt": "a b", "options": {"num_predict": 3}}"#;
    assert_eq!(running.ask("POST", "/api/generate", ask).await.status, 404);
    let pull = running.ask("POST", "/api/pull", r#"{"model": "llama2:latest"}"#).await.text();
    assert!(pull.lines().count() > 3 && pull.trim_end().ends_with(r#"{"status":"success"}"#), "{pull}");
    let tags = running.ask("GET", "/api/tags", "").await.json();
    assert!(tags["models"].as_array().unwrap().iter().any(|model| model["name"] == "llama2:latest"));
    let answer = running.ask("POST", "/api/generate", ask).await.text();
    let lines: Vec<Value> = answer.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let last = lines.last().unwrap();
    assert_eq!((lines.len(), &last["done"], &last["done_reason"]), (4, &true.into(), &"length".into()));
    assert_eq!((&last["eval_count"], &last["prompt_eval_count"]), (&3.into(), &2.into()));
    running.end().await;
}

#[tokio::test]
async fn a_model_stops_by_itself_unless_its_end_is_ignored() {
    let running = Running::start(DummyConfig { stop_after: NonZeroU32::new(5), ..fast() }).await;
    for (ignore, tokens, reason) in [(false, 5, "stop"), (true, 8, "length")] {
        let body = format!(r#"{{"prompt": "a", "max_tokens": 8, "ignore_eos": {ignore}}}"#);
        let answer = running.ask("POST", "/v1/completions", &body).await.json();
        assert_eq!(
            (&answer["usage"]["completion_tokens"], &answer["choices"][0]["finish_reason"]),
            (&tokens.into(), &reason.into())
        );
    }
    running.end().await;
}

#[tokio::test]
async fn tokens_come_in_events_of_the_asked_size() {
    let running = Running::start(DummyConfig { tokens_per_event: NonZeroU32::new(3).unwrap(), ..fast() }).await;
    let (_, answer) = through(&running, ProtocolName::Openai, &spec(Api::Completions, true, 1), 8).await;
    assert_eq!((answer.events, answer.output_tokens, answer.kind), (3, Some(8), None));
    running.end().await;
}

#[tokio::test]
async fn the_same_words_have_the_same_token_ids() {
    let running = Running::start(fast()).await;
    let answer = running.ask("POST", "/tokenize", r#"{"prompt": "a b a"}"#).await.json();
    assert_eq!(answer["count"], 3);
    assert_eq!(answer["tokens"][0], answer["tokens"][2]);
    assert_ne!(answer["tokens"][0], answer["tokens"][1]);
    running.end().await;
}
