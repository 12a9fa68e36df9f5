//! Boards and rules ask only for what hbnode exports.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use hb_core::{
    facts::{GpuReading, NodeReading},
    metrics,
    tally::NodeLive,
};
use serde_json::Value;

/// Services that have boards.
const SERVICES: [&str; 2] = ["ollama", "vllm"];

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the package lies one below the root").join("monitoring")
}

fn read(path: &str) -> String {
    fs::read_to_string(folder().join(path)).unwrap()
}

/// The name of every series that a node can export: one with a GPU that tells everything.
fn exported() -> BTreeSet<String> {
    let gpu = GpuReading {
        energy_joules: Some(1.0),
        power_watts: Some(1.0),
        temperature_celsius: Some(1.0),
        is_throttled: Some(false),
        ..GpuReading::default()
    };
    let reading = NodeReading { cpu_percent: vec![1.0], gpus: vec![gpu], ..NodeReading::default() };
    let load = NodeLive { outcomes: BTreeMap::from([("completed".to_owned(), 1)]), ..NodeLive::default() };
    let of =
        |service: &str| metrics::json(&load, Some(&reading), service).as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    let all: BTreeSet<String> = SERVICES.iter().flat_map(|service| of(service)).collect();
    // A family that gave no sample here would make the test blind to it.
    for family in SERVICES.iter().flat_map(|service| metrics::names(service)) {
        assert!(all.contains(&family) || all.contains(&format!("{family}_sum")), "no sample of {family}");
    }
    all
}

/// The metrics that a query names: identifiers that are no function, keyword, label or number.
fn named(query: &str) -> BTreeSet<String> {
    const KEYWORDS: [&str; 14] = [
        "and",
        "or",
        "unless",
        "by",
        "without",
        "on",
        "ignoring",
        "group_left",
        "group_right",
        "bool",
        "offset",
        "inf",
        "nan",
        "atan2",
    ];
    const BEFORE_LABELS: [&str; 6] = ["by", "without", "on", "ignoring", "group_left", "group_right"];
    let mut found = BTreeSet::new();
    let mut rest = query;
    let mut last_word = "";
    while let Some(letter) = rest.chars().next() {
        let after = |closing: char| rest[1..].find(closing).map_or("", |at| &rest[at + 2..]);
        let is_word = |letter: char| letter.is_ascii_alphanumeric() || letter == '_' || letter == ':';
        match letter {
            '{' => rest = after_braces(rest),
            '[' => rest = after(']'),
            '"' | '\'' => rest = after(letter),
            '(' if BEFORE_LABELS.contains(&last_word) => rest = after(')'),
            _ if is_word(letter) => {
                let end = rest.find(|letter| !is_word(letter)).unwrap_or(rest.len());
                let word = &rest[..end];
                rest = &rest[end..];
                last_word = word;
                let is_name = !letter.is_ascii_digit() && !KEYWORDS.contains(&word);
                // `rate(…)`, `sum by (run) (…)`.
                let next = rest.trim_start();
                let is_function = next.starts_with('(') || next.starts_with("by ") || next.starts_with("without ");
                if is_name && !is_function && !word.is_empty() {
                    found.insert(word.to_owned());
                }
                continue;
            }
            _ => rest = &rest[letter.len_utf8()..],
        }
        if !letter.is_whitespace() {
            last_word = "";
        }
    }
    found
}

/// What follows a set of matchers; braces may stand in its quoted values.
fn after_braces(text: &str) -> &str {
    let mut is_quoted = false;
    let end = text.find(|letter| {
        is_quoted ^= letter == '"';
        letter == '}' && !is_quoted
    });
    end.map_or("", |end| &text[end + 1..])
}

/// Every query below a value: `expr` of panels, `query` of variables.
fn queries(value: &Value, found: &mut Vec<String>) {
    match value {
        Value::Object(fields) => {
            for (name, field) in fields {
                match field.as_str() {
                    Some(text) if name == "expr" => found.push(text.to_owned()),
                    Some(text) if name == "query" || name == "definition" => {
                        let series = text.strip_prefix("label_values(").and_then(|inside| inside.rsplit_once(','));
                        found.push(series.unwrap_or_else(|| panic!("`{text}` is no label_values(SERIES, LABEL)")).0.to_owned());
                    }
                    _ => queries(field, found),
                }
            }
        }
        Value::Array(all) => all.iter().for_each(|value| queries(value, found)),
        _ => {}
    }
}

fn boards() -> Vec<(String, Value)> {
    let mut all: Vec<(String, Value)> = fs::read_dir(folder().join("dashboards"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .map(|name| (name.clone(), serde_json::from_str(&read(&format!("dashboards/{name}"))).unwrap()))
        .collect();
    all.sort_by(|a, b| a.0.cmp(&b.0));
    all
}

fn check_names(of: &str, queries: &[String]) {
    let exported = exported();
    for query in queries {
        let named = named(query);
        assert!(!named.is_empty(), "{of}: `{query}` asks for nothing");
        let unknown: Vec<&String> = named.difference(&exported).collect();
        assert!(unknown.is_empty(), "{of}: `{query}` asks for {unknown:?}, which no node exports");
    }
}

#[test]
fn boards_ask_only_for_what_is_exported() {
    let boards = boards();
    assert_eq!(
        boards.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(),
        ["nodes.json", "ollama.json", "runs.json", "vllm.json"]
    );
    for (name, board) in boards {
        let mut found = Vec::new();
        queries(&board, &mut found);
        assert!(found.len() > 8, "{name} has only {} queries", found.len());
        check_names(&name, &found);
    }
}

#[test]
fn rules_ask_only_for_what_is_exported() {
    let rules = read("rules.yml");
    let found: Vec<String> = rules.lines().filter_map(|line| line.trim().strip_prefix("expr: ")).map(str::to_owned).collect();
    assert_eq!(found.len(), rules.matches("- alert:").count(), "an expression that is not on one line");
    check_names("rules.yml", &found);
}

#[test]
fn every_base_unit_name_is_on_a_board() {
    let mut all = Vec::new();
    boards().iter().for_each(|(_, board)| queries(board, &mut all));
    let shown: BTreeSet<String> = all.iter().flat_map(|query| named(query)).collect();
    let missing: Vec<String> =
        exported().into_iter().filter(|name| name.starts_with("hbnode_") && !shown.contains(name)).collect();
    assert!(missing.is_empty(), "no board shows {missing:?}");
}

#[test]
fn panels_have_their_own_places_and_the_provisioned_source() {
    let uid = read("provisioning/datasources/prometheus.yml");
    let mut uids = BTreeSet::new();
    for (name, board) in boards() {
        assert!(uids.insert(board["uid"].as_str().unwrap().to_owned()), "{name}: its uid is another board's");
        let mut taken = BTreeSet::new();
        for panel in board["panels"].as_array().unwrap() {
            let source = panel["datasource"]["uid"].as_str().unwrap();
            assert!(uid.contains(&format!("uid: {source}\n")), "{name}: no source {source} is provisioned");
            let at = |field: &str| panel["gridPos"][field].as_u64().unwrap();
            for x in at("x")..at("x") + at("w") {
                for y in at("y")..at("y") + at("h") {
                    assert!(x < 24 && taken.insert((x, y)), "{name}: panel `{}` overlaps", panel["title"]);
                }
            }
        }
    }
}

#[test]
fn the_stack_listens_on_the_ports_of_the_older_toolkit() {
    let compose = read("docker-compose.yml");
    let prometheus = read("prometheus.yml");
    for port in ["127.0.0.1:9092", "GF_SERVER_HTTP_PORT: \"3001\"", "127.0.0.1:9091"] {
        assert!(compose.contains(port), "docker-compose.yml does not say {port}");
    }
    for words in ["localhost:25000", "/metrics/prometheus", "localhost:9091", "honor_labels: true"] {
        assert!(prometheus.contains(words), "prometheus.yml does not say {words}");
    }
}

#[test]
fn names_are_told_from_functions_labels_and_numbers() {
    let query = "sum by (run, instance) (rate(a_total{x=\"b_total}\",y!~\"$c\"}[$__rate_interval])) / on(z) group_left(w) d_sum > 0.01 or vector(0)";
    assert_eq!(named(query), ["a_total", "d_sum"].map(str::to_owned).into());
    assert_eq!(named("max by (run) (e) == 1 unless f > bool 2e3"), ["e", "f"].map(str::to_owned).into());
}
