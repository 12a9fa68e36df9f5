//! What an order means on this node: the service, the words that are really run, how they are ended.

use std::path::Path;

use hb_core::{orders::ServerOrder, trial::ContainerRuntime};
use hb_services::service::{CommandLine, OWN_BINARY, Service};

use crate::child::{StopPolicy, stopping::UnknownSignal};

/// The service, if hbnode starts it.
pub(super) fn service_of(order: &ServerOrder) -> Result<&'static dyn Service, String> {
    let name = &order.service.service;
    let service = hb_services::find(name).ok_or_else(|| format!("the service `{name}` is unknown"))?;
    if service.is_started() { Ok(service) } else { Err(format!("the service `{name}` is never started by hbnode")) }
}

/// How the service wants its process to end.
pub(super) fn policy_of(service: &dyn Service) -> Result<StopPolicy, String> {
    let stopping = service.stopping();
    let signal = stopping.signal.parse().map_err(|error: UnknownSignal| error.to_string())?;
    Ok(StopPolicy { signal, grace: stopping.grace })
}

/// The words that are really run.
pub(super) fn command_of(service: &dyn Service, order: &ServerOrder, own_exe: &Path) -> Result<CommandLine, String> {
    let mut command = service.command(order).map_err(|problem| problem.to_string())?;
    if command.program == Path::new(OWN_BINARY) {
        own_exe.clone_into(&mut command.program);
        return Ok(command);
    }
    match order.service.runtime {
        ContainerRuntime::Bare => Ok(command),
        runtime => Err(format!("no program runs in {runtime:?} yet; set the runtime to `bare`")),
    }
}

/// A base URL; an IPv6 address stands in brackets.
pub(super) fn base_url(host: &str, port: u16) -> String {
    if host.contains(':') { format!("http://[{host}]:{port}") } else { format!("http://{host}:{port}") }
}

/// The command line for people: what follows an option such as `--api-key` is left out.
pub(super) fn without_secrets(command: &CommandLine) -> Vec<String> {
    let names_secret = |word: &str| {
        let lower = word.to_ascii_lowercase();
        lower.starts_with('-')
            && ["api-key", "api_key", "token=", "hf-token", "secret", "password"].iter().any(|name| lower.contains(name))
    };
    let mut words = vec![command.program.display().to_string()];
    let mut is_value = false;
    for word in &command.args {
        words.push(match word.split_once('=') {
            _ if is_value => "***".into(),
            Some((option, _)) if names_secret(word) => format!("{option}=***"),
            _ => word.clone(),
        });
        is_value = !is_value && names_secret(word) && !word.contains('=');
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_on_the_command_line_is_left_out() {
        let args = ["--api-key", "sk-1", "--port", "8000", "--api-key=sk-2", "--hf-token", "hf", "--max-tokens", "5"];
        let command = CommandLine {
            program: "vllm".into(),
            args: args.map(str::to_owned).to_vec(),
            env: [("K".into(), "sk-3".into())].into(),
        };
        let expected = ["vllm", "--api-key", "***", "--port", "8000", "--api-key=***", "--hf-token", "***", "--max-tokens", "5"];
        assert_eq!(without_secrets(&command), expected);
    }

    #[test]
    fn an_ipv6_address_stands_in_brackets() {
        assert_eq!(base_url("fd00::1", 80), "http://[fd00::1]:80");
        assert_eq!(base_url("n1", 8000), "http://n1:8000");
    }
}
