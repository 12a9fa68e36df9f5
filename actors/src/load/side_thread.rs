//! A thread beside the load's workers, for what must be punctual while these are busy. It ends with its owner.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, Thread},
    time::Duration,
};

use super::LoadError;

/// The owner's end of the string.
pub(super) struct SideThread {
    thread: Thread,
    is_over: Arc<AtomicBool>,
}

/// The thread's own end of it.
pub(super) struct Pauses(Arc<AtomicBool>);

impl Pauses {
    /// Whether the thread is to end.
    pub fn are_over(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }

    /// Waits for so long, or until the thread is to end.
    pub fn wait(&self, at_most: Duration) {
        thread::park_timeout(at_most);
    }
}

impl SideThread {
    pub fn start(name: &str, work: impl FnOnce(Pauses) + Send + 'static) -> Result<Self, LoadError> {
        let is_over = Arc::new(AtomicBool::new(false));
        let pauses = Pauses(is_over.clone());
        let spawned = thread::Builder::new().name(name.into()).spawn(move || work(pauses));
        let thread = spawned.map_err(|error| LoadError::Start(error.to_string()))?.thread().clone();
        Ok(Self { thread, is_over })
    }

    /// The thread is to end at its next pause.
    pub fn end(&self) {
        self.is_over.store(true, Ordering::Release);
        self.thread.unpark();
    }
}

impl Drop for SideThread {
    fn drop(&mut self) {
        self.end();
    }
}
