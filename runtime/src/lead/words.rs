//! What the command line adds to a recipe: `--set`, the old orchestrator's options, and their defaults.

use hb_core::recipe::Mode;

use super::{
    recipe::{self, Checked, Source},
    surroundings::Surroundings,
};
use crate::cli::{LeadWords, exit::Exit};

/// The recipe to lead, with everything that the words say put over it.
///
/// # Errors
/// The exit code, after everything was said.
pub fn runnable(source: &Source, words: &LeadWords, is_silent: bool) -> Result<Checked, Exit> {
    let checked = recipe::runnable(source, &sets(source, words), is_silent)?;
    let is_in_job = std::env::var_os("SLURM_JOB_ID").is_some();
    let refusal = match checked.recipe.orchestration.mode {
        Mode::Slurm if !is_in_job => Some("slurm"),
        Mode::Kubernetes if std::env::var_os("KUBERNETES_SERVICE_HOST").is_none() => Some("kubernetes"),
        _ => None,
    };
    let over_ssh = checked.recipe.orchestration.mode == Mode::Ssh && words.local_nodes.is_none();
    let of_ssh = [
        ("--binary", words.binary.is_some()),
        ("--remote-dir", words.remote_dir.is_some()),
        ("--ssh-config", words.ssh_config.is_some()),
    ];
    if let Some((word, _)) = of_ssh.into_iter().find(|(_, is_said)| *is_said && !over_ssh) {
        return Err(refused(
            is_silent,
            &format!(
                "{word} is for nodes that are started over ssh: `orchestration.mode: ssh`, or --server-nodes and --client-nodes"
            ),
        ));
    }
    if over_ssh && Surroundings::read().step.is_some_and(|step| step.tasks > 1) {
        return Err(refused(
            is_silent,
            "orchestration.mode is `ssh`, and this is one of several tasks of a step: nodes are started over ssh by one leader; start \
             it without srun, or let the tasks be the nodes with `--set orchestration.mode=slurm`",
        ));
    }
    if let Some(mode) = refusal {
        eprintln!(
            "error: orchestration.mode is `{mode}`, and this is no {mode} allocation; start it inside of one, or lead it here with \
             `--set orchestration.mode=local`"
        );
        return Err(Exit::BadWords);
    }
    Ok(checked)
}

fn refused(is_silent: bool, sentence: &str) -> Exit {
    if !is_silent {
        eprintln!("error: {sentence}");
    }
    Exit::BadWords
}

/// The old options as settings of recipe fields. What was set by name comes last and wins.
fn sets(source: &Source, words: &LeadWords) -> Vec<(String, String)> {
    let mut sets = Vec::new();
    let mut set = |path: &str, value: Option<String>| sets.extend(value.map(|value| (path.to_owned(), value)));
    set("servers.service_config.port", words.server_port.map(|port| port.to_string()));
    set(
        "servers.health_check.timeout",
        words.timeout.filter(|_| !names_timeout(source, words)).map(|seconds| format!("{seconds}s")),
    );
    set("monitoring.enabled", words.enable_monitoring.then(|| "true".to_owned()));
    set("monitoring.pushgateway.node", words.pushgateway_node.clone());
    let account = std::env::var("MLUX_ACCOUNT").ok().filter(|_| !hb_core::recipe::names_account(&source.bytes));
    sets.extend(account.map(|account| ("account".to_owned(), account)));
    sets.extend(words.sets.iter().cloned());
    sets
}

/// Whether the recipe says itself how long a server has to become ready; it wins over `--timeout`.
fn names_timeout(source: &Source, words: &LeadWords) -> bool {
    let checked = recipe::check(source, &words.sets).ok();
    let health = checked.and_then(|checked| checked.recipe.servers).and_then(|servers| servers.health_check);
    health.is_some_and(|health| health.timeout.is_some())
}
