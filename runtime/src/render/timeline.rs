//! A trial's seconds as charts, thinned so that a long run stays a small page.

use hb_core::report::{Second, TrialReport};

use super::{
    figures,
    markup::escape,
    timechart::{Series, TimeChart},
};

/// No chart of a page with few trials has more points.
const POINTS: usize = 600;

/// The charts of a trial, and what happened in it; `trials` is how many share the page.
pub(crate) fn section(trial: &TrialReport, trials: usize) -> String {
    if trial.timeline.is_empty() {
        return String::new();
    }
    let limit = (POINTS * 4 / trials.max(1)).clamp(120, POINTS);
    let (seconds, step) = thin(&trial.timeline, limit);
    let times: Vec<f64> = seconds.iter().map(|second| f64::from(second.at) + step as f64 / 2.0).collect();
    let marks: Vec<(f64, usize)> = trial.events.iter().enumerate().map(|(place, event)| (event.at_seconds, place + 1)).collect();
    let chart = |title, unit, format, series| TimeChart {
        title,
        unit,
        format,
        times: &times,
        window: (trial.window.start, trial.window.end),
        marks: &marks,
        series,
    };
    let of = |name, class, is_filled, get: fn(&Second) -> Option<f64>| Series {
        name,
        class,
        values: seconds.iter().map(get).collect(),
        is_filled,
    };
    let charts = [
        chart("Output", "tokens per second", figures::three_digits, vec![of("output", "c1", true, |s| Some(s.output_tokens))]),
        chart(
            "Requests",
            "per second",
            figures::three_digits,
            vec![
                of("not completed", "c2", false, |s| Some(s.failed as f64)),
                of("sent", "c3", false, |s| Some(s.sent as f64)),
                of("completed", "c1", false, |s| Some(s.completed as f64)),
            ],
        ),
        chart(
            "Time to first token",
            "by the second in which it came",
            figures::seconds,
            vec![of("p99", "c2", false, |s| s.ttft_p99), of("p50", "c1", false, |s| s.ttft_p50)],
        ),
        chart(
            "Whole answer",
            "by the second in which it ended",
            figures::seconds,
            vec![of("p99", "c2", false, |s| s.e2el_p99), of("p50", "c1", false, |s| s.e2el_p50)],
        ),
        chart("In flight", "requests", figures::three_digits, vec![of("in flight", "c3", true, |s| Some(s.in_flight))]),
    ];
    let note = match step {
        1 => "Grey: warm-up and drain, not measured.".to_owned(),
        step => format!(
            "Grey: warm-up and drain, not measured. A point is {step} s: rates are means, p50 the middle one, p99 the worst."
        ),
    };
    let drawn: String = charts.iter().map(TimeChart::draw).collect();
    format!("<h3>Over time</h3><p class=\"note\">{note}</p>\n<div class=\"charts\">\n{drawn}</div>\n{}", events(trial))
}

fn events(trial: &TrialReport) -> String {
    if trial.events.is_empty() {
        return String::new();
    }
    let line = |event: &hb_core::report::TimedEvent| {
        format!(
            "<li><span class=\"figure\">{} s</span> <b>{}</b> {}</li>",
            figures::three_digits(event.at_seconds),
            escape(&event.what.replace('_', " ")),
            escape(&event.message)
        )
    };
    format!("<h4>What happened</h4><ol class=\"events\">{}</ol>\n", trial.events.iter().map(line).collect::<String>())
}

/// At most `limit` points, each of as many seconds as it takes; the step is returned too.
fn thin(timeline: &[Second], limit: usize) -> (Vec<Second>, usize) {
    let step = timeline.len().div_ceil(limit.max(1)).max(1);
    if step == 1 {
        return (timeline.to_vec(), 1);
    }
    (timeline.chunks(step).map(merged).collect(), step)
}

fn merged(seconds: &[Second]) -> Second {
    let many = seconds.len() as f64;
    let sum = |get: fn(&Second) -> f64| seconds.iter().map(get).sum::<f64>() / many;
    let worst = |get: fn(&Second) -> Option<f64>| seconds.iter().filter_map(get).reduce(f64::max);
    let middle = |get: fn(&Second) -> Option<f64>| {
        let mut values: Vec<f64> = seconds.iter().filter_map(get).collect();
        values.sort_by(f64::total_cmp);
        values.get(values.len() / 2).copied()
    };
    Second {
        at: seconds.first().map_or(0, |second| second.at),
        sent: sum(|s| s.sent as f64).round() as u64,
        completed: sum(|s| s.completed as f64).round() as u64,
        failed: sum(|s| s.failed as f64).ceil() as u64,
        output_tokens: sum(|s| s.output_tokens),
        in_flight: sum(|s| s.in_flight),
        ttft_p50: middle(|s| s.ttft_p50),
        ttft_p99: worst(|s| s.ttft_p99),
        e2el_p50: middle(|s| s.e2el_p50),
        e2el_p99: worst(|s| s.e2el_p99),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_run_is_thinned_and_its_worst_second_stays() {
        let second =
            |at| Second { at, output_tokens: 10.0, ttft_p99: Some(if at == 777 { 9.0 } else { 1.0 }), ..Second::default() };
        let timeline: Vec<Second> = (0..7200).map(second).collect();
        let (points, step) = thin(&timeline, 600);
        assert_eq!((points.len(), step), (600, 12));
        assert_eq!(points.iter().filter(|point| point.ttft_p99 == Some(9.0)).count(), 1);
        assert!(points.iter().all(|point| (point.output_tokens - 10.0).abs() < 1e-9));
    }
}
