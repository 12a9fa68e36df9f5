//! Posts a node's windows, facts, samples and lines to the leader, with a bounded number of them on the
//! way, and keeps each until it is acknowledged.
//!
//! ```text
//! Executor ─ batches ─┐                    ┌─ 4 on the way ─► Inbox
//! children ─ facts ───┼─► main lane ───────┘   a fact waits for what was handed in before it
//! Monitor ─ samples ──┼─► bulk lane ───────── 4 on the way ─► Inbox
//! LogCollector ─ lines┘   the oldest go first when the leader is slow
//! ```

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
    time::Duration,
};

use hb_core::{
    batch::Batch,
    facts::{Fact, LogBatch, NodeFact, NodeReading},
    tally::{NodeLive, NodeSums},
    units::TrialId,
};
use ractor::{Actor, ActorProcessingErr, ActorRef, RpcReplyPort};
use tokio::sync::watch;

use crate::{
    cluster::InboxHandle,
    messages::{NodeIdentity, Playing, PostResult, UplinkMsg},
    wire::WireError,
};

/// Posts on the way at once, on each lane; ractor has no backpressure of its own.
const WINDOW: usize = 4;
/// Samples and lines that wait at most; the leader's silence may not fill a node's memory.
const BULK_AT_MOST: usize = 256;
/// The pause before a post that failed is sent again.
const RETRY_AFTER: Duration = Duration::from_millis(500);

/// A node's own share, as its own `/metrics` shows it.
#[derive(Debug, Clone, Default)]
pub struct NodeShare {
    /// Load, from the windows that the node sent.
    pub live: NodeLive,
    /// The newest sample.
    pub reading: Option<NodeReading>,
    /// The service that the load asks or asked last.
    pub service: Option<String>,
    /// How far the load is that the node's own endpoint began last, by its trial.
    pub own: Option<(TrialId, OwnLoad)>,
}

/// How far a load of the node's own is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OwnLoad {
    /// Its share is built.
    Built,
    /// It cannot be sent, or no longer, and why.
    Failed(String),
    /// It has ended.
    Over,
}

/// What an Uplink is given.
pub struct UplinkArguments {
    /// Whose posts these are.
    pub identity: Arc<std::sync::Mutex<NodeIdentity>>,
    /// Shows the node's own share.
    pub share: watch::Sender<NodeShare>,
}

/// The behaviour; its state is [`Posting`].
pub struct Uplink;

/// Something to be posted.
#[derive(Debug, Clone)]
enum Post {
    Batch(Arc<Batch>),
    Fact(Arc<NodeFact>),
    Reading(Arc<NodeReading>),
    Logs(Arc<LogBatch>),
}

/// A queue and what of it is on the way.
#[derive(Debug, Default)]
struct Lane {
    queue: VecDeque<Post>,
    on_the_way: BTreeMap<u64, Post>,
}

/// The posts of one node.
pub struct Posting {
    identity: Arc<std::sync::Mutex<NodeIdentity>>,
    share: watch::Sender<NodeShare>,
    /// The trial that is shown, and its sums.
    shown: Option<(TrialId, NodeSums)>,
    /// What each executor of the newest trial plays.
    plays: Option<(TrialId, BTreeMap<u32, u32>)>,
    inbox: Option<InboxHandle>,
    /// Whether there is no leader and will be none.
    is_alone: bool,
    main: Lane,
    bulk: Lane,
    next_ticket: u64,
    next_fact: u64,
    waiting: Vec<RpcReplyPort<()>>,
}

impl Actor for Uplink {
    type Msg = UplinkMsg;
    type State = Posting;
    type Arguments = UplinkArguments;

    async fn pre_start(&self, _: ActorRef<UplinkMsg>, arguments: UplinkArguments) -> Result<Posting, ActorProcessingErr> {
        Ok(Posting {
            identity: arguments.identity,
            share: arguments.share,
            shown: None,
            plays: None,
            inbox: None,
            is_alone: false,
            main: Lane::default(),
            bulk: Lane::default(),
            next_ticket: 0,
            next_fact: 0,
            waiting: Vec::new(),
        })
    }

    async fn handle(&self, me: ActorRef<UplinkMsg>, msg: UplinkMsg, posting: &mut Posting) -> Result<(), ActorProcessingErr> {
        match msg {
            UplinkMsg::Batch(batch) => posting.batch(*batch),
            UplinkMsg::Fact(fact) => posting.fact(fact),
            UplinkMsg::OwnBatch(batch) => posting.show(&batch),
            UplinkMsg::OwnFact(fact) => posting.own_fact(fact),
            UplinkMsg::Plays(playing) => posting.plays(playing),
            UplinkMsg::Reading(reading) => posting.reading(reading),
            UplinkMsg::Logs(logs) => posting.logs(logs),
            UplinkMsg::InboxFound(inbox) => posting.inbox = Some(inbox),
            UplinkMsg::InboxLost => posting.inbox = None,
            UplinkMsg::NobodyListens => posting.is_alone = true,
            UplinkMsg::Posted(result) => posting.posted(&result),
            UplinkMsg::GetDrained(reply) => posting.waiting.push(reply),
        }
        posting.post(&me);
        posting.tell_drained();
        Ok(())
    }
}

impl Posting {
    fn batch(&mut self, batch: Batch) {
        self.show(&batch);
        self.main.queue.push_back(Post::Batch(Arc::new(batch)));
    }

    /// The node's own share of the trial under way, as the leader's tally has it too.
    fn show(&mut self, batch: &Batch) {
        let trial = &batch.key.source.trial;
        if self.shown.as_ref().is_none_or(|(shown, _)| shown != trial) {
            self.shown = Some((trial.clone(), NodeSums::default()));
        }
        if let Some((_, sums)) = &mut self.shown {
            sums.take(batch);
            let (in_flight, is_running) = (u64::from(batch.health.in_flight), !batch.is_last);
            let of_it = self.plays.as_ref().filter(|(played, _)| played == trial);
            let threads = of_it.map_or(0, |(_, plays)| plays.values().sum());
            let live = NodeLive { in_flight, is_running, threads, ..sums.live() };
            self.share.send_modify(|share| share.live = live);
        }
    }

    fn plays(&mut self, Playing { trial, executor, threads, service }: Playing) {
        let (_, plays) = match &mut self.plays {
            Some(plays) if plays.0 == trial => plays,
            plays => plays.insert((trial, BTreeMap::new())),
        };
        plays.insert(executor, threads);
        self.share.send_modify(|share| share.service = Some(service));
    }

    fn fact(&mut self, fact: Fact) {
        let identity = self.identity();
        let seq = self.next_fact;
        self.next_fact += 1;
        let fact = NodeFact { node: identity.node, incarnation: identity.incarnation, seq, fact };
        self.main.queue.push_back(Post::Fact(Arc::new(fact)));
    }

    /// A leader's events and report have nothing to do with a load that it did not order.
    fn own_fact(&self, fact: Fact) {
        tracing::info!(?fact, "of a load of this node's own");
        let own = match fact {
            Fact::LoadPrepared { trial, .. } => (trial, OwnLoad::Built),
            Fact::LoadFailed { trial, why, .. } | Fact::ExecutorGaveUp { trial, why, .. } => (trial, OwnLoad::Failed(why)),
            Fact::LoadFinished { trial, .. } => (trial, OwnLoad::Over),
            _ => return,
        };
        self.share.send_modify(|share| share.own = Some(own));
    }

    fn reading(&mut self, mut reading: NodeReading) {
        reading.node = self.identity().node;
        self.share.send_modify(|share| share.reading = Some(reading.clone()));
        self.bulk.push_bounded(Post::Reading(Arc::new(reading)));
    }

    fn logs(&mut self, mut logs: LogBatch) {
        logs.node = self.identity().node;
        self.bulk.push_bounded(Post::Logs(Arc::new(logs)));
    }

    /// Collectors were started before the node had its name.
    fn identity(&self) -> NodeIdentity {
        self.identity.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone()
    }

    fn post(&mut self, me: &ActorRef<UplinkMsg>) {
        if self.is_alone {
            self.main.queue.drain(..).for_each(|post| tell(&post));
            self.bulk.queue.clear();
        }
        let Some(inbox) = self.inbox.clone() else { return };
        for lane in [&mut self.main, &mut self.bulk] {
            while let Some(post) = lane.next() {
                let ticket = self.next_ticket;
                self.next_ticket += 1;
                lane.on_the_way.insert(ticket, post.clone());
                let (inbox, me) = (inbox.clone(), me.clone());
                tokio::spawn(async move {
                    let is_acknowledged = send(&inbox, post).await;
                    if !is_acknowledged {
                        tokio::time::sleep(RETRY_AFTER).await;
                    }
                    // The node may be ending.
                    let _ = me.cast(UplinkMsg::Posted(PostResult { ticket, is_acknowledged }));
                });
            }
        }
    }

    fn posted(&mut self, result: &PostResult) {
        for lane in [&mut self.main, &mut self.bulk] {
            if let Some(post) = lane.on_the_way.remove(&result.ticket).filter(|_| !result.is_acknowledged) {
                lane.queue.push_front(post);
            }
        }
    }

    fn tell_drained(&mut self) {
        let is_empty = |lane: &Lane| lane.queue.is_empty() && lane.on_the_way.is_empty();
        if self.inbox.is_none() || (is_empty(&self.main) && is_empty(&self.bulk)) {
            for reply in self.waiting.drain(..) {
                // Whoever asked may have stopped waiting.
                let _ = reply.send(());
            }
        }
    }
}

impl Lane {
    fn push_bounded(&mut self, post: Post) {
        if self.queue.len() >= BULK_AT_MOST {
            self.queue.pop_front();
        }
        self.queue.push_back(post);
    }

    /// The next post that may go now. A fact goes alone: when it arrives, everything before it has.
    fn next(&mut self) -> Option<Post> {
        let is_fact_on_the_way = self.on_the_way.values().any(|post| matches!(post, Post::Fact(_)));
        let may_go = match self.queue.front()? {
            Post::Fact(_) => self.on_the_way.is_empty(),
            _ => !is_fact_on_the_way && self.on_the_way.len() < WINDOW,
        };
        if may_go { self.queue.pop_front() } else { None }
    }
}

/// What a leader would write into the run's events.
fn tell(post: &Post) {
    if let Post::Fact(fact) = post {
        tracing::info!(fact = ?fact.fact, "nobody leads this node");
    }
}

/// Whether the leader has it, or will never take it.
async fn send(inbox: &InboxHandle, post: Post) -> bool {
    let sent = match post {
        Post::Batch(batch) => inbox.batch((*batch).clone()).await.map(drop),
        Post::Fact(fact) => inbox.fact((*fact).clone()).await.map(drop),
        Post::Reading(reading) => inbox.reading((*reading).clone()).await,
        Post::Logs(logs) => inbox.logs((*logs).clone()).await,
    };
    match sent {
        // A last line or sample may come when the run is over; no batch does.
        Ok(()) | Err(WireError::Over) => true,
        Err(WireError::TimedOut | WireError::Unreachable | WireError::NotNow(_)) => false,
        Err(error @ (WireError::Refused(_) | WireError::Undecodable(_) | WireError::TooLarge { .. })) => {
            tracing::error!(%error, "the leader refuses a post");
            true
        }
    }
}
