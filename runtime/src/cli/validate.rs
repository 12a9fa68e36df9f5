//! `hbnode validate`: everything that is wrong or doubtful, of each recipe.

use serde_json::json;

use super::{exit::Exit, words::ValidateWords};
use crate::lead::recipe::{Source, check, show};

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
        let (is_valid, problems, trials) = match check(&source, &words.sets) {
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
            let warnings = match problems.len() {
                0 => String::new(),
                1 => ", 1 warning".into(),
                many => format!(", {many} warnings"),
            };
            println!("{}: valid, {trials} {}{warnings}", source.name, if trials == 1 { "trial" } else { "trials" });
        }
    }
    if words.json {
        println!("{}", serde_json::Value::Array(rows));
    }
    exit
}
