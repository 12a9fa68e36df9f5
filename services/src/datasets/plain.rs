//! Whether a file is plain text at all: what is packed, what is a table in a format of its own, and what has another
//! encoding or other line ends is named by its first bytes, with the command that makes text of it.

use std::{
    io::{self, BufRead as _, BufReader, Read as _, Seek as _, SeekFrom},
    path::Path,
};

use hb_core::launch::shell;

use super::pieces::LONGEST;

/// First bytes, what they are of, and the command that unpacks it up to the file's name.
const PACKED: [(&[u8], &str, &str); 4] = [
    (b"\x1f\x8b", "packed by gzip", "gzip -dc"),
    (b"\x28\xb5\x2f\xfd", "packed by zstd", "zstd -dc"),
    (b"\xfd7zXZ\0", "packed by xz", "xz -dc"),
    (b"BZh", "packed by bzip2", "bzip2 -dc"),
];
/// What follows bzip2's level, which is one digit: the first block, or the end of an empty file.
const BZIP2_BLOCKS: [&[u8]; 2] = [b"1AY&SY", b"\x17rE8P\x90"];
/// First bytes of encodings. UTF-32 begins with those of UTF-16.
const ENCODINGS: [(&[u8], &str); 4] =
    [(b"\xff\xfe\0\0", "UTF-32"), (b"\0\0\xfe\xff", "UTF-32"), (b"\xff\xfe", "UTF-16"), (b"\xfe\xff", "UTF-16")];

/// Why a file that begins with these bytes is no plain text, and what to do; `None` where they may be text.
pub(super) fn why_not(head: &[u8], path: &Path) -> Option<String> {
    let file = shell(&path.to_string_lossy()).into_owned();
    let packed = |(mark, _, _): &&(&[u8], &str, &str)| head.starts_with(mark) && (*mark != b"BZh" || is_bzip2(head));
    if let Some((_, what, command)) = PACKED.iter().find(packed) {
        let unpacked = shell(&unpacked(path)).into_owned();
        return Some(format!("it is {what}; unpack it first: `{command} {file} > {unpacked}`"));
    }
    if [&b"PK\x03\x04"[..], b"PK\x05\x06"].iter().any(|mark| head.starts_with(mark)) {
        return Some(format!("it is a zip archive; unpack it first: `unzip {file}`"));
    }
    // A text may begin with these four letters; a Parquet file goes on with a byte that no text has.
    if head.starts_with(b"PAR1") && !head.get(4).is_some_and(|byte| byte.is_ascii_graphic() || byte.is_ascii_whitespace()) {
        let copy = format!("COPY (FROM read_parquet('{}')) TO 'prompts.jsonl'", path.to_string_lossy().replace('\'', "''"));
        // Without a name that needs quotes itself it is read more easily so.
        let copy = if file.starts_with('\'') { shell(&copy).into_owned() } else { format!("\"{copy}\"") };
        return Some(format!("it is a Parquet file; make lines of JSON of it first: `duckdb -c {copy}`"));
    }
    let (_, encoding) = ENCODINGS.iter().find(|(mark, _)| head.starts_with(mark))?;
    let text = shell(&format!("{}.utf8", path.to_string_lossy())).into_owned();
    Some(format!("it is {encoding}, and UTF-8 is read; write it anew: `iconv -f {encoding} -t UTF-8 {file} > {text}`"))
}

/// How many of a file's first bytes tell what it is.
pub(super) const HEAD: u64 = 16;

fn is_bzip2(head: &[u8]) -> bool {
    head.get(3).is_some_and(u8::is_ascii_digit) && BZIP2_BLOCKS.iter().any(|block| head[4..].starts_with(block))
}

/// The name without the ending that says how it is packed.
fn unpacked(path: &Path) -> String {
    let endings = ["gz", "zst", "zstd", "xz", "bz2"];
    let has_one = path.extension().is_some_and(|own| endings.iter().any(|ending| own.eq_ignore_ascii_case(ending)));
    if has_one { path.with_extension("").to_string_lossy().into_owned() } else { format!("{}.unpacked", path.display()) }
}

/// The advice for a file whose lines end in carriage returns alone, from `start` on; one line feed shows that they do not.
pub(super) fn why_no_lines(mut file: &std::fs::File, start: u64, path: &Path) -> io::Result<Option<String>> {
    file.seek(SeekFrom::Start(start))?;
    let mut input = BufReader::new(file.take(LONGEST as u64));
    // A return at the file's very end ends its only line.
    let (mut has_return, mut is_at_return) = (false, false);
    loop {
        let chunk = input.fill_buf()?;
        if chunk.is_empty() {
            break;
        }
        if memchr::memchr(b'\n', chunk).is_some() {
            return Ok(None);
        }
        has_return |= is_at_return || memchr::memchr(b'\r', &chunk[..chunk.len() - 1]).is_some();
        is_at_return = chunk.ends_with(b"\r");
        let all = chunk.len();
        input.consume(all);
    }
    if !has_return {
        return Ok(None);
    }
    let (file, lines) = (path.to_string_lossy(), format!("{}.lines", path.display()));
    Ok(Some(format!(
        "its lines end in carriage returns alone, which end no line here; make lines of it first: `tr '\\r' '\\n' < {} > {}`",
        shell(&file),
        shell(&lines)
    )))
}
