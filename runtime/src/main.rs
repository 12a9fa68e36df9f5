//! `hbnode`: words in, exit code out.

fn main() {}
