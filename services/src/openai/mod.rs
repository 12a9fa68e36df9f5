//! OpenAI's completions and chat: the protocol, and the service of an endpoint that already runs.

mod events;
mod requests;
mod service;
mod stream;
mod wholes;

use hb_core::{record::Kind, trial::RequestSpec};

pub use self::service::Openai;
pub(crate) use self::service::lists_model;
use crate::{
    protocol::{Call, Prompt, Protocol, Reader},
    refusal::refusal,
    whole::Whole,
};

/// Requests as JSON, answers as server-sent events or one JSON text.
pub struct OpenaiProtocol;

impl Protocol for OpenaiProtocol {
    fn call(&self, model: &str, request: &RequestSpec, prompts: &[Prompt], gen_tokens: u32) -> Call {
        requests::call(model, request, prompts, gen_tokens)
    }

    fn advice(&self, refusal: &str) -> Option<String> {
        requests::advice(refusal)
    }

    fn reader(&self, request: &RequestSpec) -> Box<dyn Reader> {
        if request.stream {
            Box::new(stream::EventStream::new(requests::choices(request)).keeping_text(request.turns.is_some()))
        } else {
            Box::new(Whole::new(wholes::read).keeping_text(request.turns.is_some()))
        }
    }

    fn refusal(&self, status: u16, body: &[u8]) -> (Kind, Option<String>) {
        refusal(status, body)
    }
}
