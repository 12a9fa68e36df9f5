//! `hbnode logs`: a job's output, or what one node of its run wrote.

use std::{process::Stdio, sync::Arc};

use hb_core::launch::shell;

use super::{
    exit::Exit,
    submitted::{failed, find, open, watch},
    words::LogsWords,
};
use crate::submit::{Job, Target, TargetError, Watched, node_lines};

/// Shows what is there, or goes on until the job is over.
pub fn run(words: &LogsWords) -> Exit {
    let shown = find(&words.job).and_then(|job| {
        let target = Arc::new(open(&job)?);
        match &words.node {
            None if words.follow => watch(&target, &job, Watched::Output).map(drop),
            None => show(&target, &job).map_err(failed),
            // A node of a job that waits may yet come, so only one that was asked for once can be told to be unknown.
            Some(node) if words.follow => watch(&target, &job, Watched::Node(node.clone())).map(drop),
            Some(node) => show_node(&target, &job, node),
        }
    });
    shown.err().unwrap_or(Exit::Ok)
}

/// What processes on one node wrote so far.
fn show_node(target: &Target, job: &Job, node: &str) -> Result<(), Exit> {
    let said = node_lines(target, job, node).map_err(failed)?;
    if !said.lines.is_empty() {
        said.lines.iter().for_each(|line| println!("{line}"));
        return Ok(());
    }
    match said.nodes.as_slice() {
        [] => eprintln!(
            "error: no process of the job's run has written anything yet; `hbnode logs {}` shows the job's own output",
            job.job
        ),
        nodes => eprintln!("error: nothing was written on `{node}`; there is output of {}", nodes.join(", ")),
    }
    Err(Exit::Failed)
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
