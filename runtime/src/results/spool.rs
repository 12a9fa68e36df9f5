//! The batches of a trial, appended as they come: what a killed run is rebuilt from.
//!
//! A frame is its length (four bytes, little end first) and the batch in msgpack. A frame that was cut
//! off by the death of the process ends the file; everything before it counts.

use std::{
    collections::BTreeSet,
    fs::File,
    io::{self, BufReader, Read},
    path::{Path, PathBuf},
};

use hb_core::{
    batch::{Batch, Source},
    record::Record,
};

use super::durable::{Growing, partial_of};

/// The spool's name in the trial's folder; `.partial` until the trial is over.
pub(crate) const SPOOL: &str = "batches";

/// No frame is longer: the wire allows 64 KiB, and a wild length must not ask for gigabytes.
const MAX_FRAME_BYTES: u32 = 16 * 1024 * 1024;

/// Writes a trial's batches.
#[derive(Debug)]
pub(crate) struct Spool {
    file: Growing,
}

impl Spool {
    /// Begins the spool of the trial with this folder.
    pub(crate) fn begin(folder: &Path) -> io::Result<Self> {
        Ok(Self { file: Growing::begin(&folder.join(SPOOL))? })
    }

    /// Appends a batch; once this returns the death of this process does not lose it.
    pub(crate) fn append(&mut self, batch: &Batch) -> io::Result<()> {
        let mut frame = vec![0; 4];
        rmp_serde::encode::write_named(&mut frame, batch).map_err(io::Error::other)?;
        let length = u32::try_from(frame.len() - 4).ok().filter(|length| *length <= MAX_FRAME_BYTES);
        let length = length.ok_or_else(|| {
            io::Error::other(format!("a batch of {} bytes is over the limit of {MAX_FRAME_BYTES}", frame.len() - 4))
        })?;
        frame[..4].copy_from_slice(&length.to_le_bytes());
        self.file.append(&frame)
    }

    /// The trial is over: the spool gets its final name.
    pub(crate) fn finish(self) -> io::Result<()> {
        self.file.finish()
    }
}

/// The spool of the trial with this folder, finished or not.
pub(crate) fn find(folder: &Path) -> PathBuf {
    let whole = folder.join(SPOOL);
    if whole.exists() { whole } else { partial_of(&whole) }
}

/// Reads the batches of a spool, each once, up to a torn end.
#[derive(Debug)]
pub struct Batches {
    file: BufReader<File>,
    is_over: bool,
    is_torn: bool,
    seen: BTreeSet<(Source, u64)>,
}

impl Batches {
    /// Opens a spool.
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        let file = BufReader::with_capacity(256 * 1024, File::open(path)?);
        Ok(Self { file, is_over: false, is_torn: false, seen: BTreeSet::new() })
    }

    /// Whether the file ended in the middle of a frame, known once all are read.
    #[must_use]
    pub fn is_torn(&self) -> bool {
        self.is_torn
    }

    /// The next frame; `None` at the end, whole or torn.
    fn frame(&mut self) -> io::Result<Option<Batch>> {
        let mut length = [0; 4];
        let got = read_up_to(&mut self.file, &mut length)?;
        let length = u32::from_le_bytes(length);
        if got < 4 || length > MAX_FRAME_BYTES {
            self.is_torn = got > 0;
            return Ok(None);
        }
        let mut bytes = vec![0; length as usize];
        if read_up_to(&mut self.file, &mut bytes)? < bytes.len() {
            self.is_torn = true;
            return Ok(None);
        }
        match rmp_serde::from_slice(&bytes) {
            Ok(batch) => Ok(Some(batch)),
            // Only the end of the file can be unreadable: a write that the disk took in part.
            Err(_) => {
                self.is_torn = true;
                Ok(None)
            }
        }
    }
}

impl Iterator for Batches {
    type Item = io::Result<Batch>;

    fn next(&mut self) -> Option<Self::Item> {
        while !self.is_over {
            match self.frame() {
                Ok(Some(batch)) => {
                    if self.seen.insert((batch.key.source.clone(), batch.key.seq)) {
                        return Some(Ok(batch));
                    }
                }
                Ok(None) => self.is_over = true,
                Err(error) => {
                    self.is_over = true;
                    return Some(Err(error));
                }
            }
        }
        None
    }
}

/// Each record of a spool with who sent it.
pub(crate) fn rows(path: &Path) -> io::Result<impl Iterator<Item = io::Result<(Source, Record)>> + use<>> {
    Ok(Batches::open(path)?.flat_map(|batch| {
        let (rows, failed) = match batch {
            Ok(batch) => (Some((batch.key.source, batch.records)), None),
            Err(error) => (None, Some(Err(error))),
        };
        let rows = rows.into_iter().flat_map(|(source, records)| records.into_iter().map(move |row| Ok((source.clone(), row))));
        failed.into_iter().chain(rows)
    }))
}

/// Reads until the buffer is full or the file ends, and says how far it came.
fn read_up_to(file: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match file.read(&mut buffer[filled..]) {
            Ok(0) => break,
            Ok(more) => filled += more,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

#[cfg(test)]
pub(crate) mod tests {
    use hb_core::{
        batch::{BatchKey, ClientHealth},
        record::{Kind, Outcome, Stage},
        units::{Nanos, NodeName},
    };
    use proptest::prelude::*;

    use super::*;

    /// A batch of the trial `t` with so many records.
    pub(crate) fn batch(seq: u64, records: u64) -> Batch {
        let source = Source { trial: "t".into(), node: NodeName::from("n0"), incarnation: 1, executor: 0, epoch: 0 };
        let records: Vec<Record> = (0..records)
            .map(|k| Record::unsent(seq * 1000 + k, Stage::Measure, Nanos(seq), Outcome::Failed, Kind::Http(503)))
            .collect();
        Batch {
            key: BatchKey { source, seq },
            span: (Nanos(seq), Nanos(seq + 1)),
            counts: Batch::counted(&records),
            records,
            opened: Vec::new(),
            itl: vec![1, 2, 3],
            icl: Vec::new(),
            health: ClientHealth::default(),
            is_last: false,
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn every_batch_before_a_torn_end_is_read_back(sizes in prop::collection::vec(0_u64..5, 1..6), cut in 0.0_f64..1.0) {
            let folder = tempfile::tempdir().unwrap();
            let mut spool = Spool::begin(folder.path()).unwrap();
            let mut ends = vec![0];
            let written: Vec<Batch> = sizes.iter().enumerate().map(|(seq, size)| batch(seq as u64, *size)).collect();
            for batch in &written {
                spool.append(batch).unwrap();
                ends.push(spool.file.length());
            }
            let path = find(folder.path());
            let length = (cut * *ends.last().unwrap() as f64) as u64;
            std::fs::OpenOptions::new().write(true).open(&path).unwrap().set_len(length).unwrap();
            let whole = ends.iter().filter(|end| **end <= length).count() - 1;
            let mut batches = Batches::open(&path).unwrap();
            let read: Vec<Batch> = batches.by_ref().map(Result::unwrap).collect();
            prop_assert_eq!(&read[..], &written[..whole]);
            prop_assert_eq!(batches.is_torn(), ends[whole] != length);
        }
    }

    #[test]
    fn a_repeated_batch_gives_its_rows_once() {
        let folder = tempfile::tempdir().unwrap();
        let mut spool = Spool::begin(folder.path()).unwrap();
        for seq in [0, 1, 1, 0] {
            spool.append(&batch(seq, 3)).unwrap();
        }
        spool.finish().unwrap();
        let read: Vec<u64> = rows(&find(folder.path())).unwrap().map(|row| row.unwrap().1.index).collect();
        assert_eq!(read, [0, 1, 2, 1000, 1001, 1002]);
    }

    #[test]
    fn a_wild_length_ends_the_file_and_asks_for_no_memory() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(SPOOL);
        std::fs::write(&path, [0xFF; 64]).unwrap();
        let mut batches = Batches::open(&path).unwrap();
        assert!(batches.next().is_none() && batches.is_torn());
    }
}
