//! What an order means on this node: the service, the words that are really run, how they are ended.

use std::{env, path::Path};

use hb_core::orders::{ServerOrder, authority};
use hb_services::{
    Resolved,
    runtime::{Accelerator, PASSED, wrap},
    service::{CommandLine, OWN_BINARY, Service},
};

use crate::child::{StopPolicy, stopping::UnknownSignal};

/// The service, if hbnode starts it.
pub(super) fn service_of(order: &ServerOrder) -> Result<Resolved, String> {
    let service = hb_services::resolve(&order.service).map_err(|problem| problem.to_string())?;
    if service.is_started() { Ok(service) } else { Err(format!("the service `{}` is never started by hbnode", service.name())) }
}

/// How the service wants its process to end.
pub(super) fn policy_of(service: &dyn Service) -> Result<StopPolicy, String> {
    let stopping = service.stopping();
    let signal = stopping.signal.parse().map_err(|error: UnknownSignal| error.to_string())?;
    Ok(StopPolicy { signal, grace: stopping.grace })
}

/// The words that are really run: the service's own, wrapped by its runtime.
pub(super) fn command_of(service: &dyn Service, order: &ServerOrder, own_exe: &Path) -> Result<CommandLine, String> {
    let inside = service.command(order).map_err(|problem| problem.to_string())?;
    let passed = PASSED.iter().filter_map(|name| Some(((*name).to_owned(), env::var(name).ok()?))).collect();
    let wrapped = wrap(inside, &order.service, accelerator(Path::new("/dev")), &passed);
    let mut command = wrapped.map_err(|problem| problem.to_string())?;
    if command.program == Path::new(OWN_BINARY) {
        own_exe.clone_into(&mut command.program);
    }
    Ok(command)
}

/// The GPUs a container must be told of, by the device files of their drivers.
fn accelerator(devices: &Path) -> Accelerator {
    if devices.join("nvidiactl").exists() {
        Accelerator::Nvidia
    } else if devices.join("kfd").exists() {
        Accelerator::Amd
    } else {
        Accelerator::None
    }
}

/// A base URL.
pub(super) fn base_url(host: &str, port: u16) -> String {
    format!("http://{}", authority(host, port))
}

/// The command line for people: what follows an option such as `--api-key` is left out.
pub(super) fn without_secrets(command: &CommandLine) -> Vec<String> {
    let names_secret = |word: &str| {
        let lower = word.to_ascii_lowercase();
        let name = lower.split('=').next().unwrap_or_default();
        // `--max-tokens` is a number of tokens, and `--token` is one.
        let is_secret =
            name.ends_with("token") || ["api-key", "api_key", "secret", "password"].iter().any(|part| name.contains(part));
        name.starts_with('-') && is_secret
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
    #[test]
    fn the_device_files_tell_which_gpus_there_are() {
        let devices = tempfile::tempdir().unwrap();
        assert_eq!(accelerator(devices.path()), Accelerator::None);
        std::fs::write(devices.path().join("kfd"), "").unwrap();
        assert_eq!(accelerator(devices.path()), Accelerator::Amd);
        std::fs::write(devices.path().join("nvidiactl"), "").unwrap();
        assert_eq!(accelerator(devices.path()), Accelerator::Nvidia);
    }
}
