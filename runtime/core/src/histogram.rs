//! Placeholder: histogram.
