//! Pages for people: `report.html`, complete without a network or a script, and the leader's live page.
//!
//! All of a report is drawn here, on the server's side, as HTML and SVG; the script only adds reading
//! values under the pointer, sorting and folding. Every text passes through [`markup::escape`].

mod accounting;
mod ground;
mod latency;
mod markup;
mod nodes;
mod overview;
mod scale;
pub(crate) mod search;
mod sweepchart;
mod timechart;
mod timeline;
mod trial;
mod verdict;

pub(crate) use hb_core::figures;
use hb_core::{
    report::{Report, TOO_FEW, TrialReport},
    verdict::Status,
};
use serde_json::Value;

use self::markup::escape;

const STYLE: &str = include_str!("page.css");
const REPORT_SCRIPT: &str = include_str!("report.js");
const LIVE_SCRIPT: &str = include_str!("live.js");
const LIVE_BODY: &str = include_str!("live.html");
const HOW_TO_READ: &str = include_str!("how_to_read.html");

/// The whole report as one file without a reference to anything outside of it.
#[must_use]
pub fn report_html(report: &Report) -> String {
    let mut body = String::new();
    body.push_str(&overview::masthead(&report.run));
    body.push_str("<main>\n");
    body.push_str(&verdict::banner(report));
    body.push_str(&overview::key_figures(report));
    body.push_str(&overview::warnings(report));
    body.push_str(&search::sections(report));
    body.push_str(&overview::sweep(&report.trials));
    body.push_str(&overview::trial_table(report));
    for (number, one) in report.trials.iter().enumerate() {
        body.push_str(&trial::section(one, number, report.trials.len()));
    }
    body.push_str(&overview::run_facts(&report.run));
    body.push_str(HOW_TO_READ);
    body.push_str("</main>\n");
    body.push_str(&overview::footer(report));
    page(&format!("{} – {}", report.run.scenario, status_word(report.verdict.status)), &body, REPORT_SCRIPT)
}

/// The leader's live page; it asks `/api/live` and listens to `/api/events`.
#[must_use]
pub fn live_html(scenario: &str, run: &str) -> String {
    let body = LIVE_BODY.replace("{{scenario}}", &escape(scenario)).replace("{{run}}", &escape(run));
    page(&format!("{scenario} – live"), &body, LIVE_SCRIPT)
}

/// `summary.md`.
#[must_use]
pub fn summary(report: &Report) -> String {
    hb_core::report::summary_markdown(report)
}

fn page(title: &str, body: &str, script: &str) -> String {
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n<meta name=\"referrer\" content=\"no-referrer\">\n\
         <link rel=\"icon\" href=\"data:,\">\n<title>{}</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n{body}\
         <script>\n{script}</script>\n</body>\n</html>\n",
        escape(title)
    )
}

/// The verdict's word.
pub(crate) fn status_word(status: Status) -> &'static str {
    match status {
        Status::Valid => "VALID",
        Status::Suspect => "SUSPECT",
        Status::Invalid => "INVALID",
    }
}

/// The verdict's class; its look never rests on colour alone.
pub(crate) fn status_class(status: Status) -> &'static str {
    match status {
        Status::Valid => "valid",
        Status::Suspect => "suspect",
        Status::Invalid => "invalid",
    }
}

/// A verdict in a line, as a sign and a word.
pub(crate) fn badge(status: Status) -> String {
    format!("<span class=\"badge {}\">{}</span>", status_class(status), status_word(status))
}

/// In a cell, where a percentile would stand.
pub(crate) fn too_few() -> String {
    markup::text("span", "class=\"too-few\"", TOO_FEW)
}

/// What tells a trial from its neighbours, short enough for a chart.
pub(crate) fn trial_label(trial: &TrialReport) -> String {
    let values: Vec<String> = trial.parameters.values().map(plain).collect();
    match (values.is_empty(), trial.repetition) {
        (true, _) => trial.id.to_string(),
        (false, 0 | 1) => values.join(" · "),
        (false, repetition) => format!("{} #{repetition}", values.join(" · ")),
    }
}

/// A JSON value as a person writes it.
pub(crate) fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => "–".to_owned(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests;
