//! What a recipe needs on this machine's disks before a run: whether it is there, and how it is brought.
//!
//! Images come to a temporary name and are renamed when they are whole. Where a tool or the network is missing, what is to be
//! brought by hand is told, and to where.

mod bring;

use std::{collections::BTreeSet, path::Path, process::Command, process::Stdio};

use hb_core::trial::{ContainerRuntime, ServiceSpec, Trial};
use hb_services::{
    prefetch::{ModelPlace, hub_download, image_pull, model_place},
    runtime::{Accelerator, PASSED, wrap},
    service::CommandLine,
};

pub use self::bring::bring;

/// Something that a run needs.
#[derive(Debug, Clone)]
pub struct Need {
    /// What, with its name or path.
    pub what: String,
    /// How it stands.
    pub state: State,
}

/// How it stands with it.
#[derive(Debug, Clone)]
pub enum State {
    /// It is there.
    There,
    /// It can be brought.
    Missing {
        /// How.
        way: Way,
        /// How a person does it where this machine cannot.
        by_hand: String,
    },
    /// It is missing, and only a person can bring it.
    ByHand(String),
    /// Nobody can tell.
    Unknown(String),
}

/// How something is brought.
#[derive(Debug, Clone)]
pub enum Way {
    /// By these commands, one after the other; the last makes `draft`, which is renamed to `path`.
    Commands {
        /// The commands.
        commands: Vec<CommandLine>,
        /// What they make, and its final name.
        publish: Option<(String, String)>,
    },
    /// By a server of it that pulls.
    Server(Box<ServiceSpec>),
}

/// All that the recipe's servers need, each thing once, images before what is brought with them.
#[must_use]
pub fn needs(trials: &[Trial]) -> Vec<Need> {
    let mut seen = BTreeSet::new();
    let mut needs: Vec<Need> = Vec::new();
    let started: Vec<&Trial> = trials.iter().filter(|trial| trial.service.endpoints.is_empty()).collect();
    let images = started.iter().filter_map(|trial| image(&trial.service));
    let models = started.iter().filter_map(|trial| model(trial));
    let datasets = trials.iter().filter_map(|trial| trial.load.dataset.as_ref()).map(|dataset| dataset_file(&dataset.path));
    let tokenizers = trials.iter().filter_map(|trial| trial.load.tokenizer.as_ref()).map(|spec| tokenizer_file(&spec.path));
    for need in images.chain(models).chain(datasets).chain(tokenizers) {
        if seen.insert(need.what.clone()) {
            needs.push(need);
        }
    }
    needs
}

/// The image, or the program where no image is used.
fn image(spec: &ServiceSpec) -> Option<Need> {
    let path = spec.path.as_ref()?.display().to_string();
    if spec.runtime == ContainerRuntime::Bare {
        let state =
            if is_program(&path) { State::There } else { State::ByHand(format!("put the program of {} there", spec.service)) };
        return Some(Need { what: format!("program {path}"), state });
    }
    let is_there = match spec.runtime {
        ContainerRuntime::Podman => succeeds("podman", &["image", "exists", &path]),
        ContainerRuntime::Charliecloud => Path::new(&path).is_dir(),
        ContainerRuntime::Apptainer | ContainerRuntime::Bare => Path::new(&path).is_file(),
    };
    let what = format!("image {path}");
    // Podman's images have no other place than their name.
    let remote = spec.remote.as_deref().or_else(|| (spec.runtime == ContainerRuntime::Podman).then_some(path.as_str()));
    let Some(remote) = remote.filter(|_| !is_there) else {
        let asked = "bring it there, or say where it comes from: `artifacts.service.remote: docker://…`".to_owned();
        return Some(Need { what, state: if is_there { State::There } else { State::ByHand(asked) } });
    };
    let draft = format!("{path}.{}.partial", std::process::id());
    let commands = image_pull(spec.runtime, remote, &draft);
    let by_hand = match spec.runtime {
        ContainerRuntime::Apptainer => {
            let pull = line_text(&image_pull(spec.runtime, remote, "image.sif")[0]);
            format!("where the registry can be reached: `{pull}`, then copy image.sif to {path}")
        }
        ContainerRuntime::Charliecloud => {
            let lines: Vec<String> = image_pull(spec.runtime, remote, "image").iter().map(line_text).collect();
            format!("where the registry can be reached: `{}`, then copy the folder to {path}", lines.join(" && "))
        }
        ContainerRuntime::Podman | ContainerRuntime::Bare => {
            format!(
                "where the registry can be reached: `podman pull {path} && podman save -o image.tar {path}`, then here `podman load -i image.tar`"
            )
        }
    };
    let publish = (spec.runtime != ContainerRuntime::Podman).then_some((draft, path));
    Some(Need { what, state: State::Missing { way: Way::Commands { commands, publish }, by_hand } })
}

fn model(trial: &Trial) -> Option<Need> {
    let spec = &trial.service;
    let what = format!("model {}", spec.model);
    let state = match model_place(spec, |name| std::env::var(name).ok()) {
        ModelPlace::None => return None,
        ModelPlace::Unknown => {
            State::Unknown(format!("`{}` is described by the recipe: only its own command knows what it loads", spec.service))
        }
        ModelPlace::Local(path) if path.exists() => State::There,
        ModelPlace::Local(path) => State::ByHand(format!("bring the folder or file to {}", path.display())),
        ModelPlace::Ollama { manifest } if manifest.is_file() => State::There,
        ModelPlace::Ollama { manifest } => {
            let models =
                manifest.ancestors().find(|folder| folder.ends_with("manifests")).and_then(Path::parent).unwrap_or(&manifest);
            let by_hand = format!(
                "where ollama.com can be reached: `ollama pull {}`, then copy its folder of models (~/.ollama/models) to {}",
                spec.model,
                models.display()
            );
            State::Missing { way: Way::Server(Box::new(spec.clone())), by_hand }
        }
        // vLLM takes a folder of that name before it asks the hub.
        ModelPlace::Hub { folder, .. } if is_snapshot_whole(&folder) || Path::new(&spec.model).is_dir() => State::There,
        ModelPlace::Hub { folder, named_cache } => {
            let by_hand = format!(
                "where huggingface.co can be reached: `hf download {}`, then copy ~/.cache/huggingface/hub/{} to {}",
                spec.model,
                folder.file_name().and_then(std::ffi::OsStr::to_str).unwrap_or_default(),
                folder.display()
            );
            let tool = if spec.runtime == ContainerRuntime::Bare { hub_tool() } else { "hf" };
            let line = hub_download(spec, tool, named_cache.as_ref());
            let passed = PASSED.iter().filter_map(|name| Some(((*name).to_owned(), std::env::var(name).ok()?))).collect();
            match wrap(line, spec, Accelerator::None, &passed) {
                Ok(line) => State::Missing { way: Way::Commands { commands: vec![line], publish: None }, by_hand },
                Err(_) => State::ByHand(by_hand),
            }
        }
    };
    Some(Need { what, state })
}

fn dataset_file(path: &Path) -> Need {
    file("dataset", path, path.is_file())
}

fn tokenizer_file(path: &Path) -> Need {
    file("tokenizer", path, path.is_file() || path.join("tokenizer.json").is_file())
}

fn file(what: &str, path: &Path, is_there: bool) -> Need {
    let state = if is_there { State::There } else { State::ByHand(format!("bring the file to {}", path.display())) };
    Need { what: format!("{what} {}", path.display()), state }
}

/// A snapshot with a configuration and no download that was cut.
fn is_snapshot_whole(folder: &Path) -> bool {
    let entries = |folder: std::path::PathBuf| std::fs::read_dir(folder).into_iter().flatten().flatten();
    let is_cut = entries(folder.join("blobs")).any(|blob| blob.path().extension().is_some_and(|end| end == "incomplete"));
    !is_cut && entries(folder.join("snapshots")).any(|snapshot| snapshot.path().join("config.json").exists())
}

fn hub_tool() -> &'static str {
    if is_program("hf") || !is_program("huggingface-cli") { "hf" } else { "huggingface-cli" }
}

/// Whether a program is there: at its path, or on the search path.
#[must_use]
pub fn is_program(name: &str) -> bool {
    if name.contains('/') {
        return Path::new(name).is_file();
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder| folder.join(name).is_file())
}

fn succeeds(program: &str, args: &[&str]) -> bool {
    let quiet = Command::new(program).args(args).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status();
    quiet.is_ok_and(|status| status.success())
}

/// A command as a shell would have to be given it.
#[must_use]
pub fn line_text(line: &CommandLine) -> String {
    let program = line.program.display().to_string();
    let words = std::iter::once(&program).chain(&line.args).map(|word| hb_core::launch::shell(word).into_owned());
    words.collect::<Vec<_>>().join(" ")
}
