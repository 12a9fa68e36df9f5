//! Everything a share needs, built before its window.

use std::{
    collections::{BTreeMap, BTreeSet},
    num::NonZeroU32,
    sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard},
    time::Duration,
};

use futures_util::future::join_all;
use hb_core::{
    http_version::HttpVersion,
    orders::LoadShare,
    record::Kind,
    routing::Router,
    schedule::{self, Schedule},
    trial::{DatasetSpec, Distribution, LoadModel},
    units::{Nanos, plural},
};
use hb_services::{
    datasets::{Dataset, DatasetError},
    prompts::PromptMaker,
    protocol::{Prompt, Protocol, Reader},
};
use rustls::ClientConfig;
use tokio::time::Instant;
use tokio_rustls::TlsConnector;

use super::{LoadError, server::Server, supply::Supply, unread::ReceiveQueues, window::Window};
use crate::{
    lease::Lease,
    server_manager::own_headers::OwnHeaders,
    trust::{self, TrustError},
};

/// The longest drain.
const DRAIN: Duration = Duration::from_secs(30);

/// A share that can be driven.
pub struct Prepared {
    pub(super) share: LoadShare,
    pub(super) servers: Vec<Server>,
    pub(super) protocol: &'static dyn Protocol,
    pub(super) supply: Arc<Supply>,
    pub(super) schedule: Option<Schedule>,
    /// What of its dataset is left out, as a sentence.
    pub left_out: Option<String>,
    /// Entries of its dataset, where they are texts, which are sent as they stand.
    pub texts: Option<u64>,
    pub(super) window: Window,
    /// What is in flight at the window's end has at most so long.
    pub(super) drain: Duration,
    router: RwLock<Router>,
    /// Without it nothing new is sent.
    pub(super) lease: Lease,
    readers: Mutex<Vec<Box<dyn Reader>>>,
    /// Of all connections to all servers.
    pub(super) queues: ReceiveQueues,
}

impl Prepared {
    /// Builds all that `share` needs, beside the load's own workers.
    ///
    /// # Errors
    /// What in the share cannot be used.
    pub async fn build(share: LoadShare, own: Option<OwnHeaders>) -> Result<Self, LoadError> {
        let protocol = protocol(&share)?;
        let queues = ReceiveQueues::default();
        let servers = servers(&share, protocol, own.as_ref(), &queues, trust::system)?;
        // Bodies are made and a dataset is read from end to end: on a worker of the load, that would count as its work.
        let made = tokio::task::spawn_blocking(move || Self::with(share, protocol, servers, queues)).await;
        made.map_err(|error| LoadError::Start(error.to_string()))?
    }

    /// Builds all that `share` needs.
    ///
    /// # Errors
    /// What in the share cannot be used.
    pub fn new(share: LoadShare, own: Option<OwnHeaders>) -> Result<Self, LoadError> {
        Self::trusting(share, own, trust::system)
    }

    /// As [`Prepared::new`], with other authorities behind `https`.
    pub(super) fn trusting(
        share: LoadShare,
        own: Option<OwnHeaders>,
        trust: impl Fn() -> Result<ClientConfig, TrustError>,
    ) -> Result<Self, LoadError> {
        let protocol = protocol(&share)?;
        let queues = ReceiveQueues::default();
        let servers = servers(&share, protocol, own.as_ref(), &queues, trust)?;
        Self::with(share, protocol, servers, queues)
    }

    fn with(
        mut share: LoadShare,
        protocol: &'static dyn Protocol,
        servers: Vec<Server>,
        queues: ReceiveQueues,
    ) -> Result<Self, LoadError> {
        let dataset = share.load.dataset.clone().map(|spec| dataset(&spec, &mut share)).transpose()?;
        if let Some(dataset) = dataset.as_ref().filter(|_| share.request.turns.is_some()) {
            dataset.has_conversations().map_err(unusable)?;
        }
        let left_out = dataset.as_ref().and_then(left_out);
        let texts = dataset.as_ref().filter(|dataset| dataset.has_texts()).map(Dataset::len);
        let schedule = Schedule::of(&share.load, share.seed);
        let clients = share.load.model.clients();
        let clients = clients.map_or_else(|| open_clients(&share.load.distribution), NonZeroU32::get);
        let router = Router::new(&share.load.distribution, clients, share.servers.len() as u32, share.seed)?;
        let prompts = PromptMaker::counted(&share.request, share.seed, share.counting.as_ref());
        let window = Window::of(&share.load);
        let drain = share.load.timeouts.total.0.min(DRAIN);
        let (model, request) = (share.service.model.clone(), share.request.clone());
        let supply = Supply::new(protocol, model, request, prompts, dataset, share.numbers.clone());
        let router = RwLock::new(router.without(&share.left_servers));
        Ok(Self {
            share,
            servers,
            protocol,
            supply: Arc::new(supply),
            schedule,
            left_out,
            texts,
            window,
            drain,
            router,
            lease: Lease::default(),
            readers: Mutex::default(),
            queues,
        })
    }

    /// The measured window ends so long after the trial's start, if it would last longer; in every life of the executor.
    pub fn end_window(&self, at: Nanos) {
        self.window.end_at(at);
    }

    /// The same, where it may send only while this lasts.
    #[must_use]
    pub fn under(self, lease: Lease) -> Self {
        Self { lease, ..self }
    }

    /// A server is gone: what is in flight there ends, and its clients ask the others; in every life of the executor.
    pub fn leave_server(&self, server: u32) {
        let Some(leaving) = self.servers.get(server as usize) else { return };
        let mut router = self.router.write().unwrap_or_else(PoisonError::into_inner);
        *router = router.without(&BTreeSet::from([server]));
        leaving.ending.set(Kind::ServerLost);
    }

    /// A reader that stands ready for an answer.
    pub(super) fn reader(&self) -> Box<dyn Reader> {
        let idle = self.readers.lock().unwrap_or_else(PoisonError::into_inner).pop();
        idle.unwrap_or_else(|| self.protocol.reader(&self.share.request))
    }

    /// Takes back a reader that has finished, or was fed nothing.
    pub(super) fn keep(&self, reader: Box<dyn Reader>) {
        self.readers.lock().unwrap_or_else(PoisonError::into_inner).push(reader);
    }

    /// The server of a client's request number `asked`.
    pub(super) fn server_of(&self, client: u32, asked: u64, index: u64) -> u32 {
        self.router().pick(client, asked, index)
    }

    /// Opens the connections for a client's first requests, as far as that can be done by `deadline`.
    pub(super) async fn connect_ahead(&self, client: u32, deadline: Instant) {
        // Where requests go by their index, which is not known yet, any client's connection is as good as another's.
        let server = |asked| &self.servers[self.server_of(client, asked, client.into()) as usize];
        let asked = 0..u64::from(self.share.load.together.get());
        join_all(asked.map(|asked| server(asked).connect_ahead(deadline))).await;
    }

    fn router(&self) -> RwLockReadGuard<'_, Router> {
        self.router.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// The server of a scheduled request. Where there are no clients each request stands for one.
    pub(super) fn server_of_scheduled(&self, index: u64) -> u32 {
        let clients = match &self.share.load.distribution {
            Distribution::Static(_) => open_clients(&self.share.load.distribution),
            _ => self.servers.len() as u32,
        };
        let clients = u64::from(clients.max(1));
        self.router().pick((index % clients) as u32, index / clients, index)
    }
}

fn unusable(error: DatasetError) -> LoadError {
    LoadError::Dataset(error.to_string())
}

/// The dataset of a share. A share that replays it gets the instants of this node's file, which must be those that the
/// leader counts by.
fn dataset(spec: &DatasetSpec, share: &mut LoadShare) -> Result<Dataset, LoadError> {
    let LoadModel::Replay { instants: told, .. } = &share.load.model else {
        return Dataset::open(spec).map_err(unusable);
    };
    let (dataset, stamps) = Dataset::trace(spec).map_err(unusable)?;
    let read = schedule::replayed(&share.load, stamps, share.seed);
    match &read.model {
        LoadModel::Replay { instants: read, .. } if told != read => {
            return Err(LoadError::OtherTrace { path: spec.path.clone(), instants: read.count(), told: told.count() });
        }
        _ => share.load = read,
    }
    Ok(dataset)
}

fn open_clients(distribution: &Distribution) -> u32 {
    match distribution {
        Distribution::Static(mapping) => mapping.len() as u32,
        _ => 1,
    }
}

fn protocol(share: &LoadShare) -> Result<&'static dyn Protocol, LoadError> {
    let name = match &share.service.custom {
        Some(custom) => custom.protocol,
        None => hb_services::find(&share.service.service)
            .ok_or_else(|| LoadError::UnknownService(share.service.service.clone()))?
            .protocol(),
    };
    Ok(hb_services::protocol(name))
}

fn servers(
    share: &LoadShare,
    protocol: &dyn Protocol,
    own: Option<&OwnHeaders>,
    queues: &ReceiveQueues,
    trust: impl Fn() -> Result<ClientConfig, TrustError>,
) -> Result<Vec<Server>, LoadError> {
    // The path is the same for every prompt.
    let path = protocol.call(&share.service.model, &share.request, &[Prompt::Text(String::new())], 1).path;
    // The authorities are read once, and only where a URL wants TLS.
    let mut trusted: Option<ClientConfig> = None;
    let mut connectors: BTreeMap<HttpVersion, TlsConnector> = BTreeMap::new();
    let server = |url: &String| {
        let version = if share.http2.contains(url) { HttpVersion::Http2 } else { HttpVersion::Http1 };
        Server::new(url, path, own, version, queues.clone(), || {
            if let Some(connector) = connectors.get(&version) {
                return Ok(connector.clone());
            }
            let trusted = match &trusted {
                Some(trusted) => trusted.clone(),
                None => trusted.insert(trust()?).clone(),
            };
            let connector = TlsConnector::from(Arc::new(trust::speaking(trusted, version)));
            Ok(connectors.entry(version).or_insert(connector).clone())
        })
    };
    share.servers.iter().map(server).collect()
}

/// What of the file is no request of the load, in a sentence.
fn left_out(dataset: &Dataset) -> Option<String> {
    let (lines, calls, path) = (dataset.bad_lines(), dataset.failed_calls(), dataset.path().display());
    let lines = (lines > 0).then(|| {
        format!("{} of the dataset `{path}` cannot be read and are left out (`on_bad_line: skip`)", plural(lines, "line"))
    });
    let calls = (calls > 0).then(|| {
        let calls = plural(calls, "call");
        format!("{calls} of the dataset `{path}` had no tokens, because they failed when they were recorded, and are left out")
    });
    let told: Vec<String> = lines.into_iter().chain(calls).collect();
    (!told.is_empty()).then(|| told.join("; "))
}
