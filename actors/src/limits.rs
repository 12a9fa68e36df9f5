//! What this machine lets this process have: open files and ports.

use std::fs;

use hb_core::sockets::Sockets;
use rustix::{
    io::Errno,
    process::{Resource, getrlimit, setrlimit},
};

/// Raises the number of files that may be open to the hard limit. What is started from here has it, too.
pub fn raise_open_files() {
    let mut limit = getrlimit(Resource::Nofile);
    if limit.current == limit.maximum {
        return;
    }
    limit.current = limit.maximum;
    if let Err(error) = setrlimit(Resource::Nofile, limit) {
        tracing::debug!(%error, "the limit of open files stays as it is");
    }
}

/// What there is here.
#[must_use]
pub fn sockets() -> Sockets {
    let used = fs::read_dir("/proc/self/fd").map_or(0, |entries| entries.count() as u64);
    let range = fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").ok();
    let ports = range.and_then(|text| {
        let (first, last) = text.trim().split_once(char::is_whitespace)?;
        Some((first.parse().ok()?, last.trim().parse().ok()?))
    });
    Sockets { open_files: getrlimit(Resource::Nofile).current.map(|most| (most, used)), ports }
}

/// Whether no connection was made because this machine has no more to give.
pub(crate) fn is_exhausted(error: &std::io::Error) -> bool {
    [Errno::MFILE, Errno::NFILE, Errno::ADDRNOTAVAIL].iter().any(|errno| error.raw_os_error() == Some(errno.raw_os_error()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_this_machine_has_is_known() {
        let sockets = sockets();
        assert!(sockets.open_files.is_none_or(|(most, used)| most > used && used > 2), "{sockets:?}");
        assert!(sockets.ports.is_some_and(|(first, last)| first < last), "{sockets:?}");
    }
}
