//! Gives the binary a name for its build: version and commit. Nodes of another build are refused.

use std::process::Command;

fn main() {
    println!("cargo:rerun-if-changed=../.git/HEAD");
    println!("cargo:rerun-if-changed=../.git/logs/HEAD");
    let version = env!("CARGO_PKG_VERSION");
    let described = Command::new("git").args(["rev-parse", "--short=10", "HEAD"]).output();
    let commit = described.ok().filter(|output| output.status.success());
    let commit = commit.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned());
    let build = commit.map_or_else(|| version.to_owned(), |commit| format!("{version}+{commit}"));
    println!("cargo:rustc-env=HBNODE_BUILD={build}");
}
