//! Which format a file has: as its recipe names it, or as its beginning shows.

use std::{
    io::{self, BufReader, Read as _, Seek as _, SeekFrom},
    path::Path,
};

use serde_json::{Map, Value};

use super::{
    pieces::{Cut, LONGEST, Pieces, too_long},
    plain, record,
    shapes::{Shape, utf8},
};

/// The names that a recipe may write.
const NAMES: &str = "text, jsonl, sharegpt, openai_batch, csv, csv:COLUMN, mooncake, burstgpt, azure";
/// Columns that hold prompts, and those that hold lengths of answers, in the order of preference.
const PROMPT_COLUMNS: [&str; 2] = ["prompt", "text"];
const OUTPUT_COLUMNS: [&str; 1] = ["output_tokens"];
/// The mark that some programs put before UTF-8.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// A file's format, and where its entries begin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Format {
    pub shape: Shape,
    pub cut: Cut,
    /// Bytes and lines before the first entry.
    pub start: (u64, u64),
}

/// Why the format cannot be told.
pub(super) enum Unknown {
    Io(io::Error),
    Why(String),
}

impl From<io::Error> for Unknown {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// The format of this file.
pub(super) fn of(file: &std::fs::File, path: &Path, named: Option<&str>) -> Result<Format, Unknown> {
    let Beginning { line, at, first } = beginning(file, path)?;
    let is_array = first == Some(b'[');
    let start = (at, line.1);
    let json = |shape: Shape| Format {
        shape,
        cut: if is_array { Cut::Elements } else { Cut::Lines },
        // The array's own bracket is no part of its first element.
        start: if is_array { (start.0 + 1, start.1) } else { start },
    };
    match named {
        None => {}
        Some("text" | "txt") => return Ok(Format { shape: Shape::Text, cut: Cut::Lines, start: line }),
        Some("jsonl") => return Ok(json(Shape::Jsonl)),
        Some("sharegpt") => return Ok(json(Shape::ShareGpt)),
        Some("openai_batch") => return Ok(json(Shape::OpenaiBatch)),
        Some("mooncake") => return Ok(json(Shape::Mooncake)),
        Some(name) => {
            let (header, format) = table(file, start)?;
            let shape = match name {
                "burstgpt" => burstgpt(&header).ok_or("`Timestamp`, `Request tokens` and `Response tokens`"),
                "azure" => azure(&header).ok_or("`TIMESTAMP`, `ContextTokens` and `GeneratedTokens`"),
                "csv" => csv(&header, None).ok_or("`prompt` or `text`, nor is one named by `format: csv:COLUMN`"),
                other => match other.strip_prefix("csv:") {
                    Some(column) => csv(&header, Some(column)).ok_or("the one that is named"),
                    None => return Err(Unknown::Why(format!("no format is called `{other}`; known are {NAMES}"))),
                },
            };
            let shape = shape.map_err(|columns| {
                Unknown::Why(format!("its header `{}` has not the columns of `{name}`: {columns}", header.join(",")))
            })?;
            return Ok(Format { shape, ..format });
        }
    }
    match first {
        None => Err(Unknown::Why("it is empty".into())),
        Some(0) => Err(Unknown::Why("it is no text".into())),
        Some(b'[' | b'{') => {
            let format = json(Shape::Jsonl);
            let shape = json_shape(&first_object(file, &format)?).ok_or_else(|| {
                let tried = "tried were mooncake (timestamp, output_length), openai_batch (body, custom_id), \
                             sharegpt (conversations) and jsonl (prompt, text, messages)";
                Unknown::Why(format!("its first entry has the keys of no format; {tried}; name one of {NAMES}"))
            })?;
            Ok(Format { shape, ..format })
        }
        Some(_) => {
            let is_csv = path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("csv"));
            let text = Format { shape: Shape::Text, cut: Cut::Lines, start: line };
            let (header, format) = match table(file, start) {
                Ok(table) => table,
                Err(Unknown::Why(_)) if !is_csv => return Ok(text),
                Err(error) => return Err(error),
            };
            let found = burstgpt(&header).or_else(|| azure(&header));
            let found = found.or_else(|| (is_csv || header.len() > 1).then(|| csv(&header, None)).flatten());
            match found {
                Some(shape) => Ok(Format { shape, ..format }),
                None if is_csv => Err(Unknown::Why(format!(
                    "its header `{}` has the columns of no format; tried were burstgpt, azure and a column `prompt` or \
                     `text`; name the column by `format: csv:COLUMN`",
                    header.join(",")
                ))),
                None => Ok(text),
            }
        }
    }
}

/// Where the text of a file begins.
struct Beginning {
    /// Bytes and lines before the first line that is not blank.
    line: (u64, u64),
    /// Bytes before its first byte that is no white space.
    at: u64,
    /// That byte.
    first: Option<u8>,
}

fn beginning(mut file: &std::fs::File, path: &Path) -> Result<Beginning, Unknown> {
    file.seek(SeekFrom::Start(0))?;
    let mut head = Vec::new();
    file.take(plain::HEAD).read_to_end(&mut head)?;
    let start = if head.starts_with(BYTE_ORDER_MARK) { BYTE_ORDER_MARK.len() as u64 } else { 0 };
    let why_not = plain::why_not(&head, path).map_or_else(|| plain::why_no_lines(file, start, path), |why| Ok(Some(why)));
    if let Some(why) = why_not? {
        return Err(Unknown::Why(why));
    }
    file.seek(SeekFrom::Start(start))?;
    let mut bytes = BufReader::new(file).bytes();
    let (mut at, mut lines) = (start, 0);
    // A line's own indentation is a part of it.
    let mut line = start;
    while let Some(byte) = bytes.next().transpose()? {
        if !byte.is_ascii_whitespace() {
            return Ok(Beginning { line: (line, lines), at, first: Some(byte) });
        }
        at += 1;
        if byte == b'\n' {
            lines += 1;
            line = at;
        }
    }
    Ok(Beginning { line: (at, lines), at, first: None })
}

/// The first line's fields, and the format of what follows it.
fn table(mut file: &std::fs::File, start: (u64, u64)) -> Result<(Vec<String>, Format), Unknown> {
    file.seek(SeekFrom::Start(start.0))?;
    let mut pieces = Pieces::new(BufReader::new(file), Cut::Records, start.0, start.1);
    let mut piece = Vec::new();
    let Some(place) = pieces.next(&mut piece)? else { return Err(Unknown::Why("it is empty".into())) };
    let fields = if place.length > LONGEST { Err(too_long(place.length)) } else { utf8(&piece).and_then(record::fields) };
    let fields = fields.map_err(|why| Unknown::Why(format!("its header cannot be read: {why}")))?;
    let lines = 1 + memchr::memchr_iter(b'\n', &piece).count() as u64;
    let format = Format {
        shape: Shape::Text,
        cut: Cut::Records,
        start: (start.0 + place.length as u64 + u64::from(place.is_closed), start.1 + lines),
    };
    Ok((fields.iter().map(|field| field.trim().to_owned()).collect(), format))
}

fn column(header: &[String], name: &str) -> Option<usize> {
    header.iter().position(|column| column.eq_ignore_ascii_case(name))
}

fn burstgpt(header: &[String]) -> Option<Shape> {
    let of = |name| column(header, name);
    Some(Shape::BurstGpt { stamp: of("Timestamp")?, input: of("Request tokens")?, output: of("Response tokens")? })
}

fn azure(header: &[String]) -> Option<Shape> {
    let of = |name| column(header, name);
    Some(Shape::Azure { stamp: of("TIMESTAMP")?, input: of("ContextTokens")?, output: of("GeneratedTokens")? })
}

fn csv(header: &[String], named: Option<&str>) -> Option<Shape> {
    let prompt = match named {
        Some(name) => column(header, name)?,
        None => PROMPT_COLUMNS.iter().find_map(|name| column(header, name))?,
    };
    Some(Shape::Csv { prompt, output: OUTPUT_COLUMNS.iter().find_map(|name| column(header, name)) })
}

fn first_object(mut file: &std::fs::File, format: &Format) -> Result<Map<String, Value>, Unknown> {
    file.seek(SeekFrom::Start(format.start.0))?;
    let mut pieces = Pieces::new(BufReader::new(file), format.cut, format.start.0, format.start.1);
    let mut piece = Vec::new();
    let length = pieces.next(&mut piece)?.map_or(0, |place| place.length);
    let text = if length > LONGEST { Err(too_long(length)) } else { utf8(&piece) };
    let text = text.map_err(|why| {
        Unknown::Why(format!("its first entry cannot be read: {why}; name the format, and `on_bad_line: skip` leaves it out"))
    })?;
    serde_json::from_str(text).map_err(|error| {
        Unknown::Why(format!(
            "it begins like JSON, and its first entry is no object: {error}; if it is text, write `format: text`"
        ))
    })
}

fn json_shape(object: &Map<String, Value>) -> Option<Shape> {
    let has = |key: &str| object.contains_key(key);
    if has("timestamp") && has("output_length") {
        Some(Shape::Mooncake)
    } else if has("body") || has("custom_id") || (has("messages") && (has("model") || has("max_tokens"))) {
        Some(Shape::OpenaiBatch)
    } else if has("conversations") || has("conversation") {
        Some(Shape::ShareGpt)
    } else if has("prompt") || has("text") || has("messages") {
        Some(Shape::Jsonl)
    } else {
        None
    }
}
