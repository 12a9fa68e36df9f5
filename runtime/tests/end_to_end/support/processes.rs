//! What the kernel knows of processes and of listening ports.

use std::fs;

/// Processes that have this entry in their environment, each with its command line. Zombies have none.
pub fn marked(entry: &str) -> Vec<(i32, String)> {
    let pids = fs::read_dir("/proc").unwrap().flatten().filter_map(|found| found.file_name().to_str()?.parse::<i32>().ok());
    let is_marked = |pid: &i32| {
        let environment = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        environment.split(|byte| *byte == 0).any(|variable| variable == entry.as_bytes())
    };
    let words = |pid: i32| {
        let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        (pid, String::from_utf8_lossy(&line).replace('\0', " "))
    };
    pids.filter(is_marked).map(words).collect()
}

/// Whether somebody listens on this port over TCP, version 4.
pub fn holds_port(port: u16) -> bool {
    let table = fs::read_to_string("/proc/net/tcp").unwrap();
    let listening = |line: &str| {
        let mut words = line.split_whitespace().skip(1);
        let (local, state) = (words.next()?, words.nth(1)?);
        let port = u16::from_str_radix(local.rsplit(':').next()?, 16).ok()?;
        (state == "0A").then_some(port)
    };
    table.lines().filter_map(listening).any(|held| held == port)
}
