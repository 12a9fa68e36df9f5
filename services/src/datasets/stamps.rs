//! Time stamps of traces, as nanoseconds from a zero of their own.

use hb_core::units::Nanos;

/// A number of `unit` nanoseconds each, such as `5`, `0.25` or `3000`.
pub(super) fn number(text: &str, unit: f64) -> Result<Nanos, String> {
    let value: f64 = text.trim().parse().map_err(|_| format!("the time stamp `{text}` is no number"))?;
    scaled(value, unit)
}

/// The same of a number that was read already.
pub(super) fn scaled(value: f64, unit: f64) -> Result<Nanos, String> {
    let nanos = value * unit;
    if nanos.is_finite() && (0.0..1.8e19).contains(&nanos) {
        Ok(Nanos(nanos.round() as u64))
    } else {
        Err(format!("the time stamp `{value}` is negative or too large"))
    }
}

/// A date and a time of day such as `2023-11-16 18:15:46.6805900`, with or without an offset, since the year 1970.
pub(super) fn date(text: &str) -> Result<Nanos, String> {
    read(text.trim()).ok_or_else(|| format!("the time stamp `{text}` is not like `2023-11-16 18:15:46.6805900`"))
}

fn read(text: &str) -> Option<Nanos> {
    let (date, time) = text.split_once([' ', 'T'])?;
    let mut parts = date.split('-').map(|part| part.parse::<i64>().ok());
    let (year, month, day) = (parts.next()??, parts.next()??, parts.next()??);
    let (time, offset_minutes) = match time.rfind(['+', '-', 'Z']) {
        Some(at) => (&time[..at], offset(&time[at..])?),
        None => (time, 0),
    };
    let (clock, fraction) = time.split_once('.').unwrap_or((time, ""));
    let mut parts = clock.split(':').map(|part| part.parse::<i64>().ok());
    let (hour, minute, second) = (parts.next()??, parts.next()??, parts.next()??);
    let is_well = (1970..3000).contains(&year)
        && (1..=12).contains(&month)
        && (1..=31).contains(&day)
        && (0..24).contains(&hour)
        && (0..60).contains(&minute)
        && (0..=60).contains(&second)
        && fraction.len() <= 9
        && fraction.bytes().all(|byte| byte.is_ascii_digit());
    if !is_well {
        return None;
    }
    let nanos: u64 = if fraction.is_empty() { 0 } else { format!("{fraction:0<9}").parse().ok()? };
    let seconds = days(year, month, day) * 86_400 + hour * 3_600 + (minute - offset_minutes) * 60 + second;
    // Nanoseconds since 1970 reach to the year 2554.
    u64::try_from(seconds).ok()?.checked_mul(1_000_000_000)?.checked_add(nanos).map(Nanos)
}

/// `Z`, `+00:00`, `-0130`, in minutes.
fn offset(text: &str) -> Option<i64> {
    if text == "Z" {
        return Some(0);
    }
    let digits: String = text[1..].chars().filter(|c| *c != ':').collect();
    if digits.len() > 4 {
        return None;
    }
    let (hours, minutes) = (digits.get(..2)?.parse::<i64>().ok()?, digits.get(2..).filter(|rest| !rest.is_empty()));
    let minutes = hours * 60 + minutes.map_or(Some(0), |minutes| minutes.parse::<i64>().ok())?;
    Some(if text.starts_with('-') { -minutes } else { minutes })
}

/// Days since 1970-01-01 in the Gregorian calendar, counted in years that begin with March.
fn days(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let (era, of_era) = (year / 400, year % 400);
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_read_to_the_last_digit() {
        for (text, nanos) in [
            ("1970-01-01 00:00:00", 0),
            ("2023-11-16 18:15:46.6805900", 1_700_158_546_680_590_000),
            ("2024-05-10T00:00:00.009930+00:00", 1_715_299_200_009_930_000),
            ("2024-02-29 01:00:00+01:00", 1_709_164_800_000_000_000),
        ] {
            assert_eq!(date(text), Ok(Nanos(nanos)), "{text}");
        }
        assert_eq!(date("2300-01-01 00:00:00"), Ok(Nanos(10_413_792_000_000_000_000)));
        for text in [
            "",
            "yesterday",
            "2900-01-01 00:00:00",
            "2023-01-01 00:00:00+999999999999999999:00",
            "2023-13-01 00:00:00",
            "2023-11-16 25:00:00",
            "2023-11-16",
        ] {
            assert!(date(text).unwrap_err().contains("not like"), "{text}");
        }
    }

    #[test]
    fn numbers_have_a_unit() {
        assert_eq!(number("5", 1e9), Ok(Nanos(5_000_000_000)));
        assert_eq!(number("3000", 1e6), Ok(Nanos(3_000_000_000)));
        assert!(number("-1", 1e9).is_err() && number("NaN", 1e9).is_err() && number("x", 1e9).is_err());
    }
}
