//! One row for each request that was due, and the one outcome it ended in.

use std::{fmt, str::FromStr};

use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{self, SeqAccess, Visitor},
};

use crate::units::{Nanos, Span};

/// A request that leaves no later than so long after it was due leaves in time.
pub const SENT_IN_TIME: Nanos = Nanos(10_000_000);
/// A client of a closed loop whose server cannot be reached, or turns it away, waits so long: neither a dead server nor a full
/// one is stormed.
pub const TURNED_AWAY_PAUSE: Span = Span(std::time::Duration::from_millis(100));

/// The part of a trial in which a request was due.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    /// Before the measured window.
    Warmup,
    /// In the measured window.
    Measure,
}

/// How a request that was due ended. Exactly one of these is true of each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// A whole answer with its end mark and at least one token.
    Completed,
    /// The server or the network failed it; the kind says how.
    Failed,
    /// One of our own deadlines ran out; the kind says which.
    TimedOut,
    /// Given up by us: still in flight when the drain ended, or the run was stopped.
    Cancelled,
    /// Never sent; the kind is the cause.
    Dropped,
    /// The executor or node that was to account for it is gone.
    Lost,
}

/// The kinds without a number, each with its meaning and its stable text, so that none can lack one.
macro_rules! kinds {
    ($($(#[$meaning:meta])* $kind:ident => $text:literal,)*) => {
        /// Why a request did not complete. Its text is the key in `accounting.failed` and in the rows.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Kind {
            $($(#[$meaning])* $kind,)*
            /// An HTTP status other than 2xx.
            Http(u16),
        }

        impl Kind {
            /// Every kind; of the HTTP statuses 429 alone.
            pub fn all() -> impl Iterator<Item = Self> {
                [$(Self::$kind,)* Self::Http(429)].into_iter()
            }
        }

        impl fmt::Display for Kind {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                match self {
                    $(Self::$kind => f.write_str($text),)*
                    Self::Http(status) => write!(f, "http_{status}"),
                }
            }
        }

        impl FromStr for Kind {
            type Err = UnknownKind;

            fn from_str(text: &str) -> Result<Self, UnknownKind> {
                let status = text.strip_prefix("http_").and_then(|digits| digits.parse().ok());
                match text {
                    $($text => Ok(Self::$kind),)*
                    _ => status.map(Self::Http).ok_or_else(|| UnknownKind(text.to_owned())),
                }
            }
        }
    };
}

kinds! {
    /// The connection could not be opened.
    Connect => "connect",
    /// The server's name has no address.
    Resolve => "resolve",
    /// The TLS handshake failed.
    Tls => "tls",
    /// This machine has no open file or no port left for a connection; no fault of the server.
    ClientLimit => "client_limit",
    /// The connection was reset or closed before an answer began.
    Reset => "reset",
    /// The answer's bytes are not HTTP.
    Protocol => "protocol",
    /// The prompt does not fit the model's context (the server's 400 says so).
    ContextLength => "context_length",
    /// The connection was closed in the middle of an answer.
    Truncated => "truncated",
    /// The body ended as it should, and the answer's own end mark is missing.
    NoEndMark => "no_end_mark",
    /// The connection was reset in the middle of an answer.
    ResetMidway => "reset_midway",
    /// An error event or object inside an answer that had status 200.
    ErrorEvent => "error_event",
    /// The server itself gave up the answer (`finish_reason: abort`).
    Aborted => "aborted",
    /// A whole answer without a single token.
    NoToken => "no_token",
    /// An event that is not UTF-8 or not JSON.
    Malformed => "malformed",
    /// A line or an answer longer than the limit.
    Oversize => "oversize",
    /// The deadline for the connection.
    ConnectTimeout => "connect_timeout",
    /// The deadline from sending to the first byte of content.
    FirstByteTimeout => "first_byte_timeout",
    /// The deadline between two pieces of content.
    BetweenChunksTimeout => "between_chunks_timeout",
    /// The deadline for the whole request.
    TotalTimeout => "total_timeout",
    /// Still in flight when the drain ended.
    DrainEnded => "drain_ended",
    /// The run was stopped.
    Stopped => "stopped",
    /// Held back by `max_in_flight` until the window ended.
    MaxInFlight => "max_in_flight",
    /// The sender itself never came to it before the window ended.
    SenderLate => "sender_late",
    /// Its executor failed or restarted.
    ExecutorLost => "executor_lost",
    /// Its node was lost.
    NodeLost => "node_lost",
    /// Its server is gone, and what was in flight there was given up.
    ServerLost => "server_lost",
}

/// A text that names no kind.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a kind of failure")]
pub struct UnknownKind(pub String);

impl Serialize for Kind {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Kind {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// Where a count of tokens comes from, best first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TokensSource {
    /// The server's own `usage` or `eval_count`.
    Usage,
    /// One token for each event that carried content.
    Events,
}

/// A request's place in a conversation. On the wire it is an array.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "(u64, u32, u32)", into = "(u64, u32, u32)")]
pub struct Turn {
    /// The conversation, in an order of its own over all nodes.
    pub conversation: u64,
    /// The place in it, from 0.
    pub turn: u32,
    /// How many turns it is to have.
    pub of: u32,
}

impl Turn {
    /// Whether the conversation ends with it.
    #[must_use]
    pub fn is_last(self) -> bool {
        self.turn >= self.of.saturating_sub(1)
    }
}

impl From<(u64, u32, u32)> for Turn {
    fn from((conversation, turn, of): (u64, u32, u32)) -> Self {
        Self { conversation, turn, of }
    }
}

impl From<Turn> for (u64, u32, u32) {
    fn from(Turn { conversation, turn, of }: Turn) -> Self {
        (conversation, turn, of)
    }
}

/// One request that was due. Instants are [`Nanos`] since the trial's start; one that never came is
/// `None` and never zero.
///
/// On the wire it is an array, not a map: a batch of a thousand stays under 64 KiB.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// The request's place in the trial's global order, over all nodes.
    pub index: u64,
    /// The part of the trial in which it was due.
    pub stage: Stage,
    /// When the schedule asked for it; in a closed loop, when its slot became free.
    pub due: Nanos,
    /// Just before its first byte was written.
    pub sent: Option<Nanos>,
    /// When the bytes with the first token were read.
    pub first: Option<Nanos>,
    /// When the bytes with the last token were read.
    pub last: Option<Nanos>,
    /// When it was over, whatever came.
    pub end: Option<Nanos>,
    /// How it ended.
    pub outcome: Outcome,
    /// Why it did not complete; `None` exactly when it completed.
    pub kind: Option<Kind>,
    /// Prompt tokens, as counted by `tokens_source`.
    pub input_tokens: Option<u32>,
    /// Answer tokens, as counted by `tokens_source`; reasoning counts.
    pub output_tokens: Option<u32>,
    /// Prompt tokens the server took from its cache, where it says so.
    pub cached_tokens: Option<u32>,
    /// Answer tokens that were asked for.
    pub asked_tokens: u32,
    /// Events that carried content.
    pub chunks: u32,
    /// Tokens in the first such event, where the server tells it (else 1 is assumed).
    pub first_chunk_tokens: Option<u32>,
    /// Who counted the tokens.
    pub tokens_source: Option<TokensSource>,
    /// The server's ordinal.
    pub server: Option<u16>,
    /// The HTTP status, where one came.
    pub status: Option<u16>,
    /// Whether the model stopped before the asked length (`finish_reason: stop`).
    pub stopped_early: bool,
    /// How often it was put on a connection; more than once only where a kept connection was found closed before a byte of
    /// the answer.
    pub attempts: u8,
    /// Whether another model answered than was asked, by the answer's own word.
    pub is_other_model: bool,
    /// A number for the beginning of the answer's text, by which answers that are alike are seen.
    pub fingerprint: Option<u32>,
    /// Its place in a conversation; `None` where it stands alone.
    pub turn: Option<Turn>,
    /// How long its connection took to be opened: name, TCP and TLS together; `None` where it opened none.
    pub connect: Option<Nanos>,
    /// When the bytes with the first token that is no reasoning were read; `None` where no reasoning came before it.
    pub first_output: Option<Nanos>,
    /// Tokens that its prompts were made to have together; `None` where nobody asked for a length.
    pub asked_input_tokens: Option<u32>,
    /// Whether its answer is reasoning alone: no output came.
    pub ended_in_reasoning: bool,
    /// Answer tokens that the server counts as reasoning, of an answer that showed none; `None` where it tells of none.
    pub hidden_reasoning_tokens: Option<u32>,
    /// How long `max_in_flight` held it back after it was due; `None` where nothing bounds what is in flight.
    pub held: Option<Nanos>,
}

impl Record {
    /// A request that never left, with the cause.
    #[must_use]
    pub fn unsent(index: u64, stage: Stage, due: Nanos, outcome: Outcome, kind: Kind) -> Self {
        Self {
            index,
            stage,
            due,
            sent: None,
            first: None,
            last: None,
            end: None,
            outcome,
            kind: Some(kind),
            input_tokens: None,
            output_tokens: None,
            cached_tokens: None,
            asked_tokens: 0,
            chunks: 0,
            first_chunk_tokens: None,
            tokens_source: None,
            server: None,
            status: None,
            stopped_early: false,
            attempts: 0,
            is_other_model: false,
            fingerprint: None,
            turn: None,
            connect: None,
            first_output: None,
            asked_input_tokens: None,
            ended_in_reasoning: false,
            hidden_reasoning_tokens: None,
            held: None,
        }
    }

    /// Time from sending to the first token, in seconds.
    #[must_use]
    pub fn ttft(&self) -> Option<f64> {
        Some(self.first?.since(self.sent?).as_secs_f64())
    }

    /// Time from sending to the first token that is no reasoning, in seconds; of answers that begin with reasoning.
    #[must_use]
    pub fn ttfot(&self) -> Option<f64> {
        Some(self.first_output?.since(self.sent?).as_secs_f64())
    }

    /// Time from the due instant to the first token, in seconds.
    #[must_use]
    pub fn ttft_scheduled(&self) -> Option<f64> {
        Some(self.first?.since(self.due).as_secs_f64())
    }

    /// Time from sending to the last token, in seconds.
    #[must_use]
    pub fn e2el(&self) -> Option<f64> {
        Some(self.last?.since(self.sent?).as_secs_f64())
    }

    /// Time from the due instant to the last token, in seconds.
    #[must_use]
    pub fn e2el_scheduled(&self) -> Option<f64> {
        Some(self.last?.since(self.due).as_secs_f64())
    }

    /// Time from the due instant to sending, in seconds.
    #[must_use]
    pub fn dispatch_delay(&self) -> Option<f64> {
        Some(self.sent?.since(self.due).as_secs_f64())
    }

    /// Time from the due instant until `max_in_flight` let it go, in seconds.
    #[must_use]
    pub fn queue_delay(&self) -> Option<f64> {
        self.sent.and(self.held).map(Nanos::as_secs_f64)
    }

    /// Time from when `max_in_flight` let it go to sending, in seconds: the client's own.
    #[must_use]
    pub fn client_delay(&self) -> Option<f64> {
        let delay = self.sent?.0.saturating_sub(self.due.0);
        Some(Nanos(delay.saturating_sub(self.held?.0)).as_secs_f64())
    }

    /// Time from the due instant to sending that its connection did not take to be opened.
    #[must_use]
    pub fn sender_delay(&self) -> Option<Nanos> {
        Some(Nanos(self.sent?.0.saturating_sub(self.due.0).saturating_sub(self.connect.map_or(0, |connect| connect.0))))
    }

    /// Time per token after the first event's, in seconds; undefined below two tokens.
    #[must_use]
    pub fn tpot(&self) -> Option<f64> {
        let after_first = self.output_tokens?.checked_sub(self.first_chunk_tokens.unwrap_or(1).max(1))?;
        (after_first > 0).then_some(())?;
        Some(self.last?.since(self.first?).as_secs_f64() / f64::from(after_first))
    }
}

/// The parts of [`Record`] as they stand on the wire, in field order. The last ones are left out where they tell nothing, and
/// in batches that are older than they: most requests go over a connection that was there, and begin without reasoning.
type Times = (u64, Stage, Nanos, Option<Nanos>, Option<Nanos>, Option<Nanos>, Option<Nanos>, Outcome, Option<Kind>);
type Tokens = (Option<u32>, Option<u32>, Option<u32>, u32, u32, Option<u32>, Option<TokensSource>);
type Rest = (Option<u16>, Option<u16>, bool, u8, bool, Option<u32>, Option<Turn>);
type Seldom = (Option<Nanos>, Option<Nanos>);
type Thought = (bool, Option<u32>);

impl Serialize for Record {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let times: Times =
            (self.index, self.stage, self.due, self.sent, self.first, self.last, self.end, self.outcome, self.kind);
        let tokens: Tokens = (
            self.input_tokens,
            self.output_tokens,
            self.cached_tokens,
            self.asked_tokens,
            self.chunks,
            self.first_chunk_tokens,
            self.tokens_source,
        );
        let rest: Rest =
            (self.server, self.status, self.stopped_early, self.attempts, self.is_other_model, self.fingerprint, self.turn);
        let seldom: Seldom = (self.connect, self.first_output);
        let thought: Thought = (self.ended_in_reasoning, self.hidden_reasoning_tokens);
        match (seldom, self.asked_input_tokens, thought, self.held) {
            ((None, None), None, (false, None), None) => (times, tokens, rest).serialize(serializer),
            (seldom, None, (false, None), None) => (times, tokens, rest, seldom).serialize(serializer),
            (seldom, asked, (false, None), None) => (times, tokens, rest, seldom, asked).serialize(serializer),
            (seldom, asked, thought, None) => (times, tokens, rest, seldom, asked, thought).serialize(serializer),
            (seldom, asked, thought, held) => (times, tokens, rest, seldom, asked, thought, held).serialize(serializer),
        }
    }
}

/// Reads the parts of a row, of which the last four may be missing.
struct Parts;

impl<'de> Visitor<'de> for Parts {
    type Value = (Times, Tokens, Rest, Seldom, Option<u32>, Thought, Option<Nanos>);

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a row of three to seven parts")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut parts: A) -> Result<Self::Value, A::Error> {
        let missing = |place| de::Error::invalid_length(place, &self);
        Ok((
            parts.next_element()?.ok_or_else(|| missing(0))?,
            parts.next_element()?.ok_or_else(|| missing(1))?,
            parts.next_element()?.ok_or_else(|| missing(2))?,
            parts.next_element()?.unwrap_or_default(),
            parts.next_element()?.unwrap_or_default(),
            parts.next_element()?.unwrap_or_default(),
            parts.next_element()?.unwrap_or_default(),
        ))
    }
}

impl<'de> Deserialize<'de> for Record {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (times, tokens, rest, seldom, asked_input_tokens, thought, held) = deserializer.deserialize_seq(Parts)?;
        let (index, stage, due, sent, first, last, end, outcome, kind) = times;
        let (input_tokens, output_tokens, cached_tokens, asked_tokens, chunks, first_chunk_tokens, tokens_source) = tokens;
        let (server, status, stopped_early, attempts, is_other_model, fingerprint, turn) = rest;
        let (connect, first_output) = seldom;
        let (ended_in_reasoning, hidden_reasoning_tokens) = thought;
        Ok(Self {
            index,
            stage,
            due,
            sent,
            first,
            last,
            end,
            outcome,
            kind,
            input_tokens,
            output_tokens,
            cached_tokens,
            asked_tokens,
            chunks,
            first_chunk_tokens,
            tokens_source,
            server,
            status,
            stopped_early,
            attempts,
            is_other_model,
            fingerprint,
            turn,
            connect,
            first_output,
            asked_input_tokens,
            ended_in_reasoning,
            hidden_reasoning_tokens,
            held,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_is_read_back_from_its_text() {
        for kind in Kind::all().chain([Kind::Http(500)]) {
            assert_eq!(kind.to_string().parse(), Ok(kind));
        }
        assert!("http_".parse::<Kind>().is_err());
    }

    #[test]
    fn a_missing_stamp_gives_no_latency() {
        let record = Record::unsent(7, Stage::Measure, Nanos(5), Outcome::Dropped, Kind::MaxInFlight);
        assert_eq!((record.ttft(), record.e2el(), record.tpot(), record.dispatch_delay()), (None, None, None, None));
    }

    #[test]
    fn a_record_survives_the_wire_in_under_115_bytes() {
        let mut record = Record::unsent(1 << 40, Stage::Measure, Nanos(60_000_000_000), Outcome::Completed, Kind::Connect);
        record.kind = None;
        (record.sent, record.first) = (Some(Nanos(60_000_100_000)), Some(Nanos(60_050_000_000)));
        (record.last, record.end) = (Some(Nanos(61_000_000_000)), Some(Nanos(61_000_000_100)));
        (record.input_tokens, record.output_tokens, record.server, record.status) = (Some(128), Some(64), Some(0), Some(200));
        record.fingerprint = Some(u32::MAX);
        record.turn = Some(Turn { conversation: 1 << 30, turn: 3, of: 8 });
        let bytes = rmp_serde::to_vec_named(&record).unwrap();
        assert_eq!(rmp_serde::from_slice::<Record>(&bytes).unwrap(), record);
        assert!(bytes.len() < 115, "{} bytes", bytes.len());

        // What is seldom there costs only where it is.
        let opened = Record { connect: Some(Nanos(180_000)), ..record.clone() };
        let longer = rmp_serde::to_vec_named(&opened).unwrap();
        assert_eq!(rmp_serde::from_slice::<Record>(&longer).unwrap(), opened);
        assert!(longer.len() <= bytes.len() + 7, "{} bytes", longer.len());
        let asked = Record { asked_input_tokens: Some(4_000), ..record.clone() };
        let longer = rmp_serde::to_vec_named(&asked).unwrap();
        assert_eq!(rmp_serde::from_slice::<Record>(&longer).unwrap(), asked);
        assert!(longer.len() <= bytes.len() + 6, "{} bytes", longer.len());
        for thought in [
            Record { first_output: Some(Nanos(60_500_000_000)), ..record.clone() },
            Record { ended_in_reasoning: true, ..record.clone() },
            Record { hidden_reasoning_tokens: Some(48), asked_input_tokens: Some(4_000), ..record.clone() },
            Record { held: Some(Nanos(0)), ..record },
        ] {
            assert_eq!(rmp_serde::from_slice::<Record>(&rmp_serde::to_vec_named(&thought).unwrap()).unwrap(), thought);
        }
    }

    #[test]
    fn a_row_of_an_older_batch_is_read_and_a_shorter_one_refused() {
        let times = (7, Stage::Measure, 5, Some(6), Some(8), Some(9), Some(9), Outcome::Completed, None::<Kind>);
        let tokens = (Some(3), Some(2), None::<u32>, 2, 2, None::<u32>, Some(TokensSource::Usage));
        let rest = (Some(0), Some(200), false, 1, false, None::<u32>, None::<Turn>);
        let old = rmp_serde::to_vec_named(&(times, tokens, rest)).unwrap();
        let record: Record = rmp_serde::from_slice(&old).unwrap();
        assert_eq!((record.index, record.status, record.connect, record.first_output), (7, Some(200), None, None));
        assert_eq!((record.ended_in_reasoning, record.hidden_reasoning_tokens), (false, None));
        assert_eq!(rmp_serde::to_vec_named(&record).unwrap(), old, "it stands there as it did");
        let short = rmp_serde::to_vec_named(&(times, tokens)).unwrap();
        assert!(rmp_serde::from_slice::<Record>(&short).unwrap_err().to_string().contains("three to seven parts"));
    }

    #[test]
    fn output_has_its_own_time_where_reasoning_came_first() {
        let mut record = Record::unsent(7, Stage::Measure, Nanos(0), Outcome::Completed, Kind::Connect);
        (record.sent, record.first) = (Some(Nanos(1_000_000_000)), Some(Nanos(1_100_000_000)));
        assert_eq!(record.ttfot(), None);
        record.first_output = Some(Nanos(3_000_000_000));
        assert_eq!((record.ttft(), record.ttfot()), (Some(0.1), Some(2.0)));
    }
}
