//! Placeholder: node.
