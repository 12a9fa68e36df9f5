//! `hbnode`: words in, exit code out; what it writes, shows, serves and pushes.

pub mod cli;
pub mod http;
pub mod lead;
pub mod node;
pub mod push;
pub mod render;
pub mod results;
mod runtimes;
mod signals;
pub mod submit;
pub mod terminal;

pub use cli::main;
