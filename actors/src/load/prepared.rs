//! Everything a share needs, built before its window: no connection is opened here.

use std::{
    num::NonZeroU32,
    sync::{Arc, Mutex, PoisonError},
};

use hb_core::{
    orders::LoadShare,
    routing::Router,
    schedule::Schedule,
    trial::{Distribution, LoadModel, LoadSpec},
};
use hb_services::{
    datasets::{Dataset, DatasetError},
    prompts::{Fit, PromptMaker},
    protocol::{Protocol, Reader},
};

use super::{LoadError, server::Server, supply::Supply};
use crate::server_manager::key::Key;

/// A share that can be driven.
pub struct Prepared {
    pub(super) share: LoadShare,
    pub(super) shards: NonZeroU32,
    pub(super) servers: Vec<Server>,
    pub(super) protocol: &'static dyn Protocol,
    pub(super) supply: Arc<Supply>,
    pub(super) schedule: Option<Schedule>,
    router: Router,
    readers: Mutex<Vec<Box<dyn Reader>>>,
}

impl Prepared {
    /// Builds all that `share` needs.
    ///
    /// # Errors
    /// What in the share cannot be used.
    pub fn new(mut share: LoadShare, key: Option<Key>) -> Result<Self, LoadError> {
        let refused = |error: DatasetError| LoadError::Dataset(error.to_string());
        let dataset = share.load.dataset.as_ref().map(Dataset::open).transpose().map_err(refused)?;
        if let Some(dataset) = &dataset {
            if dataset.bad_lines() > 0 {
                tracing::warn!(path = %dataset.path().display(), lines = dataset.bad_lines(), "lines of the dataset are left out");
            }
            share.load = same(&share.load, dataset.replayed(&share.load, share.seed).map_err(refused)?, dataset)?;
        }
        let shards = NonZeroU32::new(share.executors).filter(|shards| share.executor < shards.get());
        let shards = shards.ok_or(LoadError::Share { executor: share.executor, executors: share.executors })?;
        let name = match &share.service.custom {
            Some(custom) => custom.protocol,
            None => hb_services::find(&share.service.service)
                .ok_or_else(|| LoadError::UnknownService(share.service.service.clone()))?
                .protocol(),
        };
        let protocol = hb_services::protocol(name);
        let schedule = Schedule::of(&share.load, share.seed);
        let clients = match &share.load.model {
            LoadModel::Closed { concurrency, .. } => concurrency.get(),
            LoadModel::Open { .. } | LoadModel::Staged { .. } | LoadModel::Replay { .. } => {
                open_clients(&share.load.distribution)
            }
        };
        let router = Router::new(&share.load.distribution, clients, share.servers.len() as u32, share.seed)?;
        let prompts = PromptMaker::new(&share.request, share.seed, Fit::default());
        let numbering = (u64::from(share.executor), u64::from(share.executors));
        let supply = Supply::new(protocol, share.service.model.clone(), share.request.clone(), prompts, dataset, numbering);
        let path = supply.path();
        let servers = share.servers.iter().map(|url| Server::new(url, path, key.as_ref())).collect::<Result<_, _>>()?;
        Ok(Self { share, shards, servers, protocol, supply: Arc::new(supply), schedule, router, readers: Mutex::default() })
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

    /// The server of a client's `turn`-th request.
    pub(super) fn server_of(&self, client: u32, turn: u64, index: u64) -> u32 {
        self.router.pick(client, turn, index)
    }

    /// The server of a scheduled request. Where there are no clients each request stands for one.
    pub(super) fn server_of_scheduled(&self, index: u64) -> u32 {
        let clients = match &self.share.load.distribution {
            Distribution::Static(_) => open_clients(&self.share.load.distribution),
            _ => self.servers.len() as u32,
        };
        let clients = u64::from(clients.max(1));
        self.router.pick((index % clients) as u32, index / clients, index)
    }
}

/// The load with the instants of this node's file, which must be those that the leader counts by.
fn same(told: &LoadSpec, read: LoadSpec, dataset: &Dataset) -> Result<LoadSpec, LoadError> {
    match (&told.model, &read.model) {
        (LoadModel::Replay { instants: told, .. }, LoadModel::Replay { instants: read, .. }) if told != read => {
            Err(LoadError::OtherTrace { path: dataset.path().to_owned(), instants: read.count(), told: told.count() })
        }
        _ => Ok(read),
    }
}

fn open_clients(distribution: &Distribution) -> u32 {
    match distribution {
        Distribution::Static(mapping) => mapping.len() as u32,
        _ => 1,
    }
}
