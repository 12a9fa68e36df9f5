//! `hbnode`'s own floor: what it writes, shows, serves and pushes.

pub mod render;
pub mod results;
