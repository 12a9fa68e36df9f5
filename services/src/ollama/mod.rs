//! Ollama's generate and chat: JSON objects, one a line where the answer is streamed.

mod requests;
mod service;
mod stream;
mod wholes;

use hb_core::{record::Kind, trial::RequestSpec};

pub use self::service::Ollama;
pub(crate) use self::service::with_tag;
use crate::{
    protocol::{Call, Prompt, Protocol, Reader},
    refusal::refusal,
    whole::Whole,
};

/// Requests as JSON, answers as newline-delimited JSON or one object.
pub struct OllamaProtocol;

impl Protocol for OllamaProtocol {
    fn call(&self, model: &str, request: &RequestSpec, prompts: &[Prompt], gen_tokens: u32) -> Call {
        requests::call(model, request, prompts, gen_tokens)
    }

    fn reader(&self, request: &RequestSpec) -> Box<dyn Reader> {
        let keeps_text = request.turns.is_some();
        if request.stream {
            Box::new(stream::ObjectStream::keeping_text(keeps_text))
        } else {
            Box::new(Whole::new(wholes::read).keeping_text(keeps_text))
        }
    }

    fn has_template(&self, request: &RequestSpec) -> bool {
        requests::has_template(request)
    }

    fn refusal(&self, status: u16, body: &[u8]) -> (Kind, Option<String>) {
        refusal(status, body)
    }
}
