//! Holds every key of the schema to one of three fates, so that none can be ignored in silence.

use std::collections::BTreeSet;

use serde_json::Value;

use super::{
    schema,
    unsupported::{Extent, TABLE},
};

/// Keys that decide something about the run or its report; the words after a block are keys below it.
const HONOURED: &[(&str, &str)] = &[
    ("", "scenario repetitions binds environment"),
    ("orchestration", "mode nodes on_node_loss interface"),
    ("orchestration.node_allocation.servers", "nodes"),
    ("orchestration.node_allocation.clients", "nodes clients_per_node shares_by distribution_strategy target_mapping"),
    ("orchestration.node_allocation.clients", "share_servers"),
    ("orchestration.node_allocation.monitors", "nodes"),
    ("resources.servers", "gpus"),
    ("workload", "service model duration warmup clients_per_node concurrency requests sleep_seconds target_rps"),
    (
        "workload",
        "request_distribution burstiness max_in_flight prompt_len gen_tokens turns batch api stream sampling slo calibration tokenizer",
    ),
    ("workload.shared_prefix", "groups tokens"),
    ("workload.stages[]", "duration target_rps concurrency ramp"),
    ("workload.stop_when", "metric ci min max"),
    ("workload.search", "maximize from to precision budget"),
    ("workload.dataset", "path format time_scale skip limit jitter on_bad_line"),
    ("workload.benchmark_suite[]", "name duration warmup num_threads clients_per_node concurrency requests sleep_seconds"),
    ("workload.benchmark_suite[]", "target_rps prompt_len gen_tokens batch"),
    ("workload.timeouts", "connect first_byte between_chunks total"),
    ("workload.drills[]", "at kill"),
    ("servers", "service_config endpoints answers_as api_key_env api_key_file"),
    ("servers.headers.*", "env file"),
    ("servers.health_check", "enabled timeout interval endpoint"),
    ("artifacts", "containers_dir container runtime extra_args"),
    ("artifacts.service", "path"),
    ("custom_services.*", "command env protocol port stop_signal stop_grace"),
    ("custom_services.*.ready", "path timeout"),
    ("logging", "enabled create_jsonl aggregation format"),
    ("monitoring", "enabled legacy_names"),
    ("monitoring.metrics[]", "scrape_interval"),
    ("monitoring.pushgateway", "url node interval"),
    ("reporting", "formats"),
    ("metadata", "seed git_commit"),
];

/// Keys that change nothing about a run that was started: what the job was asked for, where an image came
/// from, words that have one value only, and words for people.
const TOLD: &[(&str, &str)] = &[
    ("", "partition account qos modules"),
    ("orchestration", "total_nodes"),
    ("orchestration.job_config", "time_limit exclusive reservation node_range extra_sbatch"),
    ("resources.servers", "cpus_per_task mem_gb"),
    ("resources.clients", "gpus cpus_per_task mem_gb"),
    ("resources.monitors", "gpus cpus_per_task mem_gb"),
    ("workload", "component"),
    ("artifacts.service", "remote"),
    ("artifacts.python", "path remote"),
    ("logging", "type"),
    ("metadata", "notes tags"),
];

fn listed(table: &[(&str, &str)]) -> Vec<String> {
    let all = table.iter().flat_map(|(block, keys)| keys.split(' ').map(move |key| joined(block, key)));
    all.collect()
}

fn joined(block: &str, key: &str) -> String {
    if block.is_empty() { key.to_owned() } else { format!("{block}.{key}") }
}

/// The paths of all keys that hold no further keys.
fn leaves(root: &Value, schema: &Value, path: &str, found: &mut BTreeSet<String>) {
    if let Some(target) = schema["$ref"].as_str().and_then(|target| root.pointer(target.strip_prefix('#')?)) {
        return leaves(root, target, path, found);
    }
    if let Some(options) = schema["anyOf"].as_array() {
        let mut inner = BTreeSet::new();
        options.iter().for_each(|option| leaves(root, option, path, &mut inner));
        // A block that may also be written as one value counts by its keys alone.
        if inner.len() > 1 {
            inner.remove(path);
        }
        return found.extend(inner);
    }
    let properties = schema["properties"].as_object().into_iter().flatten();
    let mut inner = BTreeSet::new();
    properties.for_each(|(key, value)| leaves(root, value, &joined(path, key), &mut inner));
    if schema["items"].is_object() {
        leaves(root, &schema["items"], &format!("{path}[]"), &mut inner);
        inner.remove(&format!("{path}[]"));
    }
    if schema["additionalProperties"].is_object() {
        leaves(root, &schema["additionalProperties"], &format!("{path}.*"), &mut inner);
        inner.remove(&format!("{path}.*"));
    }
    if inner.is_empty() {
        inner.insert(path.to_owned());
    }
    found.extend(inner);
}

#[test]
fn every_key_is_honoured_or_named_as_unsupported_or_known_to_change_nothing() {
    let root = schema();
    let mut keys = BTreeSet::new();
    leaves(&root, &root, "", &mut keys);
    // Distributions, and lists of them, are values of a field, not keys of a recipe.
    let field = |key: &String| {
        let (field, end) = key.rsplit_once('.').unwrap_or(("", key));
        let is_distribution = matches!(end, "uniform" | "normal" | "lognormal");
        if is_distribution { field.trim_end_matches("[]").to_owned() } else { key.clone() }
    };
    let keys: BTreeSet<String> = keys.iter().map(field).collect();
    let (honoured, told) = (listed(HONOURED), listed(TOLD));
    let is_below =
        |key: &str, block: &str| key.strip_prefix(block).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']));
    let whole = || TABLE.iter().filter(|row| row.extent == Extent::Whole);
    for key in &keys {
        let fates = [
            honoured.iter().filter(|listed| *listed == key).count(),
            told.iter().filter(|listed| *listed == key).count(),
            whole().filter(|row| is_below(key, row.path)).count(),
        ];
        assert_eq!(fates.iter().sum::<usize>(), 1, "{key} is honoured, told and unsupported: {fates:?}");
    }
    for listed in honoured.iter().chain(&told) {
        assert!(keys.contains(listed), "{listed} is no key of the schema");
    }
    for row in TABLE {
        let is_known = match row.extent {
            Extent::Whole => keys.iter().any(|key| is_below(key, row.path)),
            Extent::Part => honoured.iter().any(|listed| listed == row.path),
        };
        assert!(is_known, "{} is unsupported, and no such key is there", row.path);
    }
    assert_eq!(
        keys.len(),
        honoured.len() + told.len() + keys.iter().filter(|key| whole().any(|row| is_below(key, row.path))).count()
    );
}
