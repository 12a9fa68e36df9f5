//! How a command ends. The numbers are part of the contract with scripts.

use std::process::ExitCode;

use crate::signals::Asked;

/// How a command ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// It did what it was asked.
    Ok,
    /// The run failed.
    Failed,
    /// The recipe or the words are wrong.
    BadWords,
    /// The run went through and its result is INVALID.
    Invalid,
    /// The cluster could not form, or a node lost its leader.
    NoCluster,
    /// Ended by SIGINT, with a valid partial report.
    Interrupted,
    /// Ended by SIGTERM, with a valid partial report.
    Terminated,
}

impl Exit {
    /// The number.
    #[must_use]
    pub const fn code(self) -> u8 {
        match self {
            Self::Ok => 0,
            Self::Failed => 1,
            Self::BadWords => 2,
            Self::Invalid => 3,
            Self::NoCluster => 4,
            Self::Interrupted => 130,
            Self::Terminated => 143,
        }
    }

    /// The end with this number.
    #[must_use]
    pub fn of_code(code: u64) -> Option<Self> {
        const ALL: [Exit; 7] =
            [Exit::Ok, Exit::Failed, Exit::BadWords, Exit::Invalid, Exit::NoCluster, Exit::Interrupted, Exit::Terminated];
        ALL.into_iter().find(|exit| u64::from(exit.code()) == code)
    }
}

impl From<Asked> for Exit {
    fn from(signal: Asked) -> Self {
        match signal {
            Asked::Interrupt => Self::Interrupted,
            Asked::Terminate | Asked::TimeIsNearlyUp => Self::Terminated,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}
