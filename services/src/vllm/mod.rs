//! vLLM on one node: `vllm serve`, its flags from `servers.service_config`.

mod flags;
mod service;

pub use self::service::Vllm;
