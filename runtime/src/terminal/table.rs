//! The table at the end: what a person would paste into a mail.

use comfy_table::{Cell, CellAlignment, Table, presets};
use hb_core::{
    report::{Accounting, Distribution, Report, TrialReport},
    search::SearchReport,
};

use crate::render::{figures, search::outcome, status_word};

/// The run's result as plain text: table, sums, verdict with its reasons, warnings.
#[must_use]
pub fn summary(report: &Report) -> String {
    let mut text = format!("{}  ({})\n", report.run.scenario, report.run.id);
    if !report.trials.is_empty() {
        text.push_str(&format!("{}\n", table(&report.trials)));
    }
    for trial in &report.trials {
        let accounting = &trial.accounting;
        let sign = if accounting.due == sum(accounting).1 { '=' } else { '≠' };
        text.push_str(&format!("{}: {} due {sign} {}\n", trial.id, figures::count(accounting.due), sum(accounting).0));
        if let Some(certainty) = &trial.certainty {
            text.push_str(&format!("  {certainty}\n"));
        }
    }
    for search in &report.searches {
        text.push_str(&format!("\n{}\n{}\n", probes(search), search.sentence));
    }
    if !report.run.complete {
        let why = report.run.incomplete_reason.as_deref().unwrap_or("no reason is known");
        text.push_str(&format!("not completed: {why}\n"));
    }
    if report.run.parts.len() > 1 {
        let parts = report.run.parts.iter().enumerate();
        parts.for_each(|(index, part)| text.push_str(&format!("part {}: {}\n", index + 1, part.sentence())));
    }
    report.warnings.iter().for_each(|warning| text.push_str(&format!("warning: {warning}\n")));
    text.push_str(&format!("\nverdict: {}\n", status_word(report.verdict.status)));
    for reason in &report.verdict.reasons {
        let (value, limit) = (figures::three_digits(reason.value), figures::three_digits(reason.limit));
        text.push_str(&format!("  {}: {} ({value} against a limit of {limit})\n", status_word(reason.status), reason.message));
    }
    text.chars().map(|letter| if letter.is_control() && letter != '\n' { ' ' } else { letter }).collect()
}

fn table(trials: &[TrialReport]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::UTF8_BORDERS_ONLY);
    let head =
        ["trial", "verdict", "req/s", "out tok/s", "TTFT p50", "TTFT p99", "TPOT p50", "answer p50", "answer p99", "completed"];
    table.set_header(head.iter().enumerate().map(|(place, name)| cell(place, (*name).to_owned())));
    for trial in trials {
        let (rates, latency) = (&trial.throughput, &trial.latency);
        let pick = |distribution: &Option<Distribution>, of: fn(&Distribution) -> f64| {
            distribution.as_ref().map_or("–".to_owned(), |distribution| figures::seconds(of(distribution)))
        };
        let row = [
            trial.id.to_string(),
            status_word(trial.verdict.status).to_owned(),
            figures::three_digits(rates.requests_per_second),
            figures::three_digits(rates.output_tokens_per_second),
            pick(&latency.ttft_seconds, |d| d.p50),
            pick(&latency.ttft_seconds, |d| d.p99),
            pick(&latency.tpot_seconds, |d| d.p50),
            pick(&latency.e2el_seconds, |d| d.p50),
            pick(&latency.e2el_seconds, |d| d.p99),
            format!("{} of {}", figures::count(trial.accounting.completed), figures::count(trial.accounting.due)),
        ];
        table.add_row(row.into_iter().enumerate().map(|(place, text)| cell(place, text)));
    }
    table
}

/// The probes of a search.
fn probes(search: &SearchReport) -> Table {
    let mut table = Table::new();
    table.load_style(presets::UTF8_BORDERS_ONLY);
    // The last column holds words again.
    let row = |texts: [String; 5]| texts.into_iter().enumerate().map(|(place, text)| cell(place % 4, text)).collect::<Vec<_>>();
    table.set_header(row(["probe", "SLO", search.spec.maximize.unit(), "goodput/s", "why"].map(str::to_owned)));
    for probe in &search.probes {
        table.add_row(row([
            probe.number.to_string(),
            outcome(probe.outcome).to_owned(),
            figures::three_digits(probe.load),
            figures::three_digits(probe.goodput_requests_per_second),
            probe.why.clone(),
        ]));
    }
    table
}

/// Words to the left, figures to the right.
fn cell(place: usize, text: String) -> Cell {
    Cell::new(text).set_alignment(if place < 2 { CellAlignment::Left } else { CellAlignment::Right })
}

/// The parts that are not zero, and what all of them sum to.
fn sum(accounting: &Accounting) -> (String, u64) {
    let parts = [
        ("completed", accounting.completed),
        ("failed", accounting.failed.values().sum()),
        ("timed out", accounting.timed_out),
        ("cancelled", accounting.cancelled),
        ("dropped", accounting.dropped.values().sum()),
        ("lost", accounting.lost),
    ];
    let shown = parts.iter().filter(|(name, count)| *count > 0 || *name == "completed");
    let terms: Vec<String> = shown.map(|(name, count)| format!("{} {name}", figures::count(*count))).collect();
    (terms.join(" + "), parts.iter().map(|(_, count)| count).sum())
}

#[cfg(test)]
mod tests {
    use hb_core::verdict::{Reason, Status, Verdict};

    use super::*;

    #[test]
    fn the_result_is_a_text_to_paste() {
        let reason = Reason {
            code: "achieved_rate".to_owned(),
            status: Status::Suspect,
            message: "fewer requests were sent than asked for".to_owned(),
            value: 0.953,
            limit: 0.98,
        };
        let mut trial = TrialReport { id: "rate-24.r1".into(), ..TrialReport::default() };
        trial.accounting = Accounting { due: 1_203, completed: 1_200, timed_out: 3, ..Accounting::default() };
        trial.throughput.output_tokens_per_second = 3_072.4;
        trial.latency.ttft_seconds = Some(Distribution { p50: 0.0376, p99: 0.116, ..Distribution::default() });
        let report = Report {
            schema_version: "1.0".to_owned(),
            run: hb_core::report::RunSummary {
                id: "20260314-091500".to_owned(),
                scenario: "sweep\u{1b}[2J".to_owned(),
                complete: true,
                ..Default::default()
            },
            searches: Vec::new(),
            verdict: Verdict { status: Status::Suspect, reasons: vec![reason] },
            trials: vec![trial],
            warnings: vec!["one warning".to_owned()],
        };
        insta::assert_snapshot!(summary(&report));
    }
}
