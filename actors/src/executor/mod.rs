//! Placeholder: executor.
