//! Keys, and values of keys, that are read and checked and that this version does not honour: named, never ignored.
//!
//! What would change a figure or leave a wanted result out is refused before anything runs; what
//! changes neither is without effect, and a warning says so. `every_key` holds the schema to this table.

use super::{Mode, Monitoring, OneOrMany, Problem, Recipe, ReportFormat, Severity, tree::Node};

/// A field, whether a recipe uses it, what comes of that, and what to do or to know instead.
pub(super) struct Row {
    /// The field; `[]` stands for an entry of a list.
    pub path: &'static str,
    /// Whether all use of it, and of what lies below, is meant, or some values only.
    #[cfg_attr(not(test), expect(dead_code, reason = "it is for `every_key`, which holds the schema to this table"))]
    pub extent: Extent,
    severity: Severity,
    is_used: fn(&Recipe) -> bool,
    sentence: &'static str,
}

/// How much of a field a row speaks of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Extent {
    /// Every value.
    Whole,
    /// Some values; the others are honoured.
    Part,
}

const fn refused(path: &'static str, is_used: fn(&Recipe) -> bool, sentence: &'static str) -> Row {
    Row { path, extent: Extent::Whole, severity: Severity::Error, is_used, sentence }
}

const fn refused_in_part(path: &'static str, is_used: fn(&Recipe) -> bool, sentence: &'static str) -> Row {
    Row { extent: Extent::Part, ..refused(path, is_used, sentence) }
}

const fn without_effect(path: &'static str, is_used: fn(&Recipe) -> bool, sentence: &'static str) -> Row {
    Row { severity: Severity::Warning, ..refused(path, is_used, sentence) }
}

const fn without_effect_in_part(path: &'static str, is_used: fn(&Recipe) -> bool, sentence: &'static str) -> Row {
    Row { extent: Extent::Part, ..without_effect(path, is_used, sentence) }
}

/// All that this version does not honour.
pub(super) const TABLE: &[Row] = &[
    refused_in_part(
        "orchestration.mode",
        |recipe| recipe.orchestration.mode == Mode::Kubernetes,
        "the mode kubernetes is not built yet; use slurm, ssh or local",
    ),
    refused_in_part(
        "orchestration.node_allocation.servers.nodes",
        |recipe| {
            let allocation = recipe.orchestration.node_allocation.as_ref();
            allocation.and_then(|allocation| allocation.servers.as_ref()).is_some_and(|nodes| is_list(&nodes.nodes))
        },
        "a scaling study over node counts is not built yet; write one number",
    ),
    refused_in_part(
        "orchestration.node_allocation.clients.nodes",
        |recipe| recipe.client_nodes().and_then(|clients| clients.nodes.as_ref()).is_some_and(is_list),
        "a scaling study over node counts is not built yet; write one number",
    ),
    refused(
        "monitoring.custom",
        |recipe| has(recipe, |monitoring| !monitoring.custom.is_empty()),
        "own metrics are not built yet; leave the block out",
    ),
    without_effect(
        "monitoring.metrics[].type",
        |recipe| has(recipe, |monitoring| !monitoring.metrics.is_empty()),
        "every node samples all that it has, whatever the type",
    ),
    without_effect(
        "monitoring.metrics[].targets",
        |recipe| has(recipe, |monitoring| monitoring.metrics.iter().any(|group| !group.targets.is_empty())),
        "every node is sampled, whatever the targets",
    ),
    without_effect_in_part(
        "monitoring.metrics[].scrape_interval",
        |recipe| {
            has(recipe, |monitoring| {
                let mut intervals = monitoring.metrics.iter().map(|group| group.scrape_interval);
                let first = intervals.next();
                intervals.any(|interval| Some(interval) != first)
            })
        },
        "everything is sampled at the shortest of these intervals",
    ),
    without_effect(
        "monitoring.retention",
        |recipe| has(recipe, |monitoring| monitoring.retention.is_some()),
        "hbnode deletes no results; how long a Prometheus keeps samples is its own setting",
    ),
    without_effect_in_part(
        "monitoring.legacy_names",
        |recipe| has(recipe, |monitoring| monitoring.legacy_names == Some(false)),
        "the old names stand beside the new ones all the same",
    ),
    without_effect_in_part(
        "logging.enabled",
        |recipe| logs(recipe, |logging| logging.enabled == Some(false)),
        "output is collected all the same, under logs/ in the run's folder",
    ),
    without_effect_in_part(
        "logging.create_jsonl",
        |recipe| logs(recipe, |logging| logging.create_jsonl == Some(false)),
        "logs/aggregated.jsonl is written all the same",
    ),
    without_effect(
        "logging.flush_interval",
        |recipe| logs(recipe, |logging| logging.flush_interval.is_some()),
        "output is written as it comes",
    ),
    without_effect(
        "logging.outputs",
        |recipe| logs(recipe, |logging| logging.outputs.is_some()),
        "the files are stdout.log, stderr.log and aggregated.jsonl, under logs/ in the run's folder",
    ),
    without_effect_in_part(
        "logging.aggregation",
        |recipe| {
            logs(recipe, |logging| {
                logging.aggregation.as_ref().is_some_and(|word| matches!(word.0.as_str(), "false" | "none" | "off"))
            })
        },
        "the lines of all nodes are put together all the same",
    ),
    without_effect(
        "logging.categories",
        |recipe| logs(recipe, |logging| !logging.categories.is_empty()),
        "the output of every process is collected",
    ),
    without_effect_in_part(
        "logging.format",
        |recipe| {
            logs(recipe, |logging| {
                logging.format.as_ref().is_some_and(|format| !matches!(format.as_str(), "json" | "jsonl" | "text"))
            })
        },
        "lines stand as they came in stdout.log and stderr.log, and as JSON in aggregated.jsonl",
    ),
    without_effect("logging.retention", |recipe| logs(recipe, |logging| logging.retention.is_some()), "hbnode deletes no logs"),
    refused_in_part(
        "reporting.formats",
        |recipe| recipe.reporting.iter().flat_map(|reporting| &reporting.formats).any(|format| *format == ReportFormat::Pdf),
        "pdf is not built yet; print report.html from a browser",
    ),
    without_effect(
        "reporting.include",
        |recipe| recipe.reporting.as_ref().is_some_and(|reporting| !reporting.include.is_empty()),
        "the report has all of its parts",
    ),
    without_effect(
        "reporting.output_directory",
        |recipe| recipe.reporting.as_ref().is_some_and(|reporting| reporting.output_directory.is_some()),
        "results lie in $WORK/results or ./results; write `--results DIR` on the command line",
    ),
    without_effect(
        "cost",
        |recipe| recipe.cost.is_some(),
        "prices are not in the report yet; its node-hours, GPU-hours and energy are",
    ),
];

/// Every such key with what to do or to know instead, for the manual: an error where a run that uses it is refused, a
/// warning where it has no effect.
pub fn unsupported_keys() -> impl Iterator<Item = (&'static str, Severity, &'static str)> {
    TABLE.iter().map(|row| (row.path, row.severity, row.sentence))
}

/// What a recipe asks for and this version does not honour, with the lines of `places`: errors, which keep it from being
/// run though it is well written, and warnings.
pub(super) fn unsupported(recipe: &Recipe, places: &Node) -> (Vec<Problem>, Vec<Problem>) {
    let used = TABLE.iter().filter(|row| (row.is_used)(recipe));
    let problem = |row: &Row| {
        let (found, accepted) = match row.severity {
            Severity::Error => ("what this version cannot do", ""),
            Severity::Warning => ("a word that has no effect in this version", ""),
        };
        let path = row.path.replace("[]", "[0]");
        Problem { severity: row.severity, ..Problem::error(path, found, accepted) }.advise(row.sentence).at(places)
    };
    used.map(problem).partition(Problem::is_error)
}

fn is_list<T>(field: &OneOrMany<T>) -> bool {
    matches!(field, OneOrMany::Many(_))
}

fn has(recipe: &Recipe, is_used: impl Fn(&Monitoring) -> bool) -> bool {
    recipe.monitoring.as_ref().is_some_and(is_used)
}

fn logs(recipe: &Recipe, is_used: impl Fn(&super::Logging) -> bool) -> bool {
    recipe.logging.as_ref().is_some_and(is_used)
}
