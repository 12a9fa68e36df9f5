//! `hbnode validate`: everything that is wrong or doubtful, of each recipe.

use hb_core::{recipe::Mode, units::plural};
use serde_json::json;

use super::{exit::Exit, words::ValidateWords};
use crate::lead::recipe::{Source, check, read_files, show};

/// Checks every recipe, whatever the others are like.
pub fn run(words: &ValidateWords) -> Exit {
    let mut exit = Exit::Ok;
    let mut rows = Vec::new();
    for path in &words.recipes {
        let source = match Source::read(path) {
            Ok(source) => source,
            Err(sentence) => {
                exit = Exit::BadWords;
                if words.json {
                    rows.push(json!({"recipe": path, "valid": false, "problems": [{"severity": "error", "found": sentence}]}));
                } else {
                    eprintln!("error: {sentence}");
                }
                continue;
            }
        };
        let seen = check(&source, &words.sets).and_then(|mut checked| {
            // Elsewhere than here nobody can tell which files are there.
            let is_here = checked.recipe.orchestration.mode == Mode::Local;
            match is_here.then(|| read_files(&source, &mut checked.trials)) {
                Some(Err(problem)) => Err([checked.warnings, vec![problem]].concat()),
                Some(Ok(())) | None => Ok(checked),
            }
        });
        let (is_valid, problems, trials) = match seen {
            // What this version cannot run yet is no mistake of the recipe's, and keeps it from being run all the same.
            Ok(checked) => (checked.later.is_empty(), [checked.warnings, checked.later].concat(), checked.trials.len()),
            Err(problems) => (false, problems, 0),
        };
        if !is_valid {
            exit = Exit::BadWords;
        }
        if words.json {
            rows.push(json!({"recipe": source.name, "valid": is_valid, "trials": trials, "problems": problems}));
            continue;
        }
        show(&problems, &source);
        if is_valid {
            let warnings = match problems.len() as u64 {
                0 => String::new(),
                count => format!(", {}", plural(count, "warning")),
            };
            println!("{}: valid, {}{warnings}", source.name, plural(trials as u64, "trial"));
        }
    }
    if words.json {
        println!("{}", serde_json::Value::Array(rows));
    }
    exit
}
