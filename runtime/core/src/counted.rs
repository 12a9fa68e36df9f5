//! What servers count themselves, read before a trial's load and after it: whether somebody else asked them, whether they
//! were started anew in between, how long requests waited in them, what their prefix cache gave, and what speculation did.

use serde::{Deserialize, Serialize};

/// Start instants of one process are read alike but for rounding.
const SAME_START_SECONDS: f64 = 0.005;

/// What requests waited in a server before it began to work on them.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct Queued {
    /// How many there were.
    pub requests: u64,
    /// Their time in the queue together.
    pub seconds: f64,
}

/// What a server looked for in its prefix cache, and what of it was there; in tokens of prompts, in blocks of them by
/// older servers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct PrefixCache {
    /// Looked for. A server whose cache is turned off looks for nothing.
    pub queries: u64,
    /// Found there.
    pub hits: u64,
}

impl PrefixCache {
    /// The share that was found, 0 where nothing was looked for.
    #[must_use]
    pub fn share(&self) -> f64 {
        self.hits as f64 / self.queries.max(1) as f64
    }
}

/// What a server drafted ahead of its model (speculative decoding), and what of it the model took.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Drafted {
    /// Steps in which a draft was verified.
    pub drafts: u64,
    /// Tokens that were drafted.
    pub tokens: u64,
    /// Those of them that were taken.
    pub accepted: u64,
}

impl Drafted {
    /// Tokens that a step of the model gave on average: its own and the accepted ones (vLLM's acceptance length). `None`
    /// where nothing was drafted.
    #[must_use]
    pub fn acceptance_length(&self) -> Option<f64> {
        (self.drafts > 0).then(|| 1.0 + self.accepted as f64 / self.drafts as f64)
    }
}

/// One server's counts.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct ServerCounts {
    /// Its ordinal.
    pub server: u32,
    /// When its process was started, Unix seconds.
    pub started: Option<f64>,
    /// Prompts it took since then.
    pub prompts: Option<u64>,
    /// What requests waited since then.
    #[serde(default)]
    pub queued: Option<Queued>,
    /// What its prefix cache gave since then.
    #[serde(default)]
    pub prefix_cache: Option<PrefixCache>,
    /// What it drafted since then.
    #[serde(default)]
    pub drafted: Option<Drafted>,
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
        Some(self.grown(|before, after| after.prompts?.checked_sub(before.prompts?))?.into_iter().fold(0, u64::saturating_add))
    }

    /// What requests waited in all servers in between; `None` likewise.
    #[must_use]
    pub fn queued(&self) -> Option<Queued> {
        let grown = |before: &ServerCounts, after: &ServerCounts| {
            let (before, after) = (before.queued?, after.queued?);
            let requests = after.requests.checked_sub(before.requests)?;
            Some(Queued { requests, seconds: (after.seconds - before.seconds).max(0.0) })
        };
        let add = |all: Queued, one: Queued| Queued {
            requests: all.requests.saturating_add(one.requests),
            seconds: all.seconds + one.seconds,
        };
        Some(self.grown(grown)?.into_iter().fold(Queued::default(), add))
    }

    /// What the prefix caches of all servers gave in between; `None` likewise.
    #[must_use]
    pub fn prefix_cache(&self) -> Option<PrefixCache> {
        let grown = |before: &ServerCounts, after: &ServerCounts| {
            let (before, after) = (before.prefix_cache?, after.prefix_cache?);
            let (queries, hits) = (after.queries.checked_sub(before.queries)?, after.hits.checked_sub(before.hits)?);
            Some(PrefixCache { queries, hits })
        };
        let add = |all: PrefixCache, one: PrefixCache| PrefixCache {
            queries: all.queries.saturating_add(one.queries),
            hits: all.hits.saturating_add(one.hits),
        };
        Some(self.grown(grown)?.into_iter().fold(PrefixCache::default(), add))
    }

    /// What all servers drafted in between; `None` likewise.
    #[must_use]
    pub fn drafted(&self) -> Option<Drafted> {
        let grown = |before: &ServerCounts, after: &ServerCounts| {
            let (before, after) = (before.drafted?, after.drafted?);
            let (drafts, tokens) = (after.drafts.checked_sub(before.drafts)?, after.tokens.checked_sub(before.tokens)?);
            Some(Drafted { drafts, tokens, accepted: after.accepted.checked_sub(before.accepted)? })
        };
        let add = |all: Drafted, one: Drafted| Drafted {
            drafts: all.drafts.saturating_add(one.drafts),
            tokens: all.tokens.saturating_add(one.tokens),
            accepted: all.accepted.saturating_add(one.accepted),
        };
        Some(self.grown(grown)?.into_iter().fold(Drafted::default(), add))
    }

    /// By how much a count of each server has grown; `None` unless every one told, and is the one that it was.
    fn grown<T>(&self, of: impl Fn(&ServerCounts, &ServerCounts) -> Option<T>) -> Option<Vec<T>> {
        if self.before.is_empty() || self.before.len() != self.after.len() || self.pairs().count() != self.before.len() {
            return None;
        }
        self.pairs().map(|(before, after)| if is_restarted(before, after) { None } else { of(before, after) }).collect()
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
        let queued = Some(Queued { requests: prompts, seconds: prompts as f64 / 4.0 });
        let prefix_cache = Some(PrefixCache { queries: 16 * prompts, hits: 4 * prompts });
        let drafted = Some(Drafted { drafts: 2 * prompts, tokens: 8 * prompts, accepted: 3 * prompts });
        ServerCounts { server, started: Some(started), prompts: Some(prompts), queued, prefix_cache, drafted }
    }

    #[test]
    fn what_was_taken_is_the_difference_of_all() {
        let mut counted =
            Counted { before: vec![counts(0, 1.0, 5), counts(1, 2.0, 7)], after: vec![counts(1, 2.0, 17), counts(0, 1.0, 105)] };
        assert_eq!((counted.prompts(), counted.restarted()), (Some(110), 0));
        assert_eq!(counted.queued(), Some(Queued { requests: 110, seconds: 27.5 }));
        assert_eq!(counted.prefix_cache(), Some(PrefixCache { queries: 1_760, hits: 440 }));
        let drafted = counted.drafted().unwrap();
        assert_eq!((drafted, drafted.acceptance_length()), (Drafted { drafts: 220, tokens: 880, accepted: 330 }, Some(2.5)));
        assert_eq!(Drafted::default().acceptance_length(), None);
        let without = ServerCounts { prefix_cache: None, ..counted.after[1] };
        let untold = Counted { after: vec![counted.after[0], without], ..counted.clone() };
        assert_eq!((untold.prefix_cache(), untold.prompts()), (None, Some(110)), "one of them has no such counters");
        counted.after.pop();
        assert_eq!((counted.prompts(), counted.queued(), counted.prefix_cache()), (None, None, None), "one of them told nothing");
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
