//! `hbnode dummy`: the Dummy service alone. Its flags are made from its list of keys.

use std::net::SocketAddr;

use clap::{Arg, ArgMatches, Args, Command, FromArgMatches};
use hb_services::dummy::{self, DummyConfig, KEYS};
use tokio::net::TcpListener;

use super::{exit::Exit, words::DummyWords};

/// Timings and faults, as typed.
#[derive(Debug, Clone, Default)]
pub struct DummyFlags(Vec<(&'static str, String)>);

impl FromArgMatches for DummyFlags {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let mut flags = Self::default();
        flags.update_from_arg_matches(matches)?;
        Ok(flags)
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        for key in KEYS {
            if let Some(value) = matches.get_one::<String>(key.name) {
                self.0.push((key.name, value.clone()));
            }
        }
        Ok(())
    }
}

impl Args for DummyFlags {
    fn augment_args(command: Command) -> Command {
        let flag = |command: Command, key: &'static hb_services::dummy::DummyKey| {
            command.arg(Arg::new(key.name).long(key.name.replace('_', "-")).value_name(key.example).help(key.about))
        };
        KEYS.iter().fold(command, flag)
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

/// Serves until it is ended.
pub fn run(words: &DummyWords) -> Exit {
    let config = match DummyConfig::from_texts(words.flags.0.iter().map(|(key, value)| (*key, value.as_str()))) {
        Ok(config) => config,
        Err(problems) => {
            for problem in problems {
                eprintln!("error: --{}: {}; {}", problem.key.replace('_', "-"), problem.what, problem.advice);
            }
            return Exit::BadWords;
        }
    };
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("error: cannot start: {error}");
            return Exit::Failed;
        }
    };
    runtime.block_on(serve(words, config))
}

async fn serve(words: &DummyWords, config: DummyConfig) -> Exit {
    let listener = match TcpListener::bind((words.host.as_str(), words.port)).await {
        Ok(listener) => listener,
        Err(error) => {
            eprintln!("error: cannot listen on {}:{}: {error}; name another port with --port", words.host, words.port);
            return Exit::Failed;
        }
    };
    let address: Option<SocketAddr> = listener.local_addr().ok();
    if let Some(address) = address {
        eprintln!("the Dummy answers at http://{address}, as OpenAI's and as Ollama's servers do");
    }
    match dummy::serve(listener, config, crate::signals::ended()).await {
        Ok(()) => Exit::Ok,
        Err(error) => {
            eprintln!("error: the Dummy ended: {error}");
            Exit::Failed
        }
    }
}
