//! Leading a run: from the words to the exit code.
//!
//! ```text
//! recipe ─► surroundings ─► run folder ─► books, orchestrator, inbox, own node ─► cluster ─► outcome ─► report
//! ```

mod crowd;
pub mod datasets;
mod ending;
mod local_nodes;
pub mod recipe;
mod recorder;
mod run;
pub mod surroundings;
mod until_over;
mod words;

use std::path::Path;

use self::surroundings::Surroundings;
use crate::{
    cli::{LeadWords, NodeWords, exit::Exit},
    node,
};

/// Leads, or joins where the same command line makes this task a node.
pub fn run(words: &LeadWords, node_words: &NodeWords) -> Exit {
    let path = words.leader.as_deref().or(words.workload_config_file.as_deref()).unwrap_or(Path::new(""));
    match recipe::Source::read(path) {
        Ok(source) => run_source(source, words, node_words),
        Err(sentence) => {
            eprintln!("error: {sentence}");
            ending::say(words, None, None, Exit::BadWords)
        }
    }
}

/// The same with the recipe's text at hand.
pub fn run_source(source: recipe::Source, words: &LeadWords, node_words: &NodeWords) -> Exit {
    let surroundings = Surroundings::read();
    // Every task of a step reads the same recipe; one voice is enough.
    let is_silent = surroundings.step.as_ref().is_some_and(|step| step.rank > 0);
    let checked = match words::runnable(&source, words, is_silent) {
        Ok(checked) => checked,
        Err(exit) if is_silent => return exit,
        Err(exit) => return ending::say(words, None, None, exit),
    };
    if let Some(step) = surroundings.step.as_ref().filter(|step| step.rank > 0) {
        return node::run_as_task(words, node_words, &surroundings, step, &checked.recipe);
    }
    run::lead(words, node_words, source, checked, &surroundings)
}
