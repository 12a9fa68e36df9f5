//! `requests.jsonl` and `timeseries.csv` of a trial.

use std::{
    cmp::{Ordering, Reverse},
    collections::{BTreeMap, BinaryHeap},
    io,
    io::Write,
    path::Path,
};

use hb_core::{batch::Source, record::Record, report::Second, row::Row, tally::LostRow, units::Nanos};

use super::{durable, spool};

/// So many rows are held back to put them in order.
const HELD_ROWS: usize = 65_536;

/// Writes a line for every request that was due, in the order of their indices. A request that ended later than
/// [`HELD_ROWS`] others that were due after it stands where it ended: memory does not grow with a run's length.
pub(crate) fn write_requests(folder: &Path, lost: &[LostRow]) -> io::Result<()> {
    write_holding(folder, lost, HELD_ROWS)
}

fn write_holding(folder: &Path, lost: &[LostRow], most_held: usize) -> io::Result<()> {
    let mut lost: Vec<&LostRow> = lost.iter().collect();
    lost.sort_by_key(|row| place(&row.record));
    durable::write_with(&folder.join("requests.jsonl"), |file| {
        let mut lost = lost.into_iter().peekable();
        let mut write = |row: Waiting, sources: &[Source]| {
            while let Some(before) = lost.next_if(|lost| place(&lost.record) < place(&row.record)) {
                line(file, &before.source, &before.record)?;
            }
            line(file, &sources[row.source], &row.record)
        };
        let mut held = Held::default();
        for row in spool::rows(&spool::find(folder))? {
            held.push(row?);
            if held.waiting.len() > most_held {
                held.pop().map_or(Ok(()), |first| write(first, &held.sources))?;
            }
        }
        while let Some(first) = held.pop() {
            write(first, &held.sources)?;
        }
        lost.try_for_each(|row| line(file, &row.source, &row.record))
    })
}

/// Where a row belongs.
fn place(record: &Record) -> (u64, Nanos) {
    (record.index, record.due)
}

/// Rows that wait for those before them; each source is held once.
#[derive(Default)]
struct Held {
    numbers: BTreeMap<Source, usize>,
    sources: Vec<Source>,
    waiting: BinaryHeap<Reverse<Waiting>>,
}

impl Held {
    fn push(&mut self, (source, record): (Source, Record)) {
        let source = match self.numbers.get(&source) {
            Some(number) => *number,
            None => {
                self.numbers.insert(source.clone(), self.sources.len());
                self.sources.push(source);
                self.sources.len() - 1
            }
        };
        self.waiting.push(Reverse(Waiting { source, record }));
    }

    /// The first of them in order.
    fn pop(&mut self) -> Option<Waiting> {
        self.waiting.pop().map(|Reverse(first)| first)
    }
}

/// A row with its source's number, in order by its place.
struct Waiting {
    source: usize,
    record: Record,
}

impl Waiting {
    fn order(&self) -> (u64, Nanos, usize) {
        (self.record.index, self.record.due, self.source)
    }
}

impl Ord for Waiting {
    fn cmp(&self, other: &Self) -> Ordering {
        self.order().cmp(&other.order())
    }
}

impl PartialOrd for Waiting {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Waiting {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Waiting {}

fn line(file: &mut impl Write, source: &Source, record: &Record) -> io::Result<()> {
    serde_json::to_writer(&mut *file, &Row::of(source, record))?;
    file.write_all(b"\n")
}

/// Writes the seconds of a trial. The header is the names of [`Second`]'s fields.
pub(crate) fn write_timeseries(folder: &Path, timeline: &[Second]) -> io::Result<()> {
    durable::write_with(&folder.join("timeseries.csv"), |file| {
        let mut writer = csv::Writer::from_writer(file);
        timeline.iter().try_for_each(|second| writer.serialize(second))?;
        if timeline.is_empty() {
            writer.write_record(SECOND_FIELDS)?;
        }
        writer.flush()
    })
}

/// The header where there is no line that could tell it.
const SECOND_FIELDS: [&str; 10] =
    ["at", "sent", "completed", "failed", "output_tokens", "in_flight", "ttft_p50", "ttft_p99", "e2el_p50", "e2el_p99"];

#[cfg(test)]
mod tests {
    use hb_core::record::{Kind, Outcome, Stage};

    use super::*;

    fn indices(most_held: usize) -> Vec<u64> {
        let folder = tempfile::tempdir().unwrap();
        let mut spool = spool::Spool::begin(folder.path()).unwrap();
        let batches = [spool::tests::batch(1, 2), spool::tests::batch(0, 2)];
        batches.iter().for_each(|batch| spool.append(batch).unwrap());
        let record = Record::unsent(500, Stage::Measure, Nanos(1), Outcome::Lost, Kind::NodeLost);
        let lost = [LostRow { source: batches[0].key.source.clone(), record }];
        write_holding(folder.path(), &lost, most_held).unwrap();
        let text = std::fs::read_to_string(folder.path().join("requests.jsonl")).unwrap();
        text.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap()["index"].as_u64().unwrap()).collect()
    }

    #[test]
    fn rows_are_in_order_as_far_as_they_are_held_and_never_left_out() {
        assert_eq!(indices(10), [0, 1, 500, 1000, 1001]);
        assert_eq!(indices(2), [0, 1, 500, 1000, 1001], "as many are held as come too early");
        assert_eq!(indices(1), [500, 1000, 0, 1, 1001]);
    }

    #[test]
    fn the_header_of_the_seconds_is_there_without_a_second() {
        let folder = tempfile::tempdir().unwrap();
        let header = |timeline: &[Second]| {
            write_timeseries(folder.path(), timeline).unwrap();
            let text = std::fs::read_to_string(folder.path().join("timeseries.csv")).unwrap();
            text.lines().next().unwrap().to_owned()
        };
        assert_eq!(header(&[]), header(&[Second::default()]));
    }
}
