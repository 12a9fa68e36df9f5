//! What became of conversations whose turns are requests of their own.

use serde::{Deserialize, Serialize};

use crate::record::{Outcome, Record};

/// Conversations, by the turns that were due in the measured phase.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Conversations {
    /// Those whose first turn was due.
    pub begun: u64,
    /// Those whose last turn was answered.
    pub whole: u64,
    /// Those that a turn without an answer ended before their end. What is neither whole nor broken was cut by the window.
    pub broken: u64,
    /// Turns that the broken ones would have had yet; they never became due, so they are in no accounting.
    pub turns_not_due: u64,
}

impl Conversations {
    /// Takes a measured request; one that stands alone changes nothing.
    pub(super) fn take(&mut self, record: &Record) {
        let Some(turn) = record.turn else { return };
        self.begun += u64::from(turn.turn == 0);
        match record.outcome {
            Outcome::Completed => self.whole += u64::from(turn.is_last()),
            Outcome::Failed | Outcome::TimedOut | Outcome::Lost => {
                self.broken += 1;
                self.turns_not_due += u64::from(turn.of.saturating_sub(turn.turn).saturating_sub(1));
            }
            // The window or the run ended, and not the conversation.
            Outcome::Cancelled | Outcome::Dropped => {}
        }
    }

    /// The figures, where there were any.
    pub(super) fn told(self) -> Option<Self> {
        (self != Self::default()).then_some(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        record::{Kind, Turn},
        testing::answered,
    };

    #[test]
    fn a_conversation_is_whole_or_broken_or_cut() {
        let mut figures = Conversations::default();
        let turn = |conversation, turn, kind: Option<(Outcome, Kind)>| {
            let row = Record { turn: Some(Turn { conversation, turn, of: 3 }), ..answered(0, 0, 300, 2) };
            kind.map_or(row.clone(), |(outcome, kind)| Record { outcome, kind: Some(kind), ..row })
        };
        (0..3).for_each(|place| figures.take(&turn(0, place, None)));
        figures.take(&turn(1, 0, Some((Outcome::Failed, Kind::Reset))));
        figures.take(&turn(2, 0, None));
        figures.take(&turn(2, 1, Some((Outcome::Cancelled, Kind::DrainEnded))));
        assert_eq!(figures.told(), Some(Conversations { begun: 3, whole: 1, broken: 1, turns_not_due: 2 }));
        let mut alone = Conversations::default();
        alone.take(&answered(0, 0, 300, 2));
        assert_eq!(alone.told(), None);
    }
}
