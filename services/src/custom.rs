//! A service described in the recipe, without Rust.

use hb_core::{
    orders::ServerOrder,
    trial::{Api, CustomService, ProtocolName, ServiceSpec},
    units::Span,
};

use crate::{
    config::unknown_keys,
    ollama::Ollama,
    openai::lists_model,
    service::{CommandLine, PullLine, Service, ServiceProblem, Step, Stopping, healthy},
};

/// The port of a custom service that names none.
const DEFAULT_PORT: u16 = 8000;

/// A service made of a recipe's block.
#[derive(Debug, Clone, PartialEq)]
pub struct Custom {
    name: String,
    block: CustomService,
}

impl Custom {
    /// The service of that name and block.
    #[must_use]
    pub fn new(name: &str, block: &CustomService) -> Self {
        Self { name: name.to_owned(), block: block.clone() }
    }

    fn path(&self, field: &str) -> String {
        format!("custom_services.{}.{field}", self.name)
    }

    fn without_command(&self) -> Option<ServiceProblem> {
        self.block.command.first().is_none_or(|program| program.trim().is_empty()).then(|| ServiceProblem {
            path: self.path("command"),
            what: "there is no program".into(),
            advice: "write a list of words such as [\"my-server\", \"--port\", \"{port}\"]".into(),
        })
    }
}

impl Service for Custom {
    fn name(&self) -> &str {
        &self.name
    }
    fn about(&self) -> &str {
        "a service described in the recipe"
    }
    fn default_port(&self) -> u16 {
        self.block.port.unwrap_or(DEFAULT_PORT)
    }
    fn protocol(&self) -> ProtocolName {
        self.block.protocol
    }
    fn default_api(&self) -> Api {
        match self.block.protocol {
            ProtocolName::Openai => Api::Completions,
            ProtocolName::Ollama => Api::Generate,
        }
    }
    fn is_started(&self) -> bool {
        true
    }

    fn check(&self, spec: &ServiceSpec) -> Vec<ServiceProblem> {
        let mut problems: Vec<_> = self.without_command().into_iter().collect();
        problems.extend(unknown_keys(&spec.config, &[]));
        if self.block.ready_path.as_deref().is_some_and(|path| !path.starts_with('/')) {
            problems.push(ServiceProblem {
                path: self.path("ready.path"),
                what: format!("found `{}`", self.block.ready_path.as_deref().unwrap_or_default()),
                advice: "write a path from the root, such as /health".into(),
            });
        }
        let signal = self.block.stop_signal.as_deref();
        if let Some(unknown) = signal.filter(|signal| !is_stop_signal(signal)) {
            problems.push(ServiceProblem {
                path: self.path("stop_signal"),
                what: format!("found `{unknown}`, which is not a signal that ends a server"),
                advice: format!("write one of {}", STOP_SIGNALS.map(|name| format!("SIG{name}")).join(", ")),
            });
        }
        if let Some(long) = self.block.stop_grace.filter(|grace| *grace > LONGEST_STOP_GRACE) {
            problems.push(ServiceProblem {
                path: self.path("stop_grace"),
                what: format!("found {long}, and a node that ends waits no longer for its servers than {LONGEST_STOP_GRACE}"),
                advice: format!("write at most {LONGEST_STOP_GRACE}; what is left then is killed"),
            });
        }
        problems
    }

    fn command(&self, order: &ServerOrder) -> Result<CommandLine, ServiceProblem> {
        if let Some(problem) = self.without_command() {
            return Err(problem);
        }
        let spec = &order.service;
        let mut words = self.block.command.iter().map(|word| filled(word, order));
        let program = words.next().expect("a command without words was refused above").into();
        let args = words.chain(spec.extra_args.iter().cloned()).collect();
        let mut env = spec.environment.clone();
        env.extend(self.block.env.iter().map(|(name, value)| (name.clone(), filled(value, order))));
        Ok(CommandLine { program, args, env })
    }

    fn readiness(&self, spec: &ServiceSpec) -> Vec<Step> {
        let path = spec.health.endpoint.as_ref().or(self.block.ready_path.as_ref());
        path.and_then(|path| healthy(spec, path)).into_iter().chain([Step::Completes]).collect()
    }

    fn tokenize_path(&self) -> Option<&'static str> {
        (self.block.protocol == ProtocolName::Openai).then_some(crate::tokenize::PATH)
    }

    fn lists_model(&self, body: &[u8], model: &str) -> bool {
        match self.block.protocol {
            ProtocolName::Openai => lists_model(body, model),
            ProtocolName::Ollama => Ollama.lists_model(body, model),
        }
    }

    fn pull_line(&self, line: &[u8]) -> PullLine {
        Ollama.pull_line(line)
    }

    fn stopping(&self) -> Stopping {
        let usual = Stopping::default();
        Stopping {
            signal: self.block.stop_signal.clone().unwrap_or(usual.signal),
            grace: self.block.stop_grace.unwrap_or(usual.grace),
        }
    }
}

/// Nodes wait 20 s for their servers when they end, and the run 30 s between two trials.
const LONGEST_STOP_GRACE: Span = Span::from_secs(15);

/// The signals that end a server, without their `SIG`.
pub const STOP_SIGNALS: [&str; 7] = ["TERM", "INT", "QUIT", "HUP", "USR1", "USR2", "KILL"];

/// With or without its `SIG`, in any case.
fn is_stop_signal(text: &str) -> bool {
    let upper = text.trim().to_ascii_uppercase();
    STOP_SIGNALS.contains(&upper.strip_prefix("SIG").unwrap_or(&upper))
}

/// Fills in what is known only at the start, in one pass: what is filled in is not looked at again.
fn filled(word: &str, order: &ServerOrder) -> String {
    let (mut out, mut rest) = (String::with_capacity(word.len()), word);
    while let Some(at) = rest.find('{') {
        out.push_str(&rest[..at]);
        rest = &rest[at..];
        let known =
            [("{port}", order.port.to_string()), ("{model}", order.service.model.clone()), ("{host}", order.host.clone())];
        match known.iter().find(|(name, _)| rest.starts_with(name)) {
            Some((name, value)) => {
                out.push_str(value);
                rest = &rest[name.len()..];
            }
            // Any other brace is the command's own, such as JSON.
            None => {
                out.push('{');
                rest = &rest[1..];
            }
        }
    }
    out + rest
}
