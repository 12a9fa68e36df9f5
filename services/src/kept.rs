//! The text of an answer, kept only where a conversation goes on with it.

use std::borrow::Cow;

use hb_core::record::Kind;
use serde::Deserialize;

/// The longest answer whose text is kept, in bytes.
const MOST_BYTES: usize = 32 * 1024 * 1024;

/// The text so far; `None` where nobody wants it, and then nothing is done for it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Kept(Option<String>);

impl Kept {
    /// An empty text, if it is wanted.
    pub(crate) fn wanted(is_wanted: bool) -> Self {
        Self(is_wanted.then(String::new))
    }

    /// Goes on with the text that `read` finds, if it is wanted.
    ///
    /// # Errors
    /// [`Kind::Oversize`]: a conversation cannot go on with a part of an answer.
    pub(crate) fn add<'a>(&mut self, read: impl FnOnce() -> Option<Cow<'a, str>>) -> Result<(), Kind> {
        let Some(text) = &mut self.0 else { return Ok(()) };
        text.push_str(&read().unwrap_or_default());
        if text.len() > MOST_BYTES { Err(Kind::Oversize) } else { Ok(()) }
    }

    /// Gives the text and begins an empty one.
    pub(crate) fn take(&mut self) -> Option<String> {
        self.0.as_mut().map(std::mem::take)
    }
}

/// The texts of an event or a whole answer; reasoning and calls of tools are none, as no server wants them back.
#[derive(Deserialize)]
struct Texts<'a> {
    #[serde(default, borrow)]
    choices: Vec<Text<'a>>,
    /// Ollama's generate.
    #[serde(default, borrow)]
    response: Option<Cow<'a, str>>,
    /// Ollama's chat.
    #[serde(default, borrow)]
    message: Option<Content<'a>>,
}

#[derive(Deserialize)]
struct Text<'a> {
    #[serde(default, borrow)]
    text: Option<Cow<'a, str>>,
    #[serde(default, borrow)]
    delta: Option<Content<'a>>,
    #[serde(default, borrow)]
    message: Option<Content<'a>>,
}

#[derive(Deserialize)]
struct Content<'a> {
    #[serde(default, borrow)]
    content: Option<Cow<'a, str>>,
}

/// The text that this JSON adds to an answer, its escapes undone: of OpenAI's first choice, or of Ollama's object.
pub(crate) fn text_in(json: &[u8]) -> Option<Cow<'_, str>> {
    let texts: Texts = serde_json::from_slice(json).ok()?;
    let of_choice = |choice: Text| -> Option<String> {
        let piece = choice.delta.or(choice.message).and_then(|piece| piece.content);
        choice.text.or(piece).map(Cow::into_owned)
    };
    let of_object = texts.response.or(texts.message.and_then(|message| message.content)).map(Cow::into_owned);
    texts.choices.into_iter().find_map(of_choice).or(of_object).map(Cow::Owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_is_that_of_the_answer_without_escapes() {
        for (json, text) in [
            (r#"{"choices":[{"text":" a \"b\"\n"}]}"#, Some(" a \"b\"\n")),
            (r#"{"choices":[{"delta":{"role":"assistant","content":"\u00e9"}}]}"#, Some("é")),
            (r#"{"choices":[{"message":{"content":"whole","reasoning_content":"hm"}}],"usage":{}}"#, Some("whole")),
            (r#"{"choices":[{"delta":{"content":null,"reasoning":"hm"}}]}"#, None),
            (r#"{"choices":[]}"#, None),
            (r#"{"response":"x","done":false}"#, Some("x")),
            (r#"{"message":{"role":"assistant","content":"y"},"done":true}"#, Some("y")),
            ("no JSON", None),
        ] {
            assert_eq!(text_in(json.as_bytes()).as_deref(), text, "{json}");
        }
    }

    #[test]
    fn what_nobody_wants_is_not_even_read() {
        let mut none = Kept::wanted(false);
        none.add(|| panic!("it is not wanted")).unwrap();
        assert_eq!(none.take(), None);
        let mut kept = Kept::wanted(true);
        kept.add(|| Some("a".into())).unwrap();
        kept.add(|| Some("b".into())).unwrap();
        assert_eq!((kept.take().as_deref(), kept.take().as_deref()), (Some("ab"), Some("")));
        let too_long = "x".repeat(MOST_BYTES + 1);
        assert_eq!(kept.add(|| Some(too_long.into())), Err(Kind::Oversize));
    }
}
