//! A run's folder as a whole: written, killed, refused.

use std::os::unix::fs::PermissionsExt;

use hb_core::{
    events::Happened,
    phases::Phase,
    record::{Kind, Outcome, Stage},
    units::Nanos,
};
use serde_json::Value;

use super::*;

fn begun(root: &Path) -> RunFolder {
    create(root).unwrap()
}

fn create(root: &Path) -> Result<RunFolder, ResultsError> {
    let run = NewRun {
        results_root: root,
        scenario: "my scenario",
        id: "20260101-000000",
        recipe_text: "recipe: text",
        resolved_yaml: "resolved: yaml",
    };
    RunFolder::create(&run, part(), Holder::this("here", None))
}

fn part() -> RunPart {
    RunPart { started_at: "2026-01-01T00:00:00Z".into(), ..RunPart::default() }
}

fn entered(phase: Phase) -> RunEvent {
    RunEvent { unix_nanos: 1_700_000_000_000_000_000, trial: None, happened: Happened::PhaseEntered { phase } }
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> =
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn a_whole_run_leaves_the_whole_layout() {
    let root = tempfile::tempdir().unwrap();
    let mut folder = begun(root.path());
    folder.event(&entered(Phase::Initialization));
    folder.reading(&NodeReading { node: "n0".into(), cpu_percent: vec![1.0], ..NodeReading::default() });
    folder.begin_trial(&"t".into()).unwrap();
    folder.spool(&spool::tests::batch(0, 2)).unwrap();
    assert_eq!(folder.rows(&"t".into()).unwrap().count(), 2);
    let lost = LostRow {
        source: spool::tests::batch(0, 0).key.source,
        record: Record::unsent(9, Stage::Measure, Nanos(1), Outcome::Lost, Kind::NodeLost),
    };
    let trial = TrialReport { id: "t".into(), ..TrialReport::default() };
    folder.finish_trial(&trial, &[lost]);
    let path = folder.path().to_owned();
    let missing = folder.finish(&Report { trials: vec![trial], ..empty() }, &Manifest::default());
    assert_eq!(missing, Vec::<String>::new());
    assert_eq!(
        names(&path),
        [
            "events.jsonl",
            "logs",
            "manifest.json",
            "metrics.csv",
            "parts.json",
            "recipe.resolved.yaml",
            "recipe.yaml",
            "report.html",
            "report.json",
            "summary.md",
            "t"
        ]
    );
    assert_eq!(names(&path.join("t")), ["batches", "requests.jsonl", "timeseries.csv", "trial.json"]);
    assert_eq!(names(&path.join("logs")), ["aggregated.jsonl", "stderr.log", "stdout.log"]);
    assert_eq!(read(&path.join("t/requests.jsonl")).lines().count(), 3);
    let report: Report = serde_json::from_str(&read(&path.join("report.json"))).unwrap();
    assert_eq!(report.trials.len(), 1);
    let latest = root.path().join("my-scenario/latest");
    assert_eq!(fs::canonicalize(latest).unwrap(), fs::canonicalize(path).unwrap());
}

fn empty() -> Report {
    Report {
        schema_version: "1.0".to_owned(),
        run: hb_core::report::RunSummary::default(),
        verdict: hb_core::verdict::Verdict::default(),
        trials: Vec::new(),
        searches: Vec::new(),
        repeated: Vec::new(),
        warnings: vec!["told by the run".to_owned()],
    }
}

#[test]
fn a_killed_run_is_read_back_up_to_its_last_batch() {
    let root = tempfile::tempdir().unwrap();
    let mut folder = begun(root.path());
    folder.event(&entered(Phase::Initialization));
    for trial in ["done", "t"] {
        folder.begin_trial(&trial.into()).unwrap();
    }
    folder.finish_trial(&TrialReport { id: "done".into(), ..TrialReport::default() }, &[]);
    folder.spool(&spool::tests::batch(0, 2)).unwrap();
    folder.spool(&spool::tests::batch(1, 2)).unwrap();
    let path = folder.path().to_owned();
    drop(folder); // what SIGKILL leaves: no `finish`
    let spool = path.join("t/batches.partial");
    let cut = fs::metadata(&spool).unwrap().len() - 1;
    fs::OpenOptions::new().write(true).open(&spool).unwrap().set_len(cut).unwrap();
    let events = path.join("events.jsonl");
    fs::write(&events, [read(&events).as_bytes(), b"{\"half\":"].concat()).unwrap();

    let found = recover(&path).unwrap();
    assert!(matches!(&found.trials[0], RecoveredTrial::Finished(trial) if trial.id.as_str() == "done"));
    assert!(
        matches!(&found.trials[1], RecoveredTrial::Spooled { trial, batches: 1, is_torn: true, .. } if trial.as_str() == "t"),
        "{found:?}"
    );
    assert_eq!(found.trials[1].batches().unwrap().unwrap().count(), 1);
    let text = read(&path.join("events.jsonl"));
    assert_eq!(serde_json::from_str::<Value>(text.trim_end()).unwrap()["happened"]["event"], "phase_entered");
    assert!(found.warnings.iter().any(|warning| warning.contains("cut off after 1 batches")), "{:?}", found.warnings);
    assert_eq!(recover(&path).unwrap().trials.len(), 2, "reading back changes nothing that matters");
}

#[test]
fn what_cannot_be_written_late_is_told_and_the_rest_is_saved() {
    let root = tempfile::tempdir().unwrap();
    let mut folder = begun(root.path());
    let path = folder.path().to_owned();
    // A folder where a file should be: fails for everybody, root too.
    fs::create_dir(path.join("report.html.partial")).unwrap();
    folder.begin_trial(&"t".into()).unwrap();
    fs::create_dir(path.join("t/requests.jsonl.partial")).unwrap();
    folder.finish_trial(&TrialReport { id: "t".into(), ..TrialReport::default() }, &[]);
    let missing = folder.finish(&empty(), &Manifest::default());
    assert!(missing[0].starts_with("`report.html` could not be written: "), "{missing:?}");
    assert!(missing[1].starts_with("`t/requests.jsonl` could not be written: "), "{missing:?}");
    let report: Report = serde_json::from_str(&read(&path.join("report.json"))).unwrap();
    assert_eq!(report.warnings[0], "told by the run");
    assert_eq!(report.warnings[1..], missing, "the report itself says what is missing");
    assert!(path.join("t/trial.json").exists() && path.join("summary.md").exists());
}

#[test]
fn a_folder_that_cannot_be_made_is_an_error_that_names_it() {
    let root = tempfile::tempdir().unwrap();
    let file = root.path().join("results");
    fs::write(&file, "a file").unwrap();
    let error = create(&file).unwrap_err().to_string();
    assert!(error.contains("results/my-scenario") && error.contains("Not a directory"), "{error}");
    begun(root.path());
    let error = create(root.path()).unwrap_err().to_string();
    assert!(error.ends_with("my-scenario/20260101-000000` is there already"), "{error}");
}

#[test]
fn a_batch_without_an_open_trial_is_refused() {
    let root = tempfile::tempdir().unwrap();
    let error = begun(root.path()).spool(&spool::tests::batch(0, 1)).unwrap_err();
    assert_eq!(error.to_string(), "trial `t` has no open spool");
}

#[test]
fn names_never_lead_out_of_the_results() {
    for (text, name) in [
        ("../../etc", "run-..-..-etc"),
        ("", "run-"),
        ("latest", "run-latest"),
        ("-rf", "run--rf"),
        ("a b/c\"<ü>", "a-b-c----"),
        ("concurrency-8.prompt_len-128.r1", "concurrency-8.prompt_len-128.r1"),
    ] {
        assert_eq!(folder_name(text), name, "{text:?}");
    }
}

#[test]
fn nobody_else_may_write_the_files() {
    let root = tempfile::tempdir().unwrap();
    let folder = begun(root.path());
    let mode = fs::metadata(folder.path().join("recipe.yaml")).unwrap().permissions().mode();
    assert_eq!(mode & 0o022, 0);
}
