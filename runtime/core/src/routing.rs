//! Placeholder: routing.
