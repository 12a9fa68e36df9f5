//! `logs/`: every line that a process wrote, as text by stream and as JSON with its origin.

use std::{io, path::Path};

use hb_core::facts::LogBatch;
use serde::Serialize;

use super::{durable::Growing, instant};

/// No log file of a run grows past this; a server that floods its output must not fill the disk.
pub const MAX_LOG_BYTES: u64 = 64 * 1024 * 1024;

/// The three files.
#[derive(Debug)]
pub(crate) struct Logs {
    stdout: Capped,
    stderr: Capped,
    aggregated: Capped,
}

/// A line of `aggregated.jsonl`.
#[derive(Serialize)]
struct Aggregated<'a> {
    time: String,
    node: &'a str,
    source: &'a str,
    stream: &'static str,
    text: &'a str,
}

impl Logs {
    /// Begins the files in this folder, each at most `limit` bytes.
    pub(crate) fn begin(folder: &Path, limit: u64) -> io::Result<Self> {
        Self::open(folder, limit, Growing::begin)
    }

    /// Takes up the files that an earlier process began.
    pub(crate) fn resume(folder: &Path, limit: u64) -> io::Result<Self> {
        Self::open(folder, limit, Growing::resume)
    }

    fn open(folder: &Path, limit: u64, file: impl Fn(&Path) -> io::Result<Growing>) -> io::Result<Self> {
        let open = |name| Ok::<_, io::Error>(Capped { file: file(&folder.join(name))?, limit, left_out: 0 });
        Ok(Self { stdout: open("stdout.log")?, stderr: open("stderr.log")?, aggregated: open("aggregated.jsonl")? })
    }

    /// Appends the lines, each to its stream's file and to the aggregate.
    pub(crate) fn append(&mut self, batch: &LogBatch) -> io::Result<()> {
        let (mut stdout, mut stderr, mut aggregated) = (Vec::new(), Vec::new(), Vec::new());
        for line in &batch.lines {
            let (stream, text) = if line.is_stderr { ("stderr", &mut stderr) } else { ("stdout", &mut stdout) };
            text.extend(format!("[{} {}] {}\n", batch.node, batch.source, line.text).into_bytes());
            let line = Aggregated {
                time: instant(line.unix_nanos),
                node: batch.node.as_str(),
                source: &batch.source,
                stream,
                text: &line.text,
            };
            serde_json::to_writer(&mut aggregated, &line)?;
            aggregated.push(b'\n');
        }
        self.stdout.append(&stdout)?;
        self.stderr.append(&stderr)?;
        self.aggregated.append(&aggregated)
    }

    /// Gives the files their names; what was left out of each is told.
    pub(crate) fn finish(self) -> Vec<(String, io::Result<u64>)> {
        [self.stdout, self.stderr, self.aggregated].map(Capped::finish).into()
    }
}

/// A file that stops growing at its limit and counts what it leaves out.
#[derive(Debug)]
struct Capped {
    file: Growing,
    limit: u64,
    left_out: u64,
}

impl Capped {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        // Once full, always full: a later short line would hide the gap before it.
        if self.left_out > 0 || self.file.length() + bytes.len() as u64 > self.limit {
            self.left_out += bytes.len() as u64;
            return Ok(());
        }
        self.file.append(bytes)
    }

    fn finish(self) -> (String, io::Result<u64>) {
        let name = self.file.path().display().to_string();
        let left_out = self.left_out;
        (name, self.file.finish().map(|()| left_out))
    }
}

#[cfg(test)]
mod tests {
    use hb_core::facts::LogLine;

    use super::*;

    fn said(text: &str, is_stderr: bool) -> LogBatch {
        let line = LogLine { unix_nanos: 1_500_000_000, is_stderr, text: text.to_owned() };
        LogBatch { node: "n0".into(), source: "server-0".to_owned(), lines: vec![line] }
    }

    #[test]
    fn a_line_stands_in_its_stream_and_in_the_aggregate() {
        let folder = tempfile::tempdir().unwrap();
        let mut logs = Logs::begin(folder.path(), MAX_LOG_BYTES).unwrap();
        logs.append(&said("hello", false)).unwrap();
        logs.append(&said("oh \"no\"", true)).unwrap();
        assert!(logs.finish().iter().all(|(_, end)| matches!(end, Ok(0))));
        let read = |name| std::fs::read_to_string(folder.path().join(name)).unwrap();
        assert_eq!(read("stdout.log"), "[n0 server-0] hello\n");
        assert_eq!(read("stderr.log"), "[n0 server-0] oh \"no\"\n");
        assert_eq!(
            read("aggregated.jsonl").lines().next_back().unwrap(),
            r#"{"time":"1970-01-01T00:00:01.5Z","node":"n0","source":"server-0","stream":"stderr","text":"oh \"no\""}"#
        );
    }

    #[test]
    fn a_flood_stops_at_the_limit_and_is_counted() {
        let folder = tempfile::tempdir().unwrap();
        let mut logs = Logs::begin(folder.path(), 100).unwrap();
        for _ in 0..1000 {
            logs.append(&said("a line that comes again and again", false)).unwrap();
        }
        let ends = logs.finish();
        assert!(std::fs::metadata(folder.path().join("stdout.log")).unwrap().len() <= 100);
        assert!(matches!(ends[0].1, Ok(left_out) if left_out > 40_000), "{ends:?}");
    }
}
