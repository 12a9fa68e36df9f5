//! The parts of the hot path and of a plan, each alone: `cargo bench -p hb-bench --features criterion`.

use std::{hint::black_box, num::NonZeroU32};

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use hb_actors::wire::Wire;
use hb_core::{
    batch::{Batch, BatchKey, ClientHealth, Source},
    histogram::Histogram,
    recipe::{KnownService, read, trials},
    record::{Kind, Outcome, Record, Stage},
    schedule::Schedule,
    trial::{Api, Arrivals, Length, ProtocolName, RequestSpec, Stop},
    units::{Nanos, Span},
};
use ractor::BytesConvertable;

const TOKENS: u64 = 100;

/// An answer of a hundred tokens, as vLLM sends it.
fn answer() -> Vec<u8> {
    let event = |text: &str, reason: &str| {
        format!(
            "data: {{\"id\":\"cmpl-1\",\"object\":\"text_completion\",\"created\":1,\"model\":\"m\",\"choices\":[{{\"index\":0,\
             \"text\":\"{text}\",\"logprobs\":null,\"finish_reason\":{reason},\"stop_reason\":null}}],\"usage\":null}}\n\n"
        )
    };
    let tokens: String = (1..TOKENS).map(|_| event(" word", "null")).collect();
    let usage = "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":128,\"total_tokens\":228,\"completion_tokens\":100}}\n\n";
    format!("{tokens}{}{usage}data: [DONE]\n\n", event(" last", "\"length\"")).into_bytes()
}

fn scan(criterion: &mut Criterion) {
    let request = RequestSpec {
        api: Api::Completions,
        stream: true,
        prompt_len: Length::Fixed(128),
        gen_tokens: Length::Fixed(TOKENS as u32),
        batch: NonZeroU32::MIN,
        shared_prefix: None,
        turns: None,
        sampling: serde_json::Map::new(),
    };
    let mut reader = hb_services::protocol(ProtocolName::Openai).reader(&request);
    let whole = answer();
    let mut group = criterion.benchmark_group("scan");
    group.throughput(Throughput::Elements(TOKENS));
    group.bench_function("an answer in one read", |bencher| {
        bencher.iter(|| {
            black_box(reader.feed(black_box(&whole)).expect("the answer is well formed"));
            black_box(reader.finish())
        });
    });
    let events: Vec<&[u8]> = whole.split_inclusive(|byte| *byte == b'\n').collect();
    let events: Vec<Vec<u8>> = events.chunks(2).map(<[&[u8]]>::concat).collect();
    group.bench_function("an event in each read", |bencher| {
        bencher.iter(|| {
            for event in &events {
                black_box(reader.feed(black_box(event)).expect("the answer is well formed"));
            }
            black_box(reader.finish())
        });
    });
    group.finish();
}

fn schedule(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("schedule");
    group.throughput(Throughput::Elements(10_000));
    let schedule = Schedule::open(1000.0, Arrivals::Poisson, Span::ZERO, Stop::Requests(10_000), 7);
    group.bench_function("a Poisson arrival", |bencher| bencher.iter(|| black_box(&schedule).shard(0, NonZeroU32::MIN).count()));
    group.finish();
}

fn gaps(spread: u64) -> Histogram {
    let mut histogram = Histogram::new();
    (0..25_000).for_each(|turn| histogram.record(20_000_000 + turn * spread));
    histogram
}

fn histograms(criterion: &mut Criterion) {
    let (mut sum, bytes) = (Histogram::new(), gaps(97).to_bytes());
    criterion.bench_function("histogram/record", |bencher| bencher.iter(|| sum.record(black_box(20_123_456))));
    let other = gaps(31);
    criterion.bench_function("histogram/merge", |bencher| bencher.iter(|| sum.merge(black_box(&other))));
    criterion.bench_function("histogram/read and merge a second of 25,000 gaps", |bencher| {
        bencher.iter(|| sum.merge(&Histogram::from_bytes(black_box(&bytes)).expect("they are ours")));
    });
}

/// As full as the limit on batches lets it be.
fn full_batch() -> Batch {
    let records: Vec<Record> = (0..350u64)
        .map(|index| Record {
            sent: Some(Nanos(index + 1_000)),
            first: Some(Nanos(index + 100_000_000)),
            last: Some(Nanos(index + 2_000_000_000)),
            end: Some(Nanos(index + 2_000_100_000)),
            kind: None,
            input_tokens: Some(128),
            output_tokens: Some(100),
            asked_tokens: 100,
            chunks: 100,
            server: Some(0),
            status: Some(200),
            attempts: 1,
            ..Record::unsent(index, Stage::Measure, Nanos(index), Outcome::Completed, Kind::Reset)
        })
        .collect();
    let source = Source { trial: "t".into(), node: "n".into(), incarnation: 1, executor: 0, epoch: 0 };
    Batch {
        key: BatchKey { source, seq: 0 },
        span: (Nanos(0), Nanos(1_000_000_000)),
        counts: Batch::counted(&records),
        records,
        opened: Vec::new(),
        itl: gaps(97).to_bytes(),
        icl: gaps(31).to_bytes(),
        health: ClientHealth::default(),
        is_last: false,
    }
}

fn wire(criterion: &mut Criterion) {
    let batch = full_batch();
    let bytes = Wire(Ok(batch.clone())).into_bytes();
    let mut group = criterion.benchmark_group("wire");
    group.throughput(Throughput::Bytes(bytes.len() as u64));
    group.bench_function("write a full batch", |bencher| bencher.iter(|| Wire(Ok(black_box(&batch).clone())).into_bytes()));
    group.bench_function("read a full batch", |bencher| bencher.iter(|| Wire::<Batch>::from_bytes(black_box(bytes.clone()))));
    group.finish();
}

fn recipes(criterion: &mut Criterion) {
    let text = "scenario: sweep\norchestration: {mode: local}\nservers: {endpoints: [\"http://a:8000\"]}\nworkload:\n  service: openai\n  model: m\n  \
                duration: 10s\n  concurrency: [1, 2, 4, 8, 16, 32, 64, 128, 256, 512]\n  prompt_len: [128, 512, 2048, 8192]\n  \
                gen_tokens: [16, 64, 256]\nrepetitions: 5\n";
    let services = [KnownService { name: "openai", default_api: Api::Completions, is_started: false }];
    let reading = read(text.as_bytes(), &[], &services);
    let recipe = reading.recipe.unwrap_or_else(|| panic!("{:?}", reading.problems));
    criterion.bench_function("recipe/read", |bencher| bencher.iter(|| read(black_box(text.as_bytes()), &[], &services)));
    let mut group = criterion.benchmark_group("recipe");
    group.throughput(Throughput::Elements(trials(&recipe).len() as u64));
    group.bench_function("expand", |bencher| bencher.iter(|| trials(black_box(&recipe))));
    group.finish();
}

criterion_group!(parts, scan, schedule, histograms, wire, recipes);
criterion_main!(parts);
