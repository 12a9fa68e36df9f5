//! `hbnode run`: from a recipe to a job in the queue.

use std::{
    io::{BufRead as _, IsTerminal as _},
    path::{Path, PathBuf},
    sync::Arc,
};

use hb_core::{
    launch::{doubts, sbatch},
    recipe::{Mode, Servers},
};
use serde_json::json;

use super::{
    continued,
    exit::Exit,
    fetch::{self, Telling},
    submitted::{failed, list},
    words::{PlaceWords, RunWords},
};
use crate::{
    lead::{
        recipe::{Checked, Source, built, check, runnable},
        refused::Refused,
    },
    prefetch::is_program,
    submit::{Along, Continued, Job, Sending, Target, Where, probe, send},
};

/// MeluXina's login nodes, for which the variables are named.
const MELUXINA: &str = "ssh://login.lxp.lu:8822";

/// Submits.
pub fn run(words: &RunWords, is_quiet: bool) -> Exit {
    submitted(words, is_quiet).unwrap_or_else(|exit| exit)
}

fn submitted(words: &RunWords, is_quiet: bool) -> Result<Exit, Exit> {
    let begun = match &words.resume {
        Some(named) => match continued::find(named)? {
            Some(found) => Begun { name: found.name, source: found.source, place: found.place, continued: Some(found.continued) },
            None => return Ok(Exit::Ok),
        },
        None => {
            let path = recipe_path(words)?;
            let source = Source::read(&path).map_err(|sentence| refused(&sentence))?;
            Begun { name: path.display().to_string(), source, place: place(&words.place)?, continued: None }
        }
    };
    let Begun { name, source, place, continued } = begun;
    let sets = with_account(&source, &words.sets);
    // Whole paths are the cluster's own, and from elsewhere nobody can tell what lies there.
    let checked = if place.host.is_none() { runnable(&source, &sets, false) } else { built(&source, &sets, false) };
    let checked = checked.map_err(Refused::say)?;
    if checked.recipe.orchestration.mode != Mode::Slurm {
        return Err(refused(
            "only recipes with `orchestration.mode: slurm` are submitted; `hbnode --leader RECIPE` runs this one here",
        ));
    }
    tell_of_variables(&checked);
    let binary = words.binary.clone().map_or_else(std::env::current_exe, Ok);
    let binary = binary.map_err(|error| refused(&format!("cannot tell where this binary is: {error}; name it with --binary")))?;
    let sending = Sending::new(&binary, &written_dir(&words.remote_dir, &place)).map_err(failed)?.continuing(continued);
    let (sets, sending) = with_files(&checked, sets, sending, &place)?;
    // A recipe that makes no script is refused before anybody is asked for anything.
    let script = script(&checked, &sending, &sets)?;
    if words.dry_run {
        show(&name, &sending, &place, &script);
        return Ok(Exit::Ok);
    }
    let (target, job) = submit(words, &checked, &source, sending, &sets, place, is_quiet)?;
    if words.json {
        println!("{}", json!({"job": job.job, "dir": job.dir, "host": job.place.host}));
    }
    let number = job.job;
    if !is_quiet {
        eprintln!("job {number} is submitted on {}; its files are in {}", job.place, job.dir);
    }
    if words.follow {
        return fetch::watched(&Arc::new(target), &job, words.results.as_deref(), Telling { is_json: words.json, is_quiet });
    }
    if is_quiet {
        return Ok(Exit::Ok);
    }
    eprintln!(
        "next: `hbnode status {number}`, `hbnode logs -f {number}`, `hbnode fetch {number}` when it is over, `hbnode cancel {number}`"
    );
    Ok(Exit::Ok)
}

/// What a submission begins with.
struct Begun {
    name: String,
    source: Source,
    place: Where,
    continued: Option<Continued>,
}

/// Looks at the target, then copies and submits.
fn submit(
    words: &RunWords,
    checked: &Checked,
    source: &Source,
    sending: Sending,
    sets: &[(String, String)],
    place: Where,
    is_quiet: bool,
) -> Result<(Target, Job), Exit> {
    let list = list()?;
    list.prepare().map_err(failed)?;
    let target = Target::open(place).map_err(failed)?;
    let found = probe(&target, &words.remote_dir).map_err(failed)?;
    let misfits = sending.misfits(&found);
    for misfit in &misfits {
        eprintln!("error: {}: {misfit}", target.place());
    }
    let doubts = doubts(&checked.recipe, &found.partitions);
    for doubt in &doubts {
        eprintln!("error: {doubt}");
    }
    match (misfits.is_empty(), doubts.is_empty()) {
        (true, true) => {}
        (false, _) => return Err(Exit::Failed),
        (true, false) => return Err(Exit::BadWords),
    }
    let sending = sending.into_dir(&found.remote_dir);
    if !is_quiet {
        eprintln!("copying to {} on {} (--remote-dir names another folder)", found.remote_dir, target.place());
    }
    let script = script(checked, &sending, sets)?;
    let job = send(&target, &found, &sending, &source.bytes, &script, &checked.recipe.scenario).map_err(failed)?;
    if let Err(error) = list.add(&job) {
        // The job is there all the same: its number must not be lost with the line.
        eprintln!("error: job {} is submitted and could not be written down: {error}", job.job);
    }
    Ok((target, job))
}

fn script(checked: &Checked, sending: &Sending, sets: &[(String, String)]) -> Result<String, Exit> {
    sbatch(&checked.recipe, &sending.facts(sets)).map_err(|error| refused(&error.to_string()))
}

/// What would be done.
fn show(name: &str, sending: &Sending, place: &Where, script: &str) {
    let facts = sending.facts(&[]);
    println!("# Would be done on {place}; nothing was, and it was not asked for anything.");
    println!("# copy  {} ({} bytes) to {}", sending.source().display(), sending.size(), facts.binary);
    match &facts.resume {
        Some(run) => println!("# go on with {}/{run}", facts.job_dir),
        None => println!("# copy  {name} to {}/recipe.yaml", facts.job_dir),
    }
    for (from, to) in sending.along() {
        println!("# copy  {} to {to}", from.display());
    }
    println!("# write {}/job.sh, and run there: sbatch --parsable job.sh", facts.job_dir);
    println!("# job.sh:");
    print!("{script}");
}

/// The recipe that was named, or chosen from those that are there.
fn recipe_path(words: &RunWords) -> Result<PathBuf, Exit> {
    if let Some(path) = words.recipe.as_ref().or(words.recipe_by_name.as_ref()) {
        return Ok(path.clone());
    }
    if !std::io::stdin().is_terminal() {
        return Err(refused("no recipe is named; `hbnode list` shows those in `recipes`"));
    }
    let recipes = super::list::recipes_in(Path::new("recipes"))
        .map_err(|error| refused(&format!("no recipe is named, and the folder `recipes` cannot be read: {error}")))?;
    for (index, path) in recipes.iter().enumerate() {
        eprintln!("{:>3}  {}", index + 1, path.display());
    }
    eprint!("which one? ");
    let mut line = String::new();
    std::io::stdin().lock().read_line(&mut line).map_err(|error| refused(&format!("cannot read the answer: {error}")))?;
    let chosen = line.trim().parse::<usize>().ok().and_then(|number| recipes.get(number.checked_sub(1)?));
    chosen.cloned().ok_or_else(|| refused(&format!("`{}` is none of the numbers above", line.trim())))
}

/// `MLUX_ACCOUNT` fills an account that the recipe leaves out.
fn with_account(source: &Source, sets: &[(String, String)]) -> Vec<(String, String)> {
    let mut sets = sets.to_vec();
    let lacks_account = |problems: &[hb_core::recipe::Problem]| problems.iter().any(|problem| problem.path == "account");
    if let Ok(account) = std::env::var("MLUX_ACCOUNT")
        && check(source, &sets).err().is_some_and(|problems| lacks_account(&problems))
    {
        sets.push(("account".to_owned(), account));
    }
    sets
}

/// The files that lie beside the recipe: named by whole paths where the job runs on this machine's file systems, else taken
/// along.
fn with_files(
    checked: &Checked,
    mut sets: Vec<(String, String)>,
    sending: Sending,
    place: &Where,
) -> Result<(Vec<(String, String)>, Sending), Exit> {
    if place.host.is_none() {
        sets.extend(checked.placed.iter().cloned());
        return Ok((sets, sending));
    }
    let along = checked.placed.iter().map(|(key, path)| Along::read(key, Path::new(path)));
    let along = along.collect::<Result<Vec<_>, _>>().map_err(failed)?;
    Ok((sets, sending.with(along)))
}

/// The job's shell begins without the submitter's variables, so a key in one of them does not get there.
fn tell_of_variables(checked: &Checked) {
    for name in checked.recipe.servers.iter().flat_map(Servers::secret_variables) {
        eprintln!(
            "warning: the variable `{name}`, which holds a secret for the endpoints, is not taken along into the job; set it in the \
             login files there, or use a file (servers.api_key_file, or `{{file: PATH}}` as a header's value)"
        );
    }
}

/// Where to submit: as named, else here where there is a scheduler, else where the variables say.
fn place(words: &PlaceWords) -> Result<Where, Exit> {
    let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    let (user, key) = (variable("MLUX_USER"), variable("MLUX_KEY").map(PathBuf::from));
    let is_meant = user.is_some() || key.is_some();
    let host = match &words.host {
        Some(host) => host.clone(),
        None if is_program("sbatch") => return Ok(Where::default()),
        None if is_meant => MELUXINA.to_owned(),
        None => {
            return Err(refused(
                "there is no `sbatch` on this machine; name the cluster's login node with --host, or run the recipe here with \
                 `hbnode --leader RECIPE --set orchestration.mode=local`",
            ));
        }
    };
    let config = words.ssh_config.as_ref().map(std::path::absolute).transpose();
    let config = config.map_err(|error| refused(&format!("--ssh-config: {error}")))?;
    Ok(Where { host: Some(host), user, key, ssh_config: config })
}

/// The folder as far as it is known before the target was asked.
fn written_dir(remote_dir: &str, place: &Where) -> String {
    match (remote_dir.starts_with('/'), place.host.is_some(), std::env::var("HOME")) {
        (true, _, _) => remote_dir.to_owned(),
        (false, false, Ok(home)) => format!("{home}/{}", remote_dir.trim_start_matches("~/")),
        _ => format!("~/{}", remote_dir.trim_start_matches("~/")),
    }
}

fn refused(sentence: &str) -> Exit {
    eprintln!("error: {sentence}");
    Exit::BadWords
}
