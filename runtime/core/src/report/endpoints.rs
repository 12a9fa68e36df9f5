//! What each server did, second by second: whether one fell silent for good, and whether some of its requests
//! were turned away at the door while others were answered.

use std::collections::BTreeMap;

use crate::{
    record::{Kind, Outcome, Record},
    verdict::DeadServer,
};

/// So many requests in a row, all failed and sent after the last one that was answered, make a dead server.
const FEWEST_FAILED: u64 = 5;

/// Requests sent in one second, by what became of them.
#[derive(Debug, Clone, Copy, Default)]
struct Sent {
    completed: u64,
    /// Failed as they do where nobody is there, or nobody who can.
    failed: u64,
    /// Of those, the ones that were turned away before anything was done for them.
    refused: u64,
    /// Of these, the ones by status 503.
    busy: u64,
}

/// Every server's requests by the second in which they were sent. Grows with time, not with requests.
#[derive(Debug, Default)]
pub(super) struct Endpoints(BTreeMap<u16, BTreeMap<u64, Sent>>);

impl Endpoints {
    pub(super) fn take(&mut self, record: &Record) {
        let Some(server) = record.server else { return };
        // One that found no connection was never sent; it was to be sent when it was due.
        let second = record.sent.unwrap_or(record.due).0 / 1_000_000_000;
        let sent = self.0.entry(server).or_default().entry(second).or_default();
        sent.completed += u64::from(record.outcome == Outcome::Completed);
        sent.failed += u64::from(record.kind.is_some_and(is_failing));
        sent.refused += u64::from(record.kind.is_some_and(is_refusing));
        sent.busy += u64::from(record.kind == Some(Kind::Http(503)));
    }

    /// Servers that answered nothing any more, or never did.
    pub(super) fn dead(&self) -> Vec<DeadServer> {
        let dead = |(server, seconds): (&u16, &BTreeMap<u64, Sent>)| {
            let since = seconds.iter().rev().find(|(_, sent)| sent.completed > 0).map_or(0, |(second, _)| second + 1);
            let failed = seconds.range(since..).map(|(_, sent)| sent.failed).sum();
            (failed >= FEWEST_FAILED).then_some(DeadServer { server: *server, since_second: since, failed })
        };
        self.0.iter().filter_map(dead).collect()
    }

    /// Requests that were turned away while the same server answered others in the same second. A server that was
    /// ever away as a whole is no part of it: what was turned away then says nothing of replicas.
    pub(super) fn refused_beside_answers(&self) -> u64 {
        self.beside_answers(|sent| sent.refused)
    }

    /// Of those, the ones with status 503, by which servers say that they are busy.
    pub(super) fn busy_beside_answers(&self) -> u64 {
        self.beside_answers(|sent| sent.busy)
    }

    fn beside_answers(&self, of: fn(&Sent) -> u64) -> u64 {
        let is_away = |seconds: &BTreeMap<u64, Sent>| seconds.values().any(|sent| sent.refused > 0 && sent.completed == 0);
        self.0.values().filter(|seconds| !is_away(seconds)).flat_map(BTreeMap::values).map(of).sum()
    }
}

fn is_failing(kind: Kind) -> bool {
    match kind {
        Kind::Http(status) => status >= 500,
        Kind::Connect | Kind::ConnectTimeout | Kind::Resolve | Kind::Tls | Kind::Reset | Kind::ResetMidway => true,
        _ => false,
    }
}

/// A replica that is gone is seen as a closed door, or by a balancer's word for one.
fn is_refusing(kind: Kind) -> bool {
    matches!(kind, Kind::Connect | Kind::Reset | Kind::Http(502..=504))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::answered;

    fn endpoints(told: &[(u16, u64, Option<Kind>)]) -> Endpoints {
        let mut endpoints = Endpoints::default();
        for (index, (server, second, kind)) in told.iter().enumerate() {
            let mut record = answered(index as u64, second * 1_000_000_000, 1_000_000, 4);
            record.server = Some(*server);
            if let Some(kind) = kind {
                (record.outcome, record.kind) = (Outcome::Failed, Some(*kind));
            }
            endpoints.take(&record);
        }
        endpoints
    }

    fn times(count: usize, told: (u16, u64, Option<Kind>)) -> Vec<(u16, u64, Option<Kind>)> {
        vec![told; count]
    }

    #[test]
    fn a_server_that_falls_silent_is_dead_and_one_that_comes_back_is_not() {
        let mut told = [times(9, (0, 0, None)), times(9, (1, 0, None)), times(9, (0, 3, None))].concat();
        told.extend(times(5, (1, 2, Some(Kind::Connect))));
        assert_eq!(endpoints(&told).dead(), [DeadServer { server: 1, since_second: 1, failed: 5 }]);
        told.push((1, 3, None));
        assert_eq!(endpoints(&told).dead(), []);
        assert_eq!(endpoints(&times(4, (0, 0, Some(Kind::Connect)))).dead(), [], "four may be chance");
        assert_eq!(endpoints(&times(9, (0, 0, Some(Kind::Http(429))))).dead(), [], "who refuses politely is there");
    }

    #[test]
    fn closed_doors_beside_answers_are_counted_unless_the_whole_server_was_away() {
        let refused = |second| (0, second, Some(Kind::Http(502)));
        let mut told = [times(9, (0, 0, None)), times(2, refused(0)), times(9, (0, 1, None)), times(2, refused(1))].concat();
        assert_eq!(endpoints(&told).refused_beside_answers(), 4);
        assert_eq!(endpoints(&told).busy_beside_answers(), 0);
        let busy: Vec<_> = [times(9, (0, 0, None)), times(3, (0, 0, Some(Kind::Http(503))))].concat();
        assert_eq!((endpoints(&busy).refused_beside_answers(), endpoints(&busy).busy_beside_answers()), (3, 3));
        told.push(refused(2));
        assert_eq!(endpoints(&told).refused_beside_answers(), 0);
        assert_eq!(endpoints(&[(0, 0, None), (0, 0, Some(Kind::Http(500)))]).refused_beside_answers(), 0);
        let told: Vec<_> = (0..9).map(|_| (0, 0, Some(Kind::ClientLimit))).chain([(0, 0, None)]).collect();
        assert_eq!(endpoints(&told).refused_beside_answers(), 0, "the client's own limit says nothing of replicas");
    }
}
