//! vLLM: `vllm serve`, its flags from `servers.service_config`; on one node, or over several by its own means.

mod distributed;
mod flags;
mod service;

pub use self::service::Vllm;
