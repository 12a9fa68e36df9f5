//! What became of jobs: one question for all of them, and never a guess.
//!
//! `squeue` is asked first, for all jobs at once; of those it no longer knows `sacct` and `scontrol` are asked; and
//! the run's own report, which is written last, stands above them. A question that fails says so: it is asked again.

use hb_core::{
    launch::{JobId, JobState, shell},
    verdict::Status,
};
use serde::Serialize;
use serde_json::Value;

use super::{
    jobs::Job,
    target::{Target, TargetError},
};

/// A job as it is now.
#[derive(Debug, Clone, Serialize)]
pub struct JobNow {
    /// Which.
    #[serde(flatten)]
    pub job: Job,
    /// What the scheduler says; nothing where it did not answer or knows it no longer.
    pub state: Option<JobState>,
    /// Its nodes, as Slurm lists them.
    pub nodes: String,
    /// How long it has run.
    pub elapsed: String,
    /// The time that it has left.
    pub left: String,
    /// What the run came to.
    pub outcome: Option<Outcome>,
    /// The scheduler answered, and knows the job no longer.
    pub is_forgotten: bool,
}

/// What a run's report says.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Outcome {
    /// The run's folder there.
    pub run_dir: String,
    /// Whether to believe it.
    pub verdict: Status,
    /// Whether every trial was finished.
    pub complete: bool,
    /// Why not, or why not to believe it.
    pub reasons: Vec<String>,
}

impl JobNow {
    /// Whether the job will do nothing any more.
    #[must_use]
    pub fn is_over(&self) -> bool {
        let is_ended = self.is_forgotten || self.state.as_ref().is_some_and(|state| state.is_over);
        match &self.outcome {
            // A job that is requeued goes on with a run whose part is reported already.
            Some(outcome) if !outcome.complete => is_ended || self.state.is_none(),
            Some(_) => true,
            None => is_ended,
        }
    }

    /// The state in a sentence.
    #[must_use]
    pub fn sentence(&self) -> String {
        if let Some(outcome) = self.outcome.as_ref().filter(|_| self.is_over()) {
            let part = if outcome.complete { "" } else { " of a part" };
            let verdict = crate::render::status_word(outcome.verdict);
            return match outcome.reasons.first() {
                Some(reason) => format!("its report{part} is there: {verdict}; {reason}"),
                None => format!("its report{part} is there: {verdict}"),
            };
        }
        match &self.state {
            Some(state) if state.is_over => format!("{}: {}; it left no report", state.name, state.meaning),
            Some(state) if self.nodes.is_empty() => format!("{}: {}", state.name, state.meaning),
            Some(state) => format!("{} on {}: {}, {} left", state.name, self.nodes, state.meaning, self.left),
            None if self.is_forgotten => "the scheduler knows it no longer, and it left no report".to_owned(),
            None => "the scheduler did not answer: ask again".to_owned(),
        }
    }
}

/// Asks about jobs of one place, together.
///
/// # Errors
/// The place cannot be reached. A scheduler that does not answer is no error: those jobs have no state.
pub fn ask(target: &Target, jobs: &[Job]) -> Result<Vec<JobNow>, TargetError> {
    let Some(first) = jobs.first() else { return Ok(Vec::new()) };
    let said = target.run("asking about jobs", &first_question(&first.commands, jobs))?;
    let mut found: Vec<JobNow> = jobs.iter().map(|job| read(job, &said)).collect();
    let missing: Vec<u64> = found.iter().filter(|now| now.state.is_none()).map(|now| now.job.job).collect();
    if !missing.is_empty() {
        let said = target.run("asking about jobs", &second_question(&first.commands, &missing))?;
        found.iter_mut().filter(|now| now.state.is_none()).for_each(|now| read_again(now, &said));
    }
    Ok(found)
}

fn first_question(commands: &str, jobs: &[Job]) -> String {
    let mut script = format!("PATH={}:$PATH\n", shell(commands));
    script.push_str("squeue -h -u \"$(id -un)\" -t all -o '=job %i|%T|%r|%N|%L|%M' 2>/dev/null\n");
    for job in jobs {
        script.push_str(&format!(
            "for file in {}/results/*/*/report.json; do [ ! -f \"$file\" ] || \
             {{ echo \"=report {}|$file\"; cat -- \"$file\"; echo; }}; done\n",
            shell(&job.dir),
            job.job
        ));
    }
    script + "echo =end"
}

fn second_question(commands: &str, jobs: &[u64]) -> String {
    let mut script = format!("PATH={}:$PATH\n", shell(commands));
    let list: Vec<String> = jobs.iter().map(u64::to_string).collect();
    let list = list.join(",");
    script.push_str(&format!("sacct -n -P -X -j {list} -o 'JobID,State,NodeList' 2>/dev/null | sed 's/^/=account /'\n"));
    for job in jobs {
        script.push_str(&format!("scontrol -o show job {job} 2>&1 | sed 's/^/=show {job} /'\n"));
    }
    script + "exit 0"
}

/// Reads the first answer. A heterogeneous job has several rows: the one that is not over speaks for it.
fn read(job: &Job, said: &str) -> JobNow {
    let mut now = JobNow {
        job: job.clone(),
        state: None,
        nodes: String::new(),
        elapsed: String::new(),
        left: String::new(),
        outcome: None,
        is_forgotten: false,
    };
    let mut nodes: Vec<&str> = Vec::new();
    for row in said.lines().filter_map(|line| line.strip_prefix("=job ")) {
        let fields: Vec<&str> = row.split('|').collect();
        let [id, state, reason, own, left, elapsed] = fields.as_slice() else { continue };
        if id.parse::<JobId>().is_ok_and(|id| id.job == job.job) {
            nodes.extend(Some(*own).filter(|own| !own.is_empty()));
            let state = JobState::read(state, reason);
            if now.state.as_ref().is_none_or(|before| before.is_over && !state.is_over) {
                (now.state, now.left, now.elapsed) = (Some(state), (*left).to_owned(), (*elapsed).to_owned());
            }
        }
    }
    now.nodes = nodes.join(",");
    now.outcome = outcome(job.job, said);
    now
}

/// The newest report among the answers.
fn outcome(job: u64, said: &str) -> Option<Outcome> {
    let mark = format!("=report {job}|");
    let mut lines = said.lines();
    let mut newest = None;
    while let Some(line) = lines.next() {
        let Some(path) = line.strip_prefix(&mark) else { continue };
        let text: Vec<&str> = lines.clone().take_while(|line| !line.starts_with('=')).collect();
        let Ok(report) = serde_json::from_str::<Value>(&text.join("\n")) else { continue };
        // A job that goes on with another's run finds that one's report in its folder.
        let led_by = report["run"]["parts"].as_array().and_then(|parts| parts.last()?["job"].as_str()?.parse::<JobId>().ok());
        if led_by.is_some_and(|id| id.job != job) {
            continue;
        }
        let Ok(verdict) = serde_json::from_value::<Status>(report["verdict"]["status"].clone()) else { continue };
        let reasons = report["verdict"]["reasons"].as_array().into_iter().flatten();
        newest = Some(Outcome {
            run_dir: path.trim_end_matches("/report.json").to_owned(),
            verdict,
            complete: report["run"]["complete"].as_bool().unwrap_or(false),
            reasons: reasons.filter_map(|reason| Some(reason["message"].as_str()?.to_owned())).collect(),
        });
    }
    newest
}

/// Reads the second answer.
fn read_again(now: &mut JobNow, said: &str) {
    let job = now.job.job;
    for row in said.lines().filter_map(|line| line.strip_prefix("=account ")) {
        let fields: Vec<&str> = row.split('|').collect();
        if let [id, state, nodes] = fields.as_slice()
            && id.parse::<JobId>().is_ok_and(|id| id.job == job)
        {
            now.state = Some(JobState::read(state, ""));
            now.nodes = (*nodes).to_owned();
        }
    }
    let mark = format!("=show {job} ");
    let shown: Vec<&str> = said.lines().filter_map(|line| line.strip_prefix(&mark)).collect();
    if now.state.is_some() {
        return;
    }
    if let Some(record) = shown.iter().find(|record| record.contains("JobState=")) {
        let value = |name: &str| record.split_whitespace().find_map(|word| word.strip_prefix(name)).unwrap_or_default();
        now.state = Some(JobState::read(value("JobState="), value("Reason=")));
        now.nodes = value("NodeList=").replace("(null)", "");
        now.elapsed = value("RunTime=").to_owned();
    }
    now.is_forgotten = shown.iter().any(|line| line.contains("Invalid job id"));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn job(job: u64) -> Job {
        Job {
            job,
            scenario: "s".into(),
            dir: "/d d".into(),
            commands: "/usr/bin".into(),
            place: super::super::Where::default(),
            submitted_at: String::new(),
            continues: None,
        }
    }

    #[test]
    fn one_answer_tells_of_plain_and_heterogeneous_jobs() {
        let said = "=job 7|PENDING|Resources||5:00|0:00\n=job 8+0|COMPLETED|None|n1|1:00|4:00\n=job 8+1|RUNNING|None|n[2-3]|1:00|4:00\n=end\n";
        let seven = read(&job(7), said);
        assert!(!seven.is_over() && seven.sentence().contains("nodes are free"), "{}", seven.sentence());
        let eight = read(&job(8), said);
        assert_eq!((eight.nodes.as_str(), eight.is_over()), ("n1,n[2-3]", false));
        assert!(eight.sentence().starts_with("RUNNING on n1,n[2-3]: runs, 1:00 left"), "{}", eight.sentence());
    }

    #[test]
    fn no_answer_is_not_the_end() {
        let mut now = read(&job(9), "");
        read_again(&mut now, "=show 9 slurm_load_jobs error: Unable to contact slurm controller\n");
        assert!(!now.is_over());
        assert!(now.sentence().contains("ask again"));
    }

    #[test]
    fn a_job_that_the_queue_forgot_is_found_elsewhere_or_said_to_be_forgotten() {
        let mut now = read(&job(9), "=job 10|RUNNING|None|n1|1|1\n=end");
        read_again(&mut now, "=show 9 JobId=9 JobName=x JobState=NODE_FAIL Reason=NodeDown NodeList=n1 RunTime=00:00:05\n");
        assert!(now.is_over() && now.sentence().contains("lost a node"), "{}", now.sentence());
        let mut now = read(&job(9), "=end");
        read_again(&mut now, "=account 9|CANCELLED by 5|n2\n");
        assert_eq!(now.state.unwrap().name, "CANCELLED");
        let mut now = read(&job(9), "=end");
        read_again(&mut now, "=show 9 slurm_load_jobs error: Invalid job id specified\n");
        assert!(now.is_over() && now.sentence().contains("no longer"));
    }

    #[test]
    fn the_runs_own_report_stands_above_the_scheduler() {
        let said = "=job 7|FAILED|None|n1|1|1\n=report 7|/d d/results/s/r/report.json\n{\"run\": {\"complete\": false},\n \
                    \"verdict\": {\"status\": \"suspect\", \"reasons\": [{\"message\": \"short\"}]}}\n\n=end";
        let said = said.replace("\"suspect\"", &serde_json::to_string(&Status::Suspect).unwrap());
        let now = read(&job(7), &said);
        let outcome = now.outcome.clone().unwrap();
        assert_eq!((outcome.run_dir.as_str(), outcome.verdict, outcome.complete), ("/d d/results/s/r", Status::Suspect, false));
        assert!(now.sentence().contains("short"));
        assert_eq!(read(&job(8), &said).outcome, None);
    }

    #[test]
    fn a_report_of_a_part_ends_no_job_that_goes_on_and_is_only_of_the_job_that_wrote_it() {
        let report = |job: &str, complete: bool| {
            let status = serde_json::to_string(&Status::Valid).unwrap();
            format!(
                "=report 7|/d d/results/s/r/report.json\n{{\"run\": {{\"complete\": {complete}, \"parts\": [{{\"job\": \"5\"}}, \
                 {{\"job\": \"{job}\"}}]}}, \"verdict\": {{\"status\": {status}, \"reasons\": []}}}}\n\n=end"
            )
        };
        let now = |state: &str, job: &str, complete| read(&super::tests::job(7), &format!("{state}{}", report(job, complete)));
        let pending = "=job 7|PENDING|BeginTime||5:00|0:00\n";
        assert!(now(pending, "6", true).outcome.is_none(), "the report of the job before");
        assert!(!now(pending, "7", false).is_over() && now(pending, "7", false).sentence().starts_with("PENDING"));
        assert!(now(pending, "7", true).is_over() && now("=job 7|TIMEOUT|None|n|0|0\n", "7", false).is_over());
        assert!(now("", "7", false).is_over(), "where the scheduler tells nothing the report does");
    }
}
