//! `workload.stages`: what a recipe writes, what they mean, and which of them make no schedule.
//!
//! A stage holds its rate or concurrency (`ramp: none`), or goes to it from the one before, over all of its duration.
//! Before the first stage that is `workload.target_rps` or `workload.concurrency`, or nothing.

use std::num::NonZeroU32;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Problem, Workload};
use crate::{
    trial::{RateStage, Slope},
    units::Span,
};

/// One stretch of a load that changes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LoadStage {
    /// How long it lasts.
    pub duration: Span,
    /// Its rate, or the one that its ramp leads to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target_rps: Option<f64>,
    /// Its concurrency over all nodes, or the one that its ramp leads to: a closed loop whose clients come and go. Where
    /// the number falls, a client that goes still waits for its answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub concurrency: Option<NonZeroU32>,
    /// How the load gets there from the stage before; the first one comes from `workload.target_rps` or
    /// `workload.concurrency`, or from nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ramp: Option<Ramp>,
}

/// How a stage's load is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Ramp {
    /// At once.
    None,
    /// By equal steps.
    Linear,
    /// By equal factors.
    Exponential,
}

/// The window of such stages.
pub(super) fn duration(stages: &[LoadStage]) -> Span {
    let sum = stages.iter().try_fold(std::time::Duration::ZERO, |sum, stage| sum.checked_add(stage.duration.0));
    Span(sum.unwrap_or(std::time::Duration::MAX))
}

/// Whether such stages are those of a closed loop.
pub(super) fn is_closed(stages: &[LoadStage]) -> bool {
    stages.iter().any(|stage| stage.concurrency.is_some())
}

/// The stages with both ends of their rates or concurrencies.
pub(super) fn of(stages: &[LoadStage], base: Option<f64>) -> Vec<RateStage> {
    let mut before = base.unwrap_or(0.0);
    let stage = |stage: &LoadStage| {
        let to = stage.target_rps.or(stage.concurrency.map(|clients| f64::from(clients.get()))).unwrap_or(0.0);
        let (from, slope) = match stage.ramp.unwrap_or(Ramp::None) {
            Ramp::None => (to, Slope::Linear),
            Ramp::Linear => (before, Slope::Linear),
            Ramp::Exponential => (before, Slope::Exponential),
        };
        before = to;
        RateStage { duration: stage.duration, from, to, slope }
    };
    stages.iter().map(stage).collect()
}

/// What makes no schedule.
pub(super) fn check(workload: &Workload, problems: &mut Vec<Problem>) {
    let Some(first) = workload.stages.first() else { return };
    for (path, is_written) in
        [("workload.duration", workload.duration.is_some()), ("workload.requests", workload.requests.is_some())]
    {
        if is_written {
            let problem = Problem::error(path, "an end of the window beside `stages`", "one of both");
            problems.push(problem.advise("the window is as long as its stages together; leave this out"));
        }
    }
    let is_closed = is_closed(&workload.stages);
    if is_closed && workload.stages.iter().any(|stage| stage.target_rps.is_some()) {
        let of_rate = workload.stages.iter().position(|stage| stage.target_rps.is_some()).unwrap_or(0);
        let path = format!("workload.stages[{of_rate}].target_rps");
        let problem = Problem::error(path, "a rate in one stage and a concurrency in another", "one of both in all stages");
        problems.push(problem.advise("an open loop and a closed one are two measurements; make them entries of benchmark_suite"));
    }
    beside(workload, is_closed, problems);
    let (base, name) = match is_closed {
        true => (workload.concurrency.is_some(), "workload.concurrency"),
        false => (workload.target_rps.is_some(), "workload.target_rps"),
    };
    if first.ramp == Some(Ramp::Exponential) && !base {
        let problem = Problem::error("workload.stages[0].ramp", "a ramp by equal factors from nothing", "`none` or `linear`");
        problems.push(problem.advise(format!("or write what it begins with as `{name}`")));
    }
}

/// Words beside the stages that would have no effect.
fn beside(workload: &Workload, is_closed: bool, problems: &mut Vec<Problem>) {
    let (kind, strangers) = match is_closed {
        true => (
            "a concurrency",
            [
                ("workload.target_rps", workload.target_rps.is_some()),
                ("workload.max_in_flight", workload.max_in_flight.is_some()),
                ("workload.clients_per_node", workload.clients_per_node.is_some()),
            ],
        ),
        false => (
            "a rate",
            [
                ("workload.concurrency", workload.concurrency.is_some()),
                ("workload.sleep_seconds", workload.sleep_seconds.is_some()),
                ("workload.clients_per_node", workload.clients_per_node.is_some()),
            ],
        ),
    };
    for (path, _) in strangers.into_iter().filter(|(_, is_written)| *is_written) {
        let problem = Problem::error(path, format!("it, beside stages that each have {kind}"), "one of both");
        problems.push(problem.advise("it would have no effect; leave it out"));
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use super::{super::OneOrMany, *};

    fn stage(rate: f64, ramp: Ramp) -> LoadStage {
        LoadStage { duration: Span::from_secs(10), target_rps: Some(rate), concurrency: None, ramp: Some(ramp) }
    }

    #[test]
    fn a_ramp_goes_from_the_rate_before() {
        let stages = [stage(10.0, Ramp::Linear), stage(20.0, Ramp::None), stage(40.0, Ramp::Exponential)];
        let ends = |base| of(&stages, base).iter().map(|stage| (stage.from, stage.to)).collect::<Vec<_>>();
        assert_eq!(ends(None), [(0.0, 10.0), (20.0, 20.0), (20.0, 40.0)]);
        assert_eq!(ends(Some(5.0))[0], (5.0, 10.0));
        assert_eq!(duration(&stages), Span::from_secs(30));
    }

    #[test]
    fn a_concurrency_is_led_to_as_a_rate_is() {
        let clients =
            |clients: u32, ramp| LoadStage { target_rps: None, concurrency: NonZeroU32::new(clients), ..stage(0.0, ramp) };
        let stages = [clients(4, Ramp::Linear), clients(8, Ramp::None), clients(2, Ramp::Exponential)];
        assert!(is_closed(&stages));
        let ends = |base| of(&stages, base).iter().map(|stage| (stage.from, stage.to)).collect::<Vec<_>>();
        assert_eq!(ends(None), [(0.0, 4.0), (8.0, 8.0), (8.0, 2.0)]);
        assert_eq!(ends(Some(1.0))[0], (1.0, 4.0));
    }

    #[test]
    fn words_of_the_other_loop_beside_stages_are_errors() {
        let paths = |workload: Workload| {
            let mut problems = Vec::new();
            check(&workload, &mut problems);
            problems.into_iter().map(|problem| problem.path).collect::<Vec<_>>()
        };
        let closed = LoadStage { target_rps: None, concurrency: NonZeroU32::new(4), ..stage(0.0, Ramp::None) };
        let four = NonZeroU32::new(4).map(OneOrMany::One);
        let of = |stages: Vec<LoadStage>| Workload { stages, ..Workload::default() };
        assert_eq!(paths(of(vec![closed.clone(), stage(1.0, Ramp::None)])), ["workload.stages[1].target_rps"]);
        let rate = Workload { target_rps: Some(OneOrMany::One(1.0)), ..of(vec![closed.clone()]) };
        assert_eq!(paths(rate), ["workload.target_rps"]);
        let clients = Workload { concurrency: four.clone(), ..of(vec![stage(1.0, Ramp::None)]) };
        assert_eq!(paths(clients), ["workload.concurrency"]);
        let base = Workload { concurrency: four, ..of(vec![LoadStage { ramp: Some(Ramp::Exponential), ..closed }]) };
        assert_eq!(paths(base), Vec::<String>::new());
    }

    #[test]
    fn what_makes_no_schedule_is_said() {
        let paths = |workload: &Workload| {
            let mut problems = Vec::new();
            check(workload, &mut problems);
            problems.into_iter().map(|problem| problem.path).collect::<Vec<_>>()
        };
        let mut workload = Workload { stages: vec![stage(10.0, Ramp::Exponential)], ..Workload::default() };
        assert_eq!(paths(&workload), ["workload.stages[0].ramp"]);
        workload.target_rps = Some(OneOrMany::One(1.0));
        assert_eq!(paths(&workload), Vec::<String>::new());
        workload.duration = Some(OneOrMany::One(Span::from_secs(1)));
        assert_eq!(paths(&workload), ["workload.duration"]);
    }
}
