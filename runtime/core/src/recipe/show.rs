//! How a person is shown what is wrong with a recipe.
//!
//! ```text
//! error: workload.concurency: found an unknown key
//!   --> recipe.yaml:6:3
//!    |
//!  6 |   concurency: 4
//!    |   ^^^^^^^^^^
//!    = advice: did you mean `concurrency`?
//!    = accepted: one of the keys api, batch, …
//! ```

use std::fmt::{self, Write as _};

use super::problem::Problem;
use crate::units::plural;

/// Texts are broken before this column.
const WIDTH: usize = 100;

/// The longest piece of a line that is shown.
const SOURCE: usize = 120;

/// The problems as a person reads them: errors first, then warnings, each with its line, and their numbers at the end.
#[must_use]
pub fn show(problems: &[Problem], text: &str, file_name: &str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    let mut page = String::new();
    let (errors, warnings): (Vec<&Problem>, Vec<&Problem>) = problems.iter().partition(|problem| problem.is_error());
    let file_name = plain(file_name);
    for problem in errors.iter().chain(&warnings) {
        // Writing to a String cannot fail.
        let _ = one(&mut page, problem, &lines, &file_name);
    }
    let counted = |count: usize, what: &str| match count {
        0 => format!("no {what}s"),
        some => plural(some as u64, what),
    };
    let _ = writeln!(page, "{file_name}: {}, {}", counted(errors.len(), "error"), counted(warnings.len(), "warning"));
    page
}

fn one(page: &mut String, problem: &Problem, lines: &[&str], file_name: &str) -> fmt::Result {
    let word = if problem.is_error() { "error" } else { "warning" };
    let subject = if problem.path.is_empty() { String::new() } else { format!("{}: ", plain(&problem.path)) };
    wrapped(page, &format!("{word}: {subject}found "), "    ", &plain(&problem.found))?;
    let place = problem.line.and_then(|line| Some((line, lines.get(line.checked_sub(1)? as usize)?)));
    let number = place.map_or(String::new(), |(line, _)| line.to_string());
    let margin = " ".repeat(number.len() + 2);
    let arrow = &margin[1..];
    match place {
        Some((line, source)) => {
            let column = problem.column.unwrap_or(1).max(1);
            let source = &without_password(source);
            writeln!(page, "{arrow}--> {file_name}:{line}:{column}")?;
            writeln!(page, "{margin}|\n {number} | {}", piece(source, column as usize - 1))?;
            let (before, marks) = mark(source, column as usize - 1);
            writeln!(page, "{margin}| {}{}", " ".repeat(before), "^".repeat(marks))?;
        }
        None => writeln!(page, "{arrow}--> {file_name}")?,
    }
    let hanging = format!("{margin}    ");
    if let Some(advice) = &problem.advice {
        wrapped(page, &format!("{margin}= advice: "), &hanging, &plain(advice))?;
    }
    if !problem.accepted.is_empty() {
        wrapped(page, &format!("{margin}= accepted: "), &hanging, &plain(&problem.accepted))?;
    }
    writeln!(page)
}

/// Writes `text` after `first`, broken at spaces, further lines after `hanging`.
fn wrapped(page: &mut String, first: &str, hanging: &str, text: &str) -> fmt::Result {
    let mut line = first.to_owned();
    let mut is_fresh = true;
    for word in text.split(' ') {
        if !is_fresh && line.chars().count() + 1 + word.chars().count() > WIDTH {
            writeln!(page, "{line}")?;
            hanging.clone_into(&mut line);
            is_fresh = true;
        }
        if !is_fresh {
            line.push(' ');
        }
        line.push_str(word);
        is_fresh = false;
    }
    writeln!(page, "{}", line.trim_end())
}

/// A text that cannot move a terminal's cursor or change its colour.
fn plain(text: &str) -> String {
    let is_hidden =
        |c: char| c.is_control() || matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    text.chars().map(|c| if is_hidden(c) { c.escape_debug().to_string() } else { c.to_string() }).collect()
}

/// The line with stars for a name and password inside a URL: what is shown may end in a job's log.
fn without_password(source: &str) -> String {
    let mut shown: Vec<char> = source.chars().collect();
    let starts: Vec<usize> = (3..=shown.len()).filter(|end| shown[end - 3..*end] == [':', '/', '/']).collect();
    for start in starts {
        let is_end = |c: &char| c.is_whitespace() || matches!(c, '/' | '"' | '\'' | ',');
        let end = shown[start..].iter().position(is_end).map_or(shown.len(), |length| start + length);
        if let Some(at) = shown[start..end].iter().rposition(|c| *c == '@') {
            shown[start..start + at].fill('*');
        }
    }
    shown.into_iter().collect()
}

/// How many characters of a long line are left out before the place that is pointed at.
fn left_out(source: &str, column: usize) -> usize {
    let length = source.chars().count();
    if length <= SOURCE || column < SOURCE / 2 { 0 } else { column.min(length) - SOURCE / 2 }
}

fn piece(source: &str, column: usize) -> String {
    let skipped = left_out(source, column);
    let shown =
        source.chars().skip(skipped).take(SOURCE).map(|c| if plain(&c.to_string()).chars().count() > 1 { ' ' } else { c });
    let (before, after) = (skipped > 0, source.chars().count() > skipped + SOURCE);
    format!("{}{}{}", if before { "…" } else { "" }, shown.collect::<String>(), if after { "…" } else { "" })
}

/// How many characters stand before the marks, and how many marks there are.
fn mark(source: &str, column: usize) -> (usize, usize) {
    let skipped = left_out(source, column);
    let column = column.min(source.chars().count());
    let marks = token(&source.chars().skip(column).collect::<Vec<_>>());
    let before = column - skipped + usize::from(skipped > 0);
    (before, marks.clamp(1, SOURCE.saturating_sub(before).max(1)))
}

/// The length of the key or value that the characters begin with.
fn token(rest: &[char]) -> usize {
    let Some(first) = rest.first() else { return 0 };
    let closing = match first {
        '"' | '\'' => return rest.iter().skip(1).position(|c| c == first).map_or(1, |at| at + 2),
        '[' => ']',
        '{' => '}',
        _ => return plain_token(rest),
    };
    let mut depth = 0;
    for (index, c) in rest.iter().enumerate() {
        depth += i32::from(c == first) - i32::from(*c == closing);
        if depth == 0 {
            return index + 1;
        }
    }
    1
}

fn plain_token(rest: &[char]) -> usize {
    let ends = |index: usize| {
        let next = rest.get(index + 1);
        match rest[index] {
            ',' | ']' | '}' => true,
            ':' => next.is_none_or(|c| c.is_whitespace()),
            '#' => index > 0 && rest[index - 1].is_whitespace(),
            _ => false,
        }
    };
    let end = (0..rest.len()).find(|index| ends(*index)).unwrap_or(rest.len());
    let trailing = rest[..end].iter().rev().take_while(|c| c.is_whitespace()).count();
    end - trailing
}
