//! What a request asks for when it comes from a dataset.

use serde_json::{Map, Value};

use super::{Content, Dataset, DatasetError};
use crate::{prompts::PromptMaker, protocol::Prompt};

/// One request.
#[derive(Debug, Clone, PartialEq)]
pub struct Asked {
    /// Its prompts, one for each of the batch.
    pub prompts: Vec<Prompt>,
    /// Tokens of each of its answers.
    pub gen_tokens: u32,
    /// Tokens that its prompts have together, where the data gives lengths; `None` where it gives texts.
    pub prompt_tokens: Option<u32>,
    /// Fields for its body, which those of the recipe win over.
    pub fields: Map<String, Value>,
}

impl Dataset {
    /// What request `index` asks for. Where the data gives lengths alone, or no length of an answer, `prompts` fills in.
    ///
    /// # Errors
    /// The file cannot be read any more.
    pub fn asked(&self, index: u64, prompts: &PromptMaker) -> Result<Asked, DatasetError> {
        let mut asked = Asked { prompts: Vec::new(), gen_tokens: 0, prompt_tokens: Some(0), fields: Map::new() };
        for number in prompts.numbers(index) {
            let entry = self.entry(number)?;
            let tokens = if let Content::Sized { tokens, .. } = &entry.content { Some(*tokens) } else { None };
            asked.prompt_tokens = asked.prompt_tokens.zip(tokens).and_then(|(sum, tokens)| sum.checked_add(tokens));
            asked.prompts.push(match entry.content {
                Content::Text(text) => Prompt::Text(text),
                Content::Messages(messages) => Prompt::Messages(messages),
                Content::Sized { tokens, blocks, .. } if blocks.is_empty() => prompts.sized(number, tokens),
                Content::Sized { tokens, blocks, block_tokens } => prompts.of_blocks(&blocks, block_tokens, tokens),
            });
            // One request has one limit: that of the longest answer of its batch.
            asked.gen_tokens = asked.gen_tokens.max(entry.gen_tokens.unwrap_or_else(|| prompts.lengths(index).gen_tokens));
            asked.fields.extend(entry.fields);
        }
        Ok(asked)
    }

    /// What the turns of conversation `conversation` ask, at most `turns` of them.
    ///
    /// # Errors
    /// The file cannot be read any more.
    pub fn turns(&self, conversation: u64, turns: u32, prompts: &PromptMaker) -> Result<Vec<Asked>, DatasetError> {
        let first = self.asked(conversation, prompts)?;
        let more = self.entry(conversation)?.more.into_iter().map(|question| Asked {
            prompts: vec![Prompt::Text(question.text)],
            gen_tokens: question.gen_tokens,
            prompt_tokens: None,
            fields: Map::new(),
        });
        Ok([first].into_iter().chain(more).take(turns.max(1) as usize).collect())
    }
}
