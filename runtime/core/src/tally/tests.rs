use std::num::NonZeroU32;

use proptest::prelude::*;

use super::*;
use crate::{
    batch::{ClientHealth, Unread},
    record::Kind,
    schedule::Schedule,
    testing::{answered, closed_plan, open_plan},
};

const SECOND: u64 = 1_000_000_000;

fn source(executor: u32, epoch: u32) -> Source {
    Source { trial: "t".into(), node: format!("node-{executor}").into(), incarnation: 1, executor, epoch }
}

fn batch(executor: u32, seq: u64, records: Vec<Record>) -> Batch {
    let mut gaps = Histogram::new();
    records.iter().for_each(|record| gaps.record(1_000_000 + record.index));
    Batch {
        key: BatchKey { source: source(executor, 0), seq },
        span: (Nanos(seq * SECOND), Nanos((seq + 1) * SECOND)),
        counts: Batch::counted(&records),
        records,
        opened: Vec::new(),
        itl: gaps.to_bytes(),
        icl: Vec::new(),
        health: ClientHealth {
            cpu_ratio: 0.37,
            lag_max_seconds: 0.004,
            lag_mean_seconds: 0.001,
            lag_samples: 9,
            in_flight: 3,
            tokens_read: 0,
            clock_step_seconds: 0.0,
            unread: Unread { looks: 10, seen_bytes: 2_000, max_bytes: 900, read_bytes: 10_000 },
        },
        is_last: false,
    }
}

/// Batches of two executors, a second each, where a request is opened in one and ends in the next.
fn story(seconds: u64) -> Vec<Batch> {
    let mut batches = Vec::new();
    for executor in 0..2u32 {
        for seq in 0..seconds {
            let index = seq * 2 + u64::from(executor);
            let mut next = batch(executor, seq, vec![answered(index, seq * SECOND, 30_000_000 * (seq + 1), 8)]);
            let open = Open {
                index: index + 2,
                stage: Stage::Measure,
                due: Nanos((seq + 1) * SECOND),
                sent: Some(Nanos((seq + 1) * SECOND)),
                turn: None,
            };
            next.opened.push(open);
            next.is_last = seq + 1 == seconds;
            batches.push(next);
        }
    }
    batches
}

fn told(batches: &[Batch]) -> TrialTally {
    let mut tally = TrialTally::new(&closed_plan(4, 2));
    for batch in batches {
        assert!(!matches!(tally.take(batch), Taken::Refused(_)));
    }
    tally
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn neither_order_nor_repeats_can_be_seen(order in Just((0..12).chain(0..12).collect::<Vec<usize>>()).prop_shuffle()) {
        let batches = story(6);
        let shuffled: Vec<Batch> = order.iter().map(|at| batches[*at].clone()).collect();
        let mixed = told(&shuffled);
        prop_assert_eq!(&mixed, &told(&batches));
        prop_assert_eq!(mixed.live(6.0), told(&batches).live(6.0));
        prop_assert_eq!(mixed.repeated_indices(), 0);
        prop_assert_eq!(mixed.missing_batches(), 0);
    }

    #[test]
    fn every_request_of_an_open_loop_has_one_row_whatever_is_lost(told_of in prop::collection::vec(any::<bool>(), 200), early in prop::option::of(0.0f64..12.0)) {
        let plan = open_plan(20.0, 2);
        let mut tally = TrialTally::new(&plan);
        let schedule = Schedule::open(20.0, crate::trial::Arrivals::Poisson, plan.trial.load.warmup, plan.trial.load.stop, plan.trial.seed);
        let due: Vec<_> = schedule.shard(0, NonZeroU32::MIN).take_while(|due| early.is_none_or(|limit| due.at < Nanos::from_secs_f64(limit))).collect();
        let mut records = Vec::new();
        for (due, is_told) in due.iter().zip(&told_of) {
            if *is_told {
                let mut record = answered(due.index, due.at.0, 1_000_000, 1);
                record.stage = due.stage;
                records.push(record);
            }
        }
        let rows = records.len();
        for executor in 0..2 {
            let share = records.iter().filter(|record| record.index % 2 == u64::from(executor)).cloned().collect();
            assert_eq!(tally.take(&batch(executor, 0, share)), Taken::New);
        }
        let lost = tally.close(early);
        prop_assert_eq!(rows + lost.len(), due.len());
        for stage in [Stage::Warmup, Stage::Measure] {
            let accounting = tally.accounting(stage);
            prop_assert!(accounting.is_balanced());
            prop_assert_eq!(accounting.due as usize, due.iter().filter(|due| due.stage == stage).count());
        }
        prop_assert!(lost.iter().all(|row| u64::from(row.source.executor) == row.record.index % 2));
        prop_assert!(tally.close(early).is_empty());
    }
}

#[test]
fn a_batch_that_cannot_be_right_is_refused_and_changes_nothing() {
    let mut tally = told(&[]);
    let right = batch(0, 0, vec![answered(0, 0, 5, 1)]);
    let wrong = |change: &dyn Fn(&mut Batch)| {
        let mut wrong = right.clone();
        change(&mut wrong);
        wrong
    };
    let refused = [
        wrong(&|batch| batch.counts = BTreeMap::new()),
        wrong(&|batch| batch.records.clear()),
        wrong(&|batch| batch.key.source.trial = "other".into()),
        wrong(&|batch| batch.key.source.executor = 2),
        wrong(&|batch| batch.records[0].end = Some(Nanos(u64::MAX))),
        wrong(&|batch| batch.records[0].kind = Some(Kind::Reset)),
        wrong(&|batch| batch.icl = vec![1, 2, 3]),
    ];
    for batch in &refused {
        assert!(matches!(tally.take(batch), Taken::Refused(_)), "{batch:?}");
    }
    assert_eq!(tally, told(&[]));
    assert_eq!(tally.take(&right), Taken::New);
    assert_eq!(tally.take(&right), Taken::Repeat);
    assert_eq!(tally.accounting(Stage::Measure).due, 1);
}

#[test]
fn a_lost_node_takes_what_was_in_flight_along() {
    let batches = story(3);
    let mut tally = told(&batches[..5]);
    tally.node_lost(&"node-1".into());
    let lost = tally.close(None);
    let seen: Vec<_> = lost.iter().map(|row| (row.record.index, row.source.executor, row.record.kind)).collect();
    // Executor 0 told of request 6 in its last batch, executor 1 of request 5 in its second.
    assert_eq!(seen, [(5, 1, Some(Kind::NodeLost)), (6, 0, Some(Kind::ExecutorLost))]);
    assert!(lost.iter().all(|row| row.record.sent.is_some()));
    let accounting = tally.accounting(Stage::Measure);
    assert_eq!((accounting.due, accounting.completed, accounting.lost, accounting.is_balanced()), (7, 5, 2, true));
    assert!(matches!(tally.take(&batches[5]), Taken::Refused(_)), "late news would unbalance the rows");
    assert_eq!(tally.take(&batches[0]), Taken::Repeat, "a repeat is acknowledged again");
}

#[test]
fn gaps_are_counted_and_an_end_told_twice_is_seen() {
    let mut batches = story(4);
    batches.remove(1);
    let mut tally = told(&batches);
    assert_eq!((tally.missing_batches(), tally.is_over()), (1, false));
    assert_eq!(tally.take(&batch(1, 9, vec![answered(0, 0, 5, 1)])), Taken::New);
    assert_eq!(tally.repeated_indices(), 1);
}

#[test]
fn the_live_view_sums_what_its_nodes_show() {
    let tally = told(&story(4)[..7]);
    let live = tally.live(4.5);
    assert_eq!(live.nodes.values().map(|node| node.requests_total).sum::<u64>(), live.accounting.due);
    assert_eq!(live.nodes.values().map(|node| node.threads).sum::<u32>(), 4);
    let running: Vec<bool> = live.nodes.values().map(|node| node.is_running).collect();
    assert_eq!(running, [false, true], "executor 0 has said that it is done");
    assert_eq!(live.in_flight, 3);
    assert_eq!(live.requests_per_second, 2.0);
    assert_eq!(live.output_tokens_per_second, 16.0);
    assert!(live.latency.contains_key("ttft_p99") && live.latency.contains_key("itl_p50"));
    assert_eq!(live.timeline.iter().map(|second| second.completed).sum::<u64>(), 7);
    // Request 8 of executor 0 was told of as sent and has not ended.
    assert_eq!(live.timeline.iter().map(|second| second.sent).sum::<u64>(), 9);
}

#[test]
fn an_executor_s_health_is_that_of_the_measured_window() {
    let mut batches = story(4);
    // Nothing is sent any more after three seconds and a half, whatever was planned, and the clients idle.
    batches.iter_mut().filter(|batch| batch.span.0.0 >= 3 * SECOND).for_each(|batch| {
        batch.span.0 = Nanos(3 * SECOND + SECOND / 2);
        batch.health = ClientHealth { cpu_ratio: 0.01, lag_max_seconds: 9.0, lag_samples: 900, ..ClientHealth::default() };
    });
    let tally = told(&batches);
    let health = &tally.executors((Nanos(0), Nanos(3 * SECOND + SECOND / 2)))[&0];
    assert!((health.cpu_ratio - 0.37).abs() < 1e-6);
    assert!((health.lag_mean_seconds - 0.001).abs() < 1e-9);
    assert_eq!((health.lag_max_seconds, health.requests), (0.004, 4));
    assert_eq!(health.unread, Unread { looks: 30, seen_bytes: 6_000, max_bytes: 900, read_bytes: 30_000 });
    // 200 bytes lie there and 10 000 are read in a second.
    assert!((health.unread_seconds.unwrap() - 0.02).abs() < 1e-9, "{health:?}");
}

#[test]
fn each_executor_counts_what_it_sent_late() {
    const MILLISECOND: u64 = 1_000_000;
    let sent = |index, late: u64, connect: Option<u64>| Record {
        sent: Some(Nanos(late * MILLISECOND)),
        connect: connect.map(|millis| Nanos(millis * MILLISECOND)),
        ..answered(index, 0, 30 * MILLISECOND, 8)
    };
    let warmup = Record { stage: Stage::Warmup, ..sent(8, 500, None) };
    let tally = told(&[
        batch(0, 0, vec![sent(0, 10, None), sent(2, 11, None), sent(4, 30, Some(20)), sent(6, 31, Some(20)), warmup]),
        batch(1, 0, vec![sent(1, 0, None)]),
    ]);
    let late = tally.executors((Nanos(0), Nanos(SECOND))).into_values().map(|health| (health.node, health.late_dispatches));
    assert_eq!(late.collect::<Vec<_>>(), [("node-0".into(), 2), ("node-1".into(), 0)]);
}

#[test]
fn a_window_that_comes_as_several_batches_weighs_once() {
    let mut tally = TrialTally::new(&closed_plan(4, 2));
    let mut further = batch(0, 1, vec![answered(2, 0, 30_000_000, 8)]);
    (further.span, further.health) = ((Nanos(0), Nanos(SECOND)), ClientHealth::default());
    for batch in [batch(0, 0, vec![answered(0, 0, 30_000_000, 8)]), further] {
        assert_eq!(tally.take(&batch), Taken::New);
    }
    let health = &tally.executors((Nanos(0), Nanos(10 * SECOND)))[&0];
    assert!((health.cpu_ratio - 0.37).abs() < 1e-6, "{health:?}");
    assert_eq!(health.lag_max_seconds, 0.004);
}
