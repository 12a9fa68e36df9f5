//! What happened, kept in order, and what reports make of it: seconds by phase, the trial's own events,
//! what is known of its servers, warnings.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use crate::{
    calibration::Floor,
    counted::Counted,
    events::{Happened, RunEvent},
    facts::Fact,
    report::TimedEvent,
    units::{NodeName, plural},
};

/// Everything that was told of a run.
#[derive(Debug, Default)]
pub struct Chronicle {
    events: Vec<RunEvent>,
    /// Where the events of the trial that is open begin.
    trial_from: usize,
    /// What is known of each server; servers outlive trials.
    servers: BTreeMap<u32, BTreeMap<String, Value>>,
    warnings: Vec<String>,
    /// Who said what of these.
    said: BTreeMap<String, Said>,
    /// What the servers counted for the trial that is open.
    counted: Counted,
    /// What executors measured of the client itself, for the trial that comes or is open.
    floors: BTreeMap<u32, Floor>,
    /// Entries of its dataset, where they are texts.
    dataset_entries: Option<u64>,
    /// Names that answers gave which were not asked for, in the trial that is open.
    other_models: BTreeSet<String>,
}

/// A warning of nodes, by the place that it has among all.
#[derive(Debug, Clone, PartialEq)]
struct Said {
    place: usize,
    first: NodeName,
    others: BTreeSet<NodeName>,
}

/// One trial's part of it.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct TrialChapter {
    /// Seconds by phase, since the trial before.
    pub phase_seconds: BTreeMap<String, f64>,
    /// What happened while its load ran, or because of it.
    pub events: Vec<TimedEvent>,
    /// Processes of servers that ended by themselves, by number.
    pub exited: BTreeSet<u32>,
    /// What is known of the servers, by ordinal.
    pub server: BTreeMap<String, Value>,
    /// What they counted before the load and after it.
    pub counted: Counted,
    /// The client's own error floor, where it was measured for this trial.
    pub calibration: Option<Value>,
    /// Entries of its dataset, where they are texts.
    pub dataset_entries: Option<u64>,
    /// Names that answers gave and that were not asked for.
    pub other_models: BTreeSet<String>,
}

impl Chronicle {
    /// One more thing happened.
    pub fn tell(&mut self, event: RunEvent) {
        match &event.happened {
            Happened::Warned { what } => self.warn(what.clone()),
            Happened::PhaseFailed { phase, cause } => self.warn(format!("{phase} could not be finished: {cause}")),
            Happened::NodeTold { node, fact: Fact::Warned { what } } => self.node_warned(node, what),
            Happened::NodeTold { node, fact: Fact::OtherModel { answered, what } } => {
                self.other_models.insert(answered.clone());
                self.node_warned(node, what);
            }
            Happened::NodeTold { fact: Fact::DatasetRead { entries, .. }, .. } => self.dataset_entries = Some(*entries),
            Happened::NodeTold { fact: Fact::Calibrated { executor, floor, .. }, .. } => {
                self.floors.insert(*executor, *floor);
            }
            Happened::NodeTold { node, fact } => self.server_told(node.as_str(), fact),
            Happened::ServersCounted { is_over: false, servers } => self.counted.before.clone_from(servers),
            Happened::ServersCounted { is_over: true, servers } => self.counted.after.clone_from(servers),
            _ => {}
        }
        self.events.push(event);
    }

    /// What a person should read, each once.
    #[must_use]
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// The chapter of a trial whose zero was `start` and whose books are closed `now`, Unix nanoseconds.
    /// What comes after belongs to the next.
    pub fn close_trial(&mut self, start: i128, now: i128) -> TrialChapter {
        let events = &self.events[self.trial_from..];
        let exited = events.iter().filter_map(|event| match &event.happened {
            Happened::NodeTold { fact: Fact::ServerExited { server, .. }, .. } => Some(*server),
            _ => None,
        });
        let servers = self.servers.iter().map(|(server, known)| (server.to_string(), json!(known)));
        let chapter = TrialChapter {
            phase_seconds: phase_seconds(events, now),
            events: events.iter().filter_map(|event| timed(event, start)).collect(),
            exited: exited.collect(),
            server: servers.collect(),
            counted: std::mem::take(&mut self.counted),
            dataset_entries: self.dataset_entries.take(),
            other_models: std::mem::take(&mut self.other_models),
            calibration: Floor::told(&std::mem::take(&mut self.floors).into_values().collect::<Vec<_>>()),
        };
        self.trial_from = self.events.len();
        chapter
    }

    /// Seconds by phase over the whole run, up to `now`.
    #[must_use]
    pub fn phase_seconds(&self, now: i128) -> BTreeMap<String, f64> {
        phase_seconds(&self.events, now)
    }

    fn warn(&mut self, what: String) {
        if !self.warnings.contains(&what) {
            self.warnings.push(what);
        }
    }

    /// What several nodes say, such as every executor of a server that refuses its load, is one warning.
    fn node_warned(&mut self, node: &NodeName, what: &str) {
        let Some(said) = self.said.get_mut(what) else {
            let said = Said { place: self.warnings.len(), first: node.clone(), others: BTreeSet::new() };
            self.said.insert(what.to_owned(), said);
            self.warnings.push(format!("{node}: {what}"));
            return;
        };
        if *node != said.first && said.others.insert(node.clone()) {
            let (first, more) = (&said.first, said.others.len());
            let nodes = if more == 1 { "node" } else { "nodes" };
            self.warnings[said.place] = format!("{first} and {more} more {nodes}: {what}");
        }
    }

    fn server_told(&mut self, node: &str, fact: &Fact) {
        if let Fact::ServerStarted { server, .. } = fact
            && let Some(known) = self.servers.get_mut(server)
        {
            // What is known of a process that was there before says nothing of this one; its image may be read already.
            known.retain(|name, _| name.starts_with("image"));
        }
        let (server, known): (u32, Vec<(&str, Value)>) = match fact {
            Fact::ServerStarted { server, name, pid, command, .. } => {
                let started = [("name", json!(name)), ("node", json!(node)), ("pid", json!(pid)), ("command", json!(command))];
                (*server, started.to_vec())
            }
            Fact::ServerReady { server, url, took, counting, http_version } => {
                let tokens_per_word = counting.as_ref().map(|counting| counting.tokens_per_word);
                let ready = [
                    ("url", json!(url)),
                    ("ready_seconds", json!(took.as_secs_f64())),
                    ("tokens_per_word", json!(tokens_per_word)),
                    ("http_version", json!(http_version)),
                ];
                (*server, ready.to_vec())
            }
            Fact::ImageRead { server, image, digest } => {
                (*server, vec![("image", json!(image)), ("image_digest", json!(digest))])
            }
            Fact::PartReady { server, took, .. } => (*server, vec![("ready_seconds", json!(took.as_secs_f64()))]),
            Fact::ServerExited { server, why } => (*server, vec![("exited", json!(why))]),
            Fact::ServerFailed { server, why } => (*server, vec![("failed", json!(why))]),
            _ => return,
        };
        self.servers.entry(server).or_default().extend(known.into_iter().map(|(name, value)| (name.to_owned(), value)));
    }
}

/// A phase lasts until the next one begins.
fn phase_seconds(events: &[RunEvent], now: i128) -> BTreeMap<String, f64> {
    let entered = events.iter().filter_map(|event| match event.happened {
        Happened::PhaseEntered { phase } => Some((phase, event.unix_nanos)),
        _ => None,
    });
    let entered: Vec<_> = entered.collect();
    let mut seconds: BTreeMap<String, f64> = BTreeMap::new();
    for (index, (phase, at)) in entered.iter().enumerate() {
        let until = entered.get(index + 1).map_or(now, |(_, at)| *at);
        *seconds.entry(phase.name().to_owned()).or_default() += (until - at).max(0) as f64 / 1e9;
    }
    seconds
}

/// What a trial's report tells of an event; `None` for what belongs to the run's course.
fn timed(event: &RunEvent, start: i128) -> Option<TimedEvent> {
    let (what, message) = match &event.happened {
        Happened::NodeLost { node, why } => ("node_lost", format!("{node} was lost: {why}")),
        Happened::LoadHandedOn { left_by, to, since_seconds } => ("load_handed_on", handed_on(left_by, to, *since_seconds)),
        Happened::Interrupted { by } => ("interrupted", format!("ended by {by}")),
        Happened::PhaseFailed { phase, cause } => ("phase_failed", format!("{phase}: {cause}")),
        Happened::SureEnough { certainty } => ("sure_enough", certainty.to_string()),
        Happened::NodeTold { node, fact } => told(node.as_str(), fact)?,
        Happened::PhaseEntered { .. }
        | Happened::TrialBegun { .. }
        | Happened::Probed { .. }
        | Happened::SearchOver { .. }
        | Happened::LoadStarted { .. }
        | Happened::TrialFinished { .. }
        | Happened::ServersCounted { .. }
        | Happened::NodeJoined { .. }
        | Happened::Warned { .. } => return None,
    };
    Some(TimedEvent { at_seconds: (event.unix_nanos - start) as f64 / 1e9, what: what.to_owned(), message })
}

/// What a person is told when others go on with what a lost node left.
#[must_use]
pub fn handed_on(left_by: &[u32], to: &[NodeName], since_seconds: f64) -> String {
    let lost = left_by.iter().map(|executor| format!("executor {executor}")).collect::<Vec<_>>().join(", ");
    let heirs = to.iter().map(NodeName::as_str).collect::<Vec<_>>().join(", ");
    format!(
        "what {lost} left goes on from {heirs} since {since_seconds:.1} s; what was due of it before and nobody told of is lost"
    )
}

fn told(node: &str, fact: &Fact) -> Option<(&'static str, String)> {
    Some(match fact {
        Fact::ExecutorRestarted { executor, epoch, lost, gap, why, .. } => {
            let gap = gap.as_secs_f64();
            let message = format!(
                "executor {executor} on {node} failed and was started again as epoch {epoch} after {gap:.1} s, {} lost: {why}",
                plural(*lost, "request")
            );
            ("executor_restarted", message)
        }
        Fact::ExecutorGaveUp { executor, why, .. } => {
            ("executor_gave_up", format!("executor {executor} on {node} gave up: {why}"))
        }
        Fact::LoadFailed { executor, why, .. } => {
            ("executor_gave_up", format!("executor {executor} on {node} cannot send: {why}"))
        }
        Fact::ServerExited { server, why } => ("server_exited", format!("server {server} on {node} ended by itself: {why}")),
        Fact::ServerFailed { server, why } => ("server_failed", format!("server {server} on {node} did not become ready: {why}")),
        Fact::ChildRestarted { child, why } => {
            ("child_restarted", format!("{child} on {node} failed and was started again: {why}"))
        }
        Fact::ServerStarted { .. }
        | Fact::ImageRead { .. }
        | Fact::PartReady { .. }
        | Fact::ServerProgressed { .. }
        | Fact::ServerReady { .. }
        | Fact::ServerStopped { .. }
        | Fact::LoadPrepared { .. }
        | Fact::Calibrated { .. }
        | Fact::LoadFinished { .. }
        | Fact::DatasetRead { .. }
        | Fact::OtherModel { .. }
        | Fact::Warned { .. } => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{phases::Phase, units::NodeName};

    const SECOND: i128 = 1_000_000_000;

    fn at(second: i128, happened: Happened) -> RunEvent {
        RunEvent { unix_nanos: second * SECOND, trial: None, happened }
    }

    #[test]
    fn a_phase_lasts_until_the_next_and_a_trial_has_its_own_part() {
        let mut chronicle = Chronicle::default();
        for (second, phase) in [(0, Phase::Initialization), (2, Phase::ClientLaunch), (3, Phase::Execution)] {
            chronicle.tell(at(second, Happened::PhaseEntered { phase }));
        }
        let first = chronicle.close_trial(3 * SECOND, 13 * SECOND);
        assert_eq!(first.phase_seconds["execution"], 10.0);
        chronicle.tell(at(13, Happened::PhaseEntered { phase: Phase::ClientLaunch }));
        chronicle.tell(at(14, Happened::PhaseEntered { phase: Phase::Execution }));
        let second = chronicle.close_trial(14 * SECOND, 20 * SECOND);
        assert_eq!(second.phase_seconds.get("initialization"), None);
        assert_eq!((second.phase_seconds["client_launch"], second.phase_seconds["execution"]), (1.0, 6.0));
        assert_eq!(chronicle.phase_seconds(20 * SECOND)["client_launch"], 2.0);
    }

    #[test]
    fn servers_are_known_in_every_later_trial_and_events_only_in_their_own() {
        let mut chronicle = Chronicle::default();
        let ready = Fact::ServerReady {
            server: 0,
            url: "http://a".into(),
            took: crate::units::Span::from_secs(3),
            counting: None,
            http_version: Default::default(),
        };
        let node = NodeName::from("a");
        chronicle.tell(at(1, Happened::NodeTold { node: node.clone(), fact: ready }));
        chronicle.tell(at(7, Happened::NodeLost { node, why: "gone".into() }));
        let first = chronicle.close_trial(5 * SECOND, 9 * SECOND);
        assert_eq!((first.events[0].what.as_str(), first.events[0].at_seconds), ("node_lost", 2.0));
        let second = chronicle.close_trial(10 * SECOND, 12 * SECOND);
        assert_eq!(second.events, []);
        assert_eq!(second.server, first.server);
        assert_eq!(second.server["0"]["url"], "http://a");
    }

    #[test]
    fn a_server_that_was_started_again_has_no_former_end() {
        let mut chronicle = Chronicle::default();
        let node = NodeName::from("a");
        let mut tell = |fact| chronicle.tell(at(1, Happened::NodeTold { node: node.clone(), fact }));
        let started =
            |pid| Fact::ServerStarted { server: 0, name: "server 0".into(), pid, command: Vec::new(), ports: Default::default() };
        tell(started(1));
        tell(Fact::ServerExited { server: 0, why: "killed".into() });
        // Its image is read while it is started, and either may be over first.
        tell(Fact::ImageRead { server: 0, image: "s.sif".into(), digest: "sha256:0".into() });
        tell(started(2));
        let server = chronicle.close_trial(0, 9 * SECOND).server;
        assert_eq!(server["0"]["pid"], 2);
        assert_eq!(server["0"].get("exited"), None);
        assert_eq!(server["0"]["image_digest"], "sha256:0");
    }

    #[test]
    fn a_warning_is_told_once() {
        let mut chronicle = Chronicle::default();
        (0..3).for_each(|second| chronicle.tell(at(second, Happened::Warned { what: "w".into() })));
        assert_eq!(chronicle.warnings(), ["w"]);
    }

    #[test]
    fn a_warning_of_several_nodes_is_one() {
        let mut chronicle = Chronicle::default();
        let mut warned = |node: &str, what: &str| {
            let fact = Fact::Warned { what: what.into() };
            chronicle.tell(at(1, Happened::NodeTold { node: node.into(), fact }));
            chronicle.warnings().to_vec()
        };
        assert_eq!(warned("b", "w"), ["b: w"]);
        assert_eq!(warned("b", "w"), ["b: w"]);
        assert_eq!(warned("b", "another"), ["b: w", "b: another"]);
        assert_eq!(warned("a", "w"), ["b and 1 more node: w", "b: another"]);
        warned("c", "w");
        assert_eq!(warned("a", "w"), ["b and 2 more nodes: w", "b: another"]);
    }
}
