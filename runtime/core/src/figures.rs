//! Numbers as people read them: three digits, a unit, digits in groups.

/// A length of time in seconds: `95.0 ns`, `820 µs`, `47.3 ms`, `1.25 s`, `3 min 20 s`.
#[must_use]
pub fn seconds(value: f64) -> String {
    let size = value.abs();
    if !value.is_finite() {
        "–".to_owned()
    } else if size == 0.0 {
        "0 s".to_owned()
    } else if size < 0.999_5e-6 {
        format!("{} ns", three_digits(value * 1e9))
    } else if size < 0.999_5e-3 {
        format!("{} µs", three_digits(value * 1e6))
    } else if size < 0.999_5 {
        format!("{} ms", three_digits(value * 1e3))
    } else if size < 119.5 {
        format!("{} s", three_digits(value))
    } else {
        span(value)
    }
}

/// A latency as [`seconds`]; a dash for zero: what came with one read from the network has no time between.
#[must_use]
pub fn latency(value: f64) -> String {
    if value == 0.0 { "–".to_owned() } else { seconds(value) }
}

/// A long length of time in whole seconds: `3 min 20 s`, `1 h 5 min`.
#[must_use]
pub fn span(value: f64) -> String {
    let total = value.max(0.0).round() as u64;
    match (total / 3600, total / 60 % 60, total % 60) {
        (0, 0, seconds) => format!("{seconds} s"),
        (0, minutes, 0) => format!("{minutes} min"),
        (0, minutes, seconds) => format!("{minutes} min {seconds} s"),
        (hours, 0, _) => format!("{hours} h"),
        (hours, minutes, _) => format!("{hours} h {minutes} min"),
    }
}

/// Three digits that matter, in groups: `0.0123`, `47.3`, `12,400`.
#[must_use]
pub fn three_digits(value: f64) -> String {
    let size = value.abs();
    if !value.is_finite() {
        return "–".to_owned();
    }
    if size >= 999.5 {
        return if value < 0.0 { format!("−{}", count(size.round() as u64)) } else { count(size.round() as u64) };
    }
    // Rounded first: 0.9999 is 1.00 and not 1.000.
    let size: f64 = format!("{size:.2e}").parse().unwrap_or(size);
    let before = if size < 1.0 { 1 } else { size.log10().floor() as usize + 1 };
    let digits = if size == 0.0 {
        0
    } else if size < 1.0 {
        (2 - size.log10().floor() as i32).clamp(2, 6) as usize
    } else {
        3_usize.saturating_sub(before)
    };
    format!("{value:.digits$}").replace('-', "−")
}

/// A number that is whole more often than not: `12`, `4,000`, `38.98`, without the zeros of [`three_digits`].
#[must_use]
pub fn short(value: f64) -> String {
    if value.fract() == 0.0 && (0.0..1e15).contains(&value) {
        return count(value as u64);
    }
    let is_between = (1.0..999.5).contains(&value.abs());
    let text = if is_between { format!("{value:.2}").replace('-', "−") } else { three_digits(value) };
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
}

/// A figure and the limit that it crossed, with as many digits as it takes to tell them apart: `0.1003` and `0.1`.
#[must_use]
pub fn apart(value: f64, limit: f64) -> [String; 2] {
    let [shown, of_limit] = [value, limit].map(short);
    if shown != of_limit {
        return [shown, of_limit];
    }
    let in_digits = |digits: usize| [value, limit].map(|one| format!("{one:.digits$}").replace('-', "−"));
    let told = (3..=12).map(in_digits).find(|[one, other]| one != other).map(|[one, _]| one);
    [told.unwrap_or(shown), of_limit]
}

/// A count in groups of three: `1,234,567`.
#[must_use]
pub fn count(value: u64) -> String {
    let digits = value.to_string();
    let mut grouped = String::with_capacity(digits.len() + digits.len() / 3);
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

/// A share as per cent, never rounded up to a whole that it is not.
#[must_use]
pub fn percent(share: f64) -> String {
    match share {
        share if !share.is_finite() => "–".to_owned(),
        share if share < 1.0 && share > 0.999 => "> 99.9 %".to_owned(),
        share if share > 0.0 && share < 0.001 => "< 0.1 %".to_owned(),
        share => format!("{} %", three_digits(share * 100.0)),
    }
}

/// Bytes: `512 MiB`, `38.2 GiB`.
#[must_use]
pub fn bytes(value: f64) -> String {
    let (mut value, mut unit) = (value, "B");
    for next in ["KiB", "MiB", "GiB", "TiB"] {
        if value < 1000.0 {
            break;
        }
        (value, unit) = (value / 1024.0, next);
    }
    format!("{} {unit}", three_digits(value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_have_three_digits_and_a_unit() {
        for (value, text) in [
            (0.0, "0 s"),
            (0.000_000_095, "95.0 ns"),
            (0.000_82, "820 µs"),
            (0.0473, "47.3 ms"),
            (0.999_9, "1.00 s"),
            (1.254, "1.25 s"),
            (200.0, "3 min 20 s"),
            (3900.0, "1 h 5 min"),
            (f64::NAN, "–"),
        ] {
            assert_eq!(seconds(value), text, "{value}");
        }
        for (value, text) in [
            (0.0, "0"),
            (0.0123, "0.0123"),
            (5.0, "5.00"),
            (47.31, "47.3"),
            (999.6, "1,000"),
            (12_400.4, "12,400"),
            (-3.0, "−3.00"),
        ] {
            assert_eq!(three_digits(value), text, "{value}");
        }
        assert_eq!((count(0), count(999), count(1_234_567)), ("0".into(), "999".into(), "1,234,567".into()));
        assert_eq!((latency(0.0), latency(3e-7)), ("–".into(), "300 ns".into()));
        for (value, text) in [(4.0, "4"), (38.984_25, "38.98"), (2.5, "2.5"), (0.1, "0.1"), (4_000.0, "4,000"), (f64::NAN, "–")]
        {
            assert_eq!(short(value), text, "{value}");
        }
        assert_eq!(bytes(40.0 * 1024.0 * 1024.0 * 1024.0), "40.0 GiB");
    }

    #[test]
    fn a_figure_and_its_limit_are_told_apart() {
        for (value, limit, texts) in [
            (0.1003, 0.1, ["0.1003", "0.1"]),
            (0.953_3, 0.98, ["0.953", "0.98"]),
            (12.0, 30.0, ["12", "30"]),
            (0.100_000_04, 0.1, ["0.10000004", "0.1"]),
            (0.1, 0.1, ["0.1", "0.1"]),
        ] {
            assert_eq!(apart(value, limit), texts, "{value} {limit}");
        }
    }

    #[test]
    fn a_share_just_below_all_is_not_shown_as_all() {
        assert_eq!((percent(1.0), percent(0.9999), percent(0.0)), ("100 %".into(), "> 99.9 %".into(), "0 %".into()));
        assert_eq!((percent(0.00001), percent(0.995)), ("< 0.1 %".into(), "99.5 %".into()));
    }
}
