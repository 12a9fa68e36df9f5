//! `hbnode completions` and `hbnode man`: generated from the words.

use std::io;

use clap::CommandFactory as _;
use clap_complete::Shell;

use super::{exit::Exit, words::Words};

/// Prints completions for a shell.
pub fn completions(shell: Shell) -> Exit {
    clap_complete::generate(shell, &mut Words::command(), "hbnode", &mut io::stdout());
    Exit::Ok
}

/// Prints the manual page.
pub fn man() -> Exit {
    match clap_mangen::Man::new(Words::command()).render(&mut io::stdout()) {
        Ok(()) => Exit::Ok,
        Err(error) => {
            eprintln!("error: cannot print the manual page: {error}");
            Exit::Failed
        }
    }
}
