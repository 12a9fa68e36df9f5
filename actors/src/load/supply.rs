//! Bodies made ahead of their requests: a bounded pool, kept full by a thread of its own.

use std::{
    collections::HashMap,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
};

use bytes::Bytes;
use hb_core::trial::RequestSpec;
use hb_services::{
    datasets::Dataset,
    prompts::PromptMaker,
    protocol::{Call, Protocol},
};

use super::LoadError;

/// Bodies held ready at most.
const AHEAD: usize = 2048;
/// And their bytes.
const AHEAD_BYTES: usize = 16 * 1024 * 1024;

/// A request's body and the tokens it asks for.
#[derive(Debug, Clone)]
pub(super) struct Made {
    pub body: Bytes,
    pub asked_tokens: u32,
}

pub(super) struct Supply {
    protocol: &'static dyn Protocol,
    model: String,
    request: RequestSpec,
    prompts: PromptMaker,
    dataset: Option<Dataset>,
    step: u64,
    shelf: Mutex<Shelf>,
    wanted: Condvar,
}

struct Shelf {
    ready: HashMap<u64, Made>,
    bytes: usize,
    next: u64,
    is_over: bool,
}

/// Ends the thread that fills the pool.
pub(super) struct Filling(Arc<Supply>);

impl Drop for Filling {
    fn drop(&mut self) {
        self.0.shelf().is_over = true;
        self.0.wanted.notify_all();
    }
}

impl Supply {
    /// A supply of the bodies `first`, `first + step`…, already full.
    pub fn new(
        protocol: &'static dyn Protocol,
        model: String,
        request: RequestSpec,
        prompts: PromptMaker,
        dataset: Option<Dataset>,
        (first, step): (u64, u64),
    ) -> Self {
        let shelf = Mutex::new(Shelf { ready: HashMap::new(), bytes: 0, next: first, is_over: false });
        let supply = Self { protocol, model, request, prompts, dataset, step, shelf, wanted: Condvar::new() };
        while supply.has_room(&supply.shelf()) {
            supply.make_next(supply.shelf());
        }
        supply
    }

    pub fn path(&self) -> &'static str {
        self.call(0).0.path
    }

    /// The body of request `index`: from the pool, or made on the spot where the pool is behind.
    pub fn take(&self, index: u64) -> Made {
        let mut shelf = self.shelf();
        shelf.next = shelf.next.max(index + self.step);
        let made = shelf.ready.remove(&index);
        if let Some(made) = &made {
            shelf.bytes -= made.body.len();
        }
        // Filled by the half, so that the thread wakes seldom.
        if shelf.ready.len() == AHEAD / 2 || shelf.bytes <= AHEAD_BYTES / 2 {
            self.wanted.notify_one();
        }
        drop(shelf);
        made.unwrap_or_else(|| self.make(index))
    }

    /// Throws away the bodies of requests before `index`, which nobody will take.
    pub fn forget_before(&self, index: u64) {
        let mut shelf = self.shelf();
        shelf.ready.retain(|made, _| *made >= index);
        shelf.bytes = shelf.ready.values().map(|made| made.body.len()).sum();
        shelf.next = shelf.next.max(index);
    }

    /// Keeps the pool full until the guard is dropped.
    pub fn keep_full(self: &Arc<Self>) -> Result<Filling, LoadError> {
        self.shelf().is_over = false;
        let supply = self.clone();
        let thread = std::thread::Builder::new().name("load-supply".into());
        thread.spawn(move || supply.fill()).map_err(|error| LoadError::Start(error.to_string()))?;
        Ok(Filling(self.clone()))
    }

    fn fill(&self) {
        let mut shelf = self.shelf();
        while !shelf.is_over {
            if self.has_room(&shelf) {
                self.make_next(shelf);
                shelf = self.shelf();
            } else {
                shelf = self.wanted.wait(shelf).unwrap_or_else(PoisonError::into_inner);
            }
        }
    }

    fn has_room(&self, shelf: &Shelf) -> bool {
        shelf.ready.len() < AHEAD && shelf.bytes < AHEAD_BYTES
    }

    fn make_next(&self, mut shelf: MutexGuard<'_, Shelf>) {
        let index = shelf.next;
        shelf.next += self.step;
        drop(shelf);
        let made = self.make(index);
        let mut shelf = self.shelf();
        shelf.bytes += made.body.len();
        shelf.ready.insert(index, made);
    }

    fn make(&self, index: u64) -> Made {
        let (call, asked_tokens) = self.call(index);
        Made { body: call.body, asked_tokens }
    }

    fn call(&self, index: u64) -> (Call, u32) {
        if let Some(dataset) = &self.dataset {
            return self.call_from(dataset, index);
        }
        let gen_tokens = self.prompts.lengths(index).gen_tokens;
        let prompts = self.prompts.prompts(index);
        let asked = gen_tokens.saturating_mul(prompts.len() as u32);
        (self.protocol.call(&self.model, &self.request, &prompts, gen_tokens), asked)
    }

    /// A file that was read from end to end and cannot be read any more, or holds something else, makes this panic: the
    /// executor fails with the sentence, as a request in its place would be a lie.
    fn call_from(&self, dataset: &Dataset, index: u64) -> (Call, u32) {
        let asked = dataset.asked(index, &self.prompts).unwrap_or_else(|error| panic!("{error}"));
        let tokens = asked.gen_tokens.saturating_mul(asked.prompts.len() as u32);
        let mut request = self.request.clone();
        request.sampling = asked.fields;
        request.sampling.extend(self.request.sampling.clone());
        (self.protocol.call(&self.model, &request, &asked.prompts, asked.gen_tokens), tokens)
    }

    fn shelf(&self) -> MutexGuard<'_, Shelf> {
        self.shelf.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
