//! Latencies as a table: percentiles, how sure they are, and from which clock they count.

use hb_core::report::{Distribution, Percentile, TrialReport};

use super::{
    figures,
    markup::{escape, table},
    too_few,
};

/// Percentiles of everything that was measured.
pub(crate) fn section(trial: &TrialReport) -> String {
    let all = &trial.latency;
    let measured = [
        ("ttft_seconds", "Time to first token", "from sending", &all.ttft_seconds),
        ("ttft_scheduled_seconds", "Time to first token", "from when it was due", &all.ttft_scheduled_seconds),
        ("ttfot_seconds", "Time to first output", "from sending, behind reasoning", &all.ttfot_seconds),
        ("e2el_seconds", "Whole answer", "from sending", &all.e2el_seconds),
        ("e2el_scheduled_seconds", "Whole answer", "from when it was due", &all.e2el_scheduled_seconds),
        ("tpot_seconds", "Time per token", "after the first", &all.tpot_seconds),
        ("itl_seconds", "Gap between tokens", "every token", &all.itl_seconds),
        ("icl_seconds", "Gap between events", "as they arrived", &all.icl_seconds),
        ("dispatch_delay_seconds", "Sending delay", "due to sent", &all.dispatch_delay_seconds),
        ("queue_delay_seconds", "Sending delay", "due until max_in_flight let it go", &all.queue_delay_seconds),
        ("client_delay_seconds", "Sending delay", "from then to sent: the client's own", &all.client_delay_seconds),
        ("connect_seconds", "Connect time", "of requests that opened a connection", &all.connect_seconds),
    ];
    let rows: Vec<Vec<String>> = measured
        .into_iter()
        .filter_map(|(key, name, clock, distribution)| {
            let distribution = distribution.as_ref()?;
            let source = source_of(trial, key);
            Some(row(name, clock, distribution, source))
        })
        .collect();
    if rows.is_empty() {
        return "<h3>Latency</h3><p class=\"none\">No latency was measured.</p>\n".to_owned();
    }
    let head = ["Latency", "Mean", "p50", "p90", "p95", "p99", "p99.9", "Max", "Samples", "From"];
    format!(
        "<h3>Latency</h3>\n{}<p class=\"note\">Below p50, p90, p95 and p99: the 95 % confidence interval, and the percentile of all requests that were due where it differs, those that did not complete counted as endlessly late. Where too few samples allow one, the percentile is left out, too.</p>\n",
        table("numbers latency", &head, rows)
    )
}

/// Where the percentiles come from, whether the key is written with its unit or without.
fn source_of<'a>(trial: &'a TrialReport, key: &str) -> &'a str {
    let sources = &trial.percentile_source;
    sources.get(key).or_else(|| sources.get(key.trim_end_matches("_seconds"))).map_or("–", String::as_str)
}

fn row(name: &str, clock: &str, distribution: &Distribution, source: &str) -> Vec<String> {
    // What was read together, or sent at once, is nothing apart; every other latency takes some time.
    let may_be_zero = matches!(name, "Time per token" | "Gap between tokens" | "Gap between events" | "Sending delay");
    let shown = if may_be_zero { figures::seconds } else { figures::latency };
    let sure = |percentile: Percentile| match (distribution.shown(percentile), distribution.ci.get(percentile.key())) {
        (None, _) => too_few(),
        (Some(value), interval) => {
            let interval = interval.map(|[low, high]| format!("<small>{} – {}</small>", shown(*low), shown(*high)));
            let all = distribution.adjusted_beside(percentile).map(|all| format!("<small>of all due {all}</small>"));
            format!("{}{}{}", shown(value), interval.unwrap_or_default(), all.unwrap_or_default())
        }
    };
    vec![
        format!("{name}<small>{clock}</small>"),
        shown(distribution.mean),
        sure(Percentile::P50),
        sure(Percentile::P90),
        sure(Percentile::P95),
        sure(Percentile::P99),
        sure(Percentile::P99_9),
        shown(distribution.max),
        figures::count(distribution.count),
        escape(source),
    ]
}
