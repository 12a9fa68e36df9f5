//! The service's servers, what they run in, and custom services: what a recipe writes and what it means.

use std::{collections::BTreeMap, path::PathBuf};

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use serde_json::{Map, Value};

use super::{Mode, Recipe, words::Variables};
use crate::{
    trial::{ContainerRuntime, HeaderSource, ProtocolName},
    units::Span,
};

/// The servers.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Servers {
    /// How readiness is asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub health_check: Option<HealthCheckWords>,
    /// The service's own settings; a list in it is a sweep, `extra_args` excepted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service_config: Option<Map<String, Value>>,
    /// Base URLs of servers that already run, `http://` or `https://`; nothing is started or stopped then. Behind
    /// https the system's certificate authorities are trusted, or in their place those in the file that the variable
    /// SSL_CERT_FILE of each node names. HTTP/1.1 is spoken, and HTTP/2 with a server that answers nothing else.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub endpoints: Vec<String>,
    /// Further names that the model has in answers, as behind a gateway's alias; any other name is `wrong_model`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub answers_as: Vec<String>,
    /// Further headers of every request to the endpoints by name: a text, or for a secret `{env: NAME}` or `{file: PATH}`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub headers: BTreeMap<String, HeaderWords>,
    /// The variable that holds the endpoints' key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub api_key_env: Option<String>,
    /// The file that holds the endpoints' key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub api_key_file: Option<PathBuf>,
}

impl Servers {
    /// The variables that hold secrets for the endpoints.
    pub fn secret_variables(&self) -> impl Iterator<Item = &str> {
        let of_headers = self.headers.values().filter_map(|value| match &value.0 {
            HeaderSource::Env(name) => Some(name.as_str()),
            HeaderSource::Text(_) | HeaderSource::File(_) => None,
        });
        self.api_key_env.as_deref().into_iter().chain(of_headers)
    }
}

/// A header's value: a text, or where a secret one is read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeaderWords(pub HeaderSource);

impl Serialize for HeaderWords {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match &self.0 {
            HeaderSource::Text(text) => serializer.serialize_str(text),
            source => source.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for HeaderWords {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl<'de> de::Visitor<'de> for Visitor {
            type Value = HeaderWords;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a text, {env: NAME} or {file: PATH}")
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<HeaderWords, E> {
                Ok(HeaderWords(HeaderSource::Text(text.to_owned())))
            }
            fn visit_bool<E: de::Error>(self, value: bool) -> Result<HeaderWords, E> {
                self.visit_str(&value.to_string())
            }
            fn visit_u64<E: de::Error>(self, value: u64) -> Result<HeaderWords, E> {
                self.visit_str(&value.to_string())
            }
            fn visit_i64<E: de::Error>(self, value: i64) -> Result<HeaderWords, E> {
                self.visit_str(&value.to_string())
            }
            fn visit_f64<E: de::Error>(self, value: f64) -> Result<HeaderWords, E> {
                self.visit_str(&value.to_string())
            }
            fn visit_map<A: de::MapAccess<'de>>(self, mut map: A) -> Result<HeaderWords, A::Error> {
                let source = match map.next_key::<String>()?.as_deref() {
                    Some("env") => HeaderSource::Env(map.next_value()?),
                    Some("file") => HeaderSource::File(map.next_value()?),
                    Some(other) => return Err(de::Error::unknown_field(other, &["env", "file"])),
                    None => return Err(de::Error::invalid_length(0, &self)),
                };
                match map.next_key::<String>()? {
                    Some(_) => Err(de::Error::invalid_length(2, &self)),
                    None => Ok(HeaderWords(source)),
                }
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}

impl JsonSchema for HeaderWords {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "HeaderWords".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "description": "A text; of a secret, the variable or the file that holds it.",
            "anyOf": [
                { "type": ["string", "number", "boolean"] },
                {
                    "type": "object",
                    "additionalProperties": false,
                    "minProperties": 1,
                    "maxProperties": 1,
                    "properties": {
                        "env": { "type": "string", "minLength": 1, "description": "The variable that holds the value." },
                        "file": { "type": "string", "minLength": 1, "description": "The file that holds the value." },
                    },
                },
            ],
        })
    }
}

/// How a server is asked whether it is ready.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct HealthCheckWords {
    /// Whether the HTTP check is made; model and completion are asked in any case.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub enabled: Option<bool>,
    /// The time a server has from its start to its first completion; default 600s. A bare number is seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<Span>,
    /// The pause between two questions; default 2s. A bare number is seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interval: Option<Span>,
    /// The path to ask, such as `/health`; default by service.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<String>,
}

/// Images and executables.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Artifacts {
    /// The folder that relative image paths start from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub containers_dir: Option<PathBuf>,
    /// The service's image, or its executable where `runtime` is `bare`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<Artifact>,
    /// The old toolkit's client image; hbnode needs none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub python: Option<Artifact>,
    /// The service's image as a bare path; `service.path` says the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub container: Option<PathBuf>,
    /// What servers run in; default apptainer in slurm mode, else bare.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub runtime: Option<ContainerRuntime>,
    /// Further words for the container runtime's command line.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub extra_args: Vec<String>,
}

/// An image and where it comes from.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Artifact {
    /// The file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<PathBuf>,
    /// Where it is pulled from, such as `docker://ollama/ollama:latest`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remote: Option<String>,
}

/// A service described without Rust.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CustomServiceWords {
    /// The command's words, or one text that is cut at spaces; `{host}`, `{port}` and `{model}` are filled in.
    pub command: CommandWords,
    /// Variables for it.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub env: Variables,
    /// How readiness is asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ready: Option<Ready>,
    /// The protocol it speaks.
    pub protocol: ProtocolName,
    /// Its port.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub port: Option<u16>,
    /// The signal that ends it; default SIGTERM.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stop_signal: Option<String>,
    /// The time it has to end; default 8s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stop_grace: Option<Span>,
}

/// How a custom service's readiness is asked.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Ready {
    /// The path that answers 200.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// The time it has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<Span>,
}

/// A command as words, never a shell text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct CommandWords(pub Vec<String>);

impl<'de> Deserialize<'de> for CommandWords {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl<'de> de::Visitor<'de> for Visitor {
            type Value = CommandWords;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a list of words such as [my-server, --port, \"{port}\"]")
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<CommandWords, E> {
                Ok(CommandWords(text.split_whitespace().map(str::to_owned).collect()))
            }
            fn visit_seq<A: de::SeqAccess<'de>>(self, mut entries: A) -> Result<CommandWords, A::Error> {
                let mut words = Vec::new();
                while let Some(word) = entries.next_element()? {
                    words.push(word);
                }
                Ok(CommandWords(words))
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}

impl JsonSchema for CommandWords {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "CommandWords".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "description": "A list of words, or one text that is cut at spaces; no shell reads it.",
            "anyOf": [{ "type": "string", "minLength": 1 }, { "type": "array", "items": { "type": "string" }, "minItems": 1 }]
        })
    }
}

impl Recipe {
    /// What servers run in: what the recipe says, else apptainer in slurm mode and plain processes elsewhere.
    #[must_use]
    pub fn runtime(&self) -> ContainerRuntime {
        let written = self.artifacts.as_ref().and_then(|artifacts| artifacts.runtime);
        // The Dummy is this very program and needs no image anywhere.
        let is_dummy = self.workload.service == "dummy" && self.service_path().is_none();
        written.unwrap_or(match self.orchestration.mode {
            Mode::Slurm if !is_dummy => ContainerRuntime::Apptainer,
            _ => ContainerRuntime::Bare,
        })
    }

    /// Whether the servers run already.
    #[must_use]
    pub fn has_endpoints(&self) -> bool {
        self.servers.as_ref().is_some_and(|servers| !servers.endpoints.is_empty())
    }

    /// The service's image or executable as written, relative to `containers_dir` where it is not absolute.
    pub(super) fn service_path(&self) -> Option<PathBuf> {
        let artifacts = self.artifacts.as_ref()?;
        let named = artifacts.service.as_ref().and_then(|service| service.path.clone());
        let path = named.or_else(|| artifacts.container.clone())?;
        // A bare word such as `vllm` is looked up by the runtime itself when there is no folder to look in.
        Some(artifacts.containers_dir.as_ref().map_or_else(|| path.clone(), |folder| folder.join(&path)))
    }
}
