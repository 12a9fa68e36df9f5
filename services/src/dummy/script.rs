//! The bytes of one answer, made before its first token is due. Nothing is formatted per token.

use bytes::{Bytes, BytesMut};

use super::{
    asks::{Ask, Dialect},
    faults::Fault,
    ollama, openai,
};

/// An answer's bytes, step by step. A step is one event of each prompt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Script {
    /// What stands before the first step, in the same write: chat's role.
    pub opening: Bytes,
    /// The first step, if it is not the last.
    pub first_step: Bytes,
    /// Every step but the first and the last.
    pub step: Bytes,
    /// The last step.
    pub last_step: Bytes,
    /// What follows the last step, in the same write: counts and end mark.
    pub ending: Bytes,
    /// What an error in the middle of the answer looks like.
    pub error: Bytes,
    /// How many steps there are.
    pub steps: u32,
    /// Tokens in a step, over all prompts.
    pub step_tokens: u64,
    /// Tokens in the last step, over all prompts.
    pub last_tokens: u64,
}

/// How long an answer is and how it ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Length {
    /// Tokens of each prompt's answer.
    pub tokens: u32,
    /// Tokens in one event.
    pub per_event: u32,
    /// Whether the model stops by itself.
    pub is_natural: bool,
}

/// What an answer says about itself.
#[derive(Debug, Clone)]
pub struct About<'a> {
    /// What was asked.
    pub ask: &'a Ask,
    /// How long it is.
    pub length: Length,
    /// The request's number.
    pub number: u64,
    /// Seconds since 1970.
    pub created: u64,
    /// From the turn to the first token, in nanoseconds.
    pub prompt_nanos: u64,
    /// From the first token to the last, in nanoseconds.
    pub answer_nanos: u64,
    /// The model that it says answers.
    pub model: &'a str,
    /// Whether its text is that of every other answer.
    pub is_same: bool,
    /// Prompt tokens that it says came from the cache.
    pub cached: Option<u32>,
}

impl About<'_> {
    /// Tokens over all prompts.
    pub fn all_tokens(&self) -> u64 {
        u64::from(self.length.tokens) * u64::from(self.ask.prompts.count)
    }

    /// The text of so many tokens. What an answer begins with is its own, unless all are to be alike.
    pub fn text(&self, tokens: u32, is_first: bool) -> String {
        if !is_first || self.is_same || tokens == 0 {
            return " token".repeat(tokens as usize);
        }
        format!(" answer-{}{}", self.number, " token".repeat(tokens as usize - 1))
    }

    /// Why the answer ends.
    pub fn reason(&self) -> &'static str {
        if self.length.is_natural { "stop" } else { "length" }
    }
}

/// The script of a streamed answer.
pub fn streamed(about: &About) -> Script {
    let Length { tokens, per_event, .. } = about.length;
    let steps = tokens.div_ceil(per_event);
    let last = if steps == 0 { 0 } else { tokens - (steps - 1) * per_event };
    let is_ollama = about.ask.dialect.is_ollama();
    let step = |tokens: u32, is_first: bool, is_last: bool| -> Bytes {
        let text = about.text(tokens, is_first);
        if is_ollama {
            return ollama::line(about, &text).into();
        }
        (0..about.ask.prompts.count).map(|prompt| openai::event(about, prompt, &text, is_last)).collect::<String>().into()
    };
    let prompts = u64::from(about.ask.prompts.count);
    Script {
        opening: if about.ask.dialect == Dialect::Chat { openai::role(about).into() } else { Bytes::new() },
        first_step: if steps > 1 { step(per_event, true, false) } else { Bytes::new() },
        step: if steps > 2 { step(per_event, false, false) } else { Bytes::new() },
        last_step: if steps > 0 { step(last, steps == 1, true) } else { Bytes::new() },
        ending: if is_ollama { ollama::done(about).into() } else { openai::ending(about).into() },
        error: if is_ollama { ollama::error_line().into() } else { openai::error_event().into() },
        steps,
        step_tokens: u64::from(per_event) * prompts,
        last_tokens: u64::from(last) * prompts,
    }
}

/// The body of an answer that comes in one piece; a fault inside it is already in the bytes.
pub fn whole(about: &About, fault: Option<Fault>) -> Bytes {
    let is_ollama = about.ask.dialect.is_ollama();
    let body: Bytes = match fault {
        Some(Fault::ErrorEvent) if is_ollama => ollama::error_line().into(),
        Some(Fault::ErrorEvent) => openai::error_body("planted", "InternalServerError", 500).into(),
        _ if is_ollama => ollama::whole(about).into(),
        _ => openai::whole(about).into(),
    };
    // The end mark of a JSON text is its last brace.
    if fault == Some(Fault::NoEnd) { body.slice(..body.len() / 2) } else { body }
}

impl Script {
    /// A script whose first half is `bytes` and whose second half is never sent.
    pub fn in_one_piece(bytes: Bytes) -> Self {
        Self {
            opening: bytes,
            first_step: Bytes::new(),
            step: Bytes::new(),
            last_step: Bytes::new(),
            ending: Bytes::new(),
            error: Bytes::new(),
            steps: 2,
            step_tokens: 0,
            last_tokens: 0,
        }
    }

    /// The bytes of the steps from `from` to before `to`, and the tokens in them.
    pub fn between(&self, from: u32, to: u32) -> (Bytes, u64) {
        let is_last = to == self.steps && to > from;
        if to == from + 1 && from > 0 && !is_last {
            return (self.step.clone(), self.step_tokens);
        }
        let plain = (to - from).saturating_sub(u32::from(is_last));
        let mut bytes = BytesMut::with_capacity(
            self.opening.len()
                + self.first_step.len()
                + plain as usize * self.step.len()
                + self.last_step.len()
                + self.ending.len(),
        );
        if from == 0 && to > 0 {
            bytes.extend_from_slice(&self.opening);
        }
        for turn in 0..plain {
            bytes.extend_from_slice(if from + turn == 0 { &self.first_step } else { &self.step });
        }
        if is_last {
            bytes.extend_from_slice(&self.last_step);
        }
        let tokens = u64::from(plain) * self.step_tokens + if is_last { self.last_tokens } else { 0 };
        (bytes.freeze(), tokens)
    }
}
