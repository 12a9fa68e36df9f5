//! One run, led: everything is started, signals are listened to, the outcome becomes an exit code.

use std::{
    collections::BTreeMap,
    net::IpAddr,
    num::NonZeroU32,
    path::PathBuf,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use hb_actors::{
    cluster::{self, ClusterEvent, JoinFile, LeadOptions, identity::random_secret},
    node::{Node, NodeEnd},
    orchestrator::{Books, BooksArguments, Expected, Inbox, Leadership, Orchestrator, OrchestratorMsg, Outcome, rfc3339},
};
use hb_core::{
    phases::RunSpec,
    plan::NodeNeeds,
    recipe::{Mode, Pushgateway},
    units::Span,
};
use ractor::{Actor, ActorRef};
use tokio::{
    net::TcpListener,
    sync::{mpsc, oneshot, watch},
};

use super::{
    beginning, ending,
    local_nodes::LocalNodes,
    recipe::{Checked, Source},
    recorder::Scribe,
    surroundings::{Surroundings, own_address},
    wall_time::WallTime,
};
use crate::{
    cli::{BUILD, LeadWords, NodeWords, exit::Exit},
    http::{self, LeaderView, NodeView, Token},
    node::{self, Door, NodeStart},
    push::{Pusher, Pushing},
    results::KeptRun,
    runtimes::Runtimes,
    signals::{Asked, Signals},
    terminal::Progress,
};

/// The Pushgateway has so long to forget this run's groups at the end.
const DELETE_GROUPS_WITHIN: Duration = Duration::from_secs(5);

/// Signals that follow the first within this time are the same asking: `timeout` and Slurm signal a process and
/// then its group, and that must not cost the report.
const ONE_ASKING: Duration = Duration::from_millis(300);

/// Where a run is written down.
pub struct Place {
    /// The recipe as it was read.
    pub source: Source,
    /// The folder of all results.
    pub results: PathBuf,
    /// The run that goes on, if it is none that begins.
    pub kept: Option<KeptRun>,
}

/// Leads a run.
pub fn lead(words: &LeadWords, node_words: &NodeWords, checked: Checked, surroundings: &Surroundings, place: Place) -> Exit {
    let runtimes = match Runtimes::start() {
        Ok(runtimes) => runtimes,
        Err(error) => {
            eprintln!("error: cannot start: {error}");
            return ending::say(words, None, None, Exit::Failed);
        }
    };
    let is_resumed = place.kept.is_some();
    let mut run_dir = None;
    let led = led(words, node_words, checked, surroundings, &runtimes, place, &mut run_dir);
    let exit = runtimes.cluster.block_on(led);
    runtimes.end();
    match exit {
        Ok(exit) => exit,
        Err(refusal) => {
            eprintln!("error: {}", refusal.sentence);
            let run_dir = run_dir.and_then(|run_dir| ending::without_cluster(run_dir, is_resumed, &refusal.sentence));
            ending::say(words, run_dir.as_deref(), None, refusal.exit)
        }
    }
}

/// Why a run did not begin.
struct Refusal {
    sentence: String,
    exit: Exit,
}

fn refuse(exit: Exit) -> impl Fn(String) -> Refusal {
    move |sentence| Refusal { sentence, exit }
}

/// How many nodes there will be, and where they come from.
struct Crowd {
    nodes: u32,
    local: Option<NonZeroU32>,
    hosts_own_node: bool,
}

impl Crowd {
    fn of(words: &LeadWords, surroundings: &Surroundings) -> Self {
        match (words.local_nodes, &surroundings.step) {
            (Some(local), _) => Self { nodes: local.get(), local: Some(local), hosts_own_node: false },
            (None, Some(step)) => Self { nodes: step.tasks, local: None, hosts_own_node: true },
            (None, None) => Self { nodes: 1, local: None, hosts_own_node: true },
        }
    }

    fn is_on_this_machine(&self) -> bool {
        self.local.is_some() || self.nodes == 1
    }
}

async fn led(
    words: &LeadWords,
    node_words: &NodeWords,
    checked: Checked,
    surroundings: &Surroundings,
    runtimes: &Runtimes,
    place: Place,
    begun_in: &mut Option<PathBuf>,
) -> Result<Exit, Refusal> {
    let is_quiet = words.json && !std::io::IsTerminal::is_terminal(&std::io::stderr());
    let mut signals = Signals::listen().map_err(|error| refuse(Exit::Failed)(format!("cannot listen to signals: {error}")))?;
    let crowd = Crowd::of(words, surroundings);
    let needs = checked.recipe.needs();
    check_crowd(&crowd, &needs, checked.recipe.orchestration.mode)?;
    // First, because a port that was asked for may be taken, and then nothing of the run has begun.
    let service = checked.recipe.workload.service.clone();
    let address = own_address(&surroundings.host, crowd.is_on_this_machine());
    let mut own = if crowd.hosts_own_node {
        let start = NodeStart {
            host: surroundings.host.clone(),
            address,
            ordinal: Some(surroundings.step.as_ref().map_or(0, |step| step.rank)),
            port: node::wanted_port(node_words, &service),
            service: service.clone(),
            load_runtime: runtimes.load.handle().clone(),
        };
        Some(node::start(start).await.map_err(refuse(Exit::BadWords))?)
    } else {
        None
    };
    let Place { source, results, kept } = place;
    let begun = tokio::task::block_in_place(|| beginning::begin(&source, &checked, surroundings, &results, kept));
    let begun = begun.map_err(|refused| refuse(refused.exit)(refused.sentence))?;
    let beginning::Begun { folder, summary, trials, earlier } = begun;
    let run = summary.id.clone();
    let run_dir = folder.path().to_owned();
    *begun_in = Some(run_dir.clone());
    let folder = Arc::new(Mutex::new(folder));

    let progress = Progress::on_stderr(is_quiet);
    let (scribe, shown) = Scribe::new(Arc::clone(&folder), progress, &checked.recipe.scenario, &run, &service);
    let pusher = match checked.recipe.pushgateway() {
        Some(gateway) => Some(start_pushing(&gateway, &run, shown.nodes.clone())?),
        None => None,
    };
    let failed = |error: ractor::SpawnErr| refuse(Exit::Failed)(format!("cannot start: {error}"));
    let books_arguments = BooksArguments { recorder: Box::new(scribe), summary };
    let (books, books_task) = Actor::spawn(None, Books, books_arguments).await.map_err(failed)?;

    let default_port =
        checked.trials.first().and_then(|trial| hb_services::resolve(&trial.service).ok()).map_or(0, |s| s.default_port());
    let wall_time = tokio::task::block_in_place(|| WallTime::look(node::unix_nanos()));
    if let Some(wall_time) = wall_time {
        let (end, margin) = (rfc3339(wall_time.ends_at), wall_time.margin);
        eprintln!("the job ends at {end}: no trial is begun that would not be over {margin} before");
    }
    let spec = RunSpec {
        run: run.clone(),
        trials,
        default_port,
        on_node_loss: checked.recipe.on_node_loss(),
        monitor_interval: checked.recipe.monitor_interval().map(|own| words.monitor_interval.map_or(own, Span::from_secs)),
        join_within: Span::from_secs(words.join_timeout),
        ends_at: wall_time.map(WallTime::last_moment),
    };
    let (cluster_events, cluster_receiver) = mpsc::unbounded_channel::<ClusterEvent>();
    let (done_sender, mut done) = oneshot::channel::<Outcome>();
    let leadership = Leadership {
        spec,
        expected: Expected { nodes: crowd.nodes, needs, may_share_hosts: crowd.local.is_some() },
        books: books.clone(),
        cluster: cluster_receiver,
        own_host: surroundings.host.clone(),
        done: done_sender,
    };
    let (orchestrator, _) = Actor::spawn(None, Orchestrator, leadership).await.map_err(failed)?;
    let inbox = Inbox { orchestrator: orchestrator.clone(), books: books.clone() };
    let (inbox, _) = Actor::spawn(None, inbox, ()).await.map_err(failed)?;

    let token = random_secret().map_err(|error| refuse(Exit::Failed)(error.to_string()))?;
    if let Some(own) = &own {
        own.node.inbox_found(inbox.clone().into());
    }
    let own_door = own.as_mut().map(|own| own.open(&token, Some(&run)));

    let options = LeadOptions {
        bind: address,
        advertise: address.to_string(),
        port: None,
        state_dir: surroundings.state_dir(&results, &run),
        run: run.clone(),
        build: BUILD.to_owned(),
        http_token: token.clone(),
    };
    let agent = own.as_ref().map(|own| own.node.agent.clone());
    let leading = cluster::lead(options, inbox, agent, cluster_events);
    let leading = leading.await.map_err(|error| refuse(Exit::NoCluster)(format!("the cluster cannot form: {error}")))?;
    let page = open_page(address, shown.page, &token).await?;
    let from = node::wanted_port(node_words, &service).first();
    let mut local = match crowd.local {
        Some(count) => Some(
            LocalNodes::start(count.get(), leading.join_path(), from)
                .map_err(|error| refuse(Exit::NoCluster)(format!("cannot start node processes: {error}")))?,
        ),
        None => None,
    };

    let leave = Leave { join: leading.join.clone(), path: leading.join_path().to_owned() };
    let asked = wait(&mut signals, &mut done, &orchestrator, own.as_ref().map(|own| &own.node), &leave).await;
    let closing = tokio::spawn(heard_while_closing(signals, asked.signal.is_some(), leave));
    let outcome = asked.outcome.unwrap_or(Outcome { report: None, failure: None, interrupted: None });
    let missed = leading.dismiss("the run is over").await;
    if let Some(own) = own {
        own.node.stop().await;
    }
    if let Some(door) = own_door {
        door.close().await;
    }
    if let Some(local) = &mut local {
        let killed = tokio::task::block_in_place(|| local.wait());
        if killed > 0 {
            tracing::warn!(killed, missed, "node processes did not leave by themselves");
        }
    }
    leading.end().await;
    page.close().await;
    let further_warnings = match pusher {
        Some(pusher) => pusher.end().await.into_iter().collect(),
        None => Vec::new(),
    };
    orchestrator.stop(None);
    books.stop(None);
    // The books hold the run folder, which is closed below.
    if books_task.await.is_err() {
        tracing::error!("the books ended by force");
    }
    let exit = ending::end(ending::Ended {
        words,
        run_dir: &run_dir,
        folder,
        outcome,
        signal: asked.signal,
        checked: &checked,
        further_warnings,
        earlier,
    });
    closing.abort();
    Ok(exit)
}

/// What must not stay behind when this process ends at once.
struct Leave {
    join: JoinFile,
    path: PathBuf,
}

impl Leave {
    /// Ends this process now.
    fn at_once(&self, signal: Asked) -> ! {
        eprintln!("{} again: ending at once; what was started is ended by its guardians", signal.name());
        self.join.remove_from(&self.path);
        std::process::exit(i32::from(ending::code_of(signal).code()))
    }
}

/// While results are written and nodes are dismissed the first signal changes nothing, and the second is heard.
async fn heard_while_closing(mut signals: Signals, mut is_second: bool, leave: Leave) {
    loop {
        let signal = signals.next().await;
        if is_second {
            leave.at_once(signal);
        }
        eprintln!("{}: the run is over, its results are being written; again to end at once", signal.name());
        is_second = true;
    }
}

fn start_pushing(
    gateway: &Pushgateway,
    run: &str,
    nodes: watch::Receiver<BTreeMap<String, NodeView>>,
) -> Result<Pusher, Refusal> {
    let pushing =
        Pushing { url: gateway.url.clone(), run: run.to_owned(), interval: gateway.interval.0, deadline: DELETE_GROUPS_WITHIN };
    Pusher::start(pushing, nodes).map_err(|error| refuse(Exit::Failed)(format!("cannot push to `{}`: {error}", gateway.url)))
}

/// Opens the live page, and tells where it is: the address holds the token, as Jupyter's does.
async fn open_page(address: IpAddr, view: Arc<LeaderView>, token: &str) -> Result<Door, Refusal> {
    let failed = |error: std::io::Error| refuse(Exit::Failed)(format!("cannot serve the live page: {error}"));
    let listener = TcpListener::bind((address, 0)).await.map_err(failed)?;
    let bound = listener.local_addr().map_err(failed)?;
    eprintln!("live page: http://{bound}/?token={token}");
    Ok(Door::open(listener, http::leader_routes(view, Token::new(token.to_owned()))))
}

/// Every role must find a node, or the run would wait for one that never comes.
fn check_crowd(crowd: &Crowd, needs: &NodeNeeds, mode: Mode) -> Result<(), Refusal> {
    if crowd.nodes == 1 && mode == Mode::Local || crowd.nodes >= needs.total() {
        return Ok(());
    }
    let advice = if crowd.local.is_some() {
        format!("start more with `--local-nodes {}`", needs.total())
    } else {
        format!("start one task on each of {} nodes: `srun --nodes={0} --ntasks-per-node=1 hbnode --leader …`", needs.total())
    };
    Err(refuse(Exit::NoCluster)(format!("the recipe needs {} nodes and there are {}; {advice}", needs.total(), crowd.nodes)))
}

/// What was asked for while the run went on.
struct AskedFor {
    outcome: Option<Outcome>,
    signal: Option<Asked>,
}

/// Until the run is over. The first signal ends it with its report; the second ends this process.
async fn wait(
    signals: &mut Signals,
    done: &mut oneshot::Receiver<Outcome>,
    orchestrator: &ActorRef<OrchestratorMsg>,
    own: Option<&Node>,
    leave: &Leave,
) -> AskedFor {
    let mut first = None;
    let mut first_at: Option<Instant> = None;
    let mut failure = own.map(|own| own.ended.clone());
    loop {
        tokio::select! {
            outcome = &mut *done => return AskedFor { outcome: outcome.ok(), signal: first },
            signal = signals.next() => {
                if first_at.is_some_and(|at| at.elapsed() < ONE_ASKING) {
                    continue;
                }
                if first.is_some() {
                    leave.at_once(signal);
                }
                first = Some(signal);
                first_at = Some(Instant::now());
                eprintln!("{}: ending the run with a partial report; again to end at once", signal.name());
                interrupt(orchestrator, signal.name());
            }
            why = failed(&mut failure) => interrupt(orchestrator, &format!("the leader's own node failed: {why}")),
        }
    }
}

/// The end of the leader's own node, if it fails before the run is over.
async fn failed(ended: &mut Option<watch::Receiver<Option<NodeEnd>>>) -> String {
    let Some(receiver) = ended else { return std::future::pending().await };
    match receiver.wait_for(Option::is_some).await.map(|end| end.clone()) {
        Ok(Some(NodeEnd::Failed(why))) => {
            *ended = None;
            why
        }
        _ => std::future::pending().await,
    }
}

fn interrupt(orchestrator: &ActorRef<OrchestratorMsg>, by: &str) {
    if orchestrator.cast(OrchestratorMsg::Interrupt(by.to_owned())).is_err() {
        tracing::debug!("the run is over already");
    }
}
