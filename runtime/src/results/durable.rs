//! Files that are either whole or plainly not: written as `NAME.partial`, then renamed and synced.

use std::{
    ffi::OsString,
    fs::{self, File, OpenOptions},
    io::{self, BufWriter, Write},
    os::unix::fs::{OpenOptionsExt, symlink},
    path::{Path, PathBuf},
};

/// The end of a file's name until it is whole.
pub(crate) const PARTIAL: &str = ".partial";

/// Everybody may read it.
const READABLE: u32 = 0o644;
/// Nobody else may.
const PRIVATE: u32 = 0o600;

/// Writes a whole file; whoever sees its name sees all of it, even after a power cut.
pub(crate) fn write_whole(path: &Path, bytes: &[u8]) -> io::Result<()> {
    write_with(path, |file| file.write_all(bytes))
}

/// The same for what may hold secrets: its owner alone may read it.
pub(crate) fn write_private(path: &Path, bytes: &[u8]) -> io::Result<()> {
    write_as(path, PRIVATE, |file| file.write_all(bytes))
}

/// The same for content that is too large to hold.
pub(crate) fn write_with(path: &Path, fill: impl FnOnce(&mut BufWriter<File>) -> io::Result<()>) -> io::Result<()> {
    write_as(path, READABLE, fill)
}

fn write_as(path: &Path, mode: u32, fill: impl FnOnce(&mut BufWriter<File>) -> io::Result<()>) -> io::Result<()> {
    let partial = partial_of(path);
    let mut file = BufWriter::new(create(&partial, mode)?);
    fill(&mut file)?;
    let file = file.into_inner().map_err(io::IntoInnerError::into_error)?;
    file.sync_all()?;
    publish(&partial, path)
}

/// Gives a finished file its final name, durably.
pub(crate) fn publish(partial: &Path, path: &Path) -> io::Result<()> {
    fs::rename(partial, path)?;
    sync_folder(path.parent().unwrap_or(Path::new(".")))
}

/// Makes names in a folder durable.
pub(crate) fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

/// The name that a file has until it is whole.
pub(crate) fn partial_of(path: &Path) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(PARTIAL);
    PathBuf::from(name)
}

/// A new or emptied file that nobody else may write.
fn create(path: &Path, mode: u32) -> io::Result<File> {
    OpenOptions::new().write(true).create(true).truncate(true).mode(mode).open(path)
}

/// Lets `link` point to `target`, at no time to nothing.
pub(crate) fn point(link: &Path, target: &Path) -> io::Result<()> {
    let mut fresh = OsString::from(link);
    fresh.push(format!(".{}.partial", std::process::id()));
    let fresh = PathBuf::from(fresh);
    match fs::remove_file(&fresh) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => symlink(target, &fresh)?,
    }
    fs::rename(&fresh, link)
}

/// A file that grows while the run goes on: every line is with the kernel when `line` returns, so the
/// death of this process loses none of them.
#[derive(Debug)]
pub(crate) struct Growing {
    path: PathBuf,
    file: File,
    /// Whether it has its final name only at the end.
    is_partial: bool,
    /// Bytes that were written whole.
    length: u64,
}

impl Growing {
    /// Begins `path` under its partial name.
    pub(crate) fn begin(path: &Path) -> io::Result<Self> {
        Ok(Self { path: path.to_owned(), file: create(&partial_of(path), READABLE)?, is_partial: true, length: 0 })
    }

    /// Begins `path` under its own name, for a file that is followed while it grows and whole at every line.
    pub(crate) fn begin_followed(path: &Path) -> io::Result<Self> {
        Ok(Self { path: path.to_owned(), file: create(path, READABLE)?, is_partial: false, length: 0 })
    }

    /// Takes up a file that an earlier process began, cut after its last whole line; begins it where there is none.
    pub(crate) fn resume(path: &Path) -> io::Result<Self> {
        let partial = partial_of(path);
        if !partial.exists() && path.exists() {
            fs::rename(path, &partial)?;
        }
        let (file, length) = taken_up(&partial)?;
        Ok(Self { path: path.to_owned(), file, is_partial: true, length })
    }

    /// The same for a file that is followed while it grows.
    pub(crate) fn resume_followed(path: &Path) -> io::Result<Self> {
        let (file, length) = taken_up(path)?;
        Ok(Self { path: path.to_owned(), file, is_partial: false, length })
    }

    /// Appends. What a failed write left behind is cut off again, so that the next one starts clean.
    pub(crate) fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        if let Err(error) = self.file.write_all(bytes) {
            self.file.set_len(self.length)?;
            io::Seek::seek(&mut self.file, io::SeekFrom::Start(self.length))?;
            return Err(error);
        }
        self.length += bytes.len() as u64;
        Ok(())
    }

    /// Bytes in it so far.
    pub(crate) fn length(&self) -> u64 {
        self.length
    }

    /// The name it will have.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Syncs it and gives it its final name.
    pub(crate) fn finish(self) -> io::Result<()> {
        self.file.sync_all()?;
        if self.is_partial { publish(&partial_of(&self.path), &self.path) } else { Ok(()) }
    }
}

/// Opens a file of lines at its end, without a last line that was cut off.
fn taken_up(path: &Path) -> io::Result<(File, u64)> {
    let mut file = OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(READABLE).open(path)?;
    let mut bytes = Vec::new();
    io::Read::read_to_end(&mut file, &mut bytes)?;
    let whole = whole_lines(&bytes) as u64;
    file.set_len(whole)?;
    io::Seek::seek(&mut file, io::SeekFrom::Start(whole))?;
    Ok((file, whole))
}

/// How many bytes are whole lines.
pub(crate) fn whole_lines(bytes: &[u8]) -> usize {
    bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_could_not_be_filled_never_gets_its_name() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("report.json");
        write_with(&path, |_| Err(io::Error::other("no"))).unwrap_err();
        assert!(!path.exists() && partial_of(&path).exists());
        write_whole(&path, b"{}").unwrap();
        assert_eq!((fs::read(&path).unwrap(), partial_of(&path).exists()), (b"{}".to_vec(), false));
    }

    #[test]
    fn a_link_is_moved_on_to_the_newest() {
        let folder = tempfile::tempdir().unwrap();
        let link = folder.path().join("latest");
        for target in ["one", "two"] {
            point(&link, Path::new(target)).unwrap();
            assert_eq!(fs::read_link(&link).unwrap(), Path::new(target));
        }
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_growing_file_shows_each_line_at_once() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("events.jsonl");
        let mut growing = Growing::begin(&path).unwrap();
        growing.append(b"one\n").unwrap();
        assert_eq!(fs::read(partial_of(&path)).unwrap(), b"one\n");
        growing.finish().unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"one\n");
    }

    #[test]
    fn a_file_that_is_taken_up_goes_on_after_its_last_whole_line() {
        let folder = tempfile::tempdir().unwrap();
        for (name, ends) in [("killed.csv.partial", "killed.csv"), ("ended.csv", "ended.csv"), ("none.csv.none", "none.csv")] {
            fs::write(folder.path().join(name), "one\ntw").unwrap();
            let path = folder.path().join(ends);
            let mut growing = Growing::resume(&path).unwrap();
            assert_eq!(growing.length() > 0, name != "none.csv.none");
            growing.append(b"three\n").unwrap();
            growing.finish().unwrap();
            let text = fs::read_to_string(&path).unwrap();
            assert_eq!(text, if name == "none.csv.none" { "three\n" } else { "one\nthree\n" });
            assert!(!partial_of(&path).exists());
        }
    }
}
