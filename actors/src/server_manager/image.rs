//! The image that a server runs in, looked at on the node before anything is started: whether it is there and of the
//! kind that the runtime takes, whether the sources of its binds are there, and its digest for the run's papers.

use std::{
    fs::{self, File},
    io::{self, Read},
    path::{Path, PathBuf},
};

use hb_core::trial::{ContainerRuntime, ServiceSpec};
use sha2::{Digest as _, Sha256};
use tokio_util::sync::CancellationToken;

/// Read at once while a digest is made.
const BLOCK_BYTES: usize = 1024 * 1024;

/// What keeps a container from being started here.
#[derive(Debug, thiserror::Error)]
pub(super) enum ImageProblem {
    /// The image is not there.
    #[error(
        "cannot read the image `{path}`, which artifacts.service.path names: {source}; \
         bring it to a folder that every server node sees, or say where it is pulled from (artifacts.service.remote)",
        path = path.display()
    )]
    Unreadable {
        /// Its path.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A folder, where a file is needed.
    #[error(
        "the image `{path}` is a folder, and {runtime} runs an image file; \
         make one of it with `apptainer build NAME.sif {path}`, or name the file",
        path = path.display()
    )]
    Folder {
        /// Its path.
        path: PathBuf,
        /// The runtime's name.
        runtime: &'static str,
    },
    /// A file, where a folder is needed.
    #[error(
        "the image `{path}` is a file, and ch-run takes a folder; unpack it with `ch-convert {path} FOLDER` and name that",
        path = path.display()
    )]
    File {
        /// Its path.
        path: PathBuf,
    },
    /// What is to be bound is not there.
    #[error("cannot bind `{source_path}`, which binds[{index}] names: {source}; make it on every server node, or leave the entry out", source_path = source_path.display())]
    NoBindSource {
        /// The entry's place.
        index: usize,
        /// What it names.
        source_path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// Looks at what the container needs of this node.
///
/// # Errors
/// What is missing or of the wrong kind, and what to do.
pub(super) fn check(spec: &ServiceSpec) -> Result<(), ImageProblem> {
    if let Some(path) = spec.image() {
        let found = fs::metadata(path).map_err(|source| ImageProblem::Unreadable { path: path.into(), source })?;
        let path = path.to_owned();
        match spec.runtime {
            ContainerRuntime::Apptainer if found.is_dir() => return Err(ImageProblem::Folder { path, runtime: "apptainer" }),
            ContainerRuntime::Charliecloud if !found.is_dir() => return Err(ImageProblem::File { path }),
            _ => {}
        }
    }
    if spec.runtime == ContainerRuntime::Bare {
        return Ok(());
    }
    for (index, bind) in spec.binds.iter().enumerate() {
        let source_path = Path::new(bind.split(':').next().unwrap_or_default());
        if let Err(source) = fs::metadata(source_path) {
            return Err(ImageProblem::NoBindSource { index, source_path: source_path.into(), source });
        }
    }
    Ok(())
}

/// The digest of an image: of a file's bytes; of a folder's names, kinds and sizes, because its bytes are a tree of
/// a hundred thousand files. It ends where `stop` is told: nobody waits for the rest of it.
///
/// # Errors
/// What cannot be read; [`io::ErrorKind::Interrupted`] where it was stopped.
pub(super) fn digest(path: &Path, stop: &CancellationToken) -> io::Result<String> {
    let mut hash = Sha256::new();
    let kind = if fs::metadata(path)?.is_dir() {
        add_folder(&mut hash, path, Path::new(""))?;
        "tree-sha256"
    } else {
        let mut file = File::open(path)?;
        let mut block = vec![0; BLOCK_BYTES];
        loop {
            if stop.is_cancelled() {
                return Err(io::ErrorKind::Interrupted.into());
            }
            match file.read(&mut block)? {
                0 => break,
                count => hash.update(&block[..count]),
            }
        }
        "sha256"
    };
    let digits: String = hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
    Ok(format!("{kind}:{digits}"))
}

/// In the order of the names, so that the same tree gives the same digest.
fn add_folder(hash: &mut Sha256, root: &Path, inside: &Path) -> io::Result<()> {
    let mut names: Vec<_> = fs::read_dir(root.join(inside))?.map(|entry| Ok(entry?.file_name())).collect::<io::Result<_>>()?;
    names.sort();
    for name in names {
        let inside = inside.join(name);
        let found = fs::symlink_metadata(root.join(&inside))?;
        hash.update(inside.as_os_str().as_encoded_bytes());
        if found.is_dir() {
            hash.update(b"/\0");
            add_folder(hash, root, &inside)?;
        } else if found.is_symlink() {
            hash.update(b"@\0");
            hash.update(fs::read_link(root.join(&inside))?.as_os_str().as_encoded_bytes());
        } else {
            hash.update(b"\0");
            hash.update(found.len().to_le_bytes());
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn a_files_digest_is_that_of_its_bytes() {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), "abc").unwrap();
        let known = "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(digest(file.path(), &CancellationToken::new()).unwrap(), known);
    }

    #[test]
    fn a_folders_digest_changes_with_what_is_in_it_and_not_with_where_it_lies() {
        let tree = |content: &str, link: &str| {
            let folder = tempfile::tempdir().unwrap();
            fs::create_dir(folder.path().join("bin")).unwrap();
            fs::write(folder.path().join("bin/sh"), content).unwrap();
            symlink(link, folder.path().join("sh")).unwrap();
            digest(folder.path(), &CancellationToken::new()).unwrap()
        };
        assert_eq!(tree("one", "bin/sh"), tree("one", "bin/sh"));
        assert_ne!(tree("one", "bin/sh"), tree("longer", "bin/sh"));
        assert_ne!(tree("one", "bin/sh"), tree("one", "/bin/sh"));
    }
}
