//! The floor: the least that a client can do and still know its tokens. hyper's HTTP/1.1, a scan for the ends of
//! events, two stamps per answer; no rows, no windows, no deadlines, one body for all requests.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use clap::Parser as _;
use hb_bench::{Figures, Mode, Seen, Shape, cpu_seconds};
use http_body_util::{BodyExt as _, Full};
use hyper::{
    Request,
    client::conn::http1::{SendRequest, handshake},
    header::{CONTENT_TYPE, HOST},
};
use hyper_util::rt::TokioIo;
use tokio::{net::TcpStream, task::JoinSet};

type Failure = Box<dyn std::error::Error + Send + Sync>;

struct Floor {
    shape: Shape,
    address: String,
    body: Bytes,
    turns: AtomicU64,
    idle: Mutex<Vec<SendRequest<Full<Bytes>>>>,
    seen: Mutex<Vec<Seen>>,
    failed: AtomicU64,
}

fn main() -> Result<(), Failure> {
    let shape = Shape::parse();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(shape.threads).enable_all().build()?;
    let address = shape.url.trim_start_matches("http://").trim_end_matches('/').to_owned();
    let body = serde_json::json!({
        "model": "m", "prompt": "word ".repeat(128), "max_tokens": shape.tokens, "min_tokens": shape.tokens,
        "stream": true, "ignore_eos": true, "stream_options": {"include_usage": true},
    });
    let floor = Arc::new(Floor {
        address,
        body: body.to_string().into(),
        turns: AtomicU64::new(0),
        idle: Mutex::default(),
        seen: Mutex::default(),
        failed: AtomicU64::new(0),
        shape: shape.clone(),
    });
    let (began, cpu) = (Instant::now(), cpu_seconds());
    runtime.block_on(async {
        let running = floor.clone();
        // On a worker like the engine's, not on the thread that waits here.
        tokio::spawn(run(running)).await
    })?;
    let (wall, cpu) = (began.elapsed(), cpu_seconds() - cpu);
    let seen = floor.seen.lock().expect("no task panicked").clone();
    println!("{}", serde_json::to_string(&Figures::of(&shape, &seen, floor.failed.load(Ordering::Relaxed), wall, cpu))?);
    Ok(())
}

async fn run(floor: Arc<Floor>) {
    let began = Instant::now();
    let mut tasks = JoinSet::new();
    if floor.shape.mode == Mode::Open {
        let rate = floor.shape.rate();
        for turn in 0..floor.shape.requests {
            let due = began + Duration::from_secs_f64(turn as f64 / rate);
            tokio::time::sleep_until(due.into()).await;
            let floor = floor.clone();
            tasks.spawn(async move { floor.one(due).await });
        }
    } else {
        for _ in 0..floor.shape.in_flight {
            let floor = floor.clone();
            tasks.spawn(async move {
                let mut due = began;
                while floor.turns.fetch_add(1, Ordering::Relaxed) < floor.shape.requests {
                    floor.one(due).await;
                    due = Instant::now();
                }
            });
        }
    }
    while tasks.join_next().await.is_some() {}
}

impl Floor {
    async fn one(&self, due: Instant) {
        match self.exchange(due).await {
            Ok(seen) => self.seen.lock().expect("no task panicked").push(seen),
            Err(error) => {
                eprintln!("{error}");
                self.failed.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    async fn exchange(&self, due: Instant) -> Result<Seen, Failure> {
        let idle = self.idle.lock().expect("no task panicked").pop();
        let mut sender = match idle {
            Some(sender) => sender,
            None => {
                let stream = TcpStream::connect(&self.address).await?;
                stream.set_nodelay(true)?;
                let (sender, connection) = handshake(TokioIo::new(stream)).await?;
                tokio::spawn(connection);
                sender
            }
        };
        sender.ready().await?;
        let request = Request::post("/v1/completions")
            .header(HOST, &self.address)
            .header(CONTENT_TYPE, "application/json")
            .body(Full::new(self.body.clone()))?;
        let sent = Instant::now();
        let mut body = sender.send_request(request).await?.into_body();
        let (mut first, mut last, mut tokens) = (None, due, 0);
        while let Some(frame) = body.frame().await {
            let Ok(data) = frame?.into_data() else { continue };
            // The count of usage and the end mark are events, too; no token comes after the last of the asked ones.
            let ends = memchr::memmem::find_iter(&data, b"\n\n").count() as u32;
            if tokens < self.shape.tokens {
                last = Instant::now();
                first.get_or_insert(last);
                tokens = (tokens + ends).min(self.shape.tokens);
            }
        }
        self.idle.lock().expect("no task panicked").push(sender);
        let first = first.ok_or("an answer without a token")?;
        Ok(Seen { first: first - due, sent: sent - due, rest: last - first, tokens })
    }
}
