//! Batch scripts as `bash` and `shellcheck` see them, and hostile texts in them that stay data when they are run.

#![expect(clippy::unwrap_used, reason = "what a test prepares may only succeed")]

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use hb_core::{
    launch::{SubmitFacts, sbatch},
    recipe::{Mode, Recipe},
};
use hbnode::lead::recipe::{Source, known_services};

fn recipes() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../recipes")
}

fn recipe(name: &str, sets: &[(&str, &str)]) -> Recipe {
    let source = Source::read(&recipes().join(name)).unwrap();
    let sets: Vec<_> = sets.iter().map(|(path, value)| ((*path).to_owned(), (*value).to_owned())).collect();
    let reading = hb_core::recipe::read(&source.bytes, &sets, &known_services());
    reading.recipe.unwrap_or_else(|| panic!("{:#?}", reading.problems))
}

fn facts(folder: &Path) -> SubmitFacts {
    SubmitFacts { job_dir: folder.display().to_string(), binary: "/shared/bin/hbnode".into(), ..SubmitFacts::default() }
}

/// Writes a script and lets a program judge it; `None` where the program is not there.
fn judged(program: &str, words: &[&str], script: &str) -> Option<String> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("job.sh");
    fs::write(&path, script).unwrap();
    let output = Command::new(program).args(words).arg(&path).stdin(Stdio::null()).output().ok()?;
    let said = [output.stdout, output.stderr].concat();
    Some(if output.status.success() { String::new() } else { String::from_utf8_lossy(&said).into_owned() })
}

#[test]
fn the_script_of_every_recipe_pleases_bash_and_shellcheck() {
    let mut scripts = 0;
    for entry in fs::read_dir(recipes()).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        let recipe = recipe(&name, &[]);
        if recipe.orchestration.mode != Mode::Slurm {
            continue;
        }
        let script = sbatch(&recipe, &facts(Path::new("/home/u/a job"))).unwrap();
        assert_eq!(judged("bash", &["-n"], &script).expect("bash is there"), "", "{name}");
        match judged("shellcheck", &[], &script) {
            Some(complaints) => assert_eq!(complaints, "", "{name}"),
            None => eprintln!("shellcheck is not installed: {name} was judged by bash alone"),
        }
        scripts += 1;
    }
    assert_eq!(scripts, 4);
}

/// Texts that would do something if any of them were not quoted.
const HOSTILE: &[&str] = &[
    "$(touch pwned)",
    "`touch pwned`",
    "'; touch pwned; '",
    "\"; touch pwned; \"",
    "a & touch pwned",
    "| touch pwned",
    "\\'; touch pwned #",
    "$HOME * ? ~ {a,b} !x",
];

#[test]
fn hostile_texts_stay_data_when_the_script_runs() {
    for hostile in HOSTILE {
        let folder = tempfile::tempdir().unwrap();
        let commands = folder.path().join("commands");
        fs::create_dir(&commands).unwrap();
        for (name, text) in [("srun", "printf '%s\\0' \"$@\" > srun.words"), ("module", "printf '%s\\0' \"$@\" > module.words")] {
            fs::write(commands.join(name), format!("#!/bin/sh\n{text}\n")).unwrap();
            fs::set_permissions(commands.join(name), fs::Permissions::from_mode(0o755)).unwrap();
        }
        let mut recipe = recipe("dummy_cluster.yaml", &[]);
        recipe.scenario = (*hostile).to_owned();
        recipe.qos = Some((*hostile).to_owned());
        recipe.partition = Some((*hostile).to_owned());
        recipe.modules = vec![(*hostile).to_owned()];
        recipe.account = Some(hb_core::recipe::PlainText((*hostile).to_owned()));
        let job = recipe.orchestration.job_config.as_mut().unwrap();
        job.reservation = Some(hb_core::recipe::PlainText((*hostile).to_owned()));
        job.extra_sbatch = vec!["--comment".into(), (*hostile).to_owned()];
        let mut facts = facts(folder.path());
        facts.binary = format!("/bin/{hostile}");
        facts.sets = vec![("metadata.notes".into(), (*hostile).to_owned())];
        facts.environment.insert("HBNODE_LOG".into(), (*hostile).to_owned());
        let script = sbatch(&recipe, &facts).unwrap();
        assert_eq!(judged("bash", &["-n"], &script).expect("bash is there"), "", "{hostile}");

        let path = folder.path().join("job.sh");
        fs::write(&path, &script).unwrap();
        let search = format!("{}:/usr/bin:/bin", commands.display());
        let run = Command::new("bash").arg(&path).current_dir(folder.path()).env_clear().env("PATH", search).output().unwrap();
        // The stand-in leaves no report, which the script must say.
        assert_eq!(run.status.code(), Some(1), "{hostile}: {}", String::from_utf8_lossy(&run.stderr));
        assert!(!folder.path().join("pwned").exists(), "{hostile}");
        let words = |name: &str| fs::read_to_string(folder.path().join(name)).unwrap();
        assert_eq!(words("module.words"), format!("load\0{hostile}\0"));
        assert!(words("srun.words").contains(&format!("\0/bin/{hostile}\0--leader\0")), "{hostile}");
        assert!(words("srun.words").ends_with(&format!("\0--set\0metadata.notes={hostile}\0")), "{hostile}");
    }
}

#[test]
fn the_scripts_exit_code_is_that_of_the_report_and_not_of_srun() {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("commands")).unwrap();
    let srun = folder.path().join("commands/srun");
    let ended_with = |text: &str| {
        fs::write(&srun, format!("#!/bin/sh\n{text}\n")).unwrap();
        fs::set_permissions(&srun, fs::Permissions::from_mode(0o755)).unwrap();
        let script = sbatch(&recipe("dummy_cluster.yaml", &[]), &facts(folder.path())).unwrap();
        fs::write(folder.path().join("job.sh"), script).unwrap();
        let search = format!("{}:/usr/bin:/bin", folder.path().join("commands").display());
        let run = Command::new("bash").arg("job.sh").current_dir(folder.path()).env("PATH", search).output().unwrap();
        run.status.code()
    };
    assert_eq!(ended_with("exit 143"), Some(143));
    assert_eq!(ended_with("exit 0"), Some(1));
    // A signal is handed on, and the script waits for what comes of it.
    assert_eq!(ended_with("trap 'exit 9' USR1; kill -USR1 $PPID; while :; do sleep 0.05; done"), Some(9));
    assert_eq!(ended_with("mkdir -p results/s/r; touch results/s/r/report.json; exit 143"), Some(0));
}
