//! What a service is: how to start it, how to ask whether it is ready, how to speak to it and how
//! to read its answers. This crate describes and sends nothing; the Dummy's own server is the one
//! exception, because it *is* a service.

pub mod custom;
pub mod dummy;
pub mod ollama;
pub mod openai;
pub mod protocol;
pub mod service;
pub mod vllm;
