//! The rules against servers of known capacity, steady ones and fickle ones.

use std::num::NonZeroU32;

use proptest::prelude::*;

use super::*;
use crate::{report::TrialReport, units::TrialId, verdict::Status};

fn spec(maximize: SearchTarget, from: f64, to: f64, precision: f64) -> SearchSpec {
    let stop = Stop::After(Span::from_secs(10));
    SearchSpec { maximize, from, to, precision, budget: None, together: NonZeroU32::MIN, warmup: Span::ZERO, stop }
}

fn limit(value_seconds: f64, answers: u64, within: u64) -> LimitFigure {
    let name = "ttft_p99".to_owned();
    LimitFigure { name, percentile: 99.0, limit_seconds: 0.5, value_seconds: Some(value_seconds), answers, within }
}

fn probe(number: usize, load: f64, outcome: ProbeOutcome, goodput: f64) -> Probe {
    let value = if outcome == ProbeOutcome::Missed { 0.612 } else { 0.486 };
    let why = match outcome {
        ProbeOutcome::Invalid => "the client, not the server, is the limit: it sent 90 % of what was asked".to_owned(),
        ProbeOutcome::TooFew => "100 answers are too few to judge ttft_p99: it needs 368".to_owned(),
        ProbeOutcome::Met | ProbeOutcome::Missed => format!("ttft_p99 is {}", answer::shown(value)),
    };
    Probe {
        trial: TrialId(format!("t.probe-{number:02}")),
        number: number as u32,
        load,
        outcome,
        why,
        limits: vec![limit(value, 1_000, 995)],
        goodput_requests_per_second: goodput,
        seconds: 11.0,
    }
}

/// Searches against what a load gives the n-th time it is asked, to the end.
fn searched(spec: &SearchSpec, gives: impl Fn(f64, usize) -> (ProbeOutcome, f64)) -> SearchReport {
    let mut trials: Vec<TrialReport> = Vec::new();
    let mut probes: Vec<Probe> = Vec::new();
    while let Step::Probe(load) = spec.next(&probes) {
        assert!(load >= spec.from && load <= spec.to, "{load} lies outside of {spec}");
        let times = probes.iter().filter(|other| other.load == load).count();
        let (outcome, goodput) = gives(load, times);
        probes.push(probe(probes.len() + 1, load, outcome, goodput));
        assert!(probes.len() <= spec.most_probes(), "{} probes of {spec}", probes.len());
    }
    for result in probes {
        let (id, complete) = (result.trial.clone(), true);
        let probe = Some(ProbeReport { search: "t".into(), spec: spec.clone(), result });
        trials.push(TrialReport { id, complete, probe, ..TrialReport::default() });
    }
    let mut found = answers(&trials);
    assert_eq!(found.len(), 1);
    found.remove(0)
}

/// A server that meets the SLO up to `capacity`.
fn steady(capacity: f64) -> impl Fn(f64, usize) -> (ProbeOutcome, f64) {
    move |load, _| (if load <= capacity { ProbeOutcome::Met } else { ProbeOutcome::Missed }, load)
}

/// Text and back, as a resumed run has it.
fn again(value: f64) -> f64 {
    serde_json::from_str(&serde_json::to_string(&value).unwrap()).unwrap()
}

proptest! {
    #[test]
    fn the_capacity_of_a_steady_server_is_found_within_the_precision(
        (from, range) in (0.01f64..1_000.0, 1.01f64..5_000.0), precision in 0.005f64..1.0, place in -0.2f64..1.2,
    ) {
        let spec = spec(SearchTarget::Rate, from, from * range, precision);
        let capacity = from * range.powf(place);
        let found = searched(&spec, steady(capacity));
        prop_assert!(found.probes.len() <= spec.usual_probes(), "{} probes, {} are usual", found.probes.len(), spec.usual_probes());
        match (found.ending, found.answer, found.beyond) {
            (Ending::LowestMisses, None, Some(beyond)) => prop_assert!(capacity < spec.from && beyond == spec.from),
            (Ending::HighestMeets, Some(answer), None) => prop_assert!(capacity >= spec.to && answer == spec.to),
            (Ending::Found, Some(answer), Some(beyond)) => {
                prop_assert!(answer <= capacity && capacity < beyond, "{answer} {capacity} {beyond}");
                prop_assert!(beyond / answer <= (1.0 + precision) * (1.0 + 1e-6), "{answer} {beyond}");
            }
            other => prop_assert!(false, "{other:?}"),
        }
        prop_assert!(found.answer.is_none() || found.is_confirmed);
        for probe in &found.probes {
            prop_assert!((again(probe.load) / probe.load - 1.0).abs() < 1e-12);
        }
    }

    #[test]
    fn a_concurrency_is_a_whole_number_and_its_neighbour_is_near_enough(
        from in 1u32..50, more in 1u32..3_000, precision in 0.005f64..1.0, capacity in 0u32..4_000,
    ) {
        let (from, to) = (f64::from(from), f64::from(from + more));
        let spec = spec(SearchTarget::Concurrency, from, to, precision);
        let found = searched(&spec, steady(f64::from(capacity)));
        prop_assert!(found.probes.len() <= spec.usual_probes(), "{} of {}", found.probes.len(), spec.usual_probes());
        prop_assert!(found.probes.iter().all(|probe| probe.load.fract() == 0.0));
        if let (Some(answer), Some(beyond)) = (found.answer, found.beyond) {
            prop_assert!(answer <= f64::from(capacity) && f64::from(capacity) < beyond);
            prop_assert!(beyond - answer <= 1.0 || beyond / answer <= (1.0 + precision) * (1.0 + 1e-6));
        }
    }

    #[test]
    fn a_fickle_server_ends_the_search_all_the_same(outcomes in prop::collection::vec(0u8..4, 200), maximize in 0u8..3) {
        let maximize = [SearchTarget::Rate, SearchTarget::Concurrency, SearchTarget::Goodput][usize::from(maximize)];
        let spec = spec(maximize, 1.0, 64.0, 0.05);
        let asked = std::cell::Cell::new(0);
        let found = searched(&spec, |load, _| {
            let outcome = outcomes[asked.replace(asked.get() + 1) % outcomes.len()];
            let outcome = [ProbeOutcome::Met, ProbeOutcome::Missed, ProbeOutcome::TooFew, ProbeOutcome::Invalid][usize::from(outcome)];
            (outcome, load)
        });
        prop_assert!(found.is_over() && !found.sentence.is_empty());
        if let (Some(answer), Some(beyond)) = (found.answer, found.beyond) {
            prop_assert!(answer < beyond || maximize == SearchTarget::Goodput);
        }
    }

    #[test]
    fn the_peak_of_a_goodput_is_found_within_the_precision(
        range in 2.0f64..500.0, precision in 0.01f64..0.5, place in 0.0f64..1.0, fall in 0.1f64..20.0,
    ) {
        let spec = spec(SearchTarget::Goodput, 1.0, range, precision);
        let peak = range.powf(place);
        let goodput = |load: f64| if load <= peak { load } else { peak * (-(load / peak - 1.0) * fall).exp() };
        let found = searched(&spec, |load, _| (if load <= peak { ProbeOutcome::Met } else { ProbeOutcome::Missed }, goodput(load)));
        let answer = found.answer.unwrap();
        let off = (answer / peak).ln().abs();
        prop_assert!(off <= precision.ln_1p() * 1.01, "{answer} is {off} from {peak}: {}", found.sentence);
        prop_assert!(found.probes.len() <= spec.usual_probes(), "{} of {}", found.probes.len(), spec.usual_probes());
    }
}

#[test]
fn the_answer_is_a_sentence() {
    let found = searched(&spec(SearchTarget::Rate, 1.0, 64.0, 0.05), steady(12.5));
    assert_eq!(found.sentence, "12.33 requests/s meet ttft_p99 ≤ 500 ms; 12.88 miss it: ttft_p99 is 612 ms");
    let loads: Vec<f64> = found.probes.iter().map(|probe| probe.load).collect();
    assert_eq!(loads, [1.0, 2.0, 4.0, 8.0, 16.0, 11.31, 13.45, 12.33, 12.88, 12.33, 12.88]);
    let found = searched(&spec(SearchTarget::Concurrency, 1.0, 64.0, 0.01), steady(24.0));
    assert_eq!(found.sentence, "24 requests in flight meet ttft_p99 ≤ 500 ms; 25 miss it: ttft_p99 is 612 ms");
}

#[test]
fn a_load_of_several_requests_at_a_time_says_how_many() {
    let by_four = |maximize| SearchSpec { together: NonZeroU32::new(4).unwrap(), ..spec(maximize, 1.0, 64.0, 0.05) };
    let rate = by_four(SearchTarget::Rate);
    let found = searched(&rate, steady(12.5));
    assert_eq!(found.sentence, "12.33 × 4 requests/s meet ttft_p99 ≤ 500 ms; 12.88 miss it: ttft_p99 is 612 ms");
    assert!(rate.to_string().contains("from 1 to 64 × 4 requests/s, to 5 %"), "{rate}");
    let found = searched(&by_four(SearchTarget::Concurrency), steady(1.0));
    assert!(found.sentence.starts_with("1 × 4 requests in flight meets"), "{}", found.sentence);
    let by_count = SearchSpec { stop: Stop::Requests(400), ..rate.clone() };
    assert_eq!(by_count.load_seconds(10.0), Some(10.0));

    let mut trial = crate::testing::open_plan(4.0, 1).trial;
    trial.load.together = rate.together;
    let probe = trial.probe(&rate, 10.0, &[]);
    let crate::trial::LoadModel::Open { rate, .. } = probe.load.model else { panic!("an open loop") };
    assert_eq!((rate, &probe.parameters["target_rps"]), (40.0, &serde_json::json!(10.0)));
}

#[test]
fn the_ends_of_the_range_say_so() {
    let found = searched(&spec(SearchTarget::Rate, 1.0, 4.0, 0.05), steady(9.0));
    assert_eq!((found.ending, found.answer, found.probes.len()), (Ending::HighestMeets, Some(4.0), 4));
    let found = searched(&spec(SearchTarget::Rate, 1.0, 4.0, 0.05), steady(0.5));
    assert_eq!((found.ending, found.answer, found.probes.len()), (Ending::LowestMisses, None, 2));
    assert!(found.sentence.starts_with("even 1 requests/s misses ttft_p99 ≤ 500 ms: ttft_p99 is 612 ms; "), "{}", found.sentence);
    assert!(found.reasons(&[]).is_empty(), "it is a finding");
}

#[test]
fn a_miss_by_accident_is_found_out() {
    // A stall at the very beginning, which does not come again.
    let gives = |load: f64, times: usize| {
        if load == 2.0 && times == 0 { (ProbeOutcome::Missed, load) } else { steady(12.5)(load, times) }
    };
    let found = searched(&spec(SearchTarget::Rate, 1.0, 64.0, 0.5), gives);
    assert_eq!(found.ending, Ending::Found);
    assert!(found.answer.unwrap() > 8.0 && found.beyond.unwrap() < 16.5, "{}", found.sentence);
    // A hit by accident is, too.
    let gives =
        |load: f64, times: usize| if load == 16.0 && times == 0 { (ProbeOutcome::Met, load) } else { steady(12.5)(load, times) };
    let found = searched(&spec(SearchTarget::Rate, 1.0, 64.0, 0.5), gives);
    assert!(found.answer.unwrap() < 12.6, "{}", found.sentence);
}

#[test]
fn a_client_that_cannot_send_more_ends_the_search_upward() {
    let gives = |load: f64, _| (if load > 20.0 { ProbeOutcome::Invalid } else { ProbeOutcome::Met }, load);
    let found = searched(&spec(SearchTarget::Rate, 1.0, 64.0, 0.1), gives);
    assert_eq!(found.ending, Ending::Immeasurable);
    assert!(found.sentence.contains("cannot be measured: the client, not the server, is the limit"), "{}", found.sentence);
    assert!(found.reasons(&[]).is_empty());
    let found = searched(&spec(SearchTarget::Rate, 1.0, 64.0, 0.1), |load, _| (ProbeOutcome::Invalid, load));
    assert_eq!((found.ending, found.probes.len()), (Ending::Unjudged, 2));
    assert_eq!(found.reasons(&[])[0].status, Status::Invalid);
}

#[test]
fn what_cannot_be_judged_is_never_the_answer() {
    let gives = |load: f64, _| match load {
        load if load < 8.0 => (ProbeOutcome::TooFew, load),
        load => steady(12.5)(load, 0),
    };
    let found = searched(&spec(SearchTarget::Rate, 1.0, 64.0, 0.05), gives);
    assert!(found.answer.unwrap() > 12.0 && found.ending == Ending::Found, "{}", found.sentence);
    let found = searched(&spec(SearchTarget::Rate, 1.0, 4.0, 0.05), gives);
    assert_eq!((found.ending, found.answer), (Ending::Unjudged, None));
    assert!(found.sentence.contains("at 4, 100 answers are too few to judge ttft_p99: it needs 368"), "{}", found.sentence);
}

#[test]
fn a_budget_that_is_used_up_leaves_the_bounds() {
    let spec = SearchSpec { budget: Some(Span::from_secs(66)), ..spec(SearchTarget::Rate, 1.0, 64.0, 0.01) };
    let found = searched(&spec, steady(12.5));
    assert_eq!((found.ending, found.probes.len()), (Ending::Budget, 6));
    assert!(found.sentence.ends_with(": the truth lies between 11.31 and 16"), "{}", found.sentence);
    assert!(found.reasons(&[]).is_empty() && !found.is_confirmed);
}

#[test]
fn a_load_whose_probes_contradict_each_other_is_no_answer_before_a_third_decides() {
    let spec = SearchSpec { budget: Some(Span::from_secs(66)), ..spec(SearchTarget::Rate, 4.0, 64.0, 0.5) };
    let gives =
        |load: f64, times: usize| (if load <= 8.0 && times == 0 { ProbeOutcome::Met } else { ProbeOutcome::Missed }, load);
    let found = searched(&spec, gives);
    let loads: Vec<f64> = found.probes.iter().map(|probe| probe.load).collect();
    assert_eq!(loads, [4.0, 8.0, 16.0, 11.31, 8.0, 8.0], "the third at 8 decides, and 4 to 8 is wide");
    let cut = SearchReport { probes: found.probes[..5].to_vec(), ..found };
    let trial = |probe: &Probe| TrialReport {
        id: probe.trial.clone(),
        complete: true,
        probe: Some(ProbeReport { search: "t".into(), spec: spec.clone(), result: probe.clone() }),
        ..TrialReport::default()
    };
    let cut = answers(&cut.probes.iter().map(trial).collect::<Vec<_>>()).remove(0);
    assert_eq!((cut.answer, cut.beyond), (Some(4.0), Some(11.31)));
    assert!(cut.sentence.ends_with("the truth lies between 4 and 11.31, and 8 met and missed it as often"), "{}", cut.sentence);
}

#[test]
fn what_was_cut_short_is_left_out_and_the_search_goes_on_from_there() {
    let spec = spec(SearchTarget::Rate, 1.0, 64.0, 0.05);
    let whole = searched(&spec, steady(12.5));
    let trial = |probe: &Probe, complete| TrialReport {
        id: probe.trial.clone(),
        complete,
        probe: Some(ProbeReport { search: "t".into(), spec: spec.clone(), result: probe.clone() }),
        ..TrialReport::default()
    };
    let cut: Vec<TrialReport> = (0..5).map(|index| trial(&whole.probes[index], index < 4)).collect();
    let found = answers(&cut).remove(0);
    assert_eq!((found.ending, found.probes.len(), found.is_over()), (Ending::Unfinished, 4, false));
    assert_eq!(spec.next(&found.probes), Step::Probe(whole.probes[4].load));
    assert_eq!(found.reasons(&[])[0].code, "search_unfinished");
}

#[test]
fn a_limit_holds_by_enough_answers_alone() {
    assert_eq!(fewest_answers(99.0), 368);
    assert_eq!(fewest_answers(50.0), 6);
    assert_eq!(limit(0.4, 368, 368).outcome(), ProbeOutcome::Met);
    assert_eq!(limit(0.4, 367, 367).outcome(), ProbeOutcome::TooFew);
    assert_eq!(limit(0.6, 100, 98).outcome(), ProbeOutcome::TooFew, "chance explains two of a hundred");
    assert_eq!(limit(0.6, 100, 80).outcome(), ProbeOutcome::Missed, "and not twenty");
    assert_eq!(LimitFigure { value_seconds: None, ..limit(0.0, 1_000, 900) }.outcome(), ProbeOutcome::Missed);
    assert!(limit(0.4, 10_000, 9_990).is_sure() && !limit(0.49, 10_000, 9_905).is_sure());
}
