//! Placeholder: custom.
