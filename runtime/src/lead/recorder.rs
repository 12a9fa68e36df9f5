//! What the leader's actors hand out, made durable and shown: the run folder, the terminal, the live page,
//! the Pushgateway.

use std::{
    collections::{BTreeMap, VecDeque},
    io,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use hb_actors::orchestrator::{Recorder, Rows};
use hb_core::{
    batch::Batch,
    events::RunEvent,
    facts::{LogBatch, NodeReading},
    plan::Plan,
    report::{Report, TrialReport},
    tally::{Live, LostRow},
    units::TrialId,
};
use tokio::sync::{broadcast, watch};

use super::ending::Whole;
use crate::{
    http::{LeaderView, NodeView},
    results::RunFolder,
    terminal::Progress,
};

/// Events and batches of lines that the live page is sent when it is opened.
const REMEMBERED: usize = 1000;
/// Bytes of lines among them.
const REMEMBERED_BYTES: usize = 2 * 1024 * 1024;
/// Events that a page may lag behind before it misses some.
const COMING: usize = 1024;

/// Bytes of the text of its lines.
fn bytes_of(logs: &LogBatch) -> usize {
    logs.lines.iter().map(|line| line.text.len()).sum()
}

/// The run's folder, shared with the leader, which closes it.
pub type SharedFolder = Arc<Mutex<RunFolder>>;

/// Writes to the run folder first, then shows.
pub struct Scribe {
    folder: SharedFolder,
    whole: Arc<Whole>,
    progress: Progress,
    run: String,
    service: String,
    live: watch::Sender<Live>,
    /// Events so far, which numbers them.
    told: u64,
    past: watch::Sender<Arc<Vec<(u64, RunEvent)>>>,
    logs: watch::Sender<Arc<Vec<Arc<LogBatch>>>>,
    recent_logs: VecDeque<Arc<LogBatch>>,
    recent_bytes: usize,
    events: broadcast::Sender<(u64, RunEvent)>,
    nodes: watch::Sender<BTreeMap<String, NodeView>>,
}

/// What of it others read.
pub struct Shown {
    /// The live page's view.
    pub page: Arc<LeaderView>,
    /// What each node pushes.
    pub nodes: watch::Receiver<BTreeMap<String, NodeView>>,
}

impl Scribe {
    /// A scribe for this run, and what others read of what it takes.
    pub fn new(folder: SharedFolder, whole: Arc<Whole>, progress: Progress, run: &str) -> (Self, Shown) {
        let (scenario, service) = (&whole.checked.recipe.scenario, &whole.checked.recipe.workload.service);
        let (live, live_receiver) = watch::channel(Live::default());
        let (past, past_receiver) = watch::channel(Arc::new(Vec::new()));
        let (logs, logs_receiver) = watch::channel(Arc::new(Vec::new()));
        let (events, _) = broadcast::channel(COMING);
        let (nodes, nodes_receiver) = watch::channel(BTreeMap::new());
        let page = LeaderView {
            scenario: scenario.clone(),
            run: run.to_owned(),
            live: live_receiver,
            past: past_receiver,
            logs: logs_receiver,
            events: events.clone(),
        };
        let (run, service) = (run.to_owned(), service.clone());
        let scribe = Self {
            folder,
            whole,
            progress,
            run,
            service,
            live,
            told: 0,
            past,
            logs,
            recent_logs: VecDeque::new(),
            recent_bytes: 0,
            events,
            nodes,
        };
        (scribe, Shown { page: Arc::new(page), nodes: nodes_receiver })
    }

    fn folder(&self) -> MutexGuard<'_, RunFolder> {
        self.folder.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn view(&self, node: &str) -> NodeView {
        NodeView { node: node.to_owned(), run: Some(self.run.clone()), service: self.service.clone(), ..NodeView::default() }
    }
}

impl Recorder for Scribe {
    fn event(&mut self, event: &RunEvent) {
        self.folder().event(event);
        self.progress.event(event);
        let number = self.told;
        self.told += 1;
        self.past.send_modify(|past| {
            let past = Arc::make_mut(past);
            if past.len() == REMEMBERED {
                past.remove(0);
            }
            past.push((number, event.clone()));
        });
        // Nobody may be looking at the live page.
        let _ = self.events.send((number, event.clone()));
    }

    fn reading(&mut self, reading: &NodeReading) {
        self.folder().reading(reading);
        let view = self.view(reading.node.as_str());
        self.nodes.send_modify(|nodes| nodes.entry(view.node.clone()).or_insert(view).reading = Some(reading.clone()));
    }

    fn logs(&mut self, logs: &LogBatch) {
        self.folder().logs(logs);
        self.recent_logs.push_back(Arc::new(logs.clone()));
        self.recent_bytes += bytes_of(logs);
        while self.recent_logs.len() > REMEMBERED || self.recent_bytes > REMEMBERED_BYTES {
            let Some(oldest) = self.recent_logs.pop_front() else { break };
            self.recent_bytes -= bytes_of(&oldest);
        }
        self.logs.send_replace(Arc::new(self.recent_logs.iter().cloned().collect()));
    }

    fn live(&mut self, live: &Live) {
        self.progress.live(live);
        for (node, load) in &live.nodes {
            let view = self.view(node.as_str());
            self.nodes.send_modify(|nodes| nodes.entry(view.node.clone()).or_insert(view).load = load.clone());
        }
        self.live.send_replace(live.clone());
    }

    fn begin_trial(&mut self, plan: &Plan) -> io::Result<()> {
        let mut folder = self.folder();
        folder.begin_trial(&plan.trial.id).map_err(io::Error::other)?;
        folder.plan(plan)
    }

    fn spool(&mut self, batch: &Batch) -> io::Result<()> {
        self.folder().spool(batch)
    }

    fn rows(&mut self, trial: &TrialId) -> io::Result<Rows> {
        Ok(Box::new(self.folder().rows(trial)?))
    }

    fn finish_trial(&mut self, report: &TrialReport, lost: &[LostRow]) -> io::Result<()> {
        let troubles = self.folder().finish_trial(report, lost);
        if troubles.is_empty() { Ok(()) } else { Err(io::Error::other(troubles.join("; "))) }
    }

    fn save(&mut self, report: Report) {
        self.whole.save(report, &mut self.folder());
    }
}
