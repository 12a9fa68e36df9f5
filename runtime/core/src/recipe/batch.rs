//! `workload.batch`: the prompts of one request where an operation takes several; elsewhere requests of one prompt each,
//! so many of which are due together.

use std::num::NonZeroU32;

use super::{OneOrMany, Recipe, Workload};
use crate::trial::{Api, LoadModel, RateStage};

impl Recipe {
    /// The operation of trials that name none.
    pub(super) fn usual_operation(&self) -> Api {
        self.default_api.unwrap_or(Api::Completions)
    }
}

/// The operations of a workload's trials; `usual` is the service's own.
pub(super) fn operations(workload: &Workload, usual: Api) -> Vec<Api> {
    workload.api.as_ref().map_or_else(|| vec![usual], |written| written.values().to_vec())
}

/// How many prompts a request has, and how many requests are due together, in every trial of a workload.
pub(super) fn of_trials(workload: &Workload, usual: Api) -> Vec<(NonZeroU32, NonZeroU32)> {
    let written = workload.batch.as_ref().map_or(&[NonZeroU32::MIN] as &[_], OneOrMany::values);
    let of = |api: Api| {
        let of = move |batch: &NonZeroU32| {
            if api.takes_several_prompts() { (*batch, NonZeroU32::MIN) } else { (NonZeroU32::MIN, *batch) }
        };
        written.iter().map(of)
    };
    operations(workload, usual).into_iter().flat_map(of).collect()
}

/// The fewest requests that are due together in any trial of a workload.
pub(super) fn fewest_together(workload: &Workload, usual: Api) -> NonZeroU32 {
    of_trials(workload, usual).into_iter().map(|(_, together)| together).min().unwrap_or(NonZeroU32::MIN)
}

/// The most.
pub(super) fn most_together(workload: &Workload, usual: Api) -> NonZeroU32 {
    of_trials(workload, usual).into_iter().map(|(_, together)| together).max().unwrap_or(NonZeroU32::MIN)
}

/// The model of a load of which so many requests come with each arrival: a recipe's rates count arrivals, and its own all
/// requests.
pub(super) fn times(model: LoadModel, together: NonZeroU32) -> LoadModel {
    let times = f64::from(together.get());
    match model {
        LoadModel::Open { rate, arrivals } => LoadModel::Open { rate: rate * times, arrivals },
        LoadModel::Staged { stages, arrivals } => {
            let stage = |stage: RateStage| RateStage { from: stage.from * times, to: stage.to * times, ..stage };
            LoadModel::Staged { stages: stages.into_iter().map(stage).collect(), arrivals }
        }
        LoadModel::Closed { .. } | LoadModel::ClosedStaged { .. } | LoadModel::Replay { .. } => model,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prompts_share_a_request_where_the_operation_takes_them_and_else_an_instant() {
        let number = |number: u32| NonZeroU32::new(number).unwrap();
        let plain = |of: Vec<(NonZeroU32, NonZeroU32)>| of.into_iter().map(|(a, b)| (a.get(), b.get())).collect::<Vec<_>>();
        let mut workload = Workload { batch: Some(OneOrMany::Many(vec![number(1), number(4)])), ..Workload::default() };
        assert_eq!(plain(of_trials(&workload, Api::Completions)), [(1, 1), (4, 1)]);
        assert_eq!(plain(of_trials(&workload, Api::Generate)), [(1, 1), (1, 4)]);
        workload.api = Some(OneOrMany::Many(vec![Api::Completions, Api::Chat]));
        workload.batch = Some(OneOrMany::One(number(4)));
        assert_eq!(plain(of_trials(&workload, Api::Generate)), [(4, 1), (1, 4)]);
        let bounds = [fewest_together(&workload, Api::Generate), most_together(&workload, Api::Generate)];
        assert_eq!(bounds.map(NonZeroU32::get), [1, 4]);
        assert_eq!(plain(of_trials(&Workload::default(), Api::Chat)), [(1, 1)]);
    }
}
