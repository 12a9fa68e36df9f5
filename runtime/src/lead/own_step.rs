//! A leader in an allocation without a step, as `salloc` and a batch script without `srun` leave it: it starts the step
//! itself, one task of the same words on every node, and stands by for its signals and its end.

use std::{
    ffi::OsString,
    path::{Path, PathBuf},
    process::Stdio,
};

use hb_actors::cluster::join_file::STATE_SHELF;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use super::{ending, surroundings::SlurmStep};
use crate::{
    cli::{LeadWords, exit::Exit},
    signals::{Asked, Signals},
};

/// Names the file into which the step's leader writes how it ended: the exit code of `srun` is some task's.
pub const END_FILE: &str = "HBNODE_END_FILE";

/// Starts the step, and ends as its leader did.
pub fn run(words: &LeadWords, results: &Path) -> Exit {
    let failed = |sentence: String| {
        eprintln!("error: {sentence}");
        ending::say(words, None, None, Exit::Failed)
    };
    let binary = match std::env::current_exe() {
        Ok(binary) => binary,
        Err(error) => return failed(format!("cannot tell where this binary is: {error}")),
    };
    let command: Vec<OsString> = std::iter::once(binary.into()).chain(std::env::args_os().skip(1)).collect();
    let srun = match srun_words(|name| std::env::var(name).ok(), &command) {
        Ok(srun) => srun,
        Err(sentence) => return failed(sentence),
    };
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return failed(format!("cannot start: {error}")),
    };
    let end_file = match end_file(results) {
        Ok(end_file) => end_file,
        Err(error) => return failed(format!("cannot write into `{}`: {error}", results.display())),
    };
    if !words.is_quiet {
        eprintln!("this allocation has no step yet: starting one task on each of its nodes with srun");
    }
    let stepped = runtime.block_on(stepped(&srun, &end_file));
    let end = std::fs::read(&end_file).ok().and_then(|text| serde_json::from_slice::<Value>(&text).ok());
    // It may never have been written, and the shelf may hold others' files.
    let _ = std::fs::remove_file(&end_file);
    let _ = end_file.parent().map(std::fs::remove_dir);
    let (said, interrupted) = match stepped {
        Ok(stepped) => stepped,
        Err(error) => return failed(format!("cannot run `srun`: {error}")),
    };
    let exit = end.and_then(|end| Exit::of_code(end["exit_code"].as_u64()?));
    match exit {
        // Before the step was known it was told by SIGUSR1, whatever the person's signal was.
        Some(Exit::Terminated) if interrupted => Exit::Interrupted,
        Some(exit) => exit,
        None => failed(format!("the step ended ({said}) before its leader could say how the run ended")),
    }
}

/// Runs it, and hands signals on. What `srun` ended with, and whether SIGINT came.
async fn stepped(srun: &[OsString], end_file: &Path) -> std::io::Result<(String, bool)> {
    let mut signals = Signals::listen()?;
    let mut command = tokio::process::Command::new("srun");
    command.args(srun).env(END_FILE, end_file);
    // Ctrl-C on the terminal is handed on from here: of two of them `srun` itself would make an abort.
    command.process_group(0).stdin(Stdio::null());
    let mut child = command.spawn()?;
    let pid = child.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?));
    let mut interrupted = false;
    loop {
        let signal = tokio::select! {
            status = child.wait() => return Ok((status?.to_string(), interrupted)),
            signal = signals.next() => signal,
        };
        interrupted |= signal == Asked::Interrupt;
        hand_on(signal, end_file, pid).await;
    }
}

/// To the step's tasks. `srun` itself hands on SIGUSR1 alone: of SIGTERM it makes the end of the step by force.
async fn hand_on(signal: Asked, end_file: &Path, srun: Option<Pid>) {
    let name = match signal {
        Asked::Interrupt => "INT",
        Asked::Terminate => "TERM",
        Asked::TimeIsNearlyUp => "USR1",
    };
    let known = std::fs::read(end_file).ok().and_then(|text| serde_json::from_slice::<Value>(&text).ok());
    if let Some(step) = known.as_ref().and_then(|known| known["step"].as_str()) {
        let told = tokio::process::Command::new("scancel").arg(format!("--signal={name}")).arg(step).status().await;
        if told.is_ok_and(|status| status.success()) {
            return;
        }
    }
    if let Some(srun) = srun {
        // It may have ended between the two lines.
        let _ = kill_process(srun, Signal::USR1);
    }
}

/// Tells whoever stands by which step it is.
pub fn announce(step: Option<&SlurmStep>) {
    if let Some(step) = step {
        write_end(&serde_json::json!({"step": format!("{}.{}", step.job, step.step)}).to_string());
    }
}

/// A file on the file system that all nodes see.
fn end_file(results: &Path) -> std::io::Result<PathBuf> {
    let shelf = std::path::absolute(results)?.join(STATE_SHELF);
    std::fs::create_dir_all(&shelf)?;
    Ok(shelf.join(format!("end-{}.json", uuid::Uuid::now_v7().simple())))
}

/// Writes down how the run ended, where somebody stands by for it.
pub fn write_end(line: &str) {
    let Some(path) = std::env::var_os(END_FILE).map(PathBuf::from) else { return };
    let fresh = path.with_extension("partial");
    // The run took its shelf away with its way in, where that was all on it.
    let shelf = path.parent().map_or(Ok(()), std::fs::create_dir_all);
    let written = shelf.and_then(|()| std::fs::write(&fresh, line)).and_then(|()| std::fs::rename(&fresh, &path));
    if let Err(error) = written {
        eprintln!("error: cannot write `{}`: {error}", path.display());
    }
}

/// The words of one step over all nodes of the allocation; each of its components has the command once.
fn srun_words(variable: impl Fn(&str) -> Option<String>, command: &[OsString]) -> Result<Vec<OsString>, String> {
    let number = |name: &str| variable(name)?.parse::<u32>().ok().filter(|number| *number > 0);
    let components = number("SLURM_HET_SIZE").unwrap_or(1);
    let mut words: Vec<OsString> = Vec::new();
    for component in 0..components {
        let is_mixed = components > 1;
        let suffix = if is_mixed { format!("_HET_GROUP_{component}") } else { String::new() };
        let of_component = |name: &str| number(&format!("{name}{suffix}"));
        let nodes = of_component("SLURM_JOB_NUM_NODES").or_else(|| of_component("SLURM_NNODES")).ok_or_else(|| {
            format!("SLURM_JOB_NUM_NODES{suffix} does not say how many nodes there are; start `srun --ntasks-per-node=1 hbnode …` by hand")
        })?;
        let mut options = vec!["--no-kill".to_owned(), "--kill-on-bad-exit=0".to_owned()];
        options.extend(is_mixed.then(|| format!("--het-group={component}")));
        options.extend([format!("--nodes={nodes}"), format!("--ntasks={nodes}"), "--ntasks-per-node=1".to_owned()]);
        // Since 22.05 srun does not take this over from the allocation; left out, the task has all of its node's share.
        options.extend(of_component("SLURM_CPUS_PER_TASK").map(|cpus| format!("--cpus-per-task={cpus}")));
        words.extend((component > 0).then(|| ":".into()));
        words.extend(options.into_iter().map(OsString::from));
        words.extend_from_slice(command);
    }
    Ok(words)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn words(variables: &[(&str, &str)]) -> Result<String, String> {
        let variables: BTreeMap<_, _> = variables.iter().copied().collect();
        let words = srun_words(|name| variables.get(name).map(|value| (*value).to_owned()), &["hbnode".into()])?;
        Ok(words.join(std::ffi::OsStr::new(" ")).into_string().unwrap())
    }

    #[test]
    fn one_task_goes_to_every_node_and_keeps_its_cpus() {
        let plain = "--no-kill --kill-on-bad-exit=0 --nodes=3 --ntasks=3 --ntasks-per-node=1";
        assert_eq!(words(&[("SLURM_NNODES", "3")]), Ok(format!("{plain} hbnode")));
        let cpus = words(&[("SLURM_JOB_NUM_NODES", "3"), ("SLURM_NTASKS", "24"), ("SLURM_CPUS_PER_TASK", "8")]);
        assert_eq!(cpus, Ok(format!("{plain} --cpus-per-task=8 hbnode")));
        assert!(words(&[]).is_err());
    }

    #[test]
    fn every_component_of_a_heterogeneous_allocation_has_the_command() {
        let sizes = [("SLURM_JOB_NUM_NODES_HET_GROUP_0", "1"), ("SLURM_JOB_NUM_NODES_HET_GROUP_1", "2")];
        let said = words(&[&sizes[..], &[("SLURM_HET_SIZE", "2"), ("SLURM_CPUS_PER_TASK_HET_GROUP_1", "4")]].concat());
        let parts = [
            "--no-kill --kill-on-bad-exit=0 --het-group=0 --nodes=1 --ntasks=1 --ntasks-per-node=1 hbnode",
            "--no-kill --kill-on-bad-exit=0 --het-group=1 --nodes=2 --ntasks=2 --ntasks-per-node=1 --cpus-per-task=4 hbnode",
        ];
        assert_eq!(said, Ok(parts.join(" : ")));
        assert!(words(&[("SLURM_HET_SIZE", "2")]).unwrap_err().contains("SLURM_JOB_NUM_NODES_HET_GROUP_0"));
    }
}
