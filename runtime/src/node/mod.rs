//! Being a node: finds the leader, takes its roles, leaves when the run ends or the leader is gone.

mod door;
mod ports;
mod solo;
mod standalone;
mod start;

use std::{
    io::BufRead,
    path::{Path, PathBuf},
    time::Duration,
};

use hb_actors::{
    cluster::{self, JoinError, JoinFile, JoinOptions, JoinSource, NodeLinkEvent, TroubleOnTheWay},
    node::NodeEnd,
    wall_clock::{rfc3339, unix_nanos},
};
use hb_core::recipe::Recipe;
use tokio::{
    sync::{mpsc, watch},
    time::{Instant, sleep_until},
};

pub use self::{
    door::Door,
    ports::{WantedPort, wanted_port},
    standalone::run as standalone,
    start::{NodeStart, Started, start},
};
use crate::{
    cli::{BUILD, NodeWords, exit::Exit},
    given_up::GivenUp,
    lead::surroundings::{Surroundings, reached_by, results_root},
    runtimes::Runtimes,
    signals::{Asked, Signals},
};

/// A run that a signal ends is over within this time; a node that is still there then leaves by itself.
const LEADER_ACTS_WITHIN: Duration = Duration::from_secs(20);
/// More bytes than the line with the way in has.
const LONGEST_LINE: u64 = 64 * 1024;

/// Where a node's words say that the way in is.
fn source_of(words: &NodeWords, state_dir: Option<PathBuf>) -> Result<JoinSource, String> {
    if words.join_stdin {
        let file = match words.while_stdin {
            // The rest of it says nothing but that whoever started this node is still there.
            true => JoinFile::from_reader(first_line(std::io::stdin().lock()).as_bytes()),
            false => JoinFile::from_reader(std::io::stdin()),
        };
        let file = file.map_err(|error| error.to_string())?;
        return Ok(JoinSource::Value(Box::new(file)));
    }
    let named = words.join_file.clone().or_else(|| state_dir.map(|dir| dir.join(cluster::join_file::FILE_NAME)));
    named.map(JoinSource::File).ok_or_else(|| {
        "the secrets of the way in are missing: name the leader's file with --join-file or HBNODE_JOIN_FILE, or its folder with HBNODE_STATE"
            .to_owned()
    })
}

/// The first line, or what of it came; nobody sends a longer one.
fn first_line(reader: impl BufRead) -> String {
    let mut line = String::new();
    // What cannot be read is no join file either, and is told as such.
    let _ = reader.take(LONGEST_LINE).read_line(&mut line);
    line
}

/// Until standard input ends, if that is the end of whoever started this node.
async fn starter_gone(is_held: bool) {
    if !is_held {
        return std::future::pending().await;
    }
    let (gone, heard) = tokio::sync::oneshot::channel();
    // A thread of its own: the process does not wait for its end.
    std::thread::spawn(move || {
        // However it ends, it has ended.
        let _ = std::io::copy(&mut std::io::stdin().lock(), &mut std::io::sink());
        let _ = gone.send(());
    });
    // A thread that failed says nothing of standard input.
    if heard.await.is_err() {
        std::future::pending().await
    }
}

/// A node by its own words: `hbnode`, `--join`, `--join-file`.
pub fn run(words: &NodeWords) -> Exit {
    let surroundings = Surroundings::read();
    let state_dir = std::env::var_os("HBNODE_STATE").map(PathBuf::from);
    let state_dir = state_dir.or_else(|| surroundings.step.as_ref().map(|_| surroundings.state_dir(&results_root(None), "")));
    let ordinal = words.ordinal.or_else(|| surroundings.step.as_ref().map(|step| step.rank));
    match source_of(words, state_dir) {
        Ok(source) => live(words, &surroundings.host, ordinal, "", |start| joined(words, source, None, start)),
        Err(sentence) => {
            eprintln!("error: {sentence}");
            Exit::BadWords
        }
    }
}

/// A task of the step whose rank 0 leads: the same command line, another place in the order of roles.
pub fn run_as_task(results: &Path, words: &NodeWords, surroundings: &Surroundings, ordinal: u32, recipe: &Recipe) -> Exit {
    let state_dir = surroundings.state_dir(results, "");
    match source_of(words, Some(state_dir)) {
        Ok(source) => {
            let given_up = GivenUp::of(surroundings, results);
            live(words, &surroundings.host, Some(ordinal), &recipe.workload.service, |start| {
                joined(words, source, given_up, start)
            })
        }
        Err(sentence) => {
            eprintln!("error: {sentence}");
            Exit::BadWords
        }
    }
}

/// A node's life in this process, from its words to its exit code.
fn live<L: Future<Output = Exit>>(
    words: &NodeWords,
    host: &str,
    ordinal: Option<u32>,
    service: &str,
    life: impl FnOnce(NodeStart) -> L,
) -> Exit {
    let address = match reached_by(words, host, false) {
        Ok(address) => address,
        Err(sentence) => {
            eprintln!("error: {sentence}");
            return Exit::BadWords;
        }
    };
    let runtimes = match Runtimes::start() {
        Ok(runtimes) => runtimes,
        Err(error) => {
            eprintln!("error: cannot start: {error}");
            return Exit::Failed;
        }
    };
    let start = NodeStart {
        host: host.to_owned(),
        address,
        ordinal,
        port: wanted_port(words, service),
        service: service.to_owned(),
        load_runtime: runtimes.load.handle().clone(),
    };
    let exit = runtimes.cluster.block_on(life(start));
    runtimes.end();
    exit
}

async fn joined(words: &NodeWords, source: JoinSource, given_up: Option<GivenUp>, start_node: NodeStart) -> Exit {
    let (host, ordinal) = (start_node.host.clone(), start_node.ordinal);
    let mut signals = match Signals::listen() {
        Ok(signals) => signals,
        Err(error) => {
            eprintln!("error: cannot listen to signals: {error}");
            return Exit::Failed;
        }
    };
    let mut started = match start(start_node).await {
        Ok(started) => started,
        Err(sentence) => {
            eprintln!("error: {sentence}");
            return Exit::BadWords;
        }
    };
    // Nodes that somebody else starts by the dozen leave the talking to him.
    if is_by_hand(words) && !words.is_quiet {
        eprintln!("this node's endpoints: http://{}", started.endpoints);
        eprintln!("{}", waiting(&source, words, unix_nanos()));
    }
    let way_in = if let JoinSource::File(path) = &source { Some(path.clone()) } else { None };
    let (events, mut link) = mpsc::unbounded_channel();
    let options = JoinOptions {
        source,
        address: words.join.clone(),
        deadline: Duration::from_secs(words.wait),
        build: BUILD.to_owned(),
        host,
        ordinal,
        incarnation: started.incarnation,
    };
    let joining = cluster::join(options, started.node.agent.clone(), events);
    let joined = tokio::select! {
        joined = joining => joined,
        signal = signals.next() => {
            started.node.stop().await;
            return signal.into();
        }
        (why, exit) = leader_gave_up(given_up) => {
            eprintln!("error: nothing to join: the leader ended before the run began: {why}");
            started.node.stop().await;
            return exit;
        }
        () = starter_gone(words.while_stdin) => {
            eprintln!("error: whoever started this node is gone");
            started.node.stop().await;
            return Exit::NoCluster;
        }
    };
    let joined = match joined {
        Ok(joined) => joined,
        Err(error) => {
            eprintln!("error: cannot join: {error}");
            started.node.stop().await;
            return Exit::NoCluster;
        }
    };
    let door = started.open(&joined.file.http_token, Some(&joined.file.run));
    started.node.inbox_found(joined.inbox.clone());
    let why = stay(&mut started, &mut link, &mut signals).await;
    if let (Parting::LeaderGone { is_dead: true, .. }, Some(path)) = (&why, &way_in) {
        joined.file.remove_from(path);
    }
    started.node.stop().await;
    door.close().await;
    joined.end().await;
    why.exit()
}

/// Until the leader of this task's step says that there will be no run.
async fn leader_gave_up(given_up: Option<GivenUp>) -> (String, Exit) {
    match given_up {
        Some(given_up) => given_up.heard().await,
        None => std::future::pending().await,
    }
}

/// Whether a person started this node alone, and not a leader or a step.
fn is_by_hand(words: &NodeWords) -> bool {
    words.endpoints.client_port_from.is_none() && !words.while_stdin && std::env::var_os("SLURM_STEP_ID").is_none()
}

/// Whom a node waits for, and until when.
fn waiting(source: &JoinSource, words: &NodeWords, now: i128) -> String {
    let leader = match (&words.join, source) {
        (Some(address), _) => format!("the leader at {address}"),
        (None, JoinSource::File(path)) => format!("a leader to write {}", path.display()),
        (None, JoinSource::Value(file)) => format!("the leader at {}", file.address),
    };
    let until = rfc3339(now + i128::from(words.wait) * 1_000_000_000);
    format!("waiting for {leader}, until {until} ({} s; --wait asks for another time)", words.wait)
}

/// Why a node that had joined leaves.
enum Parting {
    /// The leader said goodbye.
    Dismissed,
    /// This node has no leader any more.
    LeaderGone {
        /// What stood between them.
        why: String,
        /// Nobody listens where it was. A leader that turned this node away, or that the network keeps from it, lives.
        is_dead: bool,
    },
    /// Something on this node failed.
    Failed(String),
    /// A signal, and the leader has not ended the run for it.
    Signalled(Asked),
}

impl Parting {
    /// Says what there is to say, and gives the exit code.
    fn exit(self) -> Exit {
        match self {
            Self::Dismissed => Exit::Ok,
            Self::LeaderGone { why, .. } => {
                eprintln!("error: the leader is gone: {why}");
                Exit::NoCluster
            }
            Self::Failed(why) => {
                eprintln!("error: this node cannot go on: {why}");
                Exit::Failed
            }
            Self::Signalled(signal) => signal.into(),
        }
    }
}

/// Does as the leader says until there is a reason to leave.
///
/// Slurm sends its signal to every task of the step at once. The leader ends the run for it and dismisses its
/// nodes; a node that left at once would take the last windows of the load along. So the first signal is left
/// to the leader for a while, and the second is heard at once.
async fn stay(started: &mut Started, link: &mut mpsc::UnboundedReceiver<NodeLinkEvent>, signals: &mut Signals) -> Parting {
    let mut first: Option<(Asked, Instant)> = None;
    loop {
        let patience = first.map(|(_, at)| at + LEADER_ACTS_WITHIN);
        tokio::select! {
            event = link.recv() => match event {
                Some(NodeLinkEvent::LeaderFound(inbox)) => started.node.inbox_found(inbox),
                Some(NodeLinkEvent::LeaderLost { .. }) => started.node.inbox_lost(),
                Some(NodeLinkEvent::GaveUp { why }) => {
                    let is_dead = matches!(why, JoinError::NoLeader { trouble: TroubleOnTheWay::ConnectionRefused, .. });
                    return Parting::LeaderGone { why: why.to_string(), is_dead };
                }
                None => return Parting::LeaderGone { why: "its link is gone".into(), is_dead: false },
            },
            end = ended(&mut started.node.ended) => return match end {
                NodeEnd::Dismissed(_) => Parting::Dismissed,
                NodeEnd::Failed(why) => Parting::Failed(why),
            },
            signal = signals.next() => match (signal, first) {
                // Slurm's notice before the limit reaches every task; the leader alone ends the run for it.
                (Asked::TimeIsNearlyUp, _) => {}
                (_, None) => first = Some((signal, Instant::now())),
                (_, Some(_)) => return Parting::Signalled(signal),
            },
            () = sleep_until(patience.unwrap_or_else(Instant::now)), if patience.is_some() => {
                return Parting::Signalled(first.map_or(Asked::Terminate, |(signal, _)| signal));
            }
        }
    }
}

/// The reason for which the node ends, once there is one.
async fn ended(receiver: &mut watch::Receiver<Option<NodeEnd>>) -> NodeEnd {
    let end = receiver.wait_for(Option::is_some).await.ok().and_then(|end| end.clone());
    end.unwrap_or_else(|| NodeEnd::Failed("its root is gone".into()))
}
