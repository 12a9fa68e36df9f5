//! What a server process is wrapped in. Words in, words out: nothing is started here.
//!
//! A variable's value never stands among the words, where every user of the node could read it: each runtime
//! takes it from its own process's environment.

use std::collections::BTreeMap;

use hb_core::trial::{ContainerRuntime, ServiceSpec};

use crate::service::{CommandLine, OWN_BINARY, ServiceProblem};

/// The GPUs a node has, as far as a container must be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Accelerator {
    /// None.
    None,
    /// NVIDIA's.
    Nvidia,
    /// AMD's.
    Amd,
}

/// What a node's environment passes into a clean container: which GPUs are ours, and the way out.
pub const PASSED: [&str; 10] = [
    "CUDA_VISIBLE_DEVICES",
    "ROCR_VISIBLE_DEVICES",
    "HIP_VISIBLE_DEVICES",
    "HF_TOKEN",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "NO_PROXY",
    "http_proxy",
    "https_proxy",
    "no_proxy",
];

/// The command line that runs `command` inside the spec's runtime, on a node with these GPUs and this environment.
///
/// # Errors
/// Without an image, or with a bind that the runtime cannot make.
pub fn wrap(
    command: CommandLine,
    spec: &ServiceSpec,
    accelerator: Accelerator,
    surroundings: &BTreeMap<String, String>,
) -> Result<CommandLine, ServiceProblem> {
    // A custom service that names `hbnode` means the one in its image.
    let is_own_binary = command.program.as_os_str() == OWN_BINARY && spec.custom.is_none();
    if spec.runtime == ContainerRuntime::Bare || is_own_binary {
        return Ok(command);
    }
    let image = image(spec)?;
    check_binds(spec)?;
    let mut inside: BTreeMap<String, String> = BTreeMap::new();
    for name in PASSED {
        inside.extend(surroundings.get(name).map(|value| (name.to_owned(), value.clone())));
    }
    inside.extend(command.env.clone());
    let program = command.program.display().to_string();
    let words = Words { further: spec.runtime_args.clone(), image, program, args: command.args };
    Ok(match spec.runtime {
        ContainerRuntime::Apptainer => apptainer(words, &spec.binds, accelerator, inside),
        ContainerRuntime::Podman => podman(words, &spec.binds, accelerator, inside),
        ContainerRuntime::Charliecloud => charliecloud(words, &spec.binds, inside),
        ContainerRuntime::Bare => unreachable!("a bare command was returned above"),
    })
}

struct Words {
    /// For the runtime itself, as the recipe has them.
    further: Vec<String>,
    image: String,
    program: String,
    args: Vec<String>,
}

/// The host's environment stays out (`--cleanenv`), and so does its `~/.local`, which would shadow the image's
/// packages. `--no-eval` keeps a value such as `$(…)` from being run by the container's start script.
fn apptainer(words: Words, binds: &[String], gpu: Accelerator, mut inside: BTreeMap<String, String>) -> CommandLine {
    let mut args: Vec<String> = ["exec", "--cleanenv", "--no-eval"].map(str::to_owned).into();
    match gpu {
        Accelerator::Nvidia => args.push("--nv".into()),
        Accelerator::Amd => args.push("--rocm".into()),
        Accelerator::None => {}
    }
    for bind in binds {
        args.extend(["--bind".into(), bind.clone()]);
    }
    inside.entry("PYTHONNOUSERSITE".into()).or_insert_with(|| "1".into());
    args.extend(words.further);
    args.extend([words.image, words.program]);
    args.extend(words.args);
    // Apptainer hands these on without the prefix, `--cleanenv` or not; `--env` would cut a value at its commas.
    let env = inside.into_iter().map(|(name, value)| (format!("APPTAINERENV_{name}"), value)).collect();
    CommandLine { program: "apptainer".into(), args, env }
}

/// In the foreground, on the host's network; the image's own entry point is replaced, since it often holds a program.
fn podman(words: Words, binds: &[String], gpu: Accelerator, inside: BTreeMap<String, String>) -> CommandLine {
    let mut args: Vec<String> = ["run", "--rm", "--network", "host", "--ipc", "host"].map(str::to_owned).into();
    let devices: &[&str] = match gpu {
        Accelerator::Nvidia => &["nvidia.com/gpu=all"],
        Accelerator::Amd => &["/dev/kfd", "/dev/dri"],
        Accelerator::None => &[],
    };
    for device in devices {
        args.extend(["--device".into(), (*device).into()]);
    }
    for bind in binds {
        args.extend(["--volume".into(), bind.clone()]);
    }
    for name in inside.keys() {
        args.extend(["--env".into(), name.clone()]);
    }
    args.extend(words.further);
    args.extend(["--entrypoint".into(), words.program, words.image]);
    args.extend(words.args);
    CommandLine { program: "podman".into(), args, env: inside }
}

/// Charliecloud keeps the environment as it is, and finds the GPU libraries that `ch-fromhost` put into the image.
fn charliecloud(words: Words, binds: &[String], inside: BTreeMap<String, String>) -> CommandLine {
    let mut args = Vec::new();
    for bind in binds {
        args.extend(["--bind".into(), bind.trim_end_matches(":rw").to_owned()]);
    }
    args.extend(words.further);
    args.extend([words.image, "--".into(), words.program]);
    args.extend(words.args);
    CommandLine { program: "ch-run".into(), args, env: inside }
}

fn image(spec: &ServiceSpec) -> Result<String, ServiceProblem> {
    let path = spec.path.as_ref().map(|path| path.display().to_string()).filter(|path| !path.is_empty());
    path.filter(|path| !path.starts_with('-')).ok_or_else(|| ServiceProblem {
        path: "artifacts.service.path".into(),
        what: "the runtime needs an image, and none is named".into(),
        advice: "name the image, or set artifacts.runtime to bare".into(),
    })
}

fn check_binds(spec: &ServiceSpec) -> Result<(), ServiceProblem> {
    let refused = |bind: &str| {
        if bind.starts_with('-') || bind.contains(',') {
            return Some("write source:target or source:target:mode, one bind an entry");
        }
        let is_read_only = bind.ends_with(":ro") && spec.runtime == ContainerRuntime::Charliecloud;
        is_read_only.then_some("leave the mode out: Charliecloud binds for reading and writing only")
    };
    for (index, bind) in spec.binds.iter().enumerate() {
        if let Some(advice) = refused(bind) {
            let (path, what) = (format!("binds[{index}]"), format!("found `{bind}`"));
            return Err(ServiceProblem { path, what, advice: advice.into() });
        }
    }
    Ok(())
}
