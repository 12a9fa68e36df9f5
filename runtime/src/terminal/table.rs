//! The table at the end: what a person would paste into a mail.

use comfy_table::{Cell, CellAlignment, Table, presets};
use hb_core::{
    report::{
        ADJUSTED, Accounting, Distribution, Percentile, REPEATED_HEADS, Report, SERVER_HEADS, SLICE_HEADS, STAGE_HEADS, TOO_FEW,
        TrialReport, of_several_servers, staged,
    },
    search::SearchReport,
};

use crate::render::{figures, search::outcome, status_word};

/// [`TOO_FEW`] where columns are narrow; a line under the table says what it means.
const SHORT_TOO_FEW: &str = "too few";

/// The run's result as plain text: table, remarks, sums, stages, verdict with its reasons, warnings.
#[must_use]
pub fn summary(report: &Report) -> String {
    let mut text = format!("{}  ({})\n", report.run.scenario, report.run.id);
    if !report.trials.is_empty() {
        let table = table(&report.trials).to_string();
        text.push_str(&format!("{table}\n"));
        if table.contains(SHORT_TOO_FEW) {
            text.push_str(&format!("{SHORT_TOO_FEW}: {TOO_FEW} for that percentile; p50 needs 6, p99 needs 368\n"));
        }
        if is_adjusted(&report.trials) {
            text.push_str(&format!("{ADJUSTED}\n"));
        }
    }
    report.remarks().iter().for_each(|remark| text.push_str(&format!("{remark}\n")));
    for trial in &report.trials {
        let accounting = &trial.accounting;
        let sign = if accounting.due == sum(accounting).1 { '=' } else { '≠' };
        text.push_str(&format!("{}: {} due {sign} {}\n", trial.id, figures::count(accounting.due), sum(accounting).0));
        if let Some(certainty) = &trial.certainty {
            text.push_str(&format!("  {certainty}\n"));
        }
        trial.slo_lines().iter().for_each(|line| text.push_str(&format!("  {line}\n")));
    }
    for trial in staged(&report.trials) {
        text.push_str(&format!("\n{}, {}\n{}\n", trial.id, trial.load.label(), stages(trial)));
    }
    for trial in of_several_servers(&report.trials) {
        text.push_str(&format!("\n{}, by server\n{}\n", trial.id, servers(trial)));
    }
    if !report.repeated.is_empty() {
        let rows = report.repeated.iter().flat_map(|point| point.rows()).map(Vec::from);
        text.push_str(&format!("\nover repetitions\n{}\n", drawn(REPEATED_HEADS.to_vec(), rows)));
    }
    for search in &report.searches {
        text.push_str(&format!("\n{}\n{}\n", probes(search), search.sentence));
    }
    if let Some(why) = report.incomplete_beside_verdict() {
        text.push_str(&format!("not completed: {why}\n"));
    }
    if report.run.parts.len() > 1 {
        let parts = report.run.parts.iter().enumerate();
        parts.for_each(|(index, part)| text.push_str(&format!("part {}: {}\n", index + 1, part.sentence())));
    }
    report.further_warnings().for_each(|warning| text.push_str(&format!("warning: {warning}\n")));
    text.push_str(&format!("\nverdict: {}\n", status_word(report.verdict.status)));
    for reason in &report.verdict.reasons {
        let figures = reason.figures().map(|figures| format!(" ({figures})"));
        text.push_str(&format!("  {}: {}{}\n", status_word(reason.status), reason.message, figures.unwrap_or_default()));
    }
    text.chars().map(|letter| if letter.is_control() && letter != '\n' { ' ' } else { letter }).collect()
}

fn table(trials: &[TrialReport]) -> Table {
    // Open loops have a second clock, which begins when a request was due.
    let has_due = trials.iter().any(|trial| trial.load.is_open());
    let head = |of_due: &'static str| if has_due { vec![of_due] } else { Vec::new() };
    let heads = [
        vec!["trial", "verdict", "req/s", "out tok/s", "TTFT p50", "TTFT p99"],
        head("TTFT p99\nfrom due"),
        vec!["TPOT p50", "answer p50", "answer p99"],
        head("answer p99\nfrom due"),
        vec!["completed"],
    ];
    let row = |trial: &TrialReport| {
        let (rates, latency) = (&trial.throughput, &trial.latency);
        let from_due = |distribution: &Option<Distribution>| match has_due {
            true => vec![percentile(distribution.as_ref().filter(|_| trial.load.is_open()), Percentile::P99)],
            false => Vec::new(),
        };
        let words = vec![
            trial.id.to_string(),
            if trial.is_unmeasured() { "not measured" } else { status_word(trial.verdict.status) }.to_owned(),
            figures::three_digits(rates.requests_per_second),
            rates.output_tokens_per_second.map_or("–".to_owned(), figures::three_digits),
            percentile(latency.ttft_seconds.as_ref(), Percentile::P50),
            percentile(latency.ttft_seconds.as_ref(), Percentile::P99),
        ];
        let whole = vec![
            percentile(latency.tpot_seconds.as_ref(), Percentile::P50),
            percentile(latency.e2el_seconds.as_ref(), Percentile::P50),
            percentile(latency.e2el_seconds.as_ref(), Percentile::P99),
        ];
        let completed = format!("{} of {}", figures::count(trial.accounting.completed), figures::count(trial.accounting.due));
        [words, from_due(&latency.ttft_scheduled_seconds), whole, from_due(&latency.e2el_scheduled_seconds), vec![completed]]
            .concat()
    };
    drawn(heads.concat(), trials.iter().map(row))
}

fn percentile(distribution: Option<&Distribution>, percentile: Percentile) -> String {
    let Some(distribution) = distribution else { return "–".to_owned() };
    let Some(seconds) = distribution.shown(percentile) else { return SHORT_TOO_FEW.to_owned() };
    let adjusted = distribution.adjusted_beside(percentile).map(|adjusted| format!(" ({adjusted})"));
    figures::latency(seconds) + &adjusted.unwrap_or_default()
}

/// What was asked for and what was there in each stage.
fn stages(trial: &TrialReport) -> Table {
    drawn(STAGE_HEADS.into_iter().chain(SLICE_HEADS).collect(), trial.load.stages.iter().map(|stage| stage.cells()))
}

/// What each of several servers did.
fn servers(trial: &TrialReport) -> Table {
    drawn(SERVER_HEADS.into_iter().chain(SLICE_HEADS).collect(), trial.servers.iter().map(|server| server.cells()))
}

/// Whether a percentile of the table has another one in brackets.
fn is_adjusted(trials: &[TrialReport]) -> bool {
    let all = |trial: &TrialReport| {
        let latency = &trial.latency;
        [
            &latency.ttft_seconds,
            &latency.ttft_scheduled_seconds,
            &latency.tpot_seconds,
            &latency.e2el_seconds,
            &latency.e2el_scheduled_seconds,
        ]
        .into_iter()
        .flatten()
        .any(|found| found.adjusted_beside(Percentile::P99).is_some())
    };
    trials.iter().any(all)
}

/// A table without rules between its rows: two columns of words, the others of figures.
fn drawn(heads: Vec<&str>, rows: impl Iterator<Item = Vec<String>>) -> Table {
    let mut table = Table::new();
    table.load_style(presets::UTF8_BORDERS_ONLY);
    table.set_header(heads.into_iter().enumerate().map(|(place, name)| cell(place, name.to_owned())));
    rows.for_each(|row| _ = table.add_row(row.into_iter().enumerate().map(|(place, text)| cell(place, text))));
    table
}

/// The probes of a search.
fn probes(search: &SearchReport) -> Table {
    let mut table = Table::new();
    table.load_style(presets::UTF8_BORDERS_ONLY);
    // The last column holds words again.
    let row = |texts: [String; 5]| texts.into_iter().enumerate().map(|(place, text)| cell(place % 4, text)).collect::<Vec<_>>();
    table.set_header(row(["probe", "SLO", &search.spec.unit(), "goodput/s", "why"].map(str::to_owned)));
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
    use hb_core::{
        report::StageFigures,
        verdict::{Reason, Status, Verdict},
    };

    use super::*;

    fn report(trials: Vec<TrialReport>) -> Report {
        let run = hb_core::report::RunSummary {
            id: "20260314-091500".to_owned(),
            scenario: "sweep\u{1b}[2J".to_owned(),
            complete: true,
            ..Default::default()
        };
        Report {
            schema_version: "1.0".to_owned(),
            run,
            searches: Vec::new(),
            repeated: Vec::new(),
            verdict: Verdict::default(),
            trials,
            warnings: Vec::new(),
        }
    }

    fn measured(count: u64, p50: f64, p99: f64) -> Option<Distribution> {
        Some(Distribution { count, p50, p99, ..Distribution::default() })
    }

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
        trial.throughput.output_tokens_per_second = Some(3_072.4);
        trial.latency.ttft_seconds = measured(1_200, 0.0376, 0.116);
        let mut report = report(vec![trial]);
        report.verdict = Verdict { status: Status::Suspect, reasons: vec![reason] };
        report.warnings.push("one warning".to_owned());
        insta::assert_snapshot!(summary(&report));
    }

    #[test]
    fn an_open_loop_shows_both_clocks_and_a_short_one_says_what_is_too_few() {
        let mut late = TrialReport { id: "rate-90".into(), complete: true, ..TrialReport::default() };
        late.throughput.output_tokens_per_second = Some(0.0);
        late.load.model = "open".to_owned();
        late.latency.ttft_seconds = measured(540, 0.021, 0.024);
        late.latency.ttft_scheduled_seconds = measured(540, 0.160, 0.304);
        late.latency.tpot_seconds = measured(540, 0.0, 0.000_000_4);
        late.client.calibration =
            Some(serde_json::json!({"ttft_error_seconds_p99": 0.00408, "tpot_error_seconds_p99": 0.000_175}));
        let mut short = TrialReport { id: "rate-10".into(), ..late.clone() };
        short.latency.ttft_seconds = measured(82, 0.021, 0.0408);
        short.latency.ttft_scheduled_seconds = measured(82, 0.021, 0.0409);
        insta::assert_snapshot!(summary(&report(vec![short, late])));
    }

    #[test]
    fn a_load_of_stages_is_shown_stage_by_stage() {
        let stage = |start: f64, clients: f64| StageFigures {
            start,
            end: start + 2.0,
            concurrency_from: Some(clients),
            concurrency_to: Some(clients),
            concurrency_mean: clients * 0.99,
            due: 215,
            sent: 215,
            completed: 214,
            ..StageFigures::default()
        };
        let mut trial = TrialReport { id: "trial".into(), complete: true, ..TrialReport::default() };
        trial.throughput.output_tokens_per_second = Some(0.0);
        trial.load.stages = vec![stage(1.0, 4.0), stage(3.0, 8.0), stage(5.0, 1.0)];
        insta::assert_snapshot!(summary(&report(vec![trial])));
    }

    #[test]
    fn why_a_run_failed_is_said_once() {
        let why = "service deployment could not be finished: no server became ready";
        let run = hb_core::report::RunSummary { incomplete_reason: Some(why.to_owned()), ..Default::default() };
        let text = summary(&hb_core::report::run(run, Vec::new(), vec![why.to_owned()]));
        assert_eq!((text.matches(why).count(), text.contains("against a limit")), (1, false), "{text}");
    }
}
