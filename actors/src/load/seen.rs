//! What is seen of one answer, and the row it comes to.

use hb_core::{
    record::{Kind, Outcome, Record, Stage, TokensSource},
    units::Nanos,
};
use hb_services::protocol::{Answer, Progress};

use super::{answer_gaps::AnswerGaps, ledger::Due};

/// Gaps are handed over when there are so many…
const GAPS_HELD: usize = 32;
/// …or the first of them is so old.
const GAPS_HELD_NANOS: u64 = 250_000_000;

/// What has been seen of an answer; it survives the attempt that is given up.
pub(super) struct Seen<'a> {
    pub due: &'a Due,
    pub first: Option<Nanos>,
    pub last: Option<Nanos>,
    pub over: Option<Nanos>,
    /// How long its connection took to be opened, if it opened one.
    pub connect: Option<Nanos>,
    has_reasoned: bool,
    /// The first output, with reasoning before it or without.
    first_output: Option<Nanos>,
    events: u32,
    tokens: u32,
    first_tokens: Option<u32>,
    pub status: Option<u16>,
    pub attempts: u8,
    pub answer: Option<Answer>,
    gaps: AnswerGaps,
    handed: Nanos,
    /// Tokens and bytes that were read and not handed over.
    uncounted: (u64, u64),
}

impl<'a> Seen<'a> {
    pub fn new(due: &'a Due) -> Self {
        Self {
            due,
            first: None,
            last: None,
            over: None,
            connect: None,
            has_reasoned: false,
            first_output: None,
            events: 0,
            tokens: 0,
            first_tokens: None,
            status: None,
            attempts: 0,
            answer: None,
            gaps: due.book().place_for_gaps(due.index),
            handed: Nanos(0),
            uncounted: (0, 0),
        }
    }

    /// So many bytes of the body were read, which had this in them.
    pub fn content(&mut self, at: Nanos, bytes: usize, progress: Progress) {
        self.uncounted.1 += bytes as u64;
        if progress.is_over && self.over.is_none() {
            self.over = Some(at);
        }
        if progress.events == 0 {
            return;
        }
        if self.first_output.is_none() {
            self.has_reasoned |= progress.has_reasoning;
            self.first_output = progress.has_output.then_some(at);
        }
        let tokens = progress.tokens.unwrap_or(progress.events);
        let gap = match self.last {
            Some(last) => Some((at.0.saturating_sub(last.0), progress.tokens, progress.events)),
            None => {
                (self.first, self.first_tokens, self.handed) = (Some(at), progress.tokens, at);
                // What came together with the first event came without a gap.
                let more = progress.events - 1;
                (more > 0).then(|| (0, progress.tokens.map(|tokens| tokens.min(more)), more))
            }
        };
        self.last = Some(at);
        self.events += progress.events;
        self.tokens += tokens;
        self.uncounted.0 += u64::from(tokens);
        if let Some((nanos, tokens, events)) = gap.filter(|_| self.due.stage == Stage::Measure) {
            self.gaps.push(nanos, tokens, events);
        }
        if self.gaps.unhanded() >= GAPS_HELD || at.0.saturating_sub(self.handed.0) > GAPS_HELD_NANOS {
            self.hand_over(at);
        }
    }

    fn hand_over(&mut self, at: Nanos) {
        self.handed = at;
        let (tokens, bytes) = std::mem::take(&mut self.uncounted);
        self.due.book().count_read(tokens, bytes);
        if self.gaps.unhanded() > 0 {
            self.due.book().gaps(self.due.index, &mut self.gaps);
        }
    }

    pub fn into_row(mut self, kind: Option<Kind>, asked_tokens: u32, server: u32, now: Nanos) -> Record {
        self.hand_over(now);
        let answer = self.answer.unwrap_or_default();
        let outcome = outcome(kind);
        // An answer in one piece has no events to count by.
        let counted = (self.tokens > 0).then_some((self.tokens, TokensSource::Events));
        let (output_tokens, tokens_source) = match answer.output_tokens {
            Some(tokens) => (Some(tokens), answer.source),
            None => (counted.map(|(tokens, _)| tokens), counted.map(|(_, source)| source)),
        };
        // A model may be at its end where the asked length is.
        let has_all = tokens_source == Some(TokensSource::Usage) && output_tokens.is_some_and(|tokens| tokens >= asked_tokens);
        let first_chunk_tokens = answer.first_chunk_tokens.or(self.first_tokens.filter(|tokens| *tokens > 0));
        let after_first = output_tokens.map(|tokens| tokens.saturating_sub(first_chunk_tokens.unwrap_or(1)));
        self.due.book().token_gaps(self.due.index, self.gaps, after_first);
        Record {
            first: self.first,
            last: self.last,
            end: Some(self.over.unwrap_or(now)),
            outcome,
            kind,
            input_tokens: answer.input_tokens,
            output_tokens,
            cached_tokens: answer.cached_tokens,
            asked_tokens,
            chunks: self.events,
            first_chunk_tokens,
            tokens_source,
            server: u16::try_from(server).ok(),
            status: self.status,
            stopped_early: answer.stopped_early && !has_all,
            ended_in_reasoning: answer.is_reasoning_alone,
            hidden_reasoning_tokens: answer.hidden_reasoning_tokens,
            attempts: self.attempts,
            fingerprint: answer.fingerprint,
            connect: self.connect,
            first_output: self.first_output.filter(|_| self.has_reasoned),
            ..Record::unsent(self.due.index, self.due.stage, self.due.due, outcome, Kind::Reset)
        }
    }
}

/// The outcome that a kind belongs to.
pub(super) fn outcome(kind: Option<Kind>) -> Outcome {
    match kind {
        None => Outcome::Completed,
        Some(Kind::ConnectTimeout | Kind::FirstByteTimeout | Kind::BetweenChunksTimeout | Kind::TotalTimeout) => {
            Outcome::TimedOut
        }
        Some(Kind::DrainEnded | Kind::Stopped) => Outcome::Cancelled,
        Some(Kind::MaxInFlight | Kind::SenderLate) => Outcome::Dropped,
        Some(Kind::ExecutorLost | Kind::NodeLost) => Outcome::Lost,
        Some(_) => Outcome::Failed,
    }
}
