//! The file that says where the leader is, and proves that its reader belongs to the run.

use std::{
    fs,
    io::{Read, Write},
    os::unix::fs::{OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

/// The file's name in the state folder.
pub const FILE_NAME: &str = "join.json";

/// The folder beside the results that holds the state folders of runs.
pub const STATE_SHELF: &str = ".hbnode";

/// A file longer than this is not ours.
const MAX_BYTES: u64 = 64 * 1024;

/// All that a node needs to join. Secret: whoever reads it is in.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JoinFile {
    /// The leader's `host:port`.
    pub address: String,
    /// The cluster's cookie.
    pub cookie: String,
    /// The job's certificate authority.
    pub ca_certificate_pem: String,
    /// Its key, with which every process mints its own certificate.
    pub ca_key_pem: String,
    /// The bearer token of the HTTP endpoints; never the cookie.
    pub http_token: String,
    /// The run.
    pub run: String,
    /// The leader's build.
    pub build: String,
}

/// Secrets stay out of logs.
impl std::fmt::Debug for JoinFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("JoinFile")
            .field("address", &self.address)
            .field("run", &self.run)
            .field("build", &self.build)
            .finish_non_exhaustive()
    }
}

/// Why a join file cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum JoinFileError {
    /// There is none (yet).
    #[error("`{}` does not exist", .path.display())]
    Missing {
        /// Where it was looked for.
        path: PathBuf,
    },
    /// Others could have read or written it.
    #[error("`{}` has mode {mode:03o}, but a join file is secret: it must be 600", .path.display())]
    TooOpen {
        /// Where it lies.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// It is not a join file.
    #[error("{origin} is not a join file: {why}")]
    Garbage {
        /// What was read.
        origin: String,
        /// What is wrong with it.
        why: String,
    },
    /// The system refused.
    #[error("cannot {verb} `{}`: {why}", .path.display())]
    Io {
        /// What was tried.
        verb: &'static str,
        /// On which path.
        path: PathBuf,
        /// The system's words.
        why: String,
    },
}

impl JoinFile {
    /// Reads one from its place.
    ///
    /// # Errors
    /// If it is missing, readable for others, or not a join file.
    pub fn read(path: &Path) -> Result<Self, JoinFileError> {
        let failed = |error: &std::io::Error| match error.kind() {
            std::io::ErrorKind::NotFound => JoinFileError::Missing { path: path.to_owned() },
            _ => JoinFileError::Io { verb: "read", path: path.to_owned(), why: error.to_string() },
        };
        let file = fs::File::open(path).map_err(|e| failed(&e))?;
        // The mode of what was opened, not of what lies at the path by now.
        let mode = file.metadata().map_err(|e| failed(&e))?.permissions().mode() & 0o777;
        if mode & 0o077 != 0 {
            return Err(JoinFileError::TooOpen { path: path.to_owned(), mode });
        }
        Self::parse(file, &format!("`{}`", path.display()))
    }

    /// Reads one from standard input or wherever else it was handed over.
    ///
    /// # Errors
    /// If it is not a join file.
    pub fn from_reader(reader: impl Read) -> Result<Self, JoinFileError> {
        Self::parse(reader, "standard input")
    }

    fn parse(reader: impl Read, origin: &str) -> Result<Self, JoinFileError> {
        let garbage = |why: String| JoinFileError::Garbage { origin: origin.to_owned(), why };
        let mut text = String::new();
        reader.take(MAX_BYTES + 1).read_to_string(&mut text).map_err(|e| garbage(e.to_string()))?;
        if text.len() as u64 > MAX_BYTES {
            return Err(garbage(format!("it is longer than {MAX_BYTES} bytes")));
        }
        serde_json::from_str(&text).map_err(|e| garbage(e.to_string()))
    }

    /// Writes it into the state folder, whole or not at all; it is removed when the guard goes.
    ///
    /// # Errors
    /// If the system refuses.
    pub fn write(&self, folder: &Path) -> Result<JoinFileGuard, JoinFileError> {
        let path = folder.join(FILE_NAME);
        let draft = folder.join(format!(".{FILE_NAME}.{}", std::process::id()));
        let failed = |verb, path: &Path| {
            let path = path.to_owned();
            move |e: std::io::Error| JoinFileError::Io { verb, path, why: e.to_string() }
        };
        fs::create_dir_all(folder).map_err(failed("create", folder))?;
        let text = serde_json::to_string_pretty(self).expect("strings always serialise");
        // A leftover draft may have another mode, and the mode is set at creation only.
        match fs::remove_file(&draft) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => return Err(failed("replace", &draft)(e)),
            _ => {}
        }
        let mut file =
            fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&draft).map_err(failed("create", &draft))?;
        file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).map_err(failed("write", &draft))?;
        fs::rename(&draft, &path).map_err(failed("rename to", &path))?;
        Ok(JoinFileGuard { path, text })
    }
}

/// Removes the join file when the run ends, unless it is another run's by then.
#[derive(Debug)]
pub struct JoinFileGuard {
    path: PathBuf,
    text: String,
}

impl JoinFileGuard {
    /// Where the file lies.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for JoinFileGuard {
    fn drop(&mut self) {
        remove_if(&self.path, |text| text == self.text);
    }
}

impl JoinFile {
    /// Removes this very file from its place: the last act of a node whose leader was killed and could not.
    pub fn remove_from(&self, path: &Path) {
        remove_if(path, |text| serde_json::from_str::<Self>(text).is_ok_and(|found| found == *self));
    }
}

/// Removes a join file if it is still ours, and the folders that were made for it if nothing else is in them.
fn remove_if(path: &Path, is_ours: impl FnOnce(&str) -> bool) {
    if !fs::read_to_string(path).is_ok_and(|text| is_ours(&text)) {
        return;
    }
    if let Err(error) = fs::remove_file(path) {
        tracing::warn!(path = %path.display(), %error, "the join file could not be removed");
        return;
    }
    if let Some(state) = path.parent() {
        remove_empty(state);
    }
}

/// Removes a run's state folder and the shelf it lies on, if nothing is in them; a folder that somebody named stays.
pub fn remove_empty(state: &Path) {
    if let Some(shelf) = state.parent().filter(|shelf| shelf.ends_with(STATE_SHELF)) {
        // Another run may have its own beside ours.
        let _ = fs::remove_dir(state).and_then(|()| fs::remove_dir(shelf));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(run: &str) -> JoinFile {
        JoinFile {
            address: "node-a:4711".into(),
            cookie: "c".repeat(64),
            ca_certificate_pem: "certificate".into(),
            ca_key_pem: "key".into(),
            http_token: "token".into(),
            run: run.into(),
            build: "1".into(),
        }
    }

    #[test]
    fn a_join_file_is_secret_whole_and_removed_at_the_end() {
        let folder = tempfile::tempdir().unwrap();
        let guard = sample("r").write(&folder.path().join("state")).unwrap();
        let mode = fs::metadata(guard.path()).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, 0o600);
        assert_eq!(JoinFile::read(guard.path()).unwrap(), sample("r"));
        let path = guard.path().to_owned();
        drop(guard);
        assert_eq!(JoinFile::read(&path), Err(JoinFileError::Missing { path }));
    }

    #[test]
    fn a_file_of_a_later_run_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let first = sample("first").write(folder.path()).unwrap();
        let second = sample("second").write(folder.path()).unwrap();
        drop(first);
        assert_eq!(JoinFile::read(second.path()).unwrap().run, "second");
    }

    #[test]
    fn an_open_file_is_refused_with_its_mode() {
        let folder = tempfile::tempdir().unwrap();
        let guard = sample("r").write(folder.path()).unwrap();
        fs::set_permissions(guard.path(), fs::Permissions::from_mode(0o640)).unwrap();
        let error = JoinFile::read(guard.path()).unwrap_err();
        assert!(error.to_string().contains("has mode 640"), "{error}");
    }

    #[test]
    fn garbage_is_named_with_where_it_came_from() {
        for text in ["", "{", "{}", "[1]", "{\"address\":3}"] {
            let error = JoinFile::from_reader(text.as_bytes()).unwrap_err();
            assert!(error.to_string().starts_with("standard input is not a join file: "), "{text:?}: {error}");
        }
        let long = std::io::repeat(b'x').take(1 << 30);
        assert!(JoinFile::from_reader(long).unwrap_err().to_string().contains("longer than"));
        assert!(JoinFile::from_reader(&[0xff, 0xfe][..]).is_err());
    }

    #[test]
    fn its_secrets_are_not_printed() {
        let printed = format!("{:?}", sample("r"));
        assert!(!printed.contains(&sample("r").cookie) && !printed.contains("token"), "{printed}");
    }
}
