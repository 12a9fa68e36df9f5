//! When this job ends, and until when trials may be under way.
//!
//! `SLURM_JOB_END_TIME` says it where Slurm is new enough; else the scheduler is asked once, at the start.

use std::{
    env,
    io::Read as _,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use hb_core::units::Span;

/// The end of a run takes no longer than this: servers stop, results are written.
const MARGIN: Duration = Duration::from_secs(60);
/// The variable that asks for another margin, in seconds; the scripts of `hbnode run` set it to their notice and more.
pub const MARGIN_VARIABLE: &str = "HBNODE_END_MARGIN";
/// A scheduler that does not answer is waited for no longer.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);
/// What Slurm writes for no value.
const NO_VALUE: i128 = 0xFFFF_FFFE;
const SECOND: i128 = 1_000_000_000;

/// The end of the allocation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WallTime {
    /// When it ends, Unix nanoseconds.
    pub ends_at: i128,
    /// How much earlier the last trial must be over.
    pub margin: Span,
}

impl WallTime {
    /// Looks at the environment, and asks the scheduler where that tells nothing. `now` is Unix nanoseconds.
    #[must_use]
    pub fn look(now: i128) -> Option<Self> {
        let variable = |name: &str| env::var(name).ok();
        let ends_at = told(variable("SLURM_JOB_END_TIME"))
            .or_else(|| Some(now + i128::try_from(left_of(&variable("SLURM_JOB_ID")?)?.0.as_nanos()).ok()?))?;
        Some(Self { ends_at, margin: margin(variable(MARGIN_VARIABLE)) })
    }

    /// No trial may be under way after it.
    #[must_use]
    pub fn last_moment(self) -> i128 {
        self.ends_at - i128::try_from(self.margin.0.as_nanos()).unwrap_or(i128::MAX)
    }
}

fn told(seconds: Option<String>) -> Option<i128> {
    let seconds: i128 = seconds?.trim().parse().ok()?;
    // Slurm writes 0, or its mark of no value, where there is no limit.
    (1..NO_VALUE).contains(&seconds).then_some(seconds * SECOND)
}

fn margin(seconds: Option<String>) -> Span {
    let Some(text) = seconds else { return Span(MARGIN) };
    text.trim().parse().map(Span::from_secs).unwrap_or_else(|_| {
        eprintln!("warning: {MARGIN_VARIABLE} is `{text}`, which is no number of seconds; {} s are taken", MARGIN.as_secs());
        Span(MARGIN)
    })
}

/// What the scheduler says is left; nothing where there is no limit, or no answer.
fn left_of(job: &str) -> Option<Span> {
    let mut squeue = Command::new("squeue");
    squeue.args(["-h", "-j", job, "-o", "%L"]).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = squeue.spawn().ok()?;
    let deadline = Instant::now() + ANSWER_WITHIN;
    loop {
        match child.try_wait() {
            Ok(Some(_)) => break,
            Ok(None) if Instant::now() < deadline => std::thread::sleep(Duration::from_millis(20)),
            _ => {
                tracing::warn!(job, "the scheduler did not say how much time is left");
                // It may have ended between the two lines.
                let _ = child.kill();
                let _ = child.wait();
                return None;
            }
        }
    }
    let mut said = String::new();
    child.stdout.take()?.read_to_string(&mut said).ok()?;
    least(&said)
}

/// The components of a heterogeneous job stand in a line each.
fn least(said: &str) -> Option<Span> {
    said.lines().filter_map(|line| line.trim().parse::<Span>().ok()).min()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_is_read_as_slurm_writes_it() {
        assert_eq!(told(Some("1700000000".into())), Some(1_700_000_000 * SECOND));
        for nothing in ["", "0", "4294967294", "soon"] {
            assert_eq!(told(Some(nothing.into())), None, "{nothing}");
        }
        assert_eq!(least("1-00:00:10\n4:05\n"), Some(Span::from_secs(245)));
        for nothing in ["UNLIMITED\n", "NOT_SET\n", "INVALID\n", ""] {
            assert_eq!(least(nothing), None, "{nothing}");
        }
    }

    #[test]
    fn trials_end_a_margin_before_the_job() {
        let end = |text: Option<&str>| WallTime { ends_at: 1000 * SECOND, margin: margin(text.map(str::to_owned)) }.last_moment();
        assert_eq!(end(None), 940 * SECOND);
        assert_eq!(end(Some("120")), 880 * SECOND);
        assert_eq!(end(Some("a while")), 940 * SECOND);
    }
}
