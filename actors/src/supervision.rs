//! Placeholder: supervision.
