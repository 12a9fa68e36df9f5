//! How a run ends, from wherever it stopped: load over, books closed, servers gone, and then the report.
//!
//! Whoever tells a run to end may not wait for servers: after SIGTERM Slurm kills what is left 30 s later, and a server
//! may take as long. So the report of such a run, as far as it is known, is written beside the servers' ends and waits for none.

use super::{CLOSE_WITHIN, Run, STOP_SERVERS_WITHIN};
use crate::{
    phases::{Effect, Phase},
    units::{NodeName, Span},
};

/// A load that is told to stop has so long for its last batches.
const STOP_LOAD_WITHIN: Span = Span::from_secs(5);

impl Run {
    pub(super) fn enter_teardown(&mut self) -> Vec<Effect> {
        let mut effects = self.enter(Phase::Teardown);
        if let Some(under_way) = self.trial.as_mut().filter(|under_way| !under_way.is_closing) {
            under_way.is_stopped_early = true;
            effects.extend(under_way.stop());
            under_way.give_up_joining();
            effects.push(self.deadline(STOP_LOAD_WITHIN));
        }
        effects.extend(self.tear_down());
        effects
    }

    /// The next step of teardown that can be taken now: load over, books closed, servers gone.
    pub(in crate::phases) fn tear_down(&mut self) -> Vec<Effect> {
        if let Some(under_way) = &mut self.trial {
            if !under_way.is_started {
                self.trial = None;
                return self.tear_down();
            }
            if under_way.is_closing || !under_way.is_over() {
                return Vec::new();
            }
            under_way.is_closing = true;
            let trial = under_way.id().clone();
            return vec![Effect::CloseTrial { trial, is_complete: false }, self.deadline(CLOSE_WITHIN)];
        }
        let mut effects = Vec::new();
        if self.interrupted.is_some() && !self.is_report_saved {
            self.is_report_saved = true;
            effects.push(Effect::SaveReport);
        }
        let orders = self.servers.stop();
        if !orders.is_empty() {
            effects.extend(orders);
            effects.push(self.deadline(STOP_SERVERS_WITHIN));
        }
        if self.servers.are_gone() {
            effects.extend(self.enter(Phase::Report));
            effects.push(Effect::Finish);
        }
        effects
    }

    /// What teardown waits for does not come: write it off and go on.
    pub(super) fn tear_down_regardless(&mut self) -> Vec<Effect> {
        let mut effects = Vec::new();
        if let Some(under_way) = &mut self.trial {
            let late: Vec<NodeName> = under_way.unfinished().into_iter().cloned().collect();
            for node in &late {
                under_way.node_lost(node);
                effects.push(Effect::Warn(format!("{node} did not end its load in time; what it had not reported is lost")));
                effects.push(Effect::WriteOff(node.clone()));
            }
            if late.is_empty() {
                effects.push(Effect::Warn(format!("the results of {} were not written in time", under_way.id())));
                self.trial = None;
            }
        } else {
            effects.push(Effect::Warn(format!("not ended in time: {}", self.servers.left())));
            self.servers.forget();
        }
        effects.extend(self.tear_down());
        effects
    }
}
