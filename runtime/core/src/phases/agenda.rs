//! What is to be measured next: the trials of the recipe in their order, and of a search one probe after another.

use crate::{
    search::{Ending, Probe, ProbeReport, Step},
    trial::Trial,
    units::TrialId,
};

/// The trials that are left, and how far they are.
#[derive(Debug)]
pub(super) struct Agenda {
    trials: Vec<Trial>,
    next: usize,
    finished: usize,
    /// Finished probes, those of earlier parts of the run included, each with its search.
    probes: Vec<(TrialId, Probe)>,
}

/// What comes next.
#[derive(Debug)]
pub(super) enum Next {
    /// A trial, which may be a probe.
    Trial(Box<Trial>),
    /// A search is over; ask again.
    SearchOver(TrialId, Ending),
    /// Nothing.
    Nothing,
}

impl Agenda {
    pub fn new(trials: Vec<Trial>, probes: Vec<ProbeReport>) -> Self {
        let probes = probes.into_iter().map(|probe| (probe.search, probe.result)).collect();
        Self { trials, next: 0, finished: 0, probes }
    }

    /// What comes next. A trial is given once, a search until it is over.
    pub fn next(&mut self) -> Next {
        let Some(trial) = self.trials.get(self.next) else { return Next::Nothing };
        let Some(spec) = &trial.search else {
            let trial = trial.clone();
            self.next += 1;
            return Next::Trial(Box::new(trial));
        };
        let own: Vec<Probe> = self.probes.iter().filter(|(id, _)| *id == trial.id).map(|(_, probe)| probe.clone()).collect();
        match spec.next(&own) {
            Step::Probe(load) => Next::Trial(Box::new(trial.probe(spec, load, &own))),
            Step::Over(ending) => {
                let id = trial.id.clone();
                self.next += 1;
                self.finished += 1;
                Next::SearchOver(id, ending)
            }
        }
    }

    /// A trial ran to its end and is on disk; what it came to, where it is a probe.
    pub fn closed(&mut self, trial: &Trial, probe: Option<ProbeReport>) {
        match probe {
            Some(probe) => self.probes.push((probe.search, probe.result)),
            // A probe without a result would be made again and again.
            None if trial.place.is_some() => self.give_up(trial),
            None => self.finished += 1,
        }
    }

    /// What a trial came to is not known whole: of a search nothing more can be learned.
    pub fn give_up(&mut self, trial: &Trial) {
        let is_current = self.trials.get(self.next).is_some_and(|current| current.id == *trial.planned_id());
        if trial.place.is_some() && is_current {
            self.next += 1;
        }
    }

    /// Whether nothing is left that was to be done.
    pub fn is_complete(&self) -> bool {
        self.finished == self.trials.len()
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use super::{super::tests::trial, *};
    use crate::{
        search::{ProbeOutcome, SearchSpec, SearchTarget},
        trial::{Arrivals, LoadModel, Stop},
        units::Span,
    };

    /// A search over rates from 1 to 8, between two other trials.
    fn trials() -> Vec<Trial> {
        let stop = Stop::After(Span::from_secs(10));
        let spec = SearchSpec {
            maximize: SearchTarget::Rate,
            from: 1.0,
            to: 8.0,
            precision: 0.5,
            budget: None,
            together: NonZeroU32::MIN,
            warmup: Span::ZERO,
            stop,
        };
        let mut search = Trial { search: Some(spec), ..trial("search", "m") };
        search.load.model = LoadModel::Open { rate: 1.0, arrivals: Arrivals::Poisson };
        vec![trial("before", "m"), search, trial("after", "m")]
    }

    /// What it comes to where up to three requests per second are carried.
    fn result(trial: &Trial) -> Option<ProbeReport> {
        let (spec, place) = (trial.search.clone()?, trial.place.clone()?);
        let result = Probe {
            trial: trial.id.clone(),
            number: place.number,
            load: place.load,
            outcome: if place.load <= 3.0 { ProbeOutcome::Met } else { ProbeOutcome::Missed },
            why: String::new(),
            limits: Vec::new(),
            goodput_requests_per_second: 0.0,
            seconds: 10.0,
        };
        Some(ProbeReport { search: place.search, spec, result })
    }

    /// All that comes, and the probes; a trial of this name is not written down whole.
    fn course(agenda: &mut Agenda, torn: &str) -> (Vec<String>, Vec<ProbeReport>) {
        let (mut course, mut probes) = (Vec::new(), Vec::new());
        loop {
            match agenda.next() {
                Next::Trial(trial) if trial.id.as_str() == torn => {
                    course.push(trial.id.to_string());
                    agenda.give_up(&trial);
                }
                Next::Trial(trial) => {
                    course.push(trial.id.to_string());
                    probes.extend(result(&trial));
                    agenda.closed(&trial, result(&trial));
                }
                Next::SearchOver(search, ending) => course.push(format!("{search}: {ending:?}")),
                Next::Nothing => return (course, probes),
            }
            assert!(course.len() < 50, "{course:?}");
        }
    }

    #[test]
    fn a_search_makes_one_probe_after_another_and_is_one_trial() {
        let mut agenda = Agenda::new(trials(), Vec::new());
        let (course, probes) = course(&mut agenda, "");
        let expected = [
            "before",
            "search.probe-01.target_rps-1",
            "search.probe-02.target_rps-2",
            "search.probe-03.target_rps-4",
            "search.probe-04.target_rps-2.828",
            "search.probe-05.target_rps-2.828",
            "search.probe-06.target_rps-4",
            "search: Found",
            "after",
        ];
        assert_eq!(course, expected);
        assert!(agenda.is_complete());
        assert_eq!(probes.iter().map(|probe| probe.result.number).collect::<Vec<_>>(), [1, 2, 3, 4, 5, 6]);
    }

    #[test]
    fn a_resumed_search_repeats_no_probe() {
        let (_, probes) = course(&mut Agenda::new(trials(), Vec::new()), "");
        for known in 0..=probes.len() {
            let mut agenda = Agenda::new(trials(), probes[..known].to_vec());
            let (course, _) = course(&mut agenda, "");
            assert_eq!(course.len(), 9 - known, "{course:?}");
            assert!(agenda.is_complete());
        }
    }

    #[test]
    fn a_probe_whose_results_are_torn_ends_its_search_and_not_the_run() {
        let mut agenda = Agenda::new(trials(), Vec::new());
        let (course, _) = course(&mut agenda, "search.probe-02.target_rps-2");
        assert_eq!(course, ["before", "search.probe-01.target_rps-1", "search.probe-02.target_rps-2", "after"]);
        assert!(!agenda.is_complete());
    }

    #[test]
    fn probes_of_one_load_differ_in_all_that_chance_decides() {
        let search = trials().remove(1);
        let spec = search.search.clone().unwrap();
        let first = search.probe(&spec, 2.0, &[]);
        let again = search.probe(&spec, 2.0, &[result(&first).unwrap().result]);
        assert!(first.seed != again.seed && first.id != again.id);
        assert_eq!((first.load.model, first.parameters), (again.load.model, again.parameters));
    }
}
