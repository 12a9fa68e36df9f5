//! What is wrong with a recipe, and how a person is shown it.

use std::fmt::Write as _;

use serde::Serialize;

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

    /// Whether it keeps the recipe from being run.
    #[must_use]
    pub fn is_error(&self) -> bool {
        self.severity == Severity::Error
    }
}

/// The problems as a person reads them: errors first, then warnings, each with its line.
#[must_use]
pub fn show(problems: &[Problem], text: &str, file_name: &str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    let mut page = String::new();
    let (errors, warnings): (Vec<&Problem>, Vec<&Problem>) = problems.iter().partition(|problem| problem.is_error());
    for problem in errors.iter().chain(&warnings) {
        // Writing to a String cannot fail.
        let _ = show_one(&mut page, problem, &lines, file_name);
    }
    let _ = match (errors.len(), warnings.len()) {
        (0, 0) => write!(page, "{file_name}: no errors, no warnings"),
        (errors, warnings) => write!(page, "{file_name}: {}, {}", counted(errors, "error"), counted(warnings, "warning")),
    };
    page.push('\n');
    page
}

fn counted(count: usize, what: &str) -> String {
    match count {
        0 => format!("no {what}s"),
        1 => format!("1 {what}"),
        many => format!("{many} {what}s"),
    }
}

fn show_one(page: &mut String, problem: &Problem, lines: &[&str], file_name: &str) -> std::fmt::Result {
    let word = if problem.is_error() { "error" } else { "warning" };
    let subject = if problem.path.is_empty() { String::new() } else { format!("{}: ", problem.path) };
    writeln!(page, "{word}: {subject}found {}", problem.found)?;
    let line = problem.line.and_then(|line| Some((line, lines.get(line as usize - 1)?)));
    let width = line.map_or(1, |(number, _)| number.to_string().len());
    if let Some((number, source)) = line {
        let column = problem.column.unwrap_or(1).max(1);
        writeln!(page, "{:width$}--> {file_name}:{number}:{column}", "")?;
        // A very long or garbled line would hide the message it belongs to.
        let source: String = source.chars().take(160).map(|c| if c.is_control() { ' ' } else { c }).collect();
        writeln!(page, "{:width$} |\n{number} | {source}", "")?;
        let before = (column as usize - 1).min(source.chars().count());
        let marked = source.chars().skip(before).take_while(|c| !matches!(c, ',' | ']' | '}' | '#')).collect::<String>();
        let marks = marked.trim_end().chars().count().max(1);
        writeln!(page, "{:width$} | {:before$}{}", "", "", "^".repeat(marks))?;
    }
    if !problem.accepted.is_empty() {
        writeln!(page, "{:width$} = accepted: {}", "", problem.accepted)?;
    }
    if let Some(advice) = &problem.advice {
        writeln!(page, "{:width$} = advice: {advice}", "")?;
    }
    writeln!(page)
}
