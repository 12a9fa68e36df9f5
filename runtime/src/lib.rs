//! `hbnode`: words in, exit code out; what it writes, shows, serves and pushes.

/// Says a line on standard error. The standard library's own panics where nobody reads any more, as behind an ssh
/// connection that is gone; a run must not end for that.
macro_rules! eprintln {
    ($($words:tt)*) => {{
        let _ = std::io::Write::write_fmt(&mut std::io::stderr(), format_args!("{}\n", format_args!($($words)*)));
    }};
}

pub mod cli;
mod given_up;
pub mod http;
pub mod lead;
pub mod node;
pub mod prefetch;
pub mod push;
pub mod render;
pub mod results;
mod runtimes;
mod signals;
pub mod submit;
pub mod terminal;

pub use cli::main;
