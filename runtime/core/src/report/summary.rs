//! `summary.md`: what a person would paste into a mail.

use std::fmt::Write as _;

use super::{Accounting, Distribution, Report, TrialReport};
use crate::{
    search::{LimitFigure, ProbeOutcome, SearchReport},
    units::plural,
    verdict::Verdict,
};

/// The run in a page of Markdown.
#[must_use]
pub fn summary_markdown(report: &Report) -> String {
    let run = &report.run;
    let mut text = format!("# {}: {}\n\n", run.scenario, report.verdict.status);
    let finished = super::finished(&report.trials).len();
    let _ = writeln!(
        text,
        "Run `{}`, {} to {}, hbnode {}. {finished} of {} finished.",
        run.id,
        run.started_at,
        run.ended_at,
        run.hbnode_version,
        plural(run.trials_planned.into(), "trial")
    );
    if let Some(why) = &run.incomplete_reason {
        let _ = writeln!(text, "\nThe run is incomplete: {why}.");
    }
    if run.parts.len() > 1 {
        let _ = writeln!(text, "\nIt was led in {} parts:\n", run.parts.len());
        for (index, part) in run.parts.iter().enumerate() {
            let _ = writeln!(text, "{}. {}", index + 1, part.sentence());
        }
    }
    report.searches.iter().for_each(|search| searched(&mut text, search));
    reasons(&mut text, &report.verdict);
    if !report.trials.is_empty() {
        text.push_str(
            "\n| trial | verdict | load | sent/s | TTFT p50 / p99 | TPOT p50 / p99 | E2EL p50 / p99 | answer tokens/s |\n\
             |---|---|---|---:|---:|---:|---:|---:|\n",
        );
        report.trials.iter().for_each(|trial| row(&mut text, trial));
        text.push_str("\nTimes in milliseconds, from sending; percentiles of completed requests.\n\n");
        for trial in &report.trials {
            let _ = writeln!(text, "- `{}`: {}", trial.id, accounting_line(&trial.accounting));
            if let Some(certainty) = &trial.certainty {
                let _ = writeln!(text, "  - {certainty}");
            }
        }
    }
    if !report.warnings.is_empty() {
        text.push_str("\n## Warnings\n\n");
        report.warnings.iter().for_each(|warning| _ = writeln!(text, "- {warning}"));
    }
    text
}

/// What a search found, and by which probes.
fn searched(text: &mut String, search: &SearchReport) {
    let _ = writeln!(text, "\n**{}**\n", search.sentence);
    let limits: Vec<&str> =
        search.probes.first().map(|probe| probe.limits.iter().map(|limit| limit.name.as_str()).collect()).unwrap_or_default();
    let columns: String = limits.iter().map(|name| format!(" {name} |")).collect();
    let rule = "---:|".repeat(limits.len());
    let _ = writeln!(
        text,
        "| probe of `{}` | {} |{columns} goodput/s | outcome |\n|---:|---:|{rule}---:|---|",
        search.id,
        search.spec.maximize.unit()
    );
    for probe in &search.probes {
        let figure =
            |limit: &LimitFigure| limit.value_seconds.map_or(" – |".to_owned(), |value| format!(" {:.1} ms |", value * 1e3));
        let figures: String = probe.limits.iter().map(figure).collect();
        let (number, load, goodput) = (probe.number, probe.load, probe.goodput_requests_per_second);
        let outcome = match probe.outcome {
            ProbeOutcome::Met => "meets".to_owned(),
            ProbeOutcome::Missed => format!("misses: {}", probe.why),
            ProbeOutcome::TooFew | ProbeOutcome::Invalid => probe.why.clone(),
        };
        let _ = writeln!(text, "| {number} | {load} |{figures} {goodput:.2} | {outcome} |");
    }
}

fn reasons(text: &mut String, verdict: &Verdict) {
    if !verdict.reasons.is_empty() {
        text.push('\n');
    }
    for reason in &verdict.reasons {
        let _ = writeln!(text, "- **{}** `{}`: {}", reason.status, reason.code, reason.message);
    }
}

fn row(text: &mut String, trial: &TrialReport) {
    let load = match (trial.load.requested_rate, trial.load.requested_concurrency) {
        (Some(rate), _) => format!("{rate} req/s"),
        (None, Some(concurrency)) => format!("concurrency {concurrency}"),
        (None, None) => trial.load.model.clone(),
    };
    let _ = writeln!(
        text,
        "| `{}` | {} | {load} | {:.2} | {} | {} | {} | {:.1} |",
        trial.id,
        trial.verdict.status,
        trial.load.achieved_rate,
        pair(trial.latency.ttft_seconds.as_ref()),
        pair(trial.latency.tpot_seconds.as_ref()),
        pair(trial.latency.e2el_seconds.as_ref()),
        trial.throughput.output_tokens_per_second,
    );
}

/// Median and 99th percentile; one without a confidence interval is no figure to mail around.
fn pair(distribution: Option<&Distribution>) -> String {
    let Some(found) = distribution else { return "–".to_owned() };
    let shown = |name: &str, seconds: f64| {
        if found.ci.contains_key(name) { format!("{:.1}", seconds * 1e3) } else { "too few samples".to_owned() }
    };
    format!("{} / {}", shown("p50", found.p50), shown("p99", found.p99))
}

/// `100 due = 90 completed + 10 failed (http_500 10)`.
fn accounting_line(accounting: &Accounting) -> String {
    let kinds = |by_kind: &std::collections::BTreeMap<String, u64>| {
        let each: Vec<String> = by_kind.iter().map(|(kind, count)| format!("{kind} {count}")).collect();
        if each.is_empty() { String::new() } else { format!(" ({})", each.join(", ")) }
    };
    format!(
        "{} due = {} completed + {} failed{} + {} timed out + {} cancelled + {} dropped{} + {} lost",
        accounting.due,
        accounting.completed,
        accounting.failed_total(),
        kinds(&accounting.failed),
        accounting.timed_out,
        accounting.cancelled,
        accounting.dropped_total(),
        kinds(&accounting.dropped),
        accounting.lost
    )
}
