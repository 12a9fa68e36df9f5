//! The walls of the house: which package may use which, what the quiet core may be made of, one crate for
//! one job; and that files, folders and links are as `ARCHITECTURE.md` says.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::Value;

/// Our packages from the lowest floor up, each with those of ours that it may use.
const FLOORS: [(&str, &[&str]); 5] = [
    ("hb-core", &[]),
    ("hb-services", &["hb-core"]),
    ("hb-actors", &["hb-core", "hb-services"]),
    ("hbnode", &["hb-core", "hb-services", "hb-actors"]),
    // Measures the floors below from beside the roof, and is not shipped.
    ("hb-bench", &["hb-core", "hb-services", "hb-actors"]),
];

/// What the core may be made of: the crate, why it is quiet, and the features that would end that.
const QUIET: [(&str, &str, &[&str]); 13] = [
    ("hdrhistogram", "counts", &["sync"]),
    ("humantime", "durations to text and back", &[]),
    (
        "prometheus",
        "text of numbers; its process collector would read files, and its push would send",
        &["process", "push", "gen", "nightly"],
    ),
    ("rand_distr", "distributions over a given generator", &["std", "std_math", "default"]),
    ("rand_pcg", "a named generator that is given a seed", &[]),
    ("schemars", "a schema from types", &[]),
    ("serde", "values to and from text", &[]),
    ("serde-saphyr", "YAML text to values; including other files would read them", &["include_fs"]),
    ("serde_bytes", "bytes as bytes", &[]),
    ("serde_json", "JSON text to values", &[]),
    ("serde_path_to_error", "where in a text an error is", &[]),
    ("statrs", "functions of statistics; sampling would bring its own generator", &["rand"]),
    ("thiserror", "errors as types", &[]),
];

/// Crates that never stand in the shipped binary's tree, and what does their job.
const REFUSED: [(&str, &str); 12] = [
    ("ring", "aws-lc-rs, through rustls"),
    ("openssl", "rustls"),
    ("openssl-sys", "rustls"),
    ("native-tls", "rustls"),
    ("serde_yaml", "serde-saphyr"),
    ("serde_yml", "serde-saphyr"),
    ("yaml-rust2", "serde-saphyr"),
    ("chrono", "jiff"),
    ("time", "jiff"),
    ("async-std", "tokio"),
    ("structopt", "clap"),
    ("lazy_static", "std::sync::LazyLock"),
];

/// Crates that come in only by way of others, which pick them themselves.
const BORNE: [&str; 2] = ["time", "lazy_static"];

/// A file that grows past this is looked at for the second thing in it.
const LONGEST_FILE: usize = 630;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the package lies one below the root").to_path_buf()
}

fn cargo(args: &[&str]) -> String {
    let output = Command::new(env!("CARGO")).args(args).current_dir(root()).output().unwrap();
    assert!(output.status.success(), "cargo {args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn packages() -> Vec<Value> {
    let metadata = cargo(&["metadata", "--format-version", "1", "--locked", "--no-deps"]);
    let metadata: Value = serde_json::from_str(&metadata).unwrap();
    metadata["packages"].as_array().unwrap().clone()
}

fn texts(value: &Value) -> Vec<&str> {
    value.as_array().map(|all| all.iter().filter_map(Value::as_str).collect()).unwrap_or_default()
}

/// The crates that the shipped binary, or another package of ours, is built of: name to features.
fn built_of(package: &str, edges: &str) -> BTreeMap<String, BTreeSet<String>> {
    let args = ["tree", "--locked", "-p", package, "-e", edges, "--prefix", "none", "-f", "{p}|{f}"];
    let tree = cargo(&[&args[..], &["--target", "x86_64-unknown-linux-gnu"]].concat());
    let mut all = BTreeMap::<String, BTreeSet<String>>::new();
    for line in tree.lines() {
        let (name, features) = line.split_once('|').unwrap();
        let name = name.split(' ').next().unwrap().to_owned();
        all.entry(name).or_default().extend(features.trim_end_matches(" (*)").split(',').map(str::to_owned));
    }
    all
}

#[test]
fn arrows_point_down() {
    let packages = packages();
    let ours: BTreeSet<&str> = packages.iter().filter_map(|package| package["name"].as_str()).collect();
    assert_eq!(ours, FLOORS.map(|(name, _)| name).into(), "a package that has no floor");
    for package in &packages {
        let name = package["name"].as_str().unwrap();
        let (_, allowed) = FLOORS.iter().find(|(floor, _)| *floor == name).unwrap();
        for dependency in package["dependencies"].as_array().unwrap() {
            let used = dependency["name"].as_str().unwrap();
            assert!(!ours.contains(used) || allowed.contains(&used), "{name} uses {used}, which is not below it");
        }
    }
}

#[test]
fn the_core_is_made_of_quiet_crates() {
    let packages = packages();
    let core = packages.iter().find(|package| package["name"] == "hb-core").unwrap();
    let normal = core["dependencies"].as_array().unwrap().iter().filter(|dependency| dependency["kind"] != "dev");
    let mut used = BTreeSet::new();
    let built_of = built_of("hb-core", "normal");
    for dependency in normal {
        let name = dependency["name"].as_str().unwrap();
        let Some((_, _, refused)) = QUIET.iter().find(|(quiet, ..)| *quiet == name) else {
            panic!("hb-core uses {name}: if it has no clock, socket, file, task or randomness, say so in QUIET");
        };
        let written = texts(&dependency["features"]);
        let has_default = dependency["uses_default_features"] == true;
        for feature in *refused {
            let is_asked = written.contains(feature) || (*feature == "default" && has_default);
            assert!(!is_asked && !built_of[name].contains(*feature), "{name}'s feature `{feature}` makes hb-core loud");
        }
        used.insert(name);
    }
    let listed: BTreeSet<&str> = QUIET.iter().map(|(name, ..)| *name).collect();
    assert_eq!(listed, used, "QUIET names a crate that hb-core has no use for");
    for loud in ["tokio", "hyper", "socket2", "mio", "reqwest", "sysinfo", "rustix"] {
        assert!(!built_of.contains_key(loud), "{loud} is in hb-core's tree");
    }
}

#[test]
fn there_is_one_crate_for_a_job() {
    let built_of = built_of("hbnode", "normal,build");
    assert!(built_of.contains_key("aws-lc-rs"), "the one crypto provider");
    assert!(BORNE.iter().all(|borne| built_of.contains_key(*borne)), "BORNE names a crate that nobody brings any more");
    let asked: BTreeSet<String> = packages()
        .iter()
        .flat_map(|package| package["dependencies"].as_array().unwrap().clone())
        .map(|dependency| dependency["name"].as_str().unwrap().to_owned())
        .collect();
    for (refused, instead) in REFUSED {
        assert!(!asked.contains(refused), "a package of ours asks for {refused}; {instead} does its job");
        let is_there = built_of.contains_key(refused) && !BORNE.contains(&refused);
        assert!(!is_there, "{refused} is in hbnode's tree; {instead} does its job");
    }
}

#[test]
fn versions_stand_once() {
    for package in packages() {
        let manifest = package["manifest_path"].as_str().unwrap();
        let text = fs::read_to_string(manifest).unwrap();
        let mut table = "";
        for line in text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')) {
            if line.starts_with('[') {
                table = line;
            } else if table.ends_with("dependencies]") {
                let is_shared = line.contains(".workspace = true") || line.contains("workspace = true");
                assert!(is_shared, "{manifest}: `{line}` does not take its version from the workspace");
            }
        }
    }
}

/// Our files: all but what is built, hidden or written by runs.
fn files(below: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![below.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let entry = entry.unwrap();
            let name = entry.file_name().into_string().unwrap();
            if name.starts_with('.') && name != ".ci" {
                continue;
            }
            match entry.file_type().unwrap() {
                kind if kind.is_dir() && !["target", "results", "shared"].contains(&name.as_str()) => folders.push(entry.path()),
                kind if kind.is_file() => found.push(entry.path()),
                _ => {}
            }
        }
    }
    found.sort();
    found
}

fn shown(path: &Path) -> String {
    path.strip_prefix(root()).unwrap().display().to_string()
}

#[test]
fn no_source_file_is_long_or_named_by_no_thing() {
    let sources = files(&root()).into_iter().filter(|path| shown(path).contains("src/"));
    let mut seen = 0;
    for path in sources {
        let lines = fs::read(&path).unwrap().iter().filter(|byte| **byte == b'\n').count();
        assert!(lines <= LONGEST_FILE, "{} has {lines} lines; the limit is {LONGEST_FILE}", shown(&path));
        let stem = path.file_stem().unwrap().to_str().unwrap();
        assert!(!["utils", "util", "helpers", "common", "misc"].contains(&stem), "{}: what does it hold?", shown(&path));
        seen += 1;
    }
    assert!(seen > 50, "only {seen} source files were found");
}

#[test]
fn no_file_names_the_machine_it_was_made_on() {
    let machine = [concat!("/wo", "rk/"), concat!("/Us", "ers/")];
    for path in files(&root()) {
        // Recordings and pictures are not text.
        let Ok(text) = fs::read_to_string(&path) else { continue };
        for (number, line) in text.lines().enumerate() {
            let found = machine.iter().find(|place| line.contains(**place));
            assert!(found.is_none(), "{}:{}: `{line}`", shown(&path), number + 1);
        }
    }
}

#[test]
fn every_relative_link_leads_somewhere() {
    let pages: Vec<PathBuf> = files(&root()).into_iter().filter(|path| path.extension().is_some_and(|ext| ext == "md")).collect();
    assert!(pages.iter().any(|page| shown(page) == "ARCHITECTURE.md"));
    for page in pages {
        for target in links(&fs::read_to_string(&page).unwrap()) {
            let path = target.split('#').next().unwrap();
            if path.is_empty() || target.contains("://") || target.starts_with("mailto:") {
                continue;
            }
            let place = page.parent().unwrap().join(path);
            assert!(place.exists(), "{} links to {target}, which is not there", shown(&page));
        }
    }
}

/// The targets of a page's links, code left out.
fn links(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut is_code = false;
    for line in text.lines() {
        if line.trim_start().starts_with("```") {
            is_code = !is_code;
        } else if !is_code {
            let targets = line.split("](").skip(1).filter_map(|rest| rest.split(')').next());
            found.extend(targets.map(str::to_owned));
        }
    }
    found
}

#[test]
fn links_are_found_and_code_is_not() {
    assert_eq!(links("a [b](c.md) and [d](e#f)\n```\n[no](link)\n```\n![p](q.png)"), ["c.md", "e#f", "q.png"]);
}

#[test]
fn what_the_map_shows_is_there() {
    let map = fs::read_to_string(root().join("ARCHITECTURE.md")).unwrap();
    let (_, house) = map.split_once("## The house").unwrap();
    let (house, rest) = house.split_once("Invariants").unwrap();
    let (_, table) = rest.split_once("## Where to look").unwrap();
    let mut places: Vec<String> =
        FLOORS.iter().map(|(name, _)| (*name).to_owned()).filter(|name| !house.contains(name)).collect();
    assert!(places.is_empty(), "the house does not show {places:?}");
    for line in house.lines() {
        places.extend(line.split_whitespace().take_while(|word| word.ends_with('/')).map(str::to_owned));
    }
    let rows = table.lines().filter(|line| line.starts_with('|')).skip(2);
    for row in rows {
        let mut folder = String::new();
        for code in row.split('|').nth(2).unwrap().split('`').skip(1).step_by(2) {
            let is_place = code.contains('/') && !code.contains([' ', '<']);
            if is_place && code.starts_with(|first: char| first.is_ascii_lowercase()) {
                // `verdict/` beside `runtime/core/src/statistics/` lies in the same folder.
                let at_root = code.split('/').next().is_some_and(|first| root().join(first).is_dir());
                let place = if at_root { code.to_owned() } else { format!("{folder}{code}") };
                folder = place.trim_end_matches('/').rsplit_once('/').map_or(String::new(), |(above, _)| format!("{above}/"));
                places.push(place);
            }
        }
    }
    assert!(places.len() > 15, "the map names only {places:?}");
    let lacking: Vec<&String> = places.iter().filter(|place| !is_there(place)).collect();
    assert!(lacking.is_empty(), "ARCHITECTURE.md names {lacking:?}, which are not there");
}

/// A folder, a file, or with `*` at its end anything that begins so.
fn is_there(place: &str) -> bool {
    let Some(beginning) = place.strip_suffix('*') else { return root().join(place.trim_end_matches('/')).exists() };
    let (folder, name) = beginning.rsplit_once('/').unwrap_or((".", beginning));
    fs::read_dir(root().join(folder))
        .is_ok_and(|mut all| all.any(|entry| entry.unwrap().file_name().to_string_lossy().starts_with(name)))
}
