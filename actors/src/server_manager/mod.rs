//! Placeholder: server_manager.
