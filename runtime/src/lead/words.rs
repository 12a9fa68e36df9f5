//! What the command line adds to a recipe: `--set`, the old orchestrator's options, and their defaults.

use std::env;

use hb_core::{
    recipe::{Mode, Recipe},
    trial::ContainerRuntime,
    units::Span,
};

use super::{
    placement::{Placement, hosts_of_step},
    recipe::{self, Checked, Source},
    refused::Refused,
    surroundings::Surroundings,
};
use crate::cli::LeadWords;

/// The pause between two samples where `--enable-monitoring` asks for them and nothing says it, as it was.
const MONITOR_INTERVAL: Span = Span(std::time::Duration::from_secs(5));

/// What is to be led.
pub struct Runnable {
    /// The recipe, with everything that the words say put over it.
    pub checked: Checked,
    /// Where the words place its roles, if they do.
    pub placement: Option<Placement>,
}

/// The recipe to lead, with everything that the words say put over it. Its files are not read yet: what is made of them may
/// be drawn by the seed.
///
/// # Errors
/// What stands in the way.
pub fn runnable(source: &Source, words: &LeadWords, is_silent: bool) -> Result<Runnable, Refused> {
    let written = written(source, words);
    let has_endpoints = written.as_ref().is_some_and(Recipe::has_endpoints);
    let placement = Placement::of(words, has_endpoints).map_err(Refused::words)?;
    let is_in_job = env::var_os("SLURM_JOB_ID").is_some();
    let mut sets = sets(source, words, written.as_ref());
    if let Some(placement) = &placement {
        // What is set by name comes after them, and wins.
        sets.splice(0..0, placed(placement, source, words, is_in_job));
    }
    let checked = recipe::built(source, &sets, is_silent)?;
    if let Some(placement) = placement.as_ref().filter(|_| is_in_job) {
        check_in_job(placement, &checked).map_err(Refused::words)?;
    }
    let refusal = match checked.recipe.orchestration.mode {
        Mode::Slurm if !is_in_job => Some("slurm"),
        _ => None,
    };
    let over_ssh = checked.recipe.orchestration.mode == Mode::Ssh && words.local_nodes.is_none();
    let of_ssh = [
        ("--binary", words.binary.is_some()),
        ("--remote-dir", words.remote_dir.is_some()),
        ("--ssh-config", words.ssh_config.is_some()),
    ];
    if let Some((word, _)) = of_ssh.into_iter().find(|(_, is_said)| *is_said && !over_ssh) {
        return Err(Refused::words(format!(
            "{word} is for nodes that are started over ssh: `orchestration.mode: ssh`, or --server-nodes and --client-nodes"
        )));
    }
    if over_ssh && Surroundings::read().step.is_some_and(|step| step.tasks > 1) {
        return Err(Refused::words(
            "orchestration.mode is `ssh`, and this is one of several tasks of a step: nodes are started over ssh by one leader; start \
             it without srun, or let the tasks be the nodes with `--set orchestration.mode=slurm`",
        ));
    }
    if let Some(mode) = refusal {
        return Err(Refused::words(format!(
            "orchestration.mode is `{mode}`, and this is no {mode} allocation; start it inside of one, or lead it here with \
             `--set orchestration.mode=local`"
        )));
    }
    Ok(Runnable { checked, placement })
}

/// The pause between two samples, if any are taken.
#[must_use]
pub fn monitor_interval(words: &LeadWords, recipe: &Recipe) -> Option<Span> {
    let own = recipe.monitor_interval()?;
    let is_written =
        recipe.monitoring.iter().flat_map(|monitoring| &monitoring.metrics).any(|group| group.scrape_interval.is_some());
    Some(match words.monitor_interval {
        Some(seconds) => Span::from_secs(seconds),
        None if words.enable_monitoring && !is_written => MONITOR_INTERVAL,
        None => own,
    })
}

/// The settings that place roles. Outside of a job the nodes are reached over ssh, and their servers run in what they would
/// have run in.
fn placed(placement: &Placement, source: &Source, words: &LeadWords, is_in_job: bool) -> Vec<(String, String)> {
    let mut sets = placement.sets(!is_in_job);
    let account = [("account".to_owned(), "any".to_owned())];
    let before = recipe::check(source, &[&account, &words.sets[..]].concat()).ok();
    if !is_in_job && before.is_some_and(|before| before.recipe.runtime() == ContainerRuntime::Apptainer) {
        sets.push(("artifacts.runtime".to_owned(), "apptainer".to_owned()));
    }
    sets
}

/// Inside of a job the named nodes are hosts of its step.
fn check_in_job(placement: &Placement, checked: &Checked) -> Result<(), String> {
    if checked.recipe.orchestration.mode == Mode::Ssh {
        return Err("inside of a job --server-nodes and --client-nodes place roles on the job's own tasks, and orchestration.mode is `ssh`; write \
                    `--set orchestration.mode=slurm`, or name the nodes in orchestration.nodes"
            .to_owned());
    }
    let hosts = hosts_of_step(|name| env::var(name).ok());
    let missing = placement.missing(&hosts);
    if hosts.is_empty() || missing.is_empty() {
        return Ok(());
    }
    Err(format!("this job has no node `{}`; it has {}", missing.join("`, `"), hosts.join(", ")))
}

/// The old options as settings of recipe fields. What was set by name comes last and wins.
fn sets(source: &Source, words: &LeadWords, written: Option<&Recipe>) -> Vec<(String, String)> {
    let mut sets = Vec::new();
    let mut set = |path: &str, value: Option<String>| sets.extend(value.map(|value| (path.to_owned(), value)));
    set("servers.service_config.port", words.server_port.map(|port| port.to_string()));
    set(
        "servers.health_check.timeout",
        words.timeout.filter(|_| !written.is_some_and(names_timeout)).map(|seconds| format!("{seconds}s")),
    );
    let is_monitoring = words.enable_monitoring || words.pushgateway_node.is_some() || words.monitor_interval.is_some();
    set("monitoring.enabled", is_monitoring.then(|| "true".to_owned()));
    set("monitoring.pushgateway.node", words.pushgateway_node.clone());
    // The old monitor pushed what it sampled, as often as it did.
    let pushes_every = words.monitor_interval.filter(|_| words.pushgateway_node.is_some());
    set("monitoring.pushgateway.interval", pushes_every.map(|seconds| format!("{seconds}s")));
    let account = std::env::var("MLUX_ACCOUNT").ok().filter(|_| !hb_core::recipe::names_account(&source.bytes));
    sets.extend(account.map(|account| ("account".to_owned(), account)));
    sets.extend(words.sets.iter().cloned());
    sets
}

/// The recipe as far as it says what is measured. Where it runs is left out: the words may say that.
fn written(source: &Source, words: &LeadWords) -> Option<Recipe> {
    let anywhere = [("orchestration.mode", "local"), ("orchestration.nodes", "[]")];
    let anywhere = anywhere.map(|(path, value)| (path.to_owned(), value.to_owned()));
    recipe::check(source, &[&words.sets[..], &anywhere].concat()).ok().map(|checked| checked.recipe)
}

/// Whether the recipe says itself how long a server has to become ready; it wins over `--timeout`.
fn names_timeout(recipe: &Recipe) -> bool {
    let health = recipe.servers.as_ref().and_then(|servers| servers.health_check.as_ref());
    health.is_some_and(|health| health.timeout.is_some())
}
