//! The catalog of exported metrics: every name once, with its help, and the texts made of it.
//!
//! Two vocabularies stand side by side. The older names (`<service>_requests_total`, `cpu_usage_percent`,
//! `ram_used_megabytes`…) are what dashboards already ask for; the `hbnode_…` ones carry base units, as
//! Prometheus advises. Both show one node's own share, so that scraping all nodes counts once. `/metrics`,
//! `/metrics/prometheus` and the Pushgateway are all made here and cannot disagree.

use std::collections::BTreeMap;

use prometheus::{
    TextEncoder,
    proto::{Counter, Gauge, LabelPair, Metric, MetricFamily, MetricType, Summary},
};
use serde_json::{Value, json as json_value};

use crate::{
    facts::{GpuReading, NodeReading},
    tally::NodeLive,
};

/// Labels that every sample gets, by name: `instance`, `run`….
pub type Labels = BTreeMap<String, String>;

/// What `Content-Type` says of [`exposition`].
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// The older unit of memory.
const MEGABYTE: f64 = 1024.0 * 1024.0;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Type {
    Counter,
    Gauge,
    /// A sum and a count, without quantiles: those of nodes could not be added up.
    Summary,
}

/// What a family's samples are taken from.
enum Of {
    /// The load that the node sends; one sample.
    Load(fn(&NodeLive) -> f64),
    /// The load; a sum and how many it is of.
    Sum(fn(&NodeLive) -> [f64; 2]),
    /// The load, a sample for each outcome or kind.
    Outcomes,
    /// The node; one sample.
    Node(fn(&NodeReading) -> f64),
    /// The node, a sample for each core.
    Cores(fn(f32) -> f64),
    /// The node, a sample for each GPU that tells it.
    Gpus(fn(&GpuReading) -> Option<f64>),
}

/// One name.
struct Family {
    /// `{service}` stands for the service's name.
    name: &'static str,
    kind: Type,
    help: &'static str,
    of: Of,
}

const fn family(name: &'static str, kind: Type, help: &'static str, of: Of) -> Family {
    Family { name, kind, help, of }
}

use Of::{Cores, Gpus, Load, Node, Outcomes, Sum};

/// Every exported name.
const CATALOG: [Family; 29] = [
    family("{service}_requests_total", Type::Counter, "Requests that ended.", Load(|load| load.requests_total as f64)),
    family("{service}_errors_total", Type::Counter, "Requests that did not complete.", Load(|load| load.errors_total as f64)),
    family("{service}_request_latency_seconds", Type::Gauge, "Mean latency of completed requests.", Load(mean_latency)),
    family("{service}_throughput_rps", Type::Gauge, "Completed requests per second since the load's start.", Load(throughput)),
    family("{service}_elapsed_seconds", Type::Gauge, "Time since the load's start.", Load(|load| load.elapsed_seconds)),
    family("{service}_threads", Type::Gauge, "Clients that the node plays.", Load(|load| f64::from(load.threads))),
    family(
        "{service}_workload_running",
        Type::Gauge,
        "1 while load runs, else 0.",
        Load(|load| f64::from(u8::from(load.is_running))),
    ),
    family("hbnode_requests_total", Type::Counter, "Requests that ended, by outcome or kind of failure.", Outcomes),
    family(
        "hbnode_request_latency_seconds",
        Type::Summary,
        "Latencies of completed requests.",
        Sum(|load| [load.latency_seconds_sum, load.completed_total as f64]),
    ),
    family(
        "hbnode_request_ttft_seconds",
        Type::Summary,
        "Times to first token of completed requests.",
        Sum(|load| [load.ttft_seconds_sum, load.completed_total as f64]),
    ),
    family(
        "hbnode_output_tokens_total",
        Type::Counter,
        "Answer tokens of completed requests.",
        Load(|load| load.output_tokens_total as f64),
    ),
    family(
        "hbnode_input_tokens_total",
        Type::Counter,
        "Prompt tokens of completed requests.",
        Load(|load| load.input_tokens_total as f64),
    ),
    family("hbnode_requests_in_flight", Type::Gauge, "Requests sent and not ended.", Load(|load| load.in_flight as f64)),
    family("hbnode_load_running", Type::Gauge, "1 while load runs, else 0.", Load(|load| f64::from(u8::from(load.is_running)))),
    family("cpu_usage_percent", Type::Gauge, "Busy share of a core.", Cores(f64::from)),
    family(
        "ram_used_megabytes",
        Type::Gauge,
        "Memory in use, in units of 1,048,576 bytes.",
        Node(|node| node.memory_used_bytes as f64 / MEGABYTE),
    ),
    family("gpu_utilization_percent", Type::Gauge, "Busy share of a GPU.", Gpus(|gpu| Some(f64::from(gpu.utilization_percent)))),
    family(
        "gpu_memory_used_megabytes",
        Type::Gauge,
        "GPU memory in use, in units of 1,048,576 bytes.",
        Gpus(|gpu| Some(gpu.memory_used_bytes as f64 / MEGABYTE)),
    ),
    family("hbnode_cpu_usage_ratio", Type::Gauge, "Busy share of a core, 0 to 1.", Cores(|percent| f64::from(percent) / 100.0)),
    family("hbnode_memory_used_bytes", Type::Gauge, "Memory in use.", Node(|node| node.memory_used_bytes as f64)),
    family("hbnode_memory_total_bytes", Type::Gauge, "Memory there is.", Node(|node| node.memory_total_bytes as f64)),
    family(
        "hbnode_network_receive_bytes_total",
        Type::Counter,
        "Bytes received since the node's start, loopback left out.",
        Node(|node| node.network_bytes.0 as f64),
    ),
    family(
        "hbnode_network_transmit_bytes_total",
        Type::Counter,
        "Bytes sent since the node's start, loopback left out.",
        Node(|node| node.network_bytes.1 as f64),
    ),
    family(
        "hbnode_gpu_utilization_ratio",
        Type::Gauge,
        "Busy share of a GPU, 0 to 1.",
        Gpus(|gpu| Some(f64::from(gpu.utilization_percent) / 100.0)),
    ),
    family("hbnode_gpu_memory_used_bytes", Type::Gauge, "GPU memory in use.", Gpus(|gpu| Some(gpu.memory_used_bytes as f64))),
    family("hbnode_gpu_power_watts", Type::Gauge, "Power that a GPU draws.", Gpus(|gpu| gpu.power_watts.map(f64::from))),
    family("hbnode_gpu_energy_joules_total", Type::Counter, "Energy since the driver was loaded.", Gpus(|gpu| gpu.energy_joules)),
    family(
        "hbnode_gpu_temperature_celsius",
        Type::Gauge,
        "Temperature of a GPU.",
        Gpus(|gpu| gpu.temperature_celsius.map(f64::from)),
    ),
    family(
        "hbnode_gpu_throttled",
        Type::Gauge,
        "1 while the driver holds a GPU's clock down, else 0.",
        Gpus(|gpu| gpu.is_throttled.map(|is| f64::from(u8::from(is)))),
    ),
];

fn mean_latency(load: &NodeLive) -> f64 {
    if load.completed_total == 0 { 0.0 } else { load.latency_seconds_sum / load.completed_total as f64 }
}

fn throughput(load: &NodeLive) -> f64 {
    if load.elapsed_seconds > 0.0 { load.completed_total as f64 / load.elapsed_seconds } else { 0.0 }
}

/// One number of a family.
struct Sample {
    /// What stands behind the family's name.
    suffix: &'static str,
    /// What sets it apart from its neighbours.
    label: Option<(&'static str, String)>,
    value: f64,
}

impl Sample {
    fn plain(value: f64) -> Self {
        Self { suffix: "", label: None, value }
    }

    fn labelled(name: &'static str, text: impl ToString, value: f64) -> Self {
        Self { suffix: "", label: Some((name, text.to_string())), value }
    }
}

fn samples(of: &Of, load: &NodeLive, reading: Option<&NodeReading>) -> Vec<Sample> {
    match (of, reading) {
        (Of::Load(value), _) => vec![Sample::plain(value(load))],
        (Of::Sum(values), _) => {
            let named = ["_sum", "_count"].into_iter().zip(values(load));
            named.map(|(suffix, value)| Sample { suffix, label: None, value }).collect()
        }
        (Of::Outcomes, _) => load.outcomes.iter().map(|(name, count)| Sample::labelled("outcome", name, *count as f64)).collect(),
        (Of::Node(value), Some(node)) => vec![Sample::plain(value(node))],
        (Of::Cores(value), Some(node)) => {
            let cores = node.cpu_percent.iter().enumerate();
            cores.map(|(core, percent)| Sample::labelled("core", core, value(*percent))).collect()
        }
        (Of::Gpus(value), Some(node)) => {
            node.gpus.iter().filter_map(|gpu| Some(Sample::labelled("gpu_id", gpu.index, value(gpu)?))).collect()
        }
        (Of::Node(_) | Of::Cores(_) | Of::Gpus(_), None) => Vec::new(),
    }
}

/// One node's share in Prometheus' text format 0.0.4. A node that knows no service yet has no figures under its name.
#[must_use]
pub fn exposition(load: &NodeLive, reading: Option<&NodeReading>, service: &str, labels: &Labels) -> String {
    let filled = of(service).map(|family| (family, samples(&family.of, load, reading)));
    let families = filled.filter(|(_, samples)| !samples.is_empty()).map(|(family, samples)| {
        let mut described = MetricFamily::default();
        described.set_name(named(family, service));
        described.set_help(family.help.to_owned());
        described.set_field_type(match family.kind {
            Type::Counter => MetricType::COUNTER,
            Type::Gauge => MetricType::GAUGE,
            Type::Summary => MetricType::SUMMARY,
        });
        described.set_metric(metrics(family.kind, &samples, labels));
        described
    });
    let families: Vec<MetricFamily> = families.collect();
    TextEncoder::new().encode_to_string(&families).expect("each family has a name and a sample")
}

fn metrics(kind: Type, samples: &[Sample], labels: &Labels) -> Vec<Metric> {
    let metric = |sample: &Sample| {
        let mut metric = Metric::from_label(label_pairs(labels, sample.label.as_ref()));
        if kind == Type::Counter {
            let mut counter = Counter::default();
            counter.set_value(sample.value);
            metric.set_counter(counter);
        } else {
            let mut gauge = Gauge::default();
            gauge.set_value(sample.value);
            metric.set_gauge(gauge);
        }
        metric
    };
    match (kind, samples) {
        (Type::Summary, [sum, count]) => {
            let mut summary = Summary::default();
            summary.set_sample_sum(sum.value);
            summary.set_sample_count(count.value as u64);
            let mut metric = Metric::from_label(label_pairs(labels, None));
            metric.set_summary(summary);
            vec![metric]
        }
        _ => samples.iter().map(metric).collect(),
    }
}

/// The same as `/metrics` shows it: name to number, or to an object by core, GPU or outcome.
#[must_use]
pub fn json(load: &NodeLive, reading: Option<&NodeReading>, service: &str) -> Value {
    let mut all = serde_json::Map::new();
    for family in of(service) {
        for Sample { suffix, label, value } in samples(&family.of, load, reading) {
            let name = named(family, service) + suffix;
            match label {
                None => _ = all.insert(name, json_value!(value)),
                Some((_, key)) => all.entry(name).or_insert_with(|| json_value!({}))[key] = json_value!(value),
            }
        }
    }
    Value::Object(all)
}

/// The names that are exported for a service, for dashboards and their tests.
#[must_use]
pub fn names(service: &str) -> Vec<String> {
    of(service).map(|family| named(family, service)).collect()
}

/// The families of a node that asks this service; without one, those that begin with no service's name.
fn of(service: &str) -> impl Iterator<Item = &'static Family> {
    CATALOG.iter().filter(move |family| !service.is_empty() || !family.name.contains("{service}"))
}

/// A family's name; what a metric's name cannot hold becomes `_`.
fn named(family: &Family, service: &str) -> String {
    let plain = |letter: char| if letter.is_ascii_alphanumeric() { letter } else { '_' };
    let service: String = service.chars().map(plain).collect();
    // A name begins with no digit, and a service called `hbnode` must not take our own names.
    let is_taken = service == "hbnode" || service.starts_with(|letter: char| letter.is_ascii_digit());
    let service = if is_taken { format!("_{service}") } else { service };
    family.name.replace("{service}", &service)
}

/// A sample's own label wins over a common one of its name.
fn label_pairs(labels: &Labels, own: Option<&(&'static str, String)>) -> Vec<LabelPair> {
    let common = labels.iter().filter(|(name, _)| own.is_none_or(|(own, _)| own != name));
    let all = common.map(|(name, value)| (name.as_str(), value)).chain(own.map(|(name, value)| (*name, value)));
    let pair = |(name, value): (&str, &String)| {
        let mut pair = LabelPair::default();
        pair.set_name(label_name(name));
        pair.set_value(value.clone());
        pair
    };
    all.map(pair).collect()
}

fn label_name(name: &str) -> String {
    let fits = |(at, letter): (usize, char)| {
        let is_plain = letter == '_' || letter.is_ascii_alphabetic() || (at > 0 && letter.is_ascii_digit());
        if is_plain { letter } else { '_' }
    };
    name.chars().enumerate().map(fits).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Name, labels, value.
    type Read = (String, Vec<(String, String)>, f64);

    /// Reads the text as strictly as Prometheus does, and that each family stands together, once.
    fn parse(text: &str) -> Vec<Read> {
        let (mut seen, mut current, mut samples) = (Vec::new(), String::new(), Vec::<Read>::new());
        let mut lines = text.lines();
        assert!(text.is_empty() || text.ends_with('\n'));
        while let Some(line) = lines.next() {
            if let Some(rest) = line.strip_prefix("# HELP ") {
                let (name, help) = rest.split_once(' ').unwrap();
                assert!(is_name(name) && !help.is_empty() && !seen.contains(&name.to_owned()), "{line}");
                let kind = lines.next().unwrap().strip_prefix("# TYPE ").unwrap().strip_prefix(name).unwrap();
                assert!([" counter", " gauge", " summary"].contains(&kind), "{line}");
                current = name.to_owned();
                seen.push(current.clone());
                continue;
            }
            let sample = parse_sample(line);
            let family = sample.0.strip_suffix("_sum").or(sample.0.strip_suffix("_count")).unwrap_or(&sample.0);
            assert_eq!(family, current, "a sample outside of its family");
            assert!(!samples.iter().any(|(name, labels, _)| (name, labels) == (&sample.0, &sample.1)), "twice: {line}");
            samples.push(sample);
        }
        samples
    }

    fn is_name(name: &str) -> bool {
        !name.is_empty()
            && name.chars().enumerate().all(|(at, letter)| {
                letter == '_' || letter == ':' || letter.is_ascii_alphabetic() || (at > 0 && letter.is_ascii_digit())
            })
    }

    fn parse_sample(line: &str) -> Read {
        let end = line.find(['{', ' ']).unwrap();
        let name = line[..end].to_owned();
        assert!(is_name(&name), "{line}");
        let mut rest = &line[end..];
        let mut labels = Vec::new();
        if let Some(inside) = rest.strip_prefix('{') {
            rest = inside;
            loop {
                let (label, after) = rest.split_once("=\"").unwrap();
                assert!(is_name(label) && !label.contains(':'), "{line}");
                let (mut value, mut letters) = (String::new(), after.char_indices());
                let end = loop {
                    match letters.next().unwrap() {
                        (at, '"') => break at,
                        (_, '\\') => value.push(match letters.next().unwrap().1 {
                            'n' => '\n',
                            plain @ ('"' | '\\') => plain,
                            other => panic!("\\{other}"),
                        }),
                        (_, plain) => value.push(plain),
                    }
                };
                assert!(!labels.iter().any(|(known, _)| known == label), "{line}");
                labels.push((label.to_owned(), value));
                rest = &after[end + 1..];
                match rest.strip_prefix(',') {
                    Some(more) => rest = more,
                    None => break,
                }
            }
            rest = rest.strip_prefix('}').unwrap();
        }
        (name, labels, rest.strip_prefix(' ').unwrap().parse().unwrap())
    }

    fn node() -> (NodeLive, NodeReading) {
        let load = NodeLive {
            is_running: true,
            requests_total: 12,
            errors_total: 2,
            outcomes: BTreeMap::from([("completed".to_owned(), 10), ("http_500".to_owned(), 2)]),
            latency_seconds_sum: 5.0,
            completed_total: 10,
            elapsed_seconds: 4.0,
            threads: 8,
            ..NodeLive::default()
        };
        let gpu = GpuReading { index: 3, utilization_percent: 50.0, memory_used_bytes: 1 << 30, ..GpuReading::default() };
        let reading =
            NodeReading { cpu_percent: vec![10.0, 90.0], memory_used_bytes: 1 << 21, gpus: vec![gpu], ..NodeReading::default() };
        (load, reading)
    }

    fn value(samples: &[Read], name: &str, label: Option<(&str, &str)>) -> f64 {
        let fits =
            |labels: &[(String, String)]| label.is_none_or(|(name, value)| labels.contains(&(name.to_owned(), value.to_owned())));
        samples.iter().find(|(found, labels, _)| found == name && fits(labels)).unwrap_or_else(|| panic!("no {name}")).2
    }

    #[test]
    fn the_older_names_are_all_there() {
        let (load, reading) = node();
        let samples = parse(&exposition(&load, Some(&reading), "vllm", &Labels::new()));
        let plain = [
            ("vllm_requests_total", 12.0),
            ("vllm_errors_total", 2.0),
            ("vllm_request_latency_seconds", 0.5),
            ("vllm_throughput_rps", 2.5),
            ("vllm_elapsed_seconds", 4.0),
            ("vllm_threads", 8.0),
            ("vllm_workload_running", 1.0),
            ("ram_used_megabytes", 2.0),
            ("hbnode_memory_used_bytes", 2_097_152.0),
            ("hbnode_request_latency_seconds_count", 10.0),
        ];
        plain.iter().for_each(|(name, expected)| assert_eq!(value(&samples, name, None), *expected, "{name}"));
        assert_eq!(value(&samples, "cpu_usage_percent", Some(("core", "1"))), 90.0);
        assert_eq!(value(&samples, "gpu_utilization_percent", Some(("gpu_id", "3"))), 50.0);
        assert_eq!(value(&samples, "gpu_memory_used_megabytes", Some(("gpu_id", "3"))), 1024.0);
        assert_eq!(value(&samples, "hbnode_requests_total", Some(("outcome", "http_500"))), 2.0);
    }

    #[test]
    fn what_is_not_known_is_left_out() {
        let (load, reading) = node();
        let text = exposition(&load, None, "vllm", &Labels::new());
        assert!(!text.contains("cpu_usage_percent") && !text.contains("ram_used"));
        assert!(!exposition(&load, Some(&reading), "vllm", &Labels::new()).contains("power"), "no GPU tells its power");
        parse(&exposition(&load, Some(&reading), "hbnode", &Labels::new()));
    }

    #[test]
    fn no_name_stands_twice_in_the_catalog() {
        let mut names = names("dummy");
        names.sort();
        names.dedup();
        assert_eq!(names.len(), CATALOG.len());
    }

    #[test]
    fn json_shows_the_same_numbers() {
        let (load, reading) = node();
        let shown = json(&load, Some(&reading), "vllm");
        for (name, labels, value) in parse(&exposition(&load, Some(&reading), "vllm", &Labels::new())) {
            let there = labels.first().map_or(&shown[&name], |(_, key)| &shown[&name][key]);
            assert_eq!(there.as_f64(), Some(value), "{name}");
        }
    }

    proptest! {
        #[test]
        fn any_service_and_label_gives_readable_text(service in ".{1,12}", name in ".{1,8}", text in any::<String>()) {
            let (load, reading) = node();
            let samples = parse(&exposition(&load, Some(&reading), &service, &Labels::from([(name, text.clone())])));
            prop_assert!(samples.iter().all(|(_, labels, _)| labels.iter().any(|(_, value)| *value == text)));
        }
    }
}
