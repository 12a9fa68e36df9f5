//! How a node looks for its leader, as a plain value: events and the time in, effects out.
//!
//! ```text
//! resting ──► dialling ──link──► linked ──ready, Inbox seen──► found ──3 s──► settled
//!    ▲ backoff    │ trouble         │ closed, or too slow        │ closed
//!    └────────────┴─────────────────┴────────────────────────────┘
//! ```
//!
//! The time without a leader runs until a link has held for a while: a leader that turns this node away
//! lets it in for a moment each time.

use std::time::Duration;

use super::{LOST_AFTER, events::TroubleOnTheWay};

/// The pauses between two tries: the first and the longest.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(5));
/// Time from a link to a leader that answers on it.
const ADMIT: Duration = Duration::from_secs(5);
/// A link that held for this long is a good one.
const SETTLED: Duration = Duration::from_secs(3);
/// Refusals in a row that waiting does not cure.
const HOPELESS_AFTER: u32 = 3;

/// What the node has to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Try to reach the leader.
    Dial,
    /// Close this session.
    Close(u64),
    /// Say that the leader is there.
    Found,
    /// Say that the leader is gone.
    Lost,
    /// Say that it is of no use.
    GiveUp {
        /// How long it was tried.
        waited: Duration,
        /// What stood in the way last.
        trouble: TroubleOnTheWay,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Resting { until: Duration },
    Dialling,
    Linked { session: Option<u64>, since: Duration, is_authenticated: bool, is_ready: bool },
    Found { session: u64, since: Duration },
    Over,
}

/// The node's search for its leader.
#[derive(Debug)]
pub struct Dialling {
    phase: Phase,
    /// Since when there is no leader; none once a link has settled.
    alone_since: Option<Duration>,
    limit: Duration,
    has_joined: bool,
    backoff: Duration,
    /// Scales the pauses, between 0.5 and 1, so that many nodes do not knock at one moment.
    jitter: f64,
    inbox_on: Option<u64>,
    trouble: TroubleOnTheWay,
    hopeless: u32,
}

impl Dialling {
    /// Begins at time zero, with so much time to join. The seed spreads nodes over time.
    #[must_use]
    pub fn new(deadline: Duration, seed: u64) -> Self {
        Self {
            phase: Phase::Resting { until: Duration::ZERO },
            alone_since: Some(Duration::ZERO),
            limit: deadline,
            has_joined: false,
            backoff: BACKOFF.0,
            jitter: 0.5 + (seed % 1000) as f64 / 2000.0,
            inbox_on: None,
            trouble: TroubleOnTheWay::NeverAdmitted,
            hopeless: 0,
        }
    }

    /// A try ended: the link was handed to the NodeServer, or not.
    pub fn dialled(&mut self, outcome: Result<(), TroubleOnTheWay>, now: Duration) -> Vec<Effect> {
        if self.phase != Phase::Dialling {
            return Vec::new();
        }
        match outcome {
            Ok(()) => {
                self.phase = Phase::Linked { session: None, since: now, is_authenticated: false, is_ready: false };
                Vec::new()
            }
            Err(trouble) => self.failed(trouble, now),
        }
    }

    /// The NodeServer opened a session on the link.
    pub fn opened(&mut self, opened: u64) {
        if let Phase::Linked { session, .. } = &mut self.phase {
            *session = Some(opened);
        }
    }

    /// The leader accepted the cookie.
    pub fn authenticated(&mut self, of: u64) {
        if let Phase::Linked { session, is_authenticated, .. } = &mut self.phase
            && *session == Some(of)
        {
            *is_authenticated = true;
        }
    }

    /// The session exchanged its groups.
    pub fn ready(&mut self, of: u64, now: Duration) -> Vec<Effect> {
        if let Phase::Linked { session, is_ready, .. } = &mut self.phase
            && *session == Some(of)
        {
            *is_ready = true;
        }
        self.found_if_complete(now)
    }

    /// The leader's Inbox appeared on a session: before it is ready, after, or again.
    pub fn inbox_seen(&mut self, on: u64, now: Duration) -> Vec<Effect> {
        self.inbox_on = Some(on);
        match self.phase {
            Phase::Found { session, .. } if session == on => vec![Effect::Found],
            _ => self.found_if_complete(now),
        }
    }

    /// A session ended.
    pub fn gone(&mut self, gone: u64, now: Duration) -> Vec<Effect> {
        match self.phase {
            Phase::Linked { session, is_authenticated, .. } if session == Some(gone) => {
                let trouble = if is_authenticated { TroubleOnTheWay::NeverAdmitted } else { TroubleOnTheWay::CookieRefused };
                self.failed(trouble, now)
            }
            Phase::Found { session, since } if session == gone => {
                let has_settled = now.saturating_sub(since) >= SETTLED;
                if has_settled {
                    self.settle();
                    self.alone_since = Some(now);
                }
                let trouble = if has_settled { TroubleOnTheWay::LinkClosed } else { TroubleOnTheWay::NeverAdmitted };
                [Effect::Lost].into_iter().chain(self.failed(trouble, now)).collect()
            }
            _ => Vec::new(),
        }
    }

    /// Time went on.
    pub fn tick(&mut self, now: Duration) -> Vec<Effect> {
        match self.phase {
            Phase::Over => return Vec::new(),
            Phase::Found { since, .. } => {
                if now.saturating_sub(since) >= SETTLED {
                    self.settle();
                }
                return Vec::new();
            }
            Phase::Resting { .. } | Phase::Dialling | Phase::Linked { .. } => {}
        }
        let waited = now.saturating_sub(self.alone_since.unwrap_or(now));
        if waited >= self.limit {
            return self.give_up(waited);
        }
        match self.phase {
            Phase::Resting { until } if now >= until => {
                self.phase = Phase::Dialling;
                vec![Effect::Dial]
            }
            Phase::Linked { session, since, is_authenticated, .. } if now.saturating_sub(since) >= ADMIT => {
                let trouble =
                    if is_authenticated { TroubleOnTheWay::NeverAdmitted } else { TroubleOnTheWay::HandshakeTimedOut(ADMIT) };
                session.map(Effect::Close).into_iter().chain(self.failed(trouble, now)).collect()
            }
            _ => Vec::new(),
        }
    }

    fn found_if_complete(&mut self, now: Duration) -> Vec<Effect> {
        match self.phase {
            Phase::Linked { session: Some(session), is_ready: true, .. } if self.inbox_on == Some(session) => {
                self.phase = Phase::Found { session, since: now };
                self.hopeless = 0;
                if !self.has_joined {
                    self.has_joined = true;
                    self.limit = LOST_AFTER;
                    self.alone_since = Some(now);
                }
                vec![Effect::Found]
            }
            _ => Vec::new(),
        }
    }

    fn settle(&mut self) {
        self.alone_since = None;
        self.backoff = BACKOFF.0;
    }

    fn failed(&mut self, trouble: TroubleOnTheWay, now: Duration) -> Vec<Effect> {
        let is_hopeless = matches!(trouble, TroubleOnTheWay::CookieRefused | TroubleOnTheWay::ForeignCertificate(_));
        self.hopeless = if is_hopeless { self.hopeless + 1 } else { 0 };
        self.trouble = trouble;
        let since = *self.alone_since.get_or_insert(now);
        if self.hopeless >= HOPELESS_AFTER {
            return self.give_up(now.saturating_sub(since));
        }
        self.phase = Phase::Resting { until: now + self.backoff.mul_f64(self.jitter) };
        self.backoff = (self.backoff * 2).min(BACKOFF.1);
        Vec::new()
    }

    fn give_up(&mut self, waited: Duration) -> Vec<Effect> {
        self.phase = Phase::Over;
        vec![Effect::GiveUp { waited, trouble: self.trouble.clone() }]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn found(dialling: &mut Dialling, session: u64, now: Duration) {
        assert_eq!(dialling.tick(now), [Effect::Dial]);
        assert!(dialling.dialled(Ok(()), now).is_empty());
        dialling.opened(session);
        dialling.authenticated(session);
        assert!(dialling.ready(session, now).is_empty());
        assert_eq!(dialling.inbox_seen(session, now), [Effect::Found]);
    }

    #[test]
    fn a_leader_that_never_answers_is_given_up_with_the_last_trouble() {
        let mut dialling = Dialling::new(at(20), 0);
        let mut dials = 0;
        for second in 0..20 {
            if dialling.tick(at(second)) == [Effect::Dial] {
                dials += 1;
                assert!(dialling.dialled(Err(TroubleOnTheWay::ConnectionRefused), at(second)).is_empty());
            }
        }
        assert!((5..20).contains(&dials), "{dials}");
        let gave_up = Effect::GiveUp { waited: at(20), trouble: TroubleOnTheWay::ConnectionRefused };
        assert_eq!(dialling.tick(at(20)), [gave_up]);
        assert!(dialling.tick(at(21)).is_empty());
    }

    #[test]
    fn the_wrong_cookie_is_hopeless_before_the_deadline() {
        let mut dialling = Dialling::new(at(120), 0);
        let mut effects = Vec::new();
        for session in 0..3 {
            let now = at(session * 10);
            assert_eq!(dialling.tick(now), [Effect::Dial]);
            dialling.dialled(Ok(()), now);
            dialling.opened(session);
            effects = dialling.gone(session, now);
        }
        assert_eq!(effects, [Effect::GiveUp { waited: at(20), trouble: TroubleOnTheWay::CookieRefused }]);
    }

    #[test]
    fn a_settled_link_that_closes_leaves_ten_seconds() {
        let mut dialling = Dialling::new(at(5), 0);
        found(&mut dialling, 4, at(0));
        assert!(dialling.tick(at(50)).is_empty());
        assert_eq!(dialling.gone(4, at(60)), [Effect::Lost]);
        assert_eq!(dialling.tick(at(61)), [Effect::Dial]);
        dialling.dialled(Err(TroubleOnTheWay::ConnectionRefused), at(61));
        assert!(matches!(dialling.tick(at(70))[..], [Effect::GiveUp { .. }]));
    }

    #[test]
    fn a_leader_that_turns_us_away_each_time_is_given_up() {
        let mut dialling = Dialling::new(at(60), 0);
        found(&mut dialling, 0, at(30));
        assert_eq!(dialling.gone(0, at(31)), [Effect::Lost]);
        found(&mut dialling, 1, at(35));
        assert_eq!(dialling.gone(1, at(35)), [Effect::Lost]);
        let gave_up = Effect::GiveUp { waited: at(10), trouble: TroubleOnTheWay::NeverAdmitted };
        assert_eq!(dialling.tick(at(40)), [gave_up]);
    }

    #[test]
    fn a_leader_that_returns_in_time_starts_the_clock_anew() {
        let mut dialling = Dialling::new(at(60), 0);
        found(&mut dialling, 0, at(0));
        dialling.gone(0, at(100));
        found(&mut dialling, 1, at(109));
        dialling.tick(at(113));
        assert_eq!(dialling.gone(1, at(120)), [Effect::Lost]);
        assert_eq!(dialling.tick(at(129)), [Effect::Dial]);
    }

    #[test]
    fn a_link_on_which_nobody_answers_is_closed() {
        let mut dialling = Dialling::new(at(60), 0);
        dialling.tick(at(0));
        dialling.dialled(Ok(()), at(0));
        dialling.opened(3);
        assert_eq!(dialling.tick(at(5)), [Effect::Close(3)]);
        assert!(dialling.gone(3, at(5)).is_empty());
        assert_eq!(dialling.tick(at(6)), [Effect::Dial]);
    }
}
