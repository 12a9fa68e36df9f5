//! What is listened to while a run goes on and while it closes: signals, the leader's own node, the outcome.

use std::{
    path::PathBuf,
    time::{Duration, Instant},
};

use hb_actors::{
    cluster::JoinFile,
    node::{Node, NodeEnd},
    orchestrator::{OrchestratorMsg, Outcome},
};
use ractor::ActorRef;
use tokio::sync::{oneshot, watch};

use super::{ending, own_step};
use crate::{
    cli::exit::Exit,
    signals::{Asked, Signals},
};

/// Signals that follow the first within this time are the same asking: `timeout` and Slurm signal a process and
/// then its group, and that must not cost the report.
const ONE_ASKING: Duration = Duration::from_millis(300);

/// What must not stay behind when this process ends at once.
#[derive(Clone)]
pub(super) struct Leave {
    /// What the join file says.
    pub join: JoinFile,
    /// Where it is, if it was written.
    pub path: Option<PathBuf>,
}

impl Leave {
    /// Ends this process now.
    fn at_once(&self, signal: Asked) -> ! {
        eprintln!("{} again: ending at once; what was started is ended by its guardians", signal.name());
        if let Some(path) = &self.path {
            self.join.remove_from(path);
        }
        let exit = Exit::from(signal);
        own_step::write_end(&ending::line(None, None, exit));
        std::process::exit(i32::from(exit.code()))
    }
}

/// While results are written and nodes are dismissed the first signal changes nothing, and the second is heard.
pub(super) async fn heard_while_closing(mut signals: Signals, mut is_second: bool, leave: Leave) {
    loop {
        let signal = signals.next().await;
        if is_second {
            leave.at_once(signal);
        }
        eprintln!("{}: the run is over, its results are being written; again to end at once", signal.name());
        is_second = true;
    }
}

/// What was asked for while the run went on.
pub(super) struct AskedFor {
    /// What the run came to; `None` if the Orchestrator failed.
    pub outcome: Option<Outcome>,
    /// The signal that ended it early.
    pub signal: Option<Asked>,
}

/// Until the run is over. The first signal ends it with its report; the second ends this process.
pub(super) async fn until_over(
    signals: &mut Signals,
    done: &mut oneshot::Receiver<Outcome>,
    orchestrator: &ActorRef<OrchestratorMsg>,
    own: Option<&Node>,
    leave: &Leave,
) -> AskedFor {
    let mut first = None;
    let mut first_at: Option<Instant> = None;
    let mut failure = own.map(|own| own.ended.clone());
    loop {
        tokio::select! {
            outcome = &mut *done => return AskedFor { outcome: outcome.ok(), signal: first },
            signal = signals.next() => {
                if first_at.is_some_and(|at| at.elapsed() < ONE_ASKING) {
                    continue;
                }
                if first.is_some() {
                    leave.at_once(signal);
                }
                first = Some(signal);
                first_at = Some(Instant::now());
                eprintln!("{}: ending the run with a partial report; again to end at once", signal.name());
                interrupt(orchestrator, signal.name());
            }
            why = failed(&mut failure) => interrupt(orchestrator, &format!("the leader's own node failed: {why}")),
        }
    }
}

/// The end of the leader's own node, if it fails before the run is over.
async fn failed(ended: &mut Option<watch::Receiver<Option<NodeEnd>>>) -> String {
    let Some(receiver) = ended else { return std::future::pending().await };
    match receiver.wait_for(Option::is_some).await.map(|end| end.clone()) {
        Ok(Some(NodeEnd::Failed(why))) => {
            *ended = None;
            why
        }
        _ => std::future::pending().await,
    }
}

fn interrupt(orchestrator: &ActorRef<OrchestratorMsg>, by: &str) {
    if orchestrator.cast(OrchestratorMsg::Interrupt(by.to_owned())).is_err() {
        tracing::debug!("the run is over already");
    }
}
