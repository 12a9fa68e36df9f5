//! `hbnode logs`: a job's output.

use std::{process::Stdio, sync::Arc};

use hb_core::launch::shell;

use super::{
    exit::Exit,
    submitted::{failed, find, open, watch},
    words::LogsWords,
};
use crate::submit::{Job, Target, TargetError, Watched};

/// Shows what is there, or goes on until the job is over.
pub fn run(words: &LogsWords) -> Exit {
    let shown = find(&words.job).and_then(|job| {
        let target = Arc::new(open(&job)?);
        if words.follow {
            return watch(&target, &job, Watched::Output).map(drop);
        }
        show(&target, &job).map_err(failed)
    });
    shown.err().unwrap_or(Exit::Ok)
}

/// Byte by byte, however long it is.
fn show(target: &Target, job: &Job) -> Result<(), TargetError> {
    let script = format!(
        "file={}/slurm-{}.out; if [ -e \"$file\" ]; then cat -- \"$file\"; \
         else echo 'there is no output yet; `hbnode status` tells whether the job has begun' >&2; exit 1; fi",
        shell(&job.dir),
        job.job
    );
    let child = target.start(&script, Stdio::null(), Stdio::inherit())?;
    let output = child.wait_with_output().map_err(|cause| TargetError::Program { program: "cat", cause })?;
    if output.status.success() { Ok(()) } else { Err(target.failure("reading the output", output.status, &output.stderr)) }
}
