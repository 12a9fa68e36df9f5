//! A line of `requests.jsonl`: one request that was due, with who sent it.

use serde::Serialize;

use crate::{
    batch::Source,
    record::{Kind, Outcome, Record, Stage, TokensSource},
};

/// One request that was due, as `requests.jsonl` shows it. Instants are seconds since the trial's
/// start, `null` where they never came.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[expect(missing_docs, reason = "the fields are Record's, under the names that the contract fixes")]
pub struct Row<'a> {
    pub index: u64,
    pub phase: Stage,
    pub node: &'a str,
    pub executor: u32,
    pub epoch: u32,
    pub due: f64,
    pub sent: Option<f64>,
    pub first: Option<f64>,
    pub last: Option<f64>,
    pub end: Option<f64>,
    pub outcome: Outcome,
    pub kind: Option<Kind>,
    pub input_tokens: Option<u32>,
    pub output_tokens: Option<u32>,
    pub cached_tokens: Option<u32>,
    pub asked_tokens: u32,
    pub asked_input_tokens: Option<u32>,
    pub chunks: u32,
    pub tokens_source: Option<TokensSource>,
    pub server: Option<u16>,
    pub status: Option<u16>,
    pub stopped_early: bool,
    pub attempts: u8,
    pub is_other_model: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub conversation: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub turn: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub turns: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first_output: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub connect_seconds: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub held_seconds: Option<f64>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub ended_in_reasoning: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hidden_reasoning_tokens: Option<u32>,
}

impl<'a> Row<'a> {
    /// The line for this record of this source.
    #[must_use]
    pub fn of(source: &'a Source, record: &Record) -> Self {
        let seconds = |nanos: Option<crate::units::Nanos>| nanos.map(crate::units::Nanos::as_secs_f64);
        Self {
            index: record.index,
            phase: record.stage,
            node: source.node.as_str(),
            executor: source.executor,
            epoch: source.epoch,
            due: record.due.as_secs_f64(),
            sent: seconds(record.sent),
            first: seconds(record.first),
            last: seconds(record.last),
            end: seconds(record.end),
            outcome: record.outcome,
            kind: record.kind,
            input_tokens: record.input_tokens,
            output_tokens: record.output_tokens,
            cached_tokens: record.cached_tokens,
            asked_tokens: record.asked_tokens,
            asked_input_tokens: record.asked_input_tokens,
            chunks: record.chunks,
            tokens_source: record.tokens_source,
            server: record.server,
            status: record.status,
            stopped_early: record.stopped_early,
            attempts: record.attempts,
            is_other_model: record.is_other_model,
            conversation: record.turn.map(|turn| turn.conversation),
            turn: record.turn.map(|turn| turn.turn),
            turns: record.turn.map(|turn| turn.of),
            first_output: seconds(record.first_output),
            connect_seconds: seconds(record.connect),
            held_seconds: seconds(record.held),
            ended_in_reasoning: record.ended_in_reasoning,
            hidden_reasoning_tokens: record.hidden_reasoning_tokens,
        }
    }
}
