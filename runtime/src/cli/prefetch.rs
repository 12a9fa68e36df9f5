//! `hbnode prefetch`: brings the images and models that a recipe needs to where it will look for them.

use hb_core::trial::RequestSpec;
use tokio::runtime::Builder;

use super::{exit::Exit, recipe::checked, words::PrefetchWords};
use crate::{
    prefetch::{Need, State, Way, bring, line_text, needs},
    signals::{Asked, Signals},
};

/// How bringing one thing ended.
enum Brought {
    Done,
    Interrupted(Asked),
    Failed(String),
}

/// Says what is there, and brings what is not.
pub fn run(words: &PrefetchWords, is_quiet: bool) -> Exit {
    let (_, checked) = match checked(&words.recipe, &words.sets) {
        Ok(both) => both,
        Err(exit) => return exit,
    };
    let needs = needs(&checked.trials);
    if needs.is_empty() {
        if !is_quiet {
            println!("nothing to bring: the recipe starts nothing that needs an image, a program or a model");
        }
        return Exit::Ok;
    }
    let runtime = match Builder::new_multi_thread().worker_threads(1).enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("error: cannot start: {error}");
            return Exit::Failed;
        }
    };
    let request = &checked.trials[0].request;
    let exit = go_through(&needs, words.dry_run, is_quiet, |way| runtime.block_on(brought(way, request)));
    // A server's guardian that is left behind sees the end of this process.
    runtime.shutdown_background();
    exit
}

/// Says of each how it stands, and brings it where it is missing and can be brought, until a signal ends that.
fn go_through(needs: &[Need], is_dry: bool, is_quiet: bool, mut bring: impl FnMut(&Way) -> Brought) -> Exit {
    let mut exit = Exit::Ok;
    for Need { what, state } in needs {
        match state {
            State::There if is_quiet => {}
            State::There => println!("there    {what}"),
            State::Unknown(why) => println!("unknown  {what}: {why}"),
            State::ByHand(how) => {
                println!("missing  {what}: {how}");
                exit = Exit::Failed;
            }
            State::Missing { way, by_hand } if is_dry => {
                println!("missing  {what}");
                show_way(way);
                println!("  by hand    {by_hand}");
            }
            State::Missing { way, by_hand } => match bring(way) {
                Brought::Done if is_quiet => {}
                Brought::Done => println!("brought  {what}"),
                Brought::Interrupted(signal) => {
                    eprintln!("{}: what was half brought is removed", signal.name());
                    return signal.into();
                }
                Brought::Failed(why) => {
                    println!("missing  {what}: {why}\n  by hand    {by_hand}");
                    exit = Exit::Failed;
                }
            },
        }
    }
    exit
}

/// What would be done.
fn show_way(way: &Way) {
    match way {
        Way::Commands { commands, publish } => {
            commands.iter().for_each(|command| println!("  would run  {}", line_text(command)));
            publish.iter().for_each(|(draft, path)| println!("  and rename {draft} to {path}"));
        }
        Way::Server(spec) => println!("  would start {} on this machine and have it pull {}", spec.service, spec.model),
    }
}

async fn brought(way: &Way, request: &RequestSpec) -> Brought {
    let mut signals = match Signals::listen() {
        Ok(signals) => signals,
        Err(error) => return Brought::Failed(error.to_string()),
    };
    tokio::select! {
        brought = bring(way, request) => brought.map_or_else(Brought::Failed, |()| Brought::Done),
        signal = signals.next() => Brought::Interrupted(signal),
    }
}
