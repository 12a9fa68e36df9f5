//! Bringing what is missing. What was half brought goes again.

use std::{collections::BTreeMap, path::Path, process::Stdio, sync::Arc};

use hb_actors::{
    child::{guarded::GuardedChild, ports::Ports, stopping::StopPolicy},
    server_manager::readiness::{Question, ask_all},
};
use hb_core::{
    orders::{Part, ServerOrder},
    trial::{RequestSpec, ServiceSpec},
    units::Span,
};
use hb_services::{
    runtime::{Accelerator, PASSED, wrap},
    service::{CommandLine, Step},
};

use super::{Way, is_program, line_text};

/// A model of hundreds of gigabytes takes its time.
const PULL_WITHIN: Span = Span(std::time::Duration::from_secs(24 * 3600));

/// Brings one thing. Dropped, it ends what it started.
///
/// # Errors
/// Why it is not there now.
pub async fn bring(way: &Way, request: &RequestSpec) -> Result<(), String> {
    match way {
        Way::Commands { commands, publish } => {
            let draft = Draft(publish.as_ref().map(|(draft, _)| draft.as_str()));
            if let Some((_, path)) = publish {
                let folder = Path::new(path).parent().unwrap_or(Path::new("."));
                std::fs::create_dir_all(folder).map_err(|error| format!("cannot create `{}`: {error}", folder.display()))?;
            }
            for command in commands {
                run(command).await?;
            }
            if let Some((made, path)) = publish {
                std::fs::rename(made, path).map_err(|error| format!("cannot rename `{made}` to `{path}`: {error}"))?;
            }
            drop(draft);
            Ok(())
        }
        Way::Server(spec) => pull(spec, request).await,
    }
}

/// What a pull makes; what is left of it goes.
struct Draft<'a>(Option<&'a str>);

impl Drop for Draft<'_> {
    fn drop(&mut self) {
        let Some(path) = self.0.map(Path::new) else { return };
        // Where it was renamed there is none.
        let _ = if path.is_dir() { std::fs::remove_dir_all(path) } else { std::fs::remove_file(path) };
    }
}

async fn run(line: &CommandLine) -> Result<(), String> {
    let program = line.program.display().to_string();
    if !is_program(&program) {
        return Err(format!("`{program}` is not on this machine; load its module, or do it where it is"));
    }
    eprintln!("$ {}", line_text(line));
    let mut command = tokio::process::Command::new(&line.program);
    command.args(&line.args).envs(&line.env).stdin(Stdio::null()).kill_on_drop(true);
    // Its own progress is for the person; standard output is for what a script reads.
    let stdout = std::io::stderr();
    command.stdout(std::os::fd::AsFd::as_fd(&stdout).try_clone_to_owned().map_or_else(|_| Stdio::null(), Stdio::from));
    let status = command.status().await.map_err(|error| format!("cannot run `{program}`: {error}"))?;
    if status.success() { Ok(()) } else { Err(format!("`{program}` ended with {status}")) }
}

/// Starts the server on loopback, and has it pull its model.
async fn pull(spec: &ServiceSpec, request: &RequestSpec) -> Result<(), String> {
    let text = |error: &dyn std::fmt::Display| error.to_string();
    let service = hb_services::resolve(spec).map_err(|error| text(&error))?;
    let lease = Ports::default().lease("127.0.0.1", service.default_port(), false).map_err(|error| text(&error))?;
    let order = ServerOrder {
        server: 0,
        part: Part::default(),
        service: spec.clone(),
        port: lease.port(),
        is_port_fixed: true,
        host: "127.0.0.1".to_owned(),
        request: request.clone(),
        ports: BTreeMap::new(),
        scratch: None,
    };
    let passed = PASSED.iter().filter_map(|name| Some(((*name).to_owned(), std::env::var(name).ok()?))).collect();
    let line =
        service.command(&order).and_then(|line| wrap(line, spec, Accelerator::None, &passed)).map_err(|error| text(&error))?;
    let own = std::env::current_exe().map_err(|error| format!("cannot tell where this binary is: {error}"))?;
    eprintln!("$ {}   # until it has pulled {}", line_text(&line), spec.model);
    let child = GuardedChild::spawn(&line, &own, StopPolicy::default(), Arc::new(|_| {})).await.map_err(|error| text(&error))?;
    let steps: Vec<Step> = service.readiness(spec).into_iter().filter(|step| !matches!(step, Step::Completes)).collect();
    let url = format!("http://127.0.0.1:{}", order.port);
    let question = Question { url: &url, service: &*service, spec, request, headers: None, limit: PULL_WITHIN };
    let asked = tokio::select! {
        asked = ask_all(&question, &steps, &|what| eprintln!("{what}")) => asked.map(drop).map_err(|error| text(&error)),
        ended = child.wait() => Err(format!("its server {ended}")),
    };
    child.stop().await.map_err(|error| text(&error))?;
    asked
}
