//! Files of prompts and traces: read once from end to end to find their entries, then one entry at a time.
//!
//! ```text
//! file ─► format (its beginning) ─► pieces (lines, records, elements) ─► shapes (an entry, an instant)
//!                                        └─ index: where each entry lies, held for every so many of them
//! ```
//!
//! Of a file of short lines half a byte an entry is held, of one of longer entries less than a hundredth of it, and no instant:
//! those of a trace that is replayed are handed over once. Request `i` asks with entry `i` modulo their number.

mod asked;
mod format;
mod index;
mod pieces;
mod plain;
mod record;
mod shapes;
mod stamps;

use std::{
    fs::File,
    io::{self, BufReader, Seek as _, SeekFrom},
    path::{Path, PathBuf},
};

use hb_core::{
    trial::{BadLine, DatasetSpec, RequestSpec},
    units::Nanos,
};
use serde_json::{Map, Value};

pub use self::asked::Asked;
use self::{
    format::{Format, Unknown},
    index::Index,
    pieces::{LONGEST, Pieces, too_long},
    shapes::{Read, Shape},
};

/// One request of a dataset.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    /// What is asked.
    pub content: Content,
    /// Answer tokens, where the data tells them.
    pub gen_tokens: Option<u32>,
    /// Further fields for the request's body.
    pub fields: Map<String, Value>,
    /// The questions that follow in the same conversation.
    pub more: Vec<Question>,
}

/// A question in a conversation.
#[derive(Debug, Clone, PartialEq)]
pub struct Question {
    /// What is asked.
    pub text: String,
    /// Tokens of the answer that the data has.
    pub gen_tokens: u32,
}

/// What is asked.
#[derive(Debug, Clone, PartialEq)]
pub enum Content {
    /// A text.
    Text(String),
    /// A conversation.
    Messages(Vec<Value>),
    /// Any text of so many tokens.
    Sized {
        /// How many.
        tokens: u32,
        /// Names of its blocks; prompts are alike as far as their blocks are.
        blocks: Vec<u64>,
        /// Tokens of a block.
        block_tokens: u32,
    },
}

/// Why a dataset cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DatasetError {
    /// The file cannot be read.
    #[error("cannot read the dataset `{}`: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The system's word.
        source: io::Error,
    },
    /// Nobody knows its format.
    #[error("cannot tell the format of the dataset `{}`: {why}", path.display())]
    Format {
        /// The file.
        path: PathBuf,
        /// What was tried.
        why: String,
    },
    /// A line is wrong.
    #[error("cannot use line {line} of the dataset `{}`: {why}; `on_bad_line: skip` leaves such lines out", path.display())]
    Line {
        /// The file.
        path: PathBuf,
        /// From 1.
        line: u64,
        /// What is wrong.
        why: String,
    },
    /// Nothing is left.
    #[error("the dataset `{}` has no entry to use: {skipped} skipped, {bad} bad lines", path.display())]
    Empty {
        /// The file.
        path: PathBuf,
        /// Entries before the first one that was asked for.
        skipped: u64,
        /// Lines that could not be read.
        bad: u64,
    },
    /// Turns need conversations.
    #[error("the dataset `{}` has no conversations for `workload.turns`: only sharegpt has; leave `turns` out", path.display())]
    NoConversations {
        /// The file.
        path: PathBuf,
    },
    /// A replay needs instants.
    #[error("the dataset `{}` has no time stamps to replay: mooncake, burstgpt and azure have", path.display())]
    NoStamps {
        /// The file.
        path: PathBuf,
    },
    /// Time goes back.
    #[error("the trace `{}` goes back in time at line {line}, by {seconds} s", path.display())]
    BackInTime {
        /// The file.
        path: PathBuf,
        /// From 1.
        line: u64,
        /// By how much.
        seconds: f64,
    },
}

/// A file whose entries are known.
#[derive(Debug)]
pub struct Dataset {
    path: PathBuf,
    file: File,
    format: Format,
    index: Index,
    bad_lines: u64,
    failed_calls: u64,
}

impl Dataset {
    /// Reads the whole file once, and checks every entry that will be used.
    ///
    /// # Errors
    /// What is wrong with the file, its format or one of its lines.
    pub fn open(spec: &DatasetSpec) -> Result<Self, DatasetError> {
        let mut dataset = Self::begin(spec)?;
        dataset.read_through(spec, |_, _| Ok(()))?;
        Ok(dataset)
    }

    /// The same of a trace that is replayed, and the instants of its entries, in order.
    ///
    /// # Errors
    /// It has no instants, or goes back in time, or what is wrong with it otherwise.
    pub fn trace(spec: &DatasetSpec) -> Result<(Self, Vec<Nanos>), DatasetError> {
        let mut dataset = Self::begin(spec)?;
        if !dataset.format.shape.has_stamps() {
            return Err(DatasetError::NoStamps { path: dataset.path });
        }
        let mut stamps: Vec<Nanos> = Vec::new();
        dataset.read_through(spec, |line, stamp| {
            if let Some(last) = stamps.last().filter(|last| stamp < **last) {
                let seconds = last.since(stamp).as_secs_f64();
                return Err(DatasetError::BackInTime { path: spec.path.clone(), line, seconds });
            }
            stamps.push(stamp);
            Ok(())
        })?;
        Ok((dataset, stamps))
    }

    /// Looks at the file's beginning only: that it can be read, and has a format that such requests can use.
    ///
    /// # Errors
    /// What is wrong with the file or its format.
    pub fn check(spec: &DatasetSpec, request: &RequestSpec) -> Result<(), DatasetError> {
        let dataset = Self::begin(spec)?;
        if request.turns.is_some() { dataset.has_conversations() } else { Ok(()) }
    }

    fn begin(spec: &DatasetSpec) -> Result<Self, DatasetError> {
        let path = spec.path.clone();
        let failed = |source| DatasetError::Io { path: path.clone(), source };
        let file = File::open(&path).map_err(failed)?;
        if file.metadata().map_err(failed)?.is_dir() {
            return Err(failed(io::ErrorKind::IsADirectory.into()));
        }
        let format = format::of(&file, &path, spec.format.as_deref()).map_err(|unknown| match unknown {
            Unknown::Io(source) => failed(source),
            Unknown::Why(why) => DatasetError::Format { path: path.clone(), why },
        })?;
        let index = Index::new(format.cut);
        Ok(Self { path, file, format, index, bad_lines: 0, failed_calls: 0 })
    }

    /// Finds the entries, and hands on the line and the instant of each that has one.
    fn read_through(
        &mut self,
        spec: &DatasetSpec,
        mut stamped: impl FnMut(u64, Nanos) -> Result<(), DatasetError>,
    ) -> Result<(), DatasetError> {
        let path = self.path.clone();
        let failed = |source| DatasetError::Io { path: path.clone(), source };
        let (start, lines) = self.format.start;
        (&self.file).seek(SeekFrom::Start(start)).map_err(failed)?;
        let file = self.file.try_clone().map_err(failed)?;
        let mut pieces = Pieces::new(BufReader::with_capacity(1 << 18, file), self.format.cut, start, lines);
        let (mut piece, mut skipped) = (Vec::new(), 0);
        while self.len() < spec.limit.unwrap_or(u64::MAX) {
            let Some(place) = pieces.next(&mut piece).map_err(failed)? else {
                if pieces.is_unbalanced() {
                    self.bad(spec, lines + 1, "the file ends before the array that begins here does".to_owned())?;
                }
                break;
            };
            let read = if place.length > LONGEST {
                Err(too_long(place.length))
            } else if !place.is_closed && pieces.is_unbalanced() {
                Err("the file ends within it".to_owned())
            } else {
                self.format.shape.read(&piece)
            };
            match read {
                Ok(Read::Entry(..)) if skipped < spec.skip => skipped += 1,
                Ok(Read::Entry(_, stamp)) => {
                    self.index.push(place);
                    stamp.map_or(Ok(()), |stamp| stamped(place.line, stamp))?;
                    continue;
                }
                Ok(Read::Nothing) => {}
                Ok(Read::FailedCall) => self.failed_calls += 1,
                Err(why) => self.bad(spec, place.line, why)?,
            }
            self.index.pass();
        }
        if self.len() == 0 {
            return Err(DatasetError::Empty { path, skipped, bad: self.bad_lines });
        }
        Ok(())
    }

    /// A line cannot be used: an error, or counted, as the recipe says.
    fn bad(&mut self, spec: &DatasetSpec, line: u64, why: String) -> Result<(), DatasetError> {
        if spec.on_bad_line == BadLine::Fail {
            return Err(DatasetError::Line { path: self.path.clone(), line, why });
        }
        self.bad_lines += 1;
        Ok(())
    }

    /// How many entries there are; at least one.
    #[must_use]
    #[expect(clippy::len_without_is_empty, reason = "a dataset without an entry is an error of `open`")]
    pub fn len(&self) -> u64 {
        self.index.len()
    }

    /// Whether its entries are texts, and not lengths of which every trial makes other texts.
    #[must_use]
    pub fn has_texts(&self) -> bool {
        !self.format.shape.has_stamps()
    }

    /// Lines that were left out because they could not be read.
    #[must_use]
    pub fn bad_lines(&self) -> u64 {
        self.bad_lines
    }

    /// Calls of a trace that were left out because they had no tokens: they failed when they were recorded.
    #[must_use]
    pub fn failed_calls(&self) -> u64 {
        self.failed_calls
    }

    /// That its entries may be conversations of several turns.
    ///
    /// # Errors
    /// Every entry of its format is a single prompt.
    pub fn has_conversations(&self) -> Result<(), DatasetError> {
        match self.format.shape {
            Shape::ShareGpt => Ok(()),
            _ => Err(DatasetError::NoConversations { path: self.path.clone() }),
        }
    }

    /// The file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The entry of request `index`, read from the file.
    ///
    /// # Errors
    /// The file cannot be read any more, or was changed since it was opened.
    pub fn entry(&self, index: u64) -> Result<Entry, DatasetError> {
        let failed = |source| DatasetError::Io { path: self.path.clone(), source };
        match self.index.read(&self.file, index % self.len(), |bytes| self.format.shape.read(bytes)).map_err(failed)? {
            Some(Ok(Read::Entry(entry, _))) => Ok(*entry),
            _ => Err(failed(io::Error::other("it was changed while it was in use"))),
        }
    }
}

#[cfg(test)]
mod tests;
