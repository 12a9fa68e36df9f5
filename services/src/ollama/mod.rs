//! Placeholder: ollama.
