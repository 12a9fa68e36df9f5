//! The ServerManager over real server processes: this binary as the Dummy, under this binary as its guardian.

use std::{ffi::OsString, num::NonZeroU32, process::ExitCode};

use hb_actors::{
    messages::{LogCollectorMsg, ServerManagerMsg, UplinkMsg},
    server_manager::{ServerManager, ServerManagerArgs},
};
use hb_core::{
    facts::{Fact, LogLine},
    orders::{Duty, Part, ServerOrder},
    trial::{Api, ContainerRuntime, CustomService, HealthCheck, Length, ProtocolName, RequestSpec, ServiceSpec},
    units::Span,
};
use hb_services::dummy::{DummyConfig, serve};
use ractor::{Actor, ActorProcessingErr, ActorRef, call_t};
use tokio::sync::mpsc;

use crate::{
    cases::Case,
    guardian::{left, mark},
};

/// The word that the Dummy's command line begins with.
pub const DUMMY_WORD: &str = "dummy";

/// A test's own flag: say something and exit with this code instead of serving.
const CRASH_FLAG: &str = "--crash";

pub const CASES: &[Case] = crate::cases![
    facts_come_in_order_from_the_start_to_the_stop,
    a_server_that_ends_too_early_fails_with_its_last_words,
    a_server_that_does_not_become_ready_in_time_is_ended_and_says_what_it_answered,
    a_server_that_cannot_complete_is_not_ready,
    the_drill_makes_a_ready_server_exit,
    a_taken_port_that_is_fixed_names_its_owner,
    a_repeated_start_changes_nothing_and_all_are_stopped_at_once,
    servers_end_with_their_manager,
    a_server_is_stopped_while_it_is_not_ready,
    what_cannot_be_started_is_a_fact,
    a_custom_service_is_started_and_ended_as_its_block_says,
    a_runtime_wraps_the_command_and_keeps_values_out_of_it,
    what_a_container_lacks_on_its_node_is_found_before_it_is_started,
    a_part_that_follows_is_never_asked_and_ends_as_ordered,
];

/// The server's part. Words: `--host H --port P --key value…`.
pub fn dummy(words: &[OsString]) -> ExitCode {
    let words: Vec<&str> = words.iter().map(|word| word.to_str().unwrap()).collect();
    let value = |flag: &str| words.iter().position(|word| *word == flag).map(|at| words[at + 1]);
    if let Some(code) = value(CRASH_FLAG) {
        eprintln!("out of memory");
        return ExitCode::from(code.parse::<u8>().unwrap());
    }
    let pairs = words.chunks_exact(2).map(|pair| (pair[0].trim_start_matches('-').replace('-', "_"), pair[1]));
    let texts: Vec<(String, &str)> = pairs.filter(|(key, _)| !["host", "port"].contains(&key.as_str())).collect();
    let config = DummyConfig::from_texts(texts.iter().map(|(key, text)| (key.as_str(), *text))).unwrap();
    let address = format!("{}:{}", value("--host").unwrap(), value("--port").unwrap());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let listener = tokio::net::TcpListener::bind(address).await.unwrap();
        println!("listening");
        serve(listener, config, std::future::pending::<()>()).await.unwrap();
    });
    ExitCode::SUCCESS
}

/// Notes the facts.
struct Uplink;

impl Actor for Uplink {
    type Msg = UplinkMsg;
    type State = mpsc::UnboundedSender<Fact>;
    type Arguments = Self::State;

    async fn pre_start(&self, _: ActorRef<UplinkMsg>, sender: Self::State) -> Result<Self::State, ActorProcessingErr> {
        Ok(sender)
    }

    async fn handle(&self, _: ActorRef<UplinkMsg>, msg: UplinkMsg, sender: &mut Self::State) -> Result<(), ActorProcessingErr> {
        let UplinkMsg::Fact(fact) = msg else { panic!("a ServerManager posts facts alone") };
        Ok(sender.send(fact)?)
    }
}

/// Notes the lines and where they come from.
struct Logs;

impl Actor for Logs {
    type Msg = LogCollectorMsg;
    type State = mpsc::UnboundedSender<(String, LogLine)>;
    type Arguments = Self::State;

    async fn pre_start(&self, _: ActorRef<LogCollectorMsg>, sender: Self::State) -> Result<Self::State, ActorProcessingErr> {
        Ok(sender)
    }

    async fn handle(
        &self,
        _: ActorRef<LogCollectorMsg>,
        msg: LogCollectorMsg,
        sender: &mut Self::State,
    ) -> Result<(), ActorProcessingErr> {
        // Nothing is kept back here, so there is nothing to flush.
        let LogCollectorMsg::Wrote { source, lines } = msg else { return Ok(()) };
        for line in lines {
            sender.send((source.clone(), line))?;
        }
        Ok(())
    }
}

struct Bed {
    manager: ActorRef<ServerManagerMsg>,
    facts: mpsc::UnboundedReceiver<Fact>,
    lines: mpsc::UnboundedReceiver<(String, LogLine)>,
    mark: String,
}

impl Bed {
    async fn new(name: &str) -> Self {
        let (sender, facts) = mpsc::unbounded_channel();
        let (uplink, _) = Actor::spawn(None, Uplink, sender).await.unwrap();
        let (sender, lines) = mpsc::unbounded_channel();
        let (logs, _) = Actor::spawn(None, Logs, sender).await.unwrap();
        let own_exe = std::env::current_exe().unwrap();
        let (manager, _) = Actor::spawn(None, ServerManager, ServerManagerArgs { uplink, logs, own_exe }).await.unwrap();
        Self { manager, facts, lines, mark: mark(name) }
    }

    fn order(&self, server: u32) -> ServerOrder {
        let service = ServiceSpec {
            service: "dummy".into(),
            model: "tiny".into(),
            config: serde_json::Map::new(),
            environment: [("HB_TEST_MARK".to_owned(), self.mark.clone())].into(),
            endpoints: Vec::new(),
            answers_as: Vec::new(),
            headers: Default::default(),
            api_key: None,
            port: None,
            health: HealthCheck { enabled: true, timeout: Span::from_secs(30), interval: Span::from_millis(20), endpoint: None },
            runtime: ContainerRuntime::Bare,
            path: None,
            binds: Vec::new(),
            extra_args: Vec::new(),
            gpus: 0,
            custom: None,
            layout: Default::default(),
            remote: None,
            runtime_args: Vec::new(),
        };
        let request = RequestSpec {
            api: Api::Completions,
            stream: true,
            prompt_len: Length::Fixed(8),
            gen_tokens: Length::Fixed(16),
            batch: NonZeroU32::MIN,
            shared_prefix: None,
            turns: None,
            sampling: serde_json::Map::new(),
        };
        // Below the ports that the system gives to clients, and apart from those of a neighbour's run of this test.
        let port = 20_000 + (std::process::id() % 5_000) as u16;
        ServerOrder {
            server,
            part: Part { of: server, ..Part::default() },
            service,
            port,
            is_port_fixed: false,
            host: "127.0.0.1".into(),
            request,
            ports: Default::default(),
            scratch: None,
        }
    }

    fn start(&self, order: ServerOrder) {
        self.manager.cast(ServerManagerMsg::Start(Box::new(order))).unwrap();
    }

    /// The next fact that is no mere progress.
    async fn fact(&mut self) -> Fact {
        loop {
            match self.facts.recv().await.unwrap() {
                Fact::ServerProgressed { .. } => {}
                fact => return fact,
            }
        }
    }

    /// Starts it and waits until it is ready; gives its URL.
    async fn ready(&mut self, order: ServerOrder) -> String {
        let number = order.server;
        self.start(order);
        let started = self.fact().await;
        assert!(matches!(started, Fact::ServerStarted { server, .. } if server == number), "{started:?}");
        match self.fact().await {
            Fact::ServerReady { server, url, .. } if server == number => url,
            other => panic!("{other:?}"),
        }
    }

    async fn running(&self) -> u32 {
        call_t!(self.manager, ServerManagerMsg::GetRunning, 10_000).unwrap()
    }
}

async fn facts_come_in_order_from_the_start_to_the_stop() {
    let mut bed = Bed::new("order").await;
    let order = bed.order(3);
    bed.start(order);
    let Fact::ServerStarted { server: 3, pid, command, .. } = bed.fact().await else { panic!("not started") };
    assert!(left(&bed.mark).contains(&pid));
    assert_eq!(command[1..4], ["dummy", "--host", "127.0.0.1"]);
    let Fact::ServerReady { server: 3, url, .. } = bed.fact().await else { panic!("not ready") };
    let (source, line) = bed.lines.recv().await.unwrap();
    assert_eq!((source.as_str(), line.text.as_str(), line.is_stderr), ("server-3", "listening", false));
    assert_eq!(bed.running().await, 1);
    bed.manager.cast(ServerManagerMsg::Stop(3)).unwrap();
    assert_eq!(bed.fact().await, Fact::ServerStopped { server: 3 });
    assert_eq!((left(&bed.mark), bed.running().await), (Vec::new(), 0));
    assert!(tokio::net::TcpStream::connect(url.trim_start_matches("http://")).await.is_err());
    // What does not run is stopped, as often as one asks.
    bed.manager.cast(ServerManagerMsg::Stop(3)).unwrap();
    assert_eq!(bed.fact().await, Fact::ServerStopped { server: 3 });
}

async fn a_server_that_ends_too_early_fails_with_its_last_words() {
    let mut bed = Bed::new("crash").await;
    let mut order = bed.order(0);
    order.service.extra_args = vec![CRASH_FLAG.into(), "7".into()];
    bed.start(order.clone());
    assert!(matches!(bed.fact().await, Fact::ServerStarted { .. }));
    let Fact::ServerFailed { server: 0, why } = bed.fact().await else { panic!("not failed") };
    assert_eq!(why, "server-0 ended before it was ready: it exited with code 7; its last lines:\nout of memory");
    assert_eq!((left(&bed.mark), bed.running().await), (Vec::new(), 0));
    // It may be started again.
    order.service.extra_args.clear();
    bed.ready(order).await;
    call_t!(bed.manager, ServerManagerMsg::GetStopped, 60_000).unwrap();
}

async fn a_server_that_does_not_become_ready_in_time_is_ended_and_says_what_it_answered() {
    let mut bed = Bed::new("late").await;
    let mut order = bed.order(0);
    order.service.config.insert("start_delay".into(), "1h".into());
    order.service.health.timeout = Span::from_millis(1500);
    bed.start(order);
    assert!(matches!(bed.fact().await, Fact::ServerStarted { .. }));
    let Fact::ServerFailed { server: 0, why } = bed.fact().await else { panic!("not failed") };
    for words in ["not ready within 1s 500ms: asking /health at http://127.0.0.1:", "http_503", "its last lines:\nlistening"] {
        assert!(why.contains(words), "{words:?} is not in {why:?}");
    }
    assert_eq!(left(&bed.mark), [0; 0]);
}

async fn a_server_that_cannot_complete_is_not_ready() {
    let mut bed = Bed::new("sick").await;
    let mut order = bed.order(0);
    order.service.config.insert("error_rate".into(), 1.0.into());
    order.service.health.timeout = Span::from_millis(1500);
    // Left out, the health question hides nothing of the rest.
    order.service.health.enabled = false;
    bed.start(order);
    assert!(matches!(bed.fact().await, Fact::ServerStarted { .. }));
    let Fact::ServerFailed { why, .. } = bed.fact().await else { panic!("not failed") };
    assert!(why.contains("the first completion at") && why.contains("http_500"), "{why}");
}

async fn the_drill_makes_a_ready_server_exit() {
    let mut bed = Bed::new("drill").await;
    bed.manager.cast(ServerManagerMsg::KillOne).unwrap();
    assert!(matches!(bed.fact().await, Fact::Warned { .. }));
    let order = bed.order(0);
    bed.ready(order).await;
    bed.manager.cast(ServerManagerMsg::KillOne).unwrap();
    let Fact::ServerExited { server: 0, why } = bed.fact().await else { panic!("not exited") };
    assert!(why.starts_with("server-0 was ended by SIGKILL; its last lines:\nlistening"), "{why}");
    assert_eq!((left(&bed.mark), bed.running().await), (Vec::new(), 0));
}

async fn a_taken_port_that_is_fixed_names_its_owner() {
    let mut bed = Bed::new("port").await;
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let mut order = bed.order(0);
    (order.port, order.is_port_fixed) = (listener.local_addr().unwrap().port(), true);
    bed.start(order);
    let Fact::ServerFailed { why, .. } = bed.fact().await else { panic!("not failed") };
    assert!(why.contains(&format!("is in use by process {}", std::process::id())), "{why}");
}

async fn a_repeated_start_changes_nothing_and_all_are_stopped_at_once() {
    let mut bed = Bed::new("repeat").await;
    let (first, second) = (bed.order(0), bed.order(1));
    let url = bed.ready(first.clone()).await;
    bed.start(first.clone());
    assert_ne!(bed.ready(second).await, url, "both want the same port");
    bed.start(ServerOrder { port: 27_000, ..first });
    assert!(matches!(bed.fact().await, Fact::Warned { .. }));
    assert_eq!(bed.running().await, 2);
    call_t!(bed.manager, ServerManagerMsg::GetStopped, 60_000).unwrap();
    assert_eq!(left(&bed.mark), [0; 0]);
    // Both facts were handed on before the answer.
    let mut stopped = [bed.facts.recv().await.unwrap(), bed.facts.recv().await.unwrap()];
    stopped.sort_by_key(|fact| format!("{fact:?}"));
    assert_eq!(stopped, [Fact::ServerStopped { server: 0 }, Fact::ServerStopped { server: 1 }]);
    call_t!(bed.manager, ServerManagerMsg::GetStopped, 60_000).unwrap();
}

async fn servers_end_with_their_manager() {
    let mut bed = Bed::new("manager").await;
    let order = bed.order(0);
    bed.ready(order).await;
    bed.manager.kill();
    assert_eq!(bed.fact().await, Fact::ServerStopped { server: 0 });
    assert_eq!(left(&bed.mark), [0; 0]);
}

async fn a_server_is_stopped_while_it_is_not_ready() {
    let mut bed = Bed::new("early").await;
    let mut order = bed.order(0);
    order.service.config.insert("start_delay".into(), "1h".into());
    bed.start(order);
    assert!(matches!(bed.fact().await, Fact::ServerStarted { .. }));
    bed.manager.cast(ServerManagerMsg::Stop(0)).unwrap();
    assert_eq!(bed.fact().await, Fact::ServerStopped { server: 0 });
    assert_eq!(left(&bed.mark), [0; 0]);
}

async fn what_cannot_be_started_is_a_fact() {
    let mut bed = Bed::new("unknown").await;
    for (service, words) in [("no-such-service", "no service is called `no-such-service`"), ("openai", "never started")] {
        let mut order = bed.order(0);
        order.service.service = service.into();
        bed.start(order);
        let Fact::ServerFailed { why, .. } = bed.fact().await else { panic!("not failed") };
        assert!(why.contains(words), "{why}");
    }
}

async fn a_custom_service_is_started_and_ended_as_its_block_says() {
    let mut bed = Bed::new("custom").await;
    let mut order = bed.order(0);
    let own_exe = std::env::current_exe().unwrap().display().to_string();
    order.service.service = "mine".into();
    order.service.custom = Some(CustomService {
        command: [&own_exe, DUMMY_WORD, "--host", "127.0.0.1", "--port", "{port}", "--model", "{model}"].map(String::from).into(),
        env: [("HB_TEST_MARK".to_owned(), bed.mark.clone())].into(),
        ready_path: Some("/health".into()),
        ready_timeout: None,
        protocol: ProtocolName::Openai,
        port: None,
        stop_signal: Some("SIGINT".into()),
        stop_grace: Some(Span::from_secs(5)),
    });
    bed.ready(order.clone()).await;
    assert_ne!(left(&bed.mark), [0; 0]);
    bed.manager.cast(ServerManagerMsg::Stop(0)).unwrap();
    assert_eq!(bed.fact().await, Fact::ServerStopped { server: 0 });
    assert_eq!(left(&bed.mark), [0; 0]);
    // Its own limit counts, not the one for all.
    let mut late = order.clone();
    if let Some(block) = &mut late.service.custom {
        block.ready_timeout = Some(Span::from_millis(900));
        block.command.extend(["--start-delay".into(), "1h".into()]);
    }
    bed.start(late);
    assert!(matches!(bed.fact().await, Fact::ServerStarted { .. }));
    let Fact::ServerFailed { why, .. } = bed.fact().await else { panic!("not failed") };
    assert!(why.contains("not ready within 900ms"), "{why}");
    // A signal that ends nothing is found before anything runs.
    if let Some(block) = &mut order.service.custom {
        block.stop_signal = Some("SIGSTOP".into());
    }
    bed.start(order);
    let Fact::ServerFailed { why, .. } = bed.fact().await else { panic!("not failed") };
    assert!(why.contains("`SIGSTOP` is not a signal"), "{why}");
}

async fn a_runtime_wraps_the_command_and_keeps_values_out_of_it() {
    let mut bed = Bed::new("wrapped").await;
    let mut order = bed.order(0);
    order.service.service = "vllm".into();
    order.service.runtime = ContainerRuntime::Apptainer;
    order.service.path = Some("/no/such/image.sif".into());
    bed.start(order);
    // Either there is no Apptainer here, or it finds no such image: the message says which.
    loop {
        match bed.fact().await {
            Fact::ServerStarted { command, .. } => {
                assert_eq!(command[0], "apptainer");
                assert!(!command.iter().any(|word| word.contains(&bed.mark)), "{command:?}");
            }
            Fact::ServerFailed { why, .. } => {
                assert!(why.contains("apptainer") || why.contains("image.sif"), "{why}");
                break;
            }
            other => panic!("{other:?}"),
        }
    }
}

async fn what_a_container_lacks_on_its_node_is_found_before_it_is_started() {
    let mut bed = Bed::new("lacking").await;
    let folder = tempfile::tempdir().unwrap();
    let (image, tree) = (folder.path().join("image.sif"), folder.path().join("tree"));
    std::fs::write(&image, "an image").unwrap();
    std::fs::create_dir(&tree).unwrap();
    let missing = folder.path().join("missing.sif");
    let cases = [
        (ContainerRuntime::Apptainer, &missing, "/tmp:/mnt", "which artifacts.service.path names"),
        (ContainerRuntime::Apptainer, &tree, "/tmp:/mnt", "is a folder, and apptainer runs an image file"),
        (ContainerRuntime::Charliecloud, &image, "/tmp:/mnt", "is a file, and ch-run takes a folder"),
        (ContainerRuntime::Apptainer, &image, "/no/such:/mnt:ro", "cannot bind `/no/such`, which binds[0] names"),
        (ContainerRuntime::Charliecloud, &tree, "/no/such", "cannot bind `/no/such`, which binds[0] names"),
    ];
    for (number, (runtime, path, bind, expected)) in cases.into_iter().enumerate() {
        let mut order = bed.order(number as u32);
        order.service.service = "vllm".into();
        (order.service.runtime, order.service.path) = (runtime, Some(path.clone()));
        order.service.binds = vec![bind.into()];
        bed.start(order);
        let Fact::ServerFailed { why, .. } = bed.fact().await else { panic!("{expected}: not failed") };
        assert!(why.contains(expected), "{why}");
    }
}

async fn a_part_that_follows_is_never_asked_and_ends_as_ordered() {
    let mut bed = Bed::new("follows").await;
    let mut order = bed.order(1);
    order.part = Part { duty: Duty::Follow, of: 0, rank: 1, meeting: None };
    // Asked, it would say no: it never listens.
    order.service.config.insert("start_delay".into(), "1h".into());
    bed.start(order);
    let Fact::ServerStarted { server: 1, name, .. } = bed.fact().await else { panic!("not started") };
    assert_eq!(name, "server-0-rank-1");
    bed.manager.cast(ServerManagerMsg::Stop(1)).unwrap();
    assert_eq!(bed.fact().await, Fact::ServerStopped { server: 1 });
    assert_eq!(left(&bed.mark), [0; 0]);
}
