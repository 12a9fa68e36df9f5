//! Who took part in a trial, and what it cost them.

use std::collections::BTreeMap;

use hb_core::report::{ClientFigures, ExecutorFigures, NodeFigures, TrialReport};
use serde_json::Value;

use super::{
    figures,
    markup::{escape, table},
    plain,
};

/// Nodes, the client's own health, servers and cost.
pub(crate) fn section(trial: &TrialReport) -> String {
    nodes(trial) + &client(trial) + &servers(trial) + &cost(trial)
}

/// A line per figure of each server.
fn servers(trial: &TrialReport) -> String {
    if trial.server.is_empty() {
        return String::new();
    }
    let rows = trial.server.iter().flat_map(|(name, value)| match value {
        Value::Object(figures) => figures.iter().map(|(what, figure)| server_row(name, what, figure)).collect(),
        other => vec![vec![escape(name), String::new(), escape(&plain(other))]],
    });
    format!("<h3>Servers</h3>{}", table("facts", &["Server", "Figure", "Value"], rows))
}

fn server_row(name: &str, what: &str, figure: &Value) -> Vec<String> {
    let of_seconds = what.strip_suffix("_seconds").or_else(|| what.strip_prefix("seconds_"));
    let shown = match (of_seconds, figure) {
        (Some(_), Value::Number(seconds)) => figures::seconds(seconds.as_f64().unwrap_or_default()),
        (None, Value::Number(share)) if what == "share" => figures::percent(share.as_f64().unwrap_or_default()),
        (None, Value::Array(words)) => words.iter().map(plain).collect::<Vec<_>>().join(" "),
        _ => plain(figure),
    };
    let what = of_seconds.unwrap_or(what).replace('_', " ");
    vec![escape(name), escape(&what), escape(&shown)]
}

fn nodes(trial: &TrialReport) -> String {
    if trial.resources.nodes.is_empty() {
        return String::new();
    }
    let head = ["Node", "Roles", "Cores", "CPU, mean", "Memory, most", "Clock against leader", "GPUs"];
    let rows = trial.resources.nodes.iter().map(|(name, node)| row(name, node));
    format!("<h3>Nodes</h3>{}", table("numbers nodes", &head, rows))
}

fn row(name: &str, node: &NodeFigures) -> Vec<String> {
    let or_dash = |text: Option<String>| text.unwrap_or_else(|| "–".to_owned());
    let host =
        if node.host.is_empty() || node.host == name { String::new() } else { format!("<small>{}</small>", escape(&node.host)) };
    let lost = node.lost_at_seconds.map(|at| format!("<small class=\"unbalanced\">✕ lost at {}</small>", figures::seconds(at)));
    let clock = node.clock_offset_seconds.map(|offset| {
        let bound = node.clock_bound_seconds.map(|bound| format!(" ± {}", figures::seconds(bound)));
        figures::seconds(offset) + &bound.unwrap_or_default()
    });
    let gpu = |(index, gpu): (&String, &serde_json::Value)| match gpu.as_object() {
        Some(fields) => {
            let fields: Vec<String> =
                fields.iter().map(|(key, value)| format!("{} {}", escape(key), escape(&plain(value)))).collect();
            format!("<small>{}: {}</small>", escape(index), fields.join(", "))
        }
        None => format!("<small>{}: {}</small>", escape(index), escape(&plain(gpu))),
    };
    let gpus: String = node.gpus.iter().map(gpu).collect();
    vec![
        format!("{}{host}{}", escape(name), lost.unwrap_or_default()),
        escape(&node.roles.join(", ")),
        node.cores.to_string(),
        or_dash(node.cpu_percent_mean.map(|percent| figures::percent(percent / 100.0))),
        or_dash(node.memory_used_bytes_max.map(|bytes| figures::bytes(bytes as f64))),
        or_dash(clock),
        if gpus.is_empty() { "–".to_owned() } else { gpus },
    ]
}

/// How well the load generator did: the evidence that it was not what was measured.
fn client(trial: &TrialReport) -> String {
    let client = &trial.client;
    let mut rows = vec![
        vec!["Load threads busy".to_owned(), figures::percent(client.cpu_ratio)],
        vec!["Executors that sent".to_owned(), client.executors.to_string()],
        vec!["Batches that never came".to_owned(), figures::count(client.missing_batches)],
    ];
    rows.extend(
        client.lag_seconds.iter().map(|(name, lag)| vec![format!("Timer lateness, {}", escape(name)), figures::seconds(*lag)]),
    );
    rows.push(vec!["Requests sent late".to_owned(), figures::count(client.late_dispatches)]);
    rows.push(vec!["Answers lay unread, mean".to_owned(), unread(&client.unread_bytes, client.unread_seconds)]);
    rows.extend(calibration(client));
    format!("<h3>The client itself</h3>{}{}", table("facts", &["Fact", "Value"], rows), executors(client))
}

/// What lay in receive queues, and for how long.
fn unread(bytes: &BTreeMap<String, f64>, seconds: Option<f64>) -> String {
    let mean = figures::bytes(bytes.get("mean").copied().unwrap_or_default());
    seconds.map_or_else(|| mean.clone(), |seconds| format!("{mean} for {}", figures::seconds(seconds)))
}

/// Each executor's own figures, where there are several.
fn executors(client: &ClientFigures) -> String {
    if client.by_executor.len() < 2 {
        return String::new();
    }
    let head = [
        "Executor",
        "Node",
        "Share",
        "Requests",
        "Threads busy",
        "Timers late, mean",
        "Timers late, max",
        "Sent late",
        "Unread, mean",
    ];
    let row = |(number, executor): (&u32, &ExecutorFigures)| {
        let lag = |name| figures::seconds(executor.lag_seconds.get(name).copied().unwrap_or_default());
        vec![
            number.to_string(),
            escape(&executor.node),
            executor.share.map_or_else(|| "–".to_owned(), figures::percent),
            figures::count(executor.requests),
            figures::percent(executor.cpu_ratio),
            lag("mean"),
            lag("max"),
            figures::count(executor.late_dispatches),
            unread(&executor.unread_bytes, executor.unread_seconds),
        ]
    };
    table("numbers nodes", &head, client.by_executor.iter().map(row))
}

/// What the client added to the answers of a server whose timing is exactly known.
fn calibration(client: &ClientFigures) -> Vec<Vec<String>> {
    let mut rows = Vec::new();
    for (name, key) in [("TTFT", "ttft_error_seconds"), ("TPOT", "tpot_error_seconds")] {
        let of = |percentile| client.calibrated(&format!("{key}_{percentile}")).map(figures::seconds);
        if let (Some(p50), Some(p99)) = (of("p50"), of("p99")) {
            rows.push(vec![
                format!("Calibration: it adds to {name}"),
                format!("{p50} at the median, {p99} ({})", client.floor_worth()),
            ]);
        }
    }
    let of = |key| client.calibrated(key);
    if let (Some(due), Some(completed), Some(rate)) = (of("due"), of("completed"), of("achieved_rate")) {
        let [due, completed] = [due, completed].map(|count| figures::count(count as u64));
        let load = format!("{completed} of {due} requests, {} /s", figures::three_digits(rate));
        rows.push(vec!["Calibration: by the answers to".to_owned(), load]);
    }
    rows
}

fn cost(trial: &TrialReport) -> String {
    let rows: Vec<Vec<String>> =
        trial.cost.iter().map(|(name, value)| vec![escape(&name.replace('_', " ")), figures::three_digits(*value)]).collect();
    if rows.is_empty() { String::new() } else { format!("<h3>Cost</h3>{}", table("facts", &["Fact", "Value"], rows)) }
}
