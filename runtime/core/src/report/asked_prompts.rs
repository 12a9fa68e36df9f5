//! Prompt tokens that were asked for beside those that the server counted.

use std::num::NonZeroU32;

use crate::record::Record;

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
    }

    /// What was served and what was asked for, of requests of which somebody counted the former. A tokenizer may put one
    /// token before each prompt: that much more is as asked.
    pub(super) fn compared(&self) -> (u64, u64) {
        let excess = self.served.saturating_sub(self.counted).min(self.prompts);
        (self.served - excess, self.counted)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::answered;

    fn sums(rows: &[(Option<u32>, Option<u32>)], fixed: Option<u32>) -> AskedPrompts {
        let mut sums = AskedPrompts::default();
        for (asked, served) in rows {
            let record = Record { asked_input_tokens: *asked, input_tokens: *served, ..answered(0, 0, 300, 2) };
            sums.take(&record, fixed, NonZeroU32::MIN);
        }
        sums
    }

    #[test]
    fn what_each_request_asked_for_is_summed_whatever_the_shape_of_lengths() {
        let told = sums(&[(Some(32), Some(40)), (Some(96), Some(104))], None);
        assert_eq!((told.asked, told.compared()), (128, (142, 128)), "one further token a prompt is as asked");
        let uncounted = sums(&[(Some(32), None), (Some(96), Some(97))], None);
        assert_eq!((uncounted.asked, uncounted.compared()), (128, (96, 96)));
    }

    #[test]
    fn rows_without_the_length_stand_for_the_plan_s() {
        assert_eq!(sums(&[(None, Some(100))], Some(90)).compared(), (99, 90));
        assert_eq!(sums(&[(None, Some(100))], None).compared(), (0, 0));
    }
}
