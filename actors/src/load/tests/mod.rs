//! Over loopback, against servers of a few lines that do one thing each.

mod answers;
mod closing;
mod handing_on;
mod http2;
mod limits;
mod together;
mod turns;
mod windows;

use std::{
    collections::{BTreeMap, BTreeSet},
    num::{NonZeroU32, NonZeroU64},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use hb_core::{
    batch::{Batch, Counts, Source},
    orders::LoadShare,
    record::{Kind, Outcome, Record, Stage},
    schedule::{Instants, Numbers, Schedule},
    trial::{
        Api, Arrivals, BadLine, ContainerRuntime, DatasetSpec, Distribution, HealthCheck, Length, LoadModel, LoadSpec,
        RequestSpec, ServiceSpec, Stop, Timeouts,
    },
    units::{Nanos, Span},
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    task::JoinSet,
};
use tokio_util::sync::CancellationToken;

use super::{Clock, Ledger, LoadError, PanicSwitch, Prepared, drive};

const LAST: &str = "data: {\"choices\":[{\"text\":\"a\",\"finish_reason\":\"length\"}]}\n\n";
const EVENT: &str = "data: {\"choices\":[{\"text\":\"a\",\"finish_reason\":null}]}\n\n";

/// A server that reads requests and answers each with `answer`; without one it never answers.
pub(crate) struct TestServer {
    pub(crate) url: String,
    connections: Arc<AtomicU64>,
    pub(crate) requests: Arc<AtomicU64>,
    _tasks: JoinSet<()>,
}

#[derive(Clone)]
pub(crate) enum Answer {
    /// These bytes; the connection stays.
    Keep(String),
    /// These bytes, then the end of the connection.
    Close(String),
    /// These bytes, then a reset.
    Reset(String),
    /// Only the first request of a connection is answered, the next one finds it closed.
    Once(String),
    /// These bytes, then silence.
    Hang(String),
    /// These bytes, then a token every now and then, without end.
    Drip(String),
    /// One token at once, and a count of prompt tokens: five, and two for each word.
    Counted,
    /// Writes down what is asked and answers with these bytes, the list's first ones first and its last ones for ever.
    Heard(Arc<Mutex<Vec<String>>>, Vec<String>),
}

const HEAD: &str = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";

fn piece(body: &str) -> String {
    format!("{:x}\r\n{body}\r\n", body.len())
}

fn counted(body: &str) -> String {
    let asked: serde_json::Value = serde_json::from_str(body).unwrap();
    let words = asked["prompt"].as_str().unwrap().split(' ').count();
    json(&format!(
        r#"{{"choices":[{{"text":"a","finish_reason":"length"}}],"usage":{{"prompt_tokens":{},"completion_tokens":1}}}}"#,
        5 + 2 * words
    ))
}

fn json(body: &str) -> String {
    format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len())
}

fn chunked(body: &str) -> String {
    format!("{HEAD}{}0\r\n\r\n", piece(body))
}

fn whole() -> String {
    chunked(&format!("{EVENT}{EVENT}{LAST}data: [DONE]\n\n"))
}

fn status(status: u16) -> String {
    format!("HTTP/1.1 {status} Bad\r\ncontent-length: 2\r\n\r\n{{}}")
}

/// The body of the next request.
async fn read_request(stream: &mut TcpStream) -> Option<String> {
    let mut seen = Vec::new();
    loop {
        let mut piece = [0; 4096];
        let read = stream.read(&mut piece).await.ok().filter(|read| *read > 0)?;
        seen.extend_from_slice(&piece[..read]);
        let text = String::from_utf8_lossy(&seen);
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        let length = head.lines().find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length: ")?.parse().ok());
        if body.len() >= length.unwrap_or(0) {
            return Some(body.to_owned());
        }
    }
}

async fn serve(mut stream: TcpStream, answer: Answer, requests: Arc<AtomicU64>) {
    while let Some(body) = read_request(&mut stream).await {
        requests.fetch_add(1, Ordering::SeqCst);
        let text = match &answer {
            Answer::Keep(text) | Answer::Close(text) | Answer::Reset(text) => text.clone(),
            Answer::Once(text) | Answer::Hang(text) | Answer::Drip(text) => text.clone(),
            Answer::Counted => counted(&body),
            Answer::Heard(heard, answers) => {
                let mut heard = heard.lock().unwrap();
                heard.push(body);
                answers[(heard.len() - 1).min(answers.len() - 1)].clone()
            }
        };
        if stream.write_all(text.as_bytes()).await.is_err() {
            return;
        }
        match answer {
            Answer::Keep(_) | Answer::Counted | Answer::Heard(..) => {}
            Answer::Close(_) => return,
            Answer::Reset(_) => {
                // What was written has arrived: loopback delivers within the write, and Linux lets a receiver read
                // what came before a reset.
                stream.set_zero_linger().unwrap();
                return;
            }
            Answer::Drip(_) => loop {
                tokio::time::sleep(Duration::from_millis(20)).await;
                if stream.write_all(piece(EVENT).as_bytes()).await.is_err() {
                    return;
                }
            },
            Answer::Once(_) => {
                read_request(&mut stream).await;
                return;
            }
            Answer::Hang(_) => std::future::pending().await,
        }
    }
}

pub(crate) async fn server(answer: Answer) -> TestServer {
    accepting(move |stream, requests| serve(stream, answer.clone(), requests)).await
}

/// A server that does this with each connection, and counts what `serve` counts.
async fn accepting<F>(serve: impl Fn(TcpStream, Arc<AtomicU64>) -> F + Send + 'static) -> TestServer
where
    F: Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let (connections, requests) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let mut tasks = JoinSet::new();
    let counted = (connections.clone(), requests.clone());
    tasks.spawn(async move {
        let mut served = JoinSet::new();
        while let Ok((stream, _)) = listener.accept().await {
            counted.0.fetch_add(1, Ordering::SeqCst);
            served.spawn(serve(stream, counted.1.clone()));
        }
    });
    TestServer { url, connections, requests, _tasks: tasks }
}

pub(crate) fn closed(clients: u32, stop: Stop, url: &str) -> LoadShare {
    share(LoadModel::Closed { concurrency: NonZeroU32::new(clients).unwrap(), think: Span::ZERO }, stop, url)
}

fn share(model: LoadModel, stop: Stop, url: &str) -> LoadShare {
    let clients = if let LoadModel::Closed { concurrency, .. } = &model { (0..concurrency.get()).collect() } else { vec![] };
    let timeouts = Timeouts {
        connect: Span::from_secs(2),
        first_byte: Span::from_millis(300),
        between_chunks: Span::from_millis(300),
        total: Span::from_secs(3),
    };
    LoadShare {
        trial: "t".into(),
        node: "n".into(),
        executor: 0,
        numbers: Numbers::all(),
        requests: None,
        left_by: None,
        clients,
        max_in_flight: None,
        load: LoadSpec {
            model,
            warmup: Span::ZERO,
            stop,
            stop_when: None,
            together: NonZeroU32::MIN,
            max_in_flight: None,
            shares_by: Default::default(),
            timeouts,
            distribution: Distribution::RoundRobin,
            dataset: None,
            tokenizer: None,
            drills: vec![],
            calibration: None,
        },
        request: RequestSpec {
            api: Api::Completions,
            stream: true,
            prompt_len: Length::Fixed(8),
            gen_tokens: Length::Fixed(3),
            batch: NonZeroU32::MIN,
            shared_prefix: None,
            turns: None,
            sampling: serde_json::Map::new(),
        },
        service: ServiceSpec {
            service: "openai".into(),
            model: "m".into(),
            config: serde_json::Map::new(),
            environment: BTreeMap::new(),
            endpoints: vec![],
            answers_as: Vec::new(),
            headers: Default::default(),
            api_key: None,
            port: None,
            health: HealthCheck { enabled: true, timeout: Span::from_secs(1), interval: Span::from_secs(1), endpoint: None },
            runtime: ContainerRuntime::Bare,
            path: None,
            binds: vec![],
            extra_args: vec![],
            gpus: 0,
            custom: None,
            layout: Default::default(),
            remote: None,
            runtime_args: Vec::new(),
        },
        servers: vec![url.to_owned()],
        left_servers: Default::default(),
        http2: Default::default(),
        seed: 7,
        counting: None,
    }
}

fn source() -> Source {
    Source { trial: "t".into(), node: "n".into(), incarnation: 1, executor: 0, epoch: 0 }
}

fn rows(batches: &[Batch]) -> Vec<Record> {
    batches.iter().flat_map(|batch| batch.records.clone()).collect()
}

/// Drives `share` to its end and gives its rows.
async fn driven(share: LoadShare) -> Vec<Record> {
    let prepared = Prepared::new(share, None).unwrap();
    rows(&told(prepared, &Ledger::new(source()), Clock::beginning(Instant::now())).await)
}

/// Drives what was prepared to its end and gives the batches.
async fn told(prepared: Prepared, ledger: &Arc<Ledger>, clock: Clock) -> Vec<Batch> {
    drive(Arc::new(prepared), ledger.clone(), clock, CancellationToken::new(), PanicSwitch::default()).await.unwrap();
    assert_eq!(ledger.in_flight(), 0);
    ledger.cut(clock.now(), true)
}

/// A single request to such a server ends with this kind.
async fn check(answer: Answer, expected: Option<Kind>) {
    let server = server(answer).await;
    let rows = driven(closed(1, Stop::Requests(1), &server.url)).await;
    let kinds: Vec<_> = rows.iter().map(|row| row.kind).collect();
    assert_eq!(kinds, [expected]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_closed_loop_sends_exactly_its_count_over_reused_connections() {
    let server = server(Answer::Keep(whole())).await;
    let rows = driven(closed(4, Stop::Requests(203), &server.url)).await;
    assert_eq!(Counts::of(&rows), Counts { completed: 203, ..Counts::default() });
    assert_eq!(rows.iter().map(|row| row.index).collect::<BTreeSet<_>>(), (0..203).collect());
    assert_eq!(server.requests.load(Ordering::SeqCst), 203);
    assert!(server.connections.load(Ordering::SeqCst) <= 4);
    assert!(rows.iter().all(|row| row.due <= row.sent.unwrap() && row.sent <= row.first && row.first <= row.last));
    assert!(rows.iter().all(|row| row.chunks == 3 && row.output_tokens == Some(3)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_open_loop_is_due_to_the_letter_of_the_schedule() {
    let server = server(Answer::Keep(whole())).await;
    let model = LoadModel::Open { rate: 200.0, arrivals: Arrivals::Poisson };
    let stop = Stop::After(Span::from_millis(500));
    let mut rows = driven(share(model, stop, &server.url)).await;
    rows.sort_by_key(|row| row.index);
    let schedule = Schedule::open(200.0, Arrivals::Poisson, Span::ZERO, stop, 7);
    let expected: Vec<_> = schedule.shard(0, NonZeroU32::MIN).map(|due| (due.index, due.at)).collect();
    assert_eq!(rows.iter().map(|row| (row.index, row.due)).collect::<Vec<_>>(), expected);
    assert!(rows.iter().all(|row| row.outcome == Outcome::Completed && row.sent.unwrap() >= row.due));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_held_back_until_the_window_ends_is_dropped() {
    let server = server(Answer::Hang(String::new())).await;
    let model = LoadModel::Open { rate: 100.0, arrivals: Arrivals::Constant };
    let rows =
        driven(LoadShare { max_in_flight: Some(2), ..share(model, Stop::After(Span::from_millis(200)), &server.url) }).await;
    let mut held: Vec<_> = rows.iter().filter(|row| row.kind == Some(Kind::MaxInFlight)).map(|row| row.index).collect();
    held.sort_unstable();
    assert_eq!(rows.len(), 20);
    assert_eq!(held, (2..20).collect::<Vec<_>>());
    assert!(rows.iter().all(|row| row.held == (row.index < 2).then_some(Nanos(0))), "the first two wait for nobody");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_way_to_fail_has_its_own_kind() {
    let begun = format!("{HEAD}{}", piece(EVENT));
    check(Answer::Keep(status(500)), Some(Kind::Http(500))).await;
    check(Answer::Keep(status(429)), Some(Kind::Http(429))).await;
    check(Answer::Hang(String::new()), Some(Kind::FirstByteTimeout)).await;
    check(Answer::Hang(begun.clone()), Some(Kind::BetweenChunksTimeout)).await;
    check(Answer::Close(String::new()), Some(Kind::Reset)).await;
    check(Answer::Close(begun.clone()), Some(Kind::Truncated)).await;
    check(Answer::Reset(begun.clone()), Some(Kind::ResetMidway)).await;
    check(Answer::Keep(chunked(EVENT)), Some(Kind::NoEndMark)).await;
    check(Answer::Close("SSH-2.0-garbage\r\n\r\n".into()), Some(Kind::Protocol)).await;
    check(Answer::Hang(format!("{begun}zz\r\n")), Some(Kind::Protocol)).await;
    check(Answer::Close(chunked(&format!("data: {}", "a".repeat(20 << 20)))), Some(Kind::Oversize)).await;
    check(Answer::Keep(whole()), None).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn silence_counts_from_the_last_content_however_long_the_first_may_take() {
    let server = server(Answer::Hang(format!("{HEAD}{}", piece(EVENT)))).await;
    let mut share = closed(1, Stop::Requests(1), &server.url);
    (share.load.timeouts.first_byte, share.load.timeouts.total) = (Span::from_secs(25), Span::from_secs(30));
    let rows = driven(share).await;
    assert_eq!(rows[0].kind, Some(Kind::BetweenChunksTimeout));
    let silence = rows[0].end.unwrap().since(rows[0].last.unwrap());
    assert!(silence < Duration::from_secs(12), "300 ms were allowed, and it was silent for {silence:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_listening_is_a_failure_to_connect() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let rows = driven(closed(1, Stop::Requests(2), &url)).await;
    assert_eq!(rows.iter().map(|row| (row.kind, row.sent)).collect::<Vec<_>>(), [(Some(Kind::Connect), None); 2]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reset_of_a_reused_connection_is_retried_once_and_counted() {
    let server = server(Answer::Once(whole())).await;
    let rows = driven(closed(1, Stop::Requests(3), &server.url)).await;
    assert_eq!(Counts::of(&rows).completed, 3);
    assert_eq!(rows.iter().map(|row| row.attempts).collect::<Vec<_>>(), [1, 2, 2]);
}

/// All idle connections are stale at once, as after a pause: none of them may stand in for a new one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_tried_again_gets_a_new_connection() {
    let server = server(Answer::Once(whole())).await;
    let model = LoadModel::Closed { concurrency: NonZeroU32::new(4).unwrap(), think: Span::from_millis(100) };
    let rows = driven(share(model, Stop::Requests(16), &server.url)).await;
    assert_eq!(Counts::of(&rows), Counts { completed: 16, ..Counts::default() });
    assert!(rows.iter().all(|row| row.attempts <= 2) && rows.iter().any(|row| row.attempts == 2));
}

/// Waits until the server has so many requests.
async fn until_asked(server: &TestServer, requests: u64) {
    while server.requests.load(Ordering::SeqCst) < requests {
        tokio::task::yield_now().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stop_cancels_what_is_in_flight() {
    let server = server(Answer::Hang(String::new())).await;
    let mut share = closed(3, Stop::After(Span::from_secs(60)), &server.url);
    share.load.timeouts.first_byte = Span::from_secs(60);
    let (ledger, stop, clock) = (Ledger::new(source()), CancellationToken::new(), Clock::beginning(Instant::now()));
    let prepared = Arc::new(Prepared::new(share, None).unwrap());
    let driving = drive(prepared, ledger.clone(), clock, stop.clone(), PanicSwitch::default());
    let (result, ()) = tokio::join!(driving, async {
        until_asked(&server, 3).await;
        stop.cancel();
    });
    result.unwrap();
    let rows = rows(&ledger.cut(clock.now(), true));
    assert_eq!(rows.iter().map(|row| row.kind).collect::<Vec<_>>(), [Some(Kind::Stopped); 3]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_panic_loses_what_was_open_and_a_restart_sends_the_rest_once() {
    let hanging = server(Answer::Hang(String::new())).await;
    let mut share = closed(3, Stop::Requests(10), &hanging.url);
    share.load.timeouts.first_byte = Span::from_secs(60);
    let (ledger, panic, clock) = (Ledger::new(source()), PanicSwitch::default(), Clock::beginning(Instant::now()));
    let prepared = Arc::new(Prepared::new(share.clone(), None).unwrap());
    let driving = drive(prepared, ledger.clone(), clock, CancellationToken::new(), panic.clone());
    let (result, ()) = tokio::join!(driving, async {
        until_asked(&hanging, 3).await;
        panic.trip();
    });
    assert!(matches!(result, Err(LoadError::Panicked(_))), "{result:?}");
    let buried = ledger.bury(clock.now());
    assert_eq!((buried.lost, ledger.epoch(), ledger.in_flight()), (3, 1, 0));
    assert!(buried.batches.last().unwrap().is_last);

    let answering = server(Answer::Keep(whole())).await;
    share.servers = vec![answering.url.clone()];
    let prepared = Arc::new(Prepared::new(share, None).unwrap());
    drive(prepared, ledger.clone(), clock, CancellationToken::new(), PanicSwitch::default()).await.unwrap();
    let second = ledger.cut(clock.now(), true);
    assert_eq!((second[0].key.seq, second[0].key.source.epoch), (0, 1));
    let all: Vec<_> = rows(&buried.batches).into_iter().chain(rows(&second)).collect();
    assert_eq!(Counts::of(&all), Counts { completed: 7, lost: 3, ..Counts::default() });
    assert_eq!(all.iter().map(|row| row.index).collect::<BTreeSet<_>>(), (0..10).collect());
    assert_eq!(answering.requests.load(Ordering::SeqCst), 7);
    assert!(all.iter().all(|row| row.stage == Stage::Measure));
}

#[test]
fn what_cannot_be_sent_to_is_refused_with_its_name() {
    let refused = |url: &str| Prepared::new(closed(1, Stop::Requests(1), url), None).err();
    for url in ["", "a:1", "ftp://a", "http://user:secret@a", "https://user:secret@a"] {
        assert!(matches!(refused(url), Some(LoadError::Url { .. })), "{url}");
    }
}

/// A share that asks with this file, which goes with the guard.
fn with_dataset(text: &str, share: LoadShare) -> (tempfile::NamedTempFile, LoadShare) {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), text).unwrap();
    let spec = DatasetSpec { path: file.path().to_owned(), format: None, skip: 0, limit: None, on_bad_line: BadLine::Fail };
    let load = LoadSpec { dataset: Some(spec), ..share.load };
    (file, LoadShare { load, ..share })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dataset_says_how_long_answers_are_and_comes_round_again() {
    let server = server(Answer::Keep(whole())).await;
    let text = "{\"prompt\": \"a\", \"output_tokens\": 5}\n{\"prompt\": \"b\"}\n";
    let (_file, share) = with_dataset(text, closed(1, Stop::Requests(4), &server.url));
    let mut rows = driven(share).await;
    rows.sort_by_key(|row| row.index);
    assert_eq!(rows.iter().map(|row| row.asked_tokens).collect::<Vec<_>>(), [5, 3, 5, 3]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replay_is_due_when_its_trace_says() {
    let server = server(Answer::Keep(whole())).await;
    let trace = "TIMESTAMP,ContextTokens,GeneratedTokens\n2023-11-16 18:15:46.00,3,4\n2023-11-16 18:15:46.10,5,6\n";
    let model = |instants| LoadModel::Replay { time_scale: 0.5, jitter: Span::ZERO, instants };
    let told = Instants::new(vec![Nanos(0), Nanos(50_000_000)]);
    let (_file, share) = with_dataset(trace, share(model(told), Stop::Requests(2), &server.url));
    let mut rows = driven(share.clone()).await;
    rows.sort_by_key(|row| row.index);
    let found: Vec<_> = rows.iter().map(|row| (row.due.0, row.asked_tokens)).collect();
    assert_eq!(found, [(0, 4), (50_000_000, 6)]);

    // The leader counts by another file.
    let other = LoadSpec { model: model(Instants::new(vec![Nanos(0), Nanos(60_000_000)])), ..share.load.clone() };
    let refused = Prepared::new(LoadShare { load: other, ..share.clone() }, None).err().unwrap().to_string();
    assert!(refused.contains("other instants than the leader's"), "{refused}");

    let missing = DatasetSpec { path: "/nowhere/at/all".into(), ..share.load.dataset.clone().unwrap() };
    let load = LoadSpec { dataset: Some(missing), ..share.load.clone() };
    let refused = Prepared::new(LoadShare { load, ..share }, None).err().unwrap().to_string();
    assert!(refused.contains("/nowhere/at/all") && refused.contains("No such file"), "{refused}");
}
