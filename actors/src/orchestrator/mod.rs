//! Placeholder: orchestrator.
