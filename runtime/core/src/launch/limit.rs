//! The wall-time limit, and how long before it the run is told.

use crate::units::Span;

/// Slurm looks about once a minute: a shorter notice may come too late, or at once.
const SHORTEST_NOTICE: u64 = 60;
/// A report needs no more than this.
const LONGEST_NOTICE: u64 = 180;

/// How many seconds before the limit the run is told to report: a tenth of it, within bounds.
#[must_use]
pub fn warning_seconds(limit: Option<Span>) -> u64 {
    let tenth = limit.map_or(LONGEST_NOTICE, |limit| limit.0.as_secs() / 10);
    tenth.clamp(SHORTEST_NOTICE, LONGEST_NOTICE)
}

/// A limit as Slurm writes it, `[days-]hours:minutes:seconds`, rounded up to a second.
#[must_use]
pub fn clock(limit: Span) -> String {
    let seconds = limit.0.as_secs() + u64::from(limit.0.subsec_nanos() > 0);
    let (days, rest) = (seconds / 86_400, seconds % 86_400);
    let clock = format!("{:02}:{:02}:{:02}", rest / 3600, rest / 60 % 60, rest % 60);
    if days == 0 { clock } else { format!("{days}-{clock}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_is_written_as_slurm_reads_it_and_as_a_recipe_reads_it() {
        for (seconds, text) in [(60, "00:01:00"), (7200, "02:00:00"), (90_061, "1-01:01:01")] {
            assert_eq!(clock(Span::from_secs(seconds)), text);
            assert_eq!(text.parse(), Ok(Span::from_secs(seconds)));
        }
        assert_eq!(clock(Span::from_millis(1500)), "00:00:02");
    }

    #[test]
    fn the_notice_is_a_tenth_of_the_limit_within_bounds() {
        assert_eq!(warning_seconds(Some(Span::from_secs(120))), 60);
        assert_eq!(warning_seconds(Some(Span::from_secs(1200))), 120);
        assert_eq!(warning_seconds(Some(Span::from_secs(7200))), 180);
        assert_eq!(warning_seconds(None), 180);
    }
}
