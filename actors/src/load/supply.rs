//! Bodies made ahead of their requests: a bounded pool, kept full by a thread of its own. Those of conversations are made
//! when they are asked, as they hold the answers before them.

use std::{
    borrow::Cow,
    collections::HashMap,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
};

use bytes::Bytes;
use hb_core::{schedule::Numbers, trial::RequestSpec};
use hb_services::{
    datasets::{Dataset, DatasetError},
    dialogue::Dialogue,
    prompts::{Lengths, PromptMaker},
    protocol::{Prompt, Protocol},
};
use serde_json::{Map, Value};

use super::{LoadError, talk::Talk};

/// Bodies held ready at most.
const AHEAD: usize = 2048;
/// And their bytes.
const AHEAD_BYTES: usize = 16 * 1024 * 1024;

/// Bodies made between two looks at the shelf.
const AT_ONCE: usize = 64;

/// A request's body and the tokens it asks for.
#[derive(Debug, Clone)]
pub(super) struct Made {
    pub body: Bytes,
    pub asked_tokens: u32,
    /// Tokens that its prompts have together; `None` where nobody asked for a length.
    pub asked_input_tokens: Option<u32>,
}

pub(super) struct Supply {
    protocol: &'static dyn Protocol,
    model: String,
    request: RequestSpec,
    prompts: PromptMaker,
    dataset: Option<Dataset>,
    numbers: Numbers,
    shelf: Mutex<Shelf>,
    wanted: Condvar,
}

struct Shelf {
    ready: HashMap<u64, Made>,
    bytes: usize,
    /// The place of the next one to be made, in `numbers`.
    next: u64,
    /// Taken while the thread was making them: nobody will come for them again.
    missed: Vec<u64>,
    /// The thread is at work, and looks again before it waits.
    is_filling: bool,
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
    /// A supply of the bodies of these requests, already full.
    pub fn new(
        protocol: &'static dyn Protocol,
        model: String,
        request: RequestSpec,
        prompts: PromptMaker,
        dataset: Option<Dataset>,
        numbers: Numbers,
    ) -> Self {
        let shelf =
            Mutex::new(Shelf { ready: HashMap::new(), bytes: 0, next: 0, missed: Vec::new(), is_filling: false, is_over: false });
        let supply = Self { protocol, model, request, prompts, dataset, numbers, shelf, wanted: Condvar::new() };
        while supply.has_room(&supply.shelf()) {
            supply.make_some(supply.shelf());
        }
        supply
    }

    /// The body of request `index`: from the pool, or made on the spot where the pool is behind.
    pub fn take(&self, index: u64) -> Made {
        let mut shelf = self.shelf();
        let made = shelf.ready.remove(&index);
        match &made {
            Some(made) => shelf.bytes -= made.body.len(),
            None => match self.numbers.before(index) {
                place if place < shelf.next && shelf.is_filling => shelf.missed.push(index),
                place => shelf.next = shelf.next.max(place + 1),
            },
        }
        // Filled by the half, so that the thread is woken seldom.
        let is_low = !shelf.is_filling && shelf.ready.len() <= AHEAD / 2 && shelf.bytes <= AHEAD_BYTES / 2;
        shelf.is_filling |= is_low;
        drop(shelf);
        if is_low {
            self.wanted.notify_one();
        }
        made.unwrap_or_else(|| self.make(index))
    }

    /// Whether requests are turns of conversations.
    pub fn has_conversations(&self) -> bool {
        self.request.turns.is_some()
    }

    /// The conversation with this number.
    pub fn talk(&self, conversation: u64) -> Talk {
        let turns = self.prompts.turns(conversation);
        let read = self.dataset.as_ref().map(|dataset| whole(dataset.turns(conversation, turns, &self.prompts)));
        Talk::new(conversation, turns, Dialogue::new(self.request.api), read.unwrap_or_default())
    }

    /// The body of a conversation's next turn.
    pub fn ask(&self, talk: &mut Talk) -> Made {
        let asked = talk.ask(&self.prompts);
        let made = self.made(std::slice::from_ref(asked.prompt), asked.gen_tokens, asked.fields);
        Made { asked_input_tokens: asked.prompt_tokens, ..made }
    }

    /// Throws away the bodies of requests before `index`, which nobody will take.
    pub fn forget_before(&self, index: u64) {
        let mut shelf = self.shelf();
        shelf.ready.retain(|made, _| *made >= index);
        shelf.bytes = shelf.ready.values().map(|made| made.body.len()).sum();
        shelf.next = shelf.next.max(self.numbers.before(index));
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
                self.make_some(shelf);
                shelf = self.shelf();
            } else {
                shelf.is_filling = false;
                shelf = self.wanted.wait(shelf).unwrap_or_else(PoisonError::into_inner);
            }
        }
    }

    fn has_room(&self, shelf: &Shelf) -> bool {
        !self.has_conversations() && shelf.ready.len() < AHEAD && shelf.bytes < AHEAD_BYTES
    }

    /// Makes the next few, and takes the lock for them once: taken for each, it was fought for with the load.
    fn make_some(&self, mut shelf: MutexGuard<'_, Shelf>) {
        // The first ones show how long bodies are.
        let usual = shelf.bytes / shelf.ready.len().max(1);
        let most = (AHEAD_BYTES / 8).checked_div(usual).map_or(1, |fitting| fitting.clamp(1, AT_ONCE));
        let count = most.min(AHEAD - shelf.ready.len()) as u64;
        let first = shelf.next;
        shelf.next += count;
        drop(shelf);
        let made: Vec<_> =
            (first..first + count).map(|place| self.numbers.at(place)).map(|index| (index, self.make(index))).collect();
        let mut shelf = self.shelf();
        let missed = std::mem::take(&mut shelf.missed);
        for (index, made) in made.into_iter().filter(|(index, _)| !missed.contains(index)) {
            shelf.bytes += made.body.len();
            shelf.ready.insert(index, made);
        }
    }

    fn make(&self, index: u64) -> Made {
        if let Some(dataset) = &self.dataset {
            let asked = whole(dataset.asked(index, &self.prompts));
            let made = self.made(&asked.prompts, asked.gen_tokens, asked.fields);
            return Made { asked_input_tokens: asked.prompt_tokens, ..made };
        }
        let Lengths { prompt_tokens, gen_tokens } = self.prompts.lengths(index);
        let prompts = self.prompts.prompts(index);
        let asked_input_tokens = prompt_tokens.checked_mul(prompts.len() as u32);
        Made { asked_input_tokens, ..self.made(&prompts, gen_tokens, Map::new()) }
    }

    /// The body for these prompts; the recipe's own fields win over those of a dataset.
    fn made(&self, prompts: &[Prompt], gen_tokens: u32, mut fields: Map<String, Value>) -> Made {
        let request = if fields.is_empty() {
            Cow::Borrowed(&self.request)
        } else {
            fields.extend(self.request.sampling.clone());
            Cow::Owned(RequestSpec { sampling: fields, ..self.request.clone() })
        };
        let call = self.protocol.call(&self.model, &request, prompts, gen_tokens);
        // Every choice may be as long as was asked.
        let answers = request.choices().saturating_mul(prompts.len() as u32);
        Made { body: call.body, asked_tokens: gen_tokens.saturating_mul(answers), asked_input_tokens: None }
    }

    fn shelf(&self) -> MutexGuard<'_, Shelf> {
        self.shelf.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A file that was read from end to end and cannot be read any more, or holds something else, makes this panic: the
/// executor fails with the sentence, as a request in its place would be a lie.
fn whole<T>(read: Result<T, DatasetError>) -> T {
    read.unwrap_or_else(|error| panic!("{error}"))
}
