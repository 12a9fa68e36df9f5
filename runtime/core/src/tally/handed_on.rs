//! What a lost executor left, and who has it now.

use super::{Share, TrialTally};
use crate::{orders::LoadShare, plan::Left, record::Stage, units::Nanos};

impl TrialTally {
    /// Counts nothing more of these executors, and says what they left at this instant. So no request can be told of
    /// by two, and what they began and did not tell the end of is lost.
    pub fn write_off(&mut self, executors: &[u32], at: Nanos) -> Vec<Left> {
        self.written_off.extend(executors);
        let left = |executor: &u32| {
            let open = || self.open.values().filter(|(source, _)| source.executor == *executor).map(|(_, open)| open);
            let (measured, highest) = self.executor_sums.get(executor).map(|sums| sums.told()).unwrap_or_default();
            let highest = open().map(|open| Some(open.index)).chain([highest]).max().flatten();
            Left {
                executor: *executor,
                at,
                next: highest.map_or(0, |highest| highest.saturating_add(1)),
                measured: measured + open().filter(|open| open.stage == Stage::Measure).count() as u64,
            }
        };
        executors.iter().map(left).collect()
    }

    /// These shares are done from this instant on.
    pub fn handed_on(&mut self, shares: &[LoadShare], since: Nanos) {
        for share in shares {
            self.nodes.entry(share.node.clone()).or_default();
            self.shares.insert(share.executor, Share::of(share, since));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeSet, num::NonZeroU32};

    use proptest::prelude::*;

    use super::*;
    use crate::{
        batch::{Batch, BatchKey, Open, Source},
        plan::pieces,
        record::{Kind, Outcome},
        schedule::{Due, Schedule},
        tally::Taken,
        testing::{answered, closed_plan, open_plan, seat},
    };

    const SECOND: u64 = 1_000_000_000;

    /// A window of an executor on its node, in which these requests were answered at once.
    fn told(share: &LoadShare, seq: u64, dues: &[Due]) -> Batch {
        let source = Source { trial: "t".into(), node: share.node.clone(), incarnation: 1, executor: share.executor, epoch: 0 };
        let record = |due: &Due| {
            let mut record = answered(due.index, due.at.0, 1_000, 8);
            record.stage = due.stage;
            record
        };
        let records: Vec<_> = dues.iter().map(record).collect();
        Batch {
            key: BatchKey { source, seq },
            span: (Nanos(0), dues.last().map_or(Nanos(0), |due| due.at)),
            counts: Batch::counted(&records),
            records,
            opened: Vec::new(),
            itl: Vec::new(),
            icl: Vec::new(),
            health: Default::default(),
            is_last: false,
        }
    }

    fn due_of(share: &LoadShare, since: u64, until: u64) -> Vec<Due> {
        let schedule = Schedule::of(&share.load, share.seed).unwrap();
        schedule.of_numbers(&share.numbers).filter(|due| (since..until).contains(&due.at.0)).collect()
    }

    proptest! {
        #[test]
        fn after_a_loss_every_request_has_one_row_and_only_those_in_the_gap_are_lost(
            rate in 10f64..80.0,
            executors in 2u32..6,
            (last_word, seen, joined) in (0u64..8 * SECOND, 0u64..2 * SECOND, 0u64..SECOND),
            comes_late in any::<bool>(),
            together in 1u32..4,
        ) {
            let (seen, joined) = (last_word + seen, last_word + seen + joined);
            let mut plan = open_plan(rate, executors);
            plan.trial.load.together = NonZeroU32::new(together).unwrap();
            plan.shares.iter_mut().for_each(|share| share.load = plan.trial.load.clone());
            let mut tally = TrialTally::new(&plan);
            let (lost, others) = plan.shares.split_last().unwrap();
            for share in others {
                prop_assert_eq!(tally.take(&told(share, 0, &due_of(share, 0, u64::MAX))), Taken::New);
            }
            prop_assert_eq!(tally.take(&told(lost, 0, &due_of(lost, 0, last_word))), Taken::New);
            tally.node_lost(&lost.node);
            let left = tally.write_off(&[lost.executor], Nanos(seen));
            if comes_late {
                // What it had sent before its link broke, or what it sends because it does not know that it is lost.
                let late = told(lost, 1, &due_of(lost, last_word, u64::MAX));
                prop_assert!(matches!(tally.take(&late), Taken::Refused(_)));
            }
            let heirs: Vec<_> = others.iter().map(|share| seat(share.executor, 2)).collect();
            let cut = pieces(lost, &left[0], &heirs, executors);
            tally.handed_on(&cut, Nanos(joined));
            for share in &cut {
                prop_assert_eq!(tally.take(&told(share, 0, &due_of(share, joined, u64::MAX))), Taken::New);
            }
            let rows = tally.close(None);
            let gap: Vec<u64> = due_of(lost, last_word, joined).iter().map(|due| due.index).collect();
            prop_assert_eq!(rows.iter().map(|row| row.record.index).collect::<Vec<_>>(), gap);
            prop_assert!(rows.iter().all(|row| row.source.executor == lost.executor && row.record.kind == Some(Kind::NodeLost)));
            prop_assert_eq!(tally.repeated_indices(), 0);
            let whole = Schedule::of(&plan.trial.load, plan.trial.seed).unwrap().shard(0, NonZeroU32::MIN);
            let accounting = tally.accounting(Stage::Measure);
            prop_assert!(accounting.is_balanced());
            prop_assert_eq!(accounting.due as usize, whole.filter(|due| due.stage == Stage::Measure).count());
        }
    }

    #[test]
    fn of_a_closed_loop_it_is_known_how_far_it_came() {
        let plan = closed_plan(4, 2);
        let mut tally = TrialTally::new(&plan);
        let share = &plan.shares[1];
        let due = |index| Due { index, stage: Stage::Measure, at: Nanos(index) };
        let mut batch = told(share, 0, &[due(1), due(5)]);
        batch.opened.push(Open { index: 3, stage: Stage::Measure, due: Nanos(3), sent: None, turn: None });
        batch.opened.push(Open { index: 7, stage: Stage::Warmup, due: Nanos(3), sent: None, turn: None });
        assert_eq!(tally.take(&batch), Taken::New);
        let at = Nanos(9);
        let left = tally.write_off(&[1, 0], at);
        assert_eq!(left[0], Left { executor: 1, at, next: 8, measured: 3 });
        assert_eq!(left[1], Left { executor: 0, at, next: 0, measured: 0 }, "it told nothing");
        let lost: BTreeSet<u64> = tally.close(None).iter().map(|row| row.record.index).collect();
        assert_eq!(lost, BTreeSet::from([3, 7]));
        assert_eq!(tally.accounting(Stage::Measure).lost, 1);
        assert!(tally.close(None).iter().all(|row| row.record.outcome == Outcome::Lost));
    }
}
