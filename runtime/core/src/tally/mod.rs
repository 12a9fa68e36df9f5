//! Placeholder: tally.
