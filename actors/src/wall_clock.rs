//! This machine's wall clock, and how it is written.

use std::time::SystemTime;

/// Unix time in nanoseconds on this machine's clock; before 1970 it is negative.
#[must_use]
pub fn unix_nanos() -> i128 {
    match SystemTime::now().duration_since(SystemTime::UNIX_EPOCH) {
        Ok(since) => i128::try_from(since.as_nanos()).unwrap_or(i128::MAX),
        Err(before) => -i128::try_from(before.duration().as_nanos()).unwrap_or(i128::MAX),
    }
}

/// An instant as reports write it: RFC 3339, UTC, milliseconds; what no calendar holds gives the epoch.
#[must_use]
pub fn rfc3339(unix_nanos: i128) -> String {
    let instant = jiff::Timestamp::from_nanosecond(unix_nanos).unwrap_or_default();
    format!("{instant:.3}")
}
