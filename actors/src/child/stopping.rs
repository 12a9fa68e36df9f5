//! How a process is asked to end, and how long it may take.

use std::{fmt, str::FromStr};

use hb_core::units::Span;
use rustix::process::Signal;

/// The signals a recipe may name, with and without their `SIG`.
const SIGNALS: &[(&str, Signal)] = &[
    ("TERM", Signal::TERM),
    ("INT", Signal::INT),
    ("QUIT", Signal::QUIT),
    ("HUP", Signal::HUP),
    ("USR1", Signal::USR1),
    ("USR2", Signal::USR2),
    ("KILL", Signal::KILL),
];

/// A signal that asks a process to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StopSignal(pub(super) Signal);

/// A text that names no signal.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a signal that ends a server; use one of SIGTERM, SIGINT, SIGQUIT, SIGHUP, SIGUSR1, SIGUSR2, SIGKILL")]
pub struct UnknownSignal(pub String);

impl Default for StopSignal {
    fn default() -> Self {
        Self(Signal::TERM)
    }
}

impl FromStr for StopSignal {
    type Err = UnknownSignal;

    fn from_str(text: &str) -> Result<Self, UnknownSignal> {
        let upper = text.trim().to_ascii_uppercase();
        let bare = upper.strip_prefix("SIG").unwrap_or(&upper);
        let row = SIGNALS.iter().find(|(name, _)| *name == bare);
        row.map(|(_, signal)| Self(*signal)).ok_or_else(|| UnknownSignal(text.to_owned()))
    }
}

impl fmt::Display for StopSignal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&signal_name(self.0.as_raw()))
    }
}

/// `SIGKILL` for 9; signals beyond the usual ones by number.
pub(super) fn signal_name(number: i32) -> String {
    match number {
        4 => "SIGILL".into(),
        6 => "SIGABRT".into(),
        7 => "SIGBUS".into(),
        8 => "SIGFPE".into(),
        11 => "SIGSEGV".into(),
        13 => "SIGPIPE".into(),
        _ => match SIGNALS.iter().find(|(_, signal)| signal.as_raw() == number) {
            Some((name, _)) => format!("SIG{name}"),
            None => format!("signal {number}"),
        },
    }
}

/// How a process is ended: a signal, then after the grace SIGKILL.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StopPolicy {
    /// What it is asked with.
    pub signal: StopSignal,
    /// The time it has before SIGKILL.
    pub grace: Span,
}

impl Default for StopPolicy {
    /// vLLM ends within 3 s, or within 8 s where it is told to finish its streams first.
    fn default() -> Self {
        Self { signal: StopSignal::default(), grace: Span::from_secs(10) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signals_are_read_with_and_without_their_prefix() {
        for text in ["SIGINT", "INT", "int", " sigint "] {
            assert_eq!(text.parse(), Ok(StopSignal(Signal::INT)), "{text:?}");
        }
        // What a recipe's check lets through is understood here, and nothing else.
        assert_eq!(
            hb_services::custom::STOP_SIGNALS.map(|name| name.parse().ok()),
            [0, 1, 2, 3, 4, 5, 6].map(|at| Some(StopSignal(SIGNALS[at].1)))
        );
        for text in ["", "SIG", "SIGSTOP", "15"] {
            assert_eq!(text.parse::<StopSignal>(), Err(UnknownSignal(text.into())));
        }
    }

    #[test]
    fn a_signal_is_written_as_it_is_read() {
        for (_, signal) in SIGNALS {
            assert_eq!(StopSignal(*signal).to_string().parse(), Ok(StopSignal(*signal)));
        }
        assert_eq!((signal_name(11), signal_name(64)), ("SIGSEGV".into(), "signal 64".into()));
    }
}
