//! One run, led: everything is started, signals are listened to, the outcome becomes an exit code.

use std::{
    collections::BTreeMap,
    net::IpAddr,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
    time::Duration,
};

use hb_actors::{
    cluster::{self, ClusterEvent, LeadOptions, Leading, identity::random_secret},
    messages::InboxMsg,
    orchestrator::{Books, BooksArguments, BooksMsg, Expected, Inbox, Leadership, Orchestrator, OrchestratorMsg, Outcome},
    wall_clock::{rfc3339, unix_nanos},
};
use hb_core::{phases::RunSpec, recipe::Pushgateway, report::RunSummary, search::ProbeReport, trial::Trial, units::Span};
use ractor::{Actor, ActorRef};
use tokio::{
    net::TcpListener,
    sync::{mpsc, oneshot, watch},
    task::JoinHandle,
};

use super::{
    beginning,
    crowd::Crowd,
    ending::{self, Whole},
    local_nodes::LocalNodes,
    placement::Placement,
    recipe::{Checked, Source},
    recorder::{Scribe, SharedFolder},
    refused::Refused,
    resume::Earlier,
    ssh_nodes::{self, Preparing, Reach, Ready, SshNodes},
    surroundings::{Surroundings, reached_by},
    until_over::{Leave, heard_while_closing, until_over},
    wall_time::WallTime,
    words::monitor_interval,
};
use crate::{
    cli::{BUILD, LeadWords, NodeWords, exit::Exit},
    http::{self, LeaderView, NodeView, Token},
    node::{self, Door, NodeStart},
    push::{Pusher, Pushing},
    results::{KeptRun, RunFolder},
    runtimes::Runtimes,
    signals::Signals,
    terminal::{Progress, Talk},
};

/// The Pushgateway has so long to forget this run's groups at the end.
const DELETE_GROUPS_WITHIN: Duration = Duration::from_secs(5);

/// Where a run is written down.
pub struct Place {
    /// The recipe as it was read.
    pub source: Source,
    /// The folder of all results.
    pub results: PathBuf,
    /// The run that goes on, if it is none that begins.
    pub kept: Option<KeptRun>,
    /// Where the words place roles, if they do.
    pub placement: Option<Placement>,
}

/// Leads a run.
///
/// # Errors
/// Why it did not begin.
pub fn lead(
    words: &LeadWords,
    node_words: &NodeWords,
    checked: Checked,
    surroundings: &Surroundings,
    place: Place,
) -> Result<Exit, Refused> {
    let runtimes = Runtimes::start().map_err(|error| refuse(Exit::Failed)(format!("cannot start: {error}")))?;
    let is_resumed = place.kept.is_some();
    let mut run_dir = None;
    let led = led(words, node_words, checked, surroundings, &runtimes, place, &mut run_dir);
    let exit = runtimes.cluster.block_on(led);
    runtimes.end();
    exit.map_err(|refused| {
        let run_dir = run_dir.and_then(|run_dir| ending::without_cluster(run_dir, is_resumed, refused.reason()));
        Refused { run: run_dir.map(|run_dir| (run_dir, None)), ..refused }
    })
}

fn refuse(exit: Exit) -> impl Fn(String) -> Refused {
    move |sentence| Refused::new(exit, sentence)
}

/// All that a run is led with.
struct Lead<'a> {
    words: &'a LeadWords,
    node_words: &'a NodeWords,
    checked: Arc<Checked>,
    surroundings: &'a Surroundings,
    crowd: Crowd,
    /// The folder of all results.
    results: PathBuf,
    /// The run's name.
    run: String,
    /// The address of this machine, as it was named or by its name.
    own: IpAddr,
    /// Where the words place roles.
    placement: Option<Placement>,
    /// How nodes that are started over ssh reach this machine.
    reach: Option<Reach>,
}

/// The run folder, and who writes to it.
struct Records {
    whole: Arc<Whole>,
    folder: SharedFolder,
    books: ActorRef<BooksMsg>,
    books_task: JoinHandle<()>,
    pusher: Option<Pusher>,
    page: Arc<LeaderView>,
}

/// The actors that decide.
struct Deciding {
    orchestrator: ActorRef<OrchestratorMsg>,
    inbox: ActorRef<InboxMsg>,
    events: mpsc::UnboundedSender<ClusterEvent>,
    done: oneshot::Receiver<Outcome>,
}

async fn led(
    words: &LeadWords,
    node_words: &NodeWords,
    checked: Checked,
    surroundings: &Surroundings,
    runtimes: &Runtimes,
    place: Place,
    begun_in: &mut Option<PathBuf>,
) -> Result<Exit, Refused> {
    let mut signals = Signals::listen().map_err(|error| refuse(Exit::Failed)(format!("cannot listen to signals: {error}")))?;
    let crowd = Crowd::of(words, &checked.recipe.orchestration, surroundings);
    crowd.check(&checked.recipe.needs(), checked.recipe.orchestration.mode).map_err(refuse(Exit::NoCluster))?;
    let Place { source, results, kept, placement } = place;
    let run = kept.as_ref().map_or_else(beginning::run_id, KeptRun::id);
    let own = reached_by(node_words, &surroundings.host, crowd.is_on_this_machine()).map_err(refuse(Exit::BadWords))?;
    let checked = Arc::new(checked);
    let mut lead = Lead { words, node_words, checked, surroundings, crowd, results, run, own, reach: None, placement };
    let ready = tokio::select! {
        ready = lead.ready_nodes() => ready?,
        signal = signals.next() => {
            let sentence = format!("{} while nodes were looked at over ssh: nothing was started", signal.name());
            return Err(refuse(Exit::from(signal))(sentence));
        }
    };
    let ready = ready.map(|(ready, reach)| {
        lead.reach = Some(reach);
        ready
    });
    // First, because a port that was asked for may be taken, and then nothing of the run has begun.
    let mut own = lead.own_node(runtimes).await?;
    let begun =
        tokio::task::block_in_place(|| beginning::begin(&source, &lead.checked, surroundings, &lead.results, &lead.run, kept));
    let beginning::Begun { folder, summary, trials, probes, earlier } = begun?;
    *begun_in = Some(folder.path().to_owned());
    let finished_before = (lead.checked.trials.len() - trials.len()) as u32;
    let records = lead.records(folder, earlier, summary, finished_before).await?;
    let deciding = lead.deciding(&records.books, trials, probes).await?;
    let Deciding { orchestrator, inbox, events, mut done } = deciding;

    let token = random_secret().map_err(|error| refuse(Exit::Failed)(error.to_string()))?;
    if let Some(own) = &own {
        own.node.inbox_found(inbox.clone().into());
    }
    let own_door = own.as_mut().map(|own| own.open(&token, Some(&lead.run)));
    let agent = own.as_ref().map(|own| own.node.agent.clone());
    let leading = cluster::lead(lead.cluster(&token), inbox, agent, events).await;
    let leading = leading.map_err(|error| refuse(Exit::NoCluster)(format!("the cluster cannot form: {error}")))?;
    let page = lead.open_page(records.page, &token).await?;
    let mut local = lead.local_nodes(leading.join_path())?;
    let over_ssh = lead.ssh_nodes(ready, &leading, &orchestrator)?;

    let leave = Leave { join: leading.join.clone(), path: leading.join_path().map(Path::to_owned) };
    let asked = until_over(&mut signals, &mut done, &orchestrator, own.as_ref().map(|own| &own.node), &leave).await;
    let closing = tokio::spawn(heard_while_closing(signals, asked.signal.is_some(), leave));
    let outcome = asked.outcome.unwrap_or(Outcome { report: None, failure: None, interrupted: None });
    let missed = leading.dismiss("the run is over").await;
    if let Some(own) = own {
        own.node.stop().await;
    }
    if let Some(door) = own_door {
        door.close().await;
    }
    let mut killed = local.as_mut().map_or(0, |local| tokio::task::block_in_place(|| local.wait()));
    if let Some(over_ssh) = over_ssh {
        killed += over_ssh.wait().await;
    }
    if killed > 0 {
        tracing::warn!(killed, missed, "node processes did not leave by themselves");
    }
    leading.end().await;
    page.close().await;
    let further_warnings = match records.pusher {
        Some(pusher) => pusher.end().await.into_iter().collect(),
        None => Vec::new(),
    };
    orchestrator.stop(None);
    records.books.stop(None);
    // The books hold the run folder, which is closed below.
    if records.books_task.await.is_err() {
        tracing::error!("the books ended by force");
    }
    let exit = ending::end(ending::Ended {
        words,
        folder: records.folder,
        outcome,
        signal: asked.signal,
        whole: &records.whole,
        further_warnings,
    });
    closing.abort();
    Ok(exit)
}

impl Lead<'_> {
    /// Where this machine is reached by the others.
    fn address(&self) -> IpAddr {
        if let Some(address) = self.reach.as_ref().and_then(|reach| reach.of_node.first()) {
            return *address;
        }
        self.own
    }

    /// Where it listens.
    fn bind(&self) -> IpAddr {
        self.reach.as_ref().map_or_else(|| self.address(), |reach| reach.bind)
    }

    /// Nodes that can be started over ssh, and how they reach this machine.
    async fn ready_nodes(&self) -> Result<Option<(Vec<Ready>, Reach)>, Refused> {
        if !self.crowd.is_over_ssh {
            return Ok(None);
        }
        let whole = |path: &PathBuf| std::path::absolute(path).map_err(|error| refuse(Exit::BadWords)(error.to_string()));
        let preparing = Preparing {
            names: self.checked.recipe.orchestration.nodes.clone(),
            ssh_config: self.words.ssh_config.as_ref().map(whole).transpose()?,
            binary: self.words.binary.clone(),
            remote_dir: self.words.remote_dir.clone().unwrap_or_else(|| ssh_nodes::REMOTE_DIR.to_owned()),
            own_host: self.surroundings.host.clone(),
            run: self.run.clone(),
        };
        let mut ready = preparing.all().await.map_err(refuse(Exit::NoCluster))?;
        let is_alone = ready.iter().all(|node| node.target.place().host.is_none());
        if is_alone {
            ready.iter_mut().for_each(|node| node.address = Some(std::net::Ipv4Addr::LOCALHOST.into()));
        }
        let is_named = self.node_words.endpoints.address.is_some() || self.node_words.endpoints.interface.is_some();
        let own = reached_by(self.node_words, &self.surroundings.host, is_alone).map_err(refuse(Exit::BadWords))?;
        let reach = Reach::of(&ready, is_named.then_some(own), own);
        Ok(Some((ready, reach)))
    }

    fn ssh_nodes(
        &self,
        ready: Option<Vec<Ready>>,
        leading: &Leading,
        orchestrator: &ActorRef<OrchestratorMsg>,
    ) -> Result<Option<SshNodes>, Refused> {
        let (Some(ready), Some(reach)) = (ready, &self.reach) else { return Ok(None) };
        let port_from = node::wanted_port(self.node_words, self.service()).first();
        let variables = ssh_nodes::variables(&self.checked.recipe);
        let words = (self.node_words, port_from);
        let started = SshNodes::start(ready, reach, leading, words, &variables, orchestrator.clone());
        started.map(Some).map_err(refuse(Exit::BadWords))
    }

    fn service(&self) -> &str {
        &self.checked.recipe.workload.service
    }

    /// The place of the leader's own node in the order of roles.
    fn ordinal(&self) -> u32 {
        let rank = self.surroundings.step.as_ref().map_or(0, |step| step.rank);
        self.placement.as_ref().map_or(rank, |placement| placement.ordinal(&self.surroundings.host, rank))
    }

    /// The leader's own node, where its process hosts one.
    async fn own_node(&self, runtimes: &Runtimes) -> Result<Option<node::Started>, Refused> {
        if !self.crowd.hosts_own_node {
            return Ok(None);
        }
        let start = NodeStart {
            host: self.surroundings.host.clone(),
            address: self.address(),
            ordinal: Some(self.ordinal()),
            port: node::wanted_port(self.node_words, self.service()),
            service: self.service().to_owned(),
            load_runtime: runtimes.load.handle().clone(),
        };
        node::start(start).await.map(Some).map_err(refuse(Exit::BadWords))
    }

    async fn records(
        &self,
        folder: RunFolder,
        earlier: Earlier,
        summary: RunSummary,
        finished_before: u32,
    ) -> Result<Records, Refused> {
        let recipe = &self.checked.recipe;
        let whole = Arc::new(Whole { run_dir: folder.path().to_owned(), checked: Arc::clone(&self.checked), earlier });
        let folder = Arc::new(Mutex::new(folder));
        let talk = match self.words {
            words if words.json && !std::io::IsTerminal::is_terminal(&std::io::stderr()) => Talk::Nothing,
            words if words.is_quiet => Talk::Troubles,
            _ => Talk::All,
        };
        let progress = Progress::on_stderr(talk);
        let (scribe, shown) = Scribe::new(Arc::clone(&folder), Arc::clone(&whole), progress, &self.run);
        let pusher = match recipe.pushgateway() {
            Some(gateway) => Some(start_pushing(&gateway, &self.run, shown.nodes.clone())?),
            None => None,
        };
        let arguments = BooksArguments { recorder: Box::new(scribe), summary, finished_before };
        let (books, books_task) = Actor::spawn(None, Books, arguments).await.map_err(not_spawned)?;
        Ok(Records { whole, folder, books, books_task, pusher, page: shown.page })
    }

    async fn deciding(
        &self,
        books: &ActorRef<BooksMsg>,
        left: Vec<Trial>,
        probes: Vec<ProbeReport>,
    ) -> Result<Deciding, Refused> {
        let Checked { recipe, trials, .. } = &*self.checked;
        let service = trials.first().and_then(|trial| hb_services::resolve(&trial.service).ok());
        let wall_time = tokio::task::block_in_place(|| WallTime::look(unix_nanos()));
        if let Some(wall_time) = wall_time.filter(|_| !self.words.is_quiet) {
            let (end, margin) = (rfc3339(wall_time.ends_at), wall_time.margin);
            eprintln!("the job ends at {end}: no trial is begun that would not be over {margin} before");
        }
        let spec = RunSpec {
            run: self.run.clone(),
            trials: left,
            probes,
            default_port: service.map_or(0, |service| service.default_port()),
            on_node_loss: recipe.on_node_loss(),
            monitor_interval: monitor_interval(self.words, recipe),
            join_within: Span::from_secs(self.words.join_timeout),
            ends_at: wall_time.map(WallTime::last_moment),
        };
        let (events, cluster) = mpsc::unbounded_channel::<ClusterEvent>();
        let (done_sender, done) = oneshot::channel::<Outcome>();
        let leadership = Leadership {
            spec,
            expected: Expected {
                nodes: self.crowd.nodes,
                needs: recipe.needs(),
                may_share_hosts: self.crowd.local.is_some(),
                are_placed: self.placement.is_some(),
            },
            books: books.clone(),
            cluster,
            own_host: self.surroundings.host.clone(),
            done: done_sender,
        };
        let (orchestrator, _) = Actor::spawn(None, Orchestrator, leadership).await.map_err(not_spawned)?;
        let inbox = Inbox { orchestrator: orchestrator.clone(), books: books.clone() };
        let (inbox, _) = Actor::spawn(None, inbox, ()).await.map_err(not_spawned)?;
        Ok(Deciding { orchestrator, inbox, events, done })
    }

    fn cluster(&self, token: &str) -> LeadOptions {
        let address = self.address();
        LeadOptions {
            bind: self.bind(),
            advertise: address.to_string(),
            port: None,
            // Over ssh the way in is handed to each node, and lies in no file.
            state_dir: (!self.crowd.is_over_ssh).then(|| self.surroundings.state_dir(&self.results, &self.run)),
            run: self.run.clone(),
            build: BUILD.to_owned(),
            http_token: token.to_owned(),
        }
    }

    /// Opens the live page, and tells where it is: the address holds the token, as Jupyter's does.
    async fn open_page(&self, view: Arc<LeaderView>, token: &str) -> Result<Door, Refused> {
        let failed = |error: std::io::Error| refuse(Exit::Failed)(format!("cannot serve the live page: {error}"));
        let listener = TcpListener::bind((self.bind(), 0)).await.map_err(failed)?;
        let bound = std::net::SocketAddr::new(self.address(), listener.local_addr().map_err(failed)?.port());
        if !self.words.is_quiet {
            eprintln!("live page: http://{bound}/?token={token}");
        }
        Ok(Door::open(listener, http::leader_routes(view, Token::new(token.to_owned()))))
    }

    fn local_nodes(&self, join: Option<&Path>) -> Result<Option<LocalNodes>, Refused> {
        let (Some(count), Some(join)) = (self.crowd.local, join) else { return Ok(None) };
        let from = node::wanted_port(self.node_words, self.service()).first();
        let started = LocalNodes::start(count.get(), join, from, self.address(), self.words.is_quiet);
        started.map(Some).map_err(|error| refuse(Exit::NoCluster)(format!("cannot start node processes: {error}")))
    }
}

fn not_spawned(error: ractor::SpawnErr) -> Refused {
    refuse(Exit::Failed)(format!("cannot start: {error}"))
}

fn start_pushing(
    gateway: &Pushgateway,
    run: &str,
    nodes: watch::Receiver<BTreeMap<String, NodeView>>,
) -> Result<Pusher, Refused> {
    let pushing =
        Pushing { url: gateway.url.clone(), run: run.to_owned(), interval: gateway.interval.0, deadline: DELETE_GROUPS_WITHIN };
    Pusher::start(pushing, nodes).map_err(|error| refuse(Exit::Failed)(format!("cannot push to `{}`: {error}", gateway.url)))
}
