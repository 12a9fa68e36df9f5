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
pub mod refused;
mod resume;
mod run;
pub mod seed;
pub mod ssh_nodes;
pub mod surroundings;
mod tokenizers;
mod until_over;
mod wall_time;
mod words;

use std::path::Path;

use hb_core::recipe::Mode;

use self::{refused::Refused, surroundings::Surroundings};
use crate::{
    cli::{LeadWords, NodeWords, exit::Exit},
    given_up::GivenUp,
    node,
    results::KeptRun,
};

/// Leads, or joins where the same command line makes this task a node.
pub fn run(words: &LeadWords, node_words: &NodeWords) -> Exit {
    let path = words.leader.as_deref().or(words.workload_config_file.as_deref()).unwrap_or(Path::new(""));
    begin(words, node_words, || match &words.resume {
        Some(run_dir) => resume::named(run_dir, words).map(|(kept, source)| (source, Some(kept))),
        None => recipe::Source::read(path).map(|source| (source, None)).map_err(Refused::words),
    })
}

/// The same with the recipe's text at hand.
pub fn run_source(source: recipe::Source, words: &LeadWords, node_words: &NodeWords) -> Exit {
    begin(words, node_words, || Ok((source, None)))
}

/// What of a run was read from disk: its recipe, and the run itself where it goes on.
type Read = (recipe::Source, Option<KeptRun>);

fn begin(words: &LeadWords, node_words: &NodeWords, read: impl FnOnce() -> Result<Read, Refused>) -> Exit {
    let surroundings = Surroundings::read();
    let begun = read().and_then(|(source, kept)| lead_source(source, words, node_words, kept, &surroundings));
    let refused = match begun {
        Ok(exit) => return exit,
        Err(refused) => refused,
    };
    let (run_dir, verdict) = refused.run.clone().map_or((None, None), |(run_dir, verdict)| (Some(run_dir), verdict));
    let exit = match GivenUp::of(&surroundings, &beginning::results_by_words(words)) {
        Some(step) => step.refuse(refused),
        None => refused.say(),
    };
    if surroundings.is_silent() { exit } else { ending::say(words, run_dir.as_deref(), verdict, exit) }
}

fn lead_source(
    source: recipe::Source,
    words: &LeadWords,
    node_words: &NodeWords,
    kept: Option<KeptRun>,
    surroundings: &Surroundings,
) -> Result<Exit, Refused> {
    let words::Runnable { mut checked, placement } = words::runnable(&source, words, surroundings.is_silent())?;
    let results = beginning::results_of(words.results.as_deref(), kept.as_ref());
    let requeued = || resume::of_requeued_job(&results, &checked.recipe.scenario, surroundings.step.as_ref()?);
    let kept = kept.or_else(requeued);
    seed::fill(&mut checked, kept.as_ref());
    let checked = recipe::with_files(&source, checked)?;
    let kept = kept.map(|kept| resume::decide(kept, &checked)).transpose()?;
    let mut endpoints = node_words.endpoints.clone();
    let interface = endpoints.interface.or_else(|| checked.recipe.orchestration.interface.clone());
    endpoints.interface = interface.filter(|_| endpoints.address.is_none());
    let node_words = &NodeWords { endpoints, ..node_words.clone() };
    let mode = checked.recipe.orchestration.mode;
    let takes_step = mode == Mode::Slurm || mode == Mode::Local && placement.is_some();
    if surroundings.lacks_step && takes_step && words.local_nodes.is_none() {
        return Ok(own_step::run(words, &results));
    }
    if let Some(step) = surroundings.step.as_ref().filter(|step| step.rank > 0) {
        let ordinal = placement.as_ref().map_or(step.rank, |placement| placement.ordinal(&surroundings.host, step.rank));
        return Ok(node::run_as_task(&results, node_words, surroundings, ordinal, &checked.recipe));
    }
    own_step::announce(surroundings.step.as_ref());
    run::lead(words, node_words, checked, surroundings, run::Place { source, results, kept, placement })
}
