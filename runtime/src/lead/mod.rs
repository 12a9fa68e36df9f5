//! Leading a run: from the words to the exit code.
//!
//! ```text
//! recipe ─► surroundings ─► run folder ─► books, orchestrator, inbox, own node ─► cluster ─► outcome ─► report
//! ```

mod beginning;
mod crowd;
pub mod datasets;
mod ending;
pub mod files;
mod local_nodes;
mod masking;
mod own_step;
mod placement;
pub mod recipe;
mod recorder;
mod resume;
mod run;
pub mod ssh_nodes;
pub mod surroundings;
mod tokenizers;
mod until_over;
mod wall_time;
mod words;

use std::path::Path;

use hb_core::recipe::Mode;

use self::surroundings::Surroundings;
use crate::{
    cli::{LeadWords, NodeWords, exit::Exit},
    node,
    results::KeptRun,
};

/// Leads, or joins where the same command line makes this task a node.
pub fn run(words: &LeadWords, node_words: &NodeWords) -> Exit {
    if let Some(run_dir) = &words.resume {
        let is_silent = Surroundings::read().is_silent();
        return match resume::named(run_dir, words, is_silent) {
            Ok((kept, source)) => lead_source(source, words, node_words, Some(kept)),
            Err(exit) if is_silent => exit,
            Err(exit) => ending::say(words, None, None, exit),
        };
    }
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
    lead_source(source, words, node_words, None)
}

fn lead_source(source: recipe::Source, words: &LeadWords, node_words: &NodeWords, kept: Option<KeptRun>) -> Exit {
    let surroundings = Surroundings::read();
    let is_silent = surroundings.is_silent();
    let words::Runnable { checked, placement } = match words::runnable(&source, words, is_silent) {
        Ok(runnable) => runnable,
        Err(exit) if is_silent => return exit,
        Err(exit) => return ending::say(words, None, None, exit),
    };
    let results = beginning::results_of(words.results.as_deref(), kept.as_ref());
    let requeued = || resume::of_requeued_job(&results, &checked.recipe.scenario, surroundings.step.as_ref()?);
    let kept = match kept.or_else(requeued).map(|kept| resume::decide(kept, &checked, words, is_silent)).transpose() {
        Ok(kept) => kept,
        Err(exit) => return exit,
    };
    let interface = node_words.interface.clone().or_else(|| checked.recipe.orchestration.interface.clone());
    let node_words = &NodeWords { interface: interface.filter(|_| node_words.address.is_none()), ..node_words.clone() };
    let mode = checked.recipe.orchestration.mode;
    let takes_step = mode == Mode::Slurm || mode == Mode::Local && placement.is_some();
    if surroundings.lacks_step && takes_step && words.local_nodes.is_none() {
        return own_step::run(words, &results);
    }
    if let Some(step) = surroundings.step.as_ref().filter(|step| step.rank > 0) {
        let ordinal = placement.as_ref().map_or(step.rank, |placement| placement.ordinal(&surroundings.host, step.rank));
        return node::run_as_task(&results, node_words, &surroundings, ordinal, &checked.recipe);
    }
    own_step::announce(surroundings.step.as_ref());
    run::lead(words, node_words, checked, &surroundings, run::Place { source, results, kept, placement })
}
