use super::*;

fn at(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn hello(host: &str, build: &str) -> HelloBack {
    HelloBack {
        build: build.into(),
        host: host.into(),
        address: host.into(),
        ordinal: Some(1),
        incarnation: 7,
        pid: 1,
        cores: 1,
        memory_bytes: 1,
        gpus: Vec::new(),
        http_port: None,
    }
}

fn id(host: &str) -> PeerId {
    PeerId::of(host, Some(1), 7)
}

fn link(number: u64) -> LinkId {
    LinkId::Session(number)
}

/// The effects, each by its first word.
fn words(effects: &[Effect]) -> Vec<String> {
    let word = |effect: &Effect| {
        let shown = match effect {
            Effect::Report(event) => format!("{event:?}"),
            other => format!("{other:?}"),
        };
        shown.split([' ', '(']).next().unwrap_or_default().to_owned()
    };
    effects.iter().map(word).collect()
}

fn joined(host: &str, number: u64) -> Membership {
    let mut members = Membership::new("1".into());
    members.session_ready(link(number), id(host), at(0));
    members.agent_seen(link(number));
    assert_eq!(words(&members.greeted(link(number), Ok(hello(host, "1")), at(0))), ["Join", "Beat"]);
    members
}

/// Ticks twice a second from the one second to the other; what was said besides beats.
fn pass(members: &mut Membership, from: u64, to: u64, answering: Option<LinkId>) -> Vec<String> {
    let mut said = Vec::new();
    for half in from * 2 + 1..=to * 2 {
        let now = Duration::from_millis(half * 500);
        for effect in members.tick(now) {
            match effect {
                Effect::Beat { link, beat } if answering == Some(link) => {
                    said.extend(members.beat_answered(link, &answer(beat.seq), now));
                }
                Effect::Beat { .. } => {}
                other => said.push(other),
            }
        }
    }
    let is_clock = |effect: &Effect| matches!(effect, Effect::Report(ClusterEvent::Clock { .. }));
    words(&said.into_iter().filter(|effect| !is_clock(effect)).collect::<Vec<_>>())
}

fn answer(seq: u64) -> Answer {
    let back = BeatBack { seq, unix_nanos: 0 };
    Answer { seq, sent_unix_nanos: 0, round_trip: Duration::from_millis(1), back }
}

#[test]
fn session_and_agent_come_in_either_order_and_are_greeted_once() {
    let mut members = Membership::new("1".into());
    assert!(members.session_ready(link(3), id("a"), at(0)).is_empty());
    assert_eq!(words(&members.agent_seen(link(3))), ["Greet"]);
    let mut members = Membership::new("1".into());
    assert!(members.agent_seen(link(3)).is_empty());
    assert_eq!(words(&members.session_ready(link(3), id("a"), at(0))), ["Greet"]);
    assert!(members.session_ready(link(3), id("a"), at(0)).is_empty());
}

#[test]
fn a_silent_node_is_suspect_then_lost_and_fenced() {
    let mut members = joined("a", 0);
    assert_eq!(pass(&mut members, 0, 6, None), ["Suspected"]);
    assert_eq!(pass(&mut members, 6, 10, None), ["Lost", "Close"]);
    members.session_gone(link(0), Some(id("a")), "here", at(10));
    assert_eq!(words(&members.session_ready(link(1), id("a"), at(11))), ["Close", "Fenced"]);
    assert_eq!(words(&members.session_ready(link(2), id("a"), at(12))), ["Close"], "told once");
}

#[test]
fn a_beat_says_which_answer_came_last() {
    let mut members = joined("a", 0);
    let beat = |members: &mut Membership, seconds| match members.tick(at(seconds)).pop() {
        Some(Effect::Beat { beat, .. }) => beat,
        other => panic!("{other:?}"),
    };
    assert_eq!(beat(&mut members, 2), Beat { seq: 2, answered: 0 }, "only its greeting was answered");
    members.beat_answered(link(0), &answer(2), at(2));
    assert_eq!(beat(&mut members, 4), Beat { seq: 3, answered: 2 });
    assert_eq!(beat(&mut members, 6), Beat { seq: 4, answered: 2 }, "silence says nothing new");
}

#[test]
fn a_suspect_that_answers_recovers() {
    let mut members = joined("a", 0);
    assert_eq!(pass(&mut members, 0, 6, None), ["Suspected"]);
    assert_eq!(pass(&mut members, 6, 40, Some(link(0))), ["Recovered"]);
}

#[test]
fn a_closed_link_has_grace_for_the_same_life() {
    let mut members = joined("a", 0);
    assert!(members.session_gone(link(0), Some(id("a")), "here", at(0)).is_empty());
    assert!(pass(&mut members, 0, 4, None).is_empty());
    members.session_ready(link(1), id("a"), at(4));
    members.agent_seen(link(1));
    assert_eq!(words(&members.greeted(link(1), Ok(hello("a", "1")), at(4))), ["Return"]);
    assert!(pass(&mut members, 4, 30, Some(link(1))).is_empty());
    members.session_gone(link(1), Some(id("a")), "here", at(30));
    assert_eq!(pass(&mut members, 30, 35, None), ["Lost"]);
}

#[test]
fn another_build_or_another_name_is_refused_once() {
    let mut members = Membership::new("1".into());
    members.session_ready(link(0), id("a"), at(0));
    members.agent_seen(link(0));
    assert_eq!(words(&members.greeted(link(0), Ok(hello("a", "2")), at(0))), ["Refused", "Close"]);
    assert_eq!(words(&members.session_ready(link(1), id("a"), at(1))), ["Close"]);
    members.session_ready(link(2), id("b"), at(1));
    members.agent_seen(link(2));
    assert_eq!(words(&members.greeted(link(2), Ok(hello("c", "1")), at(1))), ["Refused", "Close"]);
    assert!(members.peers().is_empty());
}

#[test]
fn an_unproved_name_harms_nobody() {
    let mut members = joined("a", 0);
    assert_eq!(words(&members.session_gone(link(9), Some(id("a")), "elsewhere", at(1))), ["Refused"]);
    assert!(pass(&mut members, 1, 20, Some(link(0))).is_empty());
}

#[test]
fn a_session_without_an_agent_is_refused() {
    let mut members = Membership::new("1".into());
    members.session_ready(link(0), id("a"), at(0));
    assert_eq!(pass(&mut members, 0, 10, None), ["Refused", "Close"]);
    assert!(pass(&mut members, 10, 30, None).is_empty());
}

#[test]
fn our_own_pause_is_no_nodes_silence() {
    let mut members = joined("a", 0);
    assert!(pass(&mut members, 0, 2, Some(link(0))).is_empty());
    assert_eq!(words(&members.tick(at(100))), ["Beat"]);
    assert!(pass(&mut members, 100, 104, Some(link(0))).is_empty());
}

#[test]
fn who_was_dismissed_leaves_without_alarm() {
    let mut members = joined("a", 0);
    assert_eq!(members.dismiss(), [link(0)]);
    assert_eq!(words(&members.session_gone(link(0), Some(id("a")), "here", at(1))), ["Left"]);
    assert!(pass(&mut members, 1, 20, None).is_empty());
}

#[test]
fn two_nodes_of_one_host_are_named() {
    let mut members = joined("a", 0);
    let second = HelloBack { incarnation: 8, ..hello("a", "1") };
    members.session_ready(link(1), PeerId::of("a", Some(1), 8), at(0));
    members.agent_seen(link(1));
    assert_eq!(words(&members.greeted(link(1), Ok(second), at(0))), ["Join", "DuplicateHost", "Beat"]);
}
