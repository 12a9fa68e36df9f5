//! One point of a recipe as a trial: every default is applied here.

use std::{collections::BTreeMap, num::NonZeroU32, sync::Arc};

use serde_json::{Map, Value};

use super::{
    OneOrMany, Recipe, RequestDistribution, Workload, batch, dataset, expand::Point, search, seed, stages, stop_when,
    trial_names::plain, words::Variables,
};
use crate::{
    schedule::Instants,
    trial::{
        ApiKeySource, Arrivals, CustomService, Drill, HealthCheck, Layout, Length, LoadModel, LoadSpec, RequestSpec, ServiceSpec,
        SharedPrefix, SharesBy, Slo, SloLimit, Stop, Timeouts, TokenizerSpec, Trial,
    },
    units::{Span, TrialId},
};

/// The trial of a point.
pub(super) fn trial(
    recipe: &Recipe,
    workload: &Workload,
    config: Map<String, Value>,
    point: &Point,
    id: TrialId,
    repetition: u32,
) -> Trial {
    let load = load(recipe, workload);
    let seed = seed::of_trial(recipe.seed(), &id, repetition);
    Trial {
        parameters: point.iter().cloned().collect(),
        repetition,
        seed,
        service: service(recipe, workload, config),
        request: request(recipe, workload),
        slo: slo(workload),
        search: search::of(workload, &load),
        place: None,
        load,
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
        answers_as: servers.answers_as,
        headers: servers.headers.into_iter().map(|(name, value)| (name, value.0)).collect(),
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
        remote: recipe.artifacts.as_ref().and_then(|artifacts| artifacts.service.as_ref()).and_then(|image| image.remote.clone()),
        runtime_args: recipe.artifacts.as_ref().map(|artifacts| artifacts.extra_args.clone()).unwrap_or_default(),
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
        layout: Layout::OneNode,
    }
}

fn load(recipe: &Recipe, workload: &Workload) -> LoadSpec {
    let written = workload.timeouts.clone().unwrap_or_default();
    let together = batch::fewest_together(workload, recipe.usual_operation());
    LoadSpec {
        model: batch::times(load_model(recipe, workload), together),
        warmup: first(&workload.warmup).unwrap_or(Span::ZERO),
        stop: stop(workload),
        stop_when: stop_when::of(workload),
        together,
        max_in_flight: first(&workload.max_in_flight),
        shares_by: shares_by(recipe, workload),
        timeouts: Timeouts {
            connect: written.connect.unwrap_or(Span::from_secs(10)),
            first_byte: written.first_byte.unwrap_or(Span::from_secs(300)),
            between_chunks: written.between_chunks.unwrap_or(Span::from_secs(60)),
            total: written.total.unwrap_or(Span::from_secs(600)),
        },
        distribution: recipe.distribution(),
        dataset: dataset::spec(workload.dataset.as_ref()),
        tokenizer: workload.tokenizer.as_ref().map(|path| TokenizerSpec { path: path.into(), words: Arc::default() }),
        drills: workload.drills.iter().map(|drill| Drill { at: drill.at, kill: drill.kill }).collect(),
        // Whether it is measured depends on the whole run.
        calibration: None,
    }
}

fn stop(workload: &Workload) -> Stop {
    if let Some(longest) = stop_when::window(workload) {
        return Stop::After(longest);
    }
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
    if dataset::replays(workload) {
        let written = dataset::file(workload.dataset.as_ref());
        return LoadModel::Replay {
            time_scale: written.as_ref().and_then(|file| file.time_scale).unwrap_or(1.0),
            jitter: written.and_then(|file| file.jitter).unwrap_or(Span::ZERO),
            instants: Instants::default(),
        };
    }
    let arrivals = arrivals(workload);
    if let Some(model) = search::first_load(workload, arrivals) {
        return model;
    }
    if stages::is_closed(&workload.stages) {
        let base = first(&workload.concurrency).map(|clients| f64::from(clients.get()));
        let think = first(&workload.sleep_seconds).unwrap_or(Span::ZERO);
        return LoadModel::ClosedStaged { stages: stages::of(&workload.stages, base), think };
    }
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

/// Where a recipe says how many clients each node has, that many are on each.
fn shares_by(recipe: &Recipe, workload: &Workload) -> SharesBy {
    let written = recipe.client_nodes().and_then(|clients| clients.shares_by);
    let usual = if counts_by_node(workload) { SharesBy::Nodes } else { SharesBy::Cores };
    written.unwrap_or(usual)
}

/// Whether a load's clients are counted on each node and not over all of them.
pub(super) fn counts_by_node(workload: &Workload) -> bool {
    let is_open = workload.target_rps.is_some() || dataset::replays(workload);
    let is_counted = workload.concurrency.is_some() || !workload.stages.is_empty() || workload.search.is_some();
    !is_open && !is_counted
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
    let api = first(&workload.api).unwrap_or(recipe.usual_operation());
    RequestSpec {
        api,
        stream: first(&workload.stream).unwrap_or(true),
        prompt_len: first(&workload.prompt_len).map_or(Length::Fixed(128), |tokens| tokens.0),
        gen_tokens: first(&workload.gen_tokens).map_or(Length::Fixed(64), |tokens| tokens.0),
        batch: first(&workload.batch).filter(|_| api.takes_several_prompts()).unwrap_or(NonZeroU32::MIN),
        shared_prefix: workload
            .shared_prefix
            .as_ref()
            .map(|prefix| SharedPrefix { groups: prefix.groups, tokens: prefix.tokens }),
        // A conversation of one turn is a request that stands alone.
        turns: first(&workload.turns).map(Length::from).filter(|turns| *turns != Length::Fixed(1)),
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
