//! Watching a job: its states, then what happens in its run, until it is over.
//!
//! The run's files are looked at every two seconds, which costs the scheduler nothing; the scheduler itself is
//! asked three times a minute. A lost connection is told of once and tried again. While load runs, its figures come
//! from the leader's own page, through the same connection.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use hb_core::{events::RunEvent, launch::shell};
use serde::Deserialize;

use super::{
    jobs::Job,
    live::{LivePage, line_of},
    question::{JobNow, ask},
    target::{Target, TargetError},
};
use crate::terminal::sentence;

const LOOK_EVERY: Duration = Duration::from_secs(2);
const ASK_EVERY: Duration = Duration::from_secs(20);
const FIGURES_EVERY: Duration = Duration::from_secs(10);

/// What is read of a job while it goes on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Watched {
    /// What happens in the run, in sentences.
    Events,
    /// The job's output as it stands.
    Output,
    /// What processes on this node wrote.
    Node(String),
}

/// Watches until the job is over; every line goes to `say`.
///
/// # Errors
/// The job cannot be asked for even once.
pub fn follow(target: &Target, job: &Job, watched: Watched, say: &mut dyn FnMut(&str)) -> Result<JobNow, TargetError> {
    let mut file = Growing::of(job, &watched);
    let mut last = ask(target, std::slice::from_ref(job))?;
    let mut now = last.pop().expect("one job was asked for");
    let mut asked_at = Instant::now();
    let (mut told, mut is_lost, mut had_report) = (String::new(), false, false);
    let mut page = Page::default();
    // What happened in the part of the job before is told already.
    let since = job.continues.and_then(|_| job.submitted_at.parse::<jiff::Timestamp>().ok());
    let since = since.map_or(i128::MIN, jiff::Timestamp::as_nanosecond);
    loop {
        if watched == Watched::Events && !now.is_over() && now.sentence_without_time() != told {
            told = now.sentence_without_time();
            say(&told);
        }
        let looked = file.next(target);
        let has_report = looked.as_ref().is_ok_and(|look| look.has_report);
        match &looked {
            Ok(look) => {
                look.lines.iter().for_each(|line| watched.tell(line, since, say));
                if watched == Watched::Events && !look.has_report && !now.is_over() {
                    page.look(target, &look.page, say);
                }
            }
            Err(error) if !is_lost => say(&format!("cannot look at the run: {error}; trying again")),
            Err(_) => {}
        }
        is_lost = looked.is_err();
        if now.is_over() && looked.is_ok() {
            return Ok(now);
        }
        std::thread::sleep(LOOK_EVERY);
        if asked_at.elapsed() >= ASK_EVERY || has_report && !had_report {
            had_report = has_report;
            asked_at = Instant::now();
            match ask(target, std::slice::from_ref(job)) {
                Ok(mut answers) => now = answers.pop().expect("one job was asked for"),
                Err(error) if !is_lost => {
                    is_lost = true;
                    say(&format!("cannot ask about the job: {error}; trying again"));
                }
                Err(_) => {}
            }
        }
    }
}

/// What is known of the run's live page.
#[derive(Default)]
struct Page {
    open: Option<LivePage>,
    told_at: Option<Instant>,
    /// Nothing is told twice of a way that does not open.
    was_refused: bool,
}

impl Page {
    /// Opens it as soon as its leader has told where it is, then tells its figures now and then.
    fn look(&mut self, target: &Target, line: &str, say: &mut dyn FnMut(&str)) {
        if self.open.is_none() {
            match LivePage::open(target, line) {
                Some(Ok(page)) => {
                    say(&format!("live page: {}", page.url()));
                    self.open = Some(page);
                }
                Some(Err(error)) if !self.was_refused => {
                    self.was_refused = true;
                    say(&format!("no live figures: {error}"));
                }
                Some(Err(_)) | None => {}
            }
        }
        if self.told_at.is_some_and(|at| at.elapsed() < FIGURES_EVERY) {
            return;
        }
        let Some(page) = &self.open else { return };
        match page.figures() {
            Ok(figures) if figures.is_empty() => {}
            Ok(figures) => {
                self.told_at = Some(Instant::now());
                say(&figures);
            }
            // The leader is ending, or the connection was lost: the next look opens another way.
            Err(_) => self.open = None,
        }
    }
}

impl Watched {
    fn tell(&self, line: &str, since: i128, say: &mut dyn FnMut(&str)) {
        match self {
            Self::Output => say(line),
            Self::Node(node) => {
                if let Some(written) = Written::read(line).filter(|written| written.node == *node) {
                    say(&written.shown());
                }
            }
            // A line of a later version that is not understood is no reason to stop watching.
            Self::Events => {
                let event = serde_json::from_str::<RunEvent>(line).ok().filter(|event| event.unix_nanos >= since);
                if let Some(sentence) = event.as_ref().and_then(sentence) {
                    say(&sentence);
                }
            }
        }
    }
}

impl JobNow {
    /// The state, worded so that it is told again only when it changes.
    fn sentence_without_time(&self) -> String {
        match &self.state {
            Some(state) if self.nodes.is_empty() => format!("job {}: {}, {}", self.job.job, state.name, state.meaning),
            Some(state) => format!("job {}: {} on {}", self.job.job, state.name, self.nodes),
            None => format!("job {}: {}", self.job.job, self.sentence()),
        }
    }
}

/// The lines of all nodes of a job's run, below its folder; `.partial` until the run is over.
const NODES_LOGS: &str = "results/*/*/logs/aggregated.jsonl*";

/// A line of that file.
#[derive(Debug, Deserialize)]
struct Written {
    time: String,
    node: String,
    source: String,
    text: String,
}

impl Written {
    fn read(line: &str) -> Option<Self> {
        serde_json::from_str(line).ok()
    }

    /// The line comes from elsewhere: it must not move the cursor.
    fn shown(&self) -> String {
        let text: String =
            self.text.chars().map(|letter| if letter.is_control() && letter != '\t' { ' ' } else { letter }).collect();
        format!("{} [{}] {text}", self.time, self.source)
    }
}

/// What was written on a node, and on which nodes something was.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct NodeLines {
    /// Its lines.
    pub lines: Vec<String>,
    /// All nodes with lines, sorted.
    pub nodes: Vec<String>,
}

/// What processes on a node of the job's newest run wrote so far.
///
/// # Errors
/// The place cannot be reached.
pub fn node_lines(target: &Target, job: &Job, node: &str) -> Result<NodeLines, TargetError> {
    let look = Growing::of(job, &Watched::Node(node.to_owned())).next(target)?;
    let written: Vec<Written> = look.lines.iter().filter_map(|line| Written::read(line)).collect();
    let nodes: BTreeSet<String> = written.iter().map(|written| written.node.clone()).collect();
    let lines = written.iter().filter(|written| written.node == node).map(Written::shown).collect();
    Ok(NodeLines { lines, nodes: nodes.into_iter().collect() })
}

/// A file there that grows, read from where the last look ended.
struct Growing {
    /// A shell pattern; the newest file that fits is read.
    pattern: String,
    dir: String,
    /// The job's output.
    output: String,
    /// Bytes that were read.
    offset: usize,
}

/// What a look found.
struct Look {
    lines: Vec<String>,
    has_report: bool,
    /// The line that tells of the live page; empty where there is none yet.
    page: String,
}

impl Growing {
    fn of(job: &Job, watched: &Watched) -> Self {
        let dir = shell(&job.dir).into_owned();
        let output = format!("{dir}/slurm-{}.out", job.job);
        let pattern = match watched {
            // `.partial` until the run is over.
            Watched::Events => format!("{dir}/results/*/*/events.jsonl*"),
            Watched::Output => output.clone(),
            Watched::Node(_) => format!("{dir}/{NODES_LOGS}"),
        };
        Self { pattern, dir, output, offset: 0 }
    }

    /// The lines that have come since; an unfinished one waits for its end.
    fn next(&mut self, target: &Target) -> Result<Look, TargetError> {
        let script = format!(
            "for file in {}/results/*/*/report.json; do if [ -f \"$file\" ]; then echo report; break; fi; done; {}; echo =\n\
             file=$(ls -t {} 2>/dev/null | head -n 1)\n[ -z \"$file\" ] || tail -c +{} -- \"$file\"",
            self.dir,
            line_of(&self.output),
            self.pattern,
            self.offset + 1
        );
        let said = target.run("looking at the run", &script)?;
        let (head, text) = said.split_once("=\n").unwrap_or((said.as_str(), ""));
        let has_report = head.lines().any(|line| line == "report");
        let page = head.lines().find(|line| *line != "report").unwrap_or_default().to_owned();
        let whole = text.rfind('\n').map_or("", |end| &text[..=end]);
        self.offset += whole.len();
        Ok(Look { lines: whole.lines().map(str::to_owned).collect(), has_report, page })
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, io::Write as _};

    use super::*;
    use crate::submit::Where;

    #[test]
    fn the_lines_of_one_node_are_told_from_those_of_the_others() {
        let folder = tempfile::tempdir().unwrap();
        let job = job_in(folder.path());
        let target = Target::open(Where::default()).unwrap();
        assert_eq!(node_lines(&target, &job, "n1").unwrap(), NodeLines::default());
        fs::create_dir_all(format!("{}/results/s/r/logs", job.dir)).unwrap();
        let line = |node: &str, text: &str| {
            format!(r#"{{"time":"t","node":"{node}","source":"server-0","stream":"stdout","text":"{text}"}}"#)
        };
        let text = format!("{}\n{}\n{}\n{{\"tor", line("n2", "zwei"), line("n1", "eins\\u001b[2J"), line("n10", "zehn"));
        fs::write(format!("{}/results/s/r/logs/aggregated.jsonl.partial", job.dir), text).unwrap();
        let found = node_lines(&target, &job, "n1").unwrap();
        assert_eq!(found.lines, ["t [server-0] eins [2J"]);
        assert_eq!(found.nodes, ["n1", "n10", "n2"]);
    }

    fn job_in(folder: &std::path::Path) -> Job {
        Job {
            job: 5,
            scenario: "s".into(),
            dir: folder.join("it's").display().to_string(),
            commands: "/usr/bin".into(),
            place: Where::default(),
            submitted_at: String::new(),
            continues: None,
        }
    }

    #[test]
    fn each_line_of_a_growing_file_is_read_once_and_whole() {
        let folder = tempfile::tempdir().unwrap();
        let job = job_in(folder.path());
        fs::create_dir_all(format!("{}/results/s/r", job.dir)).unwrap();
        let target = Target::open(Where::default()).unwrap();
        let mut growing = Growing::of(&job, &Watched::Output);
        assert!(growing.next(&target).unwrap().lines.is_empty());
        let mut file = fs::File::create(format!("{}/slurm-5.out", job.dir)).unwrap();
        file.write_all("ein\nzwö\ndr".as_bytes()).unwrap();
        assert_eq!(growing.next(&target).unwrap().lines, ["ein", "zwö"]);
        assert!(growing.next(&target).unwrap().lines.is_empty());
        file.write_all(b"ei\n=\n").unwrap();
        assert_eq!(growing.next(&target).unwrap().lines, ["drei", "="]);
        fs::write(format!("{}/results/s/r/report.json", job.dir), "{}").unwrap();
        assert!(growing.next(&target).unwrap().has_report);
    }
}
