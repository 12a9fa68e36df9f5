//! Runs the cases one by one, each in its own runtime and within a deadline.

use std::{ffi::OsString, future::Future, panic, pin::Pin, process::ExitCode, time::Duration};

/// A case: its name as a statement, and what it does.
pub type Case = (&'static str, fn() -> Pin<Box<dyn Future<Output = ()>>>);

/// Far beyond what any case needs; it only keeps a hang from being endless.
const DEADLINE: Duration = Duration::from_secs(60);

/// Runs the cases whose names contain one of the words, or all of them.
pub fn run(words: &[OsString], suites: &[&[Case]]) -> ExitCode {
    let words: Vec<&str> = words.iter().filter_map(|word| word.to_str()).collect();
    let filters: Vec<&str> = words.iter().copied().filter(|word| !word.starts_with('-')).collect();
    let chosen =
        suites.iter().copied().flatten().filter(|(name, _)| filters.is_empty() || filters.iter().any(|f| name.contains(f)));
    if words.contains(&"--list") {
        chosen.for_each(|(name, _)| println!("{name}: test"));
        return ExitCode::SUCCESS;
    }
    let mut failed = 0;
    for (name, case) in chosen {
        let outcome = panic::catch_unwind(|| {
            let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
            runtime.block_on(async { tokio::time::timeout(DEADLINE, case()).await.expect("the case ends within its deadline") });
        });
        println!("test {name} ... {}", if outcome.is_ok() { "ok" } else { "FAILED" });
        failed += u32::from(outcome.is_err());
    }
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// A table of cases: every function named becomes a row.
#[macro_export]
macro_rules! cases {
    ($($name:ident),+ $(,)?) => { &[$((stringify!($name), || Box::pin($name()))),+] };
}
