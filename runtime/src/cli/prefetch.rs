//! `hbnode prefetch`: brings the images and models that a recipe needs to where it will look for them.

use super::{exit::Exit, words::PrefetchWords};
use crate::{
    lead::recipe::{Source, check, show},
    prefetch::{State, Way, bring, line_text, needs},
    signals::Signals,
};

/// Says what is there, and brings what is not.
pub fn run(words: &PrefetchWords, is_quiet: bool) -> Exit {
    let source = match Source::read(&words.recipe) {
        Ok(source) => source,
        Err(sentence) => {
            eprintln!("error: {sentence}");
            return Exit::BadWords;
        }
    };
    let checked = match check(&source, &words.sets) {
        Ok(checked) => checked,
        Err(problems) => {
            show(&problems, &source);
            return Exit::BadWords;
        }
    };
    let needs = needs(&checked.trials);
    if needs.is_empty() {
        if !is_quiet {
            println!("nothing to bring: the recipe starts nothing that needs an image, a program or a model");
        }
        return Exit::Ok;
    }
    let runtime = match tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("error: cannot start: {error}");
            return Exit::Failed;
        }
    };
    let mut exit = Exit::Ok;
    for need in needs {
        let what = &need.what;
        match &need.state {
            State::There if is_quiet => {}
            State::There => println!("there    {what}"),
            State::Unknown(why) => println!("unknown  {what}: {why}"),
            State::ByHand(how) => {
                println!("missing  {what}: {how}");
                exit = Exit::Failed;
            }
            State::Missing { way, by_hand } if words.dry_run => {
                println!("missing  {what}");
                match way {
                    Way::Commands { commands, publish } => {
                        commands.iter().for_each(|command| println!("  would run  {}", line_text(command)));
                        publish.iter().for_each(|(draft, path)| println!("  and rename {draft} to {path}"));
                    }
                    Way::Server(spec) => {
                        println!("  would start {} on this machine and have it pull {}", spec.service, spec.model)
                    }
                }
                println!("  by hand    {by_hand}");
            }
            State::Missing { way, by_hand } => {
                let request = &checked.trials[0].request;
                let brought = runtime.block_on(async {
                    let mut signals = Signals::listen().map_err(|error| Err(error.to_string()))?;
                    tokio::select! {
                        brought = bring(way, request) => brought.map_err(Err),
                        signal = signals.next() => Err(Ok(signal)),
                    }
                });
                match brought {
                    Ok(()) if is_quiet => {}
                    Ok(()) => println!("brought  {what}"),
                    Err(Ok(signal)) => {
                        eprintln!("{}: what was half brought is removed", signal.name());
                        exit = signal.into();
                        break;
                    }
                    Err(Err(why)) => {
                        println!("missing  {what}: {why}\n  by hand    {by_hand}");
                        exit = Exit::Failed;
                    }
                }
            }
        }
    }
    // A server's guardian that is left behind sees the end of this process.
    runtime.shutdown_background();
    exit
}
