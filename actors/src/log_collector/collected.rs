//! The lines that wait to be handed on: bounded per source, and let out at a bounded rate.

use std::collections::{BTreeMap, VecDeque};

use hb_core::{
    facts::{LogBatch, LogLine},
    units::NodeName,
};

/// The size at which a batch goes out at once, in bytes.
const BATCH_BYTES: usize = 32 * 1024;
/// The most that waits per source, in bytes.
const WAITING_BYTES: usize = 1024 * 1024;
/// Batches between two flushes, over all sources: about 1 MiB/s with two flushes a second.
const BATCHES_PER_FLUSH: u32 = 16;
/// What a line costs besides its text, on the wire and in memory.
const LINE_COST: usize = 64;

/// What was written and not handed on.
#[derive(Debug)]
pub(super) struct Collected {
    node: NodeName,
    sources: BTreeMap<String, Waiting>,
    /// Batches that may go out before the next flush.
    allowed: u32,
}

/// The lines of one source.
#[derive(Debug, Default)]
struct Waiting {
    lines: VecDeque<LogLine>,
    bytes: usize,
    /// Lines that were let go since the last batch.
    dropped: u64,
}

fn cost(line: &LogLine) -> usize {
    line.text.len() + LINE_COST
}

impl Collected {
    pub(super) fn new(node: NodeName) -> Self {
        Self { node, sources: BTreeMap::new(), allowed: BATCHES_PER_FLUSH }
    }

    /// Takes up lines; gives the batches that are full.
    pub(super) fn wrote(&mut self, source: &str, lines: Vec<LogLine>) -> Vec<LogBatch> {
        let waiting = self.sources.entry(source.to_owned()).or_default();
        lines.into_iter().for_each(|line| waiting.push(line));
        self.let_out(BATCH_BYTES)
    }

    /// Time for whatever there is, full or not.
    pub(super) fn flush(&mut self) -> Vec<LogBatch> {
        self.allowed = BATCHES_PER_FLUSH;
        self.let_out(1)
    }

    /// Everything, since nothing comes after it.
    pub(super) fn rest(&mut self) -> Vec<LogBatch> {
        self.allowed = u32::MAX;
        self.let_out(1)
    }

    /// The batches of sources in which at least so many bytes wait, in turns, as far as the rate allows.
    fn let_out(&mut self, at_least: usize) -> Vec<LogBatch> {
        let mut batches = Vec::new();
        loop {
            let before = batches.len();
            for (source, waiting) in self.sources.iter_mut().filter(|(_, waiting)| waiting.bytes >= at_least) {
                if self.allowed == 0 {
                    return batches;
                }
                self.allowed -= 1;
                batches.push(LogBatch { node: self.node.clone(), source: source.clone(), lines: waiting.take() });
            }
            if batches.len() == before {
                return batches;
            }
        }
    }
}

impl Waiting {
    fn push(&mut self, line: LogLine) {
        self.bytes += cost(&line);
        self.lines.push_back(line);
        while self.bytes > WAITING_BYTES
            && let Some(oldest) = self.lines.pop_front()
        {
            self.bytes -= cost(&oldest);
            self.dropped += 1;
        }
    }

    /// The next batch, which begins with a line about what is missing, if something is.
    fn take(&mut self) -> Vec<LogLine> {
        let mut lines = Vec::new();
        let mut bytes = 0;
        if self.dropped > 0
            && let Some(next) = self.lines.front()
        {
            let text = format!("[{} older lines were dropped: the output came faster than it could be handed on]", self.dropped);
            lines.push(LogLine { unix_nanos: next.unix_nanos, is_stderr: next.is_stderr, text });
            self.dropped = 0;
        }
        while bytes < BATCH_BYTES
            && let Some(line) = self.lines.pop_front()
        {
            bytes += cost(&line);
            lines.push(line);
        }
        self.bytes -= bytes;
        lines
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::MAX_MESSAGE_BYTES;

    fn lines(count: usize, length: usize) -> Vec<LogLine> {
        (0..count).map(|at| LogLine { unix_nanos: at as i128, is_stderr: false, text: "x".repeat(length) }).collect()
    }

    fn collected() -> Collected {
        Collected::new("n1".into())
    }

    #[test]
    fn a_full_batch_goes_at_once_and_a_small_one_waits() {
        let mut collected = collected();
        assert!(collected.wrote("server-0", lines(3, 10)).is_empty());
        assert_eq!(collected.wrote("server-0", lines(40, 1000)).len(), 1);
        assert_eq!(collected.flush().len(), 1);
        assert!(collected.flush().is_empty());
    }

    #[test]
    fn every_line_of_an_ordinary_output_arrives_in_order() {
        let mut collected = collected();
        let mut seen = Vec::new();
        for _ in 0..50 {
            seen.extend(collected.wrote("server-0", lines(30, 100)));
            seen.extend(collected.flush());
        }
        let stamps: Vec<i128> = seen.iter().flat_map(|batch| batch.lines.iter().map(|line| line.unix_nanos)).collect();
        assert_eq!(stamps, (0..50).flat_map(|_| 0..30).collect::<Vec<i128>>());
    }

    #[test]
    fn a_flood_loses_its_oldest_lines_and_says_how_many() {
        let mut collected = collected();
        let written = 40_000;
        let mut batches = collected.wrote("server-0", lines(written, 100));
        batches.extend(collected.rest());
        let (notes, kept): (Vec<_>, Vec<_>) =
            batches.into_iter().flat_map(|batch| batch.lines).partition(|line| line.text.starts_with('['));
        let dropped: usize = notes[0].text[1..].split(' ').next().unwrap().parse().unwrap();
        assert_eq!((notes.len(), dropped + kept.len()), (1, written));
        assert_eq!(kept.last().unwrap().unix_nanos, written as i128 - 1);
    }

    #[test]
    fn a_flood_does_not_exceed_the_rate_nor_silence_its_neighbour() {
        let mut collected = collected();
        let mut batches = collected.wrote("server-0", lines(10_000, 100));
        batches.extend(collected.wrote("server-0", lines(10_000, 100)));
        assert_eq!(batches.len(), BATCHES_PER_FLUSH as usize);
        assert!(collected.wrote("server-1", lines(1, 10)).is_empty());
        let flushed = collected.flush();
        assert_eq!(flushed.len(), BATCHES_PER_FLUSH as usize);
        assert!(flushed.iter().any(|batch| batch.source == "server-1"));
    }

    #[test]
    fn a_batch_of_empty_lines_fits_into_a_message() {
        let mut collected = collected();
        for batch in collected.wrote("server-0", lines(5_000, 0)).into_iter().chain(collected.wrote("server-0", lines(3, 8192))) {
            assert!(rmp_serde::to_vec_named(&batch).unwrap().len() < MAX_MESSAGE_BYTES / 2);
        }
    }
}
