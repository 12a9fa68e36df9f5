//! What a request asks for.

use std::{fmt, num::NonZeroU32};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// What a request asks for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RequestSpec {
    /// The operation.
    pub api: Api,
    /// Whether the answer is streamed.
    pub stream: bool,
    /// Prompt tokens.
    pub prompt_len: Length,
    /// Answer tokens that are asked for.
    pub gen_tokens: Length,
    /// Prompts in one request, where the protocol has it.
    pub batch: NonZeroU32,
    /// Groups of prompts that begin alike, and how many tokens they share.
    pub shared_prefix: Option<SharedPrefix>,
    /// How many turns a conversation has; `None` where every request stands alone.
    #[serde(default)]
    pub turns: Option<Length>,
    /// Put into every body as it stands.
    pub sampling: Map<String, Value>,
}

impl RequestSpec {
    /// How many answers each prompt is asked for.
    #[must_use]
    pub fn choices(&self) -> u32 {
        choices(&self.sampling)
    }

    /// Whether a request gets one answer: several, of a batch or of several choices, come in one stream by turns, and the time
    /// from one token to the next says nothing of any of them.
    #[must_use]
    pub fn has_one_answer(&self) -> bool {
        self.batch.get() == 1 && self.choices() == 1
    }
}

/// How many answers these fields of a body ask for each prompt: `n`, and one where it says nothing.
#[must_use]
pub fn choices(sampling: &Map<String, Value>) -> u32 {
    let asked = sampling.get("n").and_then(Value::as_u64).and_then(|n| u32::try_from(n).ok());
    asked.unwrap_or(1).max(1)
}

/// The operation of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Api {
    /// `/v1/completions`.
    Completions,
    /// `/v1/chat/completions`, or `/api/chat` of Ollama.
    Chat,
    /// `/api/generate` of Ollama.
    Generate,
}

impl fmt::Display for Api {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Completions => "completions",
            Self::Chat => "chat",
            Self::Generate => "generate",
        })
    }
}

impl Api {
    /// Whether a request may hold several prompts.
    #[must_use]
    pub fn takes_several_prompts(self) -> bool {
        self == Self::Completions
    }
}

/// A number of tokens (or of turns), or a distribution of it.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Length {
    /// Always the same.
    Fixed(u32),
    /// Evenly between two numbers, both included.
    Uniform(u32, u32),
    /// Mean and standard deviation.
    Normal(f64, f64),
    /// Median and the logarithm's standard deviation.
    Lognormal(f64, f64),
}

/// Groups of prompts that begin alike.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct SharedPrefix {
    /// How many groups.
    pub groups: NonZeroU32,
    /// How many tokens a group shares.
    pub tokens: u32,
}
