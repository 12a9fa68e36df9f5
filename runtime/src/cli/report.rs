//! `hbnode report`: builds the reports of a run folder anew, also of a run that was killed.

use std::{io, path::Path};

use hb_core::{
    plan::Plan,
    report::{self, Report, RunSummary, TrialFrame, TrialReport},
    tally::TrialTally,
};

use super::{exit::Exit, words::ReportWords};
use crate::{
    results::{self, PLAN, Recovered, RecoveredTrial},
    terminal,
};

/// Builds the reports anew.
pub fn run(words: &ReportWords) -> Exit {
    match rebuilt(&words.folder) {
        Ok((report, troubles)) => {
            print!("{}", terminal::summary(&report));
            for trouble in &troubles {
                eprintln!("error: {trouble}");
            }
            eprintln!("results: {}", words.folder.display());
            if troubles.is_empty() { Exit::Ok } else { Exit::Failed }
        }
        Err(sentence) => {
            eprintln!("error: {sentence}");
            Exit::BadWords
        }
    }
}

/// A finished run's report is rendered from `report.json`; a killed one's is put together from what its trials left.
fn rebuilt(folder: &Path) -> Result<(Report, Vec<String>), String> {
    let finished = std::fs::read(folder.join("report.json"));
    let report = match finished {
        Ok(text) => {
            serde_json::from_slice(&text).map_err(|error| format!("{}/report.json is no report: {error}", folder.display()))?
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => of_killed(folder)?,
        Err(error) => return Err(format!("cannot read {}/report.json: {error}", folder.display())),
    };
    let troubles = results::write_again(folder, &report);
    Ok((report, troubles))
}

fn of_killed(folder: &Path) -> Result<Report, String> {
    let recovered = results::recover(folder).map_err(|error| error.to_string())?;
    let mut warnings = recovered.warnings.clone();
    let mut trials = Vec::new();
    for found in &recovered.trials {
        match found {
            RecoveredTrial::Finished(report) => trials.push((**report).clone()),
            RecoveredTrial::Spooled { trial, folder, .. } => match retallied(found, folder) {
                Ok(rebuilt) => trials.push(rebuilt),
                Err(error) => warnings.push(format!("trial {trial} cannot be rebuilt: {error}")),
            },
        }
    }
    trials.sort_by(|one, other| one.started_at.cmp(&other.started_at));
    Ok(report::run(summary(&recovered, trials.len()), trials, warnings))
}

fn summary(recovered: &Recovered, trials: usize) -> RunSummary {
    let part =
        |path: Option<&Path>| path.and_then(Path::file_name).map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    RunSummary {
        id: part(Some(&recovered.path)),
        scenario: part(recovered.path.parent()),
        hbnode_version: super::BUILD.to_owned(),
        complete: false,
        incomplete_reason: Some("the leader ended before the run did".into()),
        trials_planned: u32::try_from(trials).unwrap_or(u32::MAX),
        ..RunSummary::default()
    }
}

/// The report of a trial that was under way, from its plan and its spool: what the nodes had told until then.
fn retallied(found: &RecoveredTrial, folder: &Path) -> Result<TrialReport, String> {
    let text = std::fs::read(folder.join(PLAN)).map_err(|error| format!("its {PLAN} is missing: {error}"))?;
    let plan: Plan = serde_json::from_slice(&text).map_err(|error| format!("its {PLAN} cannot be read: {error}"))?;
    let mut tally = TrialTally::new(&plan);
    let mut until = 0.0f64;
    for batch in found.batches().map_err(|error| error.to_string())?.into_iter().flatten() {
        let batch = batch.map_err(|error| error.to_string())?;
        until = until.max(batch.span.1.as_secs_f64());
        tally.take(&batch);
    }
    let lost = tally.close(Some(until));
    let frame = TrialFrame {
        started_at: String::new(),
        ended_early_at_seconds: Some(until),
        certainty: None,
        phase_seconds: std::collections::BTreeMap::new(),
        nodes: std::collections::BTreeMap::new(),
        energy_joules: None,
        gpus_throttled: 0,
        server: std::collections::BTreeMap::new(),
        counted: hb_core::counted::Counted::default(),
        calibration: None,
        events: Vec::new(),
        can_force_length: true,
        plan,
    };
    let batches = found.batches().map_err(|error| error.to_string())?.into_iter().flatten().filter_map(Result::ok);
    let rows = batches.flat_map(|batch| {
        let source = batch.key.source;
        batch.records.into_iter().map(move |record| (source.clone(), record))
    });
    let report = report::trial(&frame, &tally, rows, &lost);
    results::write_recovered(folder, &report, &lost).map_err(|error| error.to_string())?;
    Ok(report)
}
