//! A small world that carries out a run's effects at once, well or badly, and tells it.

use std::collections::{BTreeMap, VecDeque};

use super::*;
use crate::orders::ServerOrder;

/// What the world does wrong, and at which of the run's steps.
#[derive(Debug, Clone)]
pub(super) enum Trouble {
    Lose(u32),
    ServerFails,
    ServerExits,
    GiveUp(u32),
    Expire,
    Interrupt,
    Refuse,
}

/// Carries out effects at once and tells the run.
pub(super) struct World {
    pub(super) run: Run,
    pub(super) queue: VecDeque<Effect>,
    pub(super) lost: Vec<NodeName>,
    pub(super) opened: Vec<TrialId>,
    pub(super) closed: Vec<TrialId>,
    pub(super) entered: Vec<Phase>,
    pub(super) finished: u32,
    pub(super) servers: u32,
    pub(super) up: BTreeMap<u32, NodeName>,
    pub(super) deadline: Option<(Phase, u64)>,
    pub(super) drills: Vec<(NodeName, DrillTarget)>,
    pub(super) warnings: Vec<String>,
    /// Whether loads go on until their drills were carried out.
    pub(super) waits_for_drills: bool,
    /// How late it is, and how long servers and loads take.
    pub(super) now: i128,
    pub(super) server_seconds: u64,
    pub(super) load_seconds: i128,
    /// What was started and ended, in order.
    pub(super) course: Vec<String>,
    pub(super) has_full_disk: bool,
    pub(super) loads: u32,
    /// By the shares that each node was given last.
    pub(super) executors: BTreeMap<NodeName, Vec<u32>>,
    /// Who was told that the window of which trial ends, before it was over.
    pub(super) ended_windows: Vec<(NodeName, TrialId)>,
    /// Whether node 3 is lost while its load runs, and what others then did of it.
    pub(super) loses_in_load: bool,
    pub(super) joined: Vec<LoadShare>,
    /// The node of a server that is lost while load runs.
    pub(super) lost_server: Option<u32>,
    pub(super) left_servers: u32,
    /// The server that exits once all are up.
    pub(super) exits_before_load: Option<u32>,
    pub(super) prepared: Vec<LoadShare>,
}

impl World {
    pub(super) fn new(trials: Vec<Trial>, on_node_loss: Option<OnNodeLoss>) -> Self {
        let spec = RunSpec {
            run: "r".into(),
            trials,
            default_port: 5000,
            on_node_loss,
            monitor_interval: Some(Span::from_secs(1)),
            join_within: Span::from_secs(5),
            ends_at: None,
            probes: Vec::new(),
        };
        Self {
            run: Run::new(spec),
            queue: VecDeque::new(),
            lost: Vec::new(),
            opened: Vec::new(),
            closed: Vec::new(),
            entered: Vec::new(),
            finished: 0,
            servers: 1,
            up: BTreeMap::new(),
            deadline: None,
            drills: Vec::new(),
            warnings: Vec::new(),
            waits_for_drills: false,
            now: 0,
            server_seconds: 0,
            load_seconds: 0,
            course: Vec::new(),
            has_full_disk: false,
            loads: 0,
            executors: BTreeMap::new(),
            ended_windows: Vec::new(),
            loses_in_load: false,
            joined: Vec::new(),
            lost_server: None,
            left_servers: 0,
            exits_before_load: None,
            prepared: Vec::new(),
        }
    }

    pub(super) fn play(&mut self, nodes: u32, troubles: &[(usize, Trouble)]) {
        let begun = self.run.start();
        self.queue.extend(begun);
        let servers = self.servers;
        let seated = self.run.seated(allocation(nodes, servers));
        self.queue.extend(seated);
        let mut step = 0;
        while self.finished == 0 {
            for (_, trouble) in troubles.iter().filter(|(at, _)| *at == step) {
                self.trouble(trouble);
            }
            match self.queue.pop_front() {
                Some(effect) => self.carry_out(effect),
                // Nothing happens any more: only a deadline can help.
                None => self.trouble(&Trouble::Expire),
            }
            step += 1;
            assert!(step < 2_000, "the run never ends; it is in {:?}", self.run.phase());
        }
    }

    pub(super) fn tell(&mut self, node: &NodeName, fact: Fact) {
        if !self.lost.contains(node) {
            let effects = self.run.fact(node, &fact);
            self.queue.extend(effects);
        }
    }

    pub(super) fn carry_out(&mut self, effect: Effect) {
        let more = match effect {
            Effect::Enter(phase) => self.enter(phase),
            Effect::Deadline { phase, ticket, .. } => {
                self.deadline = Some((phase, ticket));
                Vec::new()
            }
            Effect::Order(node, _) if self.lost.contains(&node) => Vec::new(),
            Effect::Order(node, order) => {
                self.obey(&node, order);
                Vec::new()
            }
            Effect::AskEndpoints(_) => self.run.endpoints_ready(None, Default::default()),
            Effect::OpenTrial(plan) => self.open_trial(&plan.trial.id),
            Effect::StartLoad(trial) => {
                self.load(&trial);
                Vec::new()
            }
            Effect::TakeStock { trial, executors } => {
                let left = |executor: &u32| Left { executor: *executor, at: Nanos(5), next: 40, measured: 4 };
                self.run.left_behind(&trial, &executors.iter().map(left).collect::<Vec<_>>())
            }
            Effect::JoinLoad { trial, shares } => {
                for share in shares {
                    self.tell(&share.node, Fact::LoadFinished { trial: trial.clone(), executor: share.executor });
                    self.joined.push(share);
                }
                Vec::new()
            }
            Effect::DrillAt { trial, kill, .. } => self.run.drill_due(&trial, kill),
            Effect::CloseTrial { trial, .. } => {
                self.closed.push(trial.clone());
                self.run.trial_closed(&trial, Ok(None))
            }
            Effect::SaveReport => {
                assert_eq!(self.opened, self.closed, "no trial is open");
                self.course.push("report".into());
                Vec::new()
            }
            Effect::Finish => {
                self.finished += 1;
                Vec::new()
            }
            Effect::Warn(what) => {
                self.warnings.push(what);
                Vec::new()
            }
            Effect::WriteOff(_) | Effect::Fail { .. } | Effect::SearchOver { .. } => Vec::new(),
        };
        self.queue.extend(more);
    }

    fn enter(&mut self, phase: Phase) -> Vec<Effect> {
        self.entered.push(phase);
        match self.exits_before_load.take_if(|_| phase == Phase::MonitoringSetup) {
            Some(server) => {
                let node = self.up.remove(&server).unwrap();
                self.run.fact(&node, &Fact::ServerExited { server, why: "killed".into() })
            }
            None => Vec::new(),
        }
    }

    fn obey(&mut self, node: &NodeName, order: Order) {
        let kind = OrderKind::of(&order);
        let answered = self.run.answered(node, kind, Ok(()));
        self.queue.extend(answered);
        match order {
            Order::StartServer(server) => self.start_server(node, &server),
            Order::StopServer { server } => {
                self.up.remove(&server);
                self.course.push(format!("-{server}"));
                self.tell(node, Fact::ServerStopped { server });
            }
            Order::PrepareLoad(share) => {
                let here = self.executors.entry(node.clone()).or_default();
                here.retain(|_| share.left_by.is_some());
                here.push(share.executor);
                self.prepared.push((*share).clone());
                self.tell(node, Fact::LoadPrepared { trial: share.trial, executor: share.executor });
            }
            Order::Drill { kill } => self.drills.push((node.clone(), kill)),
            Order::StopLoad { trial } => {
                for executor in self.executors(node) {
                    self.tell(node, Fact::LoadFinished { trial: trial.clone(), executor });
                }
            }
            Order::LeaveServer { .. } => self.left_servers += 1,
            Order::EndWindow { trial, .. } => self.ended_windows.push((node.clone(), trial)),
            Order::Admit(_) | Order::StartMonitoring { .. } | Order::StartLoad { .. } => {}
        }
    }

    fn start_server(&mut self, node: &NodeName, server: &ServerOrder) {
        self.up.insert(server.server, node.clone());
        self.pass(i128::from(self.server_seconds));
        let met = server.part.meeting.as_ref().and_then(|meeting| meeting.ports.get("p"));
        let at = met.map(|port| format!(" at {port}")).unwrap_or_default();
        self.course.push(format!("+{}{at}", server.name()));
        let started = Fact::ServerStarted {
            server: server.server,
            name: server.name(),
            pid: 1,
            command: Vec::new(),
            ports: [("p".to_owned(), 7000 + server.server as u16)].into(),
        };
        self.tell(node, started);
        if server.part.duty == Duty::Follow {
            return;
        }
        let ready = Fact::ServerReady {
            server: server.server,
            url: format!("http://s{}", server.server),
            took: Span::from_secs(self.server_seconds),
            counting: None,
            http_version: Default::default(),
        };
        self.tell(node, ready);
    }

    fn open_trial(&mut self, trial: &TrialId) -> Vec<Effect> {
        let result = if self.has_full_disk { Err("no space".into()) } else { Ok(()) };
        self.opened.push(trial.clone());
        self.run.trial_opened(trial, result)
    }

    /// A load from its start to its end, with what happens in it.
    fn load(&mut self, trial: &TrialId) {
        self.loads += 1;
        let drills = self.run.load_started(trial);
        for drill in drills {
            if self.waits_for_drills
                && let Effect::DrillAt { trial, kill, .. } = &drill
            {
                for order in self.run.drill_due(trial, *kill) {
                    self.carry_out(order);
                }
            } else {
                self.queue.push_back(drill);
            }
        }
        self.pass(self.load_seconds);
        if let Some(server) = self.lost_server.take() {
            self.trouble(&Trouble::Lose(server));
        }
        if std::mem::take(&mut self.loses_in_load) {
            self.trouble(&Trouble::Lose(3));
        } else {
            let ended = self.run.sure_enough(trial, Nanos(1));
            self.queue.extend(ended);
        }
        for (node, executor) in self.run.loads() {
            self.tell(&node, Fact::LoadFinished { trial: trial.clone(), executor });
        }
    }

    fn pass(&mut self, seconds: i128) {
        self.now += seconds * 1_000_000_000;
        self.run.clock(self.now);
    }

    pub(super) fn executors(&self, node: &NodeName) -> Vec<u32> {
        self.executors.get(node).cloned().unwrap_or_default()
    }

    pub(super) fn trouble(&mut self, trouble: &Trouble) {
        let node = |ordinal: u32| NodeName::from(format!("node{ordinal}"));
        let effects = match trouble {
            Trouble::Lose(ordinal) => {
                self.lost.push(node(*ordinal));
                self.up.retain(|_, at| *at != node(*ordinal));
                self.run.node_lost(&node(*ordinal), "gone")
            }
            // A server that was never started neither fails nor exits.
            Trouble::ServerFails | Trouble::ServerExits if !self.up.contains_key(&0) => Vec::new(),
            Trouble::ServerFails => {
                self.up.remove(&0);
                self.run.fact(&node(0), &Fact::ServerFailed { server: 0, why: "no".into() })
            }
            Trouble::ServerExits => {
                self.up.remove(&0);
                self.run.fact(&node(0), &Fact::ServerExited { server: 0, why: "no".into() })
            }
            Trouble::GiveUp(ordinal) => {
                let trial = self.opened.last().cloned().unwrap_or_default();
                self.run.fact(
                    &node(*ordinal),
                    &Fact::ExecutorGaveUp {
                        trial,
                        executor: self.executors(&node(*ordinal)).first().copied().unwrap_or_default(),
                        why: "no".into(),
                    },
                )
            }
            Trouble::Expire => {
                let (phase, ticket) = self.deadline.expect("a run that waits has a deadline");
                self.run.expired(phase, ticket)
            }
            Trouble::Interrupt => self.run.interrupt("SIGINT"),
            Trouble::Refuse => self.run.answered(&node(1), OrderKind::PrepareLoad, Err("no".into())),
        };
        self.queue.extend(effects);
    }
}
