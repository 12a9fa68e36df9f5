//! The leader's books: every batch is counted once, made durable, then acknowledged; when a trial is over
//! its report is built from them.
//!
//! One Tally feeds the live view, the pushes and the report, so that they cannot disagree.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    time::Duration,
};

use hb_core::{
    batch::{Batch, BatchKey},
    certainty::Watch,
    chronicle::Chronicle,
    events::{Happened, RunEvent},
    facts::{LogBatch, NodeReading},
    orders::LoadShare,
    phases::Phase,
    plan::{Left, Plan},
    report::{self, DatasetKnown, NodeFigures, ReadingSums, Report, RunSummary, SentEntries, TrialFrame, TrialReport},
    search::ProbeReport,
    tally::{Live, Taken, TrialTally},
    trial::{LoadSpec, ProtocolName, RequestSpec, Stop, Trial},
    units::{Nanos, NodeName, TrialId},
};
use ractor::{Actor, ActorProcessingErr, ActorRef, RpcReplyPort};
use ractor_cluster::RactorMessage;
use serde_json::Value;

use super::Recorder;
use crate::{
    wall_clock::{rfc3339, unix_nanos},
    wire::{ReplyPort, WireError, answer},
};

/// A window that ends because a figure is sure ends so long after that was seen, so that the order has reached all nodes.
const END_AHEAD: Duration = Duration::from_millis(300);

/// The live view is made anew this often.
const LIVE_EVERY: Duration = Duration::from_millis(500);

/// A batch that cannot be written is asked for again so often, half a second apart; then the books give up.
const MOST_TRIES: u32 = 20;

/// What the Books are given.
pub struct BooksArguments {
    /// Makes it durable and shows it.
    pub recorder: Box<dyn Recorder>,
    /// What is known of the run before it begins: its name, its scenario, how many trials are planned.
    pub summary: RunSummary,
    /// How many of them earlier parts of the run finished.
    pub finished_before: u32,
}

/// How a run ended, for its report.
#[derive(Debug, Clone)]
pub struct Ending {
    /// Whether every planned trial was finished.
    pub is_complete: bool,
    /// The phase that could not be finished, and why.
    pub failure: Option<(Phase, String)>,
    /// What interrupted it.
    pub interrupted: Option<String>,
}

/// What the Books can be told.
#[derive(RactorMessage)]
pub enum BooksMsg {
    /// A trial begins: its plan, and what is known of its nodes.
    Open(Box<Plan>, Vec<(NodeName, NodeFigures)>, RpcReplyPort<Result<(), String>>),
    /// Its load starts at this Unix time on the leader's clock.
    Started(TrialId, i128),
    /// Asks for the instant after the trial's start at which its window is to end because a figure is sure. Answered
    /// once it is, and never where that does not come.
    GetCertainty(TrialId, RpcReplyPort<Nanos>),
    /// Asks why rows can no longer be kept. Answered once that is so, and never where it does not come to it.
    GetFailure(RpcReplyPort<String>),
    /// A window of requests, to be acknowledged once it is durable.
    Batch(Box<Batch>, ReplyPort<BatchKey>),
    /// A sample of a node.
    Reading(NodeReading),
    /// Lines of output.
    Logs(LogBatch),
    /// Something happened.
    Event(RunEvent),
    /// What is known of a node that was just lost: its clock, above all.
    Known(Box<(NodeName, NodeFigures)>),
    /// What did these executors, which are lost, leave undone? Nothing more is counted of theirs.
    GetLeft(TrialId, Vec<u32>, RpcReplyPort<Vec<Left>>),
    /// Nodes go on with these shares of what lost executors left, from this instant after the trial's start on.
    HandedOn(TrialId, Vec<LoadShare>, Nanos),
    /// Nothing more comes from this node.
    NodeLost(NodeName),
    /// No batch comes any more: build the trial's report and write it; answered with what it came to, where it is a probe of
    /// a search. The instant, Unix nanoseconds, is when its
    /// load was told to stop before its planned end, if it was.
    Close(TrialId, Option<i128>, Vec<(NodeName, NodeFigures)>, RpcReplyPort<Closed>),
    /// Time for a new live view.
    Tick,
    /// The run is told to end, and no trial is open: have its report written as it stands.
    Save(Ending),
    /// The run is over: build its report.
    Finish(Ending, RpcReplyPort<Box<Report>>),
}

/// A trial whose books are closed: what it came to, where it is a probe, or why its results are incomplete.
pub type Closed = Result<Option<ProbeReport>, String>;

/// The behaviour; its state is [`Accounts`].
pub struct Books;

/// The trial whose books are open.
struct OpenTrial {
    plan: Box<Plan>,
    tally: TrialTally,
    nodes: BTreeMap<NodeName, NodeFigures>,
    readings: BTreeMap<NodeName, ReadingSums>,
    start_unix_nanos: Option<i128>,
    number: u32,
    /// Where a figure may end the window.
    watch: Option<Watch>,
    /// Who is told when it does.
    certainty_awaited: Option<RpcReplyPort<Nanos>>,
}

/// Everything that was told of the run.
pub struct Accounts {
    recorder: Box<dyn Recorder>,
    summary: RunSummary,
    finished_before: u32,
    /// The trials of the recipe that were begun, whose probes count as one.
    begun: BTreeSet<TrialId>,
    open: Option<OpenTrial>,
    reports: Vec<TrialReport>,
    chronicle: Chronicle,
    /// Batches that are counted and not on disk, and how often that was tried.
    unwritten: BTreeMap<BatchKey, u32>,
    /// Whether rows can no longer be kept: no batch is asked for again then.
    has_given_up: bool,
    /// Who is told of that.
    failure_awaited: Option<RpcReplyPort<String>>,
    live: Live,
    /// The load whose floor was measured last, and the floor.
    calibrated: Option<((LoadSpec, RequestSpec), Value)>,
    /// What of its dataset the servers were sent.
    sent: SentEntries,
}

impl Actor for Books {
    type Msg = BooksMsg;
    type State = Accounts;
    type Arguments = BooksArguments;

    async fn pre_start(&self, me: ActorRef<BooksMsg>, arguments: BooksArguments) -> Result<Accounts, ActorProcessingErr> {
        me.send_interval(LIVE_EVERY, || BooksMsg::Tick);
        Ok(Accounts {
            recorder: arguments.recorder,
            summary: arguments.summary,
            finished_before: arguments.finished_before,
            begun: BTreeSet::new(),
            open: None,
            reports: Vec::new(),
            chronicle: Chronicle::default(),
            unwritten: BTreeMap::new(),
            has_given_up: false,
            failure_awaited: None,
            live: Live::default(),
            calibrated: None,
            sent: SentEntries::default(),
        })
    }

    async fn handle(&self, _: ActorRef<BooksMsg>, msg: BooksMsg, accounts: &mut Accounts) -> Result<(), ActorProcessingErr> {
        match msg {
            BooksMsg::Open(plan, nodes, reply) => {
                let opened = tokio::task::block_in_place(|| accounts.open(plan, nodes));
                // Whoever asked may have stopped waiting.
                let _ = reply.send(opened);
            }
            BooksMsg::Started(trial, start) => accounts.started(&trial, start),
            BooksMsg::GetCertainty(trial, reply) => accounts.await_certainty(&trial, reply),
            BooksMsg::GetFailure(reply) => accounts.failure_awaited = Some(reply),
            BooksMsg::Batch(batch, reply) => answer(reply, accounts.batch(&batch)),
            BooksMsg::Reading(reading) => accounts.reading(reading),
            BooksMsg::Logs(logs) => accounts.recorder.logs(&logs),
            BooksMsg::Event(event) => accounts.event(event),
            BooksMsg::Known(known) => {
                if let Some(open) = &mut accounts.open {
                    open.know(known.0, known.1);
                }
            }
            BooksMsg::GetLeft(trial, executors, reply) => {
                // The run may be ending.
                let _ = reply.send(accounts.left(&trial, &executors));
            }
            BooksMsg::HandedOn(trial, shares, since) => accounts.handed_on(&trial, &shares, since),
            BooksMsg::NodeLost(node) => accounts.node_lost(&node),
            BooksMsg::Close(trial, ended_early, nodes, reply) => {
                // Reading back and sorting a million rows takes seconds; the other actors of this runtime go on meanwhile.
                let closed = tokio::task::block_in_place(|| accounts.close(&trial, ended_early, nodes));
                // Whoever asked may have stopped waiting.
                let _ = reply.send(closed);
            }
            BooksMsg::Tick => accounts.tick(),
            BooksMsg::Save(ending) => tokio::task::block_in_place(|| accounts.recorder.save(accounts.report(&ending))),
            BooksMsg::Finish(ending, reply) => {
                let report = tokio::task::block_in_place(|| accounts.report(&ending));
                let _ = reply.send(Box::new(report));
            }
        }
        Ok(())
    }
}

impl OpenTrial {
    /// How long ago its load started, nanoseconds; negative where that is still ahead, `None` while the instant is not known.
    fn elapsed_nanos(&self) -> Option<i128> {
        self.start_unix_nanos.map(|start| unix_nanos() - start)
    }

    /// Whether the measured window is open at this instant, as far as it is known by then; one that a number of requests ends
    /// is until the books are closed.
    fn is_measuring(&self, now: i128) -> bool {
        let Some(start) = self.start_unix_nanos else { return false };
        let load = &self.plan.trial.load;
        let at = Duration::from_nanos(u64::try_from(now - start).unwrap_or(0));
        let sure = self.watch.as_ref().and_then(|watch| watch.certainty().ended_at_seconds);
        let planned = match load.stop {
            Stop::After(window) => load.warmup.0.saturating_add(window.0),
            Stop::Requests(_) => Duration::MAX,
        };
        at >= load.warmup.0 && at <= planned && sure.is_none_or(|end| at.as_secs_f64() <= end)
    }

    /// More is known of a node than when the trial began.
    fn know(&mut self, node: NodeName, mut figures: NodeFigures) {
        figures.clock_moved_seconds = self.nodes.get(&node).and_then(|before| clock_moved(before, &figures));
        self.nodes.insert(node, figures);
    }
}

/// By how much a clock moved between two estimates, as far as their bounds do not explain it.
fn clock_moved(before: &NodeFigures, after: &NodeFigures) -> Option<f64> {
    let moved = (after.clock_offset_seconds? - before.clock_offset_seconds?).abs();
    let explained = after.clock_bound_seconds? + before.clock_bound_seconds?;
    (moved > explained).then_some(moved - explained)
}

impl Accounts {
    /// The trial whose books are open, if it is this one.
    fn open_of(&mut self, trial: &TrialId) -> Option<&mut OpenTrial> {
        self.open.as_mut().filter(|open| open.plan.trial.id == *trial)
    }

    fn open(&mut self, plan: Box<Plan>, nodes: Vec<(NodeName, NodeFigures)>) -> Result<(), String> {
        self.begun.insert(plan.trial.planned_id().clone());
        let number = self.finished_before + self.begun.len() as u32;
        self.recorder.begin_trial(&plan).map_err(|error| error.to_string())?;
        let expected_seconds = plan.load_time().map(|span| span.as_secs_f64());
        let begun = Happened::TrialBegun { number, of: self.summary.trials_planned, expected_seconds };
        self.tell(Some(plan.trial.id.clone()), begun);
        self.open = Some(OpenTrial {
            tally: TrialTally::new(&plan),
            watch: Watch::over(&plan.trial.load),
            plan,
            nodes: nodes.into_iter().collect(),
            readings: BTreeMap::new(),
            start_unix_nanos: None,
            number,
            certainty_awaited: None,
        });
        Ok(())
    }

    fn started(&mut self, trial: &TrialId, start_unix_nanos: i128) {
        if let Some(open) = self.open_of(trial) {
            open.start_unix_nanos = Some(start_unix_nanos);
        }
    }

    fn await_certainty(&mut self, trial: &TrialId, reply: RpcReplyPort<Nanos>) {
        // Dropped, the question is over.
        if let Some(open) = self.open_of(trial).filter(|open| open.watch.is_some()) {
            open.certainty_awaited = Some(reply);
        }
    }

    /// Looks whether the figure that ends the window is sure.
    fn watch(&mut self) {
        let Some(open) = &mut self.open else { return };
        let elapsed = open.elapsed_nanos();
        let (Some(watch), Some(elapsed)) = (&mut open.watch, elapsed) else { return };
        if !watch.look(elapsed as f64 / 1e9, END_AHEAD.as_secs_f64(), &open.tally) {
            return;
        }
        let certainty = watch.certainty().clone();
        if let (Some(reply), Some(at)) = (open.certainty_awaited.take(), certainty.ended_at_seconds) {
            // The run may be ending.
            let _ = reply.send(Nanos::from_secs_f64(at));
        }
        let trial = Some(open.plan.trial.id.clone());
        self.tell(trial, Happened::SureEnough { certainty });
    }

    /// Counted, then durable, then acknowledged; what cannot be made durable is not acknowledged and comes again.
    fn batch(&mut self, batch: &Batch) -> Result<BatchKey, WireError> {
        let Some(open) = self.open_of(&batch.key.source.trial) else {
            // A repeat of a trial whose books are closed: it was counted, or written off.
            return Ok(batch.key.clone());
        };
        let is_due_for_disk = match open.tally.take(batch) {
            Taken::Refused(why) => {
                self.warn(format!("a batch of {} is refused: {why}", batch.key.source.node));
                return Err(WireError::Refused(why));
            }
            Taken::Repeat => self.unwritten.contains_key(&batch.key),
            Taken::New => true,
        };
        if is_due_for_disk { self.write(batch) } else { Ok(batch.key.clone()) }
    }

    /// Makes a counted batch durable. A disk that is full may have room again soon, so the node is asked to send
    /// it once more; not for ever, because it keeps the batch in memory until then.
    fn write(&mut self, batch: &Batch) -> Result<BatchKey, WireError> {
        let Err(error) = self.recorder.spool(batch) else {
            self.unwritten.remove(&batch.key);
            return Ok(batch.key.clone());
        };
        let tries = self.unwritten.entry(batch.key.clone()).or_default();
        *tries += 1;
        if *tries < MOST_TRIES && !self.has_given_up {
            return Err(WireError::NotNow(error.to_string()));
        }
        self.unwritten.remove(&batch.key);
        self.has_given_up = true;
        let why = format!("the rows of a batch of {} could not be written: {error}", batch.key.source.node);
        if let Some(reply) = self.failure_awaited.take() {
            // The run may be ending.
            let _ = reply.send(why.clone());
        }
        self.warn(why);
        Ok(batch.key.clone())
    }

    fn reading(&mut self, reading: NodeReading) {
        self.recorder.reading(&reading);
        if let Some(open) = &mut self.open {
            let is_in_window = open.is_measuring(unix_nanos());
            open.readings.entry(reading.node.clone()).or_default().take(&reading, is_in_window);
        }
    }

    fn event(&mut self, event: RunEvent) {
        self.recorder.event(&event);
        self.chronicle.tell(event);
    }

    /// Something of the books' own happened now.
    fn tell(&mut self, trial: Option<TrialId>, happened: Happened) {
        self.event(RunEvent { unix_nanos: unix_nanos(), trial, happened });
    }

    fn warn(&mut self, what: String) {
        let trial = self.open.as_ref().map(|open| open.plan.trial.id.clone());
        if !self.chronicle.warnings().contains(&what) {
            self.tell(trial, Happened::Warned { what });
        }
    }

    fn left(&mut self, trial: &TrialId, executors: &[u32]) -> Vec<Left> {
        let Some(open) = self.open_of(trial) else { return Vec::new() };
        let elapsed = open.elapsed_nanos().and_then(|elapsed| u64::try_from(elapsed).ok());
        open.tally.write_off(executors, Nanos(elapsed.unwrap_or(0)))
    }

    fn handed_on(&mut self, trial: &TrialId, shares: &[LoadShare], since: Nanos) {
        if let Some(open) = self.open_of(trial) {
            open.tally.handed_on(shares, since);
        }
    }

    fn node_lost(&mut self, node: &NodeName) {
        if let Some(open) = &mut self.open {
            open.tally.node_lost(node);
            let elapsed = open.elapsed_nanos();
            if let (Some(figures), Some(elapsed)) = (open.nodes.get_mut(node), elapsed) {
                figures.lost_at_seconds = Some(elapsed as f64 / 1e9);
            }
        }
    }

    fn close(&mut self, trial: &TrialId, ended_early: Option<i128>, nodes: Vec<(NodeName, NodeFigures)>) -> Closed {
        let Some(mut open) = self.open.take_if(|open| open.plan.trial.id == *trial) else { return Ok(None) };
        let now = unix_nanos();
        let start = open.start_unix_nanos.unwrap_or(now);
        let ended_early_at_seconds = ended_early.map(|at| (at - start).max(0) as f64 / 1e9);
        let certainty = open.watch.as_ref().map(|watch| watch.certainty().clone());
        let sure_at_seconds = certainty.as_ref().and_then(|certainty| certainty.ended_at_seconds);
        let lost = open.tally.close(ended_early_at_seconds.into_iter().chain(sure_at_seconds).reduce(f64::min));
        if let Some(certainty) = certainty.as_ref().filter(|certainty| !certainty.is_reached && ended_early.is_none()) {
            self.warn(format!("{trial}: {certainty}"));
        }
        // Clock estimates get better while a trial runs; nodes that are gone keep what was known of them.
        nodes.into_iter().for_each(|(node, figures)| open.know(node, figures));
        let rows = self.recorder.rows(trial).unwrap_or_else(|error| {
            // The trial is in the report all the same, and its books do not balance.
            self.warn(format!("the rows of {trial} cannot be read back: {error}"));
            Box::new(std::iter::empty())
        });
        let mut unreadable: Option<io::Error> = None;
        let readable = rows.map_while(|row| row.map_err(|error| unreadable = Some(error)).ok());
        let mut frame = self.frame(open.plan, open.nodes, &open.readings, (start, now), ended_early_at_seconds);
        frame.certainty = certainty;
        let report = report::trial(&frame, &open.tally, readable, &lost);
        if let Some(dataset) = &report.dataset {
            self.sent.sent(&frame.plan.trial, dataset.entries_sent_in_a_row);
        }
        if let Some(error) = unreadable {
            self.warn(format!("the rows of {trial} cannot be read to their end: {error}"));
        }
        let written = self.recorder.finish_trial(&report, &lost).map_err(|error| error.to_string());
        let verdict = report.verdict.status;
        self.tell(Some(trial.clone()), Happened::TrialFinished { verdict });
        let probe = report.probe.clone();
        if let Some(probe) = probe.clone().filter(|_| report.complete) {
            self.tell(Some(trial.clone()), Happened::Probed { probe });
        }
        self.reports.push(report);
        written.map(|()| probe)
    }

    fn tick(&mut self) {
        self.watch();
        if let Some(open) = &self.open {
            let elapsed = open.elapsed_nanos().map_or(0.0, |elapsed| elapsed as f64 / 1e9);
            self.live = open.tally.live(elapsed.max(0.0));
            self.live.position = (open.number, self.summary.trials_planned);
        }
        self.recorder.live(&self.live);
    }

    /// The run's report, as it stands.
    fn report(&self, ending: &Ending) -> Report {
        let reason = match (&ending.failure, &ending.interrupted) {
            _ if ending.is_complete => None,
            (_, Some(by)) => Some(format!("ended by {by}")),
            (Some((phase, cause)), None) => Some(format!("{phase} could not be finished: {cause}")),
            (None, None) => Some("not every trial was finished".to_owned()),
        };
        let now = unix_nanos();
        let summary = RunSummary {
            ended_at: rfc3339(now),
            complete: ending.is_complete,
            incomplete_reason: reason,
            phase_seconds: self.chronicle.phase_seconds(now),
            ..self.summary.clone()
        };
        report::run(summary, self.reports.clone(), self.chronicle.warnings().to_vec())
    }

    /// The client's error floor at this load: as it was just measured, or at an earlier repetition.
    fn calibration(&mut self, trial: &Trial, measured: Option<Value>) -> Option<Value> {
        let key = (LoadSpec { calibration: None, ..trial.load.clone() }, trial.request.clone());
        let Some(measured) = measured else {
            return self.calibrated.as_ref().filter(|(known, _)| *known == key).map(|(_, floor)| floor.clone());
        };
        self.calibrated = Some((key, measured.clone()));
        Some(measured)
    }

    /// What is known of a trial besides its requests.
    fn frame(
        &mut self,
        plan: Box<Plan>,
        mut nodes: BTreeMap<NodeName, NodeFigures>,
        readings: &BTreeMap<NodeName, ReadingSums>,
        (start, now): (i128, i128),
        ended_early_at_seconds: Option<f64>,
    ) -> TrialFrame {
        for (node, sums) in readings {
            if let Some(figures) = nodes.get_mut(node) {
                sums.fill(figures);
            }
        }
        let energies: Vec<f64> = readings.values().filter_map(ReadingSums::energy_joules).collect();
        let chapter = self.chronicle.close_trial(start, now);
        let protocol = hb_services::resolve(&plan.trial.service).map(|service| service.protocol());
        TrialFrame {
            started_at: rfc3339(start),
            ended_early_at_seconds,
            certainty: None,
            phase_seconds: chapter.phase_seconds,
            nodes: nodes.into_iter().map(|(node, figures)| (node.0, figures)).collect(),
            energy_joules: (!energies.is_empty()).then(|| energies.iter().sum()),
            window_joules: readings.values().filter_map(ReadingSums::window_joules).reduce(|sum, joules| sum + joules),
            gpus_throttled: readings.values().map(ReadingSums::throttled).sum(),
            server: chapter.server,
            counted: chapter.counted,
            calibration: self.calibration(&plan.trial, chapter.calibration),
            dataset: chapter.dataset_entries.map(|entries| DatasetKnown { entries, sent_before: self.sent.before(&plan.trial) }),
            other_models: chapter.other_models,
            events: chapter.events,
            exited: chapter.exited,
            // Ollama knows no word that keeps a model from stopping by itself.
            can_force_length: protocol.is_ok_and(|protocol| protocol == ProtocolName::Openai),
            plan: *plan,
        }
    }
}
