//! Recorded answers of real servers, fed to their readers at every cut.

#![expect(clippy::unwrap_used, reason = "a test says by a panic what is wrong")]

use std::{fmt::Write as _, fs, num::NonZeroU32, path::Path};

use hb_core::{
    record::Kind,
    trial::{Api, Length, ProtocolName, RequestSpec},
};
use hb_services::{
    protocol,
    protocol::{Answer, Progress, Reader},
};
use serde_json::Map;

/// A recording without its HTTP: status and body.
struct Recording {
    name: String,
    status: u16,
    body: Vec<u8>,
    request: RequestSpec,
    protocol: ProtocolName,
}

/// All recordings, sorted by name.
fn recordings() -> Vec<Recording> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
    let mut all = Vec::new();
    for server in ["llamacpp", "ollama", "vllm"] {
        for file in fs::read_dir(folder.join(server)).unwrap() {
            let path = file.unwrap().path();
            let file_name = path.file_name().unwrap().to_str().unwrap();
            let Some(case) = file_name.strip_suffix(".response.http") else { panic!("{file_name} is no recording") };
            let (head, body) = decoded(&fs::read(&path).unwrap());
            let protocol =
                if server == "ollama" && !case.starts_with("v1-") { ProtocolName::Ollama } else { ProtocolName::Openai };
            all.push(Recording {
                name: format!("{server}/{case}"),
                status: head[9..12].parse().unwrap(),
                body,
                request: request(head.contains("event-stream") || head.contains("ndjson"), u32::from(case.ends_with("-n2")) + 1),
                protocol,
            });
        }
    }
    all.sort_by(|one, other| one.name.cmp(&other.name));
    all
}

fn request(stream: bool, n: u32) -> RequestSpec {
    RequestSpec {
        api: Api::Completions,
        stream,
        prompt_len: Length::Fixed(3),
        gen_tokens: Length::Fixed(8),
        batch: NonZeroU32::MIN,
        shared_prefix: None,
        turns: Some(Length::Fixed(2)),
        sampling: Map::from_iter([("n".to_owned(), n.into())]),
    }
}

/// Takes an HTTP/1.1 answer apart: its head in small letters, and its body without chunk framing. A body that was cut
/// gives what there is of it.
fn decoded(answer: &[u8]) -> (String, Vec<u8>) {
    let end = answer.windows(4).position(|bytes| bytes == b"\r\n\r\n").unwrap();
    let head = String::from_utf8(answer[..end].to_ascii_lowercase()).unwrap();
    let mut rest = &answer[end + 4..];
    if !head.contains("transfer-encoding: chunked") {
        return (head, rest.to_vec());
    }
    let mut body = Vec::new();
    while let Some(line) = rest.windows(2).position(|bytes| bytes == b"\r\n") {
        let length = usize::from_str_radix(std::str::from_utf8(&rest[..line]).unwrap(), 16).unwrap();
        let chunk = &rest[line + 2..];
        body.extend_from_slice(&chunk[..length.min(chunk.len())]);
        if length == 0 || chunk.len() < length + 2 {
            break;
        }
        assert_eq!(&chunk[length..length + 2], b"\r\n", "a chunk of {length} bytes ends with its length");
        rest = &chunk[length + 2..];
    }
    (head, body)
}

/// What a reader made of a body in these pieces: the sum of all progress, and the answer.
fn read<'a>(reader: &mut dyn Reader, pieces: impl IntoIterator<Item = &'a [u8]>) -> (Result<Progress, Kind>, Answer) {
    let mut sum = Ok(Progress { tokens: Some(0), ..Progress::default() });
    for piece in pieces {
        sum = match (sum, reader.feed(piece)) {
            (Ok(sum), Ok(more)) => {
                assert!(more.is_over || !sum.is_over, "an end mark was taken back");
                Ok(Progress {
                    events: sum.events + more.events,
                    // A piece without events says nothing about tokens.
                    tokens: if more.events == 0 { sum.tokens } else { sum.tokens.and_then(|sum| Some(sum + more.tokens?)) },
                    has_reasoning: sum.has_reasoning || more.has_reasoning,
                    has_output: sum.has_output || more.has_output,
                    is_over: more.is_over,
                })
            }
            (Err(kind), Ok(_)) => panic!("fed on after {kind}"),
            (_, Err(kind)) => Err(kind),
        };
    }
    (sum, reader.finish())
}

#[test]
fn every_cut_of_every_recording_gives_the_same_answer() {
    let (mut cases, mut table) = (0_u32, String::new());
    for recording in recordings().iter().filter(|recording| recording.status == 200) {
        let body = recording.body.as_slice();
        // One reader for all: it is ready for the next answer after each.
        let mut reader = protocol(recording.protocol).reader(&recording.request);
        let whole = read(&mut *reader, [body]);
        for cut in 0..=body.len() {
            assert_eq!(read(&mut *reader, [&body[..cut], &body[cut..]]), whole, "{} cut at {cut}", recording.name);
        }
        assert_eq!(read(&mut *reader, body.chunks(1)), whole, "{} byte by byte", recording.name);
        cases += body.len() as u32 + 3;
        row(&mut table, &recording.name, &whole);
    }
    println!("{cases} ways to cut {} recordings", table.lines().count());
    insta::assert_snapshot!(table);
}

fn row(table: &mut String, name: &str, (progress, answer): &(Result<Progress, Kind>, Answer)) {
    let number = |count: Option<u32>| count.map_or("-".to_owned(), |count| count.to_string());
    let kind = answer.kind.map_or("completed".to_owned(), |kind| kind.to_string());
    let told = progress.map_or("-".to_owned(), |progress| number(progress.tokens));
    let line = format!(
        "{name:<43} {kind:<11} in {:<3} out {:<4} by {:<6} events {:<3} told {told:<3} first {:<3} cached {:<2} {}{}",
        number(answer.input_tokens),
        number(answer.output_tokens),
        answer.source.map_or("-".to_owned(), |source| format!("{source:?}").to_ascii_lowercase()),
        answer.events,
        number(answer.first_chunk_tokens),
        number(answer.cached_tokens),
        if answer.stopped_early { "stopped early" } else { "" },
        answer.message.as_deref().unwrap_or_default(),
    );
    writeln!(table, "{}", line.trim_end()).unwrap();
}

#[test]
fn every_recorded_refusal_has_its_kind_and_its_sentence() {
    let mut table = String::new();
    for recording in recordings().iter().filter(|recording| recording.status != 200) {
        let (kind, message) = protocol(recording.protocol).refusal(recording.status, &recording.body);
        writeln!(table, "{:<43} {kind:<14} {}", recording.name, message.as_deref().unwrap_or("-"), kind = kind.to_string())
            .unwrap();
    }
    insta::assert_snapshot!(table);
}

#[test]
fn a_refusal_whose_body_was_cut_still_says_what_there_is() {
    for recording in recordings().iter().filter(|recording| recording.status != 200) {
        for cut in 0..recording.body.len() {
            let (kind, message) = protocol(recording.protocol).refusal(recording.status, &recording.body[..cut]);
            assert!(matches!(kind, Kind::Http(_) | Kind::ContextLength), "{} cut at {cut}: {kind}", recording.name);
            assert_eq!(message.is_none(), cut == 0, "{} cut at {cut}", recording.name);
        }
    }
}
