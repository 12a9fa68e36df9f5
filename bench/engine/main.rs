//! The load engine of hbnode alone, as an executor drives it: a share on the load's own runtime, windows cut each
//! second. `engine serve` is the Dummy, for when the two are compared.

use std::{
    collections::BTreeMap,
    num::NonZeroU32,
    sync::Arc,
    time::{Duration, Instant},
};

use clap::Parser;
use hb_actors::load::{Clock, Ledger, PanicSwitch, Prepared, drive};
use hb_bench::{Figures, Mode, Seen, Shape, cpu_seconds};
use hb_core::{
    batch::{Batch, Source},
    histogram::Histogram,
    orders::LoadShare,
    record::{Outcome, Record},
    schedule::Numbers,
    trial::{
        Api, Arrivals, ContainerRuntime, Distribution, HealthCheck, Length, LoadModel, LoadSpec, RequestSpec, ServiceSpec, Stop,
        Timeouts,
    },
    units::{Nanos, Span},
};
use hb_services::dummy::{DummyConfig, serve};
use tokio_util::sync::CancellationToken;

const START_AHEAD: Duration = Duration::from_millis(40);
const START_AHEAD_FOR_A_CLIENT: Duration = Duration::from_micros(60);

type Failure = Box<dyn std::error::Error + Send + Sync>;

#[derive(Parser)]
enum Command {
    /// Sends a load and prints its figures.
    Load(Shape),
    /// Answers as the Dummy until it is ended.
    Serve(Serve),
}

#[derive(clap::Args)]
struct Serve {
    #[arg(long)]
    port: u16,
    /// Milliseconds to the first token.
    #[arg(long)]
    ttft: f64,
    /// Milliseconds between tokens.
    #[arg(long)]
    tpot: f64,
}

fn main() -> Result<(), Failure> {
    match Command::parse() {
        Command::Load(shape) => load(&shape),
        Command::Serve(told) => dummy(&told),
    }
}

fn dummy(told: &Serve) -> Result<(), Failure> {
    let millis = |millis: f64| Span(Duration::from_secs_f64(millis / 1e3));
    let config = DummyConfig { ttft: millis(told.ttft), tpot: millis(told.tpot), ..DummyConfig::default() };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let listener = tokio::net::TcpSocket::new_v4()?;
        listener.set_reuseaddr(true)?;
        listener.bind(([127, 0, 0, 1], told.port).into())?;
        // A burst must meet the server's pace, not the length of its queue of new connections.
        serve(listener.listen(8192)?, config, std::future::pending::<()>()).await
    })?;
    Ok(())
}

fn load(shape: &Shape) -> Result<(), Failure> {
    let prepared = Arc::new(Prepared::new(share(shape), None)?);
    let source = Source { trial: "t".into(), node: "n".into(), incarnation: 1, executor: 0, epoch: 0 };
    let ledger = Ledger::new(source);
    let load = tokio::runtime::Builder::new_multi_thread().worker_threads(shape.threads).enable_all().build()?;
    let cuts = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
    let cpu = cpu_seconds();
    // As the Orchestrator starts it, too: so long after the order, in which clients open their connections.
    let began = Instant::now() + START_AHEAD + START_AHEAD_FOR_A_CLIENT * shape.in_flight;
    let clock = Clock::beginning(began);
    let mut batches = Vec::new();
    cuts.block_on(async {
        let driving = load.spawn(drive(prepared, ledger.clone(), clock, CancellationToken::new(), PanicSwitch::default()));
        let mut driving = std::pin::pin!(driving);
        loop {
            tokio::select! {
                ended = &mut driving => return ended.map_err(Failure::from)?.map_err(Failure::from),
                () = tokio::time::sleep(Duration::from_secs(1)) => batches.extend(ledger.cut(clock.now(), false)),
            }
        }
    })?;
    let (wall, cpu) = (began.elapsed(), cpu_seconds() - cpu);
    batches.extend(ledger.cut(clock.now(), true));
    println!("{}", serde_json::to_string(&figures(shape, &batches, wall, cpu)?)?);
    Ok(())
}

fn figures(shape: &Shape, batches: &[Batch], wall: Duration, cpu: f64) -> Result<Figures, Failure> {
    let rows = || batches.iter().flat_map(|batch| &batch.records);
    let completed: Vec<Seen> = rows().filter(|row| row.outcome == Outcome::Completed).filter_map(seen).collect();
    let failed = rows().count() - completed.len();
    let mut gaps = Histogram::new();
    for batch in batches.iter().filter(|batch| !batch.itl.is_empty()) {
        if let Some(read) = Histogram::from_bytes(&batch.itl)? {
            gaps.merge(&read);
        }
    }
    // A step of the quantile finer than a gap in ten thousand changes nothing at the ninety-ninth of a hundred.
    let evenly = (0..10_000).filter_map(|step| gaps.quantile((f64::from(step) + 0.5) / 10_000.0));
    Ok(Figures::of(shape, &completed, failed as u64, wall, cpu).with_gaps(shape, evenly))
}

fn seen(row: &Record) -> Option<Seen> {
    let (first, last) = (row.first?, row.last?);
    Some(Seen {
        first: since(first, row.due),
        sent: since(row.sent?, row.due),
        rest: since(last, first),
        tokens: row.output_tokens?,
    })
}

fn since(later: Nanos, earlier: Nanos) -> Duration {
    later.since(earlier)
}

fn share(shape: &Shape) -> LoadShare {
    let (model, clients) = match shape.mode {
        Mode::Open => (LoadModel::Open { rate: shape.rate(), arrivals: Arrivals::Constant }, 0),
        Mode::Closed | Mode::Burst => {
            let concurrency = NonZeroU32::new(shape.in_flight).unwrap_or(NonZeroU32::MIN);
            (LoadModel::Closed { concurrency, think: Span::ZERO }, concurrency.get())
        }
    };
    let limit = Span::from_secs(60);
    LoadShare {
        trial: "t".into(),
        node: "n".into(),
        executor: 0,
        numbers: Numbers::all(),
        requests: None,
        left_by: None,
        clients: (0..clients).collect(),
        max_in_flight: None,
        load: LoadSpec {
            model,
            warmup: Span::ZERO,
            stop: Stop::Requests(shape.requests),
            stop_when: None,
            together: NonZeroU32::MIN,
            max_in_flight: None,
            shares_by: Default::default(),
            timeouts: Timeouts { connect: limit, first_byte: limit, between_chunks: limit, total: limit },
            distribution: Distribution::RoundRobin,
            dataset: None,
            tokenizer: None,
            drills: vec![],
            calibration: None,
        },
        request: RequestSpec {
            api: Api::Completions,
            stream: true,
            prompt_len: Length::Fixed(128),
            gen_tokens: Length::Fixed(shape.tokens),
            batch: NonZeroU32::MIN,
            shared_prefix: None,
            turns: None,
            sampling: serde_json::Map::from_iter([("ignore_eos".to_owned(), true.into())]),
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
            health: HealthCheck { enabled: true, timeout: limit, interval: limit, endpoint: None },
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
        servers: vec![shape.url.clone()],
        left_servers: Default::default(),
        http2: Default::default(),
        seed: 7,
        counting: None,
    }
}
