//! A dataset beside the requests that asked with it: whether prompts were sent again, which a server's prefix cache
//! answers faster than it would a new one.

use serde::{Deserialize, Serialize};

use super::times_sent::TimesSent;
use crate::{
    figures,
    indices::Indices,
    record::{Record, Stage, Turn},
    trial::{DatasetSpec, ServiceSpec, Trial},
};

/// What is known of a trial's dataset before its rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct DatasetKnown {
    /// Entries that there are to use.
    pub entries: u64,
    /// Those of them, from the first on, that earlier trials sent to the same servers.
    pub sent_before: u64,
}

/// The entries of a dataset of texts, and the requests that asked with them. Request `i` asks with entry `i` modulo their
/// number, in every trial.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct DatasetFigures {
    /// Entries that there are to use, `skip` and `limit` seen to.
    pub entries: u64,
    /// Of those, the ones that were sent in either phase.
    pub entries_sent: u64,
    /// Of these, the ones from the first on of which none was left out.
    #[serde(default)]
    pub entries_sent_in_a_row: u64,
    /// The ones that earlier trials of this part of the run had sent to the same servers.
    pub entries_sent_before: u64,
    /// How often one entry was sent in this trial, at most.
    pub most_often: u64,
    /// Measured requests that were sent.
    pub requests: u64,
    /// Those of them whose prompt had been sent before, in this trial or in an earlier one.
    pub repeated: u64,
}

/// The figures of a dataset as they grow, request by request.
#[derive(Debug, Clone, Default)]
pub(super) struct DatasetCount {
    known: DatasetKnown,
    times: TimesSent,
    /// Conversations that began with an entry that had been sent before.
    again: Indices,
    requests: u64,
    repeated: u64,
}

impl DatasetCount {
    /// Nothing was sent yet.
    pub(super) fn of(known: DatasetKnown) -> Self {
        Self { known, ..Self::default() }
    }

    /// Takes a request of any phase, of `batch` prompts; the earlier ones first.
    pub(super) fn take(&mut self, record: &Record, batch: u64) {
        let DatasetKnown { entries, sent_before } = self.known;
        if record.sent.is_none() || entries == 0 {
            return;
        }
        let mut send = |entry: u64| self.times.add(entry) > 0 || entry < sent_before;
        let is_repeated = match record.turn {
            None => {
                let first = record.index.saturating_mul(batch);
                (first..first.saturating_add(batch)).filter(|number| send(number % entries)).count() > 0
            }
            // A conversation is one entry, whichever of its turns this is.
            Some(Turn { conversation, turn: 0, .. }) => {
                let is_again = send(conversation % entries);
                if is_again {
                    self.again.insert(conversation);
                }
                is_again
            }
            Some(Turn { conversation, .. }) => self.again.contains(conversation),
        };
        if record.stage == Stage::Measure {
            self.requests += 1;
            self.repeated += u64::from(is_repeated);
        }
    }

    /// What it comes to.
    pub(super) fn figures(&self) -> DatasetFigures {
        DatasetFigures {
            entries: self.known.entries,
            entries_sent: self.times.entries(),
            entries_sent_in_a_row: self.times.in_a_row(),
            entries_sent_before: self.known.sent_before.min(self.known.entries),
            most_often: self.times.most(),
            requests: self.requests,
            repeated: self.repeated,
        }
    }
}

impl DatasetFigures {
    /// The share of the measured requests whose prompt had been sent before.
    #[must_use]
    pub fn repeated_share(&self) -> f64 {
        if self.requests == 0 { 0.0 } else { self.repeated as f64 / self.requests as f64 }
    }

    /// What a person must know of prompts that were sent more than once; `None` where none was.
    #[must_use]
    pub fn sentence(&self) -> Option<String> {
        if self.repeated == 0 {
            return None;
        }
        let again = match self.most_often {
            ..=1 => String::new(),
            often => format!(", each of which was sent up to {} times", figures::count(often)),
        };
        let before = match self.entries_sent_before {
            0 => String::new(),
            before => format!("; earlier trials had sent {} of them to the same servers", figures::count(before)),
        };
        let entries = if self.entries == 1 { "1 entry".to_owned() } else { format!("{} entries", figures::count(self.entries)) };
        let (repeated, requests) = (figures::count(self.repeated), figures::count(self.requests));
        Some(format!("the dataset has {entries}{again}{before}: {repeated} of {requests} measured requests repeat a prompt"))
    }
}

/// What of each dataset the servers that are up were sent, by the trials of one part of a run.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct SentEntries(Vec<(ServiceSpec, DatasetSpec, u64)>);

impl SentEntries {
    /// Entries of this trial's dataset that its servers were sent, from the first on.
    pub fn before(&mut self, trial: &Trial) -> u64 {
        // Servers of our own are started anew for another service, and endpoints go on.
        self.0.retain(|(service, ..)| !service.endpoints.is_empty() || *service == trial.service);
        self.of(trial).map_or(0, |sent| *sent)
    }

    /// A trial is over and sent so many.
    pub fn sent(&mut self, trial: &Trial, entries: u64) {
        if let Some(sent) = self.of(trial) {
            *sent = entries.max(*sent);
        } else if let Some(dataset) = &trial.load.dataset {
            self.0.push((trial.service.clone(), dataset.clone(), entries));
        }
    }

    fn of(&mut self, trial: &Trial) -> Option<&mut u64> {
        let is_it = |(service, dataset, _): &&mut (ServiceSpec, DatasetSpec, u64)| {
            *service == trial.service && Some(dataset as &DatasetSpec) == trial.load.dataset.as_ref()
        };
        self.0.iter_mut().find(is_it).map(|(.., sent)| sent)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        testing::{answered, closed_plan},
        trial::BadLine,
    };

    /// Requests with these numbers, the first `warmup` of them before the window.
    fn figures(known: (u64, u64), indices: impl IntoIterator<Item = u64>, warmup: u64, batch: u64) -> DatasetFigures {
        let mut count = DatasetCount::of(DatasetKnown { entries: known.0, sent_before: known.1 });
        for index in indices {
            let stage = if index < warmup { Stage::Warmup } else { Stage::Measure };
            count.take(&Record { stage, ..answered(index, 0, 300, 2) }, batch);
        }
        count.figures()
    }

    #[test]
    fn what_comes_round_again_is_repeated_and_so_is_what_an_earlier_trial_sent() {
        for (known, sent, batch, repeated) in [
            ((100, 0), 0..100, 1, 0),
            ((100, 0), 0..101, 1, 1),
            ((3, 0), 0..60, 1, 57),
            ((100, 20), 0..50, 1, 20),
            ((100, 100), 0..50, 1, 50),
            ((100, 20), 0..110, 1, 30),
            // Of the twenty-sixth request's four prompts all are new, and of the next one's all are old.
            ((100, 0), 0..26, 4, 1),
            ((100, 0), 0..25, 4, 0),
        ] {
            assert_eq!(figures(known, sent.clone(), 0, batch).repeated, repeated, "{known:?} {sent:?} {batch}");
        }
        let warmed = figures((50, 0), 0..60, 30, 1);
        assert_eq!((warmed.requests, warmed.repeated, warmed.most_often, warmed.entries_sent), (30, 10, 2, 50));
    }

    #[test]
    fn numbers_that_are_left_out_repeat_nothing() {
        // An executor that took over what a lost one left goes on far behind, and one node is ahead of the other.
        let jumped = figures((1_000, 0), (0..40).chain(3 << 20..(3 << 20) + 40).chain((40..80).step_by(2)), 0, 1);
        assert_eq!((jumped.repeated, jumped.most_often, jumped.entries_sent), (0, 1, 100));
        assert_eq!(jumped.entries_sent_in_a_row, 41);
        let twice = figures((1_000, 0), [7, 2_007, 1_007, 8], 0, 1);
        assert_eq!((twice.repeated, twice.most_often, twice.entries_sent), (2, 3, 2));
    }

    #[test]
    fn the_turns_of_one_conversation_are_one_entry() {
        let mut count = DatasetCount::of(DatasetKnown { entries: 2, sent_before: 0 });
        for (index, conversation) in [0, 0, 1, 1, 2, 2].into_iter().enumerate() {
            let turn = Some(Turn { conversation, turn: index as u32 % 2, of: 2 });
            count.take(&Record { turn, ..answered(index as u64, 0, 300, 2) }, 1);
        }
        let figures = count.figures();
        assert_eq!((figures.requests, figures.repeated, figures.most_often), (6, 2, 2));
    }

    #[test]
    fn it_is_said_how_many_there_are_and_how_often_each_was_sent() {
        assert_eq!(figures((100, 0), 0..50, 0, 1).sentence(), None);
        assert_eq!(
            figures((3, 0), 0..60, 0, 1).sentence().unwrap(),
            "the dataset has 3 entries, each of which was sent up to 20 times: 57 of 60 measured requests repeat a prompt"
        );
        assert_eq!(
            figures((1_000, 40), 0..80, 0, 1).sentence().unwrap(),
            "the dataset has 1,000 entries; earlier trials had sent 40 of them to the same servers: 40 of 80 measured requests \
             repeat a prompt"
        );
    }

    #[test]
    fn endpoints_remember_and_servers_of_our_own_do_until_another_is_started() {
        let dataset = DatasetSpec { path: "p".into(), format: None, skip: 0, limit: None, on_bad_line: BadLine::Fail };
        let trial = |model: &str, endpoints: &[&str]| {
            let mut trial = closed_plan(1, 1).trial;
            trial.load.dataset = Some(dataset.clone());
            trial.service.model = model.into();
            trial.service.endpoints = endpoints.iter().map(|url| (*url).to_owned()).collect();
            trial
        };
        for (endpoints, remembered) in [(&["http://a"][..], 40), (&[][..], 0)] {
            let (one, other) = (trial("m", endpoints), trial("n", endpoints));
            let mut sent = SentEntries::default();
            assert_eq!(sent.before(&one), 0);
            sent.sent(&one, 40);
            sent.sent(&one, 30);
            assert_eq!(sent.before(&one), 40);
            assert_eq!(sent.before(&other), 0);
            sent.sent(&other, 10);
            assert_eq!(sent.before(&one), remembered, "{endpoints:?}");
        }
    }
}
