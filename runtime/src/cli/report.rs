//! `hbnode report`: builds the reports of a run folder anew, also of a run that was killed.

use std::{io, path::Path};

use hb_core::report::Report;

use super::{exit::Exit, words::ReportWords};
use crate::{
    lead::surroundings::Surroundings,
    results::{self, Holder, RunLock},
    terminal,
};

/// Builds the reports anew.
pub fn run(words: &ReportWords, is_quiet: bool) -> Exit {
    // A run is named by its own folder, not by a link to it.
    let folder = words.folder.canonicalize().unwrap_or_else(|_| words.folder.clone());
    match rebuilt(&folder) {
        Ok((report, troubles)) => {
            print!("{}", terminal::summary(&report));
            for trouble in &troubles {
                eprintln!("error: {trouble}");
            }
            if !is_quiet {
                eprintln!("results: {}", folder.display());
            }
            if troubles.is_empty() { Exit::Ok } else { Exit::Failed }
        }
        Err((sentence, exit)) => {
            eprintln!("error: {sentence}");
            exit
        }
    }
}

/// A finished run's report is rendered from `report.json`; a killed one's is put together from what its trials left.
fn rebuilt(folder: &Path) -> Result<(Report, Vec<String>), (String, Exit)> {
    let wrong = |sentence: String| (sentence, Exit::BadWords);
    if !folder.join("recipe.yaml").is_file() {
        return Err(wrong(format!("`{}` is no run's folder: it has no recipe.yaml", folder.display())));
    }
    // Its leader gives files their names and writes the reports when it ends; until then they are its own.
    let lock = RunLock::take(folder, Holder::this(&Surroundings::read().host, None));
    let _lock = lock.map_err(|error| (format!("{error}; it writes the report when it ends"), Exit::Failed))?;
    match std::fs::read(folder.join("report.json")) {
        Ok(text) => {
            let report = serde_json::from_slice(&text)
                .map_err(|error| wrong(format!("{}/report.json is no report: {error}", folder.display())))?;
            let troubles = results::write_again(folder, &report);
            Ok((report, troubles))
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => results::rebuild(folder, None).map_err(wrong),
        Err(error) => Err(wrong(format!("cannot read {}/report.json: {error}", folder.display()))),
    }
}
