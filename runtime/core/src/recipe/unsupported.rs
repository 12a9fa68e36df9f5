//! Keys that can be written but whose machinery is not built: named and refused, never ignored.

use super::{Calibration, Mode, NodeLoss, OneOrMany, Problem, Recipe};
use crate::trial::Api;

/// A field, whether a recipe uses it, and what to do instead.
struct Row {
    path: &'static str,
    is_used: fn(&Recipe) -> bool,
    sentence: &'static str,
}

/// Everything that is not built yet.
const TABLE: &[Row] = &[
    Row {
        path: "orchestration.mode",
        is_used: |recipe| matches!(recipe.orchestration.mode, Mode::Ssh | Mode::Kubernetes),
        sentence: "the modes ssh and kubernetes are not built yet; use slurm or local",
    },
    Row {
        path: "orchestration.on_node_loss",
        is_used: |recipe| recipe.orchestration.on_node_loss == Some(NodeLoss::Redistribute),
        sentence: "redistribute is not built yet; use continue or fail",
    },
    Row {
        path: "orchestration.interface",
        is_used: |recipe| recipe.orchestration.interface.is_some(),
        sentence: "the interface cannot be chosen yet; leave it out",
    },
    Row {
        path: "orchestration.node_allocation.servers.nodes",
        is_used: |recipe| {
            let allocation = recipe.orchestration.node_allocation.as_ref();
            allocation.and_then(|allocation| allocation.servers.as_ref()).is_some_and(|nodes| is_list(&nodes.nodes))
        },
        sentence: "a scaling study over node counts is not built yet; write one number",
    },
    Row {
        path: "orchestration.node_allocation.clients.nodes",
        is_used: |recipe| recipe.client_nodes().and_then(|clients| clients.nodes.as_ref()).is_some_and(is_list),
        sentence: "a scaling study over node counts is not built yet; write one number",
    },
    Row {
        path: "workload.stages",
        is_used: |recipe| recipe.workload.stages.iter().any(|stage| stage.concurrency.is_some()),
        sentence: "stages of a closed loop are not built yet; write target_rps, or sweep concurrency",
    },
    Row {
        path: "workload.search",
        is_used: |recipe| recipe.workload.search.is_some(),
        sentence: "the search is not built yet; sweep target_rps or concurrency instead",
    },
    Row {
        path: "workload.stop_when",
        is_used: |recipe| recipe.workload.stop_when.is_some(),
        sentence: "stopping by confidence is not built yet; use duration or requests",
    },
    Row {
        path: "workload.calibration",
        is_used: |recipe| recipe.workload.calibration.is_some_and(|calibration| calibration != Calibration::Off),
        sentence: "calibration is not built yet; write `off` or leave it out",
    },
    Row {
        path: "workload.batch",
        is_used: |recipe| has_batch(recipe) && !takes_batches(recipe),
        sentence: "only completions of the OpenAI protocol take several prompts in one request; use api: completions, or batch: 1",
    },
    Row {
        path: "monitoring.custom",
        is_used: |recipe| recipe.monitoring.as_ref().is_some_and(|monitoring| !monitoring.custom.is_empty()),
        sentence: "own metrics are not built yet; leave the block out",
    },
    Row {
        path: "reporting.formats",
        is_used: |recipe| {
            let formats = recipe.reporting.iter().flat_map(|reporting| &reporting.formats);
            formats.into_iter().any(|format| *format == super::ReportFormat::Pdf)
        },
        sentence: "pdf is not built yet; print report.html from a browser",
    },
    Row {
        path: "artifacts.extra_args",
        is_used: |recipe| recipe.artifacts.as_ref().is_some_and(|artifacts| !artifacts.extra_args.is_empty()),
        sentence: "further words for the container runtime are not passed on yet; leave them out",
    },
];

/// Every such key with what to do instead, for the manual.
pub fn not_built() -> impl Iterator<Item = (&'static str, &'static str)> {
    TABLE.iter().map(|row| (row.path, row.sentence))
}

/// What a recipe asks for that is not built yet: errors for whoever is about to run it.
#[must_use]
pub fn unsupported(recipe: &Recipe) -> Vec<Problem> {
    let used = TABLE.iter().filter(|row| (row.is_used)(recipe));
    used.map(|row| Problem::error(row.path, "what this version cannot do", "").advise(row.sentence)).collect()
}

fn is_list<T>(field: &OneOrMany<T>) -> bool {
    matches!(field, OneOrMany::Many(_))
}

fn has_batch(recipe: &Recipe) -> bool {
    let entries = recipe.workload.benchmark_suite.iter().map(|entry| &entry.batch);
    let mut fields = entries.chain([&recipe.workload.batch]).flatten();
    fields.any(|batch| batch.values().iter().any(|batch| batch.get() > 1))
}

fn takes_batches(recipe: &Recipe) -> bool {
    match &recipe.workload.api {
        Some(written) => written.values().iter().all(|api| *api == Api::Completions),
        None => recipe.default_api.unwrap_or(Api::Completions) == Api::Completions,
    }
}
