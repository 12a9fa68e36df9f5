//! From a recipe to its trials: every list becomes points, every default is applied.

use std::{
    collections::{BTreeMap, BTreeSet},
    num::NonZeroU32,
    time::Duration,
};

use serde_json::{Map, Value};

use super::{OneOrMany, Recipe, RequestDistribution, SuiteEntry, Workload, dataset, stages, words::Variables};
use crate::{
    schedule::Instants,
    trial::{
        Api, ApiKeySource, Arrivals, CustomService, Drill, HealthCheck, Length, LoadModel, LoadSpec, RequestSpec, ServiceSpec,
        SharedPrefix, Slo, SloLimit, Stop, Timeouts, Trial,
    },
    units::{Span, TrialId},
};

/// The most trials that a recipe may expand to.
pub(super) const MOST_TRIALS: u64 = 10_000;

/// The longest name of a trial, in bytes, its repetition included.
const LONGEST_ID: usize = 100;

/// The sweepable fields of the workload, in the order in which they are declared and expanded.
pub(super) const SWEEPABLE: [&str; 16] = [
    "model",
    "duration",
    "warmup",
    "clients_per_node",
    "concurrency",
    "requests",
    "sleep_seconds",
    "target_rps",
    "request_distribution",
    "burstiness",
    "max_in_flight",
    "prompt_len",
    "gen_tokens",
    "batch",
    "api",
    "stream",
];

/// One value for each swept field, by path without `workload.`, in order.
type Point = Vec<(String, Value)>;

/// The trials of a recipe that was read without errors: each suite entry, each point, each repetition, in that order.
#[must_use]
pub fn trials(recipe: &Recipe) -> Vec<Trial> {
    let mut names = BTreeSet::new();
    let mut trials = Vec::new();
    let config = recipe.servers.as_ref().and_then(|servers| servers.service_config.clone()).unwrap_or_default();
    for (entry, workload) in workloads(recipe) {
        for point in points(&workload, &config) {
            let name = unique(name_of(entry.as_deref(), &point), &mut names);
            let (workload, config) = at_point(&workload, &config, &point);
            for repetition in 1..=recipe.repetitions.map_or(1, NonZeroU32::get) {
                let id = if recipe.repetitions.is_some_and(|all| all.get() > 1) {
                    format!("{name}.r{repetition}")
                } else {
                    name.clone()
                };
                trials.push(trial(recipe, &workload, config.clone(), &point, TrialId(id), repetition));
            }
        }
    }
    trials
}

/// How many trials there would be, without making them.
pub(super) fn count(recipe: &Recipe) -> u64 {
    let config = recipe.servers.as_ref().and_then(|servers| servers.service_config.clone()).unwrap_or_default();
    let each = workloads(recipe).into_iter().map(|(_, workload)| {
        let axes = axes(&workload, &config);
        axes.iter().fold(1_u64, |product, (_, values)| product.saturating_mul(values.len() as u64))
    });
    let repetitions = u64::from(recipe.repetitions.map_or(1, NonZeroU32::get));
    each.fold(0_u64, u64::saturating_add).saturating_mul(repetitions)
}

/// The measured windows of all loads that end by time.
pub(super) fn windows(recipe: &Recipe) -> Vec<Span> {
    let workloads = workloads(recipe);
    let by_time = workloads.iter().filter(|(_, workload)| workload.requests.is_none());
    by_time.flat_map(|(_, workload)| measured(workload)).collect()
}

/// The time that the load of all trials takes at least: what ends by a count of requests adds its warm-up only.
pub(super) fn least_load_time(recipe: &Recipe) -> Span {
    let config = recipe.servers.as_ref().and_then(|servers| servers.service_config.clone()).unwrap_or_default();
    let seconds = workloads(recipe).into_iter().map(|(_, workload)| {
        let mean = |spans: &[Span]| spans.iter().map(|span| span.as_secs_f64()).sum::<f64>() / spans.len().max(1) as f64;
        let warmup = mean(&lengths(workload.warmup.as_ref(), Span::ZERO));
        let window = match workload.requests {
            Some(_) => 0.0,
            None => mean(&measured(&workload)),
        };
        // Every length stands in equally many points, so that the mean times the points is the sum.
        let points: f64 = axes(&workload, &config).iter().map(|(_, values)| values.len() as f64).product();
        (warmup + window) * points
    });
    let repetitions = f64::from(recipe.repetitions.map_or(1, NonZeroU32::get));
    let seconds = seconds.sum::<f64>() * repetitions;
    Duration::try_from_secs_f64(seconds.round()).map_or(Span(Duration::MAX), Span)
}

/// The windows of a load that ends by time. How long a trace is cannot be seen from its recipe.
fn measured(workload: &Workload) -> Vec<Span> {
    match &workload.duration {
        None if !workload.stages.is_empty() => vec![stages::duration(&workload.stages)],
        None if dataset::replays(workload) => Vec::new(),
        written => lengths(written.as_ref(), DURATION),
    }
}

fn lengths(written: Option<&OneOrMany<Span>>, default: Span) -> Vec<Span> {
    written.map_or_else(|| vec![default], |spans| spans.values().to_vec())
}

/// The workload itself, or each entry of the suite laid over it.
pub(super) fn workloads(recipe: &Recipe) -> Vec<(Option<String>, Workload)> {
    let base = Workload { benchmark_suite: Vec::new(), ..recipe.workload.clone() };
    match recipe.workload.benchmark_suite.as_slice() {
        [] => vec![(None, base)],
        entries => entries.iter().map(|entry| (Some(entry.name.0.clone()), overlaid(&base, entry))).collect(),
    }
}

fn overlaid(base: &Workload, entry: &SuiteEntry) -> Workload {
    let mut workload = base.clone();
    let clients = entry.num_threads.clone().or_else(|| entry.clients_per_node.clone());
    // An entry's own word about the load wins over every word that all entries share.
    if clients.is_some() || entry.concurrency.is_some() || entry.target_rps.is_some() {
        workload.stages.clear();
        workload.clients_per_node = clients.or(workload.clients_per_node);
        workload.concurrency = entry.concurrency.clone();
        workload.target_rps = entry.target_rps.clone();
    }
    if workload.target_rps.is_none() && workload.stages.is_empty() && !dataset::replays(&workload) {
        (workload.request_distribution, workload.burstiness, workload.max_in_flight) = (None, None, None);
    }
    if entry.duration.is_some() {
        (workload.duration, workload.requests) = (entry.duration.clone(), None);
    }
    if entry.requests.is_some() {
        workload.requests = entry.requests.clone();
    }
    workload.warmup = entry.warmup.clone().or(workload.warmup);
    workload.sleep_seconds = entry.sleep_seconds.clone().or(workload.sleep_seconds);
    workload.prompt_len = entry.prompt_len.clone().or(workload.prompt_len);
    workload.gen_tokens = entry.gen_tokens.clone().or(workload.gen_tokens);
    workload.batch = entry.batch.clone().or(workload.batch);
    workload
}

/// The swept fields and their values: the workload's as declared, then the service's as written.
fn axes(workload: &Workload, config: &Map<String, Value>) -> Vec<(String, Vec<Value>)> {
    let written = as_json(workload);
    let of_workload = SWEEPABLE.iter().filter_map(|field| Some(((*field).to_owned(), written.get(*field)?.as_array()?.clone())));
    let mut axes: Vec<_> = of_workload.collect();
    config_axes(config, "servers.service_config", &mut axes);
    axes
}

pub(super) fn config_axes(config: &Map<String, Value>, path: &str, axes: &mut Vec<(String, Vec<Value>)>) {
    for (key, value) in config {
        match value {
            Value::Array(values) if key != "extra_args" => axes.push((format!("{path}.{key}"), values.clone())),
            Value::Object(inner) => config_axes(inner, &format!("{path}.{key}"), axes),
            _ => {}
        }
    }
}

/// The Cartesian product; the last field varies fastest.
fn points(workload: &Workload, config: &Map<String, Value>) -> Vec<Point> {
    let mut points: Vec<Point> = vec![Vec::new()];
    for (path, values) in axes(workload, config) {
        let extended = points.iter().flat_map(|point| {
            values.iter().map(|value| {
                let mut longer = point.clone();
                longer.push((path.clone(), value.clone()));
                longer
            })
        });
        points = extended.collect();
    }
    points
}

/// Workload and service settings with one value in each field.
fn at_point(workload: &Workload, config: &Map<String, Value>, point: &Point) -> (Workload, Map<String, Value>) {
    let mut words = as_json(workload);
    let mut config = config.clone();
    for (path, value) in point {
        match path.strip_prefix("servers.service_config.") {
            Some(inner) => put(&mut config, inner, value.clone()),
            None => drop(words.insert(path.clone(), value.clone())),
        }
    }
    let workload =
        serde_json::from_value(Value::Object(words)).expect("an entry of a list that was read is a value that can be read");
    (workload, config)
}

fn put(config: &mut Map<String, Value>, path: &str, value: Value) {
    match path.split_once('.') {
        Some((key, rest)) => {
            if let Some(Value::Object(inner)) = config.get_mut(key) {
                put(inner, rest, value);
            }
        }
        None => drop(config.insert(path.to_owned(), value)),
    }
}

fn as_json(workload: &Workload) -> Map<String, Value> {
    match serde_json::to_value(workload) {
        Ok(Value::Object(map)) => map,
        other => unreachable!("a workload is written as a block, not as {other:?}"),
    }
}

fn name_of(entry: Option<&str>, point: &Point) -> String {
    let swept = point.iter().map(|(path, value)| {
        let field = path.rsplit('.').next().unwrap_or(path);
        format!("{}-{}", safe(field), safe(&plain(value)))
    });
    let parts: Vec<String> = entry.map(safe).into_iter().chain(swept).collect();
    if parts.is_empty() { "trial".to_owned() } else { parts.join(".") }
}

/// A value as it stands in a name: `128`, `uniform-64-256`.
fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Array(values) => values.iter().map(plain).collect::<Vec<_>>().join("-"),
        Value::Object(map) => map.iter().map(|(key, value)| format!("{key}-{}", plain(value))).collect::<Vec<_>>().join("-"),
        other => other.to_string(),
    }
}

/// Letters, digits, `_`, `-` and dots inside; nothing that a shell or a file system minds.
fn safe(text: &str) -> String {
    let replaced: String =
        text.chars().map(|c| if c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-') { c } else { '-' }).collect();
    let trimmed = replaced.trim_matches(['.', '-']);
    if trimmed.is_empty() { "x".to_owned() } else { trimmed.to_owned() }
}

/// The name, cut where it is too long and told apart where it stands already.
fn unique(name: String, names: &mut BTreeSet<String>) -> String {
    let most = LONGEST_ID - ".r4294967295".len();
    let name = match name.len() > most {
        // The hash keeps apart what the cut makes alike; names hold ASCII only.
        true => format!("{}-{:016x}", &name[..most - 17], hash(&[name.as_bytes()])),
        false => name,
    };
    // Names are compared without case, as some file systems do.
    let mut candidate = name.clone();
    let mut number = 2;
    while !names.insert(candidate.to_lowercase()) {
        let end = format!(".n{number}");
        candidate = format!("{}{end}", &name[..name.len().min(most - end.len())]);
        number += 1;
    }
    candidate
}

/// FNV-1a over parts, each closed by a byte that is in no text, and mixed at the end.
fn hash(parts: &[&[u8]]) -> u64 {
    let bytes = parts.iter().flat_map(|part| part.iter().copied().chain([0xff]));
    let mut hash = bytes.fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
    hash = (hash ^ (hash >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    hash ^ (hash >> 33)
}

fn trial(recipe: &Recipe, workload: &Workload, config: Map<String, Value>, point: &Point, id: TrialId, repetition: u32) -> Trial {
    let seed = recipe.metadata.as_ref().and_then(|metadata| metadata.seed).unwrap_or(0);
    let seed = hash(&[&seed.to_le_bytes(), id.as_str().as_bytes(), &repetition.to_le_bytes()]);
    Trial {
        parameters: point.iter().cloned().collect(),
        repetition,
        seed,
        service: service(recipe, workload, config),
        load: load(recipe, workload),
        request: request(recipe, workload),
        slo: slo(workload),
        id,
    }
}

fn service(recipe: &Recipe, workload: &Workload, mut config: Map<String, Value>) -> ServiceSpec {
    let servers = recipe.servers.clone().unwrap_or_default();
    let health = servers.health_check.clone().unwrap_or_default();
    let custom = recipe.custom_services.get(&workload.service);
    let port = config.remove("port").and_then(|port| port.as_u64()).and_then(|port| u16::try_from(port).ok());
    let extra_args = match config.remove("extra_args") {
        Some(Value::Array(words)) => words.iter().map(plain).collect(),
        _ => Vec::new(),
    };
    let from_env = servers.api_key_env.map(ApiKeySource::Env);
    let resources = recipe.resources.as_ref().and_then(|resources| resources.servers.as_ref());
    ServiceSpec {
        service: workload.service.clone(),
        model: first(&workload.model).unwrap_or_else(|| "dummy".to_owned()),
        config,
        environment: texts(&recipe.environment),
        endpoints: servers.endpoints.iter().map(|url| url.trim_end_matches('/').to_owned()).collect(),
        api_key: from_env.or_else(|| servers.api_key_file.map(ApiKeySource::File)),
        port: port.or_else(|| custom.and_then(|custom| custom.port)),
        health: HealthCheck {
            enabled: health.enabled.unwrap_or(true),
            timeout: health.timeout.unwrap_or(Span::from_secs(600)),
            interval: health.interval.unwrap_or(Span::from_secs(2)),
            endpoint: health.endpoint,
        },
        runtime: recipe.runtime(),
        path: recipe.service_path(),
        binds: recipe.binds.clone(),
        extra_args,
        gpus: resources.and_then(|resources| resources.gpus).unwrap_or(0),
        custom: custom.map(|custom| CustomService {
            command: custom.command.0.clone(),
            env: texts(&custom.env),
            ready_path: custom.ready.as_ref().and_then(|ready| ready.path.clone()),
            ready_timeout: custom.ready.as_ref().and_then(|ready| ready.timeout),
            protocol: custom.protocol,
            port: custom.port,
            stop_signal: custom.stop_signal.clone(),
            stop_grace: custom.stop_grace,
        }),
    }
}

fn load(recipe: &Recipe, workload: &Workload) -> LoadSpec {
    let written = workload.timeouts.clone().unwrap_or_default();
    LoadSpec {
        model: load_model(recipe, workload),
        warmup: first(&workload.warmup).unwrap_or(Span::ZERO),
        stop: stop(workload),
        max_in_flight: first(&workload.max_in_flight),
        timeouts: Timeouts {
            connect: written.connect.unwrap_or(Span::from_secs(10)),
            first_byte: written.first_byte.unwrap_or(Span::from_secs(300)),
            between_chunks: written.between_chunks.unwrap_or(Span::from_secs(60)),
            total: written.total.unwrap_or(Span::from_secs(600)),
        },
        distribution: recipe.distribution(),
        dataset: dataset::spec(workload.dataset.as_ref()),
        drills: workload.drills.iter().map(|drill| Drill { at: drill.at, kill: drill.kill }).collect(),
    }
}

fn stop(workload: &Workload) -> Stop {
    match (first(&workload.requests), first(&workload.duration)) {
        (Some(requests), _) => Stop::Requests(requests.get()),
        _ if !workload.stages.is_empty() => Stop::After(stages::duration(&workload.stages)),
        // The trace's end is the window's, once it has been read.
        (None, None) if dataset::replays(workload) => Stop::Requests(u64::MAX),
        (None, written) => Stop::After(written.unwrap_or(DURATION)),
    }
}

/// The measured window of a recipe that names none.
pub(super) const DURATION: Span = Span::from_secs(60);

fn load_model(recipe: &Recipe, workload: &Workload) -> LoadModel {
    if first(&workload.request_distribution) == Some(RequestDistribution::Trace) {
        let written = dataset::file(workload.dataset.as_ref());
        return LoadModel::Replay {
            time_scale: written.as_ref().and_then(|file| file.time_scale).unwrap_or(1.0),
            jitter: written.and_then(|file| file.jitter).unwrap_or(Span::ZERO),
            instants: Instants::default(),
        };
    }
    let arrivals = arrivals(workload);
    if !workload.stages.is_empty() {
        return LoadModel::Staged { stages: stages::of(&workload.stages, first(&workload.target_rps)), arrivals };
    }
    let Some(rate) = first(&workload.target_rps) else {
        let each =
            first(&workload.clients_per_node).or_else(|| recipe.client_nodes()?.clients_per_node).unwrap_or(NonZeroU32::MIN);
        let clients = recipe.needs().clients.and_then(NonZeroU32::new).unwrap_or(NonZeroU32::MIN);
        let concurrency = first(&workload.concurrency).unwrap_or_else(|| each.saturating_mul(clients));
        return LoadModel::Closed { concurrency, think: first(&workload.sleep_seconds).unwrap_or(Span::ZERO) };
    };
    LoadModel::Open { rate, arrivals }
}

fn arrivals(workload: &Workload) -> Arrivals {
    match first(&workload.request_distribution) {
        Some(RequestDistribution::Constant) => Arrivals::Constant,
        Some(RequestDistribution::Burst | RequestDistribution::Gamma) => {
            Arrivals::Gamma { burstiness: first(&workload.burstiness).unwrap_or(0.25) }
        }
        Some(RequestDistribution::Poisson | RequestDistribution::Trace) | None => match first(&workload.burstiness) {
            Some(burstiness) => Arrivals::Gamma { burstiness },
            None => Arrivals::Poisson,
        },
    }
}

fn request(recipe: &Recipe, workload: &Workload) -> RequestSpec {
    RequestSpec {
        api: first(&workload.api).or(recipe.default_api).unwrap_or(Api::Completions),
        stream: first(&workload.stream).unwrap_or(true),
        prompt_len: first(&workload.prompt_len).map_or(Length::Fixed(128), |tokens| tokens.0),
        gen_tokens: first(&workload.gen_tokens).map_or(Length::Fixed(64), |tokens| tokens.0),
        batch: first(&workload.batch).unwrap_or(NonZeroU32::MIN),
        shared_prefix: workload
            .shared_prefix
            .as_ref()
            .map(|prefix| SharedPrefix { groups: prefix.groups, tokens: prefix.tokens }),
        sampling: workload.sampling.clone().unwrap_or_default(),
    }
}

fn slo(workload: &Workload) -> Slo {
    let written = workload.slo.iter().flatten();
    let limits = written.filter_map(|(name, limit)| {
        let (metric, percentile) = slo_name(name)?;
        Some(SloLimit { metric: metric.to_owned(), percentile, limit: *limit })
    });
    Slo { limits: limits.collect() }
}

/// Metric and percentile of a name such as `ttft_p99` or `e2el_p99.9`.
pub(super) fn slo_name(name: &str) -> Option<(&str, f64)> {
    let (metric, percentile) = name.split_once("_p")?;
    let percentile: f64 = percentile.parse().ok()?;
    (matches!(metric, "ttft" | "tpot" | "e2el") && percentile > 0.0 && percentile < 100.0).then_some((metric, percentile))
}

fn first<T: Clone>(field: &Option<OneOrMany<T>>) -> Option<T> {
    field.as_ref()?.first().cloned()
}

fn texts(variables: &Variables) -> BTreeMap<String, String> {
    variables.iter().map(|(name, text)| (name.clone(), text.0.clone())).collect()
}
