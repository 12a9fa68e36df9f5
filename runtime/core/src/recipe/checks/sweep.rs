//! Lists that become trials.

use std::collections::BTreeSet;

use serde_json::Value;

use super::super::{
    Problem, Recipe,
    expand::{MOST_TRIALS, SWEEPABLE, config_axes, count},
};

pub(super) fn check(recipe: &Recipe, problems: &mut Vec<Problem>) {
    let trials = count(recipe);
    if trials > MOST_TRIALS {
        let found = format!("lists that expand to {trials} trials");
        problems.push(Problem::error("workload", found, format!("at most {MOST_TRIALS} trials")));
    }
    let json = serde_json::to_value(&recipe.workload).expect("a workload is plain data");
    for field in SWEEPABLE {
        repeats(&format!("workload.{field}"), &json[field], problems);
    }
    for (index, entry) in json["benchmark_suite"].as_array().into_iter().flatten().enumerate() {
        for (field, value) in entry.as_object().into_iter().flatten() {
            repeats(&format!("workload.benchmark_suite[{index}].{field}"), value, problems);
        }
    }
    let mut axes = Vec::new();
    if let Some(config) = recipe.servers.as_ref().and_then(|servers| servers.service_config.as_ref()) {
        config_axes(config, "servers.service_config", &mut axes);
    }
    for (path, values) in axes {
        if values.is_empty() {
            problems.push(Problem::error(&path, "an empty list", "one value, or a list of values to sweep over"));
        }
        repeats(&path, &Value::Array(values), problems);
    }
}

fn repeats(path: &str, field: &Value, problems: &mut Vec<Problem>) {
    let Value::Array(values) = field else { return };
    let mut seen = BTreeSet::new();
    for (index, value) in values.iter().enumerate().filter(|(_, value)| !seen.insert(value.to_string())) {
        let shown = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        let problem = Problem::warning(format!("{path}[{index}]"), format!("`{shown}` a second time"), "each value once");
        problems.push(problem.advise("the same trial is run twice; `repetitions` does that for all"));
    }
}
