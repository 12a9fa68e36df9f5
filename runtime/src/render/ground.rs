//! The ground that points are drawn on: both axes, lines across, labels.

use std::fmt::Write;

use super::scale::Linear;

/// Draws it; each column and level is a place and its label, and the lowest level is the axis.
pub(super) fn draw(svg: &mut String, across: Linear, up: Linear, columns: &[(f64, String)], levels: &[(f64, String)]) {
    let (left, right, below) = (across.places.0, across.places.1, up.places.0);
    for (y, label) in levels {
        let class = if (y - below).abs() < 0.01 { "axis" } else { "grid" };
        let _ = writeln!(svg, "<path class=\"{class}\" d=\"M{left} {y:.1}H{right}\"/>");
        let _ = writeln!(svg, "<text class=\"y\" x=\"{:.1}\" y=\"{:.1}\">{label}</text>", left - 8.0, y + 4.0);
    }
    for (x, label) in columns {
        let _ = writeln!(svg, "<path class=\"axis\" d=\"M{x:.1} {below}v4\"/>");
        let _ = writeln!(svg, "<text class=\"x\" x=\"{x:.1}\" y=\"{:.1}\">{label}</text>", below + 20.0);
    }
}
