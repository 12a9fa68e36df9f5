//! The door to the results: what the leader's actors hand out, and `runtime` makes durable.

use std::io;

use hb_core::{
    batch::{Batch, Source},
    events::RunEvent,
    facts::{LogBatch, NodeReading},
    plan::Plan,
    record::Record,
    report::{Report, TrialReport},
    tally::{Live, LostRow},
    units::TrialId,
};

/// The rows of a trial, as they were spooled.
pub type Rows = Box<dyn Iterator<Item = io::Result<(Source, Record)>> + Send>;

/// Takes what a run produces. Only `runtime` writes results; the actors see this much of it.
///
/// Errors of [`Recorder::spool`] and [`Recorder::finish_trial`] are handed back, because a batch that is
/// not durable is not acknowledged and a trial that is not on disk is not finished. Everything else keeps
/// its own count of what could not be written, for the report's warnings.
pub trait Recorder: Send + 'static {
    /// Something happened.
    fn event(&mut self, event: &RunEvent);
    /// A node sampled itself.
    fn reading(&mut self, reading: &NodeReading);
    /// A process wrote lines.
    fn logs(&mut self, logs: &LogBatch);
    /// The run as it stands, once or twice a second.
    fn live(&mut self, live: &Live);
    /// A trial's books are opened.
    ///
    /// # Errors
    /// Its folder cannot be made.
    fn begin_trial(&mut self, plan: &Plan) -> io::Result<()>;
    /// Appends a batch to the trial's spool; it survives the death of this process.
    ///
    /// # Errors
    /// It could not be written whole.
    fn spool(&mut self, batch: &Batch) -> io::Result<()>;
    /// Everything that was spooled for a trial.
    ///
    /// # Errors
    /// The spool cannot be read.
    fn rows(&mut self, trial: &TrialId) -> io::Result<Rows>;
    /// Writes a trial's results, durable before the next trial begins.
    ///
    /// # Errors
    /// They could not be written whole.
    fn finish_trial(&mut self, report: &TrialReport, lost: &[LostRow]) -> io::Result<()>;
    /// Writes the report of a run that was told to end, as it stands. It is written again when the run is over, if its
    /// process lives so long.
    fn save(&mut self, report: Report);
}
