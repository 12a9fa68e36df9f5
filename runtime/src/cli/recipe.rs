//! The recipe that a verb is given.

use std::path::Path;

use super::exit::Exit;
use crate::lead::recipe::{Checked, Source, check, show};

/// Reads and checks it; what is wrong is told.
///
/// # Errors
/// How the verb ends.
pub fn checked(path: &Path, sets: &[(String, String)]) -> Result<(Source, Checked), Exit> {
    let source = Source::read(path).map_err(|sentence| {
        eprintln!("error: {sentence}");
        Exit::BadWords
    })?;
    match check(&source, sets) {
        Ok(checked) => Ok((source, checked)),
        Err(problems) => {
            show(&problems, &source);
            Err(Exit::BadWords)
        }
    }
}
