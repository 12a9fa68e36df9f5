//! The Dummy's sockets and paths.

use std::{
    collections::BTreeSet,
    convert::Infallible,
    io,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use http_body_util::{BodyExt, Either, Full, Limited};
use hyper::{
    Method, Request, Response, StatusCode,
    body::Incoming,
    header::{CONTENT_TYPE, HeaderValue},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use rand::RngExt;
use serde_json::{Value, json};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    task::JoinSet,
    time::{Instant, sleep_until},
};

use super::{
    asks::{self, Ask, DIALECTS, Dialect},
    config::DummyConfig,
    counters::Counters,
    faults::{self, Fault},
    http2, ollama, openai,
    paced::{Breaking, Pace, Paced},
    script::{self, About, Length},
    visit::{Ending, Visit, Waiting},
};
use crate::ollama::with_tag;

/// The longest request body, in bytes.
const MOST_BODY_BYTES: usize = 32 * 1024 * 1024;

/// The answer's length where the request says none, as vLLM has it for completions.
const TOKENS_UNLESS_ASKED: u32 = 16;

/// How many times as long everything takes from `slow_after` on.
const SLOWNESS: u32 = 3;

/// The name it lists where it was given none.
const NAMELESS: &str = "dummy";

/// A body that is there at once, or one that takes its time.
pub(super) type Body = Either<Full<Bytes>, Paced>;
type Reply = Response<Body>;

struct Server {
    config: DummyConfig,
    counters: Arc<Counters>,
    turns: Option<Arc<Semaphore>>,
    /// The models it has: its own and what was pulled.
    models: Mutex<BTreeSet<String>>,
    arrivals: AtomicU64,
    opens_at: Instant,
    slows_at: Option<Instant>,
}

/// Answers on `listener` until `stop` ends; then every connection is closed at once.
///
/// # Errors
/// When the listener can no longer be asked for connections.
pub async fn serve(listener: TcpListener, config: DummyConfig, stop: impl Future) -> io::Result<()> {
    let server = Arc::new(Server::new(config));
    let mut connections = JoinSet::new();
    let mut stop = std::pin::pin!(stop);
    loop {
        tokio::select! {
            _ = &mut stop => return Ok(()),
            Some(_) = connections.join_next() => {}
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    connections.spawn(Arc::clone(&server).connection(stream));
                }
                // Out of descriptors, or a client that has already gone: the others are still served.
                Err(error) if is_passing(&error) => tokio::time::sleep(Duration::from_millis(10)).await,
                Err(error) => return Err(error),
            },
        }
    }
}

fn is_passing(error: &io::Error) -> bool {
    const NO_MORE_FILES: [i32; 2] = [23, 24];
    matches!(error.kind(), io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset | io::ErrorKind::Interrupted)
        || error.raw_os_error().is_some_and(|code| NO_MORE_FILES.contains(&code))
}

impl Server {
    fn new(config: DummyConfig) -> Self {
        Self {
            counters: Arc::new(Counters::new(config.cached_share.is_some())),
            turns: config.concurrency.map(|turns| Arc::new(Semaphore::new(turns.get() as usize))),
            models: Mutex::new(BTreeSet::from([config.model.clone().unwrap_or_else(|| NAMELESS.into())])),
            arrivals: AtomicU64::new(0),
            opens_at: Instant::now() + config.start_delay.0,
            slows_at: config.slow_after.map(|after| Instant::now() + after.0),
            config,
        }
    }

    async fn connection(self: Arc<Self>, stream: TcpStream) {
        self.counters.connections.fetch_add(1, Relaxed);
        // A token that waits for its neighbour would falsify every time between tokens.
        if stream.set_nodelay(true).is_err() {
            return;
        }
        let breaking = Arc::new(Breaking::of(self.config.http2));
        let service = service_fn(|request| {
            let (server, breaking) = (Arc::clone(&self), Arc::clone(&breaking));
            async move { Ok::<_, Infallible>(server.answer(request, breaking).await) }
        });
        if breaking.is_http2 {
            return http2::serve(stream, service, &breaking.is_due).await;
        }
        let mut connection = http1::Builder::new().header_read_timeout(None).serve_connection(TokioIo::new(stream), service);
        let ended = (&mut connection).await;
        if ended.is_err() && breaking.is_due.load(Relaxed) {
            // Should the socket already be dead, it cannot be reset any more.
            let _ = connection.into_parts().io.inner().set_zero_linger();
        }
    }

    async fn answer(self: Arc<Self>, request: Request<Incoming>, breaking: Arc<Breaking>) -> Reply {
        let (head, body) = request.into_parts();
        let path = head.uri.path();
        let dialect = DIALECTS.iter().find(|(_, at)| *at == path).map(|(dialect, _)| *dialect);
        // Ollama's port answers these while no model is loaded; the counts must be readable at any time.
        let is_closed = Instant::now() < self.opens_at && path != "/metrics";
        let visit = dialect.map(|dialect| {
            self.counters.received(dialect);
            Visit::new(Arc::clone(&self.counters))
        });
        if is_closed {
            refuse(visit);
            return json_reply(StatusCode::SERVICE_UNAVAILABLE, openai::error_body("Loading model", "unavailable_error", 503));
        }
        let Ok(body) = Limited::new(body, MOST_BODY_BYTES).collect().await else {
            refuse(visit);
            return json_reply(StatusCode::PAYLOAD_TOO_LARGE, openai::error_body("the body cannot be read", "Bad Request", 413));
        };
        let body = body.to_bytes();
        match (&head.method, dialect, visit) {
            (&Method::POST, Some(dialect), Some(visit)) => self.generate(dialect, &body, visit, breaking).await,
            (method, _, visit) => {
                refuse(visit);
                self.other(method, path, &body)
            }
        }
    }

    /// The paths that generate nothing.
    fn other(&self, method: &Method, path: &str, body: &[u8]) -> Reply {
        let is_get = method == Method::GET || method == Method::HEAD;
        let is_post = method == Method::POST;
        match path {
            "/" if is_get => text_reply("text/plain; charset=utf-8", "Ollama is running"),
            "/health" if is_get => text_reply("text/plain", ""),
            "/metrics" if is_get => text_reply("text/plain; version=0.0.4", self.counters.exposition()),
            "/v1/models" if is_get => {
                let row = |name: &String| json!({"id": name, "object": "model", "owned_by": "hbnode", "max_model_len": self.config.max_model_len});
                value_reply(&json!({"object": "list", "data": self.names().iter().map(row).collect::<Vec<_>>()}))
            }
            path if is_get && path.starts_with("/v1/models/") => {
                let name = &path["/v1/models/".len()..];
                let is_known = if self.config.model.is_none() { !name.is_empty() } else { self.names().contains(name) };
                match is_known {
                    true => value_reply(&json!({"id": name, "object": "model", "owned_by": "hbnode"})),
                    false => json_reply(StatusCode::NOT_FOUND, json!({"detail": "Not Found"}).to_string()),
                }
            }
            "/tokenize" if is_post => tokenize(body, &self.config),
            "/api/version" if is_get => value_reply(&json!({"version": "0.0.0-dummy"})),
            "/api/tags" | "/api/ps" if is_get => {
                let row = |name: &String| json!({"name": name, "model": name, "size": 1, "size_vram": 0, "digest": DIGEST, "details": {"format": "gguf", "family": "dummy"}});
                value_reply(&json!({"models": self.names().iter().map(row).collect::<Vec<_>>()}))
            }
            "/api/pull" if is_post => self.pull(body),
            "/" | "/health" | "/metrics" | "/v1/models" | "/tokenize" | "/api/version" | "/api/tags" | "/api/ps"
            | "/api/pull" => json_reply(StatusCode::METHOD_NOT_ALLOWED, json!({"detail": "Method Not Allowed"}).to_string()),
            path if DIALECTS.iter().any(|(_, at)| *at == path) => {
                json_reply(StatusCode::METHOD_NOT_ALLOWED, json!({"detail": "Method Not Allowed"}).to_string())
            }
            _ => json_reply(StatusCode::NOT_FOUND, json!({"detail": "Not Found"}).to_string()),
        }
    }

    fn names(&self) -> BTreeSet<String> {
        self.models.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn has(&self, model: &str) -> bool {
        self.config.model.is_none() || self.names().iter().any(|name| name == model || with_tag(name) == with_tag(model))
    }

    /// Brings a model: it is there once the answer is made.
    fn pull(&self, body: &[u8]) -> Reply {
        let asked: Value = serde_json::from_slice(body).unwrap_or_default();
        let Some(name) = asked["model"].as_str().or_else(|| asked["name"].as_str()).filter(|name| !name.is_empty()) else {
            return json_reply(StatusCode::BAD_REQUEST, ollama::error_body("invalid model name"));
        };
        self.models.lock().unwrap_or_else(PoisonError::into_inner).insert(name.to_owned());
        let success = json!({"status": "success"}).to_string() + "\n";
        if asked["stream"] == false {
            return json_reply(StatusCode::OK, success);
        }
        let total = 4096;
        let layer = format!("pulling {}", &DIGEST[..12]);
        let piece = |done: u32| json!({"status": layer, "digest": DIGEST, "total": total, "completed": done});
        let lines = [
            json!({"status": "pulling manifest"}),
            json!({"status": layer, "digest": DIGEST, "total": total}),
            piece(total / 2),
            piece(total),
            json!({"status": "verifying sha256 digest"}),
            json!({"status": "writing manifest"}),
        ];
        let text: String = lines.iter().map(|line| line.to_string() + "\n").collect();
        text_reply("application/x-ndjson", text + &success)
    }

    async fn generate(&self, dialect: Dialect, body: &[u8], mut visit: Visit, breaking: Arc<Breaking>) -> Reply {
        let (status, refusal) = match self.admit(dialect, body) {
            Ok(ask) => return self.play(ask, visit, breaking).await,
            Err(refusal) => refusal,
        };
        visit.end(Ending::Refused);
        json_reply(status, refusal)
    }

    /// Reads what is asked, and refuses what cannot be answered.
    fn admit(&self, dialect: Dialect, body: &[u8]) -> Result<Ask, (StatusCode, String)> {
        let refusal = |status: StatusCode, kind: &str, words: String| {
            let is_ollama = dialect.is_ollama();
            let body = if is_ollama { ollama::error_body(&words) } else { openai::error_body(&words, kind, status.as_u16()) };
            (status, body)
        };
        let mut ask = asks::read(dialect, body).map_err(|words| refusal(StatusCode::BAD_REQUEST, "BadRequestError", words))?;
        if !self.has(&ask.model) {
            let model = &ask.model;
            let words = if dialect.is_ollama() {
                format!("model '{model}' not found")
            } else {
                format!("The model `{model}` does not exist.")
            };
            return Err(refusal(StatusCode::NOT_FOUND, "NotFoundError", words));
        }
        if !ask.only_loads {
            let extra = self.config.extra_prompt_tokens.saturating_mul(ask.prompts.count);
            ask.prompts.tokens = ask.prompts.tokens.saturating_add(extra);
        }
        let each = ask.prompts.tokens / ask.prompts.count.max(1);
        let needed = each.saturating_add(ask.most_tokens.unwrap_or(0));
        match self.config.max_model_len {
            Some(most) if needed > most.get() => {
                let words =
                    format!("This model's maximum context length is {most} tokens. However, you requested {needed} tokens.");
                Err(refusal(StatusCode::BAD_REQUEST, "BadRequestError", words))
            }
            _ => Ok(ask),
        }
    }

    /// Answers an ask that is let in.
    async fn play(&self, ask: Ask, mut visit: Visit, breaking: Arc<Breaking>) -> Reply {
        let number = self.arrivals.fetch_add(1, Relaxed);
        let mut random = faults::generator(self.config.seed, number);
        let fault = faults::draw(&self.config, &mut random);
        self.counters.prompts.fetch_add(ask.prompts.count.into(), Relaxed);
        self.counters.prompt_tokens.fetch_add(ask.prompts.tokens.into(), Relaxed);
        if fault == Some(Fault::Error) {
            visit.end(Ending::Planted(Fault::Error));
            let is_ollama = ask.dialect.is_ollama();
            let body =
                if is_ollama { ollama::error_body("planted") } else { openai::error_body("planted", "InternalServerError", 500) };
            return json_reply(StatusCode::INTERNAL_SERVER_ERROR, body);
        }
        let asked_at = Instant::now();
        let turn = match &self.turns {
            None => None,
            Some(turns) => {
                let _waiting = Waiting::new(&self.counters);
                Some(Arc::clone(turns).acquire_owned().await.expect("the turns are never closed"))
            }
        };
        visit.run(turn);

        let start = Instant::now();
        self.counters.had_turn(start - asked_at);
        let length = self.length(&ask);
        let away = (random.random::<f64>() * 2.0 - 1.0) * self.config.jitter;
        let times = if self.slows_at.is_some_and(|at| at <= start) { SLOWNESS } else { 1 };
        let first = self.config.ttft.0.mul_f64(1.0 + away) * times;
        let tpot = self.config.tpot.0 * times;
        let answer = tpot * length.tokens.saturating_sub(1);
        let cached = self.config.cached_share.map(|share| (f64::from(ask.prompts.tokens) * share).round() as u32);
        self.counters.looked_up(ask.prompts.tokens, cached.unwrap_or(0));
        let about = About {
            length,
            number,
            created: SystemTime::UNIX_EPOCH.elapsed().map_or(0, |since| since.as_secs()),
            prompt_nanos: nanos(first),
            answer_nanos: nanos(answer),
            model: self.config.answer_model.as_deref().unwrap_or(&ask.model),
            is_same: self.config.same_answer,
            cached,
            ask: &ask,
        };
        if ask.only_loads {
            visit.end(Ending::Completed);
            return json_reply(StatusCode::OK, ollama::loaded(&about));
        }
        if ask.is_streamed {
            let gap = tpot * self.config.tokens_per_event.get();
            let pace = Pace { start, first, gap, jitter: self.config.jitter, random };
            let content = if ask.dialect.is_ollama() { "application/x-ndjson" } else { "text/event-stream; charset=utf-8" };
            let body = Paced::new(script::streamed(&about), pace, fault, breaking, visit);
            return typed(StatusCode::OK, content, Either::Right(body));
        }
        if fault == Some(Fault::Hang) {
            visit.end(Ending::Planted(Fault::Hang));
            std::future::pending::<()>().await;
        }
        sleep_until(start + first + answer).await;
        let body = script::whole(&about, fault);
        self.whole(&about, body, fault, visit, breaking)
    }

    /// An answer in one piece, now.
    fn whole(&self, about: &About, body: Bytes, fault: Option<Fault>, mut visit: Visit, breaking: Arc<Breaking>) -> Reply {
        let content = "application/json; charset=utf-8";
        match fault {
            Some(fault @ (Fault::Reset | Fault::Truncate)) => {
                let paced = Paced::half(body, fault, breaking, visit);
                typed(StatusCode::OK, content, Either::Right(paced))
            }
            Some(fault) => {
                visit.end(Ending::Planted(fault));
                typed(StatusCode::OK, content, Either::Left(Full::new(body)))
            }
            None => {
                visit.sent(about.all_tokens());
                visit.end(Ending::Completed);
                typed(StatusCode::OK, content, Either::Left(Full::new(body)))
            }
        }
    }

    /// As long as asked, unless the model stops by itself before.
    fn length(&self, ask: &Ask) -> Length {
        let natural =
            self.config.stop_after.filter(|_| self.config.always_stops || !ask.ignores_end).map(std::num::NonZeroU32::get);
        let asked = ask.most_tokens;
        let tokens = match (asked, natural) {
            (Some(asked), Some(natural)) => asked.min(natural),
            (Some(tokens), None) | (None, Some(tokens)) => tokens,
            (None, None) => TOKENS_UNLESS_ASKED,
        };
        let is_natural = natural == Some(tokens) && asked != Some(tokens);
        Length { tokens, per_event: self.config.tokens_per_event.get(), is_natural }
    }
}

/// The digest of every model it has: nothing is in them.
const DIGEST: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

/// vLLM's `/tokenize`: here a word is a token, and the same word has always the same id.
fn tokenize(body: &[u8], config: &DummyConfig) -> Reply {
    let asked: Value = serde_json::from_slice(body).unwrap_or_default();
    let text = match (&asked["prompt"], asked["messages"].as_array()) {
        (Value::String(text), _) => text.clone(),
        (_, Some(messages)) => messages.iter().filter_map(|message| message["content"].as_str()).collect::<Vec<_>>().join(" "),
        _ => {
            return json_reply(StatusCode::BAD_REQUEST, openai::error_body("field `prompt` is required", "BadRequestError", 400));
        }
    };
    let ids: Vec<u32> = text.split_ascii_whitespace().map(id).collect();
    value_reply(&json!({"count": ids.len(), "max_model_len": config.max_model_len, "tokens": ids}))
}

/// A word's id, by FNV.
fn id(word: &str) -> u32 {
    word.bytes().fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193)) % 32_000
}

fn refuse(visit: Option<Visit>) {
    if let Some(mut visit) = visit {
        visit.end(Ending::Refused);
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

fn value_reply(value: &Value) -> Reply {
    json_reply(StatusCode::OK, value.to_string())
}

fn json_reply(status: StatusCode, body: String) -> Reply {
    typed(status, "application/json; charset=utf-8", Either::Left(Full::from(body)))
}

fn text_reply(content: &'static str, body: impl Into<Bytes>) -> Reply {
    typed(StatusCode::OK, content, Either::Left(Full::new(body.into())))
}

fn typed(status: StatusCode, content: &'static str, body: Either<Full<Bytes>, Paced>) -> Reply {
    let mut reply = Response::new(body);
    *reply.status_mut() = status;
    reply.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content));
    reply
}
