//! vLLM: `vllm serve`, its flags from `servers.service_config`; on one node, or over several by its own means or on Ray.

mod distributed;
mod flags;
mod ray;
mod service;

pub use self::service::Vllm;
