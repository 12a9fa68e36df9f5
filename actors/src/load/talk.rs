//! A conversation under way: what its next turn asks, and what was said before.

use hb_core::record::Turn;
use hb_services::{datasets::Asked, dialogue::Dialogue, prompts::PromptMaker, protocol::Prompt};
use serde_json::{Map, Value};

/// A conversation of one client.
pub(super) struct Talk {
    turn: Turn,
    dialogue: Dialogue,
    /// Its questions, where a dataset has them.
    read: Vec<Asked>,
}

/// What a turn asks.
pub(super) struct TurnAsked<'a> {
    /// All that was said, and the question.
    pub prompt: &'a Prompt,
    /// Tokens of the answer.
    pub gen_tokens: u32,
    /// Tokens of the prompt; `None` where nobody asked for a length, as of one that carries answers.
    pub prompt_tokens: Option<u32>,
    /// Fields of a dataset for its body.
    pub fields: Map<String, Value>,
}

impl Talk {
    /// One that has not begun. Its questions are `read`, or made where there are none.
    pub fn new(conversation: u64, turns: u32, dialogue: Dialogue, read: Vec<Asked>) -> Self {
        let of = if read.is_empty() { turns } else { read.len() as u32 };
        Self { turn: Turn { conversation, turn: 0, of }, dialogue, read }
    }

    /// The turn that is next.
    pub fn turn(&self) -> Turn {
        self.turn
    }

    /// Asks it.
    pub fn ask(&mut self, prompts: &PromptMaker) -> TurnAsked<'_> {
        let Turn { conversation, turn, .. } = self.turn;
        let (question, gen_tokens, prompt_tokens, fields) = match self.read.get_mut(turn as usize) {
            Some(asked) => {
                let question = asked.prompts.pop().unwrap_or_else(|| Prompt::Text(String::new()));
                (question, asked.gen_tokens, asked.prompt_tokens, std::mem::take(&mut asked.fields))
            }
            None => {
                let (question, lengths) = prompts.question(conversation, turn);
                (question, lengths.gen_tokens, Some(lengths.prompt_tokens), Map::new())
            }
        };
        let prompt_tokens = prompt_tokens.filter(|_| turn == 0);
        TurnAsked { prompt: self.dialogue.ask(question), gen_tokens, prompt_tokens, fields }
    }

    /// The turn was answered with this text; `None` where the conversation ends with it.
    pub fn answered(mut self, text: &str) -> Option<Self> {
        if self.turn.is_last() {
            return None;
        }
        self.dialogue.answered(text);
        self.turn.turn += 1;
        Some(self)
    }
}
