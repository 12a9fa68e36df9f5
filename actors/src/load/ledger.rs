//! What a share owes: every request that was due, until it has ended in exactly one outcome.
//!
//! A [`Due`] is made when a request is due and consumed by its outcome. One that is dropped without an outcome (its
//! task panicked or was aborted) stays open, and [`Ledger::bury`] turns it into a `lost` row. A past epoch's tasks can
//! write nothing any more.

use std::{
    collections::HashMap,
    mem,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use hb_core::{
    batch::{Batch, BatchKey, ClientHealth, MAX_BATCH_BYTES, Open, Source, Unread},
    facts::Fact,
    record::{Kind, Outcome, Record, Stage, Turn},
    schedule::Numbers,
    units::Nanos,
};

use super::{
    answer_gaps::AnswerGaps,
    health::Lags,
    inflow::{Inflow, Taken},
    messages::Messages,
};

/// More than a record takes on the wire: every field at its longest.
const RECORD_BYTES: usize = 218;
/// More than an open request takes.
const OPEN_BYTES: usize = 96;
/// More than a batch's own field names and numbers take, names of trial and node apart.
const FRAME_BYTES: usize = 1024;

/// The accounts of one executor over all its lives.
pub struct Ledger {
    books: Mutex<Books>,
    inflow: Inflow,
    pub(super) lags: Mutex<Lags>,
    unread: Mutex<Unread>,
    messages: Mutex<Messages>,
    progress: AtomicU64,
}

struct Books {
    source: Source,
    seq: u64,
    window_start: Nanos,
    open: HashMap<u64, Open>,
    untold: Vec<u64>,
    records: Vec<Record>,
    in_flight: u32,
    next_turn: u64,
    next_conversation: u64,
    measured: u64,
    next_scheduled: u64,
}

/// What a dead executor leaves.
#[derive(Debug)]
pub struct Buried {
    /// The last batches of its life.
    pub batches: Vec<Batch>,
    /// Requests that were open and are lost.
    pub lost: u64,
}

impl Ledger {
    /// Empty accounts of `source`.
    #[must_use]
    pub fn new(source: Source) -> Arc<Self> {
        let books = Books {
            source,
            seq: 0,
            window_start: Nanos(0),
            open: HashMap::new(),
            untold: Vec::new(),
            records: Vec::new(),
            in_flight: 0,
            next_turn: 0,
            next_conversation: 0,
            measured: 0,
            next_scheduled: 0,
        };
        Arc::new(Self {
            books: Mutex::new(books),
            inflow: Inflow::new(),
            lags: Mutex::new(Lags::default()),
            unread: Mutex::default(),
            messages: Mutex::default(),
            progress: AtomicU64::new(0),
        })
    }

    /// The life that is now.
    #[must_use]
    pub fn epoch(&self) -> u32 {
        self.books().source.epoch
    }

    /// Moves as long as the load's runtime does.
    #[must_use]
    pub fn progress(&self) -> u64 {
        self.progress.load(Ordering::Relaxed)
    }

    /// Requests on a connection.
    #[must_use]
    pub fn in_flight(&self) -> u32 {
        self.books().in_flight
    }

    /// What servers said about failed requests, the first of each kind, as sentences; each is told once.
    #[must_use]
    pub fn take_messages(&self) -> Vec<Fact> {
        self.messages.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// The load joins its trial so long after its start: its first window begins there.
    pub fn joins(&self, since: Nanos) {
        let mut books = self.books();
        books.window_start = books.window_start.max(since);
    }

    /// Cuts the window at `now`. Only the last batch of the last cut says so.
    #[must_use]
    pub fn cut(&self, now: Nanos, is_last: bool) -> Vec<Batch> {
        let (gaps, health) = self.take();
        let mut books = self.books();
        let health = ClientHealth { in_flight: books.in_flight, ..health };
        books.cut(now, is_last, gaps, health)
    }

    /// Ends this life: what is open is lost, and the next life begins.
    #[must_use]
    pub fn bury(&self, now: Nanos) -> Buried {
        let (gaps, health) = self.take();
        let mut books = self.books();
        let mut open: Vec<Open> = books.open.drain().map(|(_, open)| open).collect();
        open.sort_by_key(|open| open.index);
        books.records.extend(open.iter().map(|open| open.lost(Kind::ExecutorLost)));
        books.in_flight = 0;
        let batches = books.cut(now, true, gaps, health);
        books.source.epoch += 1;
        books.seq = 0;
        Buried { batches, lost: open.len() as u64 }
    }

    pub(super) fn book(self: &Arc<Self>) -> Book {
        Book { epoch: self.epoch(), ledger: self.clone() }
    }

    /// ITL and ICL, and how the client did, since the last window.
    fn take(&self) -> ([Vec<u8>; 2], ClientHealth) {
        let health = self.lags.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Taken { itl, icl, tokens, bytes } = self.inflow.take();
        let seen = mem::take(&mut *self.unread.lock().unwrap_or_else(PoisonError::into_inner));
        let unread = Unread { read_bytes: bytes, ..seen };
        ([itl, icl], ClientHealth { tokens_read: tokens, unread, ..health })
    }

    /// So many bytes of answers lie unread in the receive queues.
    pub(super) fn saw_unread(&self, bytes: u64) {
        self.unread.lock().unwrap_or_else(PoisonError::into_inner).saw(bytes);
    }

    pub(super) fn moved(&self) {
        self.progress.fetch_add(1, Ordering::Relaxed);
    }

    fn books(&self) -> MutexGuard<'_, Books> {
        // Every change to the books is whole before anything can panic.
        self.books.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Books {
    fn open(&mut self, open: Open) {
        let index = open.index;
        let before = self.open.insert(index, open);
        assert!(before.is_none(), "an index is given out once");
        self.untold.push(index);
    }

    fn cut(&mut self, now: Nanos, is_last: bool, gaps: [Vec<u8>; 2], health: ClientHealth) -> Vec<Batch> {
        let mut records = mem::take(&mut self.records).into_iter().peekable();
        let opened: Vec<Open> = mem::take(&mut self.untold).iter().filter_map(|index| self.open.get(index).copied()).collect();
        let mut opened = opened.into_iter().peekable();
        let [itl, icl] = gaps;
        // Each histogram stays far below the limit alone; both together need not.
        let mut gaps = if itl.len() + icl.len() <= MAX_BATCH_BYTES / 2 {
            vec![(itl, icl)]
        } else {
            vec![(itl, Vec::new()), (Vec::new(), icl)]
        }
        .into_iter()
        .peekable();
        let frame = FRAME_BYTES + self.source.trial.as_str().len() + self.source.node.as_str().len();
        let mut batches = Vec::new();
        while batches.is_empty() || records.peek().is_some() || opened.peek().is_some() || gaps.peek().is_some() {
            let (itl, icl) = gaps.next().unwrap_or_default();
            let room = MAX_BATCH_BYTES.saturating_sub(frame + itl.len() + icl.len());
            let records: Vec<Record> = records.by_ref().take(room / RECORD_BYTES).collect();
            let room = room - records.len() * RECORD_BYTES;
            let opened: Vec<Open> = opened.by_ref().take(room / OPEN_BYTES).collect();
            let health =
                if batches.is_empty() { health } else { ClientHealth { in_flight: health.in_flight, ..Default::default() } };
            batches.push(Batch {
                key: BatchKey { source: self.source.clone(), seq: self.seq },
                span: (self.window_start, now),
                counts: Batch::counted(&records),
                records,
                opened,
                itl,
                icl,
                health,
                is_last: false,
            });
            self.seq += 1;
        }
        if let Some(last) = batches.last_mut() {
            last.is_last = is_last;
        }
        self.window_start = now;
        batches
    }
}

/// One life's pen.
#[derive(Clone)]
pub(super) struct Book {
    ledger: Arc<Ledger>,
    epoch: u32,
}

impl Book {
    /// The books, while this life lasts.
    fn books(&self) -> Option<MutexGuard<'_, Books>> {
        self.ledger.moved();
        Some(self.ledger.books()).filter(|books| books.source.epoch == self.epoch)
    }

    pub fn epoch(&self) -> u32 {
        self.epoch
    }

    pub fn gaps(&self, index: u64, gaps: &mut AnswerGaps) {
        self.ledger.inflow.add(index, gaps);
    }

    pub fn place_for_gaps(&self, index: u64) -> AnswerGaps {
        self.ledger.inflow.place(index)
    }

    pub fn token_gaps(&self, index: u64, gaps: AnswerGaps, after_first: Option<u32>) {
        self.ledger.inflow.add_tokens(index, gaps, after_first);
    }

    /// A server said something about a failed request.
    pub fn told(&self, kind: Kind, message: &str, server: &str) {
        self.ledger.messages.lock().unwrap_or_else(PoisonError::into_inner).add(kind, message, server);
    }

    /// This machine has no file or port left for a connection.
    pub fn no_connection_left(&self) {
        self.ledger.messages.lock().unwrap_or_else(PoisonError::into_inner).no_connection_left();
    }

    /// A server answered for another model than was asked.
    pub fn other_model(&self, asked: &str, answered: &str, server: &str) {
        self.ledger.messages.lock().unwrap_or_else(PoisonError::into_inner).other_model(asked, answered, server);
    }

    pub fn count_read(&self, tokens: u64, bytes: u64) {
        self.ledger.inflow.count(tokens, bytes);
    }

    /// The number of the next conversation of a closed loop.
    pub fn next_conversation(&self, numbers: &Numbers) -> Option<u64> {
        let mut books = self.books()?;
        let number = numbers.at(books.next_conversation);
        books.next_conversation += 1;
        Some(number)
    }

    /// The next request of a closed loop, which may be a turn of a conversation; `None` once `limit` measured ones were
    /// given out.
    pub fn open_next(&self, stage: Stage, due: Nanos, numbers: &Numbers, limit: Option<u64>, turn: Option<Turn>) -> Option<Due> {
        let mut books = self.books()?;
        if stage == Stage::Measure {
            if limit.is_some_and(|limit| books.measured >= limit) {
                return None;
            }
            books.measured += 1;
        }
        let index = numbers.at(books.next_turn);
        books.next_turn += 1;
        books.open(Open { index, stage, due, sent: None, turn });
        Some(Due { book: self.clone(), index, stage, due, held: None })
    }

    /// A scheduled request.
    pub fn open_scheduled(&self, index: u64, stage: Stage, due: Nanos) -> Option<Due> {
        let mut books = self.books()?;
        books.next_scheduled = index + 1;
        books.open(Open { index, stage, due, sent: None, turn: None });
        Some(Due { book: self.clone(), index, stage, due, held: None })
    }

    /// The first index that this and former lives have not come to.
    pub fn next_scheduled(&self) -> u64 {
        self.books().map_or(u64::MAX, |books| books.next_scheduled)
    }
}

/// A request that was due. It must be ended; dropped, it stays open.
#[must_use = "a request that was due ends in exactly one outcome"]
pub struct Due {
    book: Book,
    /// Its index.
    pub(super) index: u64,
    /// Its stage.
    pub(super) stage: Stage,
    /// When it is due.
    pub(super) due: Nanos,
    /// How long `max_in_flight` held it back.
    held: Option<Nanos>,
}

impl Due {
    pub(super) fn book(&self) -> &Book {
        &self.book
    }

    /// The same, held back so long by `max_in_flight`.
    pub(super) fn held(self, held: Nanos) -> Self {
        Self { held: Some(held), ..self }
    }

    /// It is about to be written. A retry keeps the first instant.
    pub(super) fn sent(&self, at: Nanos) {
        let Some(mut books) = self.book.books() else { return };
        let first = books.open.get_mut(&self.index).is_some_and(|open| open.sent.replace(open.sent.unwrap_or(at)).is_none());
        books.in_flight += u32::from(first);
    }

    /// Ends it with this row, whose index, stage and due instant are set here.
    pub(super) fn end(self, row: Record) {
        let Some(mut books) = self.book.books() else { return };
        let Some(open) = books.open.remove(&self.index) else { return };
        books.in_flight -= u32::from(open.sent.is_some());
        let Open { index, stage, due, sent, turn } = open;
        books.records.push(Record { index, stage, due, sent, turn, held: self.held, ..row });
    }

    /// Ends it unsent.
    pub(super) fn end_unsent(self, outcome: Outcome, kind: Kind) {
        let row = Record::unsent(self.index, self.stage, self.due, outcome, kind);
        self.end(row);
    }
}

#[cfg(test)]
mod tests {
    use hb_core::batch::Counts;
    use proptest::prelude::*;

    use super::*;

    fn source() -> Source {
        Source { trial: "t".into(), node: "n".into(), incarnation: 1, executor: 0, epoch: 0 }
    }

    fn numbers(first: u64, step: u64) -> Numbers {
        Numbers::new(first, step.try_into().unwrap())
    }

    #[derive(Debug, Clone)]
    enum Deed {
        Open,
        Send(usize),
        End(usize),
        Cut,
        Bury,
    }

    fn deed() -> impl Strategy<Value = Deed> {
        prop_oneof![
            6 => Just(Deed::Open),
            3 => (0usize..50).prop_map(Deed::Send),
            4 => (0usize..50).prop_map(Deed::End),
            1 => Just(Deed::Cut),
            1 => Just(Deed::Bury),
        ]
    }

    proptest! {
        #[test]
        fn whatever_was_started_ends_in_exactly_one_row(deeds in prop::collection::vec(deed(), 0..300)) {
            let ledger = Ledger::new(source());
            let (mut open, mut batches, mut started, mut ended) = (Vec::new(), Vec::new(), 0, 0);
            for (at, deed) in deeds.into_iter().enumerate() {
                let now = Nanos(at as u64);
                match deed {
                    Deed::Open => {
                        open.extend(ledger.book().open_next(Stage::Measure, now, &numbers(1, 3), None, None));
                        started += 1;
                    }
                    Deed::Send(pick) if !open.is_empty() => {
                        let due: &Due = &open[pick % open.len()];
                        due.sent(now);
                    }
                    Deed::End(pick) if !open.is_empty() => {
                        open.swap_remove(pick % open.len()).end_unsent(Outcome::Failed, Kind::Connect);
                        ended += 1;
                    }
                    Deed::Cut => batches.extend(ledger.cut(now, false)),
                    // The guards of the old life are kept a while and then ended in vain.
                    Deed::Bury => {
                        let buried = ledger.bury(now);
                        prop_assert_eq!(buried.lost, open.len() as u64);
                        batches.extend(buried.batches);
                        open.drain(..).for_each(|due| due.end_unsent(Outcome::Failed, Kind::Connect));
                    }
                    Deed::Send(_) | Deed::End(_) => {}
                }
            }
            batches.extend(ledger.bury(Nanos(1000)).batches);
            let rows: Vec<_> = batches.iter().flat_map(|batch| batch.records.clone()).collect();
            let counts = Counts::of(&rows);
            prop_assert_eq!((counts.total(), counts.failed), (started, ended));
            let mut indices: Vec<_> = rows.iter().map(|row| row.index).collect();
            indices.sort_unstable();
            prop_assert_eq!(indices, (0..started).map(|turn| 1 + 3 * turn).collect::<Vec<_>>());
            prop_assert_eq!(ledger.in_flight(), 0);
        }
    }

    #[test]
    fn a_busy_second_is_several_batches_under_the_limit() {
        let ledger = Ledger::new(source());
        let book = ledger.book();
        let late = Nanos(1 << 60);
        let mut open = Vec::new();
        for turn in 0..6000u64 {
            let due = book
                .open_next(
                    Stage::Measure,
                    late,
                    &numbers(1 << 40, 1),
                    None,
                    Some(Turn { conversation: 1 << 40, turn: u32::MAX, of: u32::MAX }),
                )
                .unwrap();
            due.sent(late);
            if turn % 2 == 0 {
                let full = u32::MAX;
                due.end(Record {
                    first: Some(late),
                    last: Some(late),
                    end: Some(late),
                    input_tokens: Some(full),
                    output_tokens: Some(full),
                    cached_tokens: Some(full),
                    asked_tokens: full,
                    chunks: full,
                    first_chunk_tokens: Some(full),
                    tokens_source: Some(hb_core::record::TokensSource::Usage),
                    server: Some(u16::MAX),
                    status: Some(599),
                    fingerprint: Some(full),
                    is_other_model: true,
                    connect: Some(late),
                    first_output: Some(late),
                    held: Some(late),
                    ..Record::unsent(0, Stage::Measure, late, Outcome::TimedOut, Kind::BetweenChunksTimeout)
                });
            } else {
                open.push(due);
            }
        }
        for nanos in 0..20_000u64 {
            let mut gaps = AnswerGaps::default();
            gaps.push(nanos * nanos * 9, None, 1);
            ledger.inflow.add(nanos, &mut gaps);
        }
        let batches = ledger.cut(late, true);
        let sizes: Vec<_> = batches.iter().map(|batch| rmp_serde::to_vec_named(batch).unwrap().len()).collect();
        assert!(sizes.iter().all(|size| *size <= MAX_BATCH_BYTES), "{sizes:?}");
        assert_eq!(batches.iter().map(|batch| batch.records.len()).sum::<usize>(), 3000);
        assert_eq!(batches.iter().map(|batch| batch.opened.len()).sum::<usize>(), 3000);
        assert!(batches.iter().enumerate().all(|(seq, batch)| batch.key.seq == seq as u64));
        assert_eq!(batches.iter().filter(|batch| batch.is_last).count(), 1);
        assert!(ledger.cut(late, true)[0].opened.is_empty(), "what is open is told once");
    }
}
