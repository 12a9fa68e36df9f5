//! The stand-in: a server of exactly known timing that speaks both protocols and plants faults when asked to.
//!
//! ```text
//! connection ─► server ─► asks (what is asked) ─► faults (which one, if any) ─► script (the bytes)
//!                                                                                  │
//!                                      counters ◄── visit (one per request) ◄── paced (when each is sent)
//! ```

mod asks;
mod config;
mod counters;
mod faults;
mod http2;
mod ollama;
mod openai;
mod paced;
mod script;
mod server;
mod service;
mod visit;

pub use self::{
    config::{DummyConfig, DummyKey, KEYS, NotADummy},
    server::serve,
    service::Dummy,
};
