//! How long a node may send without a word from its leader.
//!
//! A leader that hears nothing of a node gives what it left to others. A node that is only cut off from its leader, or
//! was frozen for a while, must have stopped by then: otherwise requests would be sent twice. So every answer of its that
//! the leader has gives it some time, less than the leader waits, and without that nothing new is sent.
//!
//! That a beat is heard gives nothing: of a frozen node they wait in its mailbox, and are all heard when it wakes, after
//! the leader has lost it. A beat names the last answer that the leader had, and the time counts from when that was given.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::time::Instant;

use crate::cluster::{BEAT, GRACE, LOST_AFTER};

/// Until when, from the last answer on that the leader has.
const AFTER_BEAT: Duration = LOST_AFTER.saturating_sub(BEAT);
/// Until when, once the link is closed.
const AFTER_LINK: Duration = GRACE.saturating_sub(Duration::from_secs(1));
/// Answers that are remembered: a leader loses a node before so many beats are on their way.
const REMEMBERED: usize = 16;
/// A request that may not be sent asks again after this pause.
const ASK_AGAIN_AFTER: Duration = Duration::from_millis(20);

/// One node's; without a leader it never ends.
#[derive(Debug, Clone)]
pub struct Lease(Arc<Term>);

#[derive(Debug)]
struct Term {
    begun: Instant,
    /// Nanoseconds after that.
    until: AtomicU64,
    answers: Mutex<Answers>,
}

#[derive(Debug, Default)]
struct Answers {
    /// When each beat was answered, nanoseconds after the beginning.
    given: BTreeMap<u64, u64>,
    /// When the link was closed last; what was answered before says nothing of the link that came after.
    link_closed: u64,
}

impl Default for Lease {
    fn default() -> Self {
        Self(Arc::new(Term { begun: Instant::now(), until: AtomicU64::new(u64::MAX), answers: Mutex::default() }))
    }
}

impl Lease {
    /// One that has ended, until it is renewed.
    #[cfg(test)]
    pub(crate) fn ended() -> Self {
        let lease = Self::default();
        lease.0.until.store(0, Ordering::Release);
        lease
    }

    /// This node answers a beat now; 0 is the greeting.
    pub fn answers(&self, beat: u64) {
        let now = self.now();
        let mut answers = self.0.answers.lock().unwrap_or_else(PoisonError::into_inner);
        answers.given.insert(beat, now);
        while answers.given.len() > REMEMBERED {
            answers.given.pop_first();
        }
    }

    /// The leader has the answer to this beat.
    pub fn renew(&self, answered: u64) {
        let answers = self.0.answers.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(given) = answers.given.get(&answered).filter(|given| **given > answers.link_closed) else { return };
        let until = given.saturating_add(nanos(AFTER_BEAT));
        // Without a leader it had no end.
        let longer = |now: u64| Some(if now == u64::MAX { until } else { now.max(until) });
        // It always gives a value.
        let _ = self.0.until.fetch_update(Ordering::AcqRel, Ordering::Acquire, longer);
    }

    /// The link to the leader is closed.
    pub fn shorten(&self) {
        self.0.answers.lock().unwrap_or_else(PoisonError::into_inner).link_closed = self.now();
        self.0.until.fetch_min(self.now().saturating_add(nanos(AFTER_LINK)), Ordering::AcqRel);
    }

    /// Comes back as soon as something may be sent.
    pub async fn held(&self) {
        while !self.is_held() {
            tokio::time::sleep(ASK_AGAIN_AFTER).await;
        }
    }

    fn is_held(&self) -> bool {
        let until = self.0.until.load(Ordering::Acquire);
        until == u64::MAX || self.now() < until
    }

    fn now(&self) -> u64 {
        nanos(self.0.begun.elapsed())
    }
}

fn nanos(span: Duration) -> u64 {
    u64::try_from(span.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn without_a_leader_it_never_ends_and_with_one_it_ends_unless_a_beat_comes() {
        const MOMENT: Duration = Duration::from_millis(1);
        let lease = Lease::default();
        tokio::time::advance(Duration::from_secs(86_400)).await;
        assert!(lease.is_held(), "nobody leads this node");
        lease.answers(0);
        lease.renew(0);
        tokio::time::advance(AFTER_BEAT - MOMENT).await;
        assert!(lease.is_held());
        tokio::time::advance(MOMENT).await;
        assert!(!lease.is_held(), "no beat came");
        let waiting = tokio::spawn({
            let lease = lease.clone();
            async move { lease.held().await }
        });
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert!(!waiting.is_finished());
        lease.answers(1);
        lease.renew(1);
        waiting.await.unwrap();
        lease.shorten();
        tokio::time::advance(AFTER_LINK - MOMENT).await;
        assert!(lease.is_held(), "a link may come back");
        tokio::time::advance(MOMENT).await;
        assert!(!lease.is_held(), "it did not");
        lease.renew(1);
        assert!(!lease.is_held(), "the leader had that answer over the link that is closed");
        assert!(AFTER_BEAT < LOST_AFTER && AFTER_LINK < GRACE, "before what it left is given to others");
    }

    #[tokio::test(start_paused = true)]
    async fn beats_that_waited_while_the_node_was_frozen_do_not_renew_it() {
        let lease = Lease::default();
        lease.answers(0);
        let heard = |seq, answered| {
            lease.renew(answered);
            lease.answers(seq);
        };
        heard(1, 0);
        tokio::time::advance(BEAT).await;
        heard(2, 1);
        // Frozen for longer than the leader waits; four beats came meanwhile.
        tokio::time::advance(LOST_AFTER).await;
        for seq in 3..=6 {
            heard(seq, 2);
            assert!(!lease.is_held(), "beat {seq} was sent before this node was lost");
        }
        heard(7, 6);
        assert!(lease.is_held(), "the leader has heard of it again");
    }
}
