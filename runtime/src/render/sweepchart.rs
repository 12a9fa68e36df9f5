//! All trials of a run in one picture: what they carried, and at what latency.

use std::fmt::Write;

use hb_core::{report::TrialReport, verdict::Status};

use super::{
    figures, ground,
    markup::escape,
    scale::{Linear, ticks},
    trial_label,
};

const SIZE: (f64, f64) = (600.0, 320.0);
const ROOM: (f64, f64, f64, f64) = (76.0, 20.0, 34.0, 48.0);

/// A trial as a point.
struct Point {
    x: f64,
    y: f64,
    status: Status,
    label: String,
    full: String,
}

/// Answer tokens per second against a latency of each trial; empty with fewer than two points.
pub(crate) fn draw(trials: &[TrialReport], title: &str, latency: impl Fn(&TrialReport) -> Option<f64>) -> String {
    let point = |trial: &TrialReport| {
        let (x, y) = (trial.throughput.output_tokens_per_second?, latency(trial)?);
        let full = format!("{}: {} tokens/s, {}", trial.id, figures::three_digits(x), figures::seconds(y));
        let usable = x.is_finite() && y.is_finite();
        usable.then(|| Point { x, y, status: trial.verdict.status, label: trial_label(trial), full })
    };
    let points: Vec<Point> = trials.iter().filter_map(point).collect();
    if points.len() < 2 {
        return String::new();
    }
    let columns = ticks(0.0, points.iter().map(|point| point.x).fold(0.0, f64::max), 5);
    let levels = ticks(0.0, points.iter().map(|point| point.y).fold(0.0, f64::max), 4);
    let across = Linear { values: (0.0, columns.last().copied().unwrap_or(1.0)), places: (ROOM.0, SIZE.0 - ROOM.2) };
    let up = Linear { values: (0.0, levels.last().copied().unwrap_or(1.0)), places: (SIZE.1 - ROOM.3, ROOM.1) };
    let mut svg =
        format!("<svg viewBox=\"0 0 {} {}\" role=\"img\" aria-label=\"{}\">\n", SIZE.0, SIZE.1, escape(&spoken(title, &points)));
    let columns: Vec<(f64, String)> = columns.iter().map(|column| (across.at(*column), figures::three_digits(*column))).collect();
    let levels: Vec<(f64, String)> = levels.iter().map(|level| (up.at(*level), figures::seconds(*level))).collect();
    ground::draw(&mut svg, across, up, &columns, &levels);
    if is_one_line(trials) {
        let line = super::scale::path(points.iter().map(|point| Some((across.at(point.x), up.at(point.y)))));
        let _ = writeln!(svg, "<path class=\"join\" d=\"{line}\"/>");
    }
    draw_points(&mut svg, across, up, &points);
    svg.push_str("</svg>");
    format!(
        "<figure class=\"chart\"><figcaption><b>{}</b> <span class=\"unit\">against answer tokens per second</span></figcaption>\n{svg}\n</figure>\n",
        escape(title)
    )
}

/// Whether the trials differ in one thing only, so that a line from each to the next means something.
fn is_one_line(trials: &[TrialReport]) -> bool {
    trials.iter().all(|trial| trial.parameters.len() == 1 && trial.repetition <= 1)
}

fn spoken(title: &str, points: &[Point]) -> String {
    let all: Vec<&str> = points.iter().map(|point| point.full.as_str()).collect();
    format!("{title} of each trial. {}", all.join("; "))
}

/// Points by shape, so that colour is not needed; a label where it does not cover another.
fn draw_points(svg: &mut String, across: Linear, up: Linear, points: &[Point]) {
    let mut taken: Vec<(f64, f64, f64)> = Vec::new();
    for point in points {
        let (x, y) = (across.at(point.x), up.at(point.y));
        let shape = match point.status {
            Status::Valid => format!("<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"5\"/>"),
            Status::Suspect => format!("<path d=\"M{x:.1} {:.1}l6 10h-12z\"/>", y - 6.0),
            Status::Invalid => format!("<path d=\"M{:.1} {:.1}l10 10m0 -10l-10 10\"/>", x - 5.0, y - 5.0),
        };
        let class = super::status_class(point.status);
        let _ = writeln!(svg, "<g class=\"point {class}\">{shape}<title>{}</title></g>", escape(&point.full));
        let width = point.label.chars().count() as f64 * 7.5;
        let is_free = |place: (f64, f64)| {
            let apart =
                |other: &(f64, f64, f64)| (other.0 - place.0).abs() > (other.2 + width) / 2.0 || (other.1 - place.1).abs() > 13.0;
            taken.iter().all(apart)
                && points.iter().all(|other| {
                    let (dx, dy) = (across.at(other.x) - place.0, up.at(other.y) - place.1 + 4.0);
                    dx.abs() > width / 2.0 + 5.0 || dy.abs() > 9.0
                })
        };
        let places = [(x, y - 11.0), (x, y + 20.0), (x + 11.0 + width / 2.0, y + 4.0), (x - 11.0 - width / 2.0, y + 4.0)];
        let inside = |place: &(f64, f64)| place.0 - width / 2.0 > across.places.0 && place.0 + width / 2.0 < SIZE.0;
        if let Some(place) = places.into_iter().filter(inside).find(|place| is_free(*place)) {
            taken.push((place.0, place.1, width));
            let _ =
                writeln!(svg, "<text class=\"label\" x=\"{:.1}\" y=\"{:.1}\">{}</text>", place.0, place.1, escape(&point.label));
        }
    }
}
