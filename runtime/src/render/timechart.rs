//! A chart of a trial's seconds: lines with their names at their ends, the measured window, what happened.

use std::fmt::Write;

use serde_json::json;

use super::{
    markup::escape,
    scale::{Linear, clock, path, ticks, time_ticks},
};

/// The drawing's size; it is scaled to its place on the page.
const SIZE: (f64, f64) = (600.0, 250.0);
/// Room left of, above, right of and below the plot.
const ROOM: (f64, f64, f64, f64) = (70.0, 14.0, 16.0, 30.0);

/// One line of a chart.
pub(crate) struct Series<'a> {
    /// What it is called.
    pub(crate) name: &'a str,
    /// Its colour's class: `c1`, `c2`, `c3`.
    pub(crate) class: &'a str,
    /// A value for each point in time; `None` where nothing was measured.
    pub(crate) values: Vec<Option<f64>>,
    /// Whether the ground under it is tinted.
    pub(crate) is_filled: bool,
}

/// A chart over time.
pub(crate) struct TimeChart<'a> {
    /// What it shows.
    pub(crate) title: &'a str,
    /// In what unit, as a person says it.
    pub(crate) unit: &'a str,
    /// How a value is written.
    pub(crate) format: fn(f64) -> String,
    /// Seconds since the trial's start, of each point.
    pub(crate) times: &'a [f64],
    /// The measured window.
    pub(crate) window: (f64, f64),
    /// What happened: when, and its number in the list below the charts.
    pub(crate) marks: &'a [(f64, usize)],
    /// The lines, the most important one last (it is drawn on top).
    pub(crate) series: Vec<Series<'a>>,
}

impl TimeChart<'_> {
    /// The figure, with its heading and legend.
    pub(crate) fn draw(&self) -> String {
        let values = || self.series.iter().flat_map(|series| series.values.iter().copied().flatten());
        let title = escape(self.title);
        if values().next().is_none() {
            return format!(
                "<figure class=\"chart\"><figcaption><b>{title}</b></figcaption><p class=\"none\">Nothing was measured.</p></figure>\n"
            );
        }
        let end = self.times.last().copied().unwrap_or(0.0).max(self.window.1).max(1.0);
        let across = Linear { values: (0.0, end), places: (ROOM.0, SIZE.0 - ROOM.2) };
        let levels = ticks(0.0, values().fold(0.0, f64::max), 4);
        let top = levels.last().copied().unwrap_or(1.0);
        let up = Linear { values: (0.0, top), places: (SIZE.1 - ROOM.3, ROOM.1) };
        let mut svg = format!(
            "<svg viewBox=\"0 0 {} {}\" role=\"img\" aria-label=\"{}\" data-chart=\"{}\">\n",
            SIZE.0,
            SIZE.1,
            escape(&self.spoken()),
            escape(&self.read_out(across, up))
        );
        self.draw_ground(&mut svg, across, up, end, &levels);
        for series in &self.series {
            draw_series(&mut svg, series, self.times, across, up);
        }
        svg.push_str("</svg>");
        format!(
            "<figure class=\"chart\"><figcaption><b>{title}</b> <span class=\"unit\">{}</span>{}</figcaption>\n{svg}\n</figure>\n",
            escape(self.unit),
            self.legend()
        )
    }

    /// Grid, axes, warm-up and drain in grey, events.
    fn draw_ground(&self, svg: &mut String, across: Linear, up: Linear, end: f64, levels: &[f64]) {
        let (left, right, above, below) = (across.places.0, across.places.1, up.places.1, up.places.0);
        let (start, stop) = (across.at(self.window.0.clamp(0.0, end)), across.at(self.window.1.clamp(0.0, end)));
        for (from, to, why) in [(left, start, "warm-up: not measured"), (stop, right, "drain: not measured")] {
            if to - from > 0.5 {
                let _ = writeln!(
                    svg,
                    "<rect class=\"aside\" x=\"{from:.1}\" y=\"{above}\" width=\"{:.1}\" height=\"{:.1}\"><title>{why}</title></rect>",
                    to - from,
                    below - above
                );
            }
        }
        for level in levels {
            let (y, label) = (up.at(*level), (self.format)(*level));
            let class = if *level == 0.0 { "axis" } else { "grid" };
            let _ = writeln!(svg, "<path class=\"{class}\" d=\"M{left} {y:.1}H{right}\"/>");
            let _ = writeln!(svg, "<text class=\"y\" x=\"{:.1}\" y=\"{:.1}\">{}</text>", left - 8.0, y + 4.0, escape(&label));
        }
        for tick in time_ticks(end, 6) {
            let x = across.at(tick);
            let _ = writeln!(svg, "<path class=\"axis\" d=\"M{x:.1} {below}v4\"/>");
            let _ = writeln!(svg, "<text class=\"x\" x=\"{x:.1}\" y=\"{:.1}\">{}</text>", below + 20.0, clock(tick, end));
        }
        for (at, number) in self.marks {
            let x = across.at(at.clamp(0.0, end));
            let _ = writeln!(svg, "<path class=\"event\" d=\"M{x:.1} {above}V{below}\"/>");
            let _ = writeln!(svg, "<text class=\"event\" x=\"{:.1}\" y=\"{:.1}\">{number}</text>", x + 4.0, above + 10.0);
        }
    }

    fn legend(&self) -> String {
        if self.series.len() < 2 {
            return String::new();
        }
        let key = |series: &Series<'_>| format!("<span class=\"key {}\">{}</span>", series.class, escape(series.name));
        format!("<span class=\"legend\">{}</span>", self.series.iter().rev().map(key).collect::<String>())
    }

    /// The chart in a sentence, for those who do not see it.
    fn spoken(&self) -> String {
        let largest = |series: &Series<'_>| {
            let largest = series.values.iter().copied().flatten().fold(0.0, f64::max);
            format!("{} at most {}", series.name, (self.format)(largest))
        };
        let lines: Vec<String> = self.series.iter().map(largest).collect();
        format!("{} over time: {}", self.title, lines.join(", "))
    }

    /// What the page's script needs to show the values under the pointer.
    fn read_out(&self, across: Linear, up: Linear) -> String {
        let series: Vec<_> = self
            .series
            .iter()
            .rev()
            .map(|series| {
                let values: Vec<_> = series.values.iter().map(|value| value.map(self.format)).collect();
                json!({ "name": series.name, "class": series.class, "values": values })
            })
            .collect();
        json!({ "times": self.times, "end": across.values.1, "x": across.places, "y": up.places, "series": series }).to_string()
    }
}

fn draw_series(svg: &mut String, series: &Series<'_>, times: &[f64], across: Linear, up: Linear) {
    let points = || times.iter().zip(&series.values).map(|(time, value)| value.map(|value| (across.at(*time), up.at(value))));
    if series.is_filled {
        let known: Vec<(f64, f64)> = points().flatten().collect();
        if let (Some(first), Some(last)) = (known.first(), known.last()) {
            let line = path(known.iter().copied().map(Some));
            let floor = up.places.0;
            let _ = writeln!(
                svg,
                "<path class=\"fill {}\" d=\"{line}L{:.1} {floor}L{:.1} {floor}Z\"/>",
                series.class, last.0, first.0
            );
        }
    }
    let _ = writeln!(svg, "<path class=\"line {}\" d=\"{}\"/>", series.class, path(points()));
}
