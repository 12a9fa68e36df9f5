//! Drills: when one happens, and what is said of one that does not.

use super::*;
use crate::trial::Drill;

#[test]
fn a_drill_is_carried_out_where_it_was_meant() {
    let mut with_drill = trial("a", "m");
    with_drill.load.drills = vec![Drill { at: Span::ZERO, kill: DrillTarget::Server }];
    let mut world = World::new(vec![with_drill], None);
    world.waits_for_drills = true;
    world.play(2, &[]);
    assert_eq!(world.drills, [("node0".into(), DrillTarget::Server)]);
}

#[test]
fn a_drill_behind_the_end_of_the_window_does_not_happen_and_is_told() {
    let mut with_drills = trial("a", "m");
    let drill = |seconds| Drill { at: Span::from_secs(seconds), kill: DrillTarget::Executor };
    with_drills.load.drills = vec![drill(8), drill(2)];
    let mut world = World::new(vec![with_drills], None);
    let begun = world.run.start();
    world.queue.extend(begun);
    let seated = world.run.seated(allocation(3, 1));
    world.queue.extend(seated);
    while world.run.phase() != Some(Phase::Execution) {
        let effect = world.queue.pop_front().expect("it goes on");
        world.carry_out(effect);
    }
    let id = TrialId::from("a");
    assert_eq!(world.run.load_started(&id).len(), 2);
    // A second of warm-up, and five of the window.
    let told = |effects: &[Effect]| -> Vec<String> {
        effects.iter().filter_map(|effect| if let Effect::Warn(what) = effect { Some(what.clone()) } else { None }).collect()
    };
    let cut = world.run.sure_enough(&id, Nanos(6_000_000_000));
    assert_eq!(told(&cut), ["a: the drill at 8s (kill: executor) did not happen: the measured window was over before"]);
    assert!(matches!(&world.run.drill_due(&id, DrillTarget::Executor)[..], [Effect::Order(_, Order::Drill { .. })]));
    assert_eq!(world.run.drill_due(&id, DrillTarget::Executor), Vec::new(), "it would fall into the drain");
}

#[test]
fn a_drill_that_a_load_did_not_last_for_is_told() {
    let mut with_drill = trial("a", "m");
    with_drill.load.drills = vec![Drill { at: Span::from_secs(5), kill: DrillTarget::Node }];
    let mut world = World::new(vec![with_drill], None);
    world.play(3, &[]);
    assert!(world.drills.is_empty());
    assert_eq!(world.warnings.len(), 1, "{:?}", world.warnings);
}
