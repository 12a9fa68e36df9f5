//! `hbnode`'s own floor: what it writes, shows, serves and pushes.

pub mod http;
pub mod push;
pub mod render;
pub mod results;
pub mod terminal;
