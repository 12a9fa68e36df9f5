//! All descendants of this process, by `/proc`. Since a guardian is a subreaper, nobody escapes by `setsid`,
//! a double fork or `nohup`: an orphan's new parent is the guardian.

use std::{collections::BTreeMap, fs, io};

use rustix::process::{Pid, Signal, getpid, kill_process};

/// Sends a signal to every descendant, each exactly once.
pub(super) fn signal_all(signal: Signal) -> io::Result<()> {
    for pid in of(getpid().as_raw_nonzero().get())? {
        // One that ended since the look at /proc needs no signal.
        if let Some(pid) = Pid::from_raw(pid)
            && let Err(error) = kill_process(pid, signal)
            && error != rustix::io::Errno::SRCH
        {
            eprintln!("hbnode __guard: cannot send a signal to {}: {error}", pid.as_raw_nonzero());
        }
    }
    Ok(())
}

/// The descendants of a process, parents before their children.
fn of(root: i32) -> io::Result<Vec<i32>> {
    let mut children: BTreeMap<i32, Vec<i32>> = BTreeMap::new();
    for entry in fs::read_dir("/proc")? {
        let Some(pid) = entry?.file_name().to_str().and_then(|name| name.parse::<i32>().ok()) else { continue };
        // A process that ended meanwhile has no file any more.
        let Ok(stat) = fs::read(format!("/proc/{pid}/stat")) else { continue };
        if let Some(parent) = parent(&stat) {
            children.entry(parent).or_default().push(pid);
        }
    }
    let mut found = Vec::new();
    let mut next = vec![root];
    while let Some(pid) = next.pop() {
        let mine = children.remove(&pid).unwrap_or_default();
        found.extend(&mine);
        next.extend(mine);
    }
    Ok(found)
}

/// The parent in a line of `/proc/PID/stat`: the second word after the name, which may itself hold `)`, blanks
/// and bytes that are no UTF-8.
fn parent(stat: &[u8]) -> Option<i32> {
    let end = stat.iter().rposition(|byte| *byte == b')')?;
    std::str::from_utf8(&stat[end + 1..]).ok()?.split_ascii_whitespace().nth(1)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hostile_name_hides_no_parent() {
        assert_eq!(parent(b"12 (sh) S 7 12 12 0"), Some(7));
        assert_eq!(parent(b"12 (a) S 1 (b) R 8 12"), Some(8));
        assert_eq!(parent(b"12 (\xff) Z 9 12"), Some(9));
        assert_eq!(parent(b"12 (sh"), None);
    }

    #[test]
    fn this_process_is_a_descendant_of_its_parent() {
        let parent = rustix::process::getppid().unwrap().as_raw_nonzero().get();
        assert!(of(parent).unwrap().contains(&getpid().as_raw_nonzero().get()));
    }
}
