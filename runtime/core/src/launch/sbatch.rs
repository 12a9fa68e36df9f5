//! The batch script that a careful person would have written.
//!
//! ```text
//! #!/bin/bash -l            a login shell, because sites define `module` in its files
//! #SBATCH …                 one block for each component, all of it quoted by `quote`
//! module load …
//! srun … hbnode --leader …  one step of one binary on every node; its rank decides the role
//! wait                      signals are handed on; the outcome is read from the run's own report
//! ```

use std::{collections::BTreeMap, fmt::Write as _};

use super::{
    components::{Component, components},
    limit::{clock, warning_seconds},
    nodelist::{NodeListError, expand},
    quote::{QuoteError, directive, shell},
};
use crate::recipe::{JobConfig, Recipe};

/// Under `hbnode run` every node's endpoints are at this port, because tunnels are told it beforehand.
const NODE_PORT: u16 = 6000;

/// Slurm looks at its clock about once a minute, so a notice may come so many seconds before it is due.
const EARLY_NOTICE: u64 = 60;

/// What the script needs beside the recipe.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SubmitFacts {
    /// The job's folder on the cluster, absolute; recipe, output and results lie in it.
    pub job_dir: String,
    /// The binary on the cluster, absolute.
    pub binary: String,
    /// Settings over the recipe: path and value.
    pub sets: Vec<(String, String)>,
    /// The run that goes on, relative to the job's folder; nothing where one begins.
    pub resume: Option<String>,
    /// Variables for hbnode itself. No secret belongs here: the script is a file that others may read.
    pub environment: BTreeMap<String, String>,
}

/// Why no script can be written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SbatchError {
    /// A value cannot stand on a line.
    #[error("{0}")]
    Quote(#[from] QuoteError),
    /// The node range is no host list.
    #[error("orchestration.job_config.node_range: {0}")]
    NodeRange(#[from] NodeListError),
    /// The node range and the number of nodes do not fit.
    #[error(
        "orchestration.job_config.node_range names {hosts} hosts and the job has {nodes} nodes{}",
        if *.is_mixed { "; where roles need different resources it must name exactly as many" } else { "" }
    )]
    NodeCount {
        /// How many are named.
        hosts: usize,
        /// How many are needed.
        nodes: u32,
        /// Whether the job has several components.
        is_mixed: bool,
    },
    /// A further word begins no option.
    #[error("orchestration.job_config.extra_sbatch begins with `{word}`, which is no option; write such as `--constraint=x`")]
    NotAnOption {
        /// The word.
        word: String,
    },
}

/// The batch script of a recipe.
///
/// # Errors
/// A value that cannot be written into it, or nodes that do not fit.
pub fn sbatch(recipe: &Recipe, facts: &SubmitFacts) -> Result<String, SbatchError> {
    let components = components(recipe);
    let mut script = String::from("#!/bin/bash -l\n");
    let job = recipe.orchestration.job_config.clone().unwrap_or_default();
    let blocks = blocks(recipe, &job, facts, &components)?;
    script.push_str(&blocks.join("#SBATCH hetjob\n"));
    // Writing to a String cannot fail.
    let _ = write!(
        script,
        "\n# The submitter's variables stay behind (--export=NONE); those of this shell go to the tasks.\n\
         export SLURM_EXPORT_ENV=ALL\numask 077\n"
    );
    if components.len() > 1 {
        // A site's memory per core for one component and the recipe's per node for another would be refused as a
        // contradiction by srun, which reads all components' variables. Without them each step has its component's whole memory.
        script.push_str("unset \"${!SLURM_MEM_PER_@}\"\n");
    }
    // The notice may come a minute early: a trial that would still run then would be cut short.
    let margin = warning_seconds(job.time_limit) + EARLY_NOTICE;
    let _ = writeln!(script, "export HBNODE_END_MARGIN={margin}");
    for (name, value) in &facts.environment {
        let _ = writeln!(script, "export {}={}", shell(name), shell(value));
    }
    for module in &recipe.modules {
        let _ = writeln!(script, "module load {} || exit 1", shell(module));
    }
    script.push_str(TRAPS);
    script.push_str(&step(facts, &components));
    script.push_str(ENDING);
    Ok(script)
}

/// What comes before the step. Without a trap the notice would end this shell; `$!` is the step once it is started. Of
/// SIGTERM `srun` makes the end of its step by force, so that is handed on as the notice too.
const TRAPS: &str = r#"
trap 'kill -USR1 "$!"' USR1 TERM
: > .began

"#;

/// What follows once the step is started. `wait` returns early when a signal comes, hence the loop.
const ENDING: &str = r#"step=$!
wait "$step"
outcome=$?
while kill -0 "$step" 2>/dev/null; do
    wait "$step"
    outcome=$?
done

# What the run came to is in its report, which is written last; the exit code of srun is some task's.
if [ -n "$(find results -mindepth 3 -maxdepth 3 -name report.json -newer .began 2>/dev/null)" ]; then
    exit 0
fi
echo "the run ended without a report; srun ended with $outcome" >&2
exit $((outcome > 0 ? outcome : 1))
"#;

/// One block of `#SBATCH` lines for each component. The first speaks for the whole job.
fn blocks(recipe: &Recipe, job: &JobConfig, facts: &SubmitFacts, components: &[Component]) -> Result<Vec<String>, SbatchError> {
    let hosts = hosts(job, components)?;
    let mut blocks = Vec::new();
    for (index, component) in components.iter().enumerate() {
        let mut lines = Lines::default();
        if index == 0 {
            lines.option("job-name", "scenario", Some(&recipe.scenario))?;
            lines.option("chdir", "the job's folder", Some(&facts.job_dir))?;
            lines.flag("output=slurm-%j.out");
            // A requeued job writes on where it was.
            lines.flag("open-mode=append");
            lines.flag("export=NONE");
            lines.flag("no-requeue");
            lines.flag(&format!("signal=B:USR1@{}", warning_seconds(job.time_limit)));
        }
        lines.option("account", "account", recipe.account.as_ref().map(|account| account.0.as_str()))?;
        lines.option("qos", "qos", recipe.qos.as_deref())?;
        lines.option("partition", "partition", recipe.partition.as_deref())?;
        let reservation = job.reservation.as_ref().map(|reservation| reservation.0.as_str());
        lines.option("reservation", "orchestration.job_config.reservation", reservation)?;
        lines.option("time", "orchestration.job_config.time_limit", job.time_limit.map(clock).as_deref())?;
        lines.option("nodelist", "orchestration.job_config.node_range", hosts.get(index).map(String::as_str))?;
        if job.exclusive == Some(true) {
            lines.flag("exclusive");
        }
        lines.flag("no-kill");
        lines.needs(component);
        lines.words(&job.extra_sbatch)?;
        blocks.push(lines.0);
    }
    Ok(blocks)
}

/// The hosts of each component; nothing where the recipe names none.
fn hosts(job: &JobConfig, components: &[Component]) -> Result<Vec<String>, SbatchError> {
    let Some(range) = &job.node_range else { return Ok(Vec::new()) };
    let hosts = expand(range)?;
    let nodes: u32 = components.iter().map(|component| component.nodes).sum();
    let is_mixed = components.len() > 1;
    if hosts.len() > nodes as usize || (is_mixed && hosts.len() != nodes as usize) {
        return Err(SbatchError::NodeCount { hosts: hosts.len(), nodes, is_mixed });
    }
    if !is_mixed {
        return Ok(vec![range.clone()]);
    }
    let mut rest = hosts.as_slice();
    let mut cut = |component: &Component| {
        let (own, others) = rest.split_at(component.nodes as usize);
        rest = others;
        own.join(",")
    };
    Ok(components.iter().map(&mut cut).collect())
}

/// `#SBATCH` lines.
#[derive(Default)]
struct Lines(String);

impl Lines {
    /// An option and its value, where there is one. `what` is the field for messages.
    fn option(&mut self, name: &str, what: &str, value: Option<&str>) -> Result<(), QuoteError> {
        if let Some(value) = value {
            let quoted = directive(what, value)?;
            self.flag(&format!("{name}={quoted}"));
        }
        Ok(())
    }

    /// An option as it stands.
    fn flag(&mut self, text: &str) {
        let _ = writeln!(self.0, "#SBATCH --{text}");
    }

    fn needs(&mut self, component: &Component) {
        self.flag(&format!("nodes={}", component.nodes));
        self.flag("ntasks-per-node=1");
        if let Some(cpus) = component.needs.cpus_per_task {
            self.flag(&format!("cpus-per-task={cpus}"));
        }
        if let Some(memory) = component.needs.mem_gb {
            self.flag(&format!("mem={memory}G"));
        }
        if let Some(gpus) = component.needs.gpus {
            self.flag(&format!("gpus-per-node={gpus}"));
        }
    }

    /// Words that are not ours, in one line, so that an option and its value may be two words.
    fn words(&mut self, words: &[String]) -> Result<(), SbatchError> {
        let Some(first) = words.first() else { return Ok(()) };
        if !first.starts_with('-') {
            return Err(SbatchError::NotAnOption { word: first.clone() });
        }
        let quoted = words.iter().map(|word| directive("orchestration.job_config.extra_sbatch", word));
        let quoted: Vec<_> = quoted.collect::<Result<_, _>>()?;
        let _ = writeln!(self.0, "#SBATCH {}", quoted.join(" "));
        Ok(())
    }
}

/// The one step, in the background so that this shell can hand signals on.
fn step(facts: &SubmitFacts, components: &[Component]) -> String {
    let mut command = vec![shell(&facts.binary).into_owned()];
    match &facts.resume {
        Some(run) => command.push(format!("--resume {}", shell(run))),
        None => command.extend(["--leader recipe.yaml".into(), "--results results".into()]),
    }
    command.push(format!("--client-port {NODE_PORT}"));
    command.extend(facts.sets.iter().map(|(path, value)| format!("--set {}", shell(&format!("{path}={value}")))));
    let is_mixed = components.len() > 1;
    let part = |(index, component): (usize, &Component)| {
        // Without --no-kill one lost node ends the step, without the other one failed task does.
        let mut words = vec!["--no-kill".to_owned(), "--kill-on-bad-exit=0".to_owned()];
        if is_mixed {
            words.push(format!("--het-group={index}"));
        }
        words.push(format!("--nodes={}", component.nodes));
        words.push("--ntasks-per-node=1".to_owned());
        // Since 22.05 srun does not take this over from sbatch.
        words.extend(component.needs.cpus_per_task.map(|cpus| format!("--cpus-per-task={cpus}")));
        format!("{} \\\n    {}", words.join(" "), command.join(" "))
    };
    let parts: Vec<String> = components.iter().enumerate().map(part).collect();
    format!("srun {} &\n", parts.join(" \\\n  : "))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{
        recipe::{KnownService, PlainText, read},
        trial::Api,
    };

    const SERVICES: [KnownService; 3] = [
        KnownService { name: "ollama", default_api: Api::Generate, is_started: true },
        KnownService { name: "vllm", default_api: Api::Completions, is_started: true },
        KnownService { name: "dummy", default_api: Api::Completions, is_started: true },
    ];
    const DUMMY: &str = include_str!("../../../../recipes/dummy_cluster.yaml");
    const VLLM: &str = include_str!("../../../../recipes/vllm_meluxina.yaml");
    const OLLAMA: &str = include_str!("../../../../recipes/ollama_meluxina.yaml");
    const RAY: &str = include_str!("../../../../recipes/vllm_distributed.yaml");

    fn recipe(text: &str, sets: &[(&str, &str)]) -> Recipe {
        let sets: Vec<_> = sets.iter().map(|(path, value)| ((*path).to_owned(), (*value).to_owned())).collect();
        let reading = read(text.as_bytes(), &sets, &SERVICES);
        reading.recipe.unwrap_or_else(|| panic!("{:#?}", reading.problems))
    }

    fn facts() -> SubmitFacts {
        SubmitFacts {
            job_dir: "/home/users/u/hbnode/jobs/20260101-000000-ab12".into(),
            binary: "/home/users/u/hbnode/bin/hbnode-1-2".into(),
            ..SubmitFacts::default()
        }
    }

    fn script(text: &str, sets: &[(&str, &str)]) -> String {
        sbatch(&recipe(text, sets), &facts()).unwrap()
    }

    #[test]
    fn nodes_that_are_alike_make_one_component() {
        insta::assert_snapshot!("dummy_cluster", script(DUMMY, &[]));
    }

    #[test]
    fn servers_and_clients_that_differ_make_components() {
        insta::assert_snapshot!("vllm_meluxina", script(VLLM, &[]));
        insta::assert_snapshot!("ollama_meluxina", script(OLLAMA, &[]));
        insta::assert_snapshot!("vllm_distributed", script(RAY, &[]));
    }

    #[test]
    fn every_wish_of_the_job_finds_its_place() {
        let sets = [
            ("qos", "dev"),
            ("orchestration.total_nodes", "4"),
            ("orchestration.job_config.reservation", "gpudev"),
            ("orchestration.job_config.node_range", "mel[2001-2004]"),
            ("orchestration.job_config.extra_sbatch", "[--constraint, \"a b\", \"--hint=nomultithread\"]"),
            ("modules", "[env/release/2024.1, \"it's mine\"]"),
        ];
        let mut facts = facts();
        facts.sets = vec![("workload.duration".into(), "1m 30s".into())];
        facts.environment.insert("HBNODE_LOG".into(), "debug $(id)".into());
        insta::assert_snapshot!("every_wish", sbatch(&recipe(DUMMY, &sets), &facts).unwrap());
    }

    #[test]
    fn hosts_are_dealt_to_components_in_the_order_of_roles() {
        let text = script(OLLAMA, &[("orchestration.job_config.node_range", "m[1-5]")]);
        let lists: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix("#SBATCH --nodelist=")).collect();
        assert_eq!(lists, ["m1", "m2,m3", "m4,m5"]);
        let short = sbatch(&recipe(OLLAMA, &[("orchestration.job_config.node_range", "m[1-4]")]), &facts());
        assert_eq!(short, Err(SbatchError::NodeCount { hosts: 4, nodes: 5, is_mixed: true }));
        let long = sbatch(&recipe(DUMMY, &[("orchestration.job_config.node_range", "m[1-4]")]), &facts());
        assert_eq!(long, Err(SbatchError::NodeCount { hosts: 4, nodes: 3, is_mixed: false }));
    }

    #[test]
    fn nodes_that_serve_and_send_need_what_both_need() {
        let sets = [
            ("orchestration.total_nodes", "2"),
            ("orchestration.node_allocation.clients", "{share_servers: true}"),
            ("orchestration.node_allocation.servers.nodes", "2"),
        ];
        let text = script(VLLM, &sets);
        assert!(text.contains("--nodes=2\n") && text.contains("--mem=48G") && text.contains("--gpus-per-node=2"), "{text}");
        assert!(!text.contains("hetjob"));
    }

    #[test]
    fn a_further_word_that_is_no_option_is_refused() {
        let refused = sbatch(&recipe(DUMMY, &[("orchestration.job_config.extra_sbatch", "[hetjob]")]), &facts());
        assert_eq!(refused, Err(SbatchError::NotAnOption { word: "hetjob".into() }));
    }

    /// Lines that a shell would run, without those that are the same in every script.
    fn commands(text: &str) -> Vec<&str> {
        text.lines().skip(1).filter(|line| !line.starts_with('#')).collect()
    }

    proptest! {
        #[test]
        fn a_hostile_text_in_any_field_stays_data(text in "[^\\p{Cc}]{1,20}|['\"\\\\$`;&|#() ]{1,12}", field in 0usize..7) {
            let mut plain = recipe(DUMMY, &[]);
            let mut facts = facts();
            let tame = sbatch(&plain, &facts).unwrap();
            let job = plain.orchestration.job_config.as_mut().unwrap();
            match field {
                0 => plain.account = Some(PlainText(text.clone())),
                1 => plain.qos = Some(text.clone()),
                2 => plain.partition = Some(text.clone()),
                3 => job.reservation = Some(PlainText(text.clone())),
                4 => plain.scenario = text.clone(),
                5 => job.extra_sbatch = vec!["--comment".into(), text.clone()],
                _ => facts.job_dir = text.clone(),
            }
            let wild = sbatch(&plain, &facts).unwrap();
            prop_assert_eq!(commands(&tame), commands(&wild));
        }

        #[test]
        fn a_line_break_in_a_directive_is_refused(text in "[a-z]{0,4}[\n\r][a-z]{0,4}", field in 0usize..4) {
            let mut plain = recipe(DUMMY, &[]);
            match field {
                0 => plain.account = Some(PlainText(text)),
                1 => plain.qos = Some(text),
                2 => plain.partition = Some(text),
                _ => plain.scenario = text,
            }
            let is_refused = matches!(sbatch(&plain, &facts()), Err(SbatchError::Quote(_)));
            prop_assert!(is_refused);
        }
    }
}
