//! What a service is: how to start it, how to ask whether it is ready, how to speak to it and how
//! to read its answers. This crate describes and sends nothing; the Dummy's own server is the one
//! exception, because it *is* a service.

pub mod config;
pub mod dummy;
pub mod lines;
pub mod ollama;
pub mod openai;
pub mod protocol;
pub mod service;
pub mod vllm;
mod whole;

use hb_core::trial::ProtocolName;

use crate::{protocol::Protocol, service::Service};

/// Every service hbnode knows. A new one is a folder and a line here.
pub const SERVICES: &[&dyn Service] = &[&dummy::Dummy, &openai::Openai];

/// The service a recipe names.
#[must_use]
pub fn find(name: &str) -> Option<&'static dyn Service> {
    SERVICES.iter().copied().find(|service| service.name() == name)
}

/// The requests and answers of a protocol.
#[must_use]
pub fn protocol(name: ProtocolName) -> &'static dyn Protocol {
    match name {
        ProtocolName::Openai | ProtocolName::Ollama => &openai::OpenaiProtocol,
    }
}
