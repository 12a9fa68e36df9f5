//! What is wrong with a recipe.

use serde::Serialize;

use super::tree::Node;

/// One thing that is wrong or doubtful.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// Whether the recipe can be run all the same.
    pub severity: Severity,
    /// The field, such as `workload.concurrency[1]`; empty for the text as a whole.
    pub path: String,
    /// The line it stands in, from 1; `None` where it came from the command line.
    pub line: Option<u32>,
    /// The column it begins at, from 1.
    pub column: Option<u32>,
    /// What was found.
    pub found: String,
    /// What is accepted there.
    pub accepted: String,
    /// What to write or do.
    pub advice: Option<String>,
}

/// Whether a recipe with a problem can be run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// It cannot.
    Error,
    /// It can, but probably not as meant.
    Warning,
}

impl Problem {
    /// An error at a field.
    pub(super) fn error(path: impl Into<String>, found: impl Into<String>, accepted: impl Into<String>) -> Self {
        let (path, found, accepted) = (path.into(), found.into(), accepted.into());
        Self { severity: Severity::Error, path, line: None, column: None, found, accepted, advice: None }
    }

    /// A warning at a field.
    pub(super) fn warning(path: impl Into<String>, found: impl Into<String>, accepted: impl Into<String>) -> Self {
        Self { severity: Severity::Warning, ..Self::error(path, found, accepted) }
    }

    /// The same with advice.
    pub(super) fn advise(mut self, advice: impl Into<String>) -> Self {
        self.advice = Some(advice.into());
        self
    }

    /// The same with the line of its field.
    pub(super) fn at(mut self, places: &Node) -> Self {
        let place = places.place_of(&self.path);
        (self.line, self.column) = (place.map(|place| place.line), place.map(|place| place.column));
        self
    }

    /// Whether it keeps the recipe from being run.
    #[must_use]
    pub fn is_error(&self) -> bool {
        self.severity == Severity::Error
    }
}
