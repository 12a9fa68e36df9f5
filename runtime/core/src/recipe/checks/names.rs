//! Names that become folders, variables, words of a command line, or other names.

use std::collections::BTreeSet;

use super::super::{KnownService, Problem, Recipe, words::Variables};

pub(super) fn check(recipe: &Recipe, services: &[KnownService], problems: &mut Vec<Problem>) {
    let is_plain = |c: char| c.is_alphanumeric() || matches!(c, ' ' | '.' | '_' | '-');
    let name = &recipe.scenario;
    if name.trim().is_empty() || name.starts_with('.') || name.len() > 100 || !name.chars().all(is_plain) {
        let accepted = "a folder's name: up to 100 letters, digits, `.`, `_` and `-`, not beginning with a dot";
        problems.push(Problem::error("scenario", format!("`{name}`"), accepted));
    }
    variables("environment", &recipe.environment, problems);
    for (name, service) in &recipe.custom_services {
        custom(name, recipe, services, problems);
        variables(&format!("custom_services.{name}.env"), &service.env, problems);
    }
    let key = recipe.servers.as_ref().and_then(|servers| servers.api_key_env.as_ref());
    if let Some(name) = key.filter(|name| !is_variable(name)) {
        let problem = Problem::error("servers.api_key_env", format!("`{name}`"), "a variable's name, such as OPENAI_API_KEY");
        problems.push(problem.advise("the key itself belongs into the variable, never into a recipe"));
    }
    binds(recipe, problems);
    for (path, word) in [("partition", &recipe.partition), ("qos", &recipe.qos)] {
        if word.as_ref().is_some_and(|word| word.is_empty() || word.chars().any(char::is_whitespace)) {
            problems.push(Problem::error(path, "an empty text, or one with white space in it", "one word"));
        }
    }
    suite(recipe, problems);
}

fn variables(path: &str, variables: &Variables, problems: &mut Vec<Problem>) {
    for name in variables.keys().filter(|name| !is_variable(name)) {
        let accepted = "letters, digits and `_`, not beginning with a digit";
        problems.push(Problem::error(format!("{path}.{name}"), format!("the name `{name}`"), accepted));
    }
}

pub(super) fn is_variable(name: &str) -> bool {
    !name.starts_with(|c: char| c.is_ascii_digit())
        && !name.is_empty()
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

fn custom(name: &str, recipe: &Recipe, services: &[KnownService], problems: &mut Vec<Problem>) {
    let path = format!("custom_services.{name}");
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
    if name.is_empty() || !name.starts_with(|c: char| c.is_ascii_alphabetic()) || !name.chars().all(is_plain) {
        let accepted = "letters, digits, `_` and `-`, beginning with a letter";
        problems.push(Problem::error(&path, format!("the name `{name}`"), accepted));
    } else if services.iter().any(|service| service.name == name) {
        let problem = Problem::error(&path, format!("the name `{name}`, which is a service of hbnode's own"), "another name");
        problems.push(problem.advise(format!("write such as `my-{name}`, there and in workload.service")));
    } else if recipe.workload.service != name {
        let problem = Problem::warning(&path, "a service that is not used", "one that workload.service names");
        problems.push(problem.advise(format!("the run measures `{}`", recipe.workload.service)));
    }
}

fn binds(recipe: &Recipe, problems: &mut Vec<Problem>) {
    for (index, bind) in recipe.binds.iter().enumerate() {
        let parts: Vec<&str> = bind.split(':').collect();
        let is_well = matches!(parts.as_slice(), [from, to] | [from, to, "ro" | "rw"] if !from.is_empty() && to.starts_with('/'));
        if !is_well {
            let accepted = "`source:/target`, `source:/target:ro` or `source:/target:rw`";
            problems.push(Problem::error(format!("binds[{index}]"), format!("`{bind}`"), accepted));
        }
    }
}

fn suite(recipe: &Recipe, problems: &mut Vec<Problem>) {
    let mut names = BTreeSet::new();
    for (index, entry) in recipe.workload.benchmark_suite.iter().enumerate() {
        let path = format!("workload.benchmark_suite[{index}].name");
        if entry.name.0.trim().is_empty() {
            problems.push(Problem::error(path, "an empty name", "a name, which becomes part of the trial's"));
        } else if !names.insert(entry.name.0.to_lowercase()) {
            let problem = Problem::warning(path, format!("`{}` a second time", entry.name.0), "each name once");
            problems.push(problem.advise("the second trial's name gets `.n2` at its end"));
        }
    }
}
