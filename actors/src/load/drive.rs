//! The way of a share: warm-up, measured window, drain.

use std::sync::Arc;

use hb_core::{
    record::Kind,
    trial::{LoadModel, Stop, Timeouts},
};
use tokio::{
    task::{JoinError, JoinSet},
    time::Instant,
};
use tokio_util::sync::CancellationToken;

use super::{
    Clock, LoadError, PanicSwitch, closed,
    ending::Ending,
    health,
    ledger::{Book, Ledger},
    open,
    prepared::Prepared,
};

/// What all tasks of one life of a share use.
pub(super) struct Engine {
    pub prepared: Arc<Prepared>,
    pub book: Book,
    pub clock: Clock,
    pub ending: Ending,
    pub timeouts: Timeouts,
    /// A task panicked.
    pub failed: CancellationToken,
    /// Nothing new is sent.
    pub window_over: CancellationToken,
    stop: CancellationToken,
}

impl Engine {
    /// Comes back when nothing more may be sent.
    pub async fn halted(&self) {
        tokio::select! {
            () = self.stop.cancelled() => self.ending.set(Kind::Stopped),
            () = self.failed.cancelled() => {}
        }
    }

    /// Comes back when the measured window is over, if that is a matter of time.
    pub async fn window_passed(&self) {
        self.prepared.window.passed(self.clock).await;
    }

    /// Tells the others when its task panics.
    pub fn panic_alarm(&self) -> PanicAlarm {
        PanicAlarm(self.failed.clone())
    }
}

pub(super) struct PanicAlarm(CancellationToken);

impl Drop for PanicAlarm {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.cancel();
        }
    }
}

/// Drives the share to the end of its drain, or until `stop`. Call it on the load's own runtime.
///
/// # Errors
/// A load task panicked (all others are gone then), or the timer could not be made.
pub async fn drive(
    prepared: Arc<Prepared>,
    ledger: Arc<Ledger>,
    clock: Clock,
    stop: CancellationToken,
    panic: PanicSwitch,
) -> Result<(), LoadError> {
    let engine = Arc::new(Engine {
        timeouts: prepared.share.load.timeouts,
        book: ledger.book(),
        clock,
        ending: Ending::default(),
        failed: CancellationToken::new(),
        window_over: CancellationToken::new(),
        stop,
        prepared,
    });
    let _filling = engine.prepared.supply.keep_full()?;
    let mut watch = JoinSet::new();
    // A witness that cannot come is no reason not to measure.
    let _looking = engine.prepared.queues.watch(Arc::clone(&ledger));
    if let Err(error) = &_looking {
        tracing::warn!(%error, "nobody looks into the receive queues");
    }
    watch.spawn(health::watch(ledger));
    let drilled = engine.clone();
    watch.spawn(async move {
        let _alarm = drilled.panic_alarm();
        panic.tripped().await;
        panic!("a drill made this task panic");
    });
    let mut tasks = JoinSet::new();
    let went = run(&engine, &mut tasks).await;
    tasks.shutdown().await;
    if engine.failed.is_cancelled() {
        // The drill's task is the only one of the watch that ends.
        let drill = watch.try_join_next().and_then(|joined| joined.err().map(told));
        watch.shutdown().await;
        return went.and(Err(LoadError::Panicked(drill.unwrap_or_else(|| "see the log".into()))));
    }
    watch.shutdown().await;
    went
}

async fn run(engine: &Arc<Engine>, tasks: &mut JoinSet<()>) -> Result<(), LoadError> {
    let share = &engine.prepared.share;
    match &share.load.model {
        LoadModel::Closed { .. } | LoadModel::ClosedStaged { .. } => {
            // A number of requests that is nobody's in particular is this executor's.
            let limit = match share.load.stop {
                Stop::Requests(total) => Some(share.requests.unwrap_or(total)),
                Stop::After(_) => None,
            };
            for &client in &share.clients {
                let engine = engine.clone();
                tasks.spawn(async move {
                    let _alarm = engine.panic_alarm();
                    closed::client(engine.clone(), client, limit).await;
                });
            }
            if share.clients.is_empty() {
                engine.window_over.cancel();
            }
            // Every client may be waiting for an answer when the window ends.
            tokio::select! {
                () = engine.window_over.cancelled() => {}
                () = engine.window_passed() => {}
                () = engine.halted() => {}
            }
        }
        LoadModel::Open { .. } | LoadModel::Staged { .. } | LoadModel::Replay { .. } => {
            if let Some(schedule) = &engine.prepared.schedule {
                open::pace(engine, tasks, schedule).await?;
            }
        }
    }
    drain(engine, tasks).await
}

async fn drain(engine: &Arc<Engine>, tasks: &mut JoinSet<()>) -> Result<(), LoadError> {
    let by = Instant::now() + engine.prepared.drain;
    loop {
        let is_ending = engine.ending.kind().is_some();
        tokio::select! {
            biased;
            joined = tasks.join_next() => match joined {
                None => return Ok(()),
                Some(Ok(())) => {}
                Some(Err(error)) => return Err(LoadError::Panicked(told(error))),
            },
            () = engine.failed.cancelled() => return Ok(()),
            () = engine.halted(), if !is_ending => {}
            () = tokio::time::sleep_until(by), if !is_ending => engine.ending.set(Kind::DrainEnded),
        }
    }
}

fn told(error: JoinError) -> String {
    if !error.is_panic() {
        return error.to_string();
    }
    let payload = error.into_panic();
    let text = payload.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| payload.downcast_ref::<String>().cloned()).unwrap_or_else(|| "no message".into())
}
