//! Placeholder: log_collector.
