//! Plans and records for the tests of several rooms.

use std::num::NonZeroU32;

use serde_json::Map;

use crate::{
    orders::{LoadShare, Role},
    plan::{Plan, Seat},
    record::{Kind, Outcome, Record, Stage},
    schedule::Numbers,
    trial::{
        Api, Arrivals, ContainerRuntime, Distribution, HealthCheck, Length, LoadModel, LoadSpec, RequestSpec, ServiceSpec,
        SharesBy, Slo, Stop, Timeouts, Trial,
    },
    units::{Nanos, Span},
};

/// A request that was answered: due and sent at `sent`, first token a third of the way, last after `took` nanoseconds.
pub(crate) fn answered(index: u64, sent: u64, took: u64, tokens: u32) -> Record {
    let mut record = Record::unsent(index, Stage::Measure, Nanos(sent), Outcome::Completed, Kind::Connect);
    record.kind = None;
    (record.sent, record.first) = (Some(Nanos(sent)), Some(Nanos(sent + took / 3)));
    (record.last, record.end) = (Some(Nanos(sent + took)), Some(Nanos(sent + took)));
    (record.output_tokens, record.asked_tokens, record.input_tokens) = (Some(tokens), tokens, Some(100));
    (record.tokens_source, record.chunks, record.attempts) = (Some(crate::record::TokensSource::Usage), tokens, 1);
    record
}

/// A closed loop without warm-up, ten seconds long.
pub(crate) fn closed_plan(concurrency: u32, executors: u32) -> Plan {
    plan(LoadModel::Closed { concurrency: NonZeroU32::new(concurrency).unwrap(), think: Span::ZERO }, Span::ZERO, executors)
}

/// An open loop with one second of warm-up, ten seconds long.
pub(crate) fn open_plan(rate: f64, executors: u32) -> Plan {
    plan(LoadModel::Open { rate, arrivals: Arrivals::Poisson }, Span::from_secs(1), executors)
}

fn plan(model: LoadModel, warmup: Span, executors: u32) -> Plan {
    let clients = match model {
        LoadModel::Closed { concurrency, .. } => concurrency.get(),
        LoadModel::ClosedStaged { .. } => 0,
        LoadModel::Open { .. } | LoadModel::Staged { .. } | LoadModel::Replay { .. } => 0,
    };
    let limit = Span::from_secs(30);
    let trial = Trial {
        id: "t".into(),
        parameters: Default::default(),
        repetition: 1,
        seed: 7,
        service: ServiceSpec {
            service: "dummy".into(),
            model: "m".into(),
            config: Map::new(),
            environment: Default::default(),
            endpoints: Vec::new(),
            answers_as: Vec::new(),
            headers: Default::default(),
            api_key: None,
            port: None,
            health: HealthCheck { enabled: true, timeout: limit, interval: limit, endpoint: None },
            runtime: ContainerRuntime::Bare,
            path: None,
            binds: Vec::new(),
            extra_args: Vec::new(),
            gpus: 0,
            custom: None,
            layout: Default::default(),
            remote: None,
            runtime_args: Vec::new(),
        },
        load: LoadSpec {
            model,
            warmup,
            stop: Stop::After(Span::from_secs(10)),
            stop_when: None,
            together: NonZeroU32::MIN,
            max_in_flight: None,
            shares_by: SharesBy::default(),
            timeouts: Timeouts { connect: limit, first_byte: limit, between_chunks: limit, total: limit },
            distribution: Distribution::RoundRobin,
            dataset: None,
            tokenizer: None,
            drills: Vec::new(),
            calibration: None,
        },
        request: RequestSpec {
            api: Api::Completions,
            stream: true,
            prompt_len: Length::Fixed(100),
            gen_tokens: Length::Fixed(8),
            batch: NonZeroU32::MIN,
            shared_prefix: None,
            turns: None,
            sampling: Map::new(),
        },
        slo: Slo::default(),
        search: None,
        place: None,
    };
    let share = |executor| LoadShare {
        trial: trial.id.clone(),
        node: format!("node-{executor}").into(),
        executor,
        numbers: Numbers::of(executor, NonZeroU32::new(executors).unwrap()),
        requests: None,
        left_by: None,
        clients: (0..clients).filter(|client| client % executors == executor).collect(),
        max_in_flight: None,
        load: trial.load.clone(),
        request: trial.request.clone(),
        service: trial.service.clone(),
        servers: Vec::new(),
        left_servers: Default::default(),
        http2: Default::default(),
        seed: trial.seed,
        counting: None,
    };
    Plan { shares: (0..executors).map(share).collect(), servers: Vec::new(), trial }
}

/// A client node `node-N` with so many cores.
pub(crate) fn seat(ordinal: u32, cores: u32) -> Seat {
    let node = format!("node-{ordinal}");
    Seat { node: node.as_str().into(), ordinal, host: node.clone(), address: node, roles: vec![Role::Client], cores }
}

/// Weights, none of which is 0.
pub(crate) fn weights(of: &[u32]) -> Vec<NonZeroU32> {
    of.iter().map(|weight| NonZeroU32::new(*weight).unwrap()).collect()
}
