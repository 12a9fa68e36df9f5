//! The servers of a run: which of their processes are up, where they answer, which are still to be started or ended.
//!
//! A server that spans nodes is several processes. What a process needs to know of another one, it is told in its
//! order, so that it is started when the other one is up; ends go the other way round, the one that answers first.

use std::collections::{BTreeMap, BTreeSet};

use super::Effect;
use crate::{
    counting::Counting,
    http_version::HttpVersion,
    orders::{Duty, Meeting, Order, ServerOrder, authority},
    plan::{PlacedServer, Plan, ReadyServers},
    trial::ServiceSpec,
    units::NodeName,
};

#[derive(Debug, Clone, PartialEq)]
enum State {
    /// Not ordered yet: it needs another one.
    Waiting,
    /// Ordered.
    Starting,
    /// It has a process, and these ports beside its own.
    Started(BTreeMap<String, u16>),
    /// It answers, and has these ports beside its own.
    Ready(BTreeMap<String, u16>),
    Stopping,
    Gone,
}

#[derive(Debug)]
struct Process {
    node: NodeName,
    order: ServerOrder,
    state: State,
    /// Where it answered, once it did.
    url: Option<String>,
}

impl Process {
    /// Where it answers or answered; of one that never did, where it would have.
    fn url(&self) -> String {
        let planned = || format!("http://{}", authority(&self.order.host, self.order.port));
        self.url.clone().unwrap_or_else(planned)
    }

    fn duty(&self) -> Duty {
        self.order.part.duty
    }

    fn is_ready(&self) -> bool {
        match self.duty() {
            // Nothing can be asked of it: it is as ready as the one that it follows.
            Duty::Follow => matches!(self.state, State::Started(_) | State::Ready(..)),
            Duty::Serve | Duty::HeadCluster | Duty::JoinCluster => matches!(self.state, State::Ready(..)),
        }
    }

    /// Where others meet it, once its ports are known.
    fn meeting(&self) -> Option<Meeting> {
        let (State::Started(ports) | State::Ready(ports)) = &self.state else { return None };
        Some(Meeting { host: self.order.host.clone(), ports: ports.clone() })
    }
}

/// What is known of the servers. They stay up between trials that do not change the service.
#[derive(Debug, Default)]
pub(super) struct Servers {
    service: Option<ServiceSpec>,
    endpoints: Option<Vec<String>>,
    /// By the first that told it.
    counting: Option<Counting>,
    /// Where only HTTP/2 is spoken.
    http2: BTreeSet<String>,
    placed: BTreeMap<u32, Process>,
    is_ending: bool,
}

impl Servers {
    /// Whether they are what this plan asks for, and all of them answer.
    pub fn serve(&self, plan: &Plan) -> bool {
        self.service.as_ref() == Some(&plan.trial.service)
            && self.urls().is_some()
            && self.placed.values().all(Process::is_ready)
            && self.placed.len() == plan.servers.len()
    }

    /// Orders that start this plan's servers: those that need no other. The rest follows with [`Self::due`].
    pub fn start(&mut self, plan: &Plan) -> Vec<Effect> {
        let process = |placed: &PlacedServer| Process {
            node: placed.node.clone(),
            order: placed.order.clone(),
            state: State::Waiting,
            url: None,
        };
        *self = Self {
            service: Some(plan.trial.service.clone()),
            placed: plan.servers.iter().map(|placed| (placed.order.server, process(placed))).collect(),
            ..Self::default()
        };
        self.due()
    }

    /// Orders for those whose time has come.
    pub fn due(&mut self) -> Vec<Effect> {
        if self.is_ending {
            return Vec::new();
        }
        let waiting = self.placed.iter().filter(|(_, process)| process.state == State::Waiting);
        let due: Vec<(u32, Option<Meeting>)> =
            waiting.filter_map(|(number, process)| Some((*number, self.needs(process)?))).collect();
        let mut effects = Vec::new();
        for (number, meeting) in due {
            let Some(process) = self.placed.get_mut(&number) else { continue };
            process.order.part.meeting = meeting;
            process.state = State::Starting;
            effects.push(Effect::Order(process.node.clone(), Order::StartServer(Box::new(process.order.clone()))));
        }
        effects
    }

    /// `None` while what this process needs is not up; then where that is met, if it needs anything.
    fn needs(&self, process: &Process) -> Option<Option<Meeting>> {
        let of = |duty| self.placed.values().filter(move |other| other.of(process) && other.duty() == duty);
        match process.duty() {
            Duty::HeadCluster => Some(None),
            // The first rank waits for the others and tells nobody that it does: its process must do.
            Duty::Follow => of(Duty::Serve).next()?.meeting().map(Some),
            Duty::JoinCluster => of(Duty::HeadCluster).find(|head| head.is_ready())?.meeting().map(Some),
            Duty::Serve => {
                let Some(head) = of(Duty::HeadCluster).next() else { return Some(None) };
                let is_gathered = head.is_ready() && of(Duty::JoinCluster).all(Process::is_ready);
                is_gathered.then(|| head.meeting())
            }
        }
    }

    /// Servers that somebody else runs answered.
    pub fn endpoints_ready(&mut self, service: &ServiceSpec, counting: Option<Counting>, http2: BTreeSet<String>) {
        (self.counting, self.http2) = (counting, http2);
        self.service = Some(service.clone());
        self.endpoints = Some(service.endpoints.clone());
    }

    /// A process runs, and was given these ports.
    pub fn started(&mut self, server: u32, ports: &BTreeMap<String, u16>) {
        if let Some(process) = self.placed.get_mut(&server).filter(|process| process.state == State::Starting) {
            process.state = State::Started(ports.clone());
        }
    }

    /// A process answers.
    pub fn ready(&mut self, server: u32, url: String, counting: Option<Counting>) {
        self.counting = self.counting.take().or(counting);
        let Some(process) = self.placed.get_mut(&server) else { return };
        let ports = match &process.state {
            State::Starting => BTreeMap::new(),
            State::Started(ports) => ports.clone(),
            State::Waiting | State::Ready(..) | State::Stopping | State::Gone => return,
        };
        process.state = State::Ready(ports);
        process.url = Some(url);
    }

    /// One that was told to end has ended. Of one that was started since, an old answer says nothing.
    pub fn stopped(&mut self, server: u32) {
        if self.is_ending(server) {
            self.gone(server);
        }
    }

    /// Whether it was told to end and has not.
    pub fn is_ending(&self, server: u32) -> bool {
        self.placed.get(&server).is_some_and(|process| process.state == State::Stopping)
    }

    /// Whether it was told to start by this order and did not say yet that it runs.
    pub fn is_starting(&self, order: &ServerOrder) -> bool {
        let is_it = |process: &Process| process.state == State::Starting && process.order.service == order.service;
        self.placed.get(&order.server).is_some_and(is_it)
    }

    pub fn gone(&mut self, server: u32) {
        if let Some(process) = self.placed.get_mut(&server) {
            process.state = State::Gone;
        }
    }

    /// The processes of a node are gone with it; which?
    pub fn node_lost(&mut self, node: &NodeName) -> Vec<u32> {
        let on_node = self.placed.iter_mut().filter(|(_, process)| process.node == *node && process.state != State::Gone);
        on_node
            .map(|(server, process)| {
                process.state = State::Gone;
                *server
            })
            .collect()
    }

    /// What a load must know of them, once there are [`Servers::urls`].
    pub fn all_ready(&self) -> Option<ReadyServers> {
        Some(ReadyServers {
            urls: self.urls()?,
            gone: self.gone_ordinals(),
            counting: self.counting.clone(),
            http2: self.http2.clone(),
        })
    }

    /// Where they answer, by ordinal, those that are gone among them; `None` until all of those that are whole are
    /// ready, or where none is whole.
    pub fn urls(&self) -> Option<Vec<String>> {
        if let Some(endpoints) = &self.endpoints {
            return Some(endpoints.clone());
        }
        let mut whole = self.serving().filter(|server| self.is_whole(server)).peekable();
        whole.peek()?;
        let are_ready = whole.all(|server| self.parts(server).all(Process::is_ready));
        are_ready.then(|| self.serving().map(Process::url).collect())
    }

    /// Ordinals of the servers that are gone, whole or in a part that they need.
    pub fn gone_ordinals(&self) -> BTreeSet<u32> {
        (0..).zip(self.serving()).filter(|(_, server)| !self.is_whole(server)).map(|(ordinal, _)| ordinal).collect()
    }

    /// The URLs behind which only HTTP/2 is spoken.
    pub fn http2(&self) -> &BTreeSet<String> {
        &self.http2
    }

    /// The processes that answer, one for each server, in order.
    fn serving(&self) -> impl Iterator<Item = &Process> {
        self.placed.values().filter(|process| process.duty() == Duty::Serve)
    }

    fn is_whole(&self, server: &Process) -> bool {
        self.parts(server).all(|part| part.state != State::Gone)
    }

    /// All processes of a server.
    fn parts<'a>(&'a self, server: &'a Process) -> impl Iterator<Item = &'a Process> {
        self.placed.values().filter(move |other| other.of(server))
    }

    /// What is spoken with the server at this URL.
    pub fn speaks(&mut self, url: &str, version: HttpVersion) {
        match version {
            HttpVersion::Http1 => self.http2.remove(url),
            HttpVersion::Http2 => self.http2.insert(url.to_owned()),
        };
    }

    /// Orders that end every process whose turn it is and that was not told yet: of each server the one that
    /// answers, then those that work for it, then the head of their cluster.
    pub fn stop(&mut self) -> Vec<Effect> {
        self.is_ending = true;
        // Nothing was started of these.
        for process in self.placed.values_mut().filter(|process| process.state == State::Waiting) {
            process.state = State::Gone;
        }
        let is_up = |process: &Process| !matches!(process.state, State::Stopping | State::Gone);
        let up = self.placed.iter().filter(|(_, process)| is_up(process) && self.is_last(process));
        let ending: Vec<u32> = up.map(|(number, _)| *number).collect();
        let mut effects = Vec::new();
        for server in ending {
            let Some(process) = self.placed.get_mut(&server) else { continue };
            process.state = State::Stopping;
            effects.push(Effect::Order(process.node.clone(), Order::StopServer { server }));
        }
        effects
    }

    /// Whether nobody is left who needs this process.
    fn is_last(&self, process: &Process) -> bool {
        self.parts(process).filter(|other| turn(other.duty()) < turn(process.duty())).all(|other| other.state == State::Gone)
    }

    /// Whether they were told to end.
    pub fn are_ending(&self) -> bool {
        self.is_ending
    }

    pub fn are_gone(&self) -> bool {
        self.placed.values().all(|process| process.state == State::Gone)
    }

    /// Those that are not gone, for a sentence.
    pub fn left(&self) -> String {
        let left = self.placed.values().filter(|process| process.state != State::Gone);
        let words = left.map(|process| match process.state {
            State::Waiting => format!("{} (not started)", named(process)),
            _ => format!("{} on {}", named(process), process.node),
        });
        words.collect::<Vec<_>>().join(", ")
    }

    /// The name of a process, for a sentence.
    pub fn name(&self, server: u32) -> String {
        self.placed.get(&server).map_or_else(|| format!("server {server}"), named)
    }

    /// A node on which a server is ready.
    pub fn some_node(&self) -> Option<&NodeName> {
        let ready = self.placed.values().find(|process| process.duty() == Duty::Serve && process.is_ready());
        ready.map(|process| &process.node)
    }

    pub fn forget(&mut self) {
        *self = Self::default();
    }
}

impl Process {
    /// Whether both belong to one server.
    fn of(&self, other: &Self) -> bool {
        self.order.part.of == other.order.part.of
    }
}

/// When a process is told to end: after all with a smaller number.
fn turn(duty: Duty) -> u8 {
    match duty {
        Duty::Serve => 0,
        Duty::Follow | Duty::JoinCluster => 1,
        Duty::HeadCluster => 2,
    }
}

fn named(process: &Process) -> String {
    let part = &process.order.part;
    match part.duty {
        Duty::Serve => format!("server {}", process.order.server),
        Duty::Follow => format!("rank {} of server {}", part.rank, part.of),
        Duty::HeadCluster => format!("the cluster head of server {}", part.of),
        Duty::JoinCluster => format!("cluster node {} of server {}", part.rank, part.of),
    }
}
