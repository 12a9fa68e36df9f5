//! Real child processes: the guardian, and the ServerManager over a real server process. This binary starts itself
//! again in other parts, so it has its own `main`.

#![expect(clippy::unwrap_used, reason = "a test binary, which has its own `main`")]

mod cases;
mod guardian;
mod servers;

use std::{env, ffi::OsString, process::ExitCode};

use hb_actors::child::{GUARD_WORD, guard_main};

fn main() -> ExitCode {
    let words: Vec<OsString> = env::args_os().skip(1).collect();
    match words.first().and_then(|word| word.to_str()) {
        Some(GUARD_WORD) => guard_main(&words[1..]),
        Some(guardian::HOLD_WORD) => guardian::hold(&words[1..]),
        Some(servers::DUMMY_WORD) => servers::dummy(&words[1..]),
        _ => cases::run(&words, &[guardian::CASES, servers::CASES]),
    }
}
