//! What a guardian tells its node over the socket pair: one line each.

use std::fmt;

/// One line of a guardian.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Report {
    /// The program runs as this process.
    Started(u32),
    /// The program could not be started, and why.
    NotStarted(String),
    /// The program ended with this code.
    Exited(i32),
    /// The program was ended by this signal.
    Killed(i32),
}

/// The byte by which a node asks for SIGKILL to the program itself, as if it had crashed.
pub(super) const KILL_ORDER: u8 = b'k';

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Started(pid) => write!(f, "started {pid}"),
            Self::NotStarted(why) => write!(f, "not-started {}", why.replace('\n', " ")),
            Self::Exited(code) => write!(f, "exited {code}"),
            Self::Killed(signal) => write!(f, "killed {signal}"),
        }
    }
}

impl Report {
    /// Reads a line; `None` if no guardian of this build wrote it.
    pub(super) fn read(line: &str) -> Option<Self> {
        let (word, rest) = line.split_once(' ')?;
        match word {
            "started" => rest.parse().ok().map(Self::Started),
            "not-started" => Some(Self::NotStarted(rest.to_owned())),
            "exited" => rest.parse().ok().map(Self::Exited),
            "killed" => rest.parse().ok().map(Self::Killed),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_report_is_read_back() {
        let reports = [Report::Started(7), Report::NotStarted("no such\nfile".into()), Report::Exited(3), Report::Killed(9)];
        for report in reports {
            let expected = match &report {
                Report::NotStarted(why) => Report::NotStarted(why.replace('\n', " ")),
                other => other.clone(),
            };
            assert_eq!(Report::read(&report.to_string()), Some(expected));
        }
        assert_eq!(Report::read("started soon"), None);
        assert_eq!(Report::read(""), None);
    }
}
