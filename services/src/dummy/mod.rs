//! Placeholder: dummy.
