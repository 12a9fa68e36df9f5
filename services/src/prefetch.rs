//! What servers need on disk before a run, and the commands that bring it. Nothing is looked at and nothing is run here.

use std::{collections::BTreeMap, path::PathBuf};

use hb_core::trial::{ContainerRuntime, ServiceSpec};

use crate::service::CommandLine;

/// The commands that bring an image to `draft`, in order; where the runtime keeps images under names, to that name.
#[must_use]
pub fn image_pull(runtime: ContainerRuntime, remote: &str, draft: &str) -> Vec<CommandLine> {
    let line = |program: &str, args: &[&str]| CommandLine {
        program: program.into(),
        args: args.iter().map(|arg| (*arg).to_owned()).collect(),
        env: BTreeMap::new(),
    };
    let name = remote.split_once("://").map_or(remote, |(_, name)| name);
    let with_scheme = if remote.contains("://") { remote.to_owned() } else { format!("docker://{remote}") };
    match runtime {
        ContainerRuntime::Apptainer => vec![line("apptainer", &["pull", draft, &with_scheme])],
        ContainerRuntime::Charliecloud => {
            vec![line("ch-image", &["pull", name]), line("ch-convert", &["-i", "ch-image", "-o", "dir", name, draft])]
        }
        ContainerRuntime::Podman => vec![line("podman", &["pull", name])],
        ContainerRuntime::Bare => Vec::new(),
    }
}

/// Where a server finds its model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ModelPlace {
    /// It needs none of its own.
    None,
    /// A file or folder that somebody has to bring.
    Local(PathBuf),
    /// A manifest below Ollama's folder of models; a server pulls what it names.
    Ollama {
        /// The manifest.
        manifest: PathBuf,
    },
    /// A folder in Hugging Face's cache.
    Hub {
        /// The model's folder there; its snapshots lie below.
        folder: PathBuf,
        /// The cache, where it is not the one that the tools take by themselves.
        named_cache: Option<PathBuf>,
    },
    /// A service that the recipe describes: nobody but its command knows.
    Unknown,
}

/// Where the model of this spec is looked for, with `variable` for what the service's process would find in its environment.
#[must_use]
pub fn model_place(spec: &ServiceSpec, variable: impl Fn(&str) -> Option<String>) -> ModelPlace {
    let variable = |name: &str| spec.environment.get(name).cloned().or_else(|| variable(name)).filter(|value| !value.is_empty());
    let home = || PathBuf::from(variable("HOME").unwrap_or_default());
    let word = |key: &str| spec.config.get(key).and_then(serde_json::Value::as_str).map(PathBuf::from);
    match spec.service.as_str() {
        _ if !spec.endpoints.is_empty() => ModelPlace::None,
        _ if spec.custom.is_some() => ModelPlace::Unknown,
        "ollama" => {
            let models = word("models").or_else(|| variable("OLLAMA_MODELS").map(PathBuf::from));
            ModelPlace::Ollama {
                manifest: models.unwrap_or_else(|| home().join(".ollama/models")).join(ollama_manifest(&spec.model)),
            }
        }
        "vllm" if spec.model.starts_with(['/', '.', '~']) || spec.model.matches('/').count() > 1 => {
            ModelPlace::Local(PathBuf::from(&spec.model))
        }
        "vllm" => {
            let named_cache = word("download_dir");
            let of_variables = || match (variable("HF_HUB_CACHE"), variable("HF_HOME")) {
                (Some(cache), _) => PathBuf::from(cache),
                (None, Some(home)) => PathBuf::from(home).join("hub"),
                (None, None) => {
                    variable("XDG_CACHE_HOME").map_or_else(|| home().join(".cache"), PathBuf::from).join("huggingface/hub")
                }
            };
            let cache = named_cache.clone().unwrap_or_else(of_variables);
            ModelPlace::Hub { folder: cache.join(format!("models--{}", spec.model.replace('/', "--"))), named_cache }
        }
        _ => ModelPlace::None,
    }
}

/// The command that fills Hugging Face's cache; `tool` is `hf`, or `huggingface-cli` where that is older.
#[must_use]
pub fn hub_download(spec: &ServiceSpec, tool: &str, named_cache: Option<&PathBuf>) -> CommandLine {
    let mut args = vec!["download".to_owned(), spec.model.clone()];
    if let Some(cache) = named_cache {
        args.extend(["--cache-dir".to_owned(), cache.display().to_string()]);
    }
    CommandLine { program: tool.into(), args, env: spec.environment.clone() }
}

/// `[host/][namespace/]model[:tag]`, as Ollama lays it out.
fn ollama_manifest(model: &str) -> PathBuf {
    let (path, tag) = match model.rsplit_once(':') {
        Some((path, tag)) if !tag.contains('/') => (path, tag),
        _ => (model, "latest"),
    };
    let parts: Vec<&str> = path.split('/').collect();
    let (host, namespace, name) = match parts.as_slice() {
        [name] => ("registry.ollama.ai", "library", *name),
        [namespace, name] => ("registry.ollama.ai", *namespace, *name),
        [host, rest @ ..] => return ["manifests", host].iter().chain(rest).chain([&tag]).collect(),
        [] => ("registry.ollama.ai", "library", ""),
    };
    ["manifests", host, namespace, name, tag].iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(service: &str, model: &str) -> ServiceSpec {
        let text = format!(
            "scenario: s\norchestration: {{mode: local}}\nworkload: {{service: {service}, model: '{model}', duration: 10s}}\n"
        );
        let known =
            hb_core::recipe::KnownService { name: "vllm", default_api: hb_core::trial::Api::Completions, is_started: true };
        let ollama =
            hb_core::recipe::KnownService { name: "ollama", default_api: hb_core::trial::Api::Generate, is_started: true };
        let reading = hb_core::recipe::read(text.as_bytes(), &[], &[known, ollama]);
        hb_core::recipe::trials(&reading.recipe.unwrap_or_else(|| panic!("{:#?}", reading.problems))).remove(0).service
    }

    fn place(service: &str, model: &str, variables: &[(&str, &str)]) -> ModelPlace {
        let variable = |name: &str| variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned());
        model_place(&spec(service, model), variable)
    }

    #[test]
    fn ollamas_models_lie_where_it_looks_for_them() {
        let check = |model: &str, path: &str| {
            let ModelPlace::Ollama { manifest } = place("ollama", model, &[("HOME", "/h")]) else { panic!("{model}") };
            assert_eq!(manifest, PathBuf::from(format!("/h/.ollama/models/manifests/{path}")));
        };
        check("llama2", "registry.ollama.ai/library/llama2/latest");
        check("llama2:7b", "registry.ollama.ai/library/llama2/7b");
        check("me/own:x", "registry.ollama.ai/me/own/x");
        check("hf.co/a/b:Q4", "hf.co/a/b/Q4");
        let ModelPlace::Ollama { manifest } = place("ollama", "m", &[("OLLAMA_MODELS", "/m")]) else { panic!("no place") };
        assert!(manifest.starts_with("/m/manifests"));
    }

    #[test]
    fn a_models_folder_in_the_hubs_cache_follows_the_variables() {
        let folder = |variables: &[(&str, &str)]| match place("vllm", "org/name", variables) {
            ModelPlace::Hub { folder, .. } => folder.display().to_string(),
            other => panic!("{other:?}"),
        };
        assert_eq!(folder(&[("HOME", "/h")]), "/h/.cache/huggingface/hub/models--org--name");
        assert_eq!(folder(&[("HF_HOME", "/x")]), "/x/hub/models--org--name");
        assert_eq!(folder(&[("HF_HOME", "/x"), ("HF_HUB_CACHE", "/y")]), "/y/models--org--name");
        for path in ["/models/m", "./m", "a/b/c"] {
            assert_eq!(place("vllm", path, &[]), ModelPlace::Local(path.into()));
        }
        assert!(matches!(place("vllm", "gpt2", &[]), ModelPlace::Hub { folder, .. } if folder.ends_with("models--gpt2")));
    }

    #[test]
    fn each_runtime_pulls_in_its_own_words() {
        let words = |runtime, remote: &str| {
            let lines = image_pull(runtime, remote, "/d/.draft");
            lines.iter().map(|line| format!("{} {}", line.program.display(), line.args.join(" "))).collect::<Vec<_>>()
        };
        assert_eq!(words(ContainerRuntime::Apptainer, "docker://a/b:1"), ["apptainer pull /d/.draft docker://a/b:1"]);
        assert_eq!(words(ContainerRuntime::Apptainer, "a/b:1"), ["apptainer pull /d/.draft docker://a/b:1"]);
        assert_eq!(
            words(ContainerRuntime::Charliecloud, "docker://a/b:1"),
            ["ch-image pull a/b:1", "ch-convert -i ch-image -o dir a/b:1 /d/.draft"]
        );
        assert_eq!(words(ContainerRuntime::Podman, "docker://a/b:1"), ["podman pull a/b:1"]);
    }
}
