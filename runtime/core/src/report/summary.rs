//! `summary.md`: what a person would paste into a mail.

use std::fmt::Write as _;

use super::{
    ADJUSTED, Accounting, Distribution, Percentile, REPEATED_HEADS, Report, SERVER_HEADS, SLICE_HEADS, STAGE_HEADS, TOO_FEW,
    TrialReport, of_several_servers, staged,
};
use crate::{
    figures,
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
    if let Some(why) = report.incomplete_beside_verdict() {
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
        trials(&mut text, report);
    }
    repeated(&mut text, report);
    stages(&mut text, &report.trials);
    servers(&mut text, &report.trials);
    let warnings: Vec<&str> = report.further_warnings().collect();
    if !warnings.is_empty() {
        text.push_str("\n## Warnings\n\n");
        warnings.iter().for_each(|warning| _ = writeln!(text, "- {warning}"));
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
        search.spec.unit()
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

/// All trials in a table, what must be said beside it, and how the requests of each ended.
fn trials(text: &mut String, report: &Report) {
    let has_due = report.trials.iter().any(|trial| trial.load.is_open());
    let from_due = if has_due { [" TTFT from due p50 / p99 |", " E2EL from due p50 / p99 |"] } else { ["", ""] };
    let _ = writeln!(
        text,
        "\n| trial | verdict | load | sent/s | TTFT p50 / p99 |{} TPOT p50 / p99 | E2EL p50 / p99 |{} answer tokens/s |",
        from_due[0], from_due[1]
    );
    let _ = writeln!(text, "|---|---|---|{}", "---:|".repeat(if has_due { 7 } else { 5 }));
    report.trials.iter().for_each(|trial| row(text, trial, has_due));
    let clock = if has_due { ", from sending where it does not say from due" } else { ", from sending" };
    let _ = writeln!(text, "\nTimes in milliseconds{clock}; percentiles of completed requests; {ADJUSTED}.\n");
    let remarks = report.remarks();
    remarks.iter().for_each(|remark| _ = writeln!(text, "- {remark}"));
    if !remarks.is_empty() {
        text.push('\n');
    }
    for trial in &report.trials {
        let _ = writeln!(text, "- `{}`: {}", trial.id, accounting_line(&trial.accounting));
        if let Some(certainty) = &trial.certainty {
            let _ = writeln!(text, "  - {certainty}");
        }
        trial.slo_lines().iter().for_each(|line| _ = writeln!(text, "  - {line}"));
    }
}

fn row(text: &mut String, trial: &TrialReport, has_due: bool) {
    let all = &trial.latency;
    let from_due = |of: &Option<Distribution>| match has_due {
        true => format!(" {} |", pair(of.as_ref().filter(|_| trial.load.is_open()))),
        false => String::new(),
    };
    let _ = writeln!(
        text,
        "| `{}` | {} | {} | {:.2} | {} |{} {} | {} |{} {} |",
        trial.id,
        if trial.is_unmeasured() { "not measured".to_owned() } else { trial.verdict.status.to_string() },
        trial.load.label(),
        trial.load.achieved_rate,
        pair(all.ttft_seconds.as_ref()),
        from_due(&all.ttft_scheduled_seconds),
        pair(all.tpot_seconds.as_ref()),
        pair(all.e2el_seconds.as_ref()),
        from_due(&all.e2el_scheduled_seconds),
        trial.throughput.output_tokens_per_second.map_or("–".to_owned(), |rate| format!("{rate:.1}")),
    );
}

/// What repetitions say together.
fn repeated(text: &mut String, report: &Report) {
    if report.repeated.is_empty() {
        return;
    }
    text.push_str("\nOver repetitions:\n\n");
    table(text, &REPEATED_HEADS, 2, report.repeated.iter().flat_map(|point| point.rows()).map(Vec::from));
}

/// A table for each trial whose load changes.
fn stages(text: &mut String, trials: &[TrialReport]) {
    for trial in staged(trials) {
        let _ = writeln!(text, "\n`{}`, {}:\n", trial.id, trial.load.label());
        let heads: Vec<&str> = STAGE_HEADS.into_iter().chain(SLICE_HEADS).collect();
        table(text, &heads, 2, trial.load.stages.iter().map(|stage| stage.cells()));
    }
}

/// A table for each trial that asked several servers.
fn servers(text: &mut String, trials: &[TrialReport]) {
    for trial in of_several_servers(trials) {
        let _ = writeln!(text, "\n`{}`, by server:\n", trial.id);
        let heads: Vec<&str> = SERVER_HEADS.into_iter().chain(SLICE_HEADS).collect();
        table(text, &heads, 1, trial.servers.iter().map(|server| server.cells()));
    }
}

/// A table whose first columns are words and whose others are figures.
fn table(text: &mut String, heads: &[&str], words: usize, rows: impl Iterator<Item = Vec<String>>) {
    let _ = writeln!(text, "| {} |", heads.join(" | "));
    let _ = writeln!(text, "|{}{}", "---|".repeat(words), "---:|".repeat(heads.len() - words));
    rows.for_each(|cells| _ = writeln!(text, "| {} |", cells.join(" | ")));
}

/// Median and 99th percentile; one that too few samples allow is no figure to mail around.
fn pair(distribution: Option<&Distribution>) -> String {
    let Some(found) = distribution else { return "–".to_owned() };
    let [p50, p99] = [Percentile::P50, Percentile::P99].map(|percentile| match found.shown(percentile) {
        Some(seconds) => match found.adjusted_beside(percentile) {
            Some(adjusted) => format!("{} ({adjusted})", milliseconds(seconds)),
            None => milliseconds(seconds),
        },
        None => TOO_FEW.to_owned(),
    });
    format!("{p50} / {p99}")
}

/// To a tenth, and below it to three digits: a time per token may be a few microseconds, or none that can be measured.
fn milliseconds(seconds: f64) -> String {
    match seconds * 1e3 {
        0.0 => "–".to_owned(),
        value if value < 0.1 => figures::short(value),
        value => format!("{value:.1}"),
    }
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
