//! A conversation as it is sent: each question comes after all before it and the real answers they got.

use hb_core::trial::Api;
use serde_json::json;

use crate::protocol::Prompt;

/// What was said so far, as the prompt of the next request.
///
/// ```
/// use hb_services::{dialogue::Dialogue, protocol::Prompt};
///
/// let mut dialogue = Dialogue::new(hb_core::trial::Api::Completions);
/// dialogue.ask(Prompt::Text("Why?".into()));
/// dialogue.answered(" Because so.");
/// assert_eq!(*dialogue.ask(Prompt::Text("And then?".into())), Prompt::Text("Why? Because so.\nAnd then?".into()));
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Dialogue(Prompt);

impl Dialogue {
    /// One that has not begun, for this operation: a chat keeps who said what, any other has one text.
    #[must_use]
    pub fn new(api: Api) -> Self {
        Self(match api {
            Api::Chat => Prompt::Messages(Vec::new()),
            Api::Completions | Api::Generate => Prompt::Text(String::new()),
        })
    }

    /// The next question is asked; the prompt that asks it. A question that is itself a conversation is its beginning.
    pub fn ask(&mut self, question: Prompt) -> &Prompt {
        match (&mut self.0, question) {
            (Prompt::Messages(said), Prompt::Messages(messages)) => said.extend(messages),
            (Prompt::Messages(said), question) => {
                said.push(json!({"role": "user", "content": question.text().unwrap_or_default()}));
            }
            (Prompt::Text(said), question) => {
                // A line of its own; the answer before it stands exactly as it came, so that a prefix cache can know it.
                if !said.is_empty() {
                    said.push('\n');
                }
                said.push_str(&question.text().unwrap_or_default());
            }
            (Prompt::TokenIds(_), _) => unreachable!("a dialogue begins as messages or as text"),
        }
        &self.0
    }

    /// The server answered with this text.
    pub fn answered(&mut self, text: &str) {
        match &mut self.0 {
            Prompt::Messages(said) => said.push(json!({"role": "assistant", "content": text})),
            Prompt::Text(said) => said.push_str(text),
            Prompt::TokenIds(_) => unreachable!("a dialogue begins as messages or as text"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chat_keeps_who_said_what() {
        let mut dialogue = Dialogue::new(Api::Chat);
        let opening = json!([{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Why?"}]);
        dialogue.ask(Prompt::Messages(opening.as_array().unwrap().clone()));
        dialogue.answered("So.");
        let asked = dialogue.ask(Prompt::Text("And then?".into())).clone();
        let said = json!([
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": "Why?"},
            {"role": "assistant", "content": "So."},
            {"role": "user", "content": "And then?"},
        ]);
        assert_eq!(asked, Prompt::Messages(said.as_array().unwrap().clone()));
    }
}
