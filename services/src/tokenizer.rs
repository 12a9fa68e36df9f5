//! A local `tokenizer.json`: what it says of the words that prompts are made of. It is asked once, before anything
//! starts; prompts are made by adding up what it said.

use std::{
    io,
    path::{Path, PathBuf},
};

use hb_core::counting::WordTokens;

use crate::prompts::measured;

/// The file's name in a model's folder.
const FILE: &str = "tokenizer.json";
/// The largest file that is read; those of large vocabularies have 40 MB.
const MOST_BYTES: u64 = 1024 * 1024 * 1024;

/// Why a tokenizer cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TokenizerError {
    /// This binary has none.
    #[error(
        "this hbnode was built without the feature `tokenizer`, which is on by default: build it without `--no-default-features`, \
         or leave `workload.tokenizer` out"
    )]
    NotBuilt,
    /// The file cannot be read.
    #[error("cannot read the tokenizer `{}`: {source}; name a model's `tokenizer.json`, or the folder that holds it", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The system's word.
        source: io::Error,
    },
    /// It is something else.
    #[error("`{}` is no tokenizer: {why}; name the `tokenizer.json` of the model, not its vocabulary or configuration", path.display())]
    NotOne {
        /// The file.
        path: PathBuf,
        /// What its reader says.
        why: String,
    },
    /// It cannot count what prompts are made of.
    #[error("the tokenizer `{}` cannot count English words: {why}; leave `workload.tokenizer` out", path.display())]
    Useless {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
}

/// What the tokenizer in this file, or in this folder, says of the words of prompts.
///
/// # Errors
/// What is wrong with the file; or this binary was built without tokenizers.
pub fn words(path: &Path) -> Result<WordTokens, TokenizerError> {
    let path = if path.is_dir() { path.join(FILE) } else { path.to_owned() };
    let count = counter(&path)?;
    measured(&count).map_err(|why| TokenizerError::Useless { path, why })
}

/// Tells the tokens of a text, alone or with what is put around it.
#[cfg(feature = "tokenizer")]
fn counter(path: &Path) -> Result<impl Fn(&str, bool) -> Result<u32, String> + use<>, TokenizerError> {
    let bytes = bytes(path)?;
    let not_one = |why: String| TokenizerError::NotOne { path: path.to_owned(), why };
    let mut tokenizer = tokenizers::Tokenizer::from_bytes(&bytes).map_err(|why| {
        // Its own words speak of a place in a text that may be none at all.
        match serde_json::from_slice::<serde::de::IgnoredAny>(&bytes) {
            Ok(_) => not_one(why.to_string()),
            Err(error) => not_one(format!("it is not JSON: {error}")),
        }
    })?;
    // A file may say how its model was trained: cut at 512 tokens, or filled up to them.
    tokenizer.with_truncation(None).map_err(|why| not_one(why.to_string()))?.with_padding(None);
    Ok(move |text: &str, with_marks| {
        let encoded = tokenizer.encode_fast(text, with_marks).map_err(|why| why.to_string())?;
        Ok(encoded.len() as u32)
    })
}

#[cfg(not(feature = "tokenizer"))]
fn counter(path: &Path) -> Result<impl Fn(&str, bool) -> Result<u32, String> + use<>, TokenizerError> {
    bytes(path)?;
    let never = |_: &str, _: bool| Ok(0);
    Err(TokenizerError::NotBuilt).map(|()| never)
}

fn bytes(path: &Path) -> Result<Vec<u8>, TokenizerError> {
    let failed = |source| TokenizerError::Io { path: path.to_owned(), source };
    let size = std::fs::metadata(path).map_err(failed)?;
    if !size.is_file() {
        return Err(failed(io::Error::other("it is not a file")));
    }
    if size.len() > MOST_BYTES {
        return Err(failed(io::Error::other(format!("it has {} bytes, more than any tokenizer", size.len()))));
    }
    std::fs::read(path).map_err(failed)
}

#[cfg(test)]
#[cfg(feature = "tokenizer")]
mod tests;
