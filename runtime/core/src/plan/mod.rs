//! Placeholder: plan.
