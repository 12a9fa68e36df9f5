//! When a client of a closed loop is there: always, or, where the number of clients changes with time, while that
//! number is above its own. Every node can tell it of its clients, so that all together are as many as was asked.

use std::ops::Range;

use super::with_warmup;
use crate::{
    trial::{LoadModel, LoadSpec, RateStage, Slope},
    units::Nanos,
};

/// The stretches of time in which client `client` of the load asks, in order and apart from each other.
///
/// A number between two whole ones is rounded, so that the mean over a ramp is the ramp's own.
#[must_use]
pub fn presence(load: &LoadSpec, client: u32) -> Vec<Range<Nanos>> {
    let LoadModel::ClosedStaged { stages, .. } = &load.model else { return std::iter::once(Nanos(0)..Nanos(u64::MAX)).collect() };
    let threshold = f64::from(client) + 0.5;
    let mut stretches: Vec<Range<Nanos>> = Vec::new();
    let mut begun = Nanos(0);
    for stage in with_warmup(load.warmup, stages) {
        let end = Nanos(begun.0.saturating_add(Nanos::from(stage.duration.0).0));
        let part = Range { start: begun, end };
        let crossing = || Nanos(begun.0.saturating_add(Nanos::from_secs_f64(crosses(&stage, threshold)).0)).min(end);
        let there = match (stage.from > threshold, stage.to > threshold) {
            (true, true) => part,
            (false, true) => crossing()..end,
            (true, false) => begun..crossing(),
            (false, false) => end..end,
        };
        begun = end;
        match stretches.last_mut() {
            _ if there.is_empty() => {}
            Some(last) if last.end == there.start => last.end = there.end,
            _ => stretches.push(there),
        }
    }
    stretches
}

/// The seconds after its beginning at which a stage that goes past `threshold` does so.
fn crosses(stage: &RateStage, threshold: f64) -> f64 {
    let part = match stage.slope {
        Slope::Linear => (threshold - stage.from) / (stage.to - stage.from),
        Slope::Exponential => (threshold / stage.from).ln() / (stage.to / stage.from).ln(),
    };
    part.clamp(0.0, 1.0) * stage.duration.as_secs_f64()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{testing::open_plan, units::Span};

    fn load(warmup: u64, stages: Vec<RateStage>) -> LoadSpec {
        let model = LoadModel::ClosedStaged { stages, think: Span::ZERO };
        LoadSpec { model, warmup: Span::from_secs(warmup), ..open_plan(1.0, 1).trial.load }
    }

    fn stage(seconds: u64, from: u32, to: u32, slope: Slope) -> RateStage {
        RateStage { duration: Span::from_secs(seconds), from: from.into(), to: to.into(), slope }
    }

    fn seconds(stretches: &[Range<Nanos>]) -> Vec<(f64, f64)> {
        stretches.iter().map(|stretch| (stretch.start.as_secs_f64(), stretch.end.as_secs_f64())).collect()
    }

    #[test]
    fn a_client_is_there_while_the_number_is_above_its_own() {
        let levels = [(10, 2, 2), (10, 4, 4), (10, 1, 1)].map(|(duration, from, to)| stage(duration, from, to, Slope::Linear));
        let load = load(5, levels.to_vec());
        let of = |client| seconds(&presence(&load, client));
        assert_eq!(of(0), [(0.0, 35.0)], "it is there in the warm-up, too, and never leaves in between");
        assert_eq!(of(1), [(0.0, 25.0)]);
        assert_eq!(of(3), [(15.0, 25.0)]);
        assert_eq!(of(4), []);
    }

    #[test]
    fn on_a_ramp_clients_come_and_go_one_by_one() {
        let load = load(0, vec![stage(10, 0, 10, Slope::Linear), stage(10, 10, 0, Slope::Linear)]);
        assert_eq!(seconds(&presence(&load, 0)), [(0.5, 19.5)]);
        assert_eq!(seconds(&presence(&load, 9)), [(9.5, 10.5)]);
        let doubling = self::load(0, vec![stage(3, 1, 8, Slope::Exponential)]);
        let [(came, _)] = seconds(&presence(&doubling, 1))[..] else { panic!("one stretch") };
        assert!((came - 1.5f64.log2()).abs() < 1e-6, "{came}");
    }

    proptest! {
        #[test]
        fn at_every_instant_there_are_as_many_as_the_stage_says(
            levels in prop::collection::vec((1u64..20, 1u32..40, 1u32..40, any::<bool>()), 1..5),
            warmup in 0u64..5,
            part in 0.0f64..1.0,
        ) {
            let stages: Vec<RateStage> = levels.iter().map(|(seconds, from, to, is_linear)| {
                stage(*seconds, *from, *to, if *is_linear { Slope::Linear } else { Slope::Exponential })
            }).collect();
            let load = load(warmup, stages.clone());
            let whole = warmup + levels.iter().map(|(seconds, ..)| seconds).sum::<u64>();
            let at = part * whole as f64;
            let here = Nanos::from_secs_f64(at);
            let most = load.model.clients().unwrap().get();
            let there = (0..most).filter(|client| presence(&load, *client).iter().any(|stretch| stretch.contains(&here))).count();
            let mut since = at;
            let stage = with_warmup(load.warmup, &stages).find(|stage| {
                let is_here = since < stage.duration.as_secs_f64();
                if !is_here { since -= stage.duration.as_secs_f64() }
                is_here
            });
            let asked = stage.unwrap().rate_at(since);
            prop_assert!((there as f64 - asked).abs() <= 0.5 + 1e-6, "{there} for {asked}");
        }
    }
}
