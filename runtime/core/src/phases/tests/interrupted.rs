//! A run that is told to end has its report on disk before anything that may take long.

use super::*;

/// A run of one trial whose server is up, at its first effect for which `is_it` holds.
fn at(is_it: impl Fn(&Effect) -> bool) -> World {
    let mut world = World::new(vec![trial("a", "m")], None);
    let begun = world.run.start();
    world.queue.extend(begun);
    let seated = world.run.seated(allocation(3, 1));
    world.queue.extend(seated);
    loop {
        let effect = world.queue.pop_front().expect("it goes on");
        if is_it(&effect) {
            return world;
        }
        world.carry_out(effect);
    }
}

/// What is started, ended and written after an interrupt, to the end.
fn course_after_interrupt(mut world: World) -> Vec<String> {
    world.course.clear();
    world.trouble(&Trouble::Interrupt);
    while world.finished == 0 {
        let effect = world.queue.pop_front().expect("it goes on");
        world.carry_out(effect);
    }
    assert_eq!(world.closed, world.opened);
    world.course
}

#[test]
fn its_report_is_written_before_its_servers_are_told_to_end() {
    let loaded = at(|effect| matches!(effect, Effect::StartLoad(_)));
    assert_eq!(course_after_interrupt(loaded), ["report", "-0"]);
    let deploying = at(|effect| matches!(effect, Effect::Enter(Phase::MonitoringSetup)));
    assert_eq!(course_after_interrupt(deploying), ["report", "-0"], "without a trial, too");
}

#[test]
fn one_whose_servers_are_ending_anyway_has_its_report_written_at_once() {
    let ending = at(|effect| matches!(effect, Effect::Order(_, Order::StopServer { .. })));
    let mut world = ending;
    let effects = world.run.interrupt("SIGTERM");
    assert_eq!(effects, [Effect::SaveReport]);
    assert_eq!(world.run.interrupt("SIGTERM"), Vec::new(), "once");
    assert!(world.run.is_complete(), "it was through");
}

#[test]
fn one_that_nobody_told_to_end_writes_its_report_when_it_is_over() {
    let mut world = World::new(two_trials(), None);
    world.play(3, &[]);
    assert!(!world.course.iter().any(|step| step == "report"), "{:?}", world.course);
}
