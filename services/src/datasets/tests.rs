//! Whole files.

use std::io::Write as _;

use proptest::prelude::*;

use super::{shapes::Shape, *};

/// A file of this name and text; the folder goes with the guard.
fn spec(name: &str, text: &[u8]) -> (tempfile::TempDir, DatasetSpec) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(name);
    File::create(&path).unwrap().write_all(text).unwrap();
    (folder, DatasetSpec { path, format: None, skip: 0, limit: None, on_bad_line: BadLine::Fail })
}

fn open(name: &str, text: &str) -> Dataset {
    let (_folder, spec) = spec(name, text.as_bytes());
    Dataset::open(&spec).unwrap()
}

fn refused(name: &str, text: &str) -> String {
    let (_folder, spec) = spec(name, text.as_bytes());
    Dataset::open(&spec).unwrap_err().to_string()
}

fn texts(dataset: &Dataset) -> Vec<String> {
    let text = |index| match dataset.entry(index).unwrap().content {
        Content::Text(text) => text,
        other => panic!("{other:?} is no text"),
    };
    (0..dataset.len()).map(text).collect()
}

const BURST: &str = "Timestamp,Model,Request tokens,Response tokens,Total tokens,Log Type\n\
                     5,ChatGPT,472,18,490,Conversation log\n\
                     45,ChatGPT,1087,0,1087,Conversation log\n\
                     118,GPT-4,417,276,693,Conversation log\n";

#[test]
fn a_file_s_beginning_tells_its_format() {
    let share = r#"{"conversations": [{"from": "human", "value": "Why?"}, {"from": "gpt", "value": "So."}]}"#;
    let cases = [
        ("a.txt", "Why?\n".to_owned(), Shape::Text),
        ("a", "Why, then?\nNo, [really]\n".to_owned(), Shape::Text),
        ("a.jsonl", "\u{feff}\n{\"prompt\": \"Why?\"}\n".to_owned(), Shape::Jsonl),
        ("a.json", format!("\n[\n {share},\n {share}\n]\n"), Shape::ShareGpt),
        ("a.jsonl", share.to_owned(), Shape::ShareGpt),
        ("a", r#"{"custom_id": "1", "body": {"prompt": "Why?"}}"#.to_owned(), Shape::OpenaiBatch),
        ("a", r#"{"timestamp": 0, "input_length": 5, "output_length": 5, "hash_ids": [1]}"#.to_owned(), Shape::Mooncake),
        ("a", BURST.to_owned(), Shape::BurstGpt { stamp: 0, input: 2, output: 3 }),
        (
            "a",
            "Session ID,Timestamp,Elapsed time,Model,Request tokens,Response tokens\n1,5,2,m,3,4\n".to_owned(),
            Shape::BurstGpt { stamp: 1, input: 4, output: 5 },
        ),
        (
            "a",
            "TIMESTAMP,ContextTokens,GeneratedTokens\n2023-11-16 18:15:46.6805900,374,44\n".to_owned(),
            Shape::Azure { stamp: 0, input: 1, output: 2 },
        ),
        ("a.csv", "id,prompt,output_tokens\n1,Why?,3\n".to_owned(), Shape::Csv { prompt: 1, output: Some(2) }),
    ];
    for (name, text, shape) in cases {
        assert_eq!(open(name, &text).format.shape, shape, "{text}");
    }
}

#[test]
fn what_is_no_format_says_what_was_tried() {
    assert!(refused("a.csv", "id,question\n1,Why?\n").contains("csv:COLUMN"));
    assert!(refused("a.json", "{\"question\": \"Why?\"}\n").contains("sharegpt (conversations)"));
    assert!(refused("a.txt", "[INST] Why?\n").contains("`format: text`"));
    assert!(refused("a", "").contains("it is empty"));
    let (_folder, mut named) = spec("a.txt", b"x,y\n1,2\n");
    named.format = Some("burst".into());
    assert!(Dataset::open(&named).unwrap_err().to_string().contains("no format is called `burst`; known are text"));
    named.format = Some("csv:z".into());
    assert!(Dataset::open(&named).unwrap_err().to_string().contains("its header `x,y` has not"));
    named.format = Some("csv:y".into());
    assert_eq!(texts(&Dataset::open(&named).unwrap()), ["2"]);
    named.path = "/nowhere/at/all".into();
    let missing = Dataset::open(&named).unwrap_err().to_string();
    assert!(missing.contains("`/nowhere/at/all`") && missing.contains("No such file"), "{missing}");
}

#[test]
fn entries_lie_where_they_were_found_and_come_round_again() {
    let dataset = open("a.txt", "one\r\n\ntwo\nthree");
    assert_eq!(texts(&dataset), ["one", "two", "three"]);
    assert_eq!(dataset.entry(7).unwrap(), dataset.entry(1).unwrap());
    let quoted = open("a.csv", "prompt,output_tokens\n\"a\nb\",1\n\"c \"\"d\"\"\",2\n");
    assert_eq!(texts(&quoted), ["a\nb", "c \"d\""]);
    let turn =
        |text: &str| format!(r#"{{"conversations": [{{"from": "human", "value": "{text}"}}, {{"from": "gpt", "value": "x"}}]}}"#);
    let array = open("a.json", &format!("[{},\n{}, {}]", turn("a ] } ,"), turn("b\\\"["), turn("c")));
    assert_eq!(texts(&array), ["a ] } ,", "b\"[", "c"]);
}

#[test]
fn the_first_prompt_is_whole() {
    // The first byte of full-width punctuation is that of the byte-order mark.
    assert_eq!(texts(&open("a.txt", "\u{ff08}one\u{ff09}\ntwo\n")), ["\u{ff08}one\u{ff09}", "two"]);
    assert_eq!(texts(&open("a.txt", "\u{feff}one\n")), ["one"]);
    assert_eq!(texts(&open("a.py", "\n  \n    indented:\n        more\n")), ["    indented:", "        more"]);
}

#[test]
fn skip_and_limit_count_entries() {
    let (_folder, mut spec) = spec("a.txt", b"0\n\n1\n2\n3\n4\n");
    (spec.skip, spec.limit) = (1, Some(2));
    assert_eq!(texts(&Dataset::open(&spec).unwrap()), ["1", "2"]);
    spec.skip = 9;
    let empty = Dataset::open(&spec).unwrap_err().to_string();
    assert!(empty.contains("5 skipped, 0 bad lines"), "{empty}");
}

#[test]
fn a_bad_line_is_named_or_counted() {
    let text = b"{\"prompt\": \"a\"}\n\n{\"prompt\": \n{\"prompt\": \"b\"}\n{\"prompt\": \"\xff\"}\n";
    let (_folder, mut spec) = spec("a.jsonl", text);
    let why = Dataset::open(&spec).unwrap_err().to_string();
    assert!(why.contains("line 3") && why.contains("no JSON object"), "{why}");
    spec.on_bad_line = BadLine::Skip;
    let dataset = Dataset::open(&spec).unwrap();
    assert_eq!((texts(&dataset), dataset.bad_lines()), (vec!["a".to_owned(), "b".to_owned()], 2));
}

#[test]
fn a_file_that_ends_in_an_entry_is_bad() {
    let whole = r#"{"conversations": [{"from": "human", "value": "a"}, {"from": "gpt", "value": "x"}]}"#;
    let why = refused("a.json", &format!("[{whole},\n{}", &whole[..40]));
    assert!(why.contains("line 2") && why.contains("ends within it"), "{why}");
    for cut in [format!("[{whole},\n"), format!("[{whole}"), format!("[{whole}, ")] {
        let why = refused("a.json", &cut);
        assert!(why.contains("the file ends"), "{cut}: {why}");
    }
    let why = refused("a.csv", "prompt,id\na,1\n\"b,2\nc,3\n");
    assert!(why.contains("line 3") && why.contains("ends within it"), "{why}");
}

#[test]
fn a_trace_has_instants_and_never_goes_back() {
    let trace = |name, text: &str| {
        let (_folder, spec) = spec(name, text.as_bytes());
        Dataset::trace(&spec)
    };
    let (dataset, stamps) = trace("a.csv", BURST).unwrap();
    assert_eq!(stamps, [Nanos(5_000_000_000), Nanos(118_000_000_000)], "a failed call is left out");
    assert_eq!((dataset.len(), dataset.failed_calls(), dataset.bad_lines()), (2, 1, 0));
    let back = format!("{BURST}117,GPT-4,4,2,6,API log\n");
    let why = trace("a.csv", &back).unwrap_err().to_string();
    assert!(why.contains("line 5") && why.contains("by 1 s"), "{why}");
    assert_eq!(open("a.csv", &back).len(), 3, "where nothing is replayed, order is of no matter");
    assert!(trace("a.txt", "Why?\n").unwrap_err().to_string().contains("no time stamps"));
}

#[test]
fn a_changed_file_is_an_error_and_no_other_prompt() {
    let (_folder, spec) = spec("a.txt", b"one\ntwo\n");
    let dataset = Dataset::open(&spec).unwrap();
    File::create(&spec.path).unwrap();
    assert!(dataset.entry(1).unwrap_err().to_string().contains("changed while it was in use"));
}

#[test]
fn a_packed_file_and_a_table_are_named_with_the_command_that_unpacks_them() {
    for (bytes, named, command) in [
        (&b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03"[..], "packed by gzip", "gzip -dc "),
        (b"\x28\xb5\x2f\xfd\x04\x58", "packed by zstd", "zstd -dc "),
        (b"\xfd7zXZ\x00\x00\x04", "packed by xz", "xz -dc "),
        (b"BZh91AY&SY\x00", "packed by bzip2", "bzip2 -dc "),
        (b"PK\x03\x04\x14\x00", "a zip archive", "unzip "),
        (b"PAR1\x15\x00\x15\x10", "a Parquet file", "COPY (FROM read_parquet("),
    ] {
        for format in [None, Some("jsonl"), Some("text"), Some("csv")] {
            let (_folder, mut spec) = spec("it's.jsonl", bytes);
            spec.format = format.map(str::to_owned);
            let why = Dataset::open(&spec).unwrap_err().to_string();
            assert!(why.contains(named) && why.contains(command), "{format:?}: {why}");
        }
    }
    assert_eq!(texts(&open("a.txt", "PAR1 is how a Parquet file begins\n")), ["PAR1 is how a Parquet file begins"]);
    assert_eq!(texts(&open("a.txt", "PK is a key\nBZh is none\n")), ["PK is a key", "BZh is none"]);
}

#[test]
fn the_command_is_one_that_a_shell_can_run() {
    let (folder, spec) = spec("it's packed.jsonl.gz", b"");
    let mut gzip = std::process::Command::new("gzip")
        .arg("-c")
        .stdin(std::process::Stdio::piped())
        .stdout(File::create(&spec.path).unwrap())
        .spawn()
        .unwrap();
    gzip.stdin.take().unwrap().write_all(b"{\"prompt\": \"Why?\"}\n").unwrap();
    assert!(gzip.wait().unwrap().success());
    let why = Dataset::open(&spec).unwrap_err().to_string();
    let command = why.split('`').nth_back(1).unwrap();
    assert!(std::process::Command::new("sh").args(["-c", command]).status().unwrap().success(), "{command}");
    let unpacked = DatasetSpec { path: folder.path().join("it's packed.jsonl"), ..spec };
    assert_eq!(texts(&Dataset::open(&unpacked).unwrap()), ["Why?"]);
}

#[test]
fn another_encoding_than_utf_8_is_named() {
    for (bytes, encoding) in
        [(&b"\xff\xfeW\0h\0y\0\n\0"[..], "UTF-16"), (b"\xfe\xff\0W\0h\0y\0\n", "UTF-16"), (b"\xff\xfe\0\0W\0\0\0", "UTF-32")]
    {
        for format in [None, Some("text")] {
            let (_folder, mut spec) = spec("a.txt", bytes);
            spec.format = format.map(str::to_owned);
            let why = Dataset::open(&spec).unwrap_err().to_string();
            assert!(
                why.contains(&format!("it is {encoding}")) && why.contains(&format!("iconv -f {encoding} -t UTF-8 ")),
                "{why}"
            );
        }
    }
    let why = refused("a.txt", "W\0h\0y\0\n\0");
    assert!(why.contains("line 1 ") && why.contains("byte 2 is NUL"), "{why}");
}

#[test]
fn bytes_that_are_no_utf_8_make_a_line_bad_wherever_they_stand() {
    for (name, text, line, byte) in [
        ("a.txt", &b"one\ntw\xe9\nthree\n"[..], 2, 3),
        ("a.txt", b"\xefne\ntwo\n", 1, 1),
        ("a.csv", b"prompt,id\none,1\nt\xc3,2\nthree,3\n", 3, 2),
        ("a.csv", b"id,prompt\n1,one\n2,\"t\xffo\"\n3,three\n", 3, 5),
        ("a.jsonl", b"{\"prompt\": \"one\"}\n{\"prompt\": \"tw\x80\"}\n", 2, 15),
    ] {
        let (_folder, mut spec) = spec(name, text);
        let why = Dataset::open(&spec).unwrap_err().to_string();
        assert!(why.contains(&format!("line {line} of")) && why.contains(&format!("byte {byte} is not UTF-8")), "{why}");
        spec.on_bad_line = BadLine::Skip;
        let dataset = Dataset::open(&spec).unwrap();
        assert_eq!(dataset.bad_lines(), 1);
        assert!(texts(&dataset).iter().all(|text| text.is_ascii()), "nothing is replaced");
    }
}

#[test]
fn a_first_entry_that_is_bad_leaves_the_format_to_be_named() {
    let (_folder, mut spec) = spec("a.jsonl", b"{\"prompt\": \"\xff\"}\n{\"prompt\": \"two\"}\n");
    let why = Dataset::open(&spec).unwrap_err().to_string();
    assert!(why.contains("its first entry cannot be read: byte 13 is not UTF-8") && why.contains("name the format"), "{why}");
    (spec.format, spec.on_bad_line) = (Some("jsonl".into()), BadLine::Skip);
    assert_eq!(texts(&Dataset::open(&spec).unwrap()), ["two"]);
}

#[test]
fn lines_that_end_in_a_return_alone_are_no_lines() {
    for (name, text) in [
        ("a.txt", "one\rtwo\rthree\r"),
        ("a.txt", "\r\rone\rtwo"),
        ("a.jsonl", "{\"prompt\": \"one\"}\r{\"prompt\": \"two\"}\r"),
        ("a.csv", "prompt,output_tokens\rone,1\rtwo,2\r"),
    ] {
        let why = refused(name, text);
        assert!(why.contains("carriage returns alone") && why.contains("tr '\\r' '\\n' < "), "{text:?}: {why}");
    }
    assert_eq!(texts(&open("a.txt", "one\r\ntwo\r\n\r\nthree\r")), ["one", "two", "three"]);
    // What a prompt holds is its own.
    assert_eq!(texts(&open("a.txt", "50 %\r100 %\none\n")), ["50 %\r100 %", "one"]);
    assert_eq!(texts(&open("a.txt", "one\n50 %\r100 %\n")), ["one", "50 %\r100 %"]);
}

#[test]
fn a_line_that_is_longer_than_any_prompt_is_bad_with_its_length() {
    let long = "x".repeat(LONGEST + 1);
    let whole = "x".repeat(LONGEST);
    for (name, text, line) in [
        ("a.txt", format!("one\n{long}\ntwo\n"), 2),
        ("a.txt", format!("{long}\none\ntwo\n"), 1),
        ("a.csv", format!("prompt,id\none,1\n\"{long}\",2\ntwo,3\n"), 3),
        ("a.jsonl", format!("{{\"prompt\": \"one\"}}\n{{\"prompt\": \"{long}\"}}\n{{\"prompt\": \"two\"}}\n"), 2),
        ("a.json", format!("[{{\"prompt\": \"one\"}},\n{{\"prompt\": \"{long}\"}},\n{{\"prompt\": \"two\"}}]"), 2),
    ] {
        let (_folder, mut spec) = spec(name, text.as_bytes());
        let why = Dataset::open(&spec).unwrap_err().to_string();
        let says = |part: &str| why.contains(part);
        assert!(says(&format!("line {line} of")) && says(" bytes, and an entry may have 16777216"), "{why}");
        spec.on_bad_line = BadLine::Skip;
        assert_eq!(texts(&Dataset::open(&spec).unwrap()), ["one", "two"]);
    }
    assert_eq!(texts(&open("a.txt", &format!("{whole}\n")))[0].len(), LONGEST);
    let why = refused("a.jsonl", &format!("{{\"prompt\": \"{long}\"}}\n"));
    assert!(why.contains("its first entry cannot be read: it has 16777231 bytes"), "{why}");
}

/// A kind of file: how it begins, what stands between two pieces, how it ends; entries around a text, and what is none.
struct Kind {
    format: &'static str,
    around: (&'static str, &'static str, &'static str),
    entries: &'static [&'static str],
    others: &'static [&'static str],
}

const SHAREGPT: [&str; 2] = [
    r#"{"conversations": [{"from": "human", "value": "TEXT"}, {"from": "gpt", "value": "x"}]}"#,
    "{\"conversations\":\n[{\"from\": \"user\", \"value\": \"] TEXT, \\\"}\"},\n {\"from\": \"gpt\", \"value\": \"x\"}]}\n",
];
const JSONL: [&str; 2] =
    [r#"{"prompt": "TEXT \\", "output_tokens": 3}"#, r#"{"messages": [{"role": "user", "content": "TEXT"}]}"#];
const KINDS: [Kind; 10] = [
    Kind { format: "text", around: ("", "\n", ""), entries: &["TEXT", "  TEXT\r"], others: &["", " \t", "a\0b TEXT"] },
    Kind { format: "jsonl", around: ("", "\n", "\n"), entries: &JSONL, others: &["", "{\"TEXT\": ", "\"", "{}"] },
    Kind {
        format: "jsonl",
        around: ("\n[", ",", "]\n"),
        entries: &JSONL,
        others: &["\n", "7", "{\"x\": \"TEXT\"}", "\n\n[[1], {}]"],
    },
    Kind { format: "sharegpt", around: ("[", ",\n", "\n]"), entries: &SHAREGPT, others: &["{}", "{\"conversations\": []}"] },
    Kind { format: "sharegpt", around: ("", "\n", ""), entries: &[SHAREGPT[0]], others: &["", "]", "{\"conversations\": []}"] },
    Kind {
        format: "openai_batch",
        around: ("", "\n", "\n"),
        entries: &[r#"{"custom_id": "1", "body": {"prompt": "TEXT", "top_p": 0.5}}"#],
        others: &["", r#"{"custom_id": "1", "body": {"input": "TEXT"}}"#],
    },
    Kind {
        format: "csv",
        around: ("prompt,output_tokens\n", "\n", "\n"),
        entries: &["TEXT,3", "\"TEXT\n\"\"TEXT\"\"\n\",4\r", "\"\n\nTEXT\","],
        others: &["", ",3", "TEXT,x", "\"TEXT\n\"x,3"],
    },
    Kind {
        format: "mooncake",
        around: ("", "\n", "\n"),
        entries: &[r#"{"timestamp": 5, "text_input": "TEXT", "output_length": 5}"#],
        others: &["", r#"{"timestamp": 5, "text_input": "TEXT", "output_length": 0}"#, "{}"],
    },
    Kind {
        format: "burstgpt",
        around: ("Timestamp,Request tokens,Response tokens,Log\n", "\n", ""),
        entries: &["5,NUMBER,18,TEXT"],
        others: &["", "5,NUMBER,0,TEXT", "5,many,1,TEXT"],
    },
    Kind {
        format: "azure",
        around: ("TIMESTAMP,ContextTokens,GeneratedTokens\r\n", "\r\n", "\r\n"),
        entries: &["2023-11-16 18:15:46.6805900,NUMBER,44"],
        others: &["", "2023-11-16 18:15:46,0,44", "TEXT"],
    },
];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn an_entry_is_the_same_however_it_is_come_by(
        kind in 0..KINDS.len(),
        // Which form a piece has, how often one that is no entry is taken, and how long its text is: seldom beyond a block.
        pieces in proptest::collection::vec((0..12usize, prop_oneof![60 => 1..40usize, 5 => 1..6_000usize, 1 => 1..40_000usize]), 1..500),
        (others, skip, limit) in (0..12usize, 0..40u64, prop_oneof![Just(None), (1..300u64).prop_map(Some)]),
        numbers in proptest::collection::vec(0..1_000u64, 200),
        step in 1..100usize,
    ) {
        let Kind { format, around: (before, between, after), entries, others: none } = &KINDS[kind];
        let piece = |(number, (form, length)): (usize, &(usize, usize))| {
            let form = if *form < others { none[form % none.len()] } else { entries[form % entries.len()] };
            form.replace("TEXT", &format!("{number}{}", "x".repeat(*length))).replace("NUMBER", &(number + 1).to_string())
        };
        let first = (0, &(11, 1));
        let all: Vec<String> = std::iter::once(first).chain(pieces.iter().enumerate()).map(piece).collect();
        let (_folder, mut spec) = spec("a", format!("{before}{}{after}", all.join(between)).as_bytes());
        spec = DatasetSpec { format: Some((*format).into()), skip, limit, on_bad_line: BadLine::Skip, ..spec };
        let shape = Dataset::begin(&spec).unwrap().format.shape;
        let entry = |piece: &String| match shape.read(piece.as_bytes()) {
            Ok(Read::Entry(entry, _)) => Some(*entry),
            _ => None,
        };
        let limit = limit.map_or(usize::MAX, |limit| limit as usize);
        let expected: Vec<Entry> = all.iter().filter_map(entry).skip(skip as usize).take(limit).collect();
        let dataset = match Dataset::open(&spec) {
            Err(DatasetError::Empty { .. }) if expected.is_empty() => return Ok(()),
            opened => opened.unwrap(),
        };
        prop_assert_eq!(dataset.len(), expected.len() as u64);
        let ascending = (0..2 * dataset.len()).step_by(step);
        for number in numbers.into_iter().chain(ascending) {
            let entry = dataset.entry(number);
            prop_assert_eq!(entry.as_ref().ok(), expected.get((number % dataset.len()) as usize), "{:?}", entry);
        }
    }
}
