//! Placeholder: load.
