//! Why a run does not begin: what is said of it, and how this process ends for it.

use std::{fmt::Display, path::PathBuf};

use hb_core::verdict::Status;

use crate::cli::exit::Exit;

/// A run that does not begin, or does not go on.
#[derive(Debug)]
pub struct Refused {
    /// What a person reads; perhaps of several lines.
    pub said: String,
    /// How this process ends.
    pub exit: Exit,
    /// The folder of a run that there is all the same, and its verdict.
    pub run: Option<(PathBuf, Option<Status>)>,
}

impl Refused {
    /// For one cause.
    pub fn new(exit: Exit, sentence: impl Display) -> Self {
        Self { said: format!("error: {sentence}"), exit, run: None }
    }

    /// The recipe or the words are wrong.
    pub fn words(sentence: impl Display) -> Self {
        Self::new(Exit::BadWords, sentence)
    }

    /// The first thing that is said, without what marks it as an error.
    #[must_use]
    pub fn reason(&self) -> &str {
        let first = self.said.lines().next().unwrap_or_default();
        first.strip_prefix("error: ").unwrap_or(first)
    }

    /// Says it, and gives the exit code.
    pub fn say(self) -> Exit {
        eprintln!("{}", self.said.trim_end());
        self.exit
    }
}
