//! A search: its answer, how each figure of the SLO goes with the load, and its probes.

use std::fmt::Write;

use hb_core::{
    report::Report,
    search::{Probe, ProbeOutcome, SearchReport, SearchTarget},
};

use super::{
    figures, ground,
    markup::{element, escape, table, text},
    plain,
    scale::{Linear, ticks},
};

const SIZE: (f64, f64) = (600.0, 280.0);
const ROOM: (f64, f64, f64, f64) = (76.0, 20.0, 34.0, 48.0);
/// A figure that lies so many times above its limit is drawn at the upper edge: the rest would be flat.
const MOST_OVER_LIMIT: f64 = 3.0;
/// Labels below the chart.
const MOST_COLUMNS: usize = 9;

/// Every search of the run.
pub(crate) fn sections(report: &Report) -> String {
    report.searches.iter().map(|search| section(report, search)).collect()
}

fn section(report: &Report, search: &SearchReport) -> String {
    let parameters: Vec<String> = search.parameters.iter().map(|(name, value)| format!("{name} {}", plain(value))).collect();
    let of = if report.searches.len() > 1 || !parameters.is_empty() { format!(" of {}", search.id) } else { String::new() };
    format!(
        "<section class=\"search\">{}<p class=\"answer\">{}</p><p class=\"note\">Searched: {}.</p><div class=\"charts\">{}</div>{}</section>\n",
        text("h2", "", &format!("Capacity{of}")),
        escape(&search.sentence),
        escape(&search.spec.to_string()),
        charts(search),
        probes(report, search)
    )
}

/// The word for what a probe came to.
pub(crate) fn outcome(outcome: ProbeOutcome) -> &'static str {
    match outcome {
        ProbeOutcome::Met => "meets",
        ProbeOutcome::Missed => "misses",
        ProbeOutcome::TooFew => "too few answers",
        ProbeOutcome::Invalid => "cannot be measured",
    }
}

fn probes(report: &Report, search: &SearchReport) -> String {
    let limits: Vec<String> = search.probes.first().map(|probe| names(probe).map(escape).collect()).unwrap_or_default();
    let unit = search.spec.unit();
    let load = format!("Load, {unit}");
    let mut head = vec!["Probe", load.as_str(), "SLO"];
    head.extend(limits.iter().map(String::as_str));
    head.extend(["Goodput /s", "Why"]);
    let row = |probe: &Probe| {
        let number = report.trials.iter().position(|trial| trial.id == probe.trial);
        let link = number.map(|number| element("a", &format!("href=\"#trial-{number}\""), probe.number));
        let mut row = vec![
            link.unwrap_or_else(|| probe.number.to_string()),
            figures::three_digits(probe.load),
            format!("<span class=\"badge {}\">{}</span>", class(probe.outcome), outcome(probe.outcome)),
        ];
        row.extend(probe.limits.iter().map(|limit| match limit.value_seconds {
            Some(value) if limit.is_sure() => figures::seconds(value),
            Some(value) => format!("{} (not sure)", figures::seconds(value)),
            None => "beyond all answers".to_owned(),
        }));
        row.extend([figures::three_digits(probe.goodput_requests_per_second), escape(&probe.why)]);
        row
    };
    table("numbers", &head, search.probes.iter().map(row))
}

fn names(probe: &Probe) -> impl Iterator<Item = &str> {
    probe.limits.iter().map(|limit| limit.name.as_str())
}

fn class(outcome: ProbeOutcome) -> &'static str {
    match outcome {
        ProbeOutcome::Met => "valid",
        ProbeOutcome::Missed => "invalid",
        ProbeOutcome::TooFew | ProbeOutcome::Invalid => "suspect",
    }
}

/// A chart for each limit, or the one of the goodput.
fn charts(search: &SearchReport) -> String {
    let Some(first) = search.probes.first() else { return String::new() };
    if search.spec.maximize == SearchTarget::Goodput {
        let value = |probe: &Probe| Some(probe.goodput_requests_per_second);
        return chart(search, "Goodput", None, &value, &|value| format!("{} /s", figures::three_digits(value)));
    }
    let of = |(place, name): (usize, &str)| {
        let value = |probe: &Probe| probe.limits.get(place)?.value_seconds;
        chart(search, name, first.limits.get(place).map(|limit| limit.limit_seconds), &value, &figures::seconds)
    };
    names(first).enumerate().map(of).collect()
}

fn chart(
    search: &SearchReport,
    title: &str,
    limit: Option<f64>,
    value: &dyn Fn(&Probe) -> Option<f64>,
    shown: &dyn Fn(f64) -> String,
) -> String {
    let loads = || search.probes.iter().map(|probe| probe.load);
    let (low, high) = (loads().fold(f64::INFINITY, f64::min), loads().fold(0.0, f64::max));
    let values = search.probes.iter().filter_map(value).filter(|value| value.is_finite());
    let top = values.chain(limit.map(|limit| limit * 1.2)).fold(0.0, f64::max);
    let top = limit.map_or(top, |limit| top.min(limit * MOST_OVER_LIMIT));
    let levels = ticks(0.0, top, 4);
    // Loads lie apart by factors.
    let across = Linear { values: ((low * 0.9).ln(), (high * 1.1).ln()), places: (ROOM.0, SIZE.0 - ROOM.2) };
    let highest = levels.last().copied().unwrap_or(1.0);
    let up = Linear { values: (0.0, highest), places: (SIZE.1 - ROOM.3, ROOM.1) };
    let mut columns: Vec<f64> =
        std::iter::successors(Some(low), |load| Some(load * 2.0)).take_while(|load| *load <= high * 1.1).collect();
    let step = columns.len().div_ceil(MOST_COLUMNS).max(1);
    columns = columns.into_iter().step_by(step).collect();
    let columns: Vec<(f64, String)> = columns.iter().map(|load| (across.at(load.ln()), figures::three_digits(*load))).collect();
    let levels: Vec<(f64, String)> = levels.iter().map(|level| (up.at(*level), shown(*level))).collect();

    let mut spoken = Vec::new();
    let mut points = String::new();
    for probe in &search.probes {
        let found = value(probe);
        let told = found.map_or_else(|| "beyond all answers".to_owned(), shown);
        let full = format!("probe {}: {} at {}, {}", probe.number, told, search.load(probe.load), outcome(probe.outcome));
        let (x, y) = (across.at(probe.load.ln()), up.at(found.unwrap_or(highest).min(highest)));
        let shape = match probe.outcome {
            ProbeOutcome::Met => format!("<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"5\"/>"),
            ProbeOutcome::Missed => format!("<path d=\"M{:.1} {:.1}l10 10m0 -10l-10 10\"/>", x - 5.0, y - 5.0),
            ProbeOutcome::TooFew | ProbeOutcome::Invalid => format!("<path d=\"M{x:.1} {:.1}l6 10h-12z\"/>", y - 6.0),
        };
        let class = class(probe.outcome);
        let _ = writeln!(points, "<g class=\"point {class}\">{shape}<title>{}</title></g>", escape(&full));
        spoken.push(full);
    }
    let spoken = format!("{title} over the load. {}", spoken.join("; "));
    let mut svg = format!("<svg viewBox=\"0 0 {} {}\" role=\"img\" aria-label=\"{}\">\n", SIZE.0, SIZE.1, escape(&spoken));
    ground::draw(&mut svg, across, up, &columns, &levels);
    if let Some(limit) = limit {
        let (y, left, right) = (up.at(limit), across.places.0, across.places.1);
        let _ = writeln!(svg, "<path class=\"limit\" d=\"M{left} {y:.1}H{right}\"/>");
        let _ = writeln!(svg, "<text class=\"limit\" x=\"{:.1}\" y=\"{:.1}\">limit {}</text>", left + 6.0, y - 6.0, shown(limit));
    }
    svg.push_str(&points);
    svg.push_str("</svg>");
    let unit = search.spec.unit();
    format!(
        "<figure class=\"chart\"><figcaption><b>{}</b> <span class=\"unit\">over the load, {unit}: a circle meets the SLO, a cross \
         misses it, a triangle could not be judged; what lies far above is drawn at the edge</span></figcaption>\n{svg}\n</figure>\n",
        escape(title)
    )
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use hb_core::{
        report::{RunSummary, TrialReport},
        search::{LimitFigure, ProbeReport, SearchSpec},
        trial::Stop,
        units::Span,
    };

    use super::*;

    const HOSTILE: &str = "</title></script><script>alert(1)</script>\"onload='x'";

    /// A search over rates whose probes had these loads and figures, against a limit of half a second.
    fn searched(maximize: SearchTarget, probes: &[(f64, Option<f64>)]) -> Report {
        let spec = SearchSpec {
            maximize,
            from: 1.0,
            to: 64.0,
            precision: 0.05,
            budget: None,
            together: NonZeroU32::MIN,
            warmup: Span::ZERO,
            stop: Stop::After(Span::from_secs(10)),
        };
        let trial = |(number, (load, value)): (usize, &(f64, Option<f64>))| {
            let limit = LimitFigure {
                name: HOSTILE.into(),
                percentile: 99.0,
                limit_seconds: 0.5,
                value_seconds: *value,
                answers: 1_000,
                within: 990,
            };
            let outcome = if value.is_some_and(|value| value <= 0.5) { ProbeOutcome::Met } else { ProbeOutcome::Missed };
            let result = Probe {
                trial: format!("{HOSTILE}{number}").into(),
                number: number as u32 + 1,
                load: *load,
                outcome,
                why: HOSTILE.into(),
                limits: vec![limit],
                goodput_requests_per_second: *load,
                seconds: 11.0,
            };
            let probe = Some(ProbeReport { search: HOSTILE.into(), spec: spec.clone(), result });
            TrialReport { id: format!("{HOSTILE}{number}").into(), complete: true, probe, ..TrialReport::default() }
        };
        hb_core::report::run(RunSummary::default(), probes.iter().enumerate().map(trial).collect(), Vec::new())
    }

    #[test]
    fn a_search_shows_its_answer_each_probe_as_a_point_and_a_row_and_the_limit() {
        let probes = [(1.0, Some(0.1)), (2.0, Some(0.2)), (4.0, None), (2.828, Some(99.0)), (2.378, Some(f64::NAN))];
        let report = searched(SearchTarget::Rate, &probes);
        let page = super::super::report_html(&report);
        super::super::tests::assert_well_formed(&page);
        let section = sections(&report);
        assert_eq!(section.matches("<g class=\"point").count(), probes.len());
        assert_eq!(section.matches("<tr>").count(), probes.len() + 1);
        assert_eq!(section.matches("<path class=\"limit\"").count(), 1);
        assert!(section.contains("href=\"#trial-3\"") && !page.contains("alert(1)</script>"));
        assert!(!section.contains("NaN") && !section.contains("inf"), "{section}");
    }

    #[test]
    fn the_best_goodput_is_drawn_over_the_rate_without_a_limit() {
        let section = sections(&searched(SearchTarget::Goodput, &[(1.0, Some(0.1)), (2.0, Some(0.2))]));
        assert_eq!((section.matches("<figure").count(), section.matches("class=\"limit\"").count()), (1, 0));
    }
}
