//! One trial: its verdict, its sum, its latencies, its course.

use hb_core::{
    report::{SERVER_HEADS, SLICE_HEADS, STAGE_HEADS, StageFigures, TrialReport},
    units::plural,
};

use super::{
    accounting, badge, figures, latency,
    markup::{escape, table},
    nodes, overview, timeline, verdict,
};

/// The trial's section; folded where many share the page.
pub(crate) fn section(trial: &TrialReport, number: usize, trials: usize) -> String {
    let open = if number == 0 || trials <= 3 { " open" } else { "" };
    let unfinished = if trial.complete { "" } else { " <span class=\"unbalanced\">not completed</span>" };
    format!(
        "<details class=\"trial\" id=\"trial-{number}\"{open}><summary><h2>{}</h2> {}{unfinished}</summary>\n{}{}{}{}{}{}{}</details>\n",
        escape(trial.id.as_str()),
        badge(trial.verdict.status),
        verdict::reasons(&trial.verdict),
        overview::facts("Parameters", &trial.parameters),
        accounting::section(&trial.accounting, &trial.other_accounting),
        rates(trial),
        latency::section(trial),
        timeline::section(trial, trials),
        nodes::section(trial),
    )
}

/// What was asked for, what was sent and what came back.
fn rates(trial: &TrialReport) -> String {
    let (load, rates, tokens) = (&trial.load, &trial.throughput, &trial.tokens);
    let per_second = |value: f64| format!("{} /s", figures::three_digits(value));
    let mut rows = vec![vec!["Measured window".to_owned(), figures::seconds(trial.window.seconds)]];
    if let Some(steady) = &trial.steady {
        let tokens = per_second(steady.output_tokens_per_second);
        rows.push(vec!["Steady part of it".to_owned(), format!("{}, {tokens} output tokens", figures::seconds(steady.seconds))]);
    }
    if let Some(certainty) = &trial.certainty {
        rows.push(vec!["Ends when sure".to_owned(), escape(&certainty.to_string())]);
    }
    if load.stages.is_empty() {
        rows.extend(load.requested_rate.map(|rate| vec!["Requests asked for".to_owned(), per_second(rate)]));
    } else {
        rows.push(vec!["Load asked for".to_owned(), escape(&load.label())]);
    }
    rows.extend(load.together.map(|together| vec!["Sent at a time".to_owned(), plural(u64::from(together.get()), "request")]));
    rows.push(vec!["Requests sent".to_owned(), per_second(load.achieved_rate)]);
    rows.push(vec!["Requests completed".to_owned(), per_second(rates.requests_per_second)]);
    if let Some(goodput) = rates.goodput_requests_per_second {
        rows.push(vec!["Goodput: all limits met".to_owned(), per_second(goodput)]);
    }
    if trial.slo_limits.is_empty() {
        rows.extend(trial.slo.iter().map(|(limit, share)| vec![format!("Met {}", escape(limit)), figures::percent(*share)]));
    }
    rows.extend(rates.tps_user_p50.map(|rate| vec!["Tokens of one answer, median".to_owned(), per_second(rate)]));
    if let (Some(concurrency), true) = (load.requested_concurrency, load.stages.is_empty()) {
        rows.push(vec!["Concurrency asked for".to_owned(), figures::count(u64::from(concurrency))]);
    }
    let flight = format!(
        "{} mean, {} at most",
        figures::three_digits(load.concurrency_mean),
        figures::count(load.concurrency_peak.into())
    );
    rows.push(vec!["In flight".to_owned(), flight]);
    rows.push(vec!["Output tokens".to_owned(), rates.output_tokens_per_second.map_or("–".to_owned(), per_second)]);
    rows.push(vec!["Input and output tokens".to_owned(), rates.total_tokens_per_second.map_or("–".to_owned(), per_second)]);
    let asked = |served: u64, asked: u64| match asked {
        0 => figures::count(served),
        _ => format!(
            "{} of {} asked for ({})",
            figures::count(served),
            figures::count(asked),
            figures::percent(served as f64 / asked as f64)
        ),
    };
    rows.push(vec![
        "Output tokens, all".to_owned(),
        tokens.output.map_or("– (nobody counted)".to_owned(), |output| asked(output, tokens.requested_output)),
    ]);
    rows.push(vec![
        "Input tokens, all".to_owned(),
        tokens.input.map_or("– (nobody counted)".to_owned(), |input| asked(input, tokens.requested_input)),
    ]);
    if let Some(cached) = tokens.cached {
        rows.push(vec!["Input tokens from the server's cache".to_owned(), figures::count(cached)]);
    }
    if tokens.stopped_early > 0 {
        rows.push(vec!["Answers that ended by themselves".to_owned(), figures::count(tokens.stopped_early)]);
    }
    if let Some(source) = &tokens.source {
        rows.push(vec!["Tokens counted by".to_owned(), escape(source)]);
    }
    format!(
        "<h3>Load and throughput</h3>{}{}{}{}",
        slo(trial),
        table("facts", &["Figure", "Value"], rows),
        stages(&load.stages),
        servers(trial)
    )
}

/// What became of each limit.
fn slo(trial: &TrialReport) -> String {
    let lines = if trial.slo_limits.is_empty() { Vec::new() } else { trial.slo_lines() };
    let items: String = lines.iter().map(|line| format!("<li>{}</li>", escape(line))).collect();
    if items.is_empty() { items } else { format!("<ul class=\"slo\">{items}</ul>\n") }
}

/// What each of several servers did.
fn servers(trial: &TrialReport) -> String {
    if trial.servers.is_empty() {
        return String::new();
    }
    let heads: Vec<&str> = SERVER_HEADS.into_iter().chain(SLICE_HEADS).collect();
    let rows = trial.servers.iter().map(|server| server.cells().iter().map(|cell| escape(cell)).collect());
    format!("<h4>By server</h4>{}", table("numbers servers", &heads, rows))
}

/// What was asked for and what was there in each stage of a load that changes.
fn stages(stages: &[StageFigures]) -> String {
    if stages.is_empty() {
        return String::new();
    }
    let row = |stage: &StageFigures| {
        let peak = figures::count(stage.concurrency_peak.into());
        stage.cells().into_iter().chain([peak]).map(|cell| escape(&cell)).collect()
    };
    let heads = STAGE_HEADS.into_iter().chain(SLICE_HEADS).chain(["in flight, at most"]);
    format!("<h4>Stages</h4>{}", table("numbers stages", &heads.collect::<Vec<_>>(), stages.iter().map(row)))
}
