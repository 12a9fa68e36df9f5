//! From values to places on a chart: round ticks, and a line through what was measured.

/// Where round ticks lie from zero (or `low`) up to and over `high`, about `wanted` of them.
pub(crate) fn ticks(low: f64, high: f64, wanted: usize) -> Vec<f64> {
    let span = if high > low { high - low } else { 1.0 };
    let rough = span / wanted.max(1) as f64;
    let power = 10_f64.powf(rough.log10().floor());
    let step = [1.0, 2.0, 2.5, 5.0, 10.0].into_iter().map(|factor| factor * power).find(|step| *step >= rough * 0.999);
    let step = step.unwrap_or(10.0 * power);
    let first = (low / step).floor() as i64;
    let last = (high / step - 1e-9).ceil().max(first as f64 + 1.0) as i64;
    (first..=last).map(|place| place as f64 * step).collect()
}

/// Where ticks of time lie: whole seconds, minutes, hours, all inside the range.
pub(crate) fn time_ticks(end: f64, wanted: usize) -> Vec<f64> {
    const STEPS: [f64; 17] =
        [1.0, 2.0, 5.0, 10.0, 15.0, 30.0, 60.0, 120.0, 300.0, 600.0, 900.0, 1800.0, 3600.0, 7200.0, 14_400.0, 28_800.0, 86_400.0];
    let step = STEPS.into_iter().find(|step| end / step <= wanted as f64).unwrap_or(86_400.0 * (end / 86_400.0 / 4.0).ceil());
    (0..).map(|place| f64::from(place) * step).take_while(|tick| *tick <= end + 1e-9).collect()
}

/// Seconds of a clock that starts at zero: `45 s`, `1:30`, `1:00:00`.
pub(crate) fn clock(seconds: f64, end: f64) -> String {
    let total = seconds.round() as u64;
    if end <= 120.0 {
        format!("{total} s")
    } else if end < 3600.0 {
        format!("{}:{:02}", total / 60, total % 60)
    } else {
        format!("{}:{:02}:{:02}", total / 3600, total / 60 % 60, total % 60)
    }
}

/// A straight map from a range of values to a range of places.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Linear {
    /// The values that lie at the ends.
    pub(crate) values: (f64, f64),
    /// The places of the ends.
    pub(crate) places: (f64, f64),
}

impl Linear {
    /// Where a value lies.
    pub(crate) fn at(self, value: f64) -> f64 {
        let share = (value - self.values.0) / (self.values.1 - self.values.0);
        self.places.0 + share.clamp(-0.5, 1.5) * (self.places.1 - self.places.0)
    }
}

/// SVG path data through these points; a gap where nothing was measured, a dot where one point stands alone.
pub(crate) fn path(points: impl IntoIterator<Item = Option<(f64, f64)>>) -> String {
    let mut data = String::new();
    let mut run = Vec::new();
    for point in points.into_iter().chain([None]) {
        match point {
            Some(point) => run.push(point),
            None => {
                for (place, (x, y)) in run.iter().enumerate() {
                    data.push_str(&format!("{}{x:.1} {y:.1}", if place == 0 { 'M' } else { 'L' }));
                }
                if run.len() == 1 {
                    data.push_str("h0.1");
                }
                run.clear();
            }
        }
    }
    data
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_and_hold_the_range() {
        assert_eq!(ticks(0.0, 9.3, 4), [0.0, 2.5, 5.0, 7.5, 10.0]);
        assert_eq!(ticks(0.0, 0.0, 4), [0.0, 0.25]);
        assert_eq!(ticks(0.0, 4000.0, 4), [0.0, 1000.0, 2000.0, 3000.0, 4000.0]);
        for high in [1e-9, 3e-4, 0.7, 1.0, 17.0, 99.9, 1e7] {
            let ticks = ticks(0.0, high, 4);
            assert!(*ticks.last().unwrap() >= high * 0.999_999 && (2..=7).contains(&ticks.len()), "{high}: {ticks:?}");
        }
    }

    #[test]
    fn ticks_of_time_are_those_of_a_clock() {
        assert_eq!(time_ticks(90.0, 6), [0.0, 15.0, 30.0, 45.0, 60.0, 75.0, 90.0]);
        assert_eq!(time_ticks(400.0, 5), [0.0, 120.0, 240.0, 360.0]);
        assert_eq!(
            (clock(45.0, 60.0), clock(90.0, 400.0), clock(3600.0, 7200.0)),
            ("45 s".into(), "1:30".into(), "1:00:00".into())
        );
        assert!(time_ticks(4e6, 6).len() < 10);
    }

    #[test]
    fn a_line_is_broken_where_nothing_was_measured() {
        let points = [Some((0.0, 1.0)), Some((1.0, 2.0)), None, Some((3.0, 4.0)), None];
        assert_eq!(path(points), "M0.0 1.0L1.0 2.0M3.0 4.0h0.1");
    }
}
