//! From bytes to a recipe and everything that is wrong with it.

use serde_json::Value;

use super::{
    Recipe, checks,
    problem::{Problem, Severity},
    schema,
    shape::Walk,
    tree::{MOST_BYTES, Node, Place, Shape},
    unsupported::unsupported,
    yaml::{self, NotYaml},
};
use crate::trial::{Api, ProtocolName};

/// The most problems that are told apart: enough for a person, and few enough for a text that is all mistakes.
pub(super) const MOST_PROBLEMS: usize = 1_000;

/// What the reader must know of a service that is built in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KnownService {
    /// Its name.
    pub name: &'static str,
    /// The operation used where the recipe names none.
    pub default_api: Api,
    /// Whether it is started; if not, a recipe must give endpoints.
    pub is_started: bool,
}

/// What came of a text.
#[derive(Debug, Clone, PartialEq)]
pub struct Reading {
    /// The recipe, if there is no error.
    pub recipe: Option<Recipe>,
    /// Every problem, in the order of lines.
    pub problems: Vec<Problem>,
    /// What is well written but not built yet: errors for whoever is about to run it, in the order of lines.
    pub later: Vec<Problem>,
}

/// Reads a recipe, with `sets` (path and value, as in `--set orchestration.mode=local`) put over what is written.
#[must_use]
pub fn read(bytes: &[u8], sets: &[(String, String)], services: &[KnownService]) -> Reading {
    let mut tree = match text_of(bytes).and_then(tree_of) {
        Ok(tree) => tree,
        Err(problem) => return Reading { recipe: None, problems: vec![problem], later: Vec::new() },
    };
    let mut problems: Vec<Problem> = sets.iter().filter_map(|(path, value)| put(&mut tree, path, value).err()).collect();
    let mut later = Vec::new();
    let schema = schema();
    let mut walk = Walk::new(&schema);
    let places = tree.clone();
    walk.check(&mut tree);
    problems.extend(walk.problems);

    // What was wrong is cut out by now, so that the rest can be read and checked as well.
    let recipe = match deserialize(tree.to_json()) {
        Ok(mut recipe) => {
            recipe.default_api = default_api(&recipe, services);
            let (refused, without_effect) = unsupported(&recipe, &places);
            later = refused;
            let further = checks::check(&recipe, services).into_iter().map(|problem| problem.at(&places));
            let further: Vec<Problem> =
                further.chain(without_effect).filter(|problem| !is_told(&problems, &problem.path)).collect();
            problems.extend(further);
            Some(recipe)
        }
        Err(problem) => {
            if !problems.iter().any(Problem::is_error) {
                problems.push(problem.at(&places));
            }
            None
        }
    };
    let has_error = problems.iter().any(Problem::is_error);
    if problems.len() > MOST_PROBLEMS {
        problems.sort_by_key(|problem| problem.severity);
        let more = problems.split_off(MOST_PROBLEMS);
        // Errors were sorted first: if the first that is left out is none, all are warnings.
        let severity = more.first().map_or(Severity::Warning, |problem| problem.severity);
        let problem = Problem { severity, ..Problem::error("", format!("{} further problems", more.len()), "") };
        problems.push(problem.advise("they are shown when these are put right"));
    }
    problems.sort_by_key(|problem| (problem.line, problem.column));
    later.sort_by_key(|problem| (problem.line, problem.column));
    Reading { recipe: recipe.filter(|_| !has_error), problems, later }
}

/// Whether a text names the account that pays; `false` also where it is no recipe at all.
#[must_use]
pub fn names_account(bytes: &[u8]) -> bool {
    let tree = text_of(bytes).and_then(tree_of);
    tree.is_ok_and(|tree| tree.get("account").is_some_and(|node| !matches!(node.shape, Shape::Null)))
}

/// Line and column of the key that `path` ends with; of the nearest key around it where the text has none such.
#[must_use]
pub fn key_place(text: &str, path: &str) -> Option<(u32, u32)> {
    let place = tree_of(text).ok()?.key_place_of(path)?;
    Some((place.line, place.column))
}

pub(super) fn text_of(bytes: &[u8]) -> Result<&str, Problem> {
    if bytes.len() > MOST_BYTES {
        let found = format!("{} bytes", bytes.len());
        return Err(Problem::error("", found, format!("a recipe of at most {MOST_BYTES} bytes")));
    }
    let text = std::str::from_utf8(bytes).map_err(|error| {
        let found = format!("bytes that are no UTF-8 text, at offset {}", error.valid_up_to());
        Problem::error("", found, "a recipe, which is YAML text")
    })?;
    if text.contains('\0') {
        return Err(Problem::error("", "a zero byte", "a recipe, which is YAML text"));
    }
    Ok(text)
}

/// The first tab that indents the line at which the reader stopped, or the one after it: where a value might have gone
/// on, the reader stops at the value.
fn tab_near(text: &str, place: Place) -> Option<Place> {
    (place.line..=place.line + 1).find_map(|line| {
        let text = text.lines().nth(line as usize - 1)?;
        let column = text.chars().take_while(|c| c.is_whitespace()).position(|c| c == '\t')?;
        Some(Place { line, column: column as u32 + 1 })
    })
}

pub(super) fn tree_of(text: &str) -> Result<Node, Problem> {
    let accepted = "a block of keys and values, beginning with `scenario: NAME`";
    // An empty stream is no error to us but a text with nothing in it.
    let has_content = text.lines().any(|line| !matches!(line.trim(), "" | "---" | "...") && !line.trim_start().starts_with('#'));
    if !has_content {
        return Err(Problem::error("", "an empty recipe", accepted));
    }
    let tree = yaml::parse(text).map_err(|NotYaml { what, place }| {
        let problem = Problem::error("", what, "well-formed YAML");
        let tab = place.and_then(|place| tab_near(text, place));
        let place = tab.or(place);
        let is_tabbed = tab.is_some();
        let problem = if is_tabbed { Problem { found: "a tab that indents a line".into(), ..problem } } else { problem };
        let advice = match problem.found.as_str() {
            _ if is_tabbed => Some("YAML is indented by spaces only"),
            what if what.contains("mapping values are not allowed") => {
                Some("the key stands deeper than its neighbours, or a text with `: ` in it lacks quotes")
            }
            what if what.contains("illegal placement of ':'") => Some("a bracket or a quote above may still be open"),
            _ => None,
        };
        let problem = Problem { advice: advice.map(str::to_owned), ..problem };
        Problem { line: place.map(|place| place.line), column: place.map(|place| place.column), ..problem }
    })?;
    if !matches!(tree.shape, Shape::Map(_)) {
        let place = tree.place;
        let problem = Problem::error("", "no block", accepted);
        return Err(Problem { line: place.map(|place| place.line), column: place.map(|place| place.column), ..problem });
    }
    Ok(tree)
}

/// Puts one `--set` into the tree.
fn put(tree: &mut Node, path: &str, value: &str) -> Result<(), Problem> {
    let given = || format!("--set {path}={value}");
    if path.trim().is_empty() {
        return Err(Problem::error("", given(), "--set PATH=VALUE, such as `--set orchestration.mode=local`"));
    }
    let node = match value.trim() {
        "" => Ok(Node { shape: Shape::Text(String::new()), place: None }),
        text => yaml::parse(text),
    };
    let node = node.map_err(|error| Problem::error(path, format!("{}: {error}", given()), "a YAML value"))?;
    tree.set(path, node).map_err(|why| Problem::error(path, format!("{}: {why}", given()), "a path into the recipe"))
}

fn deserialize(json: Value) -> Result<Recipe, Problem> {
    serde_path_to_error::deserialize::<_, Recipe>(json).map_err(|error| {
        let path = error.path().to_string();
        Problem::error(if path == "." { String::new() } else { path }, error.inner().to_string(), "")
    })
}

/// Whether a field has an error already: what follows from it is no news.
fn is_told(problems: &[Problem], path: &str) -> bool {
    problems.iter().any(|told| {
        let begins = path.strip_prefix(told.path.as_str());
        told.severity == Severity::Error
            && !told.path.is_empty()
            && begins.is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
    })
}

fn default_api(recipe: &Recipe, services: &[KnownService]) -> Option<Api> {
    let name = recipe.workload.service.as_str();
    let custom = recipe.custom_services.get(name).map(|custom| match custom.protocol {
        ProtocolName::Openai => Api::Completions,
        ProtocolName::Ollama => Api::Generate,
    });
    custom.or_else(|| services.iter().find(|service| service.name == name).map(|service| service.default_api))
}
