//! What a reader sees before any one trial: the run, its key figures, all trials side by side.

use hb_core::{
    report::{Distribution, Latencies, Percentile, REPEATED_HEADS, Report, RunPart, RunSummary, TOO_FEW, TrialReport},
    units::TrialId,
};

use super::{
    badge, figures,
    markup::{element, escape, table, text},
    plain, sweepchart, trial_label,
};

/// What was run and when.
pub(crate) fn masthead(run: &RunSummary) -> String {
    format!(
        "<header class=\"masthead\"><div><p class=\"kicker\">Benchmark report</p>{}<p class=\"when\">{} <span class=\"dot\">·</span> run {}</p></div></header>\n",
        text("h1", "", &run.scenario),
        escape(&when(run)),
        escape(&run.id)
    )
}

/// The start, and how long it took where both ends can be read.
fn when(run: &RunSummary) -> String {
    let start = run.started_at.get(..16).map(|start| start.replace('T', " "));
    let took = run.started_at.parse::<jiff::Timestamp>().ok().zip(run.ended_at.parse::<jiff::Timestamp>().ok());
    match (start, took) {
        (Some(start), Some((from, to))) => {
            let seconds = to.duration_since(from).as_secs_f64();
            format!("{start} UTC, took {}", figures::span(seconds))
        }
        _ => run.started_at.clone(),
    }
}

/// The figures that one asks for first, of the best trial that can be believed most.
pub(crate) fn key_figures(report: &Report) -> String {
    let by_trust = |trial: &&TrialReport| {
        let throughput = trial.throughput.output_tokens_per_second.unwrap_or(0.0);
        (std::cmp::Reverse(trial.verdict.status), ordered::Total(throughput))
    };
    // Of a search the probes of its answer are meant: one that overloads the server has the highest throughput often.
    let winners: Vec<&TrialId> = report.searches.iter().flat_map(|search| search.winners().map(|probe| &probe.trial)).collect();
    let is_meant = |trial: &&TrialReport| trial.probe.is_none() || winners.contains(&&trial.id);
    let best = report.trials.iter().filter(is_meant).max_by_key(by_trust).or(report.trials.iter().max_by_key(by_trust));
    let Some(best) = best else { return String::new() };
    let note = match report.trials.len() {
        1 => String::new(),
        _ if best.probe.is_some() => format!("<p class=\"of\">At the load found: <b>{}</b></p>", escape(best.id.as_str())),
        _ => format!("<p class=\"of\">Trial with the highest throughput: <b>{}</b></p>", escape(&trial_label(best))),
    };
    let latency = &best.latency;
    let of_latency = |name, distribution: &Option<Distribution>, at: Percentile, note: &str| {
        let shown = distribution.as_ref().map(|distribution| distribution.shown(at).map(figures::latency));
        match shown {
            Some(Some(value)) => (name, value, note.to_owned()),
            Some(None) => (name, "–".to_owned(), format!("{note}: {TOO_FEW}")),
            None => (name, "–".to_owned(), note.to_owned()),
        }
    };
    let from_due = |name, distribution: &Option<Distribution>| match best.load.is_open() {
        true => vec![of_latency(name, distribution, Percentile::P99, "99th percentile, from when it was due")],
        false => Vec::new(),
    };
    let sent = if best.load.is_open() { "99th percentile, from sending" } else { "99th percentile" };
    let (rates, due) = (&best.throughput, best.accounting.due as f64);
    let completed = figures::percent(best.accounting.completed as f64 / due);
    let tiles = [
        vec![
            (
                "Output throughput",
                rates.output_tokens_per_second.map_or("–".to_owned(), figures::three_digits),
                "tokens/s".to_owned(),
            ),
            ("Requests", figures::three_digits(rates.requests_per_second), "completed/s".to_owned()),
            of_latency("Time to first token", &latency.ttft_seconds, Percentile::P50, "median"),
            of_latency("Time to first token", &latency.ttft_seconds, Percentile::P99, sent),
        ],
        from_due("Time to first token", &latency.ttft_scheduled_seconds),
        vec![of_latency("Whole answer", &latency.e2el_seconds, Percentile::P99, sent)],
        from_due("Whole answer", &latency.e2el_scheduled_seconds),
        vec![("Completed", completed, "of due requests".to_owned())],
    ]
    .concat();
    let tile = |(name, value, note): &(&str, String, String)| {
        format!("<div class=\"tile\"><dt>{name}</dt><dd>{}<small>{note}</small></dd></div>\n", escape(value))
    };
    let class = if best.load.is_open() { "tiles in-fours" } else { "tiles" };
    let tiles: String = tiles.iter().map(tile).collect();
    format!("<section aria-label=\"key figures\">{note}<dl class=\"{class}\">\n{tiles}</dl></section>\n")
}

/// An order over all floats, for the best of several.
mod ordered {
    /// A float that is ordered as `f64::total_cmp` says.
    #[derive(PartialEq)]
    pub(super) struct Total(pub(super) f64);

    impl Eq for Total {}
    impl PartialOrd for Total {
        fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
            Some(self.cmp(other))
        }
    }
    impl Ord for Total {
        fn cmp(&self, other: &Self) -> std::cmp::Ordering {
            self.0.total_cmp(&other.0)
        }
    }
}

/// What a person should read.
pub(crate) fn warnings(report: &Report) -> String {
    let lines: String = report.further_warnings().map(|warning| text("li", "", warning)).collect();
    if lines.is_empty() {
        return String::new();
    }
    format!("<section class=\"warnings\"><h2>Warnings</h2><ul>{lines}</ul></section>\n")
}

/// Throughput against latency over all trials; of open loops on the clock of their schedule.
pub(crate) fn sweep(trials: &[TrialReport]) -> String {
    // A search has a picture of its own.
    let trials: Vec<TrialReport> = trials.iter().filter(|trial| trial.probe.is_none()).cloned().collect();
    let trials = trials.as_slice();
    let ttft = |trial: &TrialReport| {
        let Latencies { ttft_seconds, ttft_scheduled_seconds, .. } = &trial.latency;
        let of_user = if trial.load.is_open() { ttft_scheduled_seconds } else { ttft_seconds };
        of_user.as_ref()?.shown(Percentile::P99)
    };
    let answer = |trial: &TrialReport| {
        let Latencies { e2el_seconds, e2el_scheduled_seconds, .. } = &trial.latency;
        let of_user = if trial.load.is_open() { e2el_scheduled_seconds } else { e2el_seconds };
        of_user.as_ref()?.shown(Percentile::P50)
    };
    let is_any_open = trials.iter().any(|trial| trial.load.is_open());
    let clock = if is_any_open { ", from when it was due" } else { "" };
    let charts = [
        sweepchart::draw(trials, &format!("Time to first token, 99th percentile{clock}"), ttft),
        sweepchart::draw(trials, &format!("Whole answer, median{clock}"), answer),
    ]
    .concat();
    if charts.is_empty() {
        return String::new();
    }
    let names: Vec<&str> = trials.first().map(|trial| trial.parameters.keys().map(String::as_str).collect()).unwrap_or_default();
    let names = if names.is_empty() { "trial".to_owned() } else { names.join(" · ") };
    format!(
        "<section><h2>What it carries</h2><p class=\"note\">Each point is a trial, labelled with {}. To the right is more, down is faster. \
         A circle is VALID, a triangle SUSPECT, a cross INVALID. Trials with too few samples for a figure are left out of it.</p><div class=\"charts\">{charts}</div></section>\n",
        text("b", "", &names)
    )
}

/// All trials side by side, and what must be said beside them.
pub(crate) fn trial_table(report: &Report) -> String {
    let trials = &report.trials;
    if trials.is_empty() {
        return String::new();
    }
    let has_due = trials.iter().any(|trial| trial.load.is_open());
    let has_goodput = trials.iter().any(|trial| trial.throughput.goodput_requests_per_second.is_some());
    let only = |is_there: bool, head: &'static str| if is_there { vec![head] } else { Vec::new() };
    let heads = [
        vec!["Trial", "Verdict", "Load", "Requests /s", "Output tokens/s", "TTFT p50", "TTFT p99"],
        only(has_due, "TTFT p99 from due"),
        vec!["TPOT p50", "Answer p50", "Answer p99"],
        only(has_due, "Answer p99 from due"),
        vec!["Completed of due"],
        only(has_goodput, "Goodput /s"),
    ];
    let rows = trials.iter().enumerate().map(|(number, trial)| {
        let (rates, latency) = (&trial.throughput, &trial.latency);
        let from_due = |distribution: &Option<Distribution>| match has_due {
            true => vec![percentile(distribution.as_ref().filter(|_| trial.load.is_open()), Percentile::P99)],
            false => Vec::new(),
        };
        let goodput = rates.goodput_requests_per_second.map(|goodput| sortable(goodput, &figures::three_digits(goodput)));
        let verdict = if trial.is_unmeasured() { "not measured".to_owned() } else { badge(trial.verdict.status) };
        let output = rates.output_tokens_per_second.map(|rate| sortable(rate, &figures::three_digits(rate)));
        let output = output.unwrap_or_else(|| "–".to_owned());
        let completed = format!("{} of {}", figures::count(trial.accounting.completed), figures::count(trial.accounting.due));
        [
            vec![
                element("a", &format!("href=\"#trial-{number}\""), escape(trial.id.as_str())),
                sortable(f64::from(trial.verdict.status as u8), &verdict),
                escape(&trial.load.label()),
                sortable(rates.requests_per_second, &figures::three_digits(rates.requests_per_second)),
                output,
                percentile(latency.ttft_seconds.as_ref(), Percentile::P50),
                percentile(latency.ttft_seconds.as_ref(), Percentile::P99),
            ],
            from_due(&latency.ttft_scheduled_seconds),
            vec![
                percentile(latency.tpot_seconds.as_ref(), Percentile::P50),
                percentile(latency.e2el_seconds.as_ref(), Percentile::P50),
                percentile(latency.e2el_seconds.as_ref(), Percentile::P99),
            ],
            from_due(&latency.e2el_scheduled_seconds),
            vec![sortable(trial.accounting.completed as f64, &completed)],
            if has_goodput { vec![goodput.unwrap_or_else(|| "–".to_owned())] } else { Vec::new() },
        ]
        .concat()
    });
    let remarks: String = report.remarks().iter().map(|remark| text("p", "class=\"remark\"", remark)).collect();
    format!(
        "<section><h2>Trials</h2>{}{remarks}{}</section>\n",
        table("numbers sort trials", &heads.concat(), rows),
        repeated(report)
    )
}

/// What repetitions of the same parameters say together.
fn repeated(report: &Report) -> String {
    if report.repeated.is_empty() {
        return String::new();
    }
    let rows = report.repeated.iter().flat_map(|point| point.rows());
    let rows = rows.map(|row| row.iter().map(|cell| escape(cell)).collect());
    format!("<h3>Over repetitions</h3>{}", table("numbers repeated", &REPEATED_HEADS, rows))
}

/// A percentile as a cell, or that too few samples allow it.
fn percentile(distribution: Option<&Distribution>, percentile: Percentile) -> String {
    let Some(distribution) = distribution else { return "–".to_owned() };
    match distribution.shown(percentile) {
        Some(seconds) => {
            let all = distribution.adjusted_beside(percentile).map(|all| format!("<small>of all due {all}</small>"));
            sortable(seconds, &(figures::latency(seconds) + &all.unwrap_or_default()))
        }
        None => super::too_few(),
    }
}

/// A cell that the page's script can sort by its value. The content is markup.
fn sortable(value: f64, content: &str) -> String {
    // What was not measured sorts below everything that was.
    let value = if value.is_finite() { value } else { -1.0 };
    format!("<span data-value=\"{value}\">{content}</span>")
}

/// Phases and builds of the run.
pub(crate) fn run_facts(run: &RunSummary) -> String {
    let mut rows: Vec<Vec<String>> = vec![
        vec!["Run".to_owned(), escape(&run.id)],
        vec!["Started".to_owned(), escape(&run.started_at)],
        vec!["Ended".to_owned(), escape(&run.ended_at)],
        vec!["hbnode".to_owned(), escape(&run.hbnode_version)],
        vec!["Trials planned".to_owned(), figures::count(u64::from(run.trials_planned))],
    ];
    rows.extend(
        run.phase_seconds.iter().map(|(phase, seconds)| vec![escape(&phase.replace('_', " ")), figures::seconds(*seconds)]),
    );
    if run.parts.len() > 1 {
        let part = |(index, part): (usize, &RunPart)| vec![format!("Part {}", index + 1), escape(&part.sentence())];
        rows.extend(run.parts.iter().enumerate().map(part));
    }
    format!("<section><h2>Run</h2>{}</section>\n", table("facts", &["Fact", "Value"], rows))
}

/// A table of named values.
pub(crate) fn facts<'a>(title: &str, values: impl IntoIterator<Item = (&'a String, &'a serde_json::Value)>) -> String {
    let rows: Vec<Vec<String>> = values.into_iter().map(|(name, value)| vec![escape(name), escape(&plain(value))]).collect();
    if rows.is_empty() { String::new() } else { format!("<h3>{title}</h3>{}", table("facts", &["Name", "Value"], rows)) }
}

/// Where the figures come from.
pub(crate) fn footer(report: &Report) -> String {
    format!(
        "<footer>Written by {} · report format {} · the same figures stand in <code>report.json</code></footer>\n",
        escape(if report.run.hbnode_version.is_empty() { "hbnode" } else { &report.run.hbnode_version }),
        escape(&report.schema_version)
    )
}
