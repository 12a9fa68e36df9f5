//! How long a node may send without a word from its leader.
//!
//! A leader that hears nothing of a node gives what it left to others. A node that is only cut off from its leader, or
//! was frozen for a while, must have stopped by then: otherwise requests would be sent twice. So every beat gives it
//! some time, less than the leader waits, and without that nothing new is sent.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::time::Instant;

use crate::cluster::{BEAT, GRACE, LOST_AFTER};

/// Until when, from the last beat on.
const AFTER_BEAT: Duration = LOST_AFTER.saturating_sub(BEAT);
/// Until when, once the link is closed.
const AFTER_LINK: Duration = GRACE.saturating_sub(Duration::from_secs(1));
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
}

impl Default for Lease {
    fn default() -> Self {
        Self(Arc::new(Term { begun: Instant::now(), until: AtomicU64::new(u64::MAX) }))
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

    /// The leader gave a sign of life.
    pub fn renew(&self) {
        self.0.until.store(self.now().saturating_add(nanos(AFTER_BEAT)), Ordering::Release);
    }

    /// The link to the leader is closed.
    pub fn shorten(&self) {
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
        lease.renew();
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
        lease.renew();
        waiting.await.unwrap();
        lease.shorten();
        tokio::time::advance(AFTER_LINK - MOMENT).await;
        assert!(lease.is_held(), "a link may come back");
        tokio::time::advance(MOMENT).await;
        assert!(!lease.is_held(), "it did not");
        assert!(AFTER_BEAT < LOST_AFTER && AFTER_LINK < GRACE, "before what it left is given to others");
    }
}
