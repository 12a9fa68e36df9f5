//! A run's folder as other programs read it.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use serde_json::Value;

/// A run that is over.
pub struct Run {
    /// Its folder.
    pub folder: PathBuf,
    /// `report.json`.
    pub report: Value,
}

impl Run {
    /// Reads a run's folder.
    pub fn read(folder: &Path) -> Self {
        let text = fs::read_to_string(folder.join("report.json")).unwrap();
        Self { folder: folder.to_owned(), report: serde_json::from_str(&text).unwrap() }
    }

    /// The one trial it had.
    pub fn trial(&self) -> &Value {
        let trials = self.report["trials"].as_array().unwrap();
        assert_eq!(trials.len(), 1, "{:#}", self.report["run"]);
        &trials[0]
    }

    /// The rows of the one trial it had.
    pub fn rows(&self) -> Vec<Value> {
        self.rows_of(self.trial())
    }

    /// The rows of a trial.
    pub fn rows_of(&self, trial: &Value) -> Vec<Value> {
        let path = self.folder.join(trial["id"].as_str().unwrap()).join("requests.jsonl");
        let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// Everything that happened in it.
    pub fn events(&self) -> Vec<Value> {
        events(&self.folder)
    }

    /// The reasons of the verdict, by code.
    pub fn reasons(&self) -> BTreeSet<String> {
        let reasons = self.trial()["verdict"]["reasons"].as_array().unwrap();
        reasons.iter().map(|reason| reason["code"].as_str().unwrap().to_owned()).collect()
    }

    /// Every sentence in which the report speaks of trouble, in one text.
    pub fn complaints(&self) -> String {
        let report = &self.report;
        let trials = report["trials"].as_array().into_iter().flatten();
        let verdicts = trials.map(|trial| trial["verdict"].to_string());
        let all = [report["run"]["incomplete_reason"].to_string(), report["warnings"].to_string(), report["verdict"].to_string()];
        all.into_iter().chain(verdicts).collect::<Vec<_>>().join("\n")
    }
}

/// What happened in a run that may still go on, without when; a line that is being written is left out.
pub fn events(folder: &Path) -> Vec<Value> {
    let text = ["events.jsonl", "events.jsonl.partial"].iter().find_map(|name| fs::read_to_string(folder.join(name)).ok());
    let happened = |line: &str| Some(serde_json::from_str::<Value>(line).ok()?["happened"].take());
    text.unwrap_or_default().lines().filter_map(happened).collect()
}

/// The parts of a trial's accounting sum to what was due, and its rows say the same, outcome by outcome.
pub fn assert_balanced(trial: &Value, rows: &[Value]) {
    let accounting = &trial["accounting"];
    let number = |key: &str| accounting[key].as_u64().unwrap_or_else(|| panic!("accounting.{key} is missing: {accounting}"));
    let by_kind = |key: &str| -> BTreeMap<String, u64> { serde_json::from_value(accounting[key].clone()).unwrap() };
    let (failed, dropped) = (by_kind("failed"), by_kind("dropped"));
    let total = |kinds: &BTreeMap<String, u64>| kinds.values().sum::<u64>();
    let parts =
        number("completed") + total(&failed) + number("timed_out") + number("cancelled") + total(&dropped) + number("lost");
    assert_eq!(number("due"), parts, "the parts do not sum to what was due: {accounting:#}");

    let measured: Vec<&Value> = rows.iter().filter(|row| row["phase"] == "measure").collect();
    assert_eq!(measured.len() as u64, number("due"), "rows and accounting differ: {accounting:#}");
    let with = |outcome: &str| measured.iter().filter(|row| row["outcome"] == outcome).count() as u64;
    for outcome in ["completed", "timed_out", "cancelled", "lost"] {
        assert_eq!(with(outcome), number(outcome), "{outcome}: {accounting:#}");
    }
    for (outcome, kinds) in [("failed", failed), ("dropped", dropped)] {
        assert_eq!(with(outcome), total(&kinds), "{outcome}: {accounting:#}");
        for (kind, count) in kinds {
            let rows = measured.iter().filter(|row| row["outcome"] == outcome && row["kind"] == *kind).count() as u64;
            assert_eq!(rows, count, "{outcome} {kind}");
        }
    }
    let indices: BTreeSet<u64> = rows.iter().map(|row| row["index"].as_u64().unwrap()).collect();
    assert_eq!(indices.len(), rows.len(), "a request has two rows");
}
