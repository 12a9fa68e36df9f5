//! The words as typed. Their help texts are the manual's; nothing here thinks.

use std::{ffi::OsString, path::PathBuf};

use clap::{Args, CommandFactory as _, FromArgMatches as _, Parser, Subcommand, error::ErrorKind, parser::ValueSource};
use clap_complete::Shell;
use hb_core::secret_names::names_secret;

use super::BUILD;

const AFTER: &str = "\
Exit codes:
  0    it did what it was asked (a run that is VALID or SUSPECT)
  1    the run failed
  2    the recipe or the words are wrong
  3    the run went through and its result is INVALID
  4    the cluster could not form, or a node lost its leader
  130  ended by SIGINT, with a valid partial report
  143  ended by SIGTERM or by the job's wall time, with a valid partial report

Environment:
  HBNODE_LEADER     HOST:PORT of the leader, for a node
  HBNODE_JOIN_FILE  the file with the way in, for a node
  HBNODE_STATE      the folder in which leader and nodes find each other
  HBNODE_END_MARGIN the seconds before a job's end by which the last trial must be over (60)
  HBNODE_LOG        filter of the log on standard error
  MLUX_USER         the user on the cluster, for ssh
  MLUX_KEY          the file of the private key, for ssh
  MLUX_ACCOUNT      the account, where a recipe leaves it out
  NO_COLOR          no colours";

/// Turns a cluster allocation into a benchmark of an LLM inference service.
///
/// `hbnode --leader RECIPE` leads a run; alone on a laptop it is leader and node in one process. Under
/// `srun` the same command line goes to every task: rank 0 leads, the others join. `hbnode` without a
/// recipe is one node: it finds its leader, takes the roles it is given, and leaves when the run ends.
#[derive(Debug, Parser)]
#[command(name = "hbnode", version = BUILD, after_long_help = AFTER, subcommand_negates_reqs = true)]
pub struct Words {
    /// Says more on standard error (twice: much more)
    #[arg(short, long, action = clap::ArgAction::Count, global = true)]
    pub verbose: u8,
    /// Says only what went wrong
    #[arg(short, long, global = true)]
    pub quiet: bool,
    /// Leading.
    #[command(flatten)]
    pub lead: LeadWords,
    /// Being a node.
    #[command(flatten)]
    pub node: NodeWords,
    /// The verb, if there is one.
    #[command(subcommand)]
    pub verb: Option<Verb>,
}

impl Words {
    /// Whether these words ask to lead.
    pub fn leads(&self) -> bool {
        let lead = &self.lead;
        lead.leader.is_some() || lead.workload_config_file.is_some() || lead.resume.is_some()
    }

    /// Whether something says where the leader is.
    pub fn has_way_in(&self) -> bool {
        self.node.join.is_some()
            || self.node.join_file.is_some()
            || self.node.join_stdin
            || std::env::var_os("HBNODE_STATE").is_some()
            || std::env::var_os("SLURM_JOB_ID").is_some()
    }

    /// Reads them as typed. What belongs to leading or to a node means nothing to a verb, and is refused before one.
    ///
    /// # Errors
    /// What is wrong with them, or the help that they ask for.
    pub fn read<I: IntoIterator<Item = T>, T: Into<OsString> + Clone>(arguments: I) -> Result<Self, clap::Error> {
        let mut command = Self::command();
        let matches = command.try_get_matches_from_mut(arguments)?;
        if let Some(verb) = matches.subcommand_name() {
            let is_typed = |word: &&clap::Arg| {
                !word.is_global_set() && matches.value_source(word.get_id().as_str()) == Some(ValueSource::CommandLine)
            };
            let named = |word: &clap::Arg| word.get_long().unwrap_or_else(|| word.get_id().as_str()).to_owned();
            let typed = command.get_arguments().find(is_typed).map(named);
            if let Some(word) = typed {
                let sentence = format!(
                    "`--{word}` before `{verb}` would mean nothing: the words of a verb follow it, see `hbnode {verb} --help`"
                );
                return Err(command.error(ErrorKind::ArgumentConflict, sentence));
            }
        }
        Self::from_arg_matches(&matches)
    }

    /// Prints the help.
    pub fn help() {
        // Printing fails only when nobody reads it any more.
        let _ = Self::command().print_long_help();
    }
}

/// Words for leading a run.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Leading a run", group(clap::ArgGroup::new("led").multiple(true)))]
pub struct LeadWords {
    /// Whether only what went wrong is said while the run goes on; `--quiet` is a word of every verb.
    #[arg(skip)]
    pub is_quiet: bool,
    /// Leads the run that this recipe describes
    #[arg(long, value_name = "RECIPE", group = "led")]
    pub leader: Option<PathBuf>,
    /// Goes on with the run in this folder: what it had finished is not repeated. Without a recipe it takes the run's own
    #[arg(long, value_name = "RUN_DIR", group = "led")]
    pub resume: Option<PathBuf>,
    /// Starts N node processes on this machine instead of being a node itself
    #[arg(long, value_name = "N", requires = "led", value_parser = local_nodes)]
    pub local_nodes: Option<std::num::NonZeroU32>,
    /// The folder that takes results [default: $WORK/results, else ./results]
    #[arg(long, value_name = "DIR", requires = "led")]
    pub results: Option<PathBuf>,
    /// Overrides a field of the recipe, such as `workload.duration=30s`; may be repeated
    #[arg(long = "set", value_name = "PATH=VALUE", value_parser = assignment, requires = "led")]
    pub sets: Vec<(String, String)>,
    /// Prints one line of JSON at the end, and nothing else, on standard output
    #[arg(long, requires = "led")]
    pub json: bool,
    /// The time in which every node must have joined, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 120, requires = "led")]
    pub join_timeout: u64,
    /// Mode ssh: the binary that runs on the nodes [default: this one, at the same path where it lies there, else copied]
    #[arg(long, value_name = "FILE", requires = "led")]
    pub binary: Option<PathBuf>,
    /// Mode ssh: the folder on the nodes that takes a copy of the binary; relative to the home folder [default: hbnode]
    #[arg(long, value_name = "DIR", requires = "led")]
    pub remote_dir: Option<String>,
    /// Mode ssh: a configuration file for ssh in place of your own
    #[arg(long, value_name = "FILE", requires = "led")]
    pub ssh_config: Option<PathBuf>,
    /// A workload block or a recipe (the old orchestrator's name for --leader)
    #[arg(long, value_name = "PATH", conflicts_with = "leader", group = "led")]
    pub workload_config_file: Option<PathBuf>,
    /// The nodes that run the servers: hosts of this job, else reached over ssh (the old orchestrator's way to place roles)
    #[arg(long, value_name = "NODE", num_args = 1.., value_delimiter = ',', requires = "led", conflicts_with = "local_nodes")]
    pub server_nodes: Vec<String>,
    /// The nodes that send the load; the same list as for the servers shares them
    #[arg(long, value_name = "NODE", num_args = 1.., value_delimiter = ',', requires = "led", conflicts_with = "local_nodes")]
    pub client_nodes: Vec<String>,
    /// The port servers listen on [default: the service's own]
    #[arg(long, value_name = "PORT", requires = "led")]
    pub server_port: Option<u16>,
    /// The time a server has to become ready, in seconds, where the recipe does not say it [default: 600]
    #[arg(long, value_name = "SECONDS", requires = "led")]
    pub timeout: Option<u64>,
    /// Samples every node, and pushes where a Pushgateway is named
    #[arg(long, requires = "led")]
    pub enable_monitoring: bool,
    /// The node that runs the Pushgateway, at port 9091
    #[arg(long, value_name = "NODE", requires = "led")]
    pub pushgateway_node: Option<String>,
    /// The pause between two samples, in seconds [default: the recipe's; else 5 with --enable-monitoring, 1 without]
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..), requires = "led")]
    pub monitor_interval: Option<u64>,
    /// Writes a further copy of metrics.csv here [default: benchmark_metrics.csv with --enable-monitoring]
    #[arg(long, value_name = "PATH", requires = "led")]
    pub monitor_output: Option<PathBuf>,
}

impl LeadWords {
    /// Where a further copy of the run's `metrics.csv` goes, if anywhere.
    #[must_use]
    pub fn metrics_copy(&self) -> Option<PathBuf> {
        let default = || self.enable_monitoring.then(|| PathBuf::from("benchmark_metrics.csv"));
        self.monitor_output.clone().or_else(default)
    }
}

/// Words for being a node.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Being a node")]
pub struct NodeWords {
    /// Whether only what went wrong is said; `--quiet` is a word of every verb.
    #[arg(skip)]
    pub is_quiet: bool,
    /// Where the leader is; the secrets still come from the file with the way in
    #[arg(long, value_name = "HOST:PORT", env = "HBNODE_LEADER")]
    pub join: Option<String>,
    /// The file with the way in, as the leader writes it
    #[arg(long, value_name = "FILE", env = "HBNODE_JOIN_FILE")]
    pub join_file: Option<PathBuf>,
    /// Reads the way in from standard input
    #[arg(long, conflicts_with = "join_file")]
    pub join_stdin: bool,
    /// Serves this node's endpoints without a leader, with a token of its own: `POST /start` runs a load here
    #[arg(long, conflicts_with_all = ["led", "join", "join_file", "join_stdin"])]
    pub standalone: bool,
    /// The way in is one line of standard input, whose end before the leader is found ends this node
    #[arg(long, hide = true, requires = "join_stdin")]
    pub while_stdin: bool,
    /// This node's place in the order of roles [default: $SLURM_PROCID, else as it joins]
    #[arg(long, value_name = "N")]
    pub ordinal: Option<u32>,
    /// Where its endpoints are.
    #[command(flatten)]
    pub endpoints: EndpointWords,
    /// A leader that is not up yet is waited for this long, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 120)]
    pub wait: u64,
}

/// Where a node's own endpoints are, and how it is reached.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Being a node")]
pub struct EndpointWords {
    /// The port of this node's HTTP endpoints [default: 5000, or 6000 beside the Dummy; where that is taken, the next free one]
    #[arg(long, value_name = "PORT")]
    pub client_port: Option<u16>,
    /// The first port that is tried; for nodes that share a machine
    #[arg(long, value_name = "PORT", hide = true, conflicts_with = "client_port")]
    pub client_port_from: Option<u16>,
    /// The address under which the others reach this node, and a leader [default: that of its name; in mode ssh the one
    /// that ssh reached]
    #[arg(long, value_name = "ADDRESS")]
    pub address: Option<std::net::IpAddr>,
    /// The network interface whose address the others reach this node by, and a leader [default: the recipe's
    /// orchestration.interface]
    #[arg(long, value_name = "NAME", conflicts_with = "address")]
    pub interface: Option<String>,
}

/// The verbs.
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Shows recipes with their main figures
    List(ListWords),
    /// Shows all errors and warnings of recipes, each with its line and advice
    Validate(ValidateWords),
    /// Draws what a recipe would run: trials, roles per node, command lines, expected duration
    Plan(PlanWords),
    /// Submits a recipe's job to Slurm: on its login node, or from here over ssh
    Run(Box<RunWords>),
    /// Shows what became of submitted jobs
    Status(StatusWords),
    /// Shows a job's output
    Logs(LogsWords),
    /// Cancels a job
    Cancel(CancelWords),
    /// Brings a job's results here
    Fetch(FetchWords),
    /// Measures a server that already runs, without a recipe
    Bench(Box<BenchWords>),
    /// Brings the images and models that a recipe needs to where it will look for them, or says what to bring by hand
    Prefetch(PrefetchWords),
    /// Builds the reports of a run folder anew from its raw data
    Report(ReportWords),
    /// Runs the Dummy service alone: OpenAI's and Ollama's protocols with set timings
    Dummy(DummyWords),
    /// Prints the JSON Schema of recipes, as YAML
    Schema,
    /// Prints completions for a shell
    Completions {
        /// The shell
        shell: Shell,
    },
    /// Prints the manual page
    Man,
}

/// Words of `hbnode list`.
#[derive(Debug, Args)]
pub struct ListWords {
    /// Where recipes lie
    #[arg(default_value = "recipes")]
    pub folder: PathBuf,
    /// As JSON
    #[arg(long)]
    pub json: bool,
}

/// Words of `hbnode validate`.
#[derive(Debug, Args)]
pub struct ValidateWords {
    /// The recipes
    #[arg(required = true)]
    pub recipes: Vec<PathBuf>,
    /// Overrides a field before checking
    #[arg(long = "set", value_name = "PATH=VALUE", value_parser = assignment)]
    pub sets: Vec<(String, String)>,
    /// As JSON
    #[arg(long)]
    pub json: bool,
}

/// Words of `hbnode plan`.
#[derive(Debug, Args)]
pub struct PlanWords {
    /// The recipe
    pub recipe: PathBuf,
    /// Overrides a field before planning
    #[arg(long = "set", value_name = "PATH=VALUE", value_parser = assignment)]
    pub sets: Vec<(String, String)>,
    /// As JSON
    #[arg(long)]
    pub json: bool,
}

/// Where a job is submitted, or was.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Where")]
pub struct PlaceWords {
    /// The cluster's login node, as ssh takes it: a name, user@host, ssh://user@host:port [default: this machine
    /// where it has sbatch; else, where MLUX_USER or MLUX_KEY is set, ssh://login.lxp.lu:8822]
    #[arg(long, value_name = "HOST")]
    pub host: Option<String>,
    /// A configuration file for ssh in place of your own
    #[arg(long, value_name = "FILE")]
    pub ssh_config: Option<PathBuf>,
}

/// Words of `hbnode run`.
#[derive(Debug, Args)]
pub struct RunWords {
    /// The recipe; left out on a terminal, it is chosen from `recipes`
    pub recipe: Option<PathBuf>,
    /// The same by name
    #[arg(long = "recipe", value_name = "RECIPE", conflicts_with = "recipe", id = "recipe_by_name")]
    pub recipe_by_name: Option<PathBuf>,
    /// Submits the continuation of a run that a job left unfinished: the job's number, or the folder of its fetched run.
    /// Finished trials are not repeated
    #[arg(long, value_name = "JOB_OR_DIR", conflicts_with_all = ["recipe", "recipe_by_name", "host", "ssh_config"])]
    pub resume: Option<String>,
    /// Overrides a field of the recipe, such as `workload.duration=30s`; may be repeated. It is seen in the process
    /// list of the job's nodes, so it is no place for secrets
    #[arg(long = "set", value_name = "PATH=VALUE", value_parser = assignment)]
    pub sets: Vec<(String, String)>,
    /// Prints the script and all that would be done, and does nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Watches the job until it is over, then brings its results
    #[arg(long, conflicts_with = "dry_run")]
    pub follow: bool,
    /// The binary that runs there [default: this one]
    #[arg(long, value_name = "FILE")]
    pub binary: Option<PathBuf>,
    /// The folder there for binaries and jobs, on a file system that all nodes share; relative to the home folder
    #[arg(long, value_name = "DIR", default_value = "hbnode")]
    pub remote_dir: String,
    /// With --follow: the folder here that takes results [default: $WORK/results, else ./results]
    #[arg(long, value_name = "DIR")]
    pub results: Option<PathBuf>,
    /// Prints one line of JSON about the job on standard output; with --follow, a second one about its run
    #[arg(long)]
    pub json: bool,
    /// Where.
    #[command(flatten)]
    pub place: PlaceWords,
}

/// Words of `hbnode status`.
#[derive(Debug, Args)]
pub struct StatusWords {
    /// The job's number; left out, the newest twenty that were submitted from here
    pub job: Option<String>,
    /// As JSON
    #[arg(long)]
    pub json: bool,
}

/// Words of `hbnode logs`.
#[derive(Debug, Args)]
pub struct LogsWords {
    /// The job's number
    pub job: String,
    /// A node of its run: only what processes on it wrote
    pub node: Option<String>,
    /// Goes on until the job is over
    #[arg(short, long)]
    pub follow: bool,
}

/// Words of `hbnode cancel`.
#[derive(Debug, Args)]
pub struct CancelWords {
    /// The job's number
    pub job: String,
}

/// Words of `hbnode fetch`.
#[derive(Debug, Args)]
pub struct FetchWords {
    /// The job's number
    pub job: String,
    /// Waits for the job's end first, and shows what happens
    #[arg(long)]
    pub follow: bool,
    /// The folder here that takes results [default: $WORK/results, else ./results]
    #[arg(long, value_name = "DIR")]
    pub results: Option<PathBuf>,
    /// Prints one line of JSON at the end, and nothing else, on standard output
    #[arg(long)]
    pub json: bool,
}

/// Words of `hbnode bench`.
#[derive(Debug, Args)]
pub struct BenchWords {
    /// The server, such as http://127.0.0.1:8000
    pub url: String,
    /// The model
    #[arg(long)]
    pub model: String,
    /// Requests in flight; several sweep
    #[arg(long, value_delimiter = ',', default_value = "1,8,32")]
    pub concurrency: Vec<std::num::NonZeroU32>,
    /// Requests per second that arrive whatever the answers take, instead of --concurrency; several sweep
    #[arg(long, value_delimiter = ',', value_name = "RPS", conflicts_with = "concurrency")]
    pub rate: Vec<f64>,
    /// The measured time
    #[arg(long, default_value = "30s")]
    pub duration: String,
    /// Ends after so many requests instead
    #[arg(long, conflicts_with = "duration")]
    pub requests: Option<std::num::NonZeroU64>,
    /// The time before it
    #[arg(long, default_value = "5s")]
    pub warmup: String,
    /// How long the server may take until it answers a first completion
    #[arg(long, default_value = "30s")]
    pub wait: String,
    /// Prompt tokens
    #[arg(long, default_value_t = 128)]
    pub prompt_len: u32,
    /// A file that prompts come from instead: text, JSONL, CSV, ShareGPT or another of the shapes in docs/prompts.md
    #[arg(long, value_name = "FILE", conflicts_with = "prompt_len")]
    pub dataset: Option<PathBuf>,
    /// Answer tokens
    #[arg(long, default_value_t = 64)]
    pub gen_tokens: u32,
    /// What prompts and arrivals are drawn from, to repeat a run; each run draws its own otherwise (`seed` in its
    /// manifest.json), as the server's cache may hold the prompts of the run before
    #[arg(long, value_name = "N")]
    pub seed: Option<u64>,
    /// The protocol: `openai` or `ollama`
    #[arg(long, default_value = "openai")]
    pub service: String,
    /// A further name under which the model may answer, as behind a gateway's alias; may be given several times
    #[arg(long, value_name = "NAME")]
    pub answers_as: Vec<String>,
    /// A further header of every request, `NAME: VALUE`, such as `X-Tenant: a`; may be given several times. No secrets
    #[arg(long = "header", value_name = "NAME: VALUE", value_parser = header)]
    pub headers: Vec<(String, String)>,
    /// The environment variable that holds the server's key
    #[arg(long, value_name = "NAME")]
    pub api_key_env: Option<String>,
    /// The folder that takes results
    #[arg(long, value_name = "DIR")]
    pub results: Option<PathBuf>,
    /// Prints one line of JSON at the end, and nothing else, on standard output
    #[arg(long)]
    pub json: bool,
    /// The node that measures.
    #[command(flatten)]
    pub endpoints: EndpointWords,
}

/// Words of `hbnode prefetch`.
#[derive(Debug, Args)]
pub struct PrefetchWords {
    /// The recipe
    pub recipe: PathBuf,
    /// Overrides a field before looking
    #[arg(long = "set", value_name = "PATH=VALUE", value_parser = assignment)]
    pub sets: Vec<(String, String)>,
    /// Prints what is there and every command that would be run, and runs none
    #[arg(long)]
    pub dry_run: bool,
}

/// Words of `hbnode report`.
#[derive(Debug, Args)]
pub struct ReportWords {
    /// The run's folder
    pub folder: PathBuf,
}

/// Words of `hbnode dummy`.
#[derive(Debug, Args)]
pub struct DummyWords {
    /// The address to listen on
    #[arg(long, default_value = "127.0.0.1")]
    pub host: String,
    /// The port to listen on
    #[arg(long, default_value_t = 5000)]
    pub port: u16,
    /// Timings and faults.
    #[command(flatten)]
    pub flags: super::dummy::DummyFlags,
}

/// Each is a process of some 20 MB with threads of its own: more than this is a slip of the finger.
const MOST_LOCAL_NODES: u32 = 256;

/// Reads how many node processes to start.
fn local_nodes(text: &str) -> Result<std::num::NonZeroU32, String> {
    let count: std::num::NonZeroU32 =
        text.parse().map_err(|_| format!("`{text}` is not a number from 1 to {MOST_LOCAL_NODES}"))?;
    if count.get() > MOST_LOCAL_NODES {
        return Err(format!(
            "{count} processes on one machine would only measure each other; at most {MOST_LOCAL_NODES} are started"
        ));
    }
    Ok(count)
}

/// Reads `NAME: VALUE`. Whatever the name tells to be a secret is refused: every user of a machine sees command lines.
fn header(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once(':').ok_or("it is not of the form `NAME: VALUE`")?;
    let (name, value) = (name.trim(), value.trim());
    if names_secret(name) {
        return Err(format!(
            "`{name}` is a secret by its name, and command lines are seen by all; use --api-key-env, or in a recipe \
             `servers: {{headers: {{{name}: {{env: VARIABLE}}}}}}`"
        ));
    }
    Ok((name.to_owned(), value.to_owned()))
}

/// Reads `path=value`.
fn assignment(text: &str) -> Result<(String, String), String> {
    let (path, value) = text.split_once('=').ok_or_else(|| format!("`{text}` is not of the form path=value"))?;
    if path.trim().is_empty() {
        return Err(format!("`{text}` names no field before the `=`"));
    }
    Ok((path.trim().to_owned(), value.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_words_fit_together() {
        Words::command().debug_assert();
    }

    #[test]
    fn no_word_is_read_and_ignored() {
        let refused = |words: &str| Words::read(words.split(' ')).err().map(|error| error.to_string());
        for (words, named) in [
            ("hbnode --results /nowhere --json list", "--results"),
            ("hbnode --leader x.yaml list", "--leader"),
            ("hbnode --set a=b run r.yaml", "--set"),
            ("hbnode --client-port 1 bench http://h --model m", "--client-port"),
            ("hbnode --join-timeout 120 plan r.yaml", "--join-timeout"),
            ("hbnode --join h:1 --json", "--leader"),
            ("hbnode --join h:1 --set a=b", "--leader"),
            ("hbnode --join-timeout 5", "--leader"),
            ("hbnode --standalone --results r", "--leader"),
            ("hbnode --standalone --enable-monitoring", "--leader"),
            ("hbnode --monitor-interval 3 --server-port 5 --timeout 3", "--leader"),
        ] {
            let said = refused(words).unwrap_or_else(|| panic!("`{words}` is taken"));
            assert!(said.contains(named), "`{words}`: {said}");
        }
        for words in [
            "hbnode -q list --json",
            "hbnode list -q --json",
            "hbnode -v --leader r.yaml --results r --json --set a=b",
            "hbnode --workload-config-file w.yaml --server-port 5 --timeout 3 --enable-monitoring --monitor-output m.csv",
            "hbnode --resume r --join-timeout 4",
            "hbnode bench http://h --model m --client-port 7 --wait 4s",
            "hbnode --standalone -q --client-port 7",
        ] {
            assert_eq!(refused(words), None, "{words}");
        }
    }

    #[test]
    fn an_assignment_needs_a_field_and_an_equals_sign() {
        assert_eq!(assignment("a.b=c=d"), Ok(("a.b".into(), "c=d".into())));
        assert!(assignment("a.b").is_err());
        assert!(assignment("=1").is_err());
    }
}
