//! The steady part of a window, by one stated rule, and the parts that are not.
//!
//! The level is the median of the answer tokens of the window's whole seconds. A second is steady where the mean of it and
//! its neighbours lies within 20 % of the level. The steady part is the longest run of such seconds. Tokens are spread
//! over the time in which they came, so that answers which begin and end together do not look like waves.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Second, Window};
use crate::{
    statistics::{percentile, sort},
    trial::LoadModel,
};

/// Below so many whole seconds nothing is said of a window's evenness.
const SHORTEST_SECONDS: u32 = 9;
/// How far from the level a second may lie, as a share of it.
const AWAY: f64 = 0.2;

/// The steady part of a window: the longest run of whole seconds that lie near the window's level.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct SteadyWindow {
    /// Where it begins, seconds since the trial's start; `None` where there is none.
    pub start: Option<f64>,
    /// Where it ends.
    pub end: Option<f64>,
    /// Its length.
    pub seconds: f64,
    /// Requests completed in it, per second.
    pub requests_per_second: f64,
    /// Answer tokens that came in it, per second.
    pub output_tokens_per_second: f64,
    /// The parts of the window that are not steady, each from and to.
    pub unsteady: Vec<[f64; 2]>,
}

/// The window's whole seconds, those in which nothing happened included, if the load itself was to be even and they are enough to judge.
pub(super) fn seconds(model: &LoadModel, timeline: &[Second], window: &Window) -> Option<Vec<Second>> {
    if matches!(model, LoadModel::Staged { .. } | LoadModel::ClosedStaged { .. } | LoadModel::Replay { .. }) {
        // The load was told to be uneven.
        return None;
    }
    let (first, last) = (window.start.ceil() as u32, window.end.floor() as u32);
    if last.saturating_sub(first) < SHORTEST_SECONDS {
        return None;
    }
    let known: BTreeMap<u32, &Second> = timeline.iter().map(|second| (second.at, second)).collect();
    let second = |at| known.get(&at).map_or_else(|| Second { at, ..Second::default() }, |second| (*second).clone());
    Some((first..last).map(second).collect())
}

/// The steady part of these seconds.
pub(super) fn part(seconds: &[Second]) -> SteadyWindow {
    let mut sorted: Vec<f64> = seconds.iter().map(|second| second.output_tokens).collect();
    sort(&mut sorted);
    let level = percentile(&sorted, 0.5).unwrap_or(0.0);
    let is_steady = |place: usize| {
        let around = &seconds[place.saturating_sub(1)..(place + 2).min(seconds.len())];
        let mean = around.iter().map(|second| second.output_tokens).sum::<f64>() / around.len() as f64;
        level > 0.0 && (mean - level).abs() <= level * AWAY
    };
    let (mut longest, mut unsteady) = (0..0, Vec::<[f64; 2]>::new());
    let mut from = 0;
    for (place, second) in seconds.iter().enumerate() {
        if is_steady(place) {
            if place + 1 - from > longest.len() {
                longest = from..place + 1;
            }
            continue;
        }
        from = place + 1;
        let at = f64::from(second.at);
        match unsteady.last_mut().filter(|last| last[1] == at) {
            Some(last) => last[1] = at + 1.0,
            None => unsteady.push([at, at + 1.0]),
        }
    }
    let inside = &seconds[longest];
    let per_second = |sum: f64| if inside.is_empty() { 0.0 } else { sum / inside.len() as f64 };
    SteadyWindow {
        start: inside.first().map(|second| f64::from(second.at)),
        end: inside.last().map(|second| f64::from(second.at) + 1.0),
        seconds: inside.len() as f64,
        requests_per_second: per_second(inside.iter().map(|second| second.completed as f64).sum()),
        output_tokens_per_second: per_second(inside.iter().map(|second| second.output_tokens).sum()),
        unsteady,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(tokens: &[f64], part_of: Option<(f64, f64)>, unsteady: &[[f64; 2]]) {
        let timeline: Vec<Second> = tokens
            .iter()
            .zip(0..)
            .map(|(tokens, at)| Second { at, output_tokens: *tokens, completed: 2, ..Second::default() })
            .collect();
        let found = part(&timeline);
        assert_eq!((found.start.zip(found.end), &found.unsteady[..]), (part_of, unsteady), "{tokens:?}");
    }

    #[test]
    fn the_longest_even_run_is_the_steady_part() {
        check(&[100.0; 10], Some((0.0, 10.0)), &[]);
        check(&[10.0, 10.0, 100.0, 100.0, 100.0, 100.0, 100.0, 100.0, 100.0], Some((3.0, 9.0)), &[[0.0, 3.0]]);
        let dip = [100.0, 100.0, 100.0, 100.0, 0.0, 100.0, 100.0, 100.0, 100.0, 100.0];
        check(&dip, Some((6.0, 10.0)), &[[3.0, 6.0]]);
        check(&[0.0; 9], None, &[[0.0, 9.0]]);
        check(&[], None, &[]);
    }

    #[test]
    fn a_single_second_of_chance_is_smoothed() {
        check(&[100.0, 100.0, 70.0, 100.0, 120.0, 100.0, 100.0, 100.0, 100.0], Some((0.0, 9.0)), &[]);
    }
}
