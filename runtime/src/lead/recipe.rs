//! From a recipe's path to what can be run, or to everything that stands in the way, all at once.

use std::{fs::File, io::Read as _, path::Path};

use hb_actors::limits;
use hb_core::{
    recipe::{self, KnownService, Mode, Problem, Recipe, Severity},
    sockets::{Sockets, Wanted},
    trial::Trial,
};
use hb_services::{SERVICES, service::ServiceProblem};

use super::{datasets, files, refused::Refused};
use crate::cli::exit::Exit;

/// A text longer than this is no recipe; one byte more is read, so that the reader can say so.
const MAX_BYTES: u64 = 16 * 1024 * 1024;

/// A recipe as it lies on disk.
pub struct Source {
    /// Its path where it lies in a file, beside which its relative paths are looked for; for messages, too.
    pub name: String,
    /// Its bytes.
    pub bytes: Vec<u8>,
}

impl Source {
    /// Reads a file.
    ///
    /// # Errors
    /// A sentence with the path, the cause and advice.
    pub fn read(path: &Path) -> Result<Self, String> {
        let name = path.display().to_string();
        let failed = |error: std::io::Error| {
            let advice = match error.kind() {
                std::io::ErrorKind::NotFound => "; `hbnode list` shows the recipes that are there",
                std::io::ErrorKind::IsADirectory => "; name a file in it",
                _ => "",
            };
            format!("cannot read the recipe `{name}`: {error}{advice}")
        };
        let mut bytes = Vec::new();
        File::open(path).and_then(|file| file.take(MAX_BYTES + 1).read_to_end(&mut bytes)).map_err(failed)?;
        // The old toolkit's workload file is a recipe without its surroundings.
        let bytes = recipe::from_workload_block(&bytes).unwrap_or(bytes);
        Ok(Self { name, bytes })
    }

    /// The text, for showing a line of it.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.bytes).into_owned()
    }
}

/// A recipe that can be run.
pub struct Checked {
    /// What was written.
    pub recipe: Recipe,
    /// Its trials.
    pub trials: Vec<Trial>,
    /// The files that it names by relative paths, as whole paths by key.
    pub placed: Vec<(String, String)>,
    /// What is doubtful.
    pub warnings: Vec<Problem>,
    /// What is well written and cannot be run yet.
    pub later: Vec<Problem>,
}

/// What the core must know of each service.
#[must_use]
pub fn known_services() -> Vec<KnownService> {
    let known = |service: &&'static dyn hb_services::service::Service| KnownService {
        name: service.name(),
        default_api: service.default_api(),
        is_started: service.is_started(),
    };
    SERVICES.iter().map(known).collect()
}

/// Checks a recipe: its own words, then what its service says of `service_config`.
///
/// # Errors
/// Every problem, warnings among them.
pub fn check(source: &Source, sets: &[(String, String)]) -> Result<Checked, Vec<Problem>> {
    let reading = recipe::read(&source.bytes, sets, &known_services());
    let Some(mut recipe) = reading.recipe else { return Err(reading.problems) };
    // A run that goes on, and nodes, may have another working directory.
    let placed = files::place(&mut recipe, Path::new(&source.name).parent().unwrap_or(Path::new("")));
    let mut trials = recipe::trials(&recipe);
    let (mut problems, later) = (reading.problems, reading.later);
    if let Some(trial) = trials.first() {
        let (refused, keys) = match hb_services::resolve(&trial.service) {
            Ok(service) => (service.check(&trial.service), service.config_keys()),
            Err(problem) => (vec![problem], Vec::new()),
        };
        let text = source.text();
        problems.extend(refused.into_iter().map(|problem| with_keys(as_problem(problem, &text), &keys)));
    }
    if !problems.iter().any(Problem::is_error) {
        problems.extend(spread(&recipe, &mut trials).into_iter().map(|problem| as_problem(problem, &source.text())));
    }
    if recipe.orchestration.mode == Mode::Local {
        problems.extend(sockets(&recipe, &trials));
    }
    if problems.iter().any(Problem::is_error) {
        return Err(problems);
    }
    Ok(Checked { recipe, trials, placed, warnings: problems, later })
}

/// Whether this machine, on which a local run has all its nodes, has the open files and ports that the trials need.
fn sockets(recipe: &Recipe, trials: &[Trial]) -> Option<Problem> {
    let (here, needs) = (limits::sockets(), recipe.needs());
    let nodes = needs.clients.unwrap_or(1).max(1);
    let (is_certain, why) = trials.iter().find_map(|trial| {
        let wanted = Wanted::of_trial(trial, nodes);
        // A file counts for each node's own process, a port for all of them.
        let servers = (trial.service.endpoints.len() as u64).max(u64::from(needs.servers));
        let ports = Sockets { open_files: None, ..here }.shortage(Wanted::of_trial(trial, 1), servers);
        let files = Sockets { ports: None, ..here }.shortage(wanted, servers);
        // Whoever starts the nodes may say how many there are.
        let is_certain = wanted.is_certain && (ports.is_some() || needs.clients.is_some());
        Some((is_certain, ports.or(files)?))
    })?;
    Some(Problem {
        severity: if is_certain { Severity::Error } else { Severity::Warning },
        path: "workload".into(),
        line: None,
        column: None,
        found: why,
        accepted: "a load that this machine has connections for".into(),
        advice: None,
    })
}

/// Asks the service how each trial's servers are spread over nodes, and whether the recipe's nodes are whole servers.
fn spread(recipe: &Recipe, trials: &mut [Trial]) -> Vec<ServiceProblem> {
    let nodes = recipe.needs().servers;
    let mut problems: Vec<ServiceProblem> = Vec::new();
    for trial in trials.iter_mut().filter(|trial| trial.service.endpoints.is_empty()) {
        let layout = hb_services::resolve(&trial.service).and_then(|service| service.layout(&trial.service));
        let layout = layout.and_then(|layout| {
            let each = layout.nodes().get();
            let advice = match nodes.div_ceil(each) * each {
                0 => each,
                enough => enough,
            };
            let left_over = || ServiceProblem {
                path: "orchestration.node_allocation.servers.nodes".into(),
                what: format!("{nodes} server nodes, while each server spans {each}"),
                advice: format!("write {advice}, or cut the model into parts for fewer nodes"),
            };
            if nodes >= each && nodes.is_multiple_of(each) { Ok(layout) } else { Err(left_over()) }
        });
        match layout {
            Ok(layout) => trial.service.layout = layout,
            Err(problem) if !problems.contains(&problem) => problems.push(problem),
            Err(_) => {}
        }
    }
    problems
}

/// A service knows fields, not lines.
fn as_problem(problem: ServiceProblem, text: &str) -> Problem {
    let place = recipe::key_place(text, &problem.path);
    Problem {
        severity: Severity::Error,
        line: place.map(|(line, _)| line),
        column: place.map(|(_, column)| column),
        // Whoever shows it says that it was found.
        found: problem.what.strip_prefix("found ").map_or_else(|| problem.what.clone(), str::to_owned),
        path: problem.path,
        accepted: String::new(),
        advice: Some(problem.advice),
    }
}

/// The same with the keys that the service has, where it is about one that it has not.
fn with_keys(problem: Problem, keys: &[&str]) -> Problem {
    let key = problem.path.strip_prefix("servers.service_config.");
    if keys.is_empty() || key.is_none_or(|key| key.contains('.') || keys.contains(&key)) {
        return problem;
    }
    let advice = key.and_then(|key| hb_core::units::nearest(key, keys)).map(|near| format!("did you mean `{near}`?"));
    Problem { accepted: format!("one of the keys {}", keys.join(", ")), advice, ..problem }
}

/// Shows problems on standard error.
pub fn show(problems: &[Problem], source: &Source) {
    if !problems.is_empty() {
        eprintln!("{}", recipe::show(problems, &source.text(), &source.name));
    }
}

/// Looks at the files that the trials name, and puts what must be known of them into the trials.
///
/// # Errors
/// The first that cannot be used, with the recipe's line.
pub fn read_files(source: &Source, trials: &mut [Trial]) -> Result<(), Problem> {
    files::read(trials).and_then(|()| datasets::read_through(trials)).map_err(|problem| {
        let place = recipe::key_place(&source.text(), &problem.path);
        Problem { line: place.map(|(line, _)| line), column: place.map(|(_, column)| column), ..problem }
    })
}

/// Checks it, and shows what is doubtful unless another task of the step does; what can be led, here or elsewhere, is
/// returned. Its files are for whoever leads it.
///
/// # Errors
/// What stands in the way.
pub fn built(source: &Source, sets: &[(String, String)], is_silent: bool) -> Result<Checked, Refused> {
    let checked = check(source, sets).map_err(|problems| refused(&problems, source))?;
    if !is_silent {
        show(&checked.warnings, source);
    }
    if checked.later.is_empty() { Ok(checked) } else { Err(refused(&checked.later, source)) }
}

/// The same with its files.
///
/// # Errors
/// What stands in the way.
pub fn runnable(source: &Source, sets: &[(String, String)], is_silent: bool) -> Result<Checked, Refused> {
    with_files(source, built(source, sets, is_silent)?)
}

/// A recipe that can be led, with its files.
///
/// # Errors
/// The first of them that cannot be used.
pub fn with_files(source: &Source, mut checked: Checked) -> Result<Checked, Refused> {
    read_files(source, &mut checked.trials).map_err(|problem| refused(&[problem], source))?;
    Ok(checked)
}

fn refused(problems: &[Problem], source: &Source) -> Refused {
    Refused { said: recipe::show(problems, &source.text(), &source.name), exit: Exit::BadWords, run: None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_service_refuses_is_told_like_all_else() {
        let text = "scenario: s\norchestration: {mode: local}\nworkload: {service: dummy, duration: 10s}\nservers:\n  service_config:\n    tfft: 1ms\n    seed: many\n";
        let source = Source { name: "r.yaml".into(), bytes: text.into() };
        let Err(problems) = check(&source, &[]) else { panic!("it is refused") };
        let [unknown, wrong] = problems.as_slice() else { panic!("{problems:?}") };
        assert_eq!((unknown.path.as_str(), unknown.line, unknown.column), ("servers.service_config.tfft", Some(6), Some(5)));
        assert_eq!((unknown.found.as_str(), unknown.advice.as_deref()), ("an unknown key", Some("did you mean `ttft`?")));
        assert!(unknown.accepted.starts_with("one of the keys ttft, tpot, "), "{}", unknown.accepted);
        assert_eq!((wrong.line, wrong.accepted.as_str()), (Some(7), ""));
        assert!(wrong.found.starts_with("\"many\"") && wrong.advice.is_some(), "{wrong:?}");
    }
}
