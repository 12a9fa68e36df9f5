//! What `workload.stages` means, and which of them make no schedule.
//!
//! A stage holds its rate (`ramp: none`), or goes to it from the rate before, over all of its duration. Before the
//! first stage the rate is `workload.target_rps`, or nothing.

use super::{LoadStage, Problem, Ramp, Workload};
use crate::{
    trial::{RateStage, Slope},
    units::Span,
};

/// The window of such stages.
pub(super) fn duration(stages: &[LoadStage]) -> Span {
    let sum = stages.iter().try_fold(std::time::Duration::ZERO, |sum, stage| sum.checked_add(stage.duration.0));
    Span(sum.unwrap_or(std::time::Duration::MAX))
}

/// The stages with both ends of their rates.
pub(super) fn of(stages: &[LoadStage], base: Option<f64>) -> Vec<RateStage> {
    let mut before = base.unwrap_or(0.0);
    let stage = |stage: &LoadStage| {
        let to = stage.target_rps.unwrap_or(0.0);
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
    if first.ramp == Some(Ramp::Exponential) && workload.target_rps.is_none() {
        let problem = Problem::error("workload.stages[0].ramp", "a ramp by equal factors from nothing", "`none` or `linear`");
        problems.push(problem.advise("or write the rate that it begins with as `workload.target_rps`"));
    }
}

#[cfg(test)]
mod tests {
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
