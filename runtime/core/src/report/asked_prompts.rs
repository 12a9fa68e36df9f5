//! Prompt tokens that were asked for beside those that the server counted.

use std::num::NonZeroU32;

use crate::{plan::Plan, record::Record, verdict::PromptsEvidence};

/// Sums over completed requests whose prompts were made to a length.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct AskedPrompts {
    /// Prompts that the server counted.
    prompts: u64,
    /// Tokens that they were made to have.
    pub(super) asked: u64,
    /// Of those, the ones in prompts that the server counted.
    counted: u64,
    /// Tokens that the server counted in them.
    served: u64,
    /// The fewest that one of them was to have.
    shortest: Option<u32>,
}

impl AskedPrompts {
    /// Takes a completed request of `batch` prompts. Rows from before lengths were told stand for the fixed one of the plan.
    pub(super) fn take(&mut self, record: &Record, fixed: Option<u32>, batch: NonZeroU32) {
        // A later turn carries answers, of which nobody asked a length.
        let is_opening = record.turn.is_none_or(|turn| turn.turn == 0);
        let Some(asked) = record.asked_input_tokens.or(fixed.filter(|_| is_opening)) else { return };
        self.asked += u64::from(asked);
        let Some(served) = record.input_tokens else { return };
        self.prompts += u64::from(batch.get());
        self.counted += u64::from(asked);
        self.served += u64::from(served);
        let each = asked / batch;
        self.shortest = Some(self.shortest.map_or(each, |least| least.min(each)));
    }

    /// What was asked for beside what was served, of requests of which somebody counted the latter, and what was known of the
    /// server's tokens when the plan's prompts were made.
    pub(super) fn compared(&self, plan: &Plan) -> Option<PromptsEvidence> {
        let (request, counting) = (&plan.trial.request, plan.counting());
        Some(PromptsEvidence {
            prompts: self.prompts,
            asked: self.counted,
            served: self.served,
            shortest: self.shortest?,
            lengths_by: plan.lengths_by(),
            overhead: counting.map_or(0, |counting| counting.overhead_of(request)),
            learned_with: counting.map(|counting| counting.api).filter(|api| *api != request.api),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        counting::{Counting, LengthsBy},
        testing::{answered, closed_plan},
        trial::Api,
    };

    fn sums(rows: &[(Option<u32>, Option<u32>)], fixed: Option<u32>) -> AskedPrompts {
        let mut sums = AskedPrompts::default();
        for (asked, served) in rows {
            let record = Record { asked_input_tokens: *asked, input_tokens: *served, ..answered(0, 0, 300, 2) };
            sums.take(&record, fixed, NonZeroU32::MIN);
        }
        sums
    }

    /// Prompts, tokens served, tokens asked for, and those of the shortest.
    fn compared(sums: &AskedPrompts) -> Option<(u64, u64, u64, u32)> {
        let told = sums.compared(&closed_plan(1, 1))?;
        Some((told.prompts, told.served, told.asked, told.shortest))
    }

    #[test]
    fn a_batch_is_as_many_prompts_and_what_was_known_of_them_is_told() {
        let mut sums = AskedPrompts::default();
        let record = Record { asked_input_tokens: Some(64), input_tokens: Some(68), ..answered(0, 0, 300, 2) };
        sums.take(&record, None, NonZeroU32::new(4).unwrap());
        assert_eq!(compared(&sums), Some((4, 68, 64, 16)));
        let known = |counting: Option<Counting>| {
            let mut plan = closed_plan(1, 1);
            plan.shares[0].counting = counting;
            let told = sums.compared(&plan).unwrap();
            (told.lengths_by, told.overhead, told.learned_with)
        };
        let counting =
            |api| Counting { by: LengthsBy::Usage, tokens_per_word: 1.0, overhead: 3, api, ids: Vec::new(), words: None };
        assert_eq!(known(None), (LengthsBy::Words, 0, None));
        assert_eq!(known(Some(counting(Api::Completions))), (LengthsBy::Usage, 3, None));
        assert_eq!(known(Some(counting(Api::Chat))), (LengthsBy::Usage, 0, Some(Api::Chat)));
    }

    #[test]
    fn what_each_request_asked_for_is_summed_whatever_the_shape_of_lengths() {
        let told = sums(&[(Some(32), Some(40)), (Some(96), Some(104))], None);
        assert_eq!((told.asked, compared(&told)), (128, Some((2, 144, 128, 32))));
        let uncounted = sums(&[(Some(32), None), (Some(96), Some(97))], None);
        assert_eq!((uncounted.asked, compared(&uncounted)), (128, Some((1, 97, 96, 96))));
        assert_eq!(compared(&sums(&[(Some(32), None)], None)), None);
    }

    #[test]
    fn rows_without_the_length_stand_for_the_plan_s() {
        assert_eq!(compared(&sums(&[(None, Some(100))], Some(90))), Some((1, 100, 90, 90)));
        assert_eq!(compared(&sums(&[(None, Some(100))], None)), None);
    }
}
