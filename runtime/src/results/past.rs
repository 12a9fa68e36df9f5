//! What `events.jsonl` tells of a run that nobody leads any more, part by part.

use std::{collections::BTreeMap, fs, io, path::Path};

use hb_core::{
    certainty::Certainty,
    chronicle::{Chronicle, TrialChapter},
    events::{Happened, RunEvent},
    phases::Phase,
    units::TrialId,
};

/// The events of a run. Each part begins with its initialization.
#[derive(Debug, Default)]
pub struct Past {
    parts: Vec<Vec<RunEvent>>,
}

impl Past {
    /// Reads a run's events. A last line that was cut off is left out.
    ///
    /// # Errors
    /// The file cannot be read; where there is none, nothing happened.
    pub fn read(folder: &Path) -> io::Result<Self> {
        let text = match fs::read_to_string(folder.join("events.jsonl")) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
            Err(error) => return Err(error),
        };
        let mut parts: Vec<Vec<RunEvent>> = Vec::new();
        for event in text.lines().filter_map(|line| serde_json::from_str::<RunEvent>(line).ok()) {
            let begins = matches!(event.happened, Happened::PhaseEntered { phase: Phase::Initialization });
            if begins || parts.is_empty() {
                parts.push(Vec::new());
            }
            parts.last_mut().expect("one was just pushed where there was none").push(event);
        }
        Ok(Self { parts })
    }

    /// When the last event happened, Unix nanoseconds.
    #[must_use]
    pub fn ended_at(&self) -> Option<i128> {
        self.parts.last().and_then(|events| events.last()).map(|event| event.unix_nanos)
    }

    /// Seconds by phase, summed over the parts; the time between two parts belongs to no phase.
    #[must_use]
    pub fn phase_seconds(&self) -> BTreeMap<String, f64> {
        let mut seconds = BTreeMap::new();
        for events in &self.parts {
            let until = events.last().map_or(0, |event| event.unix_nanos);
            add_seconds(&mut seconds, told(events).phase_seconds(until));
        }
        seconds
    }

    /// What a person should read, each once.
    #[must_use]
    pub fn warnings(&self) -> Vec<String> {
        self.parts.iter().flat_map(|events| told(events).warnings().to_vec()).collect()
    }

    /// The same, each with the number of its part.
    #[must_use]
    pub fn warnings_by_part(&self) -> Vec<String> {
        let parts = self.parts.iter().enumerate();
        let of_part = |(index, events): (usize, &Vec<RunEvent>)| {
            let warnings = told(events).warnings().to_vec();
            warnings.into_iter().map(move |warning| format!("part {}: {warning}", index + 1))
        };
        parts.flat_map(of_part).collect()
    }
}

/// What the events tell of one trial.
#[derive(Debug, Default)]
pub struct TrialPast {
    /// Its zero, Unix nanoseconds.
    pub started_at: Option<i128>,
    /// Whether its books were closed after its planned end.
    pub is_finished: bool,
    /// How sure the figure was that ended its window, where one did.
    pub certainty: Option<Certainty>,
    /// Its phases, events and servers.
    pub chapter: TrialChapter,
    /// The nodes of its part: name, host, roles.
    pub nodes: Vec<(String, String, Vec<String>)>,
}

impl Past {
    /// What the last part tells of this trial.
    #[must_use]
    pub fn trial(&self, trial: &TrialId) -> TrialPast {
        let mut past = TrialPast::default();
        let mut chronicle = Chronicle::default();
        let mut is_stopped = false;
        let Some(events) = self.parts.last() else { return past };
        for event in events {
            let is_own = event.trial.as_ref() == Some(trial);
            match &event.happened {
                Happened::NodeJoined { node, host, roles } => past.nodes.push((node.to_string(), host.clone(), roles.clone())),
                Happened::LoadStarted { start_unix_nanos } if is_own => past.started_at = Some(i128::from(*start_unix_nanos)),
                Happened::SureEnough { certainty } if is_own => past.certainty = Some(certainty.clone()),
                Happened::Interrupted { .. } | Happened::PhaseFailed { .. } => is_stopped = true,
                Happened::TrialFinished { .. } => {
                    let chapter = chronicle.close_trial(past.started_at.unwrap_or(event.unix_nanos), event.unix_nanos);
                    if is_own {
                        past.is_finished = !is_stopped;
                        past.chapter = chapter;
                        return past;
                    }
                }
                _ => {}
            }
            chronicle.tell(event.clone());
        }
        let until = events.last().map_or(0, |event| event.unix_nanos);
        past.chapter = chronicle.close_trial(past.started_at.unwrap_or(until), until);
        past
    }
}

/// Adds seconds by phase to others.
pub fn add_seconds(sums: &mut BTreeMap<String, f64>, further: BTreeMap<String, f64>) {
    for (phase, seconds) in further {
        *sums.entry(phase).or_default() += seconds;
    }
}

fn told(events: &[RunEvent]) -> Chronicle {
    let mut chronicle = Chronicle::default();
    events.iter().cloned().for_each(|event| chronicle.tell(event));
    chronicle
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_between_two_parts_belongs_to_no_phase() {
        let folder = tempfile::tempdir().unwrap();
        let at = |second: i128, phase: Phase| {
            let event = RunEvent { unix_nanos: second * 1_000_000_000, trial: None, happened: Happened::PhaseEntered { phase } };
            serde_json::to_string(&event).unwrap()
        };
        let lines = [
            at(0, Phase::Initialization),
            at(2, Phase::Execution),
            at(5, Phase::Teardown),
            at(1000, Phase::Initialization),
            at(1001, Phase::Execution),
            "{\"cut\": ".to_owned(),
        ];
        fs::write(folder.path().join("events.jsonl"), lines.join("\n")).unwrap();
        let past = Past::read(folder.path()).unwrap();
        assert_eq!(past.phase_seconds()["initialization"], 3.0);
        assert_eq!(past.phase_seconds()["execution"], 3.0);
        assert_eq!(past.ended_at(), Some(1_001_000_000_000));
    }
}
