//! Placeholder: monitor.
