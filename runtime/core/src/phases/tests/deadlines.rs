//! What a phase has time for.

use super::*;
use crate::trial::IMAGE_READ_WITHIN;

#[test]
fn servers_in_an_image_have_the_time_in_which_it_is_read() {
    let deadline = |runtime| {
        let mut trial = trial("a", "m");
        (trial.service.runtime, trial.service.path) = (runtime, Some("image".into()));
        let mut run = World::new(vec![trial], None).run;
        run.start();
        run.seated(allocation(2, 1));
        run.answered(&"node0".into(), OrderKind::Admit, Ok(()));
        let begun = run.answered(&"node1".into(), OrderKind::Admit, Ok(()));
        begun.iter().find_map(|effect| if let Effect::Deadline { after, .. } = effect { Some(after.0) } else { None }).unwrap()
    };
    let bare = deadline(ContainerRuntime::Bare);
    assert_eq!(deadline(ContainerRuntime::Apptainer) - bare, IMAGE_READ_WITHIN.0);
    assert_eq!(deadline(ContainerRuntime::Podman), bare, "its images are names");
}

#[test]
fn a_stale_deadline_changes_nothing() {
    let mut world = World::new(two_trials(), None);
    let begun = world.run.start();
    let Some(Effect::Deadline { phase, ticket, .. }) = begun.last() else { panic!("no deadline") };
    let (phase, ticket) = (*phase, *ticket);
    world.play(2, &[]);
    assert_eq!(world.run.expired(phase, ticket), Vec::new());
}
