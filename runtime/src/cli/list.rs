//! `hbnode list`: recipes with their main figures.

use std::path::{Path, PathBuf};

use comfy_table::{Table, presets};
use hb_core::units::plural;
use serde_json::json;

use super::{exit::Exit, words::ListWords};
use crate::lead::recipe::{Checked, Source, check};

/// Lists the recipes of a folder; a broken one is named as such.
pub fn run(words: &ListWords) -> Exit {
    let paths = match recipes_in(&words.folder) {
        Ok(paths) => paths,
        Err(error) => {
            eprintln!("error: cannot read the folder `{}`: {error}; name another: `hbnode list FOLDER`", words.folder.display());
            return Exit::BadWords;
        }
    };
    let rows: Vec<(PathBuf, Result<Checked, usize>)> = paths.into_iter().map(|path| (path.clone(), read(&path))).collect();
    if words.json {
        let row = |(path, read): &(PathBuf, Result<Checked, usize>)| match read {
            Ok(checked) => {
                json!({"recipe": path, "scenario": checked.recipe.scenario, "service": checked.recipe.workload.service,
                "nodes": checked.recipe.needs().total(), "trials": checked.trials.len()})
            }
            Err(problems) => json!({"recipe": path, "problems": problems}),
        };
        println!("{}", rows.iter().map(row).collect::<serde_json::Value>());
        return Exit::Ok;
    }
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_header(["RECIPE", "SCENARIO", "SERVICE", "MODEL", "NODES", "TRIALS"]);
    for (path, read) in &rows {
        let path = path.display().to_string();
        match read {
            Ok(checked) => {
                let model = checked.trials.first().map(|trial| trial.service.model.clone()).unwrap_or_default();
                table.add_row([
                    path,
                    checked.recipe.scenario.clone(),
                    checked.recipe.workload.service.clone(),
                    model,
                    checked.recipe.needs().total().to_string(),
                    checked.trials.len().to_string(),
                ]);
            }
            Err(problems) => {
                table.add_row([
                    path.clone(),
                    format!("broken: {}, see `hbnode validate {path}`", plural(*problems as u64, "error")),
                ]);
            }
        }
    }
    println!("{table}");
    Exit::Ok
}

fn read(path: &Path) -> Result<Checked, usize> {
    let source = Source::read(path).map_err(|_| 1usize)?;
    check(&source, &[]).map_err(|problems| problems.iter().filter(|problem| problem.is_error()).count())
}

/// The YAML files of a folder, by name.
pub fn recipes_in(folder: &Path) -> std::io::Result<Vec<PathBuf>> {
    let is_yaml = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "yaml" || extension == "yml");
    let entries: std::io::Result<Vec<PathBuf>> = std::fs::read_dir(folder)?.map(|entry| Ok(entry?.path())).collect();
    let mut paths: Vec<PathBuf> = entries?.into_iter().filter(is_yaml).collect();
    paths.sort();
    Ok(paths)
}
