//! `summary.md`: seam.

use hb_core::report::Report;

pub(crate) fn markdown(report: &Report) -> String {
    format!("# {}\n", report.run.scenario)
}
