//! One executor: the control surface of a node's load. The load itself runs on its own tokio runtime,
//! in tasks that end with this actor.
//!
//! ```text
//! post_start ─► drive() on the load runtime ─┐
//! Tick (1 s) ─► cut the window ─► Uplink     ├─► Ended(Ok) ─► last batch ─► supervisor: Finished
//! Tick, no progress for too long ────────────┴─► Ended(Err), stalled: this actor fails
//! ```

mod calibration;
mod supervisor;
#[cfg(test)]
mod tests;

use std::{sync::Arc, time::Duration};

use hb_core::units::Nanos;
use ractor::{Actor, ActorProcessingErr, ActorRef};
use ractor_cluster::RactorMessage;
use tokio::{runtime::Handle, task::AbortHandle, time::Instant};
use tokio_util::sync::CancellationToken;

pub use self::supervisor::{ExecutorSupervisor, SupervisorArguments};
use crate::{
    load::{Clock, Ledger, PanicSwitch, Prepared, drive},
    messages::{ExecutorSupervisorMsg, OrderedBy, UplinkMsg},
};

/// A window is cut this often.
const WINDOW: Duration = Duration::from_secs(1);
/// A load that shows no sign of life for so long is treated like one that panicked.
const STALLED_AFTER: Duration = Duration::from_secs(8);

/// What an Executor is given.
pub struct ExecutorArguments {
    /// Its number.
    pub number: u32,
    /// Its share, built.
    pub prepared: Arc<Prepared>,
    /// What outlives it.
    pub ledger: Arc<Ledger>,
    /// The trial's zero.
    pub clock: Clock,
    /// The runtime of the load.
    pub load_runtime: Handle,
    /// Who had it begun.
    pub ordered_by: OrderedBy,
    /// Takes its windows.
    pub uplink: ActorRef<UplinkMsg>,
    /// Is told when it is through.
    pub supervisor: ActorRef<ExecutorSupervisorMsg>,
}

/// What an Executor can be told.
#[derive(RactorMessage)]
pub enum ExecutorMsg {
    /// A second is over.
    Tick,
    /// The load ended, or failed.
    Ended(Result<(), String>),
    /// End the load.
    Stop,
    /// A drill: a task of the load panics.
    Panic,
}

/// The behaviour; its state is [`Executing`].
pub struct Executor;

/// A load that runs.
pub struct Executing {
    arguments: ExecutorArguments,
    stop: CancellationToken,
    panic: PanicSwitch,
    load: Option<AbortOnDrop>,
    progress: u64,
    progressed_at: Instant,
}

/// The load's task; it ends with its owner, so that nothing of a dead actor goes on.
struct AbortOnDrop(AbortHandle);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Actor for Executor {
    type Msg = ExecutorMsg;
    type State = Executing;
    type Arguments = ExecutorArguments;

    async fn pre_start(&self, _: ActorRef<ExecutorMsg>, arguments: ExecutorArguments) -> Result<Executing, ActorProcessingErr> {
        let (stop, panic) = (CancellationToken::new(), PanicSwitch::default());
        Ok(Executing { arguments, stop, panic, load: None, progress: 0, progressed_at: Instant::now() })
    }

    async fn post_start(&self, me: ActorRef<ExecutorMsg>, executing: &mut Executing) -> Result<(), ActorProcessingErr> {
        executing.begin(&me);
        me.send_interval(WINDOW, || ExecutorMsg::Tick);
        Ok(())
    }

    async fn handle(
        &self,
        me: ActorRef<ExecutorMsg>,
        msg: ExecutorMsg,
        executing: &mut Executing,
    ) -> Result<(), ActorProcessingErr> {
        match msg {
            ExecutorMsg::Tick => executing.tick(),
            ExecutorMsg::Ended(result) => executing.ended(&me, result),
            ExecutorMsg::Stop => {
                executing.stop.cancel();
                Ok(())
            }
            ExecutorMsg::Panic => {
                executing.panic.trip();
                Ok(())
            }
        }
    }
}

impl Executing {
    fn begin(&mut self, me: &ActorRef<ExecutorMsg>) {
        let arguments = &self.arguments;
        let (prepared, ledger) = (Arc::clone(&arguments.prepared), Arc::clone(&arguments.ledger));
        let (clock, stop, panic) = (arguments.clock, self.stop.clone(), self.panic.clone());
        let task = arguments.load_runtime.spawn(drive(prepared, ledger, clock, stop, panic));
        self.load = Some(AbortOnDrop(task.abort_handle()));
        self.progressed_at = Instant::now();
        let me = me.clone();
        tokio::spawn(async move {
            let result = match task.await {
                Ok(result) => result.map_err(|error| error.to_string()),
                Err(error) if error.is_panic() => Err(format!("its load panicked: {error}")),
                Err(_) => return,
            };
            // The actor may have been stopped meanwhile.
            let _ = me.cast(ExecutorMsg::Ended(result));
        });
    }

    fn tick(&mut self) -> Result<(), ActorProcessingErr> {
        self.post(false);
        let progress = self.arguments.ledger.progress();
        if progress != self.progress {
            (self.progress, self.progressed_at) = (progress, Instant::now());
        }
        let is_begun = self.arguments.clock.has_begun();
        if is_begun && self.progressed_at.elapsed() > STALLED_AFTER {
            return Err(format!("no progress for {} s", STALLED_AFTER.as_secs()).into());
        }
        Ok(())
    }

    fn ended(&mut self, me: &ActorRef<ExecutorMsg>, result: Result<(), String>) -> Result<(), ActorProcessingErr> {
        result?;
        self.post(true);
        self.arguments.supervisor.cast(ExecutorSupervisorMsg::Finished(self.arguments.number))?;
        me.stop(None);
        Ok(())
    }

    fn post(&self, is_last: bool) {
        let now = Nanos::from(self.arguments.clock.start.elapsed());
        for batch in self.arguments.ledger.cut(now, is_last) {
            if self.arguments.uplink.cast(self.arguments.ordered_by.batch(batch)).is_err() {
                tracing::error!("the uplink is gone; a window is lost");
            }
        }
        for fact in self.arguments.ledger.take_messages() {
            if self.arguments.uplink.cast(self.arguments.ordered_by.fact(fact)).is_err() {
                tracing::error!("the uplink is gone; a warning is lost");
            }
        }
    }
}
