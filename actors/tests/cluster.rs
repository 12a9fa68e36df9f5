//! The cluster with real processes on loopback. Process groups are statics of the process, so one process
//! is one node: this program runs itself again for every node, and the tests run in the first one.

#![expect(clippy::unwrap_used, reason = "a test without a harness of its own")]

use std::{
    io::{BufRead, BufReader, Write},
    net::{IpAddr, Ipv4Addr, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, ExitCode, Stdio},
    sync::mpsc,
    time::{Duration, Instant},
};

use hb_actors::{
    cluster::{
        ClusterEvent, JoinError, JoinFile, JoinOptions, JoinSource, LeadOptions, NodeLinkEvent, identity::Authority, join,
        join_file::JoinFileGuard, lead,
    },
    messages::{AgentMsg, BeatBack, HelloBack, InboxMsg},
    wire::{Wire, WireError, answer},
};
use hb_core::facts::{Fact, NodeFact};
use ractor::{Actor, ActorProcessingErr, ActorRef};
use rustix::process::{Pid, Signal, kill_process};

const TESTS: &[(&str, fn())] = &[
    ("nodes_join_are_watched_and_leave", nodes_join_are_watched_and_leave),
    ("a_killed_and_a_frozen_node_are_lost", a_killed_and_a_frozen_node_are_lost),
    ("strangers_are_named_and_keep_nobody_out", strangers_are_named_and_keep_nobody_out),
    ("nodes_without_their_leader_give_up", nodes_without_their_leader_give_up),
];

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["leader", state_dir] => runtime().block_on(run_leader(Path::new(state_dir))),
        ["node", host, join_path, build, deadline] => runtime().block_on(run_node(host, Path::new(join_path), build, deadline)),
        ["--list", ..] => {
            TESTS.iter().for_each(|(name, _)| println!("{name}: test"));
            ExitCode::SUCCESS
        }
        filters => run_tests(filters),
    }
}

fn run_tests(words: &[&str]) -> ExitCode {
    let filter = words.iter().find(|word| !word.starts_with("--"));
    for (name, test) in TESTS.iter().filter(|(name, _)| filter.is_none_or(|filter| name.contains(*filter))) {
        test();
        println!("test {name} ... ok");
    }
    ExitCode::SUCCESS
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
}

/// Answers as a node's Agent does, and hands a goodbye on.
struct Agent {
    me: HelloBack,
    bye: tokio::sync::mpsc::UnboundedSender<()>,
}

impl Actor for Agent {
    type Msg = AgentMsg;
    type State = ();
    type Arguments = ();

    async fn pre_start(&self, _: ActorRef<AgentMsg>, (): ()) -> Result<(), ActorProcessingErr> {
        Ok(())
    }

    async fn handle(&self, _: ActorRef<AgentMsg>, msg: AgentMsg, (): &mut ()) -> Result<(), ActorProcessingErr> {
        match msg {
            AgentMsg::Hello(_, reply) => answer(reply, Ok(self.me.clone())),
            AgentMsg::Beat(Wire(Ok(beat)), reply) => {
                answer(reply, Ok(BeatBack { seq: beat.seq, unix_nanos: 0 }));
            }
            AgentMsg::Beat(Wire(Err(why)), reply) => answer(reply, Err(WireError::Undecodable(why))),
            AgentMsg::Order(_, reply) => answer(reply, Ok(())),
            AgentMsg::Bye(_, reply) => {
                answer(reply, Ok(()));
                self.bye.send(()).unwrap();
            }
        }
        Ok(())
    }
}

/// Prints whose facts came.
struct Inbox;

impl Actor for Inbox {
    type Msg = InboxMsg;
    type State = ();
    type Arguments = ();

    async fn pre_start(&self, _: ActorRef<InboxMsg>, (): ()) -> Result<(), ActorProcessingErr> {
        Ok(())
    }

    async fn handle(&self, _: ActorRef<InboxMsg>, msg: InboxMsg, (): &mut ()) -> Result<(), ActorProcessingErr> {
        if let InboxMsg::Fact(Wire(Ok(fact)), reply) = msg {
            println!("fact {}", fact.node);
            answer(reply, Ok(fact.seq));
        }
        Ok(())
    }
}

fn introduction(host: &str, build: &str) -> HelloBack {
    HelloBack {
        build: build.into(),
        host: host.into(),
        address: "127.0.0.1".into(),
        ordinal: None,
        incarnation: u64::from(std::process::id()),
        pid: std::process::id(),
        cores: 1,
        memory_bytes: 1,
        gpus: Vec::new(),
        http_port: None,
    }
}

/// Prints every event as a line; ends when its standard input does, with a goodbye to all.
async fn run_leader(state_dir: &Path) -> ExitCode {
    let (bye, _byes) = tokio::sync::mpsc::unbounded_channel();
    let (agent, _) = Actor::spawn(None, Agent { me: introduction("leader", "1"), bye }, ()).await.unwrap();
    let (inbox, _) = Actor::spawn(None, Inbox, ()).await.unwrap();
    let (events, mut happened) = tokio::sync::mpsc::unbounded_channel();
    let options = LeadOptions {
        bind: IpAddr::V4(Ipv4Addr::LOCALHOST),
        advertise: "127.0.0.1".into(),
        port: None,
        state_dir: Some(state_dir.to_owned()),
        run: "run".into(),
        build: "1".into(),
        http_token: "token".into(),
    };
    let leading = lead(options, inbox, Some(agent), events).await.unwrap();
    println!("leading {}", leading.join_path().unwrap().display());
    let (ended, mut end) = tokio::sync::mpsc::unbounded_channel();
    std::thread::spawn(move || {
        std::io::stdin().lines().for_each(drop);
        ended.send(()).unwrap();
    });
    loop {
        tokio::select! {
            Some(event) = happened.recv() => println!("{}", told(&event)),
            Some(()) = end.recv() => break,
        }
    }
    println!("unheard {:?}", leading.dismiss("over").await);
    while let Ok(Some(event)) = tokio::time::timeout(Duration::from_secs(2), happened.recv()).await {
        println!("{}", told(&event));
        if leading.peers().await.len() == 1 {
            break;
        }
    }
    // The last ones may have gone between an event and the look at who is left.
    while let Ok(event) = happened.try_recv() {
        println!("{}", told(&event));
    }
    leading.end().await;
    ExitCode::SUCCESS
}

fn told(event: &ClusterEvent) -> String {
    match event {
        ClusterEvent::Joined { hello, .. } => format!("joined {}", hello.host),
        ClusterEvent::Lost { peer, why } => format!("lost {peer}: {why}"),
        ClusterEvent::Left { peer } => format!("left {peer}"),
        ClusterEvent::Fenced { peer } => format!("fenced {peer}"),
        ClusterEvent::Refused { name, why } => format!("refused {name}: {why}"),
        ClusterEvent::StrangerRefused { why, total, .. } => format!("stranger {total}: {why}"),
        ClusterEvent::Clock { peer, .. } => format!("clock {peer}"),
        other => format!("other {other:?}"),
    }
}

/// Joins, posts a fact whenever a leader is found, and exits with 0 after a goodbye, 4 without a leader.
async fn run_node(host: &str, join_path: &Path, build: &str, deadline: &str) -> ExitCode {
    let (bye, mut byes) = tokio::sync::mpsc::unbounded_channel();
    let (agent, _) = Actor::spawn(None, Agent { me: introduction(host, build), bye }, ()).await.unwrap();
    let (events, mut happened) = tokio::sync::mpsc::unbounded_channel();
    let options = JoinOptions {
        source: JoinSource::File(join_path.to_owned()),
        address: None,
        deadline: Duration::from_secs(deadline.parse().unwrap()),
        build: build.into(),
        host: host.into(),
        ordinal: None,
        incarnation: u64::from(std::process::id()),
    };
    let joined = match join(options, agent, events).await {
        Ok(joined) => joined,
        Err(error) => return gave_up(&error),
    };
    loop {
        tokio::select! {
            Some(()) = byes.recv() => break,
            Some(event) = happened.recv() => match event {
                NodeLinkEvent::LeaderFound(inbox) => {
                    let fact = Fact::Warned { what: "hello".into() };
                    let sent = inbox.fact(NodeFact { node: host.into(), incarnation: 1, seq: 9, fact }).await;
                    println!("found {sent:?}");
                }
                NodeLinkEvent::LeaderLost { .. } => println!("leader lost"),
                NodeLinkEvent::GaveUp { why } => return gave_up(&why),
            },
        }
    }
    // The answer to the goodbye is still on its way; the leader closes nothing before it has it.
    let closed = tokio::time::timeout(Duration::from_secs(1), happened.recv()).await;
    println!("bye {}", closed.is_ok());
    joined.end().await;
    ExitCode::SUCCESS
}

fn gave_up(why: &JoinError) -> ExitCode {
    println!("gave up: {why}");
    ExitCode::from(4)
}

/// A process of this test, its lines, and its end by its id.
struct Process {
    child: Child,
    lines: mpsc::Receiver<String>,
    seen: Vec<String>,
}

impl Process {
    fn start(arguments: &[&str]) -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(arguments)
            .env_remove("RUST_BACKTRACE")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        let (sender, lines) = mpsc::channel();
        std::thread::spawn(move || output.lines().map_while(Result::ok).try_for_each(|line| sender.send(line)));
        Self { child, lines, seen: Vec::new() }
    }

    /// Waits until a line with this in it was said, and gives it.
    fn wait_for(&mut self, part: &str, seconds: u64) -> String {
        let deadline = Instant::now() + Duration::from_secs(seconds);
        loop {
            if let Some(line) = self.seen.iter().find(|line| line.contains(part)) {
                return line.clone();
            }
            let left = deadline.saturating_duration_since(Instant::now());
            match self.lines.recv_timeout(left) {
                Ok(line) => self.seen.push(line),
                Err(_) => panic!("no `{part}` within {seconds} s, but {:#?}", self.seen),
            }
        }
    }

    /// How many lines so far have this in them.
    fn count(&mut self, part: &str) -> usize {
        self.seen.extend(self.lines.try_iter());
        self.seen.iter().filter(|line| line.contains(part)).count()
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    fn exit_code(&mut self, seconds: u64) -> Option<i32> {
        let deadline = Instant::now() + Duration::from_secs(seconds);
        while Instant::now() < deadline {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status.code();
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        panic!("it still runs after {seconds} s, and said {:#?}", self.seen);
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

fn start_leader(folder: &Path) -> (Process, PathBuf) {
    let mut leader = Process::start(&["leader", folder.to_str().unwrap()]);
    let line = leader.wait_for("leading ", 10);
    (leader, PathBuf::from(line.trim_start_matches("leading ")))
}

fn start_node(host: &str, join: &Path, build: &str, deadline: &str) -> Process {
    Process::start(&["node", host, join.to_str().unwrap(), build, deadline])
}

/// A join file like the given one, but for what is changed.
fn forged(join: &Path, folder: &Path, change: impl FnOnce(&mut JoinFile)) -> JoinFileGuard {
    let mut file = JoinFile::read(join).unwrap();
    change(&mut file);
    file.write(folder).unwrap()
}

fn nodes_join_are_watched_and_leave() {
    let folder = tempfile::tempdir().unwrap();
    // The first one is there before its leader.
    let mut nodes = vec![start_node("node-0", &folder.path().join("join.json"), "1", "20")];
    let (mut leader, join) = start_leader(folder.path());
    nodes.extend((1..3).map(|n| start_node(&format!("node-{n}"), &join, "1", "20")));
    for (n, node) in nodes.iter_mut().enumerate() {
        node.wait_for("found Ok(9)", 10);
        leader.wait_for(&format!("joined node-{n}"), 10);
        leader.wait_for(&format!("clock node-{n}"), 10);
    }
    assert_eq!((leader.count("joined "), leader.count("fact node-")), (4, 3), "{:#?}", leader.seen);
    drop(leader.child.stdin.take());
    leader.wait_for("unheard Some(0)", 10);
    for node in &mut nodes {
        assert_eq!(node.exit_code(10), Some(0));
    }
    assert_eq!(leader.exit_code(20), Some(0));
    assert_eq!((leader.count("left node-"), leader.count("lost ")), (3, 0), "{:#?}", leader.seen);
    assert!(!join.exists());
}

fn a_killed_and_a_frozen_node_are_lost() {
    let folder = tempfile::tempdir().unwrap();
    let (mut leader, join) = start_leader(folder.path());
    let mut killed = start_node("killed", &join, "1", "20");
    let mut frozen = start_node("frozen", &join, "1", "20");
    let mut healthy = start_node("healthy", &join, "1", "20");
    for node in [&mut killed, &mut frozen, &mut healthy] {
        node.wait_for("found Ok(9)", 10);
    }
    for host in ["killed", "frozen", "healthy"] {
        leader.wait_for(&format!("joined {host}"), 10);
    }
    killed.signal(Signal::KILL);
    frozen.signal(Signal::STOP);
    assert!(leader.wait_for("lost killed", 20).contains("link closed"));
    assert!(leader.wait_for("lost frozen", 30).contains("no beat"));
    frozen.signal(Signal::CONT);
    leader.wait_for("fenced frozen", 20);
    assert_eq!(frozen.exit_code(40), Some(4));
    assert_eq!(leader.count("lost healthy"), 0);
}

fn strangers_are_named_and_keep_nobody_out() {
    let folder = tempfile::tempdir().unwrap();
    let (mut leader, join) = start_leader(folder.path());
    let address = JoinFile::read(&join).unwrap().address;
    let crowd: Vec<TcpStream> = (0..200)
        .map(|n| {
            let mut stream = TcpStream::connect(&address).unwrap();
            if n % 2 == 0 {
                stream.write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap();
            }
            stream
        })
        .collect();
    let mut node = start_node("honest", &join, "1", "20");
    node.wait_for("found Ok(9)", 10);
    leader.wait_for("joined honest", 10);
    drop(crowd);

    let elsewhere = tempfile::tempdir().unwrap();
    let place = |name: &str| elsewhere.path().join(name);
    let cookie = forged(&join, &place("cookie"), |file| file.cookie = "0".repeat(64));
    let mut guesser = start_node("guesser", cookie.path(), "1", "20");
    assert!(guesser.wait_for("gave up", 20).contains("cookie was not accepted"));
    assert_eq!(guesser.exit_code(10), Some(4));
    leader.wait_for("refused guesser", 10);

    let foreign = forged(&join, &place("foreign"), |file| {
        let authority = Authority::create().unwrap();
        file.ca_certificate_pem = authority.certificate_pem().to_owned();
        file.ca_key_pem = authority.key_pem();
    });
    let mut foreigner = start_node("foreigner", foreign.path(), "1", "20");
    assert!(foreigner.wait_for("gave up", 20).contains("belongs to another run"));
    assert_eq!(foreigner.exit_code(10), Some(4));
    leader.wait_for("stranger", 10);

    let mut other = start_node("other", &join, "2", "20");
    assert!(other.wait_for("gave up", 10).contains("the leader runs build 1 and this node 2"));
    // One that does not look is refused by the leader.
    let blind = forged(&join, &place("blind"), |file| file.build = "2".into());
    let mut other = start_node("blind", blind.path(), "2", "20");
    assert!(leader.wait_for("refused blind", 10).contains("it runs build 2, and the leader 1"));
    assert!(other.wait_for("gave up", 30).contains("did not admit"));
    assert_eq!(leader.count("lost "), 0);
}

fn nodes_without_their_leader_give_up() {
    let folder = tempfile::tempdir().unwrap();
    let (leader, join) = start_leader(folder.path());
    let mut nodes: Vec<Process> = (0..3).map(|n| start_node(&format!("node-{n}"), &join, "1", "20")).collect();
    for node in &mut nodes {
        node.wait_for("found Ok(9)", 10);
    }
    drop(leader);
    for node in &mut nodes {
        node.wait_for("leader lost", 10);
        assert!(node.wait_for("gave up", 30).contains("the connection was refused"));
        assert_eq!(node.exit_code(10), Some(4));
    }
}
