//! The reports of a run that nobody leads any more, from what it left: trials that were finished as they are, others
//! from their spools.

use std::path::Path;

use hb_core::{
    plan::Plan,
    report::{self, DatasetKnown, NodeFigures, Report, RunSummary, TrialFrame, TrialReport},
    tally::TrialTally,
    trial::ProtocolName,
};

use super::{
    PLAN, Past, Recovered, RecoveredTrial, closed_parts, instant, parts, past::TrialPast, recover, write_again, write_recovered,
};
use crate::{
    cli::BUILD,
    lead::{
        datasets,
        recipe::{self, Source},
    },
};

/// Builds the reports anew and writes them: the report, and what could not be written. `why` says why the run is not
/// complete, where that is known better than its parts tell.
///
/// # Errors
/// The folder is none of a run, or cannot be read.
pub fn rebuild(folder: &Path, why: Option<&str>) -> Result<(Report, Vec<String>), String> {
    let report = of_unled(folder, why)?;
    let troubles = write_again(folder, &report);
    Ok((report, troubles))
}

fn of_unled(folder: &Path, why: Option<&str>) -> Result<Report, String> {
    let recovered = recover(folder).map_err(|error| error.to_string())?;
    let past = Past::read(folder).map_err(|error| format!("cannot read {}/events.jsonl: {error}", folder.display()))?;
    let mut warnings = recovered.warnings.clone();
    let mut trials = Vec::new();
    for found in &recovered.trials {
        match found {
            RecoveredTrial::Finished(report) => trials.push((**report).clone()),
            RecoveredTrial::Spooled { trial, folder, .. } => match retallied(found, folder, &past.trial(trial)) {
                Ok(rebuilt) => trials.push(rebuilt),
                Err(error) => warnings.push(format!("trial {trial} cannot be rebuilt: {error}")),
            },
        }
    }
    trials.sort_by(|one, other| one.started_at.cmp(&other.started_at));
    if let Some(why) = why {
        parts::close(folder, &past, why).map_err(|error| format!("cannot write its parts.json: {error}"))?;
    }
    warnings.extend(past.warnings());
    let planned = planned(folder).unwrap_or(trials.len());
    let complete = report::finished(&trials).len() == planned;
    let mut summary = summary(&recovered, &past, planned)?;
    summary.complete = complete;
    summary.incomplete_reason = match why {
        _ if complete => None,
        Some(why) => Some(why.to_owned()),
        None => Some("the leader ended before the run did".to_owned()),
    };
    Ok(report::run(summary, trials, warnings))
}

/// How many trials the recipe comes to, where this version can read it.
fn planned(folder: &Path) -> Option<usize> {
    let bytes = std::fs::read(folder.join("recipe.resolved.yaml")).ok()?;
    let checked = recipe::check(&Source { name: String::new(), bytes }, &[]).ok()?;
    Some(checked.trials.len())
}

fn summary(recovered: &Recovered, past: &Past, planned: usize) -> Result<RunSummary, String> {
    let name =
        |path: Option<&Path>| path.and_then(Path::file_name).map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let parts = closed_parts(&recovered.path, past).map_err(|error| format!("cannot read its parts.json: {error}"))?;
    let (first, last) = (parts.first(), parts.last());
    Ok(RunSummary {
        id: name(Some(&recovered.path)),
        scenario: name(recovered.path.parent()),
        started_at: first.map(|part| part.started_at.clone()).unwrap_or_default(),
        ended_at: last.and_then(|part| part.ended_at.clone()).unwrap_or_default(),
        hbnode_version: last.map_or_else(|| BUILD.to_owned(), |part| part.hbnode_version.clone()),
        complete: false,
        incomplete_reason: None,
        phase_seconds: past.phase_seconds(),
        trials_planned: u32::try_from(planned).unwrap_or(u32::MAX),
        parts,
    })
}

/// The report of a trial that was under way, from its plan and its spool: what the nodes had told until then.
fn retallied(found: &RecoveredTrial, folder: &Path, past: &TrialPast) -> Result<TrialReport, String> {
    let text = std::fs::read(folder.join(PLAN)).map_err(|error| format!("its {PLAN} is missing: {error}"))?;
    let mut plan: Plan = serde_json::from_slice(&text).map_err(|error| format!("its {PLAN} cannot be read: {error}"))?;
    // The instants of a trace stand in its file alone.
    datasets::read(std::slice::from_mut(&mut plan.trial))
        .map_err(|problem| problem.advice.unwrap_or_else(|| format!("{}: {}", problem.path, problem.found)))?;
    let mut tally = TrialTally::new(&plan);
    let mut until = 0.0f64;
    for batch in found.batches().map_err(|error| error.to_string())?.into_iter().flatten() {
        let batch = batch.map_err(|error| error.to_string())?;
        until = until.max(batch.span.1.as_secs_f64());
        tally.take(&batch);
    }
    let ended_early_at_seconds = (!past.is_finished).then_some(until);
    let sure_at_seconds = past.certainty.as_ref().and_then(|certainty| certainty.ended_at_seconds);
    let lost = tally.close(ended_early_at_seconds.into_iter().chain(sure_at_seconds).reduce(f64::min));
    let node = |(name, host, roles): &(String, String, Vec<String>)| {
        (name.clone(), NodeFigures { host: host.clone(), roles: roles.clone(), ..NodeFigures::default() })
    };
    let protocol = hb_services::resolve(&plan.trial.service).map(|service| service.protocol());
    let frame = TrialFrame {
        started_at: past.started_at.map(instant).unwrap_or_default(),
        ended_early_at_seconds,
        certainty: past.certainty.clone(),
        counted: past.chapter.counted.clone(),
        phase_seconds: past.chapter.phase_seconds.clone(),
        nodes: past.nodes.iter().map(node).collect(),
        energy_joules: None,
        window_joules: None,
        gpus_throttled: 0,
        server: past.chapter.server.clone(),
        calibration: past.chapter.calibration.clone(),
        // What trials before it sent is not known any more.
        dataset: past.chapter.dataset_entries.map(|entries| DatasetKnown { entries, sent_before: 0 }),
        other_models: past.chapter.other_models.clone(),
        events: past.chapter.events.clone(),
        exited: past.chapter.exited.clone(),
        can_force_length: protocol.is_ok_and(|protocol| protocol == ProtocolName::Openai),
        plan,
    };
    let batches = found.batches().map_err(|error| error.to_string())?.into_iter().flatten().filter_map(Result::ok);
    let rows = batches.flat_map(|batch| {
        let source = batch.key.source;
        batch.records.into_iter().map(move |record| (source.clone(), record))
    });
    let report = report::trial(&frame, &tally, rows, &lost);
    write_recovered(folder, &report, &lost).map_err(|error| error.to_string())?;
    Ok(report)
}
