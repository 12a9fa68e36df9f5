//! Ollama.

mod service;

pub use self::service::Ollama;
