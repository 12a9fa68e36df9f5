//! An executor that gives up on a node that lives, and who does what it left.

use std::collections::BTreeSet;

use super::*;

/// A run of one trial over three client nodes (1 to 3, executors 0 to 2, a client each), whose load runs.
fn loaded(on_node_loss: Option<OnNodeLoss>) -> World {
    let mut trial = trial("a", "m");
    trial.load.stop = Stop::Requests(30);
    trial.load.model = LoadModel::Closed { concurrency: std::num::NonZeroU32::new(3).unwrap(), think: Span::ZERO };
    let mut world = World::new(vec![trial], on_node_loss);
    let begun = world.run.start();
    world.queue.extend(begun);
    let seated = world.run.seated(allocation(4, 1));
    world.queue.extend(seated);
    loop {
        match world.queue.pop_front().expect("it goes on") {
            Effect::StartLoad(_) => return world,
            effect => world.carry_out(effect),
        }
    }
}

fn gave_up(world: &mut World, executor: u32, node: u32) -> Vec<Effect> {
    let why = "it panicked".into();
    world.run.fact(&node_named(node), &Fact::ExecutorGaveUp { trial: "a".into(), executor, why })
}

fn finished(world: &mut World, executor: u32, node: u32) -> Vec<Effect> {
    world.run.fact(&node_named(node), &Fact::LoadFinished { trial: "a".into(), executor })
}

fn node_named(ordinal: u32) -> NodeName {
    format!("node{ordinal}").into()
}

/// Lets the books answer what was left, and says to which nodes it is given.
fn handed_on(world: &mut World, effects: &[Effect]) -> Vec<LoadShare> {
    let asked = effects.iter().find_map(|effect| match effect {
        Effect::TakeStock { executors, .. } => Some(executors.clone()),
        _ => None,
    });
    let executors = asked.unwrap_or_else(|| panic!("nobody asks what was left: {effects:?}"));
    let left = |executor: &u32| Left { executor: *executor, at: Nanos(5), next: 40, measured: 4 };
    let told = world.run.left_behind(&"a".into(), &executors.iter().map(left).collect::<Vec<_>>());
    let share = |effect: Effect| match effect {
        Effect::Order(node, Order::PrepareLoad(share)) => {
            assert_eq!(share.node, node);
            Some(*share)
        }
        _ => None,
    };
    told.into_iter().filter_map(share).collect()
}

fn placed(shares: &[LoadShare]) -> Vec<(&str, u32, Option<u32>)> {
    shares.iter().map(|share| (share.node.as_str(), share.executor, share.left_by)).collect()
}

fn is_closed(effects: &[Effect]) -> bool {
    effects.iter().any(|effect| matches!(effect, Effect::CloseTrial { is_complete: true, .. }))
}

#[test]
fn what_it_left_is_done_on_the_other_nodes_where_the_recipe_says_so() {
    let mut world = loaded(Some(OnNodeLoss::Redistribute));
    let effects = gave_up(&mut world, 2, 3);
    assert!(matches!(&effects[0], Effect::Warn(what) if what.contains("executor 2 on node3 failed more often than is borne")));
    let pieces = handed_on(&mut world, &effects);
    assert_eq!(pieces.len(), 1, "one client is one piece");
    let heir = pieces[0].node.clone();
    assert_ne!(heir, node_named(3), "not on the node that gave up");
    assert_eq!((pieces[0].executor, pieces[0].left_by, pieces[0].requests), (3, Some(2), Some(10 - 4)));
    // The others end meanwhile: the run waits for what is taken over.
    assert!(!is_closed(&finished(&mut world, 0, 1)) && !is_closed(&finished(&mut world, 1, 2)));
    let joined = world.run.fact(&heir, &Fact::LoadPrepared { trial: "a".into(), executor: 3 });
    assert!(matches!(&joined[..], [Effect::JoinLoad { shares, .. }] if shares == &pieces), "{joined:?}");
    let over = world.run.fact(&heir, &Fact::LoadFinished { trial: "a".into(), executor: 3 });
    assert!(is_closed(&over), "{over:?}");
}

#[test]
fn where_the_run_only_goes_on_nobody_does_it_and_where_it_is_to_fail_it_fails() {
    for goes_on in [None, Some(OnNodeLoss::Continue)] {
        let mut world = loaded(goes_on);
        let effects = gave_up(&mut world, 2, 3);
        assert!(matches!(&effects[..], [Effect::Warn(what)] if what.contains("executor 2 on node3")), "{effects:?}");
        assert!(!is_closed(&finished(&mut world, 0, 1)) && is_closed(&finished(&mut world, 1, 2)));
    }
    let mut world = loaded(Some(OnNodeLoss::Fail));
    gave_up(&mut world, 2, 3);
    let (phase, cause) = world.run.failure().expect("it failed");
    assert!(*phase == Phase::Execution && cause.contains("executor 2 on node3"), "{cause}");
}

#[test]
fn a_node_on_which_one_gave_up_takes_nothing_over_and_where_none_is_left_the_rest_is_lost() {
    let mut world = loaded(Some(OnNodeLoss::Redistribute));
    let mut gone = BTreeSet::from([node_named(3)]);
    let mut effects = gave_up(&mut world, 2, 3);
    // Whoever takes it over gives it up, too, until nobody is left.
    for executor in [3, 4] {
        let pieces = handed_on(&mut world, &effects);
        let [piece] = &pieces[..] else { panic!("{:?}", placed(&pieces)) };
        assert!(piece.executor == executor && !gone.contains(&piece.node), "{:?}", placed(&pieces));
        gone.insert(piece.node.clone());
        let why = "no dataset".into();
        effects = world.run.fact(&piece.node, &Fact::LoadFailed { trial: "a".into(), executor, why });
    }
    assert!(matches!(&effects[..], [Effect::Warn(what)] if what.contains("executor 4")), "{effects:?}");
    assert!(world.run.failure().is_none(), "the others' own shares go on");
    assert!(!is_closed(&finished(&mut world, 0, 1)) && is_closed(&finished(&mut world, 1, 2)));
}

#[test]
fn a_node_that_refuses_what_it_was_to_take_over_leaves_it_to_the_others() {
    let mut world = loaded(Some(OnNodeLoss::Redistribute));
    let effects = gave_up(&mut world, 2, 3);
    let first = handed_on(&mut world, &effects).remove(0);
    let refused = world.run.answered(&first.node, OrderKind::PrepareLoad, Err("too large".into()));
    let second = handed_on(&mut world, &refused);
    assert_eq!(second.len(), 1);
    assert!(second[0].node != first.node && second[0].node != node_named(3), "{:?}", placed(&second));
    assert_eq!((second[0].left_by, second[0].requests), (Some(3), Some(6 - 4)));
}

#[test]
fn the_last_executor_that_gives_up_ends_the_run() {
    let mut world = loaded(Some(OnNodeLoss::Redistribute));
    for node in [1, 2] {
        world.trouble(&Trouble::Lose(node));
        world.queue.clear();
    }
    let left = [0, 1].map(|executor| Left { executor, at: Nanos(5), next: 40, measured: 4 });
    world.run.left_behind(&"a".into(), &left);
    for executor in [3, 4] {
        world.run.fact(&node_named(3), &Fact::LoadPrepared { trial: "a".into(), executor });
    }
    for executor in [2, 3, 4] {
        assert!(world.run.failure().is_none(), "executor {executor} still sends");
        gave_up(&mut world, executor, 3);
    }
    assert!(world.run.failure().is_some_and(|(_, why)| why.contains("executor 4 on node3")), "{:?}", world.run.failure());
}

#[test]
fn one_that_is_through_leaves_nothing() {
    let mut world = loaded(Some(OnNodeLoss::Redistribute));
    finished(&mut world, 2, 3);
    let effects = gave_up(&mut world, 2, 3);
    assert!(matches!(&effects[..], [Effect::Warn(_)]), "{effects:?}");
}
