//! The command line: words as typed, and what each verb does.

mod bench;
mod cancel;
mod completions;
mod continued;
mod dummy;
pub mod exit;
mod fetch;
mod list;
mod logging;
mod logs;
mod plan;
mod prefetch;
mod recipe;
mod report;
mod run;
mod schema;
mod status;
mod submitted;
mod validate;
mod words;

use std::process::ExitCode;

pub use self::words::{EndpointWords, LeadWords, NodeWords, Words};
use self::{exit::Exit, words::Verb};
use crate::{lead, node};

/// What runs on every node is one binary, and its version says which build it is.
pub const BUILD: &str = env!("HBNODE_BUILD");

/// What shells show of a program that SIGPIPE ended.
const READER_GONE: i32 = 141;

/// Reads the words, does what they say, maps how it went to an exit code.
pub fn main() -> ExitCode {
    let arguments: Vec<std::ffi::OsString> = std::env::args_os().collect();
    if arguments.get(1).is_some_and(|word| word == "__guard") {
        return hb_actors::child::guard_main(&arguments[2..]);
    }
    let mut words = match Words::read(&arguments) {
        Ok(words) => words,
        Err(error) => {
            // Printing fails only when nobody reads it any more.
            let _ = error.print();
            return if error.use_stderr() { Exit::BadWords.into() } else { Exit::Ok.into() };
        }
    };
    hb_actors::limits::raise_open_files();
    logging::start(words.verbose, words.quiet);
    (words.lead.is_quiet, words.node.is_quiet) = (words.quiet, words.quiet);
    leave_when_nobody_reads();
    dispatch(words).into()
}

/// `hbnode plan R | head` closes standard output early. The `print` macros panic then; that is no fault to be told.
fn leave_when_nobody_reads() {
    let told = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        let is_closed_pipe =
            |text: &str| text.starts_with("failed printing to stdout") && text.to_lowercase().contains("broken pipe");
        if panic.payload_as_str().is_some_and(is_closed_pipe) {
            std::process::exit(READER_GONE);
        }
        told(panic);
    }));
}

fn dispatch(words: Words) -> Exit {
    match words.verb {
        Some(Verb::List(list)) => list::run(&list),
        Some(Verb::Validate(validate)) => validate::run(&validate),
        Some(Verb::Plan(plan)) => plan::run(&plan),
        Some(Verb::Run(run)) => run::run(&run, words.quiet),
        Some(Verb::Status(status)) => status::run(&status),
        Some(Verb::Logs(logs)) => logs::run(&logs),
        Some(Verb::Cancel(cancel)) => cancel::run(&cancel, words.quiet),
        Some(Verb::Fetch(fetch)) => fetch::run(&fetch, words.quiet),
        Some(Verb::Bench(bench)) => bench::run(&bench, words.quiet),
        Some(Verb::Prefetch(prefetch)) => prefetch::run(&prefetch, words.quiet),
        Some(Verb::Report(report)) => report::run(&report, words.quiet),
        Some(Verb::Dummy(dummy)) => dummy::run(&dummy),
        Some(Verb::Schema) => schema::run(),
        Some(Verb::Completions { shell }) => completions::completions(shell),
        Some(Verb::Man) => completions::man(),
        None if words.node.standalone => node::standalone(&words.node),
        None if words.leads() => lead::run(&words.lead, &words.node),
        None if words.has_way_in() => node::run(&words.node),
        None => {
            Words::help();
            Exit::BadWords
        }
    }
}
