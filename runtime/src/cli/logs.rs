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
            Some(node) if words.follow => follow_node(&target, &job, node),
            Some(node) => show_node(&target, &job, node),
        }
    });
    shown.err().unwrap_or(Exit::Ok)
}

/// What processes on one node write, until the job is over. A node of a job that waits may yet come, so one that is not there
/// is told at once and is an error at the end.
fn follow_node(target: &Arc<Target>, job: &Job, node: &str) -> Result<(), Exit> {
    let so_far = node_lines(target, job, node).map_err(failed)?;
    if so_far.lines.is_empty() && !so_far.nodes.is_empty() {
        eprintln!("{}, so far", nothing_of(node, &so_far.nodes));
    }
    watch(target, job, Watched::Node(node.to_owned()))?;
    let whole = node_lines(target, job, node).map_err(failed)?;
    if whole.lines.is_empty() { Err(silent(job, node, &whole.nodes)) } else { Ok(()) }
}

/// What processes on one node wrote so far.
fn show_node(target: &Target, job: &Job, node: &str) -> Result<(), Exit> {
    let said = node_lines(target, job, node).map_err(failed)?;
    if said.lines.is_empty() {
        return Err(silent(job, node, &said.nodes));
    }
    said.lines.iter().for_each(|line| println!("{line}"));
    Ok(())
}

fn nothing_of(node: &str, nodes: &[String]) -> String {
    format!("nothing was written on `{node}`; there is output of {}", nodes.join(", "))
}

/// Says that a node wrote nothing, and which did.
fn silent(job: &Job, node: &str, nodes: &[String]) -> Exit {
    if nodes.is_empty() {
        eprintln!(
            "error: no process of the job's run has written anything yet; `hbnode logs {}` shows the job's own output",
            job.job
        );
    } else {
        eprintln!("error: {}", nothing_of(node, nodes));
    }
    Exit::Failed
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
