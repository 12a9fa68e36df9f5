//! What a service is: how to start it, how to ask whether it is ready, how to speak to it and how
//! to read its answers. This crate describes and sends nothing; the Dummy's own server is the one
//! exception, because it *is* a service.

pub mod config;
pub mod custom;
pub mod datasets;
pub mod dialogue;
pub mod dummy;
pub mod exposition;
mod fields;
mod fingerprint;
mod kept;
pub mod lines;
mod model_names;
pub mod ollama;
pub mod openai;
pub mod prefetch;
pub mod prompts;
pub mod protocol;
mod refusal;
pub mod runtime;
pub mod service;
pub mod tokenize;
pub mod tokenizer;
pub mod vllm;
mod whole;

use hb_core::trial::{ProtocolName, ServiceSpec};

pub use self::model_names::is_same_model;
use crate::{
    protocol::Protocol,
    service::{Service, ServiceProblem},
};

/// Every service hbnode knows. A new one is a folder and a line here.
pub const SERVICES: &[&dyn Service] = &[&dummy::Dummy, &ollama::Ollama, &openai::Openai, &vllm::Vllm];

/// The service a recipe names.
#[must_use]
pub fn find(name: &str) -> Option<&'static dyn Service> {
    SERVICES.iter().copied().find(|service| service.name() == name)
}

/// A service that was looked up: a built-in one, or one that the recipe describes.
pub enum Resolved {
    /// One of [`SERVICES`].
    BuiltIn(&'static dyn Service),
    /// One from the recipe's `custom_services`.
    Custom(Box<custom::Custom>),
}

impl std::ops::Deref for Resolved {
    type Target = dyn Service;

    fn deref(&self) -> &(dyn Service + 'static) {
        match self {
            Self::BuiltIn(service) => *service,
            Self::Custom(service) => &**service,
        }
    }
}

/// The service a trial's spec means.
///
/// # Errors
/// When neither hbnode nor the recipe knows it.
pub fn resolve(spec: &ServiceSpec) -> Result<Resolved, ServiceProblem> {
    if let Some(block) = &spec.custom {
        return Ok(Resolved::Custom(Box::new(custom::Custom::new(&spec.service, block))));
    }
    let names: Vec<_> = SERVICES.iter().map(|service| service.name()).collect();
    find(&spec.service).map(Resolved::BuiltIn).ok_or_else(|| ServiceProblem {
        path: "workload.service".into(),
        what: format!("no service is called `{}`", spec.service),
        advice: match hb_core::units::nearest(&spec.service, &names) {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("write one of {}, or describe it under custom_services", names.join(", ")),
        },
    })
}

/// The requests and answers of a protocol.
#[must_use]
pub fn protocol(name: ProtocolName) -> &'static dyn Protocol {
    match name {
        ProtocolName::Openai => &openai::OpenaiProtocol,
        ProtocolName::Ollama => &ollama::OllamaProtocol,
    }
}
