//! Each server's share of a trial that asks several.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{SliceLatencies, TrialReport, slice::Slice};
use crate::{
    figures,
    record::{Outcome, Record, Stage},
};

/// One server of several, by the measured requests that went to it.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct ServerFigures {
    /// Its ordinal, as in rows.
    pub server: u16,
    /// Its base URL.
    pub url: String,
    /// Requests that it completed.
    pub completed: u64,
    /// Requests to it that failed, timed out, were given up or were lost.
    pub failed: u64,
    /// Its requests over those of all servers.
    pub share: f64,
    /// Its latencies.
    pub latency: SliceLatencies,
}

/// The heads of [`ServerFigures::cells`], but for those of its latencies.
pub const SERVER_HEADS: [&str; 4] = ["server", "share", "completed", "failed"];

impl ServerFigures {
    /// The server as a row under [`SERVER_HEADS`] and [`super::SLICE_HEADS`].
    #[must_use]
    pub fn cells(&self) -> Vec<String> {
        let [completed, failed] = [self.completed, self.failed].map(figures::count);
        let name = format!("{} {}", self.server, self.url);
        [name, figures::percent(self.share), completed, failed].into_iter().chain(self.latency.cells()).collect()
    }
}

/// The trials that asked several servers.
pub fn of_several_servers(trials: &[TrialReport]) -> impl Iterator<Item = &TrialReport> {
    trials.iter().filter(|trial| !trial.servers.is_empty())
}

/// Sums by server.
#[derive(Debug)]
pub(super) struct Servers {
    urls: Vec<String>,
    has_one_answer: bool,
    sums: BTreeMap<u16, (u64, u64, Slice)>,
}

impl Servers {
    /// Nothing is told of one server alone: the trial's figures are its own.
    pub(super) fn new(urls: Vec<String>, has_one_answer: bool) -> Self {
        Self { urls, has_one_answer, sums: BTreeMap::new() }
    }

    pub(super) fn take(&mut self, record: &Record) {
        let Some(server) = record.server.filter(|_| record.stage == Stage::Measure && self.urls.len() > 1) else { return };
        let (completed, failed, slice) = self.sums.entry(server).or_insert_with(|| (0, 0, Slice::new(self.has_one_answer)));
        *(if record.outcome == Outcome::Completed { completed } else { failed }) += 1;
        slice.take(record);
    }

    /// Every server in order, also one that nothing went to.
    pub(super) fn told(&self) -> Vec<ServerFigures> {
        let all: u64 = self.sums.values().map(|(completed, failed, _)| completed + failed).sum();
        if self.urls.len() < 2 {
            return Vec::new();
        }
        let told = |(server, url): (usize, &String)| {
            let server = server as u16;
            let none = ServerFigures { server, url: url.clone(), ..ServerFigures::default() };
            let Some((completed, failed, slice)) = self.sums.get(&server) else { return none };
            let share = (completed + failed) as f64 / all.max(1) as f64;
            ServerFigures { completed: *completed, failed: *failed, share, latency: slice.told(), ..none }
        };
        self.urls.iter().enumerate().map(told).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{record::Kind, testing::answered};

    #[test]
    fn each_server_has_its_own_figures_and_one_alone_none() {
        let told = |urls: &[&str]| {
            let mut servers = Servers::new(urls.iter().map(ToString::to_string).collect(), true);
            for index in 0..40 {
                let slow = index % 4 == 3;
                let mut record = answered(index, 0, if slow { 900_000_000 } else { 300_000_000 }, 4);
                record.server = Some(u16::from(slow));
                if index == 39 {
                    (record.outcome, record.kind) = (Outcome::Failed, Some(Kind::Http(500)));
                }
                servers.take(&record);
            }
            servers.told()
        };
        assert_eq!(told(&["a"]), []);
        let found = told(&["a", "b", "c"]);
        let counts: Vec<_> = found.iter().map(|server| (server.completed, server.failed, server.share)).collect();
        assert_eq!(counts, [(30, 0, 0.75), (9, 1, 0.25), (0, 0, 0.0)]);
        let p50 = |place: usize| found[place].latency.ttft_seconds.as_ref().map(|ttft| (ttft.p50 * 10.0).round());
        assert_eq!((p50(0), p50(1), p50(2)), (Some(1.0), Some(3.0), None));
    }
}
