//! Readiness against a server that answers from a script.

use std::{
    num::NonZeroU32,
    sync::{Arc, Mutex},
};

use hb_core::{
    orders::ServerOrder,
    trial::{Api, ApiKeySource, ContainerRuntime, HeaderSource, HealthCheck, ProtocolName},
};
use hb_services::service::{CommandLine, PullLine, ServiceProblem};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

use super::*;

/// What the scripted server says: from the request's head and how often its path was asked, a status and a body.
type Script = fn(&str, usize) -> (u16, &'static str);

const COMPLETION: &str =
    r#"{"choices":[{"text":"Hi","finish_reason":"length"}],"usage":{"prompt_tokens":1,"completion_tokens":8}}"#;

/// A service whose steps are the test's, and which may tell tokens.
struct Scripted(Vec<Step>, bool);

impl Service for Scripted {
    fn name(&self) -> &str {
        "scripted"
    }
    fn about(&self) -> &str {
        "a test's own"
    }
    fn default_port(&self) -> u16 {
        1
    }
    fn protocol(&self) -> ProtocolName {
        ProtocolName::Openai
    }
    fn default_api(&self) -> Api {
        Api::Completions
    }
    fn is_started(&self) -> bool {
        false
    }
    fn check(&self, _: &ServiceSpec) -> Vec<ServiceProblem> {
        Vec::new()
    }
    fn command(&self, _: &ServerOrder) -> Result<CommandLine, ServiceProblem> {
        unreachable!("it is never started")
    }
    fn readiness(&self, _: &ServiceSpec) -> Vec<Step> {
        self.0.clone()
    }
    fn tokenize_path(&self) -> Option<&'static str> {
        self.1.then_some("/tokenize")
    }
    fn lists_model(&self, body: &[u8], model: &str) -> bool {
        String::from_utf8_lossy(body).contains(model)
    }
    fn pull_line(&self, line: &[u8]) -> PullLine {
        match line {
            b"success" => PullLine::Done,
            line if line.starts_with(b"error") => PullLine::Failed(String::from_utf8_lossy(line).into_owned()),
            line => PullLine::Progress(String::from_utf8_lossy(line).into_owned()),
        }
    }
}

/// Answers each connection once; gives the base URL and the heads of all requests.
async fn serve(script: Script) -> (String, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let heads = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&heads);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            answer(stream, script, &seen).await;
        }
    });
    (url, heads)
}

async fn answer(mut stream: TcpStream, script: Script, seen: &Mutex<Vec<String>>) {
    let mut request = Vec::new();
    loop {
        let mut bytes = [0; 4096];
        let count = stream.read(&mut bytes).await.unwrap();
        request.extend_from_slice(&bytes[..count]);
        let text = String::from_utf8_lossy(&request);
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        let length = head.lines().find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length: ")?.parse().ok());
        if count == 0 || body.len() >= length.unwrap_or(0) {
            break;
        }
    }
    let head = String::from_utf8_lossy(&request).into_owned();
    let first_line = head.lines().next().unwrap().to_owned();
    let times = {
        let mut seen = seen.lock().unwrap();
        seen.push(head.clone());
        seen.iter().filter(|other| other.starts_with(&first_line)).count()
    };
    let (status, body) = script(&head, times);
    let answer = format!("HTTP/1.1 {status} X\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}", body.len());
    stream.write_all(answer.as_bytes()).await.unwrap();
}

fn spec() -> ServiceSpec {
    ServiceSpec {
        service: "scripted".into(),
        model: "tiny".into(),
        config: serde_json::Map::new(),
        environment: [].into(),
        endpoints: Vec::new(),
        answers_as: Vec::new(),
        headers: Default::default(),
        api_key: None,
        port: None,
        health: HealthCheck { enabled: true, timeout: Span::from_secs(20), interval: Span::from_millis(1), endpoint: None },
        runtime: ContainerRuntime::Bare,
        path: None,
        binds: Vec::new(),
        extra_args: Vec::new(),
        gpus: 0,
        custom: None,
        layout: Default::default(),
        remote: None,
        runtime_args: Vec::new(),
    }
}

fn request() -> RequestSpec {
    RequestSpec {
        api: Api::Completions,
        stream: false,
        prompt_len: Length::Fixed(8),
        gen_tokens: Length::Fixed(64),
        batch: NonZeroU32::MIN,
        shared_prefix: None,
        turns: None,
        sampling: serde_json::Map::new(),
    }
}

/// What came of asking, what was told meanwhile, and what the server saw.
struct Asked {
    ready: Result<Ready, NotReady>,
    told: Vec<String>,
    heads: Vec<String>,
}

async fn asked(steps: Vec<Step>, spec: ServiceSpec, limit: Span, headers: Option<&OwnHeaders>, script: Script) -> Asked {
    let (url, heads) = serve(script).await;
    let told = Mutex::new(Vec::new());
    let (service, request) = (Scripted(steps, false), request());
    let question = Question { url: &url, service: &service, spec: &spec, request: &request, headers, limit };
    let ready = ask(&question, &|what| told.lock().unwrap().push(what)).await;
    let heads = heads.lock().unwrap().clone();
    Asked { ready, told: told.into_inner().unwrap(), heads }
}

const LONG: Span = Span::from_secs(20);

fn health() -> Step {
    Step::Healthy { path: "/health".into() }
}

fn listed() -> Step {
    Step::ModelListed { path: "/models".into() }
}

fn pulled() -> Step {
    Step::ModelPulled { list_path: "/models".into(), path: "/pull".into(), body: r#"{"model":"tiny"}"#.into() }
}

#[tokio::test]
async fn every_step_is_asked_until_it_is_answered_well_and_news_are_told_once() {
    let steps = vec![health(), listed(), Step::Completes];
    let asked = asked(steps, spec(), LONG, None, |head, times| match head.split(' ').nth(1) {
        Some("/health") if times < 4 => (503, r#"{"error":{"message":"Loading model"}}"#),
        Some("/models") if times < 2 => (200, "other"),
        Some("/models") => (200, "tiny"),
        Some("/v1/completions") if times < 2 => (500, ""),
        Some("/v1/completions") => (200, COMPLETION),
        _ => (200, ""),
    })
    .await;
    asked.ready.unwrap();
    assert_eq!(
        asked.told,
        [
            "asking /health: http_503: Loading model",
            "looking for the model in /models: it does not list the model `tiny`",
            "the first completion: http_500",
        ]
    );
    assert_eq!(asked.heads.len(), 4 + 2 + 2);
    assert!(asked.heads.last().unwrap().contains(r#""max_tokens":8"#));
}

#[tokio::test]
async fn an_endpoint_without_a_list_of_models_is_told_and_asked_all_the_same() {
    let spec = ServiceSpec { endpoints: vec!["http://somewhere".into()], ..spec() };
    let asked = asked(vec![listed(), Step::Completes], spec, LONG, None, |head, _| match head.split(' ').next() {
        Some("GET") => (404, ""),
        _ => (200, COMPLETION),
    })
    .await;
    asked.ready.unwrap();
    assert_eq!(asked.told, ["it has no /models; whether it has the model, the first completion tells"]);
}

#[tokio::test]
async fn a_refusal_of_a_default_field_says_what_to_write() {
    let asked = asked(vec![Step::Completes], spec(), LONG, None, |_, _| {
        (400, r#"{"error":{"message":"Unrecognized request argument supplied: ignore_eos"}}"#)
    })
    .await;
    let error = asked.ready.unwrap_err().to_string();
    assert!(error.contains("ignore_eos; write `workload.sampling: {ignore_eos: null}`"), "{error}");
}

#[tokio::test]
async fn a_redirection_is_told_and_final_at_the_first_completion() {
    let asked = asked(vec![health(), Step::Completes], spec(), LONG, None, |head, times| match head.split(' ').next() {
        Some("GET") if times > 1 => (200, ""),
        _ => (307, ""),
    })
    .await;
    let sentence = "http_307: a redirection without a `Location`, which is not followed; write the URL of the server behind it";
    assert_eq!(asked.told, [format!("asking /health: {sentence}")]);
    let error = asked.ready.unwrap_err().to_string();
    assert!(error.starts_with("the first completion at ") && error.ends_with(sentence), "{error}");
    assert_eq!(asked.heads.iter().filter(|head| head.starts_with("POST")).count(), 1, "it is asked once");
}

#[tokio::test]
async fn a_first_completion_of_another_form_is_not_asked_again_and_says_what_a_trial_would() {
    let cases: [(Script, &str); 2] = [
        (
            |_, _| (200, COMPLETION),
            "malformed: the server answered in one piece though a stream was asked for; write `workload.stream: false`",
        ),
        (|_, _| (200, "<html>"), "malformed: not an event stream, but a body of no content type: <html>"),
    ];
    let request = RequestSpec { stream: true, ..request() };
    let (service, spec) = (Scripted(vec![Step::Completes], false), spec());
    for (script, told) in cases {
        let (url, heads) = serve(script).await;
        let question = Question { url: &url, service: &service, spec: &spec, request: &request, headers: None, limit: LONG };
        let ready = ask(&question, &|_| ()).await;
        assert!(matches!(&ready, Err(NotReady::Refused { why, .. }) if why == told), "{ready:?}");
        assert_eq!(heads.lock().unwrap().len(), 1);
    }
    // Its end mark may come another time.
    let limit = Span::from_millis(100);
    let (url, _) = serve(|_, _| (200, "data: {\"choices\":[{\"text\":\"a\",\"finish_reason\":\"stop\"}]}\n\n")).await;
    let question = Question { url: &url, service: &service, spec: &spec, request: &request, headers: None, limit };
    let ready = ask(&question, &|_| ()).await;
    let told = "no_end_mark: `finish_reason` came, but no `[DONE]`";
    assert!(matches!(&ready, Err(NotReady::TimedOut { last, .. }) if last == told), "{ready:?}");
}

#[tokio::test]
async fn only_the_health_question_is_left_out_on_demand() {
    let mut spec = spec();
    spec.health.enabled = false;
    let asked = asked(vec![health(), listed()], spec, LONG, None, |head, _| {
        assert!(head.starts_with("GET /models"), "{head}");
        (200, "tiny")
    })
    .await;
    asked.ready.unwrap();
    assert_eq!(asked.heads.len(), 1);
}

#[tokio::test]
async fn a_missing_model_is_pulled_with_progress() {
    let asked = asked(vec![pulled()], spec(), LONG, None, |head, _| match head.split(' ').next() {
        Some("GET") => (200, "other"),
        _ => (200, "pulling: 1 %\npulling: 1 %\n\npulling: 99 %\nsuccess"),
    })
    .await;
    asked.ready.unwrap();
    assert_eq!(asked.told, ["pulling: 1 %", "pulling: 99 %"]);
    assert!(asked.heads[1].ends_with(r#"{"model":"tiny"}"#));
}

#[tokio::test]
async fn a_present_model_is_not_pulled() {
    let asked = asked(vec![pulled()], spec(), LONG, None, |_, _| (200, "tiny")).await;
    asked.ready.unwrap();
    assert_eq!(asked.heads.len(), 1);
}

#[tokio::test]
async fn a_pull_that_fails_is_final_and_one_that_breaks_off_is_not() {
    let failed = asked(vec![pulled()], spec(), LONG, None, |head, times| match head.split(' ').next() {
        Some("GET") => (200, "other"),
        _ if times < 2 => (200, "pulling: 1 %\n"),
        _ => (200, "pulling: 1 %\nerror: no such model\n"),
    })
    .await;
    let NotReady::Refused { step, why, .. } = failed.ready.unwrap_err() else { panic!("not refused") };
    assert_eq!((step.as_str(), why.as_str()), ("pulling the model with /pull", "error: no such model"));
    assert!(failed.told.iter().any(|what| what.ends_with("the pull ended without saying that it is done")));
}

#[tokio::test]
async fn a_wrong_request_and_a_wrong_key_are_final() {
    let steps = [(Step::Completes, 404), (Step::Completes, 401), (health(), 401), (listed(), 403)];
    for (step, status) in steps {
        let script: Script = match status {
            404 => |_, _| (404, r#"{"error":{"message":"no model `tiny`","type":"NotFoundError"}}"#),
            401 => |_, _| (401, "who are you?"),
            _ => |_, _| (403, ""),
        };
        let asked = asked(vec![step], spec(), LONG, None, script).await;
        let error = asked.ready.unwrap_err();
        assert!(matches!(&error, NotReady::Refused { why, .. } if why.starts_with(&format!("http_{status}"))), "{error}");
        assert_eq!(asked.heads.len(), 1);
    }
}

#[tokio::test]
async fn the_deadline_ends_the_questions_and_names_the_last_answer() {
    let asked = asked(vec![Step::Completes], spec(), Span::from_millis(200), None, |_, _| (429, "busy")).await;
    let NotReady::TimedOut { last, limit, .. } = asked.ready.unwrap_err() else { panic!("not timed out") };
    assert_eq!((last.as_str(), limit), ("http_429: busy", Span::from_millis(200)));
    assert!(asked.heads.len() > 1);
}

#[tokio::test]
async fn nobody_at_the_port_is_said_so() {
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let (url, service, spec, request) = (format!("http://{free}"), Scripted(vec![health()], false), spec(), request());
    // On a busy machine even a refusal takes its time.
    let limit = Span::from_secs(1);
    let question = Question { url: &url, service: &service, spec: &spec, request: &request, headers: None, limit };
    let error = ask(&question, &|_| {}).await.unwrap_err();
    assert!(error.to_string().contains("Connection refused"), "{error}");
}

#[tokio::test]
async fn the_key_and_headers_of_ones_own_go_with_every_question() {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "sk-1").unwrap();
    let mut wanting = spec();
    wanting.api_key = Some(ApiKeySource::File(file.path().into()));
    wanting.headers = [("X-Tenant".to_owned(), HeaderSource::Text("a".into()))].into();
    let own = OwnHeaders::read(&wanting).unwrap();
    let asked = asked(vec![listed(), Step::Completes], wanting, LONG, own.as_ref(), |head, _| match head.split(' ').next() {
        Some("GET") => (200, "tiny"),
        _ => (200, COMPLETION),
    })
    .await;
    asked.ready.unwrap();
    assert_eq!(asked.heads.len(), 2);
    assert!(asked.heads.iter().all(|head| head.contains("authorization: Bearer sk-1") && head.contains("x-tenant: a")));
}

#[test]
fn the_first_completion_is_short_but_not_shorter_than_the_recipe_allows() {
    let mut request = request();
    assert_eq!(first_tokens(&request), 8);
    request.gen_tokens = Length::Fixed(3);
    assert_eq!(first_tokens(&request), 3);
    request.sampling.insert("min_tokens".into(), 20.into());
    assert_eq!(first_tokens(&request), 20);
}

/// What a server that answers so tells of its tokens, and the paths and prompts that it was asked.
async fn counted(api: Api, script: Script) -> (Option<Counting>, Vec<String>) {
    let (url, heads) = serve(script).await;
    let (service, spec, request) = (Scripted(vec![Step::Completes], true), spec(), RequestSpec { api, ..request() });
    let question = Question { url: &url, service: &service, spec: &spec, request: &request, headers: None, limit: LONG };
    let ready = ask(&question, &|_| {}).await.unwrap();
    let heads = heads.lock().unwrap();
    let asked = heads.iter().map(|head| match head.split(' ').nth(1).unwrap() {
        "/tokenize" => "tokenize",
        _ if head.contains(r#""prompt":["#) => "ids",
        _ if head.contains("Hello") => "hello",
        _ if head.contains(SHORT_PROBE) => "short",
        _ => "text",
    });
    (ready.counting, asked.map(str::to_owned).collect())
}

/// Twenty ids, more than the least, and a word has a fraction of a token.
const IDS: &str = r#"{"tokens":[1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20]}"#;
const TWENTY_ONE: &str =
    r#"{"choices":[{"text":"a","finish_reason":"length"}],"usage":{"prompt_tokens":21,"completion_tokens":8}}"#;
const SIXTY: &str = r#"{"choices":[{"text":"a","finish_reason":"length"}],"usage":{"prompt_tokens":60,"completion_tokens":8}}"#;

#[tokio::test]
async fn the_first_completion_goes_down_the_ladder_as_far_as_it_must() {
    let (takes_ids, asked) = counted(Api::Completions, |head, _| match head.split(' ').nth(1) {
        Some("/tokenize") => (200, IDS),
        _ => (200, TWENTY_ONE),
    })
    .await;
    let takes_ids = takes_ids.unwrap();
    assert_eq!((takes_ids.by, takes_ids.overhead, takes_ids.ids.len()), (LengthsBy::Tokenize, 1, 20));
    assert_eq!(asked, ["tokenize", "ids"], "one completion is all");

    let refused: Script = |head, _| match head.split(' ').nth(1) {
        Some("/tokenize") => (200, IDS),
        _ if head.contains(r#""prompt":["#) => (400, r#"{"error":{"message":"prompt must be a string"}}"#),
        _ => (200, TWENTY_ONE),
    };
    let misread: Script = |head, _| match head.split(' ').nth(1) {
        Some("/tokenize") => (200, IDS),
        _ if head.contains(r#""prompt":["#) => (200, SIXTY),
        _ => (200, TWENTY_ONE),
    };
    for script in [refused, misread] {
        let (counting, asked) = counted(Api::Completions, script).await;
        let known = counting.map(|counting| (counting.by, counting.tokens_per_word, counting.overhead, counting.ids.len()));
        assert_eq!(known, Some((LengthsBy::Tokenize, 20.0 / 256.0, 1, 0)));
        assert_eq!(asked, ["tokenize", "ids", "text"]);
    }

    let (chat, asked) = counted(Api::Chat, |head, _| match head.split(' ').nth(1) {
        Some("/tokenize") => (200, IDS),
        _ => (200, SIXTY),
    })
    .await;
    assert_eq!(chat.map(|chat| (chat.by, chat.overhead, chat.ids.len())), Some((LengthsBy::Tokenize, 40, 0)), "its template");
    assert_eq!(asked, ["tokenize", "text"]);

    let (usage, asked) = counted(Api::Completions, |head, _| match head.split(' ').nth(1) {
        Some("/tokenize") => (404, ""),
        _ => (200, SIXTY),
    })
    .await;
    assert_eq!(usage.map(|usage| (usage.by, usage.tokens_per_word)), Some((LengthsBy::Usage, 60.0 / 256.0)));
    assert_eq!(asked, ["tokenize", "text"]);

    let (words, _) = counted(Api::Completions, |head, _| match head.split(' ').nth(1) {
        Some("/tokenize") => (501, ""),
        _ => (200, r#"{"choices":[{"text":"a","finish_reason":"length"}]}"#),
    })
    .await;
    assert_eq!(words, None, "nobody told anything");
}

const FOUR: &str =
    r#"{"choices":[{"message":{"content":"a"},"finish_reason":"length"}],"usage":{"prompt_tokens":44,"completion_tokens":8}}"#;
const ALL: &str =
    r#"{"choices":[{"message":{"content":"a"},"finish_reason":"length"}],"usage":{"prompt_tokens":296,"completion_tokens":8}}"#;

#[tokio::test]
async fn a_chat_whose_lengths_go_by_usage_is_asked_a_few_words_more_and_is_ready_whatever_comes_of_it() {
    let check = async |script: Script, expected: Option<(f64, u32)>| {
        let (counting, asked) = counted(Api::Chat, script).await;
        assert_eq!(counting.map(|counting| (counting.tokens_per_word, counting.overhead)), expected);
        asked
    };
    let asked = check(
        |head, _| match head.split(' ').nth(1) {
            Some("/tokenize") => (404, ""),
            _ if head.contains(SHORT_PROBE) => (200, FOUR),
            _ => (200, ALL),
        },
        Some((1.0, 40)),
    );
    assert_eq!(asked.await, ["tokenize", "text", "short"]);
    let spread = Some((296.0 / 256.0, 0));
    let always_the_same: Script = |head, _| match head.split(' ').nth(1) {
        Some("/tokenize") => (404, ""),
        _ => (200, ALL),
    };
    let refused: Script = |head, _| match head.split(' ').nth(1) {
        Some("/tokenize") => (404, ""),
        _ if head.contains(SHORT_PROBE) => (400, "no"),
        _ => (200, ALL),
    };
    for script in [always_the_same, refused] {
        assert_eq!(check(script, spread).await, ["tokenize", "text", "short"], "it is asked once");
    }
    let busy: Script = |head, _| match head.split(' ').nth(1) {
        Some("/tokenize") => (404, ""),
        _ if head.contains(SHORT_PROBE) => (429, "busy"),
        _ => (200, ALL),
    };
    assert_eq!(check(busy, spread).await, ["tokenize", "text", "short", "short", "short"]);
    let busy_once: Script = |head, times| match head.split(' ').nth(1) {
        Some("/tokenize") => (404, ""),
        _ if head.contains(SHORT_PROBE) && times < 3 => (429, "busy"),
        _ if head.contains(SHORT_PROBE) => (200, FOUR),
        _ => (200, ALL),
    };
    assert_eq!(check(busy_once, Some((1.0, 40))).await, ["tokenize", "text", "short", "short"]);
    let asked = check(
        |head, _| match head.split(' ').nth(1) {
            Some("/tokenize") => (404, ""),
            _ => (200, r#"{"choices":[{"message":{"content":"a"},"finish_reason":"length"}]}"#),
        },
        None,
    );
    assert_eq!(asked.await, ["tokenize", "text"], "a server without usage tells nothing more");
}

/// What is spoken with a Dummy of this configuration behind a door that closes the first connections at once.
async fn spoken(is_http2: bool, turned_away: usize) -> (Result<Ready, NotReady>, Vec<String>) {
    use hb_services::dummy::{DummyConfig, serve};
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let behind = listener.local_addr().unwrap();
    tokio::spawn(serve(listener, DummyConfig { http2: is_http2, ..DummyConfig::default() }, std::future::pending::<()>()));
    let door = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", door.local_addr().unwrap());
    tokio::spawn(async move {
        for number in 0.. {
            let (mut client, _) = door.accept().await.unwrap();
            if number >= turned_away {
                tokio::spawn(async move {
                    let mut server = TcpStream::connect(behind).await.unwrap();
                    // Either side may hang up.
                    let _ = tokio::io::copy_bidirectional(&mut client, &mut server).await;
                });
            }
        }
    });
    let told = Mutex::new(Vec::new());
    let (steps, spec, request) = (vec![Step::Healthy { path: "/health".into() }, Step::Completes], spec(), request());
    let service = Scripted(steps, true);
    let question = Question { url: &url, service: &service, spec: &spec, request: &request, headers: None, limit: LONG };
    let ready = ask(&question, &|what| told.lock().unwrap().push(what)).await;
    (ready, told.into_inner().unwrap())
}

#[tokio::test]
async fn a_server_that_speaks_nothing_else_is_asked_in_http_2() {
    let (ready, told) = spoken(true, 0).await;
    let ready = ready.unwrap();
    assert_eq!(ready.http_version, HttpVersion::Http2);
    assert!(ready.counting.is_some(), "its completion was asked for as well");
    assert_eq!(told, [""; 0], "nobody waits for it");
}

#[tokio::test]
async fn a_server_that_is_only_starting_is_not_taken_for_one_of_http_2() {
    for turned_away in [0, 1, 2, 5] {
        let ready = spoken(false, turned_away).await.0.unwrap();
        assert_eq!(ready.http_version, HttpVersion::Http1, "{turned_away}");
    }
    let ready = spoken(true, 4).await.0.unwrap();
    assert_eq!(ready.http_version, HttpVersion::Http2);
}
