//! Placeholder: openai.
