//! The parts of a run: what each process that led it did, where, and why it stopped.

use serde::{Deserialize, Serialize};

use crate::units::TrialId;

/// One process's part of a run. A run that was resumed has several.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct RunPart {
    /// RFC 3339, UTC.
    pub started_at: String,
    /// RFC 3339, UTC; of a part that was killed, when its last event was written. None while it goes on.
    pub ended_at: Option<String>,
    /// Why it stopped; none while it goes on.
    pub ended_because: Option<String>,
    /// The Slurm job, where it was one.
    pub job: Option<String>,
    /// The step in the job.
    pub step: Option<String>,
    /// How often the job had been requeued.
    #[serde(default)]
    pub restart: u32,
    /// The version and build of the binary.
    pub hbnode_version: String,
    /// The hosts that took part.
    pub nodes: Vec<String>,
    /// The trials that it finished.
    pub trials: Vec<TrialId>,
}

impl RunPart {
    /// The part in a line: where, from when to when, what was measured, why it stopped.
    #[must_use]
    pub fn sentence(&self) -> String {
        let job = self.job.as_ref().map_or_else(String::new, |job| format!("job {job}, "));
        let nodes = if self.nodes.is_empty() { "no node joined".to_owned() } else { format!("on {}", self.nodes.join(", ")) };
        let ended_at = self.ended_at.as_deref().map_or_else(|| "now".to_owned(), to_the_second);
        let trials: Vec<&str> = self.trials.iter().map(TrialId::as_str).collect();
        let trials = if trials.is_empty() { "no trial".to_owned() } else { trials.join(", ") };
        let because = self.ended_because.as_deref().unwrap_or("it goes on");
        format!("{job}{} to {ended_at}, {nodes}: {trials}; {because}", to_the_second(&self.started_at))
    }
}

/// An RFC 3339 instant without its fraction: of a part that was killed it has nine digits, of others three.
fn to_the_second(instant: &str) -> String {
    match instant.split_once('.') {
        Some((seconds, fraction)) => {
            format!("{seconds}{}", fraction.trim_start_matches(|letter: char| letter.is_ascii_digit()))
        }
        None => instant.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_tells_its_times_to_the_second() {
        let part = RunPart {
            started_at: "2026-03-14T09:15:00.123Z".to_owned(),
            ended_at: Some("2026-03-14T09:16:00.123456789Z".to_owned()),
            nodes: vec!["n0".to_owned()],
            ..RunPart::default()
        };
        assert_eq!(part.sentence(), "2026-03-14T09:15:00Z to 2026-03-14T09:16:00Z, on n0: no trial; it goes on");
    }
}
