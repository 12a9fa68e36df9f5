//! Whether conversations can be had of this load: what beside `workload.turns` contradicts it.

use super::{
    super::{Problem, Workload, words::TurnCount},
    load::is_open_anywhere,
    values,
};
use crate::trial::{Length, choices};

pub(super) fn check(workload: &Workload, problems: &mut Vec<Problem>) {
    let path = "workload.turns";
    let has_several = |turns: &TurnCount| Length::from(*turns) != Length::Fixed(1);
    if !values(path, &workload.turns).any(|(_, turns)| has_several(turns)) {
        return;
    }
    if is_open_anywhere(workload) {
        let problem = Problem::error(path, "turns in an open loop", "turns in a closed loop");
        problems.push(problem.advise(
            "a turn is due once the former answer has come, which no schedule knows; write `concurrency` instead of \
             `target_rps`, and the time to think as `sleep_seconds`",
        ));
    }
    if workload.batches().any(|batch| batch.get() > 1) {
        problems.push(Problem::error(path, "turns beside `batch`", "one of both").advise("a turn asks one question"));
    }
    if workload.sampling.as_ref().is_some_and(|sampling| choices(sampling) > 1) {
        let problem = Problem::error(path, "turns beside `sampling.n`", "one of both");
        problems.push(problem.advise("a conversation goes on from one answer; leave `n` out"));
    }
}
