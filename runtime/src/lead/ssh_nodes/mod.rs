//! Nodes that the leader starts over ssh, for `orchestration.mode: ssh`.
//!
//! ```text
//! looked at ─► binary there or brought ─► started, the way in by standard input ─► joined ─► goodbye ─► ended, or killed
//! ```
//!
//! Each has one connection, the person's own `ssh`, for as long as it runs. A node that has joined lives by the cluster's
//! link, not by that connection; one that has not ends with it.

mod prepare;
pub mod script;

use std::{
    collections::{BTreeMap, VecDeque},
    process::Stdio,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use hb_actors::{cluster::Leading, orchestrator::OrchestratorMsg};
use hb_core::recipe::{Recipe, Servers};
use ractor::ActorRef;
use tokio::{
    io::{AsyncBufReadExt as _, AsyncRead, AsyncWriteExt as _, BufReader},
    sync::mpsc,
    task::JoinSet,
    time::Instant,
};

pub use self::prepare::{Preparing, Reach, Ready};
use self::{
    prepare::{command, run},
    script::Start,
};
use crate::{
    cli::{EndpointWords, NodeWords},
    submit::{Ssh, Where},
};

/// The folder on nodes that takes a copy of the binary, where no other was named; below the home folder.
pub const REMOTE_DIR: &str = "hbnode";
/// A node looks for the leader, which is there already, for so long, seconds.
pub const LOOKS_FOR_LEADER: u64 = 15;
/// How long nodes that were said goodbye to may take.
const LEAVE_WITHIN: Duration = Duration::from_secs(8);
/// A node that did not leave is killed within this time, if it can be reached.
const KILL_WITHIN: Duration = Duration::from_secs(5);
/// Nodes that end within this time of each other are told together.
const TOGETHER: Duration = Duration::from_secs(1);
/// Lines that are kept of what a node says last.
const LAST_LINES: usize = 3;
/// Variables that nodes are given where the leader has them, beside those that hold secrets for endpoints.
const HANDED_OVER: [&str; 2] = ["HF_TOKEN", "HBNODE_LOG"];

/// The nodes of one run. Those that are left when this is dropped lose their connection.
pub struct SshNodes {
    nodes: Vec<Started>,
    watches: JoinSet<usize>,
}

struct Started {
    ready: Ready,
    process: Arc<Mutex<Option<u32>>>,
}

impl SshNodes {
    /// Starts a node's process on each, and tells the Orchestrator of those that end by themselves.
    ///
    /// # Errors
    /// A variable that cannot be handed over.
    pub fn start(
        ready: Vec<Ready>,
        reach: &Reach,
        leading: &Leading,
        (words, port_from): (&NodeWords, u16),
        variables: &BTreeMap<String, String>,
        orchestrator: ActorRef<OrchestratorMsg>,
    ) -> Result<Self, String> {
        let (ended, failures) = mpsc::unbounded_channel();
        let mut started = Self { nodes: Vec::new(), watches: JoinSet::new() };
        for (ready, leader) in ready.into_iter().zip(&reach.of_node) {
            let way_in = serde_json::to_string(&leading.join_at(&leader.to_string())).expect("strings always serialise");
            let input = script::input(variables, &way_in)?;
            let start = Start {
                binary: &ready.binary,
                ordinal: ready.ordinal,
                address: ready.address,
                wait: LOOKS_FOR_LEADER,
                words,
                port_from,
            };
            let process = Arc::default();
            let mut command = command(&ready.target, &start.script());
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
            let watch = Watch {
                name: ready.name.clone(),
                target: Arc::clone(&ready.target),
                process: Arc::clone(&process),
                ended: ended.clone(),
            };
            started.watches.spawn(watch.over(command, input, ready.ordinal));
            started.nodes.push(Started { ready, process });
        }
        tokio::spawn(tell(failures, started.nodes.len(), orchestrator));
        Ok(started)
    }

    /// Waits for all of them; those that stay are killed and counted.
    pub async fn wait(mut self) -> usize {
        let mut left: BTreeMap<usize, Started> = self.nodes.into_iter().map(|node| (node.ready.ordinal, node)).collect();
        let deadline = Instant::now() + LEAVE_WITHIN;
        while !left.is_empty() {
            match tokio::time::timeout_at(deadline, self.watches.join_next()).await {
                Ok(Some(Ok(ordinal))) => drop(left.remove(&ordinal)),
                Ok(Some(Err(_))) => {}
                Ok(None) | Err(_) => break,
            }
        }
        let kills = left.values().map(Started::kill);
        futures_util::future::join_all(kills).await;
        left.len()
    }
}

impl Started {
    async fn kill(&self) {
        let process = *self.process.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(process) = process else { return };
        let name = &self.ready.name;
        if let Err(why) = run(&self.ready.target, "ending the node", &script::end(process), &[], KILL_WITHIN).await {
            eprintln!(
                "warning: {name} did not leave and could not be told to: {why}; its process {process} ends by itself when it has been without a leader for 10 s"
            );
        }
    }
}

/// The watch over one node's process.
struct Watch {
    name: String,
    target: Arc<crate::submit::Target>,
    process: Arc<Mutex<Option<u32>>>,
    ended: mpsc::UnboundedSender<String>,
}

impl Watch {
    /// Runs the command to its end. What the node says is passed on under its name.
    async fn over(self, mut command: tokio::process::Command, input: Vec<u8>, ordinal: usize) -> usize {
        let mut child = match command.spawn() {
            Ok(child) => child,
            Err(cause) => {
                self.failed(&self.target.unstarted(cause).to_string());
                return ordinal;
            }
        };
        let mut stdin = child.stdin.take().expect("standard input was asked for");
        let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
        let mut last = VecDeque::new();
        let talk = async {
            // A node that ends before it has read everything says why on standard error.
            let _ = stdin.write_all(&input).await;
            let _ = stdin.flush().await;
            tokio::join!(self.processes(stdout), self.passed_on(stderr, &mut last))
        };
        let (status, _) = tokio::join!(child.wait(), talk);
        match status {
            Ok(status) if status.success() => {}
            Ok(status) => {
                let said = last.make_contiguous().join("\n");
                let why = match status.code() {
                    Some(255) if said.is_empty() => "its ssh connection ended".to_owned(),
                    Some(255) => self.target.failure("running the node", status, said.as_bytes()).to_string(),
                    _ if said.is_empty() => format!("it ended with {status} and said nothing"),
                    _ => {
                        let is_lost = said.contains("no leader at");
                        let advice = if is_lost { "; --address names the leader's address as nodes reach it" } else { "" };
                        format!("it ended with {status}: {}{advice}", said.replace('\n', "; "))
                    }
                };
                self.failed(&why);
            }
            Err(cause) => self.failed(&self.target.unstarted(cause).to_string()),
        }
        ordinal
    }

    fn failed(&self, why: &str) {
        // Nobody listens any more where the run is over.
        let _ = self.ended.send(format!("{}: {why}", self.name));
    }

    async fn processes(&self, stdout: Option<impl AsyncRead + Unpin>) {
        let Some(stdout) = stdout else { return };
        let mut lines = BufReader::new(stdout).lines();
        while let Ok(Some(line)) = lines.next_line().await {
            if let Some(process) = script::process(&line) {
                *self.process.lock().unwrap_or_else(PoisonError::into_inner) = Some(process);
            }
        }
    }

    async fn passed_on(&self, stderr: Option<impl AsyncRead + Unpin>, last: &mut VecDeque<String>) {
        let Some(stderr) = stderr else { return };
        let mut lines = BufReader::new(stderr).lines();
        while let Ok(Some(line)) = lines.next_line().await {
            // What moves the cursor is not for the leader's terminal.
            let line: String = line.chars().map(|letter| if letter.is_control() { ' ' } else { letter }).collect();
            eprintln!("{}: {line}", self.name);
            if last.len() == LAST_LINES {
                last.pop_front();
            }
            last.push_back(line.strip_prefix("error: ").unwrap_or(&line).to_owned());
        }
    }
}

/// Tells the Orchestrator; what has one cause ends at about the same time.
async fn tell(mut failures: mpsc::UnboundedReceiver<String>, of: usize, orchestrator: ActorRef<OrchestratorMsg>) {
    while let Some(first) = failures.recv().await {
        let mut all = vec![first];
        let until = Instant::now() + TOGETHER;
        while let Ok(Some(more)) = tokio::time::timeout_at(until, failures.recv()).await {
            all.push(more);
        }
        let what = format!("processes of {} of {of} nodes ended by themselves: {}", all.len(), all.join("; "));
        if orchestrator.cast(OrchestratorMsg::NodeProcessesEnded(what)).is_err() {
            return;
        }
    }
}

/// The command that starts a node where this binary lies at the same path there, for reading only.
#[must_use]
pub fn shown(name: &str, ordinal: usize, recipe: &Recipe) -> Vec<String> {
    let binary = std::env::current_exe().map(|path| path.display().to_string()).unwrap_or_else(|_| "hbnode".to_owned());
    let words = NodeWords {
        endpoints: EndpointWords { interface: recipe.orchestration.interface.clone(), ..EndpointWords::default() },
        ..NodeWords::default()
    };
    let port_from = crate::node::wanted_port(&words, &recipe.workload.service).first();
    let start = Start { binary: &binary, ordinal, address: None, wait: LOOKS_FOR_LEADER, words: &words, port_from };
    Ssh::shown(name, &Where::default(), &start.script())
}

/// The variables that nodes are given.
#[must_use]
pub fn variables(recipe: &Recipe) -> BTreeMap<String, String> {
    let of_secrets = recipe.servers.iter().flat_map(Servers::secret_variables);
    let names = HANDED_OVER.into_iter().chain(of_secrets);
    names.filter_map(|name| Some((name.to_owned(), std::env::var(name).ok()?))).collect()
}
