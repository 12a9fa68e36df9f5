//! Who took part in a trial, and what it cost them.

use hb_core::report::{NodeFigures, TrialReport};
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
    let shown = match (what.strip_suffix("_seconds"), figure) {
        (Some(_), Value::Number(seconds)) => figures::seconds(seconds.as_f64().unwrap_or_default()),
        (None, Value::Array(words)) => words.iter().map(plain).collect::<Vec<_>>().join(" "),
        _ => plain(figure),
    };
    let what = what.strip_suffix("_seconds").unwrap_or(what).replace('_', " ");
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
    if let Some(calibration) = &client.calibration {
        match calibration.as_object() {
            Some(fields) => rows
                .extend(fields.iter().map(|(name, value)| vec![format!("Calibration: {}", escape(name)), escape(&plain(value))])),
            None => rows.push(vec!["Calibration".to_owned(), escape(&plain(calibration))]),
        }
    }
    format!("<h3>The client itself</h3>{}", table("facts", &["Fact", "Value"], rows))
}

fn cost(trial: &TrialReport) -> String {
    let rows: Vec<Vec<String>> =
        trial.cost.iter().map(|(name, value)| vec![escape(&name.replace('_', " ")), figures::three_digits(*value)]).collect();
    if rows.is_empty() { String::new() } else { format!("<h3>Cost</h3>{}", table("facts", &["Fact", "Value"], rows)) }
}
