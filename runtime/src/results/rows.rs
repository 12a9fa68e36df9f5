//! `requests.jsonl` and `timeseries.csv` of a trial.

use std::{collections::BTreeMap, io, io::Write, path::Path};

use hb_core::{batch::Source, record::Record, report::Second, row::Row, tally::LostRow};

use super::{durable, spool};

/// Up to so many rows they are sorted by index; beyond, they stand in the order in which they came.
const SORTED_ROWS: usize = 1_000_000;

/// Writes a line for every request that was due: those of the spool, then the lost ones.
pub(crate) fn write_requests(folder: &Path, lost: &[LostRow]) -> io::Result<()> {
    write_up_to(folder, lost, SORTED_ROWS)
}

fn write_up_to(folder: &Path, lost: &[LostRow], sorted_rows: usize) -> io::Result<()> {
    let lost = || lost.iter().map(|row| Ok((row.source.clone(), row.record.clone())));
    let path = folder.join("requests.jsonl");
    let spooled = || spool::rows(&spool::find(folder));
    let mut held = Held::default();
    for row in spooled()?.chain(lost()) {
        held.push(row?);
        if held.rows.len() > sorted_rows {
            drop(held);
            return durable::write_with(&path, |file| {
                spooled()?.chain(lost()).try_for_each(|row| row.and_then(|(source, record)| line(file, &source, &record)))
            });
        }
    }
    held.rows.sort_by_key(|(_, record)| (record.index, record.due));
    durable::write_with(&path, |file| {
        held.rows.iter().try_for_each(|(source, record)| line(file, &held.sources[*source], record))
    })
}

/// Rows in memory; each source is held once.
#[derive(Default)]
struct Held {
    numbers: BTreeMap<Source, usize>,
    sources: Vec<Source>,
    rows: Vec<(usize, Record)>,
}

impl Held {
    fn push(&mut self, (source, record): (Source, Record)) {
        let number = match self.numbers.get(&source) {
            Some(number) => *number,
            None => {
                self.numbers.insert(source.clone(), self.sources.len());
                self.sources.push(source);
                self.sources.len() - 1
            }
        };
        self.rows.push((number, record));
    }
}

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
    use hb_core::{
        record::{Kind, Outcome, Stage},
        units::Nanos,
    };

    use super::*;

    fn indices(sorted_rows: usize) -> Vec<u64> {
        let folder = tempfile::tempdir().unwrap();
        let mut spool = spool::Spool::begin(folder.path()).unwrap();
        let batches = [spool::tests::batch(1, 2), spool::tests::batch(0, 2)];
        batches.iter().for_each(|batch| spool.append(batch).unwrap());
        let record = Record::unsent(500, Stage::Measure, Nanos(1), Outcome::Lost, Kind::NodeLost);
        let lost = [LostRow { source: batches[0].key.source.clone(), record }];
        write_up_to(folder.path(), &lost, sorted_rows).unwrap();
        let text = std::fs::read_to_string(folder.path().join("requests.jsonl")).unwrap();
        text.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap()["index"].as_u64().unwrap()).collect()
    }

    #[test]
    fn rows_are_sorted_while_they_fit_and_never_left_out() {
        assert_eq!(indices(10), [0, 1, 500, 1000, 1001]);
        assert_eq!(indices(3), [1000, 1001, 0, 1, 500]);
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
