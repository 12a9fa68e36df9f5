//! The files that tell what a run and its trials came to, in the order in which they appear.

use std::{io, path::Path};

use hb_core::{
    report::{Report, TrialReport},
    tally::LostRow,
};

use super::{Manifest, durable, pretty, rows, troubles::Troubles};
use crate::render;

/// Writes what a trial came to that was rebuilt from its spool.
///
/// # Errors
/// If one of its files cannot be written.
pub fn write_recovered(folder: &Path, report: &TrialReport, lost: &[LostRow]) -> io::Result<()> {
    rows::write_requests(folder, lost)?;
    rows::write_timeseries(folder, &report.timeline)?;
    durable::write_whole(&folder.join("trial.json"), &pretty(report)?)
}

/// Writes the reports of a run again; what could not be written is returned.
#[must_use]
pub fn write_again(folder: &Path, report: &Report) -> Vec<String> {
    let mut troubles = Troubles::default();
    write_reports(folder, report, &mut troubles);
    troubles.sentences()
}

/// Writes `manifest.json`.
pub(super) fn write_manifest(folder: &Path, manifest: &Manifest, troubles: &mut Troubles) {
    let written = pretty(manifest).and_then(|text| durable::write_whole(&folder.join("manifest.json"), &text));
    troubles.note("manifest.json", written);
}

/// Writes `summary.md`, `report.html` and, last, `report.json`: who sees that one sees all.
pub(super) fn write_reports(folder: &Path, report: &Report, troubles: &mut Troubles) {
    let mut report = report.clone();
    let given = std::mem::take(&mut report.warnings);
    let told = |troubles: &Troubles| {
        let fresh: Vec<String> = troubles.sentences().into_iter().filter(|sentence| !given.contains(sentence)).collect();
        given.iter().cloned().chain(fresh).collect()
    };
    report.warnings = told(troubles);
    let summary = render::summary(&report);
    troubles.note("summary.md", durable::write_whole(&folder.join("summary.md"), summary.as_bytes()));
    report.warnings = told(troubles);
    let page = render::report_html(&report);
    troubles.note("report.html", durable::write_whole(&folder.join("report.html"), page.as_bytes()));
    report.warnings = told(troubles);
    let written = pretty(&report).and_then(|text| durable::write_whole(&folder.join("report.json"), &text));
    troubles.note("report.json", written);
}
