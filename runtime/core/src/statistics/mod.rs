//! Placeholder: statistics.
