//! Starts, watches and ends the servers of this node. Each lives in a task of its own, which tells its steps; the
//! manager keeps count and hands the facts on.

mod command;
mod image;
mod image_reading;
pub mod own_headers;
mod pull;
pub mod readiness;
mod server;

use std::{collections::BTreeMap, path::PathBuf};

use hb_core::{facts::Fact, orders::ServerOrder};
use ractor::{Actor, ActorProcessingErr, ActorRef, RpcReplyPort};

use self::server::{Server, Surroundings, is_end};
use crate::{
    child::ports::Ports,
    messages::{LogCollectorMsg, ServerManagerMsg, UplinkMsg},
};

/// The behaviour.
pub struct ServerManager;

/// What a ServerManager needs.
pub struct ServerManagerArgs {
    /// Where the facts go.
    pub uplink: ActorRef<UplinkMsg>,
    /// Where the servers' output goes.
    pub logs: ActorRef<LogCollectorMsg>,
    /// This very binary, which is guardian and Dummy as well.
    pub own_exe: PathBuf,
}

/// A ServerManager at work. Dropped, it ends its servers.
pub struct Managing {
    surroundings: Surroundings,
    /// The servers that are not over.
    servers: BTreeMap<u32, Server>,
    /// Who waits until none is left.
    waiting: Vec<RpcReplyPort<()>>,
}

impl Actor for ServerManager {
    type Msg = ServerManagerMsg;
    type State = Managing;
    type Arguments = ServerManagerArgs;

    async fn pre_start(&self, myself: ActorRef<Self::Msg>, args: ServerManagerArgs) -> Result<Managing, ActorProcessingErr> {
        let ServerManagerArgs { uplink, logs, own_exe } = args;
        let surroundings = Surroundings { own_exe, ports: Ports::default(), logs, uplink, manager: myself };
        Ok(Managing { surroundings, servers: BTreeMap::new(), waiting: Vec::new() })
    }

    async fn handle(
        &self,
        _: ActorRef<Self::Msg>,
        msg: ServerManagerMsg,
        state: &mut Managing,
    ) -> Result<(), ActorProcessingErr> {
        match msg {
            ServerManagerMsg::Start(order) => state.start(order),
            ServerManagerMsg::Stop(server) => state.stop(server),
            ServerManagerMsg::KillOne => state.kill_one(),
            ServerManagerMsg::Stepped(server, fact) => state.stepped(server, *fact),
            ServerManagerMsg::GetRunning(reply) => answer(reply, u32::try_from(state.servers.len()).unwrap_or(u32::MAX)),
            ServerManagerMsg::GetStopped(reply) => state.stop_all(reply),
        }
        Ok(())
    }
}

impl Managing {
    /// A repeat changes nothing; another order for a server that still runs is refused, and people are told.
    fn start(&mut self, order: Box<ServerOrder>) {
        let number = order.server;
        match self.servers.get(&number) {
            None => {
                self.servers.insert(number, Server::begin(order, self.surroundings.clone()));
            }
            Some(running) if running.order == order => {}
            Some(running) => {
                let what = format!("{} still runs, so another start of it was left out", running.order.name());
                self.hand_on(Fact::Warned { what });
            }
        }
    }

    /// One that does not run is as stopped as can be.
    fn stop(&mut self, number: u32) {
        match self.servers.get(&number) {
            Some(server) => server.stop(),
            None => self.hand_on(Fact::ServerStopped { server: number }),
        }
    }

    fn kill_one(&mut self) {
        if !self.servers.values().any(Server::kill) {
            self.hand_on(Fact::Warned { what: "the drill found no server to kill on this node".into() });
        }
    }

    fn stepped(&mut self, number: u32, fact: Fact) {
        if is_end(&fact) {
            self.servers.remove(&number);
        }
        self.hand_on(fact);
        self.answer_waiting();
    }

    fn stop_all(&mut self, reply: RpcReplyPort<()>) {
        self.servers.values().for_each(Server::stop);
        self.waiting.push(reply);
        self.answer_waiting();
    }

    fn answer_waiting(&mut self) {
        if self.servers.is_empty() {
            self.waiting.drain(..).for_each(|reply| answer(reply, ()));
        }
    }

    fn hand_on(&self, fact: Fact) {
        if self.surroundings.uplink.cast(UplinkMsg::Fact(fact)).is_err() {
            tracing::warn!("a fact about a server is lost: the uplink is gone");
        }
    }
}

/// Who asked may have stopped waiting, and that is none of our troubles.
fn answer<T: Send + 'static>(reply: RpcReplyPort<T>, value: T) {
    if reply.send(value).is_err() {
        tracing::debug!("an answer came too late for its caller");
    }
}
