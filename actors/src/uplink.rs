//! Placeholder: uplink.
