//! What servers count themselves, read before a trial's load and after it: whether somebody else asked them, and whether
//! they were started anew in between.

use serde::{Deserialize, Serialize};

/// Start instants of one process are read alike but for rounding.
const SAME_START_SECONDS: f64 = 0.005;

/// One server's counts.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct ServerCounts {
    /// Its ordinal.
    pub server: u32,
    /// When its process was started, Unix seconds.
    pub started: Option<f64>,
    /// Prompts it took since then.
    pub prompts: Option<u64>,
}

/// The servers of a trial before its load and after it; those that told nothing are missing.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Counted {
    /// Before.
    pub before: Vec<ServerCounts>,
    /// After.
    pub after: Vec<ServerCounts>,
}

impl Counted {
    fn pairs(&self) -> impl Iterator<Item = (&ServerCounts, &ServerCounts)> {
        let after = |before: &ServerCounts| self.after.iter().find(|after| after.server == before.server);
        self.before.iter().filter_map(move |before| Some((before, after(before)?)))
    }

    /// Servers that were started anew.
    #[must_use]
    pub fn restarted(&self) -> u32 {
        self.pairs().filter(|(before, after)| is_restarted(before, after)).count() as u32
    }

    /// Prompts that all servers took in between; `None` unless every one told, and is the one that it was.
    #[must_use]
    pub fn prompts(&self) -> Option<u64> {
        if self.before.is_empty() || self.before.len() != self.after.len() || self.pairs().count() != self.before.len() {
            return None;
        }
        let taken = |(before, after): (&ServerCounts, &ServerCounts)| {
            if is_restarted(before, after) { None } else { after.prompts?.checked_sub(before.prompts?) }
        };
        self.pairs().map(taken).sum()
    }
}

fn is_restarted(before: &ServerCounts, after: &ServerCounts) -> bool {
    let has_other_start = match (before.started, after.started) {
        (Some(before), Some(after)) => (after - before).abs() > SAME_START_SECONDS,
        _ => false,
    };
    has_other_start || matches!((before.prompts, after.prompts), (Some(before), Some(after)) if after < before)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(server: u32, started: f64, prompts: u64) -> ServerCounts {
        ServerCounts { server, started: Some(started), prompts: Some(prompts) }
    }

    #[test]
    fn what_was_taken_is_the_difference_of_all() {
        let mut counted =
            Counted { before: vec![counts(0, 1.0, 5), counts(1, 2.0, 7)], after: vec![counts(1, 2.0, 17), counts(0, 1.0, 105)] };
        assert_eq!((counted.prompts(), counted.restarted()), (Some(110), 0));
        counted.after.pop();
        assert_eq!(counted.prompts(), None, "one of them told nothing");
        assert_eq!(Counted::default().prompts(), None);
    }

    #[test]
    fn another_start_or_a_smaller_count_is_a_restart() {
        let check = |after: ServerCounts, restarted: u32| {
            let counted = Counted { before: vec![counts(0, 1.0, 50)], after: vec![after] };
            assert_eq!(counted.restarted(), restarted, "{after:?}");
            assert_eq!(counted.prompts().is_none(), restarted > 0);
        };
        check(counts(0, 1.0, 50), 0);
        check(counts(0, 1.25, 60), 1);
        check(ServerCounts { started: None, ..counts(0, 0.0, 60) }, 0);
        check(ServerCounts { started: None, ..counts(0, 0.0, 49) }, 1);
    }
}
