//! One server's life, from its port to its end, as a task that tells each step to its manager.
//!
//! ```text
//!            ┌──────────── not ready, ended too early ─────────► ServerFailed
//! start ─► ServerStarted ─► (ServerProgressed) ─► ServerReady ─► ServerExited
//!            └──────────── ordered to stop ──────────┴─────────► ServerStopped
//! ```
//!
//! The server in whose image all run is told ready once that image was read, too: what reads tens of gigabytes beside a
//! load would be measured with it.
//!
//! A process that only works for a server on another node cannot be asked: it is never told ready.

use std::{
    env,
    path::PathBuf,
    sync::{Arc, OnceLock},
};

use hb_core::{
    facts::Fact,
    orders::{Duty, ServerOrder},
    trial::{ContainerRuntime, ServiceSpec},
};
use hb_services::service::Service;
use ractor::ActorRef;
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

use super::{
    command::{base_url, command_of, policy_of, service_of, without_secrets},
    image_reading::ImageReading,
    readiness::{NotReady, Question, ask, ask_all},
};
use crate::{
    child::{
        ChildError, Ended, GuardedChild,
        guarded::{LastWords, LineSink},
        ports::{PortLease, Ports},
    },
    messages::{LogCollectorMsg, ServerManagerMsg, UplinkMsg},
};

/// A folder's path that is no longer leaves room for the names of sockets in it.
const SHORT_PATH: usize = 40;

/// What every server of a node needs.
#[derive(Clone)]
pub(super) struct Surroundings {
    pub(super) own_exe: PathBuf,
    pub(super) ports: Ports,
    pub(super) logs: ActorRef<LogCollectorMsg>,
    pub(super) uplink: ActorRef<UplinkMsg>,
    pub(super) manager: ActorRef<ServerManagerMsg>,
}

/// A server as its manager holds it. Dropped, it ends.
pub(super) struct Server {
    pub(super) order: Box<ServerOrder>,
    stop: CancellationToken,
    child: Arc<OnceLock<GuardedChild>>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

impl Server {
    /// Begins a server's life. Exactly one fact that [`is_end`] comes last.
    pub(super) fn begin(order: Box<ServerOrder>, surroundings: Surroundings) -> Self {
        let (stop, child) = (CancellationToken::new(), Arc::new(OnceLock::new()));
        let life = Life { order: order.clone(), surroundings, stop: stop.clone(), child: Arc::clone(&child) };
        tokio::spawn(life.run());
        Self { order, stop, child }
    }

    /// Orders it to end; a repeat changes nothing.
    pub(super) fn stop(&self) {
        self.stop.cancel();
    }

    /// The drill: SIGKILL, if it has a process.
    pub(super) fn kill(&self) -> bool {
        let child = Arc::clone(&self.child);
        let has_child = child.get().is_some();
        tokio::spawn(async move {
            if let Some(child) = child.get() {
                child.kill_now().await;
            }
        });
        has_child
    }
}

/// Whether nothing of the server is left after this fact.
pub(super) fn is_end(fact: &Fact) -> bool {
    matches!(fact, Fact::ServerFailed { .. } | Fact::ServerExited { .. } | Fact::ServerStopped { .. })
}

/// The task's side of a server.
pub(super) struct Life {
    pub(super) order: Box<ServerOrder>,
    pub(super) surroundings: Surroundings,
    pub(super) stop: CancellationToken,
    child: Arc<OnceLock<GuardedChild>>,
}

impl Life {
    async fn run(self) {
        let (server, surroundings, child) = (self.order.server, self.surroundings.clone(), Arc::clone(&self.child));
        let name = self.order.name();
        let end = match tokio::spawn(self.lived()).await {
            Ok(fact) => fact,
            Err(error) => {
                let left = match child.get() {
                    Some(child) => child.stop().await.err().map(|error| format!("; {error}")),
                    None => None,
                };
                let why = format!("the task that watches {name} failed: {error}{}", left.unwrap_or_default());
                Fact::ServerFailed { server, why }
            }
        };
        tell(&surroundings, server, end);
    }

    async fn lived(mut self) -> Fact {
        let (server, name) = (self.order.server, self.order.name());
        match self.started().await {
            Ok(fact) => fact,
            Err(why) => Fact::ServerFailed { server, why: format!("cannot start {name}: {why}") },
        }
    }

    /// Starts it and stays with it to its end.
    async fn started(&mut self) -> Result<Fact, String> {
        let service = service_of(&self.order)?;
        let policy = policy_of(&*service)?;
        // Held until the process has ended: meanwhile no other one of ours is given them.
        let _leases = self.leased_ports(&*service).await?;
        let _scratch = self.scratch(&*service)?;
        let command = command_of(&*service, &self.order, &self.surroundings.own_exe)?;
        let sink = self.sink();
        let reading = self.looked_at_image(&command, &sink).await?;
        if self.stop.is_cancelled() {
            return Ok(Fact::ServerStopped { server: self.order.server });
        }
        let scratch = self.order.scratch.as_deref();
        let child = GuardedChild::spawn_with(&command, &self.surroundings.own_exe, policy, scratch, sink)
            .await
            .map_err(|error| missing_runtime(&self.order.service, &error))?;
        let slot = Arc::clone(&self.child);
        let child = slot.get_or_init(|| child);
        let words = without_secrets(&command);
        let ports = self.order.ports.clone();
        self.tell(Fact::ServerStarted {
            server: self.order.server,
            name: self.order.name(),
            pid: child.pid(),
            command: words,
            ports,
        });
        Ok(self.watched(&*service, child, reading).await)
    }

    /// Takes its output.
    fn sink(&self) -> LineSink {
        let (source, logs) = (self.order.name(), self.surroundings.logs.clone());
        Arc::new(move |lines| {
            if logs.cast(LogCollectorMsg::Wrote { source: source.clone(), lines }).is_err() {
                tracing::debug!("lines of a server are lost: the log collector is gone");
            }
        })
    }

    /// From the start of the process to its end.
    async fn watched(&self, service: &dyn Service, child: &GuardedChild, reading: Option<ImageReading>) -> Fact {
        let (server, name) = (self.order.server, self.order.name());
        let (url, step) = match self.order.part.duty {
            Duty::Serve => (base_url(&self.order.host, self.order.port), None),
            Duty::Follow => return self.lived_on(child).await,
            Duty::HeadCluster | Duty::JoinCluster => match service.gathering(&self.order) {
                Ok((url, step)) => (url, Some(step)),
                Err(problem) => return self.given_up(child, problem.to_string()).await,
            },
        };
        let progress = |what| self.tell(Fact::ServerProgressed { server, what });
        let question = Question {
            url: &url,
            service,
            spec: &self.order.service,
            request: &self.order.request,
            headers: None,
            limit: self.order.service.ready_limit(),
        };
        let ready = tokio::select! {
            biased;
            () = self.stop.cancelled() => return self.stopped(child).await,
            ended = child.wait() => {
                return Fact::ServerFailed { server, why: format!("{name} ended before it was ready: it {ended}") };
            }
            ready = async {
                let ready = match &step {
                    Some(step) => ask_all(&question, std::slice::from_ref(step), &progress).await,
                    None => ask(&question, &progress).await,
                }?;
                if let Some(reading) = reading {
                    self.image_read(reading, &progress).await;
                }
                Ok(ready)
            } => ready,
        };
        match ready {
            Ok(ready) if step.is_some() => self.tell(Fact::PartReady { server, name, took: ready.took }),
            Ok(ready) => self.tell(Fact::ServerReady {
                server,
                url,
                took: ready.took,
                counting: ready.counting,
                http_version: ready.http_version,
            }),
            Err(not_ready) => {
                let why = match &not_ready {
                    NotReady::TimedOut { .. } => format!("is {not_ready}"),
                    NotReady::Refused { .. } => format!("failed {not_ready}"),
                    NotReady::NoClient(_) | NotReady::NoTrust(_) => format!("could not be asked: {not_ready}"),
                };
                return self.given_up(child, why).await;
            }
        }
        self.lived_on(child).await
    }

    /// Ends what will not become ready, and says why, with its last words.
    async fn given_up(&self, child: &GuardedChild, why: String) -> Fact {
        let end = match child.stop().await {
            Ok(Ended { tail, .. }) => LastWords(&tail).to_string(),
            Err(error) => error.to_string(),
        };
        Fact::ServerFailed { server: self.order.server, why: format!("{} {why}; {end}", self.order.name()) }
    }

    /// From when nothing more is asked of it to its end.
    async fn lived_on(&self, child: &GuardedChild) -> Fact {
        let (server, name) = (self.order.server, self.order.name());
        tokio::select! {
            biased;
            () = self.stop.cancelled() => self.stopped(child).await,
            ended = child.wait() => Fact::ServerExited { server, why: format!("{name} {ended}") },
        }
    }

    async fn stopped(&self, child: &GuardedChild) -> Fact {
        let server = self.order.server;
        match child.stop().await {
            Ok(_) => Fact::ServerStopped { server },
            Err(error) => Fact::ServerFailed { server, why: format!("cannot end {}: {error}", self.order.name()) },
        }
    }

    /// The port that it answers on, and those that it needs besides; they stand in the order then.
    async fn leased_ports(&mut self, service: &dyn Service) -> Result<Vec<PortLease>, String> {
        let mut leases = Vec::new();
        if self.order.part.duty == Duty::Serve {
            let lease = self.leased_port(self.order.port, self.order.is_port_fixed).await?;
            self.order.port = lease.port();
            leases.push(lease);
        }
        for wish in service.ports(&self.order) {
            let lease = self.leased_port(wish.port, wish.is_fixed).await.map_err(|why| format!("{}: {why}", wish.name))?;
            self.order.ports.insert(wish.name.to_owned(), lease.port());
            leases.push(lease);
        }
        Ok(leases)
    }

    /// The folder that the service wants for this process. It goes when this is dropped, and with the guardian.
    fn scratch(&mut self, service: &dyn Service) -> Result<Option<TempDir>, String> {
        if !service.wants_scratch(&self.order) {
            return Ok(None);
        }
        // Sockets lie in it, and their paths must not be longer than a hundred letters or so.
        let usual = env::temp_dir();
        let parent = if usual.as_os_str().len() > SHORT_PATH { PathBuf::from("/tmp") } else { usual };
        let made = tempfile::Builder::new().prefix("hb-").tempdir_in(&parent);
        let folder = made.map_err(|error| format!("cannot make a folder in {}: {error}", parent.display()))?;
        self.order.scratch = Some(folder.path().to_owned());
        Ok(Some(folder))
    }

    async fn leased_port(&self, port: u16, is_fixed: bool) -> Result<PortLease, String> {
        let (ports, host) = (self.surroundings.ports.clone(), self.order.host.clone());
        let leased = tokio::task::spawn_blocking(move || ports.lease(&host, port, is_fixed)).await;
        leased.map_err(|error| error.to_string())?.map_err(|error| error.to_string())
    }

    pub(super) fn tell(&self, fact: Fact) {
        tell(&self.surroundings, self.order.server, fact);
    }
}

/// A runtime that is not on the node is named with what to do; anything else stands as it is.
fn missing_runtime(spec: &ServiceSpec, error: &ChildError) -> String {
    match error {
        ChildError::Program { program, .. } if spec.runtime != ContainerRuntime::Bare && program.is_relative() => {
            format!("{error}; load the module that brings it (the recipe's `modules`), or name another artifacts.runtime")
        }
        _ => error.to_string(),
    }
}

/// By way of the manager, which keeps count; past it where it is gone.
pub(super) fn tell(surroundings: &Surroundings, server: u32, fact: Fact) {
    // Its last words go out before the news of its end: the node may be dismissed for it.
    if is_end(&fact) && surroundings.logs.cast(LogCollectorMsg::Flush).is_err() {
        tracing::debug!("the log collector is gone");
    }
    let Err(error) = surroundings.manager.cast(ServerManagerMsg::Stepped(server, Box::new(fact))) else { return };
    if let ractor::MessagingErr::SendErr(ServerManagerMsg::Stepped(_, fact)) = error
        && surroundings.uplink.cast(UplinkMsg::Fact(*fact)).is_err()
    {
        tracing::warn!(server, "a fact is lost: manager and uplink are gone");
    }
}
