//! Who belongs to the cluster, as the leader thinks: events and the time in, effects out.
//!
//! ```text
//!            session ready ┐ either order
//!            Agent seen    ┴► greeting ──► admitted ──2 beats missed──► suspect ──► lost, fenced
//!                               │ build      │ ▲  ▲                       │           ▲
//!                               ▼ differs    │ │  └────── answered ───────┘           │
//!                            refused         │ └─ same life back ─┐                   │
//!                                            └── link closed ──► away ──── 5 s ───────┘
//! ```
//!
//! A session is known by its number and never by the name it claims: ractor_cluster reports the end of
//! sessions too that had proved nothing.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use super::{
    BEAT, GRACE, LOST_AFTER, SUSPECT_AFTER_BEATS,
    clock::{ClockEstimate, ClockWindow},
    events::{ClusterEvent, LossCause, PeerId},
};
use crate::{
    messages::{Beat, BeatBack, HelloBack, SCOPE},
    wire::WireError,
};

/// Time for an Agent to appear on a session that is ready.
const AGENT_WITHIN: Duration = Duration::from_secs(10);
/// A pause between two ticks that is our own fault: we were stopped, or starved.
const OWN_PAUSE: Duration = Duration::from_secs(2);

/// How a node is linked to the leader.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum LinkId {
    /// It is the leader's own process.
    Local,
    /// By this session of the NodeServer.
    Session(u64),
}

/// What the watch has to do.
#[derive(Debug)]
pub enum Effect {
    /// Ask the Agent on this link who it is.
    Greet(LinkId),
    /// Send a beat.
    Beat {
        /// Where to.
        link: LinkId,
        /// It.
        beat: Beat,
    },
    /// Close a link; what follows from it is done already.
    Close {
        /// Which.
        link: LinkId,
        /// Why, for the log.
        why: &'static str,
    },
    /// Report that a node joined, with the handle of its Agent.
    Join {
        /// Its life.
        peer: PeerId,
        /// What it said.
        hello: Box<HelloBack>,
        /// Where its Agent is.
        link: LinkId,
    },
    /// Report that a node is back, with its new handle.
    Return {
        /// Its life.
        peer: PeerId,
        /// Where its Agent is.
        link: LinkId,
    },
    /// Report this.
    Report(ClusterEvent),
}

/// An answered beat, as the watch saw it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The number of the beat that was asked with.
    pub seq: u64,
    /// When it was sent, by our clock.
    pub sent_unix_nanos: i128,
    /// How long the answer took.
    pub round_trip: Duration,
    /// The answer.
    pub back: BeatBack,
}

#[derive(Debug, Default)]
struct LinkState {
    claimed: Option<PeerId>,
    is_authenticated: bool,
    ready_at: Option<Duration>,
    has_agent: bool,
    is_greeting: bool,
    /// Closed by us: nothing on it counts any more.
    is_closed: bool,
}

#[derive(Debug)]
struct Peer {
    host: String,
    presence: Presence,
    last_answer: Duration,
    /// The beat that was answered last; 0 is the greeting of its link.
    answered: u64,
    unanswered: u32,
    is_suspect: bool,
    is_leaving: bool,
    clock: ClockWindow,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Presence {
    Linked(LinkId),
    Away { since: Duration },
}

/// What is known of a node, for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerStatus {
    /// Its life.
    pub peer: PeerId,
    /// Its host.
    pub host: String,
    /// Whether its link stands.
    pub is_linked: bool,
    /// Whether it misses beats.
    pub is_suspect: bool,
    /// Its clock, if a beat was answered.
    pub clock: Option<ClockEstimate>,
}

/// The members, the links, and those who must not come back.
#[derive(Debug)]
pub struct Membership {
    build: String,
    links: BTreeMap<LinkId, LinkState>,
    peers: BTreeMap<PeerId, Peer>,
    /// Lives that were lost or refused.
    fenced: BTreeSet<PeerId>,
    /// Of these, those whose return was reported.
    turned_away: BTreeSet<PeerId>,
    last_tick: Duration,
    next_beat: Duration,
    seq: u64,
}

impl Membership {
    /// No members yet, of a cluster of this build.
    #[must_use]
    pub fn new(build: String) -> Self {
        Self {
            build,
            links: BTreeMap::new(),
            peers: BTreeMap::new(),
            fenced: BTreeSet::new(),
            turned_away: BTreeSet::new(),
            last_tick: Duration::ZERO,
            next_beat: BEAT,
            seq: 0,
        }
    }

    /// The leader's own process hosts an Agent.
    pub fn local_agent_seen(&mut self, now: Duration) -> Vec<Effect> {
        let link = self.links.entry(LinkId::Local).or_default();
        link.is_authenticated = true;
        link.ready_at = Some(now);
        self.agent_seen(LinkId::Local)
    }

    /// A session proved that it knows the cookie.
    pub fn session_authenticated(&mut self, link: LinkId) -> Vec<Effect> {
        self.links.entry(link).or_default().is_authenticated = true;
        Vec::new()
    }

    /// A session exchanged its groups.
    pub fn session_ready(&mut self, link: LinkId, claimed: PeerId, now: Duration) -> Vec<Effect> {
        let state = self.links.entry(link).or_default();
        state.is_authenticated = true;
        state.ready_at = Some(now);
        state.claimed = Some(claimed.clone());
        if self.fenced.contains(&claimed) {
            return self.turn_away(link, claimed);
        }
        self.greet_if_complete(link)
    }

    /// An Agent appeared on a link: possibly before the session is ready, possibly a restarted one.
    pub fn agent_seen(&mut self, link: LinkId) -> Vec<Effect> {
        let state = self.links.entry(link).or_default();
        state.has_agent = true;
        state.is_greeting = false;
        self.greet_if_complete(link)
    }

    /// An Agent answered who it is, or did not.
    pub fn greeted(&mut self, link: LinkId, answer: Result<HelloBack, WireError>, now: Duration) -> Vec<Effect> {
        let Some(state) = self.links.get_mut(&link).filter(|state| !state.is_closed) else { return Vec::new() };
        state.is_greeting = false;
        let claimed = state.claimed.clone();
        match answer {
            Ok(hello) => self.introduced(link, claimed, hello, now),
            // A busy node; its link falls silent if it is more than that.
            Err(WireError::TimedOut) => self.greet_if_complete(link),
            // The Agent is gone: another may appear, or the session ends.
            Err(WireError::Unreachable) => {
                state.has_agent = false;
                Vec::new()
            }
            Err(why) => self.refuse(link, claimed, why.to_string()),
        }
    }

    /// A session ended.
    pub fn session_gone(&mut self, link: LinkId, claimed: Option<PeerId>, from: &str, now: Duration) -> Vec<Effect> {
        let was_authenticated = self.links.remove(&link).is_some_and(|state| state.is_authenticated);
        if !was_authenticated {
            let name = claimed.map_or_else(|| from.to_owned(), |name| format!("{name} from {from}"));
            let why = "it did not prove that it knows the cookie".to_owned();
            return vec![Effect::Report(ClusterEvent::Refused { name, why })];
        }
        let Some(id) = self.peer_on(link) else { return Vec::new() };
        let peer = self.peers.get_mut(&id).expect("the peer was just found");
        if peer.is_leaving {
            self.peers.remove(&id);
            return vec![Effect::Report(ClusterEvent::Left { peer: id })];
        }
        peer.presence = Presence::Away { since: now };
        Vec::new()
    }

    /// A beat was answered.
    pub fn beat_answered(&mut self, link: LinkId, answer: &Answer, now: Duration) -> Vec<Effect> {
        let Some(id) = self.peer_on(link).filter(|_| answer.back.seq == answer.seq) else { return Vec::new() };
        let peer = self.peers.get_mut(&id).expect("the peer was just found");
        peer.last_answer = now;
        peer.answered = peer.answered.max(answer.seq);
        peer.unanswered = 0;
        let mut effects = Vec::new();
        if std::mem::take(&mut peer.is_suspect) {
            effects.push(Effect::Report(ClusterEvent::Recovered { peer: id.clone() }));
        }
        if let Some(clock) = peer.clock.answered(answer.sent_unix_nanos, answer.round_trip, answer.back.unix_nanos) {
            let ClockEstimate { offset_nanos, bound_nanos } = clock;
            effects.push(Effect::Report(ClusterEvent::Clock { peer: id, offset_nanos, bound_nanos }));
        }
        effects
    }

    /// The run is over, and going is no alarm any more: the links on which to say goodbye.
    pub fn dismiss(&mut self) -> Vec<LinkId> {
        let mut links = Vec::new();
        for peer in self.peers.values_mut() {
            peer.is_leaving = true;
            if let Presence::Linked(link) = peer.presence {
                links.push(link);
            }
        }
        links
    }

    /// Time went on.
    pub fn tick(&mut self, now: Duration) -> Vec<Effect> {
        let pause = now.saturating_sub(self.last_tick);
        self.last_tick = now;
        if pause > OWN_PAUSE {
            self.forgive(pause);
        }
        let mut effects = self.give_up_silent_links(now);
        let beats = now >= self.next_beat;
        if beats {
            self.next_beat = now + BEAT;
        }
        let mut lost = Vec::new();
        for (id, peer) in &mut self.peers {
            match peer.presence {
                Presence::Away { since } if now.saturating_sub(since) >= GRACE => {
                    lost.push((id.clone(), LossCause::LinkClosed { after: GRACE }));
                }
                Presence::Away { .. } => {}
                Presence::Linked(link) => {
                    let silent = now.saturating_sub(peer.last_answer);
                    if silent >= LOST_AFTER {
                        lost.push((id.clone(), LossCause::Silent { silent }));
                    } else if beats {
                        self.seq += 1;
                        effects.extend(peer.beat(id, link, self.seq));
                    }
                }
            }
        }
        for (id, why) in lost {
            effects.extend(self.lose(id, why));
        }
        effects
    }

    /// Everyone who belongs to the cluster now.
    #[must_use]
    pub fn peers(&self) -> Vec<PeerStatus> {
        let status = |(id, peer): (&PeerId, &Peer)| PeerStatus {
            peer: id.clone(),
            host: peer.host.clone(),
            is_linked: matches!(peer.presence, Presence::Linked(_)),
            is_suspect: peer.is_suspect,
            clock: peer.clock.best(),
        };
        self.peers.iter().map(status).collect()
    }

    fn greet_if_complete(&mut self, link: LinkId) -> Vec<Effect> {
        let Some(state) = self.links.get_mut(&link) else { return Vec::new() };
        if state.is_closed || state.is_greeting || !state.has_agent || state.ready_at.is_none() {
            return Vec::new();
        }
        state.is_greeting = true;
        vec![Effect::Greet(link)]
    }

    fn introduced(&mut self, link: LinkId, claimed: Option<PeerId>, hello: HelloBack, now: Duration) -> Vec<Effect> {
        let id = PeerId::of(&hello.host, hello.ordinal, hello.incarnation);
        if hello.build != self.build {
            let why = format!("it runs build {}, and the leader {}", hello.build, self.build);
            return self.refuse(link, Some(claimed.unwrap_or(id)), why);
        }
        if let Some(claimed) = claimed.filter(|claimed| *claimed != id) {
            let why = format!("its Agent says it is {id}");
            return self.refuse(link, Some(claimed), why);
        }
        if self.fenced.contains(&id) {
            return self.turn_away(link, id);
        }
        match self.peers.get_mut(&id) {
            Some(peer) => {
                let former = peer.came_back(link, now);
                let close = former
                    .filter(|former| *former != link)
                    .map(|former| self.close(former, "the same life came by another link"));
                close.into_iter().chain([Effect::Return { peer: id, link }]).collect()
            }
            None => self.admit(link, id, hello, now),
        }
    }

    fn admit(&mut self, link: LinkId, id: PeerId, hello: HelloBack, now: Duration) -> Vec<Effect> {
        let mut effects = Vec::new();
        if let Some((other, _)) = self.peers.iter().find(|(_, peer)| peer.host == hello.host) {
            let duplicate = ClusterEvent::DuplicateHost { host: hello.host.clone(), peer: id.clone(), other: other.clone() };
            effects.push(Effect::Report(duplicate));
        }
        self.peers.insert(
            id.clone(),
            Peer {
                host: hello.host.clone(),
                presence: Presence::Linked(link),
                last_answer: now,
                answered: 0,
                unanswered: 0,
                is_suspect: false,
                is_leaving: false,
                clock: ClockWindow::default(),
            },
        );
        effects.insert(0, Effect::Join { peer: id, hello: Box::new(hello), link });
        // Asked at once, as its clock must be known before any load starts by it; silence counts from the next beat on.
        self.seq += 1;
        effects.push(Effect::Beat { link, beat: Beat { seq: self.seq, answered: 0 } });
        effects
    }

    fn refuse(&mut self, link: LinkId, name: Option<PeerId>, why: String) -> Vec<Effect> {
        // It is told once: a life that was refused is turned away without a word when it tries again.
        let shown = name.as_ref().map_or_else(|| "the leader's own node".to_owned(), ToString::to_string);
        if let Some(name) = name {
            self.turned_away.insert(name.clone());
            self.fenced.insert(name);
        }
        vec![Effect::Report(ClusterEvent::Refused { name: shown, why }), self.close(link, "refused")]
    }

    fn turn_away(&mut self, link: LinkId, id: PeerId) -> Vec<Effect> {
        let is_first = self.turned_away.insert(id.clone());
        let report = is_first.then_some(Effect::Report(ClusterEvent::Fenced { peer: id }));
        [self.close(link, "fenced")].into_iter().chain(report).collect()
    }

    fn lose(&mut self, id: PeerId, why: LossCause) -> Vec<Effect> {
        let Some(peer) = self.peers.remove(&id) else { return Vec::new() };
        if peer.is_leaving {
            return vec![Effect::Report(ClusterEvent::Left { peer: id })];
        }
        self.fenced.insert(id.clone());
        let mut effects = vec![Effect::Report(ClusterEvent::Lost { peer: id, why })];
        if let Presence::Linked(link) = peer.presence {
            effects.push(self.close(link, "lost"));
        }
        effects
    }

    fn close(&mut self, link: LinkId, why: &'static str) -> Effect {
        if let Some(state) = self.links.get_mut(&link) {
            state.is_closed = true;
        }
        Effect::Close { link, why }
    }

    /// A session without an Agent is of another wire version: it joined a scope that we do not look into.
    fn give_up_silent_links(&mut self, now: Duration) -> Vec<Effect> {
        let is_waiting_too_long = |state: &LinkState| {
            !state.is_closed && !state.has_agent && state.ready_at.is_some_and(|at| now.saturating_sub(at) >= AGENT_WITHIN)
        };
        let silent: Vec<LinkId> =
            self.links.iter().filter(|(_, state)| is_waiting_too_long(state)).map(|(link, _)| *link).collect();
        let mut effects = Vec::new();
        for link in silent {
            // An admitted node whose Agent is gone is for its beats to judge.
            if self.peer_on(link).is_some() {
                continue;
            }
            let claimed = self.links.get(&link).and_then(|state| state.claimed.clone());
            let why = format!("no Agent of wire version {SCOPE} appeared within {} s", AGENT_WITHIN.as_secs());
            effects.extend(self.refuse(link, claimed, why));
        }
        effects
    }

    /// Our own pause is no node's silence.
    fn forgive(&mut self, pause: Duration) {
        for peer in self.peers.values_mut() {
            peer.last_answer += pause;
            if let Presence::Away { since } = &mut peer.presence {
                *since += pause;
            }
        }
        for state in self.links.values_mut() {
            state.ready_at = state.ready_at.map(|at| at + pause);
        }
    }

    fn peer_on(&self, link: LinkId) -> Option<PeerId> {
        let on_link = |peer: &Peer| peer.presence == Presence::Linked(link);
        self.peers.iter().find(|(_, peer)| on_link(peer)).map(|(id, _)| id.clone())
    }
}

impl Peer {
    fn beat(&mut self, id: &PeerId, link: LinkId, seq: u64) -> Vec<Effect> {
        let missed = self.unanswered;
        self.unanswered += 1;
        let is_news = missed >= SUSPECT_AFTER_BEATS && !std::mem::replace(&mut self.is_suspect, missed >= SUSPECT_AFTER_BEATS);
        let suspected = is_news.then(|| Effect::Report(ClusterEvent::Suspected { peer: id.clone(), missed }));
        suspected.into_iter().chain([Effect::Beat { link, beat: Beat { seq, answered: self.answered } }]).collect()
    }

    /// Gives the link it had before.
    fn came_back(&mut self, link: LinkId, now: Duration) -> Option<LinkId> {
        self.last_answer = now;
        self.answered = 0;
        self.unanswered = 0;
        self.is_suspect = false;
        match std::mem::replace(&mut self.presence, Presence::Linked(link)) {
            Presence::Linked(former) => Some(former),
            Presence::Away { .. } => None,
        }
    }
}

#[cfg(test)]
mod tests;
