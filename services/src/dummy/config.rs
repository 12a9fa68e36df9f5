//! What can be set on a Dummy. One list of keys serves `servers.service_config` and the flags of `hbnode dummy`.

use std::num::NonZeroU32;

use hb_core::units::{Span, nearest};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// How a Dummy answers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DummyConfig {
    /// From a request's arrival (or its turn, under `concurrency`) to its first token.
    pub ttft: Span,
    /// Between two tokens.
    pub tpot: Span,
    /// The first token lies up to this share of `ttft` from its instant, each further one up to half this share of `tpot`.
    pub jitter: f64,
    /// The share of requests answered with status 500.
    pub error_rate: f64,
    /// The share of answers whose connection is reset half way.
    pub reset_rate: f64,
    /// The share of answers whose connection is closed half way.
    pub truncate_rate: f64,
    /// The share of answers that end properly, but without their end mark.
    pub no_end_rate: f64,
    /// The share of answers that fall silent half way and never end.
    pub hang_rate: f64,
    /// The share of answers that end half way with an error event.
    pub error_event_rate: f64,
    /// Answers at one time; the rest wait in order. Unset: no bound.
    pub concurrency: Option<NonZeroU32>,
    /// Tokens in one event.
    pub tokens_per_event: NonZeroU32,
    /// The one model it has; unset: it answers for any name.
    pub model: Option<String>,
    /// The longest prompt and answer together. Unset: no bound.
    pub max_model_len: Option<NonZeroU32>,
    /// Where the model stops by itself unless the request says `ignore_eos`. Unset: never.
    pub stop_after: Option<NonZeroU32>,
    /// How long after its start everything is answered with 503.
    pub start_delay: Span,
    /// Whether it stops there also when the request says `ignore_eos`.
    pub always_stops: bool,
    /// Tokens that it counts in each prompt beside those of its words.
    pub extra_prompt_tokens: u32,
    /// The share of a prompt's tokens that it says came from its cache. Unset: it says nothing of a cache.
    pub cached_share: Option<f64>,
    /// The model it says that answers, whichever is asked. Unset: the one that is asked.
    pub answer_model: Option<String>,
    /// Whether every answer has the same text.
    pub same_answer: bool,
    /// How long after its start it takes three times as long for everything. Unset: never.
    pub slow_after: Option<Span>,
    /// Whether it speaks HTTP/2 and nothing else: without TLS, to clients who know it before.
    pub http2: bool,
    /// Decides which request gets which fault, and the jitter.
    pub seed: u64,
}

impl Default for DummyConfig {
    fn default() -> Self {
        Self {
            ttft: Span::from_millis(20),
            tpot: Span::from_millis(5),
            jitter: 0.0,
            error_rate: 0.0,
            reset_rate: 0.0,
            truncate_rate: 0.0,
            no_end_rate: 0.0,
            hang_rate: 0.0,
            error_event_rate: 0.0,
            concurrency: None,
            tokens_per_event: NonZeroU32::MIN,
            model: None,
            max_model_len: None,
            stop_after: None,
            start_delay: Span::ZERO,
            always_stops: false,
            extra_prompt_tokens: 0,
            cached_share: None,
            answer_model: None,
            same_answer: false,
            slow_after: None,
            http2: false,
            seed: 1,
        }
    }
}

/// A key of [`DummyConfig`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DummyKey {
    /// As recipes write it; its flag has hyphens for underscores.
    pub name: &'static str,
    /// A line for `hbnode dummy --help`.
    pub about: &'static str,
    /// What a value looks like, such as `20ms`.
    pub example: &'static str,
    is_number: bool,
}

const fn text(name: &'static str, example: &'static str, about: &'static str) -> DummyKey {
    DummyKey { name, about, example, is_number: false }
}

const fn number(name: &'static str, example: &'static str, about: &'static str) -> DummyKey {
    DummyKey { name, about, example, is_number: true }
}

/// Every key, in the order of the manual.
pub const KEYS: &[DummyKey] = &[
    text("ttft", "20ms", "time to the first token"),
    text("tpot", "5ms", "time between two tokens"),
    number("jitter", "0.1", "how far a token may lie from its instant, as a share of both"),
    number("error_rate", "0.01", "share of requests answered with status 500"),
    number("reset_rate", "0.01", "share of answers whose connection is reset half way"),
    number("truncate_rate", "0.01", "share of answers whose connection is closed half way"),
    number("no_end_rate", "0.01", "share of answers without their end mark"),
    number("hang_rate", "0.01", "share of answers that fall silent half way"),
    number("error_event_rate", "0.01", "share of answers that end half way with an error event"),
    number("concurrency", "64", "answers at one time, the rest wait in order; unset means no bound"),
    number("tokens_per_event", "1", "tokens in one event"),
    text("model", "tiny", "the one model it has; unset means any name"),
    number("max_model_len", "4096", "longest prompt and answer together; unset means no bound"),
    number("stop_after", "100", "where the model stops by itself unless told to ignore its end; unset means never"),
    text("start_delay", "2s", "how long after its start everything is answered with 503"),
    number("always_stops", "true", "stops there also when told to ignore its end"),
    number("extra_prompt_tokens", "8", "tokens it counts in each prompt beside those of its words"),
    number(
        "cached_share",
        "0.5",
        "share of a prompt's tokens it says came from its cache, in usage and in /metrics; unset means it says nothing",
    ),
    text("answer_model", "other", "the model it says that answers; unset means the one that is asked"),
    number("same_answer", "true", "every answer has the same text"),
    text("slow_after", "30s", "how long after its start everything takes three times as long; unset means never"),
    number("http2", "true", "speaks HTTP/2 and nothing else, without TLS"),
    number("seed", "1", "decides which request gets which fault, and the jitter"),
];

/// Why values make no Dummy.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{key}: {what}; {advice}")]
pub struct NotADummy {
    /// The key, or nothing where it cannot be told.
    pub key: String,
    /// What was found.
    pub what: String,
    /// What to do.
    pub advice: String,
}

impl DummyConfig {
    /// Reads `servers.service_config`, and says all that is wrong with it.
    ///
    /// # Errors
    /// One problem per key.
    pub fn from_config(config: &Map<String, Value>) -> Result<Self, Vec<NotADummy>> {
        let (mut problems, mut readable) = (Vec::new(), Map::new());
        for (key, value) in config {
            // Key by key, so that every wrong one is named at once.
            let alone = Map::from_iter([(key.clone(), value.clone())]);
            match serde_json::from_value::<Self>(alone.into()) {
                Ok(_) => _ = readable.insert(key.clone(), value.clone()),
                Err(_) => problems.push(problem(key, value)),
            }
        }
        // What can be read may still be out of its range.
        let read: Self = serde_json::from_value(readable.into()).map_err(|_| vec![problem("", &Value::Null)])?;
        problems.extend(read.out_of_range());
        if problems.is_empty() { Ok(read) } else { Err(problems) }
    }

    /// Reads the texts of flags, each with its key.
    ///
    /// # Errors
    /// One problem per key.
    pub fn from_texts<'a>(texts: impl IntoIterator<Item = (&'a str, &'a str)>) -> Result<Self, Vec<NotADummy>> {
        let is_number = |key: &str| KEYS.iter().any(|known| known.name == key && known.is_number);
        let typed = texts.into_iter().map(|(key, text)| {
            let number = is_number(key).then(|| serde_json::from_str::<Value>(text).ok()).flatten();
            (key.to_owned(), number.unwrap_or_else(|| text.into()))
        });
        Self::from_config(&typed.collect())
    }

    /// The shares of the planted faults, by key.
    pub(crate) fn rates(&self) -> [(&'static str, f64); 6] {
        [
            ("error_rate", self.error_rate),
            ("reset_rate", self.reset_rate),
            ("truncate_rate", self.truncate_rate),
            ("no_end_rate", self.no_end_rate),
            ("hang_rate", self.hang_rate),
            ("error_event_rate", self.error_event_rate),
        ]
    }

    fn out_of_range(&self) -> Vec<NotADummy> {
        let rates = self.rates();
        let cached = self.cached_share.map(|share| ("cached_share", share));
        let shares = rates.into_iter().chain([("jitter", self.jitter)]).chain(cached);
        let mut problems: Vec<_> = shares
            .filter(|(_, share)| !(0.0..=1.0).contains(share))
            .map(|(key, share)| NotADummy {
                key: key.into(),
                what: format!("found {share}"),
                advice: "write a share between 0 and 1".into(),
            })
            .collect();
        let sum: f64 = rates.iter().map(|(_, rate)| rate).sum();
        if problems.is_empty() && sum > 1.0 + 1e-9 {
            problems.push(NotADummy {
                key: "error_rate".into(),
                what: format!("the rates of all faults come to {sum}"),
                advice: "keep their sum at or below 1: a request gets one fault at most".into(),
            });
        }
        problems
    }
}

fn problem(key: &str, value: &Value) -> NotADummy {
    let names: Vec<_> = KEYS.iter().map(|key| key.name).collect();
    if let Some(known) = KEYS.iter().find(|known| known.name == key) {
        return NotADummy {
            key: key.into(),
            what: format!("found {value}"),
            advice: format!("write a value such as {} ({})", known.example, known.about),
        };
    }
    NotADummy {
        key: key.into(),
        what: "an unknown key".into(),
        advice: match nearest(key, &names) {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("it knows {}", names.join(", ")),
        },
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn from_json(value: Value) -> Result<DummyConfig, Vec<NotADummy>> {
        DummyConfig::from_config(value.as_object().unwrap())
    }

    #[test]
    fn every_field_is_a_key_and_every_key_a_field() {
        let written = serde_json::to_value(DummyConfig::default()).unwrap();
        let fields: Vec<_> = written.as_object().unwrap().keys().map(String::as_str).collect();
        assert_eq!(KEYS.iter().map(|key| key.name).collect::<Vec<_>>(), fields);
    }

    #[test]
    fn flags_and_recipe_give_the_same_dummy() {
        let flags = DummyConfig::from_texts(KEYS.iter().map(|key| (key.name, key.example))).unwrap();
        let recipe = json!({"ttft": 0.02, "tpot": "5ms", "jitter": 0.1, "error_rate": 0.01, "reset_rate": 0.01,
            "truncate_rate": 0.01, "no_end_rate": 0.01, "hang_rate": 0.01, "error_event_rate": 0.01, "concurrency": 64,
            "tokens_per_event": 1, "model": "tiny", "max_model_len": 4096, "stop_after": 100, "start_delay": 2, "always_stops": true, "extra_prompt_tokens": 8, "cached_share": 0.5, "answer_model": "other",
            "same_answer": true, "slow_after": "30s", "http2": true, "seed": 1});
        assert_eq!(from_json(recipe), Ok(flags));
    }

    #[test]
    fn every_wrong_key_is_named_at_once() {
        let problems = from_json(json!({"tfft": "1ms", "tokens_per_event": 0, "concurrency": "many"})).unwrap_err();
        let keys: Vec<_> = problems.iter().map(|problem| problem.key.as_str()).collect();
        assert_eq!(keys, ["tfft", "tokens_per_event", "concurrency"]);
        assert_eq!(problems[0].advice, "did you mean `ttft`?");
    }

    #[test]
    fn shares_lie_between_zero_and_one_and_so_does_their_sum() {
        assert_eq!(from_json(json!({"jitter": 1.5, "reset_rate": -0.1})).unwrap_err().len(), 2);
        assert_eq!(from_json(json!({"error_rate": 0.6, "hang_rate": 0.6})).unwrap_err().len(), 1);
        assert!(from_json(json!({"error_rate": 0.5, "hang_rate": 0.5})).is_ok());
    }
}
