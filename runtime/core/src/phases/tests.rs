//! The run against a small world that carries out effects, well or badly.

mod deadlines;
mod drills;
mod giving_up;
mod interrupted;
mod world;

use std::num::NonZeroU32;

use proptest::prelude::*;
use serde_json::Map;

use self::world::{Trouble, World};
use super::*;
use crate::{
    facts::Fact,
    orders::{Duty, LoadShare, Order},
    plan::{Allocation, Candidate, Left, NodeNeeds},
    trial::{
        Api, ContainerRuntime, Distribution, DrillTarget, HealthCheck, Layout, Length, LoadModel, LoadSpec, RequestSpec,
        ServiceSpec, Slo, Stop, Timeouts, Trial,
    },
    units::{Nanos, NodeName, Span, TrialId},
};

pub(crate) fn trial(id: &str, model: &str) -> Trial {
    let second = Span::from_secs(1);
    let health = HealthCheck { enabled: true, timeout: Span::from_secs(60), interval: second, endpoint: None };
    Trial {
        id: TrialId::from(id),
        parameters: std::collections::BTreeMap::new(),
        repetition: 1,
        seed: 1,
        service: ServiceSpec {
            service: "dummy".into(),
            model: model.into(),
            config: Map::new(),
            environment: std::collections::BTreeMap::new(),
            endpoints: Vec::new(),
            answers_as: Vec::new(),
            headers: Default::default(),
            api_key: None,
            port: None,
            health,
            runtime: ContainerRuntime::Bare,
            path: None,
            binds: Vec::new(),
            extra_args: Vec::new(),
            gpus: 0,
            custom: None,
            layout: Default::default(),
            remote: None,
            runtime_args: Vec::new(),
        },
        load: LoadSpec {
            model: LoadModel::Closed { concurrency: std::num::NonZeroU32::new(4).unwrap(), think: Span::ZERO },
            warmup: second,
            stop: Stop::After(Span::from_secs(10)),
            stop_when: None,
            together: NonZeroU32::MIN,
            max_in_flight: None,
            shares_by: Default::default(),
            timeouts: Timeouts { connect: second, first_byte: second, between_chunks: second, total: second },
            distribution: Distribution::RoundRobin,
            dataset: None,
            tokenizer: None,
            drills: Vec::new(),
            calibration: None,
        },
        request: RequestSpec {
            api: Api::Completions,
            stream: true,
            prompt_len: Length::Fixed(8),
            gen_tokens: Length::Fixed(8),
            batch: std::num::NonZeroU32::MIN,
            shared_prefix: None,
            turns: None,
            sampling: Map::new(),
        },
        slo: Slo::default(),
        search: None,
        place: None,
    }
}

fn allocation(nodes: u32, servers: u32) -> Allocation {
    let candidate = |ordinal| Candidate {
        ordinal: Some(ordinal),
        is_leader: false,
        host: format!("node{ordinal}"),
        address: "127.0.0.1".into(),
        cores: 2,
    };
    let candidates: Vec<Candidate> = (0..nodes).map(candidate).collect();
    Allocation::of(&candidates, &NodeNeeds { monitors: 0, servers, clients: None, share_servers: false }).unwrap()
}

fn two_trials() -> Vec<Trial> {
    vec![trial("a", "m"), trial("b", "m")]
}

#[test]
fn an_undisturbed_run_goes_through_its_phases_once_and_keeps_its_server_up() {
    let mut world = World::new(two_trials(), None);
    world.play(3, &[]);
    use Phase::*;
    let expected =
        [Initialization, ServiceDeployment, MonitoringSetup, ClientLaunch, Execution, ClientLaunch, Execution, Teardown, Report];
    assert_eq!(world.entered, expected);
    assert!(world.run.is_complete());
    assert_eq!(world.opened, world.closed);
    assert!(world.up.is_empty(), "servers are ended");
}

#[test]
fn another_model_means_another_server() {
    let mut world = World::new(vec![trial("a", "m"), trial("b", "n")], None);
    world.play(2, &[]);
    assert_eq!(world.entered.iter().filter(|phase| **phase == Phase::ServiceDeployment).count(), 2);
    assert!(world.run.is_complete());
}

/// A run over servers of two nodes each.
fn spread(layout: fn(std::num::NonZeroU32) -> Layout, trials: &[&str]) -> World {
    let spread = |id: &&str| {
        let mut trial = trial(id, id);
        trial.service.layout = layout(std::num::NonZeroU32::new(2).unwrap());
        trial
    };
    let mut world = World::new(trials.iter().map(spread).collect(), None);
    world.servers = 2;
    world
}

#[test]
fn ranks_are_told_where_the_first_one_is_and_end_after_it() {
    let mut world = spread(Layout::Ranks, &["a"]);
    world.play(3, &[]);
    assert_eq!(world.course, ["+server-0", "+server-0-rank-1 at 7000", "-0", "-1"]);
    assert!(world.run.is_complete());
}

#[test]
fn a_cluster_is_gathered_before_its_server_and_ends_after_it_head_last() {
    let mut world = spread(Layout::Cluster, &["a", "b"]);
    world.play(3, &[]);
    let once = ["+server-0-cluster-head", "+server-0-cluster-1 at 7001", "+server-0 at 7001", "-0", "-2", "-1"];
    assert_eq!(world.course, [once, once].concat(), "for each of two models");
    assert!(world.run.is_complete());
}

#[test]
fn a_rank_that_is_lost_ends_the_run_with_its_name() {
    let mut world = spread(Layout::Ranks, &["a"]);
    let begun = world.run.start();
    world.queue.extend(begun);
    let seated = world.run.seated(allocation(3, 2));
    world.queue.extend(seated);
    while world.up.len() < 2 {
        let effect = world.queue.pop_front().unwrap();
        world.carry_out(effect);
    }
    world.tell(&NodeName::from("node1"), Fact::ServerExited { server: 1, why: "it broke".into() });
    let (_, cause) = world.run.failure().unwrap();
    assert_eq!(cause, "rank 1 of server 0 on node1 ended by itself: it broke");
    let told = world.run.fact(&NodeName::from("node0"), &Fact::ServerExited { server: 0, why: "no rank 1".into() });
    assert_eq!(told[0], Effect::Warn("server 0 on node0 ended by itself: no rank 1".into()), "the other's end is told too");
}

#[test]
fn a_server_of_more_nodes_than_there_are_starts_nothing() {
    let mut world = spread(Layout::Ranks, &["a"]);
    world.servers = 1;
    world.play(2, &[]);
    assert_eq!(world.course, [""; 0]);
    assert!(world.run.failure().unwrap().1.contains("spans 2 nodes, and 1"));
}

#[test]
fn a_lost_client_is_borne_while_another_is_left() {
    let mut world = World::new(two_trials(), None);
    world.play(3, &[(20, Trouble::Lose(1))]);
    assert!(world.run.failure().is_none(), "{:?}", world.run.failure());
    assert!(world.run.is_complete());
}

#[test]
fn a_lost_server_still_yields_a_report() {
    let mut world = World::new(two_trials(), None);
    world.play(3, &[(20, Trouble::Lose(0))]);
    assert!(world.run.failure().is_some());
    assert_eq!((world.finished, world.opened.len()), (1, world.closed.len()));
}

#[test]
fn a_window_that_is_sure_enough_ends_on_every_node_and_the_trial_is_whole() {
    let mut world = World::new(two_trials(), None);
    world.play(3, &[]);
    // The world's loads end at once, so the order is carried out while it is on its way.
    let told: Vec<String> = world.ended_windows.iter().map(|(node, trial)| format!("{node} {trial}")).collect();
    assert_eq!(told, ["node1 a", "node2 a", "node1 b", "node2 b"]);
    assert!(world.run.is_complete(), "it is no interruption");
    assert_eq!(world.run.sure_enough(&"a".into(), Nanos(1)), Vec::new(), "it is over");
}

#[test]
fn a_load_whose_rows_cannot_be_kept_is_not_sent() {
    let mut world = World { has_full_disk: true, ..World::new(two_trials(), None) };
    world.play(3, &[]);
    assert_eq!((world.loads, world.finished), (0, 1));
    let (phase, cause) = world.run.failure().expect("it failed");
    assert_eq!(*phase, Phase::Execution);
    assert!(cause.contains("no space"), "{cause}");
    assert!(world.up.is_empty(), "servers are ended");
}

#[test]
fn orders_are_repeated_only_while_nothing_made_them_stale() {
    let mut world = World::new(vec![trial("a", "m"), trial("b", "n")], None);
    let begun = world.run.start();
    world.queue.extend(begun);
    let seated = world.run.seated(allocation(3, 1));
    world.queue.extend(seated);
    let mut given: Vec<Order> = Vec::new();
    while world.finished == 0 {
        let effect = world.queue.pop_front().expect("it goes on");
        if let Effect::Order(_, order) = &effect {
            assert!(world.run.still_wants(order), "it was just given: {order:?}");
            given.push(order.clone());
        }
        world.carry_out(effect);
        // In this world orders are carried out at once, so what was given is either done or stale.
        let wanted = given.iter().filter(|order| world.run.still_wants(order));
        let is_idle = |order: &&Order| matches!(order, Order::StartServer(_) | Order::PrepareLoad(_) | Order::Drill { .. });
        assert_eq!(wanted.filter(is_idle).count(), 0, "in {:?}", world.run.phase());
    }
    assert!(given.iter().any(|order| matches!(order, Order::StopServer { .. })));
}

#[test]
fn what_a_node_says_after_it_was_lost_changes_nothing() {
    let mut world = World::new(two_trials(), None);
    let begun = world.run.start();
    world.queue.extend(begun);
    let seated = world.run.seated(allocation(3, 1));
    world.queue.extend(seated);
    while world.run.phase() != Some(Phase::ClientLaunch) {
        let effect = world.queue.pop_front().expect("it goes on");
        world.carry_out(effect);
    }
    world.trouble(&Trouble::Lose(1));
    let late = world.run.answered(&NodeName::from("node1"), OrderKind::PrepareLoad, Err("it cannot be reached".into()));
    assert_eq!((late, world.run.failure()), (Vec::new(), None));
}

fn troubles() -> impl Strategy<Value = Vec<(usize, Trouble)>> {
    let trouble = prop_oneof![
        (0u32..4).prop_map(Trouble::Lose),
        Just(Trouble::ServerFails),
        Just(Trouble::ServerExits),
        (1u32..4).prop_map(Trouble::GiveUp),
        Just(Trouble::Interrupt),
        Just(Trouble::Refuse),
    ];
    proptest::collection::vec((0usize..60, trouble), 0..5)
}

proptest! {
    #[test]
    fn from_wherever_it_stops_a_run_ends_with_its_report(troubles in troubles(), loss in 0u8..4, is_spread in any::<bool>(), in_load in any::<bool>()) {
        let on_node_loss = [None, Some(OnNodeLoss::Fail), Some(OnNodeLoss::Continue), Some(OnNodeLoss::Redistribute)][usize::from(loss)];
        let mut trials = two_trials();
        if is_spread {
            trials.iter_mut().for_each(|trial| trial.service.layout = Layout::Cluster(2.try_into().unwrap()));
        }
        let mut world = World::new(trials, on_node_loss);
        world.servers = 1 + u32::from(is_spread);
        world.loses_in_load = in_load;
        world.play(4, &troubles);
        prop_assert_eq!(world.finished, 1);
        prop_assert_eq!(world.entered.last(), Some(&Phase::Report));
        prop_assert_eq!(&world.opened, &world.closed, "every trial that was opened is closed, once");
        prop_assert!(world.up.is_empty(), "servers are ended, but those of lost nodes");
        let saved = world.course.iter().filter(|step| *step == "report").count();
        // One that comes when the report is being written changes nothing.
        prop_assert!(saved <= usize::from(world.run.interrupted().is_some()));
    }
}

/// What is opened and closed of two trials of 11 s each, where so many seconds are left and a server takes some.
fn opened_within(left: i128, server_seconds: u64) -> (Vec<TrialId>, World) {
    let mut world = World::new(vec![trial("a", "m"), trial("b", "m")], None);
    world.server_seconds = server_seconds;
    world.load_seconds = 11;
    world.run.time.ends_at = Some(left * 1_000_000_000);
    world.play(2, &[]);
    (world.opened.clone(), world)
}

#[test]
fn a_trial_that_cannot_be_over_in_time_is_not_begun_and_the_run_ends_in_order() {
    let (opened, world) = opened_within(22, 0);
    assert_eq!((opened.len(), world.run.is_complete(), world.run.interrupted()), (2, true, None));
    for (left, server, begun) in [(21, 0, 1), (11, 0, 1), (10, 0, 0), (0, 0, 0), (-5, 0, 0), (13, 3, 0), (14, 3, 1)] {
        let (opened, world) = opened_within(left, server);
        assert_eq!(opened.len(), begun, "{left} s, {server} s for the server");
        assert_eq!(world.closed, world.opened, "what was begun is closed");
        assert!(world.run.interrupted().is_some_and(|by| by.starts_with(WALL_TIME)), "{:?}", world.run.interrupted());
        assert!(world.up.is_empty() && world.run.failure().is_none() && !world.run.is_complete());
    }
}

/// A run of one trial over two client nodes whose second one is lost while load runs.
fn losing(on_node_loss: OnNodeLoss, alter: impl FnOnce(&mut Trial)) -> World {
    let mut trial = trial("a", "m");
    alter(&mut trial);
    let mut world = World::new(vec![trial], Some(on_node_loss));
    world.servers = 2;
    world.loses_in_load = true;
    world.play(4, &[]);
    world
}

#[test]
fn what_a_lost_node_left_is_done_by_the_others_where_the_recipe_says_so() {
    let redistributed = losing(OnNodeLoss::Redistribute, |trial| trial.load.stop = Stop::Requests(30));
    let [piece] = &redistributed.joined[..] else { panic!("{:?}", redistributed.joined) };
    assert_eq!((piece.node.as_str(), piece.executor, piece.left_by), ("node2", 2, Some(1)));
    assert_eq!((&piece.clients[..], piece.requests), (&[2, 3][..], Some(15 - 4)), "its clients, and what they had not asked");
    assert!(piece.numbers.at(0) > 40);
    assert!(redistributed.run.failure().is_none() && redistributed.run.is_complete());

    let borne = losing(OnNodeLoss::Continue, |_| {});
    assert!(borne.joined.is_empty() && borne.run.is_complete());
    let failed = losing(OnNodeLoss::Fail, |_| {});
    assert!(failed.joined.is_empty() && failed.run.failure().is_some_and(|(phase, _)| *phase == Phase::Execution));
}

#[test]
fn a_load_over_which_nobody_is_left_fails() {
    let mut world = World::new(vec![trial("a", "m")], Some(OnNodeLoss::Redistribute));
    world.servers = 3;
    world.loses_in_load = true;
    world.play(4, &[]);
    assert!(world.joined.is_empty() && world.run.failure().is_some_and(|(_, why)| why.contains("node3")));
    assert_eq!(world.opened, world.closed);
}

#[test]
fn a_server_that_is_gone_before_the_load_keeps_its_ordinal() {
    let mut world = World::new(vec![trial("a", "m")], Some(OnNodeLoss::Continue));
    world.servers = 2;
    world.exits_before_load = Some(0);
    world.play(4, &[]);
    assert!(world.run.is_complete());
    assert!(!world.prepared.is_empty());
    for share in &world.prepared {
        assert_eq!((share.servers.len(), share.servers[1].as_str()), (2, "http://s1"));
        assert_eq!(share.left_servers, [0].into());
    }
}

#[test]
fn the_clients_of_a_lost_server_are_told_to_ask_the_others() {
    let leaving = |on_node_loss| {
        let mut world = World::new(vec![trial("a", "m")], Some(on_node_loss));
        world.servers = 2;
        world.lost_server = Some(0);
        world.play(4, &[]);
        world
    };
    let left = leaving(OnNodeLoss::Redistribute);
    assert_eq!((left.left_servers, left.run.is_complete()), (2, true), "both clients are told, once");
    assert_eq!(leaving(OnNodeLoss::Continue).left_servers, 0);
    let mut alone = World::new(vec![trial("a", "m")], Some(OnNodeLoss::Redistribute));
    alone.lost_server = Some(0);
    alone.play(3, &[]);
    assert!(alone.run.failure().is_some_and(|(_, why)| why.contains("node0")), "no server is left");
}
