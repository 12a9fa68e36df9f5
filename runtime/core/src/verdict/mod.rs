//! Placeholder: verdict.
