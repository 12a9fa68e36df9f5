//! Placeholder: child.
