//! Placeholder: phases.
