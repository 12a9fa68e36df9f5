//! Checks across fields: what each value alone cannot show.

mod batch;
mod characters;
mod clients;
mod hardware;
mod headers;
mod load;
mod names;
mod nodes;
mod service;
mod sweep;
mod time;
mod turns;

use super::{OneOrMany, Problem, Recipe, read::KnownService};

/// Everything that does not fit together.
pub(super) fn check(recipe: &Recipe, services: &[KnownService]) -> Vec<Problem> {
    let mut problems = Vec::new();
    characters::check(recipe, &mut problems);
    names::check(recipe, services, &mut problems);
    nodes::check(recipe, &mut problems);
    hardware::check(recipe, &mut problems);
    service::check(recipe, services, &mut problems);
    headers::check(recipe, &mut problems);
    load::check(recipe, &mut problems);
    sweep::check(recipe, &mut problems);
    time::check(recipe, &mut problems);
    problems
}

/// Each value of a field with its path: `workload.concurrency[1]`, or the field's own where it is one value.
fn values<'a, T>(path: &'a str, field: &'a Option<OneOrMany<T>>) -> impl Iterator<Item = (String, &'a T)> {
    let is_list = matches!(field, Some(OneOrMany::Many(_)));
    let values = field.iter().flat_map(OneOrMany::values).enumerate();
    values.map(move |(index, value)| (if is_list { format!("{path}[{index}]") } else { path.to_owned() }, value))
}
