//! Placeholder: vllm.
