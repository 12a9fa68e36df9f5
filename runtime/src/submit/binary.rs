//! The binary that is to run there: which processor and which C library it needs.

use std::path::{Path, PathBuf};

use hb_core::launch::shell;

use super::{probe::Found, target::TargetError};

/// Room that a run needs at least beside the binary, KiB.
const ROOM_KIB: u64 = 64 * 1024;

/// A binary of this machine.
#[derive(Debug)]
pub struct Binary {
    /// Where it lies.
    pub path: PathBuf,
    /// What it consists of.
    pub bytes: Vec<u8>,
    /// Its processor as `uname -m` names it; nothing where the file is none that Linux runs.
    pub processor: Option<&'static str>,
    /// The newest version of the GNU C library that it asks for; nothing where it asks for none.
    pub c_library: Option<(u32, u32)>,
}

impl Binary {
    /// Reads a binary.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn read(path: &Path) -> Result<Self, TargetError> {
        let bytes =
            std::fs::read(path).map_err(|cause| TargetError::File { doing: "read the binary", path: path.to_owned(), cause })?;
        let (processor, c_library) = (processor(&bytes), c_library(&bytes));
        Ok(Self { path: path.to_owned(), bytes, processor, c_library })
    }

    /// Why it would not run on a machine with this processor and this C library, if it would not.
    #[must_use]
    pub fn misfit(&self, processor: &str, c_library: Option<(u32, u32)>) -> Option<String> {
        let path = self.path.display();
        let Some(own) = self.processor else {
            return Some(format!("`{path}` is no binary for Linux; name another with --binary"));
        };
        if own != processor {
            return Some(format!("`{path}` is made for {own} and the target is {processor}; name another with --binary"));
        }
        match (self.c_library, c_library) {
            (Some(needed), Some(there)) if there < needed => Some(format!(
                "`{path}` needs glibc {}.{} and the target has {}.{}; name a build for older systems with --binary",
                needed.0, needed.1, there.0, there.1
            )),
            (Some(_), None) => {
                Some(format!("`{path}` needs glibc and the target tells of none; name a static build with --binary"))
            }
            _ => None,
        }
    }

    /// What of a target keeps this binary from being brought there and from running there, all at once.
    #[must_use]
    pub fn misfits(&self, found: &Found) -> Vec<String> {
        let mut misfits: Vec<String> = self.misfit(&found.processor, found.c_library).into_iter().collect();
        let dir = &found.remote_dir;
        if !found.is_writable {
            misfits.push(format!("`{dir}` cannot be written to; name another folder with --remote-dir"));
        }
        let needed = ROOM_KIB + self.bytes.len() as u64 / 1024;
        if let Some(free) = found.free_kib.filter(|free| *free < needed) {
            misfits.push(format!("`{dir}` has {free} KiB free and {needed} are needed; name another folder with --remote-dir"));
        }
        misfits
    }

    /// Where it goes below a folder for binaries and jobs. The name tells the content, so that jobs that wait keep theirs and
    /// the same one is copied once.
    #[must_use]
    pub fn path_in(&self, remote_dir: &str) -> String {
        format!("{remote_dir}/bin/hbnode-{:016x}", fingerprint(&self.bytes))
    }

    /// The shell's question whether all of it lies at this path.
    #[must_use]
    pub fn is_there(&self, path: &str) -> String {
        let path = shell(path);
        format!("[ -x {path} ] && [ \"$(wc -c < {path})\" -eq {} ]", self.bytes.len())
    }

    /// The script that puts its standard input there, whole or not at all. Whoever copies the same meanwhile, on a file
    /// system that both see, is told apart by `copier`.
    #[must_use]
    pub fn put(&self, path: &str, copier: &str) -> String {
        let draft = partial(path, copier);
        let (path, draft, size) = (shell(path), shell(&draft), self.bytes.len());
        format!(
            "cat > {draft} && [ \"$(wc -c < {draft})\" -eq {size} ] && chmod 755 {draft} && mv -- {draft} {path} || \
             {{ rm -f -- {draft}; exit 1; }}"
        )
    }
}

/// Where a copy lies while it is not whole.
#[must_use]
pub fn partial(path: &str, copier: &str) -> String {
    format!("{path}.{copier}.partial")
}

/// FNV-1a: tells contents apart, and protects against nobody.
fn fingerprint(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}

/// The processor in an ELF file's head, little-endian 64 bit ones.
fn processor(bytes: &[u8]) -> Option<&'static str> {
    if !bytes.starts_with(b"\x7fELF\x02\x01") {
        return None;
    }
    match u16::from_le_bytes([*bytes.get(18)?, *bytes.get(19)?]) {
        0x3e => Some("x86_64"),
        0xb7 => Some("aarch64"),
        0xf3 => Some("riscv64"),
        0x15 => Some("ppc64le"),
        _ => Some("another processor"),
    }
}

/// The newest `GLIBC_x.y` among the names of symbol versions.
fn c_library(bytes: &[u8]) -> Option<(u32, u32)> {
    const MARK: &[u8] = b"GLIBC_2.";
    let is_end = |byte: &u8| !byte.is_ascii_digit();
    let starts = bytes.windows(MARK.len()).enumerate().filter(|(_, window)| *window == MARK).map(|(at, _)| at + MARK.len());
    let minor = |start: usize| {
        let digits = bytes[start..].iter().position(is_end)?;
        // Names in the table end with a zero byte, perhaps after a third number.
        let is_name = matches!(bytes.get(start + digits), Some(0 | b'.'));
        std::str::from_utf8(&bytes[start..start + digits]).ok()?.parse::<u32>().ok().filter(|_| is_name)
    };
    starts.filter_map(minor).max().map(|minor| (2, minor))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn binary(machine: u8, names: &[u8]) -> Binary {
        let mut bytes = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0\x03\0".to_vec();
        bytes.extend([machine, 0]);
        bytes.extend(names);
        Binary { path: "/x/hbnode".into(), processor: processor(&bytes), c_library: c_library(&bytes), bytes }
    }

    #[test]
    fn the_newest_version_that_is_asked_for_counts() {
        let read = binary(0x3e, b"GLIBC_2.2.5\0GLIBC_2.34\0GLIBC_2.9\0GLIBC_2.99x\0");
        assert_eq!((read.processor, read.c_library), (Some("x86_64"), Some((2, 34))));
    }

    #[test]
    fn what_does_not_fit_is_said_with_both_versions() {
        let read = binary(0x3e, b"GLIBC_2.34\0");
        assert_eq!(read.misfit("x86_64", Some((2, 36))), None);
        assert!(read.misfit("x86_64", Some((2, 28))).unwrap().contains("glibc 2.34 and the target has 2.28"));
        assert!(read.misfit("aarch64", Some((2, 36))).unwrap().contains("made for x86_64"));
        assert!(read.misfit("x86_64", None).unwrap().contains("static"));
        assert_eq!(binary(0x3e, b"").misfit("x86_64", None), None);
        let script = Binary { path: "/x".into(), bytes: Vec::new(), processor: processor(b"#!/bin/sh"), c_library: None };
        assert!(script.misfit("x86_64", None).unwrap().contains("no binary"));
    }
}
